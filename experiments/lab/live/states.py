"""What is known of each method while a command trains, for the page to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.lab.results.runs import Run, accuracy_so_far
from experiments.lab.results.statistics import standard_error
from experiments.lab.training.progress import Progress


@dataclass(frozen=True)
class Averages:
    """What is drawn of one evaluation, over the seeds; in percent.

    Attributes:
        tasks: [tasks], mean accuracy on each task.
        overall: mean and standard error of the average over all tasks.
        so_far: the same of the average over the tasks seen so far.
    """

    tasks: np.ndarray
    overall: tuple[float, float]
    so_far: tuple[float, float]


@dataclass
class MethodState:
    """What is known of one method. Times are those of `time.monotonic`."""

    method: str
    state: str = "waiting"  # "training", "finished", "stopped"
    n_found: int = 0
    n_training: int = 0
    iteration: int = 0
    total: int = 0
    began: float = 0.0
    first_report: tuple[float, int] | None = None  # time, iteration
    last_report: float = 0.0
    accuracy: dict[int, Averages] = field(default_factory=dict)
    loss: dict[int, tuple[float, float]] = field(default_factory=dict)  # mean and standard error
    found: dict[int, Progress] = field(default_factory=dict)

    def add(self, progress: Progress) -> None:
        """Take in a report; runs found again count where the others have got to."""
        self.iteration, self.total = progress.iteration, progress.total
        losses, accuracy, seen = progress.losses, progress.accuracy, progress.seen
        other = self.found.get(progress.iteration)
        if other is not None:
            losses = np.concatenate([losses, other.losses])
            if accuracy is not None and other.accuracy is not None:
                accuracy = np.concatenate([accuracy, other.accuracy])
                seen = np.concatenate([seen, other.seen])
        if progress.iteration > 0:
            self.loss[progress.iteration] = _mean_and_error(losses)
        if accuracy is not None:
            so_far = accuracy_so_far(accuracy, seen)
            self.accuracy[progress.iteration] = Averages(
                tasks=100 * accuracy.mean(axis=0),
                overall=_mean_and_error(100 * accuracy.mean(axis=1)),
                so_far=_mean_and_error(100 * so_far),
            )

    @property
    def seconds(self) -> float:
        """Seconds of the training, compilation included, until its last report."""
        return max(0.0, self.last_report - self.began)

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the iterations between the first report and the last; None before there are two."""
        if self.first_report is None:
            return None
        time_of_first, first = self.first_report
        if self.iteration <= first:
            return None
        return (self.last_report - time_of_first) * (self.total - self.iteration) / (self.iteration - first)

    @property
    def fraction(self) -> float:
        """How much of the training is done."""
        if self.state == "finished":
            return 1.0
        return self.iteration / self.total if self.total else 0.0


def replayed(runs: Sequence[Run]) -> list[Progress]:
    """The reports that the training of some finished runs would have made.

    Args:
        runs: runs of one method with the same settings.
    """
    first = runs[0]
    evaluated = {int(at): place for place, at in enumerate(first.evaluated_at)}
    logged = {int(at): place for place, at in enumerate(first.logged_at)}
    iterations = sorted(evaluated | logged)
    reports = []
    for iteration in iterations:
        losses, accuracy = np.full(len(runs), np.nan), None
        seen = np.zeros((len(runs), first.accuracy.shape[1]), bool)
        if iteration in logged:
            losses = np.array([run.loss[logged[iteration]] for run in runs])
        if iteration in evaluated:
            place = evaluated[iteration]
            accuracy = np.array([run.accuracy[place] for run in runs])
            seen = np.array([run.seen[place] for run in runs])
        reports.append(Progress(iteration, iterations[-1], losses, accuracy, seen))
    return reports


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    error = float(standard_error(values[:, None])[0]) if len(values) > 1 else 0.0
    return float(values.mean()), error
