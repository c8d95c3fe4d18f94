"""From a data set to a sequence of tasks: what is shown, what is asked, and what counts as an answer.

A *sample* is an index into the data set together with the task it is shown in. In split experiments
the digit decides the task, in permuted ones every task shows all digits, its pixels permuted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from experiments.lab.data import Dataset
from experiments.lab.settings import Settings

PERMUTED_SIDE = 32  # 28 x 28 images are padded to this before their pixels are permuted
HELD_OUT = 6  # every sixth training image of each class is for validation


@dataclass(frozen=True, eq=False)
class Problem:
    """The tasks of one data set in one scenario.

    With ``n = classes_per_task``, the label *within* task t of a sample of class y is ``y mod n``. The
    network answers with it, among the outputs of its task alone where the outputs are ``multihead``,
    unless all classes of all tasks have to be told apart: then the answer is ``t n + y mod n``.

    Attributes:
        n_tasks: number of tasks.
        classes_per_task: number of classes in each.
        permuted: whether tasks are permutations of the pixels.
        multihead: whether each task has outputs of its own, used for its samples only.
        all_classes: whether every sample is compared with all classes of all tasks.
        x_train: uint8 [n, pixels].
        y_train: int32 [n], the class in the data set.
        x_test: uint8 [n, pixels].
        y_test: int32 [n].
        max_value: the pixel value that stands for 1.
        shuffled: whether each seed has the classes in another order.
    """

    n_tasks: int
    classes_per_task: int
    permuted: bool
    multihead: bool
    all_classes: bool
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    max_value: int
    shuffled: bool = False

    @property
    def n_pixels(self) -> int:
        """Number of inputs of the network."""
        return int(self.x_train.shape[1])

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the network."""
        heads = self.n_tasks if self.multihead or self.all_classes else 1
        return heads * self.classes_per_task

    def members(self, labels: np.ndarray, task: int) -> np.ndarray:
        """Indices of the samples with these labels that belong to a task; int32."""
        if self.permuted:
            return np.arange(len(labels), dtype=np.int32)
        return np.flatnonzero(labels // self.classes_per_task == task).astype(np.int32)

    def members_of_class(self, labels: np.ndarray, task: int, within: int) -> np.ndarray:
        """Indices of the samples of one class of a task; int32."""
        label = within if self.permuted else task * self.classes_per_task + within
        return np.flatnonzero(labels == label).astype(np.int32)

    def places(self, seed: int) -> np.ndarray:
        """Where each class of the data set stands in the order of one seed, int32 [classes].

        With places [1, 0, …] the digit 0 is called 1, and the digit 1 is called 0.
        """
        n_classes = self.classes_per_task * (1 if self.permuted else self.n_tasks)
        if not self.shuffled:
            return np.arange(n_classes, dtype=np.int32)
        return generator(seed, "classes").permutation(n_classes).astype(np.int32)

    def seen_by(self, seed: int) -> Problem:
        """The same tasks with the classes called by their places in the order of one seed."""
        places = self.places(seed)
        return replace(self, y_train=places[self.y_train], y_test=places[self.y_test], shuffled=False)

    def permutations(self, seed: int) -> np.ndarray:
        """The order of the pixels in each task, int32 [tasks, pixels]; without permutation, [0, 0]."""
        if not self.permuted:
            return np.zeros((0, 0), np.int32)
        random = generator(seed, "permutations")
        return np.stack([random.permutation(self.n_pixels) for _ in range(self.n_tasks)]).astype(np.int32)


def make_problem(settings: Settings, dataset: Dataset) -> Problem:
    """Lay out the tasks of an experiment.

    Args:
        settings: valid settings.
        dataset: the data set they name.
    """
    x_train, y_train, x_test, y_test = dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test
    if settings.evaluate_on == "validation":
        held_out = _held_out(y_train)
        x_train, y_train, x_test, y_test = (
            array[of] for of in (~held_out, held_out) for array in (dataset.x_train, dataset.y_train)
        )
    side = x_train.shape[1]
    margin = (PERMUTED_SIDE - side) // 2 if settings.permuted and side == 28 else 0

    def flat(images: np.ndarray) -> np.ndarray:
        padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
        return padded.reshape(len(images), -1)

    return Problem(
        n_tasks=settings.tasks,
        classes_per_task=settings.classes_per_task,
        permuted=settings.permuted,
        multihead=settings.scenario == "task" and not settings.singlehead,
        all_classes=settings.scenario == "class",
        x_train=flat(x_train),
        y_train=y_train.astype(np.int32),
        x_test=flat(x_test),
        y_test=y_test.astype(np.int32),
        max_value=dataset.max_value,
        shuffled=settings.class_order == "shuffled",
    )


def _held_out(labels: np.ndarray) -> np.ndarray:
    """Which training images are for validation."""
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        held_out[np.flatnonzero(labels == label)[HELD_OUT - 1 :: HELD_OUT]] = True
    return held_out


_PURPOSES = ("permutations", "stream", "evaluation", "weights", "replay", "fisher", "classes")


def generator(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose, independent of those of any other purpose and seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSES.index(purpose),)))
