"""What a finished run holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Probes:
    """What was measured of one run, at each of its L evaluations, of its K beakers and the layers.

    Attributes:
        layers: names of the layers, from the input to the output.
        distance: [L, K, layers], root mean square of ``u_k − u_1`` over a layer's weights and biases.
        flow: [L, K, layers], root mean square of ``g_k (u_k − u_{k+1})``, what passes link k in an iteration;
            the last one is the leak.
        accuracy: [L, K, tasks], accuracy on the evaluation subset of the network with the weights ``u_k``.
    """

    layers: list[str]
    distance: np.ndarray
    flow: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Probes":
        """Rebuild them from a file.

        Raises:
            ValueError: if they do not fit together.
        """
        distance, flow, accuracy = (
            np.array(record[name], float) for name in ("distance", "flow", "accuracy")
        )
        layers = [str(layer) for layer in record["layers"]]
        if distance.shape != flow.shape or distance.ndim != 3 or distance.shape[2] != len(layers):
            raise ValueError("the arrays of these probes do not fit together")
        if accuracy.ndim != 3 or accuracy.shape[:2] != distance.shape[:2]:
            raise ValueError("the arrays of these probes do not fit together")
        return cls(layers, distance, flow, accuracy)


@dataclass(frozen=True, eq=False)
class Run:
    """One method, one seed, finished. Accuracies are fractions correct.

    Attributes:
        method: the method's name.
        seed: the seed of its initial weights and its batches.
        evaluated_at: int [L], iterations at which the accuracy was taken: 0 (before any training), every
            `eval_log`, the last of each task (task-based and gradual streams), and the last.
        accuracy: [L, tasks], accuracy per task on the evaluation subset.
        seen: bool [L, tasks], the tasks that the stream had shown by then; for joint training too, those of
            the stream that the other methods learn.
        logged_at: int [M], iterations at which the loss was recorded: every `loss_log`, or the last
            alone where the run is shorter.
        loss: [M], mean training loss over the stretch that ends there.
        initial_accuracy: [tasks], accuracy on the full test set before any training.
        accuracy_matrix: [rows, tasks], accuracy on the full test set: row i after task i (task-based and
            gradual streams), a single row at the end (others).
        matrix_at: int [rows], iterations at which the rows were taken.
        final_accuracy: mean over tasks of the last row.
        diverged_at: first iteration (from 1) whose training loss is not finite; the last one if all are, but
            it leaves weights that are not finite; else None.
        probes: what the beakers held at each evaluation; None where that was not asked for.
    """

    method: str
    seed: int
    evaluated_at: np.ndarray
    accuracy: np.ndarray
    seen: np.ndarray
    logged_at: np.ndarray
    loss: np.ndarray
    initial_accuracy: np.ndarray
    accuracy_matrix: np.ndarray
    matrix_at: np.ndarray
    final_accuracy: float
    diverged_at: int | None = None
    probes: Probes | None = None

    @property
    def diverged(self) -> bool:
        """Whether the training diverged; its accuracies then say nothing about the method."""
        return self.diverged_at is not None

    @property
    def accuracy_overall(self) -> np.ndarray:
        """Mean accuracy over all tasks, also those to come; [L]."""
        return np.asarray(self.accuracy.mean(axis=1))

    @property
    def accuracy_so_far(self) -> np.ndarray:
        """Mean accuracy over the tasks seen so far; [L]. NaN before the first."""
        return accuracy_so_far(self.accuracy, self.seen)


def accuracy_so_far(accuracy: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Mean accuracy over the tasks seen so far, ``[…]``; NaN where there are none.

    Args:
        accuracy: ``[…, tasks]``.
        seen: bool ``[…, tasks]``.

    >>> accuracy_so_far(np.array([1.0, 0.5, 0.0]), np.array([True, True, False])).item()
    0.75
    """
    totals, counts = (accuracy * seen).sum(axis=-1), seen.sum(axis=-1)
    return np.asarray(np.where(counts > 0, totals / np.maximum(counts, 1), math.nan))


@dataclass(frozen=True)
class Seconds:
    """Time spent on a group of seeds that trained together."""

    compile: float
    train: float
    evaluate: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(
            self.compile + other.compile,
            self.train + other.train,
            self.evaluate + other.evaluate,
        )


@dataclass(frozen=True)
class FinishedRun:
    """A run as it is kept.

    Attributes:
        stamp: its name.
        run: what it measured.
        environment: the software and the device it was made with, how many seeds trained together, and the
            seconds they took.
        found_again: whether it was read from the results, not made by this command.
        other_code: the files that were others when it was made (`find_other_code`); empty where none were.
    """

    stamp: str
    run: Run
    environment: dict[str, Any]
    found_again: bool
    other_code: tuple[str, ...] = ()


def trained_together(one: FinishedRun) -> int:
    """How many runs trained at once with this one, itself included."""
    return int(one.environment.get("seeds_together", 1) * one.environment.get("configurations_together", 1))


def _sharing(one: FinishedRun, part: str) -> int:
    """How many share the seconds of a part: one training may be evaluated as several configurations."""
    if part == "evaluate" and "evaluated_together" in one.environment:
        return int(one.environment["seeds_together"] * one.environment["evaluated_together"])
    return trained_together(one)


def seconds_per_run(finished: Sequence[FinishedRun]) -> Seconds | None:
    """The time that one of these runs took, on average; None where it is not known of all.

    Runs that trained together took the time together, and each is given an equal share of it.
    """
    shares = []
    for one in finished:
        seconds = one.environment.get("seconds")
        if seconds is None:
            return None
        shares.append({part: spent / _sharing(one, part) for part, spent in seconds.items()})
    return Seconds(**{part: float(np.mean([share[part] for share in shares])) for part in shares[0]})
