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
from dataclasses import dataclass, field

import numpy as np

from experiments.lab.options.measure import Measure, measure

__all__ = [
    "Measure",
    "Measured",
    "average_anytime_accuracy",
    "backward_transfer",
    "forgetting",
    "forward_transfer",
    "learning_accuracy",
    "measure",
    "min_accuracy",
    "why_unwatched",
    "worst_case_accuracy",
]


@dataclass(frozen=True)
class Measured:
    """The value of a measure in one run, or why it has none.

    Attributes:
        value: the value; NaN exactly where it is undefined.
        reason: why it is undefined, in one clause; None where it is defined.
        failed: whether it is undefined because the user's own function failed.

    Raises:
        ValueError: if the value is NaN without a reason, or there is a reason beside a value.

    Examples:
        >>> Measured(0.25)
        Measured(value=0.25, reason=None)
    """

    value: float
    reason: str | None = None
    failed: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if math.isnan(self.value) != (self.reason is not None):
            raise ValueError(
                f"value {self.value}, reason {self.reason!r}: must be a number alone, or NaN and a reason"
            )


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


def why_unwatched(evaluated_at: np.ndarray, task_ends: np.ndarray) -> str | None:
    """Why some task but the last was never evaluated after its end; None if all were."""
    unwatched = np.flatnonzero(task_ends[:-1] >= evaluated_at.max(initial=0))
    return f"there is no evaluation after the end of task {unwatched[0] + 1}" if unwatched.size else None
