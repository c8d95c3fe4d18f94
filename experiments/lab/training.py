"""Training: all seeds of one method together, the data on the device, one jitted loop between log points.

Parameters and optimizer state are stacked over seeds. The gradient is mapped over them; the optimizer
acts on the stacked tree as it is, since it works element by element: its counters stay single
numbers, and the links of a complex synapse that rest cost nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.lab.data import Dataset
from experiments.lab.fisher import fisher_information
from experiments.lab.methods import Method, distillation, make_method
from experiments.lab.model import make_model
from experiments.lab.problems import Problem, make_problem
from experiments.lab.progress import Progress
from experiments.lab.results import Run, Seconds
from experiments.lab.settings import Settings
from experiments.lab.streams import Samples, evaluation_subset, fisher_samples, full_test_set

EVALUATION_BLOCK = 1000  # test samples a seed at a time

Apply = Callable[[Any, jax.Array], jax.Array]


class Data(NamedTuple):
    """One half of a data set on the device."""

    x: jax.Array  # uint8 [n, pixels]
    y: jax.Array  # int32 [n]


class Carry(NamedTuple):
    """What the loop hands on, stacked over seeds but for single numbers of the optimizer."""

    params: Any
    opt_state: Any
    memory: Any  # what the method remembers
    losses: jax.Array  # [iterations, seeds]


def train(
    settings: Settings,
    method: str,
    seeds: Sequence[int],
    dataset: Dataset,
    report: Callable[[Progress], None],
) -> tuple[list[Run], Seconds]:
    """Train one method with several seeds at once.

    Args:
        settings: valid settings.
        method: one of `experiments.lab.settings.Method`.
        seeds: one run each; its initial weights, batches and permutations follow from its seed alone.
        dataset: the data set that the settings name.
        report: called at every log point, between two stretches of the loop.

    Returns:
        One run for each seed, in their order, and the time they took together.

    Raises:
        SettingsError: if the data cannot fill a batch, or lacks a class.
    """
    problem, how = make_problem(settings, dataset), make_method(settings, method)
    stream = _stack([how.stream(settings, problem, seed) for seed in seeds], axis=1)
    subset = _stack([evaluation_subset(settings, problem, seed) for seed in seeds])
    whole = _stack([full_test_set(problem)] * len(seeds))
    permutations = jnp.asarray(np.stack([problem.permutations(seed) for seed in seeds]))
    train_data, test_data = (
        Data(jnp.asarray(x), jnp.asarray(y))
        for x, y in ((problem.x_train, problem.y_train), (problem.x_test, problem.y_test))
    )
    log = _Log(settings, len(seeds))
    timer = _Timer()

    with timer("compile"):
        hidden = [settings.fc_units] * (settings.fc_layers - 1)
        init, apply = make_model((problem.n_pixels, *hidden, problem.n_outputs))
        tx = how.optimizer

        @jax.jit
        def start(keys: jax.Array) -> Carry:
            params = jax.vmap(init)(keys)
            losses = jnp.zeros((settings.total_iterations, len(seeds)))
            return Carry(params, tx.init(params), how.start(params), losses)

        carry = start(jnp.stack([jax.random.key(seed) for seed in seeds]))
        run, count = _training_loop(settings, problem, apply, how), _counts(problem, apply)
        arguments = stream, train_data, permutations
        run = run.lower(carry, 0, 0, *arguments).compile()
        on_subset = count.lower(carry.params, subset, test_data, permutations).compile()
        on_whole = count.lower(carry.params, whole, test_data, permutations).compile()
        end_task = None
        if how.consolidate is not None:
            learned = None
            if how.needs_fisher:
                learned = _stack([fisher_samples(settings, problem, seed) for seed in seeds], axis=1)
            end_task = _end_of_task(problem, apply, how, seeds)
            end_task = end_task.lower(carry, 0, learned, train_data, permutations).compile()
        jax.block_until_ready(carry)

    done = 0
    for stop in log.stops:
        with timer("train"):
            carry = run(carry, done, stop, *arguments)
            log.losses[done:stop] = np.asarray(carry.losses)[done:stop]
        with timer("evaluate"):
            weights = how.weights(carry.params, carry.memory)
            if stop in log.evaluated_at:
                log.accuracy.append(_fractions(*on_subset(weights, subset, test_data, permutations)))
            if stop in log.matrix_at:
                log.matrix.append(_fractions(*on_whole(weights, whole, test_data, permutations)))
        if end_task is not None and stop in log.matrix_at[:-1]:
            with timer("train"):
                task = len(log.matrix) - 1
                carry = jax.block_until_ready(end_task(carry, task, learned, train_data, permutations))
        report(log.progress(done, stop))
        done = stop
    return log.runs(method, seeds), Seconds(**timer.seconds)


def _training_loop(settings: Settings, problem: Problem, apply: Apply, how: Method) -> Any:
    """The jitted ``(carry, first, stop, stream, data, permutations) -> carry``; it consumes its carry."""

    def loss_of_one(
        params: Any, old: Any, x: jax.Array, y: jax.Array, of: Samples, n_done: Any
    ) -> tuple[jax.Array, jax.Array]:
        """What is minimised, and what is recorded for all methods alike: the loss on the new samples."""
        outputs = apply(params, x)
        scores, target = _question(problem, outputs, y, of.tasks)
        each = optax.softmax_cross_entropy_with_integer_labels(scores, target)
        recorded = each[: settings.batch].mean()
        loss = recorded if of.weights is None else (each * of.weights).sum()
        if not how.distils:
            return loss, recorded
        kept = distillation(problem, outputs, apply(old, x), n_done, settings.lwf_temperature)
        return (loss + n_done * kept) / (n_done + 1), recorded

    gradient = jax.vmap(jax.grad(loss_of_one, has_aux=True), in_axes=(0, 0, 0, 0, 0, None))

    def run(
        carry: Carry, first: int, stop: int, stream: Samples, data: Data, permutations: jax.Array
    ) -> Carry:
        def step(i: jax.Array, carry: Carry) -> Carry:
            params, opt_state, memory, losses = carry
            batch = jax.tree.map(lambda a: a[i], stream)
            x, y = _show(problem, data, batch, permutations)
            old = memory if how.distils else ()
            grads, loss = gradient(params, old, x, y, batch, i // settings.iters)
            pulled = grads
            if how.pull is not None:
                pulled = jax.tree.map(jnp.add, grads, how.pull(params, memory))
            updates, opt_state = how.optimizer.update(pulled, opt_state, params)
            new = optax.apply_updates(params, updates)
            if how.remember is not None:
                memory = how.remember(memory, params, new, grads)
            return Carry(new, opt_state, memory, losses.at[i].set(loss))

        return lax.fori_loop(first, stop, step, carry)

    return jax.jit(run, donate_argnums=0)


def _end_of_task(problem: Problem, apply: Apply, how: Method, seeds: Sequence[int]) -> Any:
    """The jitted ``(carry, task, learned, data, permutations) -> carry``; it consumes its carry.

    ``learned`` are the samples ``[tasks, seeds, samples]`` for the Fisher information; None without it.
    """
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])

    def scores(params: Any, x: jax.Array, task: jax.Array) -> jax.Array:
        return _question(problem, apply(params, x), jnp.zeros(task.shape, jnp.int32), task)[0]

    def end(carry: Carry, task: int, learned: Samples | None, data: Data, permutations: jax.Array) -> Carry:
        fisher = None
        if learned is not None:
            samples = jax.tree.map(lambda a: a[task], learned)
            x, _ = _show(problem, data, samples, permutations)
            of_task = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, task)
            fisher = fisher_information(scores, carry.params, x, samples.tasks, of_task)
        assert how.consolidate is not None
        return carry._replace(memory=how.consolidate(carry.memory, carry.params, fisher))

    return jax.jit(end, donate_argnums=0)


def _counts(problem: Problem, apply: Apply) -> Any:
    """The jitted ``(params, samples, data, permutations) -> right, shown``; both int [seeds, tasks].

    Outputs that are not finite are no answer, and never right.
    """

    def count(
        params: Any, samples: Samples, data: Data, permutations: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        def block(part: Samples) -> tuple[jax.Array, jax.Array]:
            x, y = _show(problem, data, part, permutations)
            scores, target = _question(problem, jax.vmap(apply)(params, x), y, part.tasks)
            of_task = jax.nn.one_hot(part.tasks, problem.n_tasks, dtype=jnp.int32)
            right = (scores.argmax(axis=-1) == target) & jnp.isfinite(scores).all(axis=-1)
            return (right[..., None] * of_task).sum(axis=1), of_task.sum(axis=1)

        n_seeds, n_samples = samples.rows.shape
        n_blocks = -(-n_samples // EVALUATION_BLOCK)
        padding = ((0, 0), (0, -n_samples % n_blocks))
        # Task -1 is no task: what fills the last block counts for nothing.
        padded = Samples(jnp.pad(samples.rows, padding), jnp.pad(samples.tasks, padding, constant_values=-1))
        blocks = jax.tree.map(lambda a: a.reshape(n_seeds, n_blocks, -1).swapaxes(0, 1), padded)
        right, shown = lax.map(block, blocks)
        return right.sum(axis=0), shown.sum(axis=0)

    return jax.jit(count)


def _fractions(right: jax.Array, shown: jax.Array) -> np.ndarray:
    """Divided on the host in float64: accuracies are exact, whatever the device rounds to."""
    return np.asarray(right) / np.asarray(shown)


def _show(
    problem: Problem, data: Data, samples: Samples, permutations: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Inputs ``[seeds, samples, pixels]`` in [0, 1] and classes ``[seeds, samples]``."""
    x = data.x[samples.rows]
    if problem.permuted:
        order = jax.vmap(lambda of_seed, task: of_seed[task])(permutations, samples.tasks)
        x = jnp.take_along_axis(x, order, axis=-1)
    return x.astype(jnp.float32) / problem.max_value, data.y[samples.rows]


def _question(
    problem: Problem, outputs: jax.Array, y: jax.Array, task: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The scores ``[…, samples, classes]`` to choose from, and the right choice ``[…, samples]``."""
    n = problem.classes_per_task
    within = y % n
    if problem.all_classes:
        return outputs, task * n + within
    if not problem.multihead:
        return outputs, within
    heads = outputs.reshape(*outputs.shape[:-1], problem.n_tasks, n)
    own = jnp.take_along_axis(heads, task[..., None, None], axis=-2)
    return own.squeeze(-2), within


def _stack(samples: list[Samples], axis: int = 0) -> Samples:
    """The samples of several seeds, on the device."""
    return jax.tree.map(lambda *arrays: jnp.asarray(np.stack(arrays, axis)), *samples)


class _Log:
    """What is recorded of a group of seeds, and when.

    Attributes:
        matrix_at: iterations with an evaluation on the whole test set.
        evaluated_at: iterations with an evaluation on the subset; those of ``matrix_at`` are among them.
        tasks_seen: number of tasks whose training has begun by ``evaluated_at``.
        logged_at: ends of the stretches that losses are averaged over.
        stops: all of these, in order.
        losses: [iterations, seeds].
        accuracy: one [seeds, tasks] for each of ``evaluated_at``.
        matrix: one [seeds, tasks] for each of ``matrix_at``.
    """

    def __init__(self, settings: Settings, n_seeds: int) -> None:
        self._total = total = settings.total_iterations
        task_based = settings.stream == "task-based"
        self.matrix_at = list(range(settings.iters, total + 1, settings.iters)) if task_based else [total]
        self.evaluated_at = sorted({*range(settings.eval_log, total + 1, settings.eval_log), *self.matrix_at})
        begun = (np.array(self.evaluated_at) - 1) // settings.iters + 1
        self.tasks_seen = begun if task_based else np.full_like(begun, settings.tasks)
        self.logged_at = list(range(settings.loss_log, total + 1, settings.loss_log)) or [total]
        self.stops = sorted({*self.evaluated_at, *self.logged_at})
        self.losses = np.full((total, n_seeds), np.nan)
        self.accuracy: list[np.ndarray] = []
        self.matrix: list[np.ndarray] = []

    def progress(self, first: int, stop: int) -> Progress:
        """Where the training stands after the stretch from ``first`` to ``stop``."""
        so_far = None
        if self.accuracy:
            seen = self.tasks_seen[len(self.accuracy) - 1]
            so_far = float(self.accuracy[-1][:, :seen].mean())
        return Progress(stop, self._total, float(self.losses[first:stop].mean()), so_far)

    def runs(self, method: str, seeds: Sequence[int]) -> list[Run]:
        """What each seed did."""
        stretches = self.losses[: self.logged_at[-1]].reshape(len(self.logged_at), -1, len(seeds))
        not_finite = ~np.isfinite(self.losses)
        first_not_finite = np.where(not_finite.any(axis=0), not_finite.argmax(axis=0) + 1, 0)
        accuracy, matrix = np.stack(self.accuracy), np.stack(self.matrix)
        return [
            Run(
                method=method,
                seed=seed,
                evaluated_at=np.array(self.evaluated_at),
                accuracy=accuracy[:, number],
                logged_at=np.array(self.logged_at),
                loss=stretches.mean(axis=1)[:, number],
                accuracy_matrix=matrix[:, number],
                matrix_at=np.array(self.matrix_at),
                tasks_seen=self.tasks_seen,
                final_accuracy=float(matrix[-1, number].mean()),
                diverged_at=int(first_not_finite[number]) or None,
            )
            for number, seed in enumerate(seeds)
        ]


class _Timer:
    """Seconds spent in each phase: ``with timer("train"): …``."""

    def __init__(self) -> None:
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began
