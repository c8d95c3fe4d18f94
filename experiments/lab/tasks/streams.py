"""The stream of training samples, and the test samples to evaluate on: plain arrays, made beforehand.

Both are made of the seed alone, each from random numbers of its own, so that an evaluation more or less
leaves the training as it is, and all methods see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import MOST_SAMPLES
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.npz import NotArraysError, as_integers, read_arrays
from experiments.lab.tasks.problems import Problem, generator


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
    ``gradual``: as many iterations as task-based, each sample's task drawn with the probabilities of
    `task_probabilities`, and the sample (class scenario: its class) uniformly in the task.
    ``file``: the tasks, and if given the samples, of ``settings.stream_file``.

    Args:
        settings: valid settings.
        problem: the tasks, as this seed sees them.
        seed: the seed.

    Raises:
        SettingsError: if a task has fewer samples than a batch, or a class none, or the file does not fit.
    """
    random = generator(seed, "stream")
    match settings.stream:
        case "random":
            return joint_stream(settings, problem, seed)
        case "gradual":
            cumulative = task_probabilities(settings).cumsum(axis=1)[:, None, :-1]
            drawn = random.random((settings.total_iterations, settings.batch, 1))
            return _in_tasks(settings, problem, random, (drawn >= cumulative).sum(axis=-1))
        case "file":
            planned = read_stream(settings)
            if planned.rows is None:
                return _in_tasks(settings, problem, random, planned.tasks)
            return _checked_against(problem, planned, settings)
    shape = settings.iters, settings.batch
    draw = _draw_classes if settings.scenario == "class" else _epochs
    parts = [draw(problem, random, [task], shape) for task in range(problem.n_tasks)]
    return _one_after_the_other(parts)


def task_probabilities(settings: Settings) -> np.ndarray:
    r"""How probable each task is in each iteration of a gradual stream: ``[iterations, tasks]``.

    With s the time in units of a task's iterations and w = ``settings.overlap``, the tasks up to k have
    given way to the later ones with probability :math:`\min(\max((s - k)/w + 1/2, 0), 1)`: linearly, over
    a stretch of length w about each end of a task.

    >>> task_probabilities(Settings(tasks=2, iters=4, overlap=0.5))[:, 1].tolist()
    [0.0, 0.0, 0.0, 0.25, 0.75, 1.0, 1.0, 1.0]
    """
    time = (np.arange(settings.total_iterations) + 0.5) / settings.iters
    ends = np.arange(1, settings.tasks)
    late = time[:, None] - ends
    over = np.clip(late / settings.overlap + 0.5, 0, 1) if settings.overlap else (late > 0).astype(float)
    edge = np.ones((len(time), 1))
    return np.concatenate([edge, over], axis=1) - np.concatenate([over, 0 * edge], axis=1)


def read_stream(settings: Settings) -> Samples:
    """The sequence in ``settings.stream_file``: tasks ``[iterations, batch]``, and rows or None; read-only.

    The file is read once: all runs of a command follow one sequence, whatever becomes of the file. A new
    command forgets it with `forget_streams`.

    Raises:
        SettingsError: one line that names the file and what is wrong with it.
    """
    path = settings.stream_file
    assert path is not None
    planned = _planned(path, settings.tasks, settings.batch)
    if planned.rows is not None and settings.evaluate_on == "validation":
        raise SettingsError(
            f"--stream-file {path}: names training samples (rows), some of which --evaluate-on validation "
            "holds out"
        )
    return planned


def forget_streams() -> None:
    """Read a file that was read before from the disk again."""
    _planned.cache_clear()


@lru_cache(maxsize=1)
def _planned(path: Path, n_tasks: int, batch: int) -> Samples:
    """The sequence in a file, if it is one of so many tasks, in batches of this size."""

    def refuse(what: str) -> SettingsError:
        return SettingsError(f"--stream-file {path}: {what}")

    try:
        arrays = read_arrays(path)
    except NotArraysError as error:
        raise refuse(str(error)) from error
    if not {"tasks"} <= set(arrays) <= {"tasks", "rows"}:
        raise refuse(f"holds {', '.join(sorted(arrays)) or 'nothing'}; must hold tasks, and may hold rows")
    for name, array in arrays.items():
        whole = as_integers(array)
        if whole is None:
            raise refuse(f"{name} must be integers, not {array.dtype}")
        arrays[name] = whole
    tasks, rows = arrays["tasks"], arrays.get("rows")
    if tasks.ndim not in (1, 2) or not tasks.size:
        raise refuse(f"tasks has the shape {tasks.shape}; must be [iterations] or [iterations, batch]")
    if tasks.min() < 0 or tasks.max() >= n_tasks:
        raise refuse(
            f"names the tasks {tasks.min()} to {tasks.max()}; with --tasks {n_tasks} "
            f"they are 0 to {n_tasks - 1}"
        )
    if len(tasks) > MOST_SAMPLES // batch:
        raise refuse(
            f"has {len(tasks)} iterations; with --batch {batch} they must be at most "
            f"{MOST_SAMPLES // batch}: {MOST_SAMPLES:g} samples in all"
        )
    if tasks.ndim == 1:
        tasks = np.broadcast_to(tasks[:, None], (len(tasks), batch))
    if tasks.shape[1] != batch:
        raise refuse(f"has batches of {tasks.shape[1]}, but --batch is {batch}")
    if rows is not None and rows.shape != tasks.shape:
        raise refuse(f"rows has the shape {rows.shape}; must be {tasks.shape}, as tasks")
    if rows is not None and not 0 <= rows.min() <= rows.max() <= np.iinfo(np.int32).max:
        raise refuse(f"names the rows {rows.min()} to {rows.max()}, which are no samples")
    planned = Samples(None if rows is None else rows.astype(np.int32), tasks.astype(np.int32))
    for array in planned.tasks, planned.rows:
        if array is not None:
            array.setflags(write=False)
    return planned


def tasks_seen(stream: Samples, n_tasks: int, iterations: Sequence[int]) -> np.ndarray:
    """Which tasks a stream has shown before each of some iterations: bool ``[iterations, tasks]``."""
    shown = np.stack([(stream.tasks == task).any(axis=1) for task in range(n_tasks)], axis=1)
    first = np.where(shown.any(axis=0), shown.argmax(axis=0), len(shown))
    return first < np.asarray(iterations)[:, None]


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
            members = problem.train.members_of_class(task, within)
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


def evaluation_samples(settings: Settings, problem: Problem, seed: int) -> tuple[Samples, Samples]:
    """The test samples for the log points, and all others: each ``[samples]``.

    The first are ``eval_n`` or as many as there are of each task, in the class scenario of each class. Tasks
    follow one another.
    """
    random = generator(seed, "evaluation")
    subset: list[Samples] = []
    rest: list[Samples] = []
    for task in range(problem.n_tasks):
        if settings.scenario == "class":
            groups = [
                problem.test.members_of_class(task, within) for within in range(problem.classes_per_task)
            ]
        else:
            groups = [problem.test.members(task)]
        for group in groups:
            rows = random.permutation(group)
            for parts, part in (subset, rows[: settings.eval_n]), (rest, rows[settings.eval_n :]):
                parts.append(Samples(part, np.full_like(part, task)))
    return _one_after_the_other(subset), _one_after_the_other(rest)


def fisher_samples(settings: Settings, problem: Problem, seed: int) -> Samples:
    """Training samples of each task, ``ewc_samples`` or as many as the smallest has: ``[tasks, samples]``.

    With shuffled classes, the smallest that any order of the classes makes, so that all seeds have as many.
    """
    random = generator(seed, "fisher")
    members = [problem.train.members(task) for task in range(problem.n_tasks)]
    n = min(settings.ewc_samples, *map(len, members))
    if settings.class_order == "shuffled":
        sizes = np.sort(np.bincount(problem.train.y))
        n = min(n, int(sizes[: problem.classes_per_task].sum()))
    rows = np.stack([random.permutation(group)[:n] for group in members])
    return Samples(rows, np.broadcast_to(np.arange(len(rows), dtype=np.int32)[:, None], rows.shape).copy())


def of_one_length(samples: Sequence[Samples]) -> list[Samples]:
    """Test samples, the shorter ones filled up with samples of task -1, which is none."""
    longest = max(len(each.rows) for each in samples)
    return [
        Samples(np.pad(rows, fill), np.pad(tasks, fill, constant_values=-1))
        for rows, tasks, _ in samples
        for fill in [(0, longest - len(rows))]
    ]


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


def _in_tasks(
    settings: Settings, problem: Problem, random: np.random.Generator, tasks: np.ndarray
) -> Samples:
    """Uniform samples (class scenario: of uniform classes) of these tasks, ``[iterations, batch]``."""
    n = problem.classes_per_task
    if settings.scenario == "class":
        groups = _classes(problem, range(problem.n_tasks))
        chosen = tasks * n + random.integers(n, size=tasks.shape)
    else:
        groups, chosen = [_members(problem, task, tasks.shape[1]) for task in range(problem.n_tasks)], tasks
    return Samples(_one_of_each(random, groups, chosen), tasks.astype(np.int32))


def _checked_against(problem: Problem, planned: Samples, settings: Settings) -> Samples:
    """The samples themselves, if they are samples of their tasks."""
    refused = f"--stream-file {settings.stream_file}: "
    low, high = planned.rows.min(), planned.rows.max()
    if low < 0 or high >= len(problem.train.y):
        raise SettingsError(f"{refused}names the samples {low} to {high} of {len(problem.train.y)}")
    belongs = np.stack(
        [
            np.isin(np.arange(len(problem.train.y)), problem.train.members(task))
            for task in range(problem.n_tasks)
        ]
    )
    wrong = ~belongs[planned.tasks, planned.rows]
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0])
        order = (
            ", with the classes in this seed's order"
            if settings.class_order == "shuffled"
            else " (was it written with --class-order shuffled?)"
        )
        raise SettingsError(
            f"{refused}shows sample {planned.rows[where]} in task {planned.tasks[where]}, "
            f"but it is of another one{order}"
        )
    return planned


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
    members = _classes(problem, tasks)
    for task in tasks:
        _members(problem, task, shape[1])
    chosen = random.integers(len(members), size=shape)
    task_of = np.repeat(np.asarray(tasks, np.int32), problem.classes_per_task)
    return Samples(_one_of_each(random, members, chosen), task_of[chosen])


def _classes(problem: Problem, tasks: Sequence[int]) -> list[np.ndarray]:
    """The training samples of each class of these tasks, of which there must be some."""
    groups = []
    for task in tasks:
        for within in range(problem.classes_per_task):
            groups.append(problem.train.members_of_class(task, within))
            if not len(groups[-1]):
                raise SettingsError(f"the training data has no sample of class {within} of task {task + 1}")
    return groups


def _one_of_each(random: np.random.Generator, groups: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """A uniform member of ``groups[c]`` for every entry c of ``chosen``."""
    sizes = np.array([len(group) for group in groups])
    starts = np.cumsum(sizes) - sizes
    return np.concatenate(groups)[starts[chosen] + random.integers(sizes[chosen])]


def _members(problem: Problem, task: int, batch: int) -> np.ndarray:
    """The training samples of a task, which must fill a batch."""
    members = problem.train.members(task)
    if len(members) < batch:
        raise SettingsError(
            f"--batch {batch}: must be at most {len(members)}, the training samples of task {task + 1}"
        )
    return members
