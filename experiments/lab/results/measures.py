"""Measures of continual learning, from what a finished run recorded.

Two records are used. The accuracy matrix `R` [tasks, tasks] holds in row i, column j (both from 1 in the
equations) the accuracy on the whole test set of task j at the end of task i; `b` [tasks] is the same at
the initial weights. The evaluations `a(n)` [L, tasks] hold the accuracy on a fixed subset of the test set
at the iterations n; what is computed from them depends on how often there is one. T is the number of
tasks. All accuracies, and so all measures, are fractions (1 is 100 %); differences lie in [-1, 1].

In a gradual stream, in which neighbouring tasks overlap, the end of task i is the nominal one: the
iteration at which row i was taken, i times `iters`. Some samples of task i come later, and some of the
next one have come before.

A measure is never 0 for want of something to measure: it is then NaN, and says why.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.lab.options.settings import Settings

if TYPE_CHECKING:
    from experiments.lab.results.runs import Run

# The streams without a row of the accuracy matrix at the end of each task.
NO_TASK_ENDS = {
    "random": "a random stream has no task ends",
    "file": "the task ends of a stream from a file are not known",
}


@dataclass(frozen=True)
class Measure:
    """The value of a measure in one run, or why it has none.

    Attributes:
        value: the value; NaN exactly where it is undefined.
        reason: why it is undefined, in one clause; None where it is defined.

    Raises:
        ValueError: if the value is NaN without a reason, or there is a reason beside a value.

    Examples:
        >>> Measure(0.25)
        Measure(value=0.25, reason=None)
    """

    value: float
    reason: str | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.value) != (self.reason is not None):
            raise ValueError(
                f"value {self.value}, reason {self.reason!r}: must be a number alone, or NaN and a reason"
            )


def measures(run: "Run", settings: Settings) -> dict[str, Measure]:
    """All measures of one run, by name, in the order in which they are to be shown.

    A run that diverged has them like any other: outputs that are not finite are wrong answers.

    Args:
        run: the run.
        settings: its settings.

    Returns:
        `final_accuracy` (the mean of the last row of the accuracy matrix, `1/T Σ_j R_T,j`: ACC of
        Lopez-Paz & Ranzato 2017), which is always defined, and what the functions of this module
        compute, under their names.

    Raises:
        ValueError: if the stream has task ends, but the accuracy matrix not one row for each.
    """
    no_ends = NO_TASK_ENDS.get(settings.stream)
    if settings.methods[run.method].mixes_tasks:
        no_ends = f"{run.method} mixes all tasks"
    if no_ends is None and len(run.accuracy_matrix) != settings.tasks:
        raise ValueError(
            f"accuracy_matrix of {len(run.accuracy_matrix)} rows: must be {settings.tasks}, one for each task"
        )
    no_previous = "there is a single task" if settings.tasks == 1 else no_ends
    overlap = "a gradual stream shows a task before the previous one ends"
    no_first_sight = no_previous or (overlap if settings.stream == "gradual" else None)
    unwatched = no_previous or _why_unwatched(run.evaluated_at, run.matrix_at)
    unseen = None if run.seen.any() else "there is no evaluation after the first iteration"
    matrix, evaluations = run.accuracy_matrix, (run.accuracy, run.evaluated_at, run.matrix_at)
    return {
        "final_accuracy": Measure(float(run.final_accuracy)),
        "backward_transfer": _unless(no_previous, backward_transfer, matrix),
        "forward_transfer": _unless(no_first_sight, forward_transfer, matrix, run.initial_accuracy),
        "forgetting": _unless(no_previous, forgetting, matrix),
        "learning_accuracy": _unless(no_ends, learning_accuracy, matrix),
        "average_anytime_accuracy": _unless(unseen, average_anytime_accuracy, run.accuracy, run.seen),
        "min_accuracy": _unless(unwatched, min_accuracy, *evaluations),
        "worst_case_accuracy": _unless(unwatched, worst_case_accuracy, *evaluations),
    }


def backward_transfer(accuracy_matrix: np.ndarray) -> float:
    """What learning the later tasks changed in the earlier ones (BWT); negative where they are forgotten.

    `BWT = 1/(T-1) Σ_{i<T} (R_T,i - R_i,i)`

    Args:
        accuracy_matrix: R, [tasks, tasks], of two tasks or more.

    References:
        Lopez-Paz & Ranzato (2017), Gradient Episodic Memory for Continual Learning, NeurIPS.

    Examples:
        >>> backward_transfer(np.array([[1.0, 0.5], [0.75, 1.0]]))
        -0.25
    """
    learned = np.diagonal(accuracy_matrix)
    return float(np.mean(accuracy_matrix[-1, :-1] - learned[:-1]))


def forward_transfer(accuracy_matrix: np.ndarray, initial_accuracy: np.ndarray) -> float:
    """What the earlier tasks gave to a task that was not shown yet, over the initial weights (FWT).

    `FWT = 1/(T-1) Σ_{i≥2} (R_{i-1},i - b_i)`

    Args:
        accuracy_matrix: R, [tasks, tasks], of two tasks or more.
        initial_accuracy: b, [tasks], the accuracy at the initial weights of the same run.

    References:
        Lopez-Paz & Ranzato (2017), Gradient Episodic Memory for Continual Learning, NeurIPS.

    Examples:
        >>> forward_transfer(np.array([[1.0, 0.75], [0.75, 1.0]]), np.array([0.5, 0.5]))
        0.25
    """
    before = np.diagonal(accuracy_matrix, offset=1)
    return float(np.mean(before - initial_accuracy[1:]))


def forgetting(accuracy_matrix: np.ndarray) -> float:
    """How far each earlier task ends below the best it ever was at the end of a task before the last.

    `F = 1/(T-1) Σ_{j<T} f_j`, `f_j = max_{1≤l≤T-1} R_l,j - R_T,j`

    The maximum is over the ends of all tasks but the last, those before task j was shown included, as
    published. It is negative where the last task improved on them, and at least `-BWT`.

    Args:
        accuracy_matrix: R, [tasks, tasks], of two tasks or more.

    References:
        Chaudhry, Dokania, Ajanthan & Torr (2018), Riemannian Walk for Incremental Learning:
        Understanding Forgetting and Intransigence, ECCV.

    Examples:
        >>> forgetting(np.array([[1.0, 0.5], [0.75, 1.0]]))
        0.25
    """
    best = accuracy_matrix[:-1, :-1].max(axis=0)
    return float(np.mean(best - accuracy_matrix[-1, :-1]))


def learning_accuracy(accuracy_matrix: np.ndarray) -> float:
    """How well each task is learned, at the end of that task (LA).

    `LA = 1/T Σ_i R_i,i`; the final accuracy is `LA + (T-1)/T BWT`.

    Args:
        accuracy_matrix: R, [tasks, tasks].

    References:
        Riemer, Cases, Ajemian, Liu, Rish, Tu & Tesauro (2019), Learning to Learn without Forgetting by
        Maximizing Transfer and Minimizing Interference, ICLR.

    Examples:
        >>> learning_accuracy(np.array([[1.0, 0.5], [0.75, 0.5]]))
        0.75
    """
    return float(np.mean(np.diagonal(accuracy_matrix)))


def average_anytime_accuracy(accuracy: np.ndarray, seen: np.ndarray) -> float:
    """The accuracy on the tasks seen so far, averaged over the whole training (AAA).

    `AAA = 1/|N| Σ_{n∈N} 1/|S(n)| Σ_{j∈S(n)} a_j(n)`, with S(n) the tasks that were shown up to the
    iteration n, and N the evaluations at which S is not empty: all but the one before the training.
    Each evaluation counts once, however far from the one before.

    Args:
        accuracy: a, [L, tasks].
        seen: bool [L, tasks], whether the task was shown until then; True somewhere.

    References:
        Caccia, Aljundi, Asadi, Tuytelaars, Pineau & Belilovsky (2022), New Insights on Reducing Abrupt
        Representation Change in Online Continual Learning, ICLR.

    Examples:
        >>> average_anytime_accuracy(
        ...     np.array([[0.1, 0.2], [1.0, 0.2], [0.5, 0.5]]),
        ...     np.array([[False, False], [True, False], [True, True]]),
        ... )
        0.75
    """
    begun = seen.any(axis=1)
    return float(np.mean(accuracy[begun].mean(axis=1, where=seen[begun])))


def min_accuracy(accuracy: np.ndarray, evaluated_at: np.ndarray, task_ends: np.ndarray) -> float:
    """The lowest that each earlier task falls after its own end, also where it recovers (min-ACC).

    `min-ACC = 1/(T-1) Σ_{i<T} min_{n>e_i} a_i(n)`, with e_i the iteration at which task i ends. The
    minimum is over the evaluations there are: fewer of them can only raise it.

    Args:
        accuracy: a, [L, tasks], of two tasks or more.
        evaluated_at: int [L], the iterations n.
        task_ends: e, int [tasks]; at least one evaluation comes after each but the last.

    References:
        De Lange, van de Ven & Tuytelaars (2023), Continual evaluation for lifelong learning:
        Identifying the stability gap, ICLR.

    Examples:
        >>> accuracy = np.array([[0.5, 0.5], [1.0, 0.5], [0.25, 0.75], [0.75, 1.0]])
        >>> min_accuracy(accuracy, evaluated_at=np.array([0, 10, 11, 20]), task_ends=np.array([10, 20]))
        0.25
    """
    later = evaluated_at[:, None] > task_ends[:-1]
    return float(np.mean(accuracy[:, :-1].min(axis=0, where=later, initial=math.inf)))


def worst_case_accuracy(accuracy: np.ndarray, evaluated_at: np.ndarray, task_ends: np.ndarray) -> float:
    """How well the last task is learned, weighed with the lowest that the others fell (WC-ACC).

    `WC-ACC = 1/T a_T(e_T) + (1 - 1/T) min-ACC`, with `min_accuracy`. It is at most the mean over the
    tasks of the last evaluation.

    Args:
        accuracy: a, [L, tasks], of two tasks or more.
        evaluated_at: int [L], the iterations n, of which the last is the end of the training.
        task_ends: e, int [tasks]; at least one evaluation comes after each but the last.

    References:
        De Lange, van de Ven & Tuytelaars (2023), Continual evaluation for lifelong learning:
        Identifying the stability gap, ICLR.

    Examples:
        >>> accuracy = np.array([[0.5, 0.5], [1.0, 0.5], [0.25, 0.75], [0.75, 1.0]])
        >>> worst_case_accuracy(accuracy, np.array([0, 10, 11, 20]), np.array([10, 20]))
        0.625
    """
    share = 1 / accuracy.shape[1]
    lowest = min_accuracy(accuracy, evaluated_at, task_ends)
    return float(share * accuracy[-1, -1] + (1 - share) * lowest)


def _unless(reason: str | None, measure: Callable[..., float], *records: np.ndarray) -> Measure:
    return Measure(measure(*records)) if reason is None else Measure(math.nan, reason)


def _why_unwatched(evaluated_at: np.ndarray, task_ends: np.ndarray) -> str | None:
    """Why some task but the last was never evaluated after its end; None if all were."""
    unwatched = np.flatnonzero(task_ends[:-1] >= evaluated_at.max(initial=0))
    return f"there is no evaluation after the end of task {unwatched[0] + 1}" if unwatched.size else None
