"""What is known of each method while a command trains, for the page to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from experiments.lab.results.runs import Run
from experiments.lab.training.progress import Progress


@dataclass
class Reported:
    """Seeds of one method that train together, and their reports so far."""

    method: str
    seeds: Sequence[int]
    reports: list[Progress] = field(default_factory=list)

    def runs(self) -> list[Run]:
        """The runs as far as they have got; their accuracy matrices are empty."""
        n_tasks = self.reports[0].seen.shape[1]
        logged = [one for one in self.reports if one.iteration > 0]
        evaluated = [one for one in self.reports if one.accuracy is not None]
        # Figures leave out what stands first, before any training: where a training goes on, nothing does.
        at = [one.iteration for one in evaluated]
        accuracy, seen = [one.accuracy for one in evaluated], [one.seen for one in evaluated]
        if not at or at[0] > 0:
            at.insert(0, 0)
            accuracy.insert(0, np.full((len(self.seeds), n_tasks), np.nan))
            seen.insert(0, np.zeros((len(self.seeds), n_tasks), bool))
        runs = []
        for place, seed in enumerate(self.seeds):
            loss = np.array([one.losses[place] for one in logged])
            finite = np.isfinite(loss)
            run = Run(
                method=self.method,
                seed=seed,
                evaluated_at=np.array(at),
                accuracy=np.array([one[place] for one in accuracy if one is not None]),
                seen=np.array([one[place] for one in seen]),
                logged_at=np.array([one.iteration for one in logged], int),
                loss=loss,
                initial_accuracy=np.full(n_tasks, np.nan),
                accuracy_matrix=np.empty((0, n_tasks)),
                matrix_at=np.empty(0, int),
                final_accuracy=float("nan"),
                diverged_at=None if finite.all() else logged[int(np.argmin(finite))].iteration,
            )
            runs.append(run)
        return runs


@dataclass
class MethodState:
    """What is known of one method. Times are those of `time.monotonic`."""

    method: str
    state: str = "waiting"  # "training", "finished", "stopped"
    found: list[Run] = field(default_factory=list)
    groups: list[Reported] = field(default_factory=list)  # one after the other; the last may train
    iteration: int = 0
    total: int = 0
    began: float = 0.0
    first_report: tuple[float, int] | None = None  # time, iteration
    last_report: float = 0.0

    def add(self, progress: Progress, now: float) -> None:
        """Take in a report of the group that trains."""
        self.groups[-1].reports.append(progress)
        self.iteration, self.total, self.last_report = progress.iteration, progress.total, now
        if self.first_report is None:
            self.first_report = now, progress.iteration
        if progress.iteration >= progress.total:
            self.state = "finished"

    @property
    def n_training(self) -> int:
        """How many seeds this command has trained or trains."""
        return sum(len(group.seeds) for group in self.groups)

    def runs(self) -> list[Run]:
        """All runs, at the iterations that all of them have come to, so that the averages do not leap."""
        if not all(group.reports for group in self.groups):
            return []
        runs = [*self.found, *(run for group in self.groups for run in group.runs())]
        if not runs:
            return []
        evaluated = set.intersection(*(set(run.evaluated_at.tolist()) for run in runs))
        logged = set.intersection(*(set(run.logged_at.tolist()) for run in runs))
        return [_at(run, sorted(evaluated), sorted(logged)) for run in runs]

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


def _at(run: Run, evaluated: Sequence[int], logged: Sequence[int]) -> Run:
    """The run as if it had been evaluated, and its loss recorded, at these iterations alone."""
    of_accuracy, of_loss = np.isin(run.evaluated_at, evaluated), np.isin(run.logged_at, logged)
    return replace(
        run,
        evaluated_at=run.evaluated_at[of_accuracy],
        accuracy=run.accuracy[of_accuracy],
        seen=run.seen[of_accuracy],
        logged_at=run.logged_at[of_loss],
        loss=run.loss[of_loss],
    )
