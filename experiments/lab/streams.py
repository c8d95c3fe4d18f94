"""The stream of training samples, and the test samples to evaluate on: plain arrays, made beforehand.

Both are made of the seed alone, each from random numbers of its own, so that an evaluation more or less
leaves the training as it is, and all methods see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.lab.problems import Problem, generator
from experiments.lab.settings import Settings, SettingsError


class Samples(NamedTuple):
    """Samples of a data set, each shown in a task: int32 arrays of one shape, and float32 weights."""

    rows: Any  # where in the data set
    tasks: Any
    weights: Any = None  # in the loss, of a sum of 1 over a batch; None for the mean


def training_stream(settings: Settings, problem: Problem, seed: int) -> Samples:
    """All batches of one run, in order: ``[iterations, batch]``.

    ``task-based``: ``settings.iters`` batches of each task in turn. In the task and domain scenarios they
    are shuffled epochs of the task without replacement, in which an incomplete last batch is
    dropped; in the class scenario each sample's class is drawn uniformly from those of the task.
    ``random``: each sample's task (class scenario: its class, of all tasks) is drawn uniformly.

    Raises:
        SettingsError: if a task has fewer samples than a batch, or a class none.
    """
    if settings.stream == "random":
        return joint_stream(settings, problem, seed)
    random = generator(seed, "stream")
    shape = settings.iters, settings.batch
    draw = _draw_classes if settings.scenario == "class" else _epochs
    parts = [draw(problem, random, [task], shape) for task in range(problem.n_tasks)]
    return _one_after_the_other(parts)


def joint_stream(settings: Settings, problem: Problem, seed: int) -> Samples:
    """All tasks mixed, as many batches as the whole stream has: ``[iterations, batch]``.

    Each sample's task (class scenario: its class, of all tasks) is drawn uniformly.

    Raises:
        SettingsError: if a task has fewer samples than a batch, or a class none.
    """
    draw = _draw_classes if settings.scenario == "class" else _draw_tasks
    shape = settings.total_iterations, settings.batch
    return draw(problem, generator(seed, "stream"), range(problem.n_tasks), shape)


def replay_stream(settings: Settings, problem: Problem, seed: int) -> Samples:
    """Each batch of the stream and, in its second half, as many stored samples: ``[iterations, 2 batch]``.

    At the end of a task, ``settings.replay_budget`` samples of each of its classes are stored, or as many
    as there are. Replayed samples are drawn uniformly from all that are stored. In task k the loss is
    (1/k) of the new samples' mean and (1 - 1/k) of the stored ones'; the first task repeats its own
    samples with a weight of zero.

    Raises:
        SettingsError: if a task has fewer samples than a batch, or a class none.
    """
    new = training_stream(settings, problem, seed)
    random = generator(seed, "replay")
    shape = settings.iters, settings.batch
    parts = [Samples(new.rows[: settings.iters], new.tasks[: settings.iters])]
    stored: list[Samples] = []
    for task in range(problem.n_tasks - 1):
        for within in range(problem.classes_per_task):
            members = problem.members_of_class(problem.y_train, task, within)
            rows = random.permutation(members)[: settings.replay_budget]
            stored.append(Samples(rows, np.full_like(rows, task)))
        kept = _one_after_the_other(stored)
        drawn = random.integers(len(kept.rows), size=shape)
        parts.append(Samples(kept.rows[drawn], kept.tasks[drawn]))
    old = _one_after_the_other(parts)
    share = np.repeat(1 / np.arange(1, problem.n_tasks + 1), settings.iters)[:, None] / settings.batch
    ones = np.ones((1, settings.batch))
    weights = np.concatenate([share * ones, (1 / settings.batch - share) * ones], axis=1)
    return Samples(
        np.concatenate([new.rows, old.rows], axis=1),
        np.concatenate([new.tasks, old.tasks], axis=1),
        weights.astype(np.float32),
    )


def evaluation_subset(settings: Settings, problem: Problem, seed: int) -> Samples:
    """Test samples for the log points, ``eval_n`` or as many as there are of each task: ``[samples]``.

    In the class scenario, of each class. Tasks follow one another.
    """
    random = generator(seed, "evaluation")
    parts = []
    for task in range(problem.n_tasks):
        if settings.scenario == "class":
            groups = [
                problem.members_of_class(problem.y_test, task, within)
                for within in range(problem.classes_per_task)
            ]
        else:
            groups = [problem.members(problem.y_test, task)]
        for group in groups:
            rows = random.permutation(group)[: settings.eval_n]
            parts.append(Samples(rows, np.full_like(rows, task)))
    return _one_after_the_other(parts)


def fisher_samples(settings: Settings, problem: Problem, seed: int) -> Samples:
    """Training samples of each task, ``ewc_samples`` or as many as the smallest has: ``[tasks, samples]``."""
    random = generator(seed, "fisher")
    members = [problem.members(problem.y_train, task) for task in range(problem.n_tasks)]
    n = min(settings.ewc_samples, *map(len, members))
    rows = np.stack([random.permutation(group)[:n] for group in members])
    return Samples(rows, np.broadcast_to(np.arange(len(rows), dtype=np.int32)[:, None], rows.shape).copy())


def full_test_set(problem: Problem) -> Samples:
    """Every test sample of every task: ``[samples]``."""
    rows = [problem.members(problem.y_test, task) for task in range(problem.n_tasks)]
    tasks = [np.full_like(group, task) for task, group in enumerate(rows)]
    return Samples(np.concatenate(rows), np.concatenate(tasks))


def _one_after_the_other(parts: Sequence[Samples]) -> Samples:
    return Samples(*(np.concatenate([part[field] for part in parts]) for field in (0, 1)))


def _epochs(
    problem: Problem, random: np.random.Generator, tasks: Sequence[int], shape: tuple[int, int]
) -> Samples:
    """Batches of shuffled epochs of one task."""
    (task,) = tasks
    iterations, batch = shape
    members = _members(problem, task, batch)
    per_epoch = len(members) // batch
    n_epochs = -(-iterations // per_epoch)
    epochs = [random.permutation(members)[: per_epoch * batch] for _ in range(n_epochs)]
    rows = np.concatenate(epochs)[: iterations * batch].reshape(shape)
    return Samples(rows, np.full_like(rows, task))


def _draw_tasks(
    problem: Problem, random: np.random.Generator, tasks: Sequence[int], shape: tuple[int, int]
) -> Samples:
    """Each sample's task uniform, and the sample uniform in it."""
    members = [_members(problem, task, shape[1]) for task in tasks]
    chosen = random.integers(len(members), size=shape)
    return Samples(_one_of_each(random, members, chosen), np.asarray(tasks, np.int32)[chosen])


def _draw_classes(
    problem: Problem, random: np.random.Generator, tasks: Sequence[int], shape: tuple[int, int]
) -> Samples:
    """Each sample's class uniform among those of the tasks, and the sample uniform in it."""
    classes = [(task, within) for task in tasks for within in range(problem.classes_per_task)]
    members = [problem.members_of_class(problem.y_train, *which) for which in classes]
    for (task, within), group in zip(classes, members, strict=True):
        if not len(group):
            raise SettingsError(f"the training data has no sample of class {within} of task {task + 1}")
    for task in tasks:
        _members(problem, task, shape[1])
    chosen = random.integers(len(members), size=shape)
    task_of = np.array([task for task, _ in classes], np.int32)
    return Samples(_one_of_each(random, members, chosen), task_of[chosen])


def _one_of_each(random: np.random.Generator, groups: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """A uniform member of ``groups[c]`` for every entry c of ``chosen``."""
    sizes = np.array([len(group) for group in groups])
    starts = np.cumsum(sizes) - sizes
    return np.concatenate(groups)[starts[chosen] + random.integers(sizes[chosen])]


def _members(problem: Problem, task: int, batch: int) -> np.ndarray:
    """The training samples of a task, which must fill a batch."""
    members = problem.members(problem.y_train, task)
    if len(members) < batch:
        raise SettingsError(
            f"--batch {batch}: must be at most {len(members)}, the training samples of task {task + 1}"
        )
    return members
