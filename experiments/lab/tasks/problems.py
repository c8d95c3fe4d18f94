"""From a data set to a sequence of tasks: what is shown, what is asked, and what counts as an answer.

A *sample* is an index into the data set together with the task it is shown in. In split experiments
the class decides the task, in permuted ones every task shows all classes, its pixels permuted, and data of
one's own may say of each sample which task it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from experiments.lab.data.dataset import Dataset, every_nth
from experiments.lab.options.settings import Settings
from experiments.lab.system.errors import SettingsError

if TYPE_CHECKING:
    from experiments.lab.tasks.scenarios import Questions

PERMUTED_SIDE = 32  # 28 x 28 images are padded to this before their pixels are permuted
HELD_OUT = 6  # every sixth training image of each class is for validation
MOST_VIEWS = 64  # of seeds that see the classes in an order of their own, kept for the next method

# What of the settings decides the tasks.
_DECIDING = (
    "experiment",
    "scenario",
    "singlehead",
    "class_order",
    "tasks",
    "classes",
    "labelled",
    "evaluate_on",
    "batch",  # with which a scenario of the user's own is tried
)


@dataclass(frozen=True, eq=False)
class Half:
    """The training or the test samples.

    Attributes:
        x: uint8 or float32 [n, pixels].
        y: int32 [n], the class in the data set.
        within: int32 [n], its label within its task.
        task: int32 [n], the task it belongs to; None where every sample belongs to all of them.
    """

    x: np.ndarray
    y: np.ndarray
    within: np.ndarray
    task: np.ndarray | None

    def members(self, task: int) -> np.ndarray:
        """Indices of the samples of a task; int32."""
        if self.task is None:
            return np.arange(len(self.y), dtype=np.int32)
        return np.flatnonzero(self.task == task).astype(np.int32)

    def members_of_class(self, task: int, within: int) -> np.ndarray:
        """Indices of the samples of one class of a task; int32."""
        members = self.members(task)
        return members[self.within[members] == within]


@dataclass(frozen=True, eq=False)
class Problem:
    """The tasks of one data set in one scenario.

    With ``n = classes_per_task``, the label *within* a task of a sample of class y is ``y mod n``.

    Attributes:
        n_tasks: number of tasks.
        classes_per_task: number of classes in each.
        permuted: whether tasks are permutations of the pixels.
        questions: what the network is asked, and how its answers are scored.
        train: the training samples.
        test: those the accuracy is taken on.
        max_value: the pixel value that stands for 1.
        input_shape: the shape of a sample as the network gets it; its product is the number of pixels.
        shuffled: whether each seed has the classes in another order.
    """

    n_tasks: int
    classes_per_task: int
    permuted: bool
    questions: Questions
    train: Half
    test: Half
    max_value: int
    input_shape: tuple[int, ...]
    shuffled: bool = False

    @property
    def n_pixels(self) -> int:
        """Number of numbers in a sample."""
        return int(self.train.x.shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""
        return self.questions.n_outputs

    def places(self, seed: int) -> np.ndarray:
        """Where each class of the data set stands in the order of one seed, int32 [classes].

        With places [1, 0, …] the digit 0 is called 1, and the digit 1 is called 0.
        """
        n_classes = self.classes_per_task * self.n_tasks
        if not self.shuffled:
            return np.arange(n_classes, dtype=np.int32)
        return generator(seed, "classes").permutation(n_classes).astype(np.int32)

    def seen_by(self, seed: int) -> Problem:
        """The same tasks with the classes called by their places in the order of one seed."""
        return _seen_by(self, seed) if self.shuffled else self

    def permutations(self, seed: int) -> np.ndarray:
        """The order of the pixels in each task, int32 [tasks, pixels]; without permutation, [0, 0]."""
        if not self.permuted:
            return np.zeros((0, 0), np.int32)
        random = generator(seed, "permutations")
        return np.stack([random.permutation(self.n_pixels) for _ in range(self.n_tasks)]).astype(np.int32)


@lru_cache(maxsize=MOST_VIEWS)
def _seen_by(problem: Problem, seed: int) -> Problem:
    places = problem.places(seed)
    train, test = (
        _by_class(half.x, places[half.y], problem.classes_per_task) for half in (problem.train, problem.test)
    )
    return replace(problem, train=train, test=test, shuffled=False)


def only(settings: Settings, names: Sequence[str]) -> Settings:
    """The settings of these names and those of the scenario's own, and of all others the defaults."""
    names = (*names, *settings.asked.own)
    return type(settings)(**{name: getattr(settings, name) for name in names})


def make_problem(settings: Settings, dataset: Dataset) -> Problem:
    """Lay out the tasks of an experiment: once for all methods and configurations that have them in common.

    Args:
        settings: valid settings.
        dataset: the data set they name.

    Raises:
        SettingsError: if a class has too few samples to hold some out for validation, or a scenario of the
            user's own cannot be asked.
    """
    return _laid_out(only(settings, _DECIDING), dataset)


@lru_cache(maxsize=1)
def _laid_out(settings: Settings, dataset: Dataset) -> Problem:
    from experiments.lab.tasks.scenarios import questions_of  # which imports JAX

    def half(x: np.ndarray, y: np.ndarray, task: np.ndarray | None) -> Half:
        x, y = x.reshape(len(x), -1), y.astype(np.int32)
        if settings.permuted:
            return Half(x, y, y, None)
        return _by_class(x, y, settings.classes_per_task) if task is None else Half(x, y, y, task)

    x, x_test = (_framed(each) if settings.permuted else each for each in (dataset.x_train, dataset.x_test))
    y, task = dataset.y_train, dataset.task_train
    if settings.evaluate_on == "validation":
        held_out = _held_out(dataset)
        train, test = (
            half(x[chosen], y[chosen], None if task is None else task[chosen])
            for chosen in (~held_out, held_out)
        )
    else:
        train, test = half(x, y, task), half(x_test, dataset.y_test, dataset.task_test)
    return Problem(
        n_tasks=settings.tasks,
        classes_per_task=settings.classes_per_task,
        permuted=settings.permuted,
        questions=questions_of(settings),
        train=train,
        test=test,
        max_value=dataset.max_value,
        input_shape=_with_channel(x.shape[1:]),
        shuffled=settings.class_order == "shuffled",
    )


def _by_class(x: np.ndarray, y: np.ndarray, classes_per_task: int) -> Half:
    """Consecutive classes make a task."""
    return Half(x, y, y % classes_per_task, y // classes_per_task)


def _framed(x: np.ndarray) -> np.ndarray:
    """Images of 28 x 28 with a margin about them; others as they are."""
    if x.shape[1:] != (28, 28):
        return x
    margin = (PERMUTED_SIDE - 28) // 2
    return np.pad(x, ((0, 0), (margin, margin), (margin, margin)))


def _with_channel(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Images that have no axis for the channels get one, the last, as convolutions want it."""
    return (*shape, 1) if len(shape) == 2 else shape


def _held_out(dataset: Dataset) -> np.ndarray:
    """Which training samples are for validation."""
    kinds = dataset.y_train.astype(np.int64)
    if dataset.task_train is not None:
        kinds = kinds + dataset.classes * dataset.task_train
    held_out = every_nth(kinds, HELD_OUT)
    if len(np.unique(kinds[held_out])) < len(np.unique(kinds)):
        raise SettingsError(
            f"--evaluate-on validation: needs {HELD_OUT} training samples or more of each class"
        )
    return held_out


_PURPOSES = ("permutations", "stream", "evaluation", "weights", "replay", "fisher", "classes")


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose, independent of those of any other purpose and seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSES.index(purpose),)))
