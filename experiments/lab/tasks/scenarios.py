"""What is asked in each scenario, and how an answer is scored; those of the user's own are made likewise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.options.declaration import Range
from experiments.lab.options.scenario import Scenario, one_of_all, one_of_the_task, scenario
from experiments.lab.options.settings import Settings
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError

__all__ = [
    "Questions",
    "Range",
    "Scenario",
    "one_of_all",
    "one_of_the_task",
    "over_all_outputs",
    "over_classes_so_far",
    "over_heads",
    "questions_of",
    "scenario",
]

Question = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
Distillation = Callable[[jax.Array, jax.Array, Any, Any], jax.Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class Questions:
    """What a network with these outputs is asked, of several samples at once.

    Attributes:
        n_outputs: number of outputs of the network.
        question: ``(outputs, within, task) -> (scores, target)``, in training: of the outputs ``[samples,
            n_outputs]``, the classes within their tasks and the tasks, both int32 ``[samples]`` from 0, the
            scores to choose from, ``[samples, choices]``, and the right choice, int32 ``[samples]``. The loss
            is the cross-entropy of their softmax. Scores must not depend on ``within``, which is the answer.
        at_test: the same where accuracies are taken, of which the highest score is the answer; by default it
            is the question of the training.
        distillation: ``(outputs, old, n_done, temperature) -> losses`` of each sample, which keeps outputs
            as they were before this task, ``old``, where ``n_done`` tasks came before; for ``lwf``. None
            where there is none: ``lwf`` is then refused.
    """

    n_outputs: int
    question: Question
    at_test: Question | None = None
    distillation: Distillation | None = None

    @property
    def judged(self) -> Question:
        """The question where accuracies are taken."""
        return self.at_test or self.question


def own_head(tasks: int, classes: int) -> Questions:
    """Each task has outputs of its own, and the answer is among those of the sample's task."""

    def question(outputs: jax.Array, within: jax.Array, task: jax.Array) -> tuple[jax.Array, jax.Array]:
        heads = outputs.reshape(*outputs.shape[:-1], tasks, classes)
        own = jnp.take_along_axis(heads, task[..., None, None], axis=-2)
        return own.squeeze(-2), within

    return Questions(n_outputs=tasks * classes, question=question, distillation=over_heads(tasks, classes))


def shared_head(tasks: int, classes: int) -> Questions:
    """All tasks share the same outputs."""

    def question(outputs: jax.Array, within: jax.Array, task: jax.Array) -> tuple[jax.Array, jax.Array]:
        return outputs, within

    return Questions(n_outputs=classes, question=question, distillation=over_all_outputs)


def all_classes(tasks: int, classes: int) -> Questions:
    """Every sample is compared with all classes of all tasks: the answer is ``task · classes + within``."""

    def question(outputs: jax.Array, within: jax.Array, task: jax.Array) -> tuple[jax.Array, jax.Array]:
        return outputs, task * classes + within

    return Questions(
        n_outputs=tasks * classes, question=question, distillation=over_classes_so_far(tasks, classes)
    )


def over_heads(tasks: int, classes: int) -> Distillation:
    """Distillation with an output layer for each task: head by head, and the mean of those that are done."""

    def losses(outputs: jax.Array, old: jax.Array, n_done: Any, temperature: Any) -> jax.Array:
        shape = *outputs.shape[:-1], tasks, classes
        p = jax.nn.log_softmax(outputs.reshape(shape) / temperature)
        q = jax.nn.softmax(old.reshape(shape) / temperature)
        per_head = -(q * p).sum(axis=-1)
        is_done = np.arange(tasks) < n_done
        return (per_head * is_done).sum(axis=-1) / jnp.maximum(n_done, 1)

    return losses


def over_classes_so_far(tasks: int, classes: int) -> Distillation:
    """Distillation over the classes so far, those of this task included, whose targets are zero."""

    def losses(outputs: jax.Array, old: jax.Array, n_done: Any, temperature: Any) -> jax.Array:
        low = jnp.finfo(outputs.dtype).min
        every = np.arange(tasks * classes)
        p = jax.nn.log_softmax(jnp.where(every < (n_done + 1) * classes, outputs / temperature, low))
        q = jax.nn.softmax(jnp.where(every < n_done * classes, old / temperature, low))
        return -jnp.where(every < n_done * classes, q * p, 0).sum(axis=-1)

    return losses


def over_all_outputs(outputs: jax.Array, old: jax.Array, n_done: Any, temperature: Any) -> jax.Array:
    """Distillation over all outputs, which all tasks share."""
    p, q = jax.nn.log_softmax(outputs / temperature), jax.nn.softmax(old / temperature)
    return -(q * p).sum(axis=-1)


def questions_of(settings: Settings) -> Questions:
    """What is asked in the scenario of these settings; one of the user's own is tried on a batch's shapes.

    Raises:
        SettingsError: one line that names the scenario, and what is wrong with it.
    """
    asked = settings.asked
    asked.chance_of(settings.tasks, settings.classes_per_task)  # which figures need, when all is trained
    own = asked.settings_in(settings)
    try:
        made = asked(settings.tasks, settings.classes_per_task, **({} if own is None else {"settings": own}))
        if asked.defined_in:
            _try(made, settings.batch)
            _check_blind(made, settings.batch, settings.classes_per_task)
    except SettingsError as error:
        raise SettingsError(f"scenario {asked.name}: {error}") from error
    except Exception as error:
        if not asked.defined_in:
            raise
        raise SettingsError(f"scenario {asked.name}: {modules.told(error)}") from error
    assert isinstance(made, Questions)
    return made


def _try(made: Any, batch: int) -> None:
    """Check what a scenario makes of the shapes of a batch, without computing anything."""
    if not isinstance(made, Questions):
        raise SettingsError(f"must give Questions, not {type(made).__name__}")
    if not (isinstance(made.n_outputs, int) and made.n_outputs >= 1):
        raise SettingsError(f"its n_outputs must be a number of outputs, not {made.n_outputs!r}")
    outputs = jax.ShapeDtypeStruct((batch, made.n_outputs), jnp.float32)
    label = jax.ShapeDtypeStruct((batch,), jnp.int32)
    for name, ask in ("question", made.question), ("at_test", made.judged):
        scores, target = jax.eval_shape(ask, outputs, label, label)
        are_scores = scores.ndim == 2 and len(scores) == batch and jnp.issubdtype(scores.dtype, jnp.floating)
        if not (are_scores and scores.shape[1] >= 1):
            told = f"{scores.dtype} {scores.shape}"
            raise SettingsError(f"its {name} must give scores, floating-point [{batch}, choices], not {told}")
        if target.shape != (batch,) or not jnp.issubdtype(target.dtype, jnp.integer):
            told = f"{target.dtype} {target.shape}"
            raise SettingsError(f"its {name} must give the right choice, integers [{batch}], not {told}")
    if made.distillation is not None:
        n_done, temperature = (jax.ShapeDtypeStruct((), kind) for kind in (jnp.int32, jnp.float32))
        losses = jax.eval_shape(made.distillation, outputs, outputs, n_done, temperature)
        if losses.shape != (batch,):
            raise SettingsError(
                f"its distillation must give a loss of each sample, [{batch}], not {losses.shape}"
            )


def _check_blind(made: Questions, batch: int, classes: int) -> None:
    """Check that scores are the same whatever the answer: a network could not be told it at test time."""
    outputs = np.random.default_rng(0).normal(size=(batch, made.n_outputs)).astype(np.float32)
    task = np.zeros(batch, np.int32)
    for name, ask in ("question", made.question), ("at_test", made.judged):
        scored = jax.jit(lambda *asked, ask=ask: ask(*asked)[0])
        first, last = (scored(outputs, np.full(batch, c, np.int32), task) for c in (0, classes - 1))
        if not np.array_equal(first, last, equal_nan=True):
            raise SettingsError(f"its {name} must give scores that do not depend on the answer (within)")
