"""What is shown, what is asked, and how an answer is scored."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples


class Data(NamedTuple):
    """One half of a data set on the device."""

    x: jax.Array  # uint8 or float32 [n, pixels]
    y: jax.Array  # int32 [n]


class View(NamedTuple):
    """How each seed sees the data; of a single seed, arrays of NumPy without the first axis."""

    permutations: jax.Array | np.ndarray  # int32 [seeds, tasks, pixels]
    places: jax.Array | np.ndarray  # int32 [seeds, classes], of the data set's classes in the seed's order


def show(problem: Problem, data: Data, samples: Samples, view: View) -> tuple[jax.Array, jax.Array]:
    """Inputs ``[seeds, samples, *problem.input_shape]`` in [0, 1] and classes ``[seeds, samples]``."""
    x = data.x[samples.rows]
    if problem.permuted:
        order = jax.vmap(lambda of_seed, task: of_seed[task])(view.permutations, samples.tasks)
        x = jnp.take_along_axis(x, order, axis=-1)
    y = data.y[samples.rows]
    if problem.shuffled:
        y = jax.vmap(lambda places, y: places[y])(view.places, y)
    x = x.astype(jnp.float32) / problem.max_value
    return x.reshape(*x.shape[:-1], *problem.input_shape), y


def question(
    problem: Problem, outputs: jax.Array, y: jax.Array, task: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """In training: the scores ``[samples, choices]`` to choose from, and the right choice ``[samples]``."""
    return problem.questions.question(outputs, y % problem.classes_per_task, task)


def right_answers(problem: Problem, outputs: jax.Array, y: jax.Array, task: jax.Array) -> jax.Array:
    """Which samples are answered right, bool ``[seeds, samples]``; of task -1, which is none, anything.

    Outputs that are not finite are no answer, and never right.
    """
    within = y % problem.classes_per_task
    scores, target = jax.vmap(problem.questions.judged)(outputs, within, jnp.maximum(task, 0))
    return (scores.argmax(axis=-1) == target) & jnp.isfinite(scores).all(axis=-1)


def distillation(
    problem: Problem, outputs: jax.Array, old: jax.Array, n_done: jax.Array, temperature: float
) -> jax.Array:
    r"""Cross-entropy to the softened old outputs, :math:`-T^2 \sum_c q_c \log p_c`, mean over the samples.

    Over which outputs, the scenario says (`experiments.lab.tasks.scenarios`).

    Args:
        problem: the tasks.
        outputs: of the parameters that learn, ``[samples, outputs]``.
        old: of the parameters as they were before this task.
        n_done: number of tasks before this one.
        temperature: T.
    """
    losses = problem.questions.distillation
    assert losses is not None, "a scenario without distillation"
    return temperature**2 * losses(outputs, old, n_done, temperature).mean()
