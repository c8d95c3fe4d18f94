"""The streams of training samples: plain arrays, made beforehand.

They are made of the seed alone, from random numbers of their own, so that an evaluation more or less leaves
the training as it is, and all methods see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from experiments.lab.options.settings import Settings
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.problems import Problem, generator, only
from experiments.lab.tasks.samples import Samples, one_after_the_other
from experiments.lab.tasks.stream_files import checked_against, forget_file, read_stream

MOST_KEPT = 2**28  # bytes of the streams that are kept for the next method

# What of the settings decides a stream, beside the tasks.
_DECIDING = (
    "scenario",
    "stream",
    "overlap",
    "stream_file",
    "class_order",
    "tasks",
    "iters",
    "batch",
    "evaluate_on",
)

_KEPT: WeakKeyDictionary[Problem, dict[tuple[Settings, int], Samples]] = WeakKeyDictionary()


def training_stream(settings: Settings, problem: Problem, seed: int) -> Samples:
    """All batches of one run, in order: ``[iterations, batch]``; read-only.

    They are kept for the other methods that see them.

    ``task-based``: ``settings.iters`` batches of each task in turn. Unless the scenario draws by class, they
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
    deciding = only(settings, _DECIDING)
    kept = _KEPT.setdefault(problem, {})
    if (deciding, seed) in kept:
        return kept[deciding, seed]
    stream = _drawn(deciding, problem, seed)
    stream.rows.setflags(write=False)
    stream.tasks.setflags(write=False)
    others = (other for streams in _KEPT.values() for other in streams.values())
    if sum(one.rows.nbytes + one.tasks.nbytes for one in (stream, *others)) <= MOST_KEPT:
        kept[deciding, seed] = stream
    return stream


def forget_streams() -> None:
    """Make all streams anew, and read a file that was read before from the disk again."""
    _KEPT.clear()
    forget_file()


def _drawn(settings: Settings, problem: Problem, seed: int) -> Samples:
    """The stream that `training_stream` keeps."""
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
            return checked_against(problem, planned, settings)
    shape = settings.iters, settings.batch
    draw = _draw_classes if settings.asked.by_class else _epochs
    parts = [draw(problem, random, [task], shape) for task in range(problem.n_tasks)]
    return one_after_the_other(parts)


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
    draw = _draw_classes if settings.asked.by_class else _draw_tasks
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
        kept = one_after_the_other(stored)
        drawn = random.integers(len(kept.rows), size=shape)
        parts.append(Samples(kept.rows[drawn], kept.tasks[drawn]))
    old = one_after_the_other(parts)
    share = np.repeat(1 / np.arange(1, problem.n_tasks + 1), settings.iters)[:, None] / settings.batch
    ones = np.ones((1, settings.batch))
    weights = np.concatenate([share * ones, (1 / settings.batch - share) * ones], axis=1)
    return Samples(
        np.concatenate([new.rows, old.rows], axis=1),
        np.concatenate([new.tasks, old.tasks], axis=1),
        weights.astype(np.float32),
    )


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
    if settings.asked.by_class:
        groups = _classes(problem, range(problem.n_tasks))
        chosen = tasks * n + random.integers(n, size=tasks.shape)
    else:
        groups, chosen = [_members(problem, task, tasks.shape[1]) for task in range(problem.n_tasks)], tasks
    return Samples(_one_of_each(random, groups, chosen), tasks.astype(np.int32))


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
