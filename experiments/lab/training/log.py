"""What is recorded of a training, and when."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Probes, Run
from experiments.lab.training.progress import Progress


class Log:
    """What is recorded of a group of runs, and when.

    Attributes:
        task_ends: iterations after which a task ends; the last one is that of the run.
        matrix_at: iterations with an evaluation on the whole test set, beside that at the start.
        evaluated_at: iterations with an evaluation on the subset; the start and ``task_ends`` are among them.
        logged_at: ends of the stretches that losses are averaged over.
        seen: [runs, evaluations, tasks], the tasks shown so far.
        losses: [iterations, trained runs]: several runs may be one training, evaluated in several ways.
        lost: bool [trained runs], whether the weights at the end are not finite.
        accuracy: one [runs, tasks] for each of ``evaluated_at``.
        matrix: one [runs, tasks] for the start, and for each of ``matrix_at``.
        probes: one for each of ``evaluated_at``, trained runs last; empty without probes.

    Args:
        settings: the settings of the trainings.
        trained: [runs], the place of each among the trained runs.
        probed: whether beakers are measured.
    """

    def __init__(self, settings: Settings, trained: np.ndarray, probed: bool = False) -> None:
        self._total = total = settings.total_iterations
        self.task_ends = settings.task_ends
        self.matrix_at = self.task_ends if settings.full_eval == "tasks" else [total]
        self.evaluated_at = sorted({*range(0, total + 1, settings.eval_log), *self.task_ends})
        self.logged_at = list(range(settings.loss_log, total + 1, settings.loss_log)) or [total]
        self._trained, n_trained = trained, trained.max() + 1
        self.seen = np.zeros((len(trained), len(self.evaluated_at), settings.tasks), bool)
        self.losses = np.full((total, n_trained), np.nan)
        self.lost = np.zeros(n_trained, bool)
        self.accuracy: list[np.ndarray] = []
        self.matrix: list[np.ndarray] = []
        self.probes: dict[str, list[np.ndarray]] = (
            {"distance": [], "flow": [], "accuracy": []} if probed else {}
        )

    def look(self, seen: Mapping[str, np.ndarray]) -> None:
        """Take in what was measured of the beakers."""
        for name, values in self.probes.items():
            values.append(seen[name])

    def stops_after(self, iteration: int) -> list[int]:
        """The iterations still to come at which something is recorded, in order."""
        return [stop for stop in sorted({*self.evaluated_at, *self.logged_at}) if stop > iteration]

    def records(self) -> dict[str, np.ndarray]:
        """All that has been recorded."""
        recorded = {"losses": self.losses, "accuracy": self.accuracy, "matrix": self.matrix}
        recorded |= {f"probes_{name}": values for name, values in self.probes.items()}
        return {name: np.array(values) for name, values in recorded.items()}

    def restore(self, records: Mapping[str, np.ndarray]) -> None:
        """Go on from what `records` gave."""
        self.losses = np.array(records["losses"])
        self.accuracy, self.matrix = list(records["accuracy"]), list(records["matrix"])
        self.probes = {name: list(records[f"probes_{name}"]) for name in self.probes}

    def progress(self, first: int, stop: int) -> Progress:
        """Where the training stands after the stretch from ``first`` to ``stop``."""
        losses = np.full(len(self._trained), np.nan)
        if stop > first:
            losses = self.losses[first:stop].mean(axis=0)[self._trained]
        evaluated = stop in self.evaluated_at
        latest = len(self.accuracy) - 1
        return Progress(
            stop, self._total, losses, self.accuracy[-1] if evaluated else None, self.seen[:, latest]
        )

    def runs(self, method: str, seeds: Sequence[int], layers: list[str]) -> list[Run]:
        """What each run did; ``seeds`` are those of the runs, ``layers`` those that were probed."""
        probes = {name: np.stack(values) for name, values in self.probes.items()}
        n_trained = self.losses.shape[1]
        stretches = self.losses[: self.logged_at[-1]].reshape(len(self.logged_at), -1, n_trained)
        not_finite = ~np.isfinite(self.losses)
        in_the_last_update = np.where(self.lost, len(self.losses), 0)
        first_not_finite = np.where(not_finite.any(axis=0), not_finite.argmax(axis=0) + 1, in_the_last_update)
        accuracy, matrix = np.stack(self.accuracy), np.stack(self.matrix)
        return [
            Run(
                method=method,
                seed=seed,
                evaluated_at=np.array(self.evaluated_at),
                accuracy=accuracy[:, number],
                seen=self.seen[number],
                logged_at=np.array(self.logged_at),
                loss=stretches.mean(axis=1)[:, of],
                initial_accuracy=matrix[0, number],
                accuracy_matrix=matrix[1:, number],
                matrix_at=np.array(self.matrix_at),
                final_accuracy=float(matrix[-1, number].mean()),
                diverged_at=int(first_not_finite[of]) or None,
                # In the precision that they are read in again.
                probes=Probes(layers, **{name: seen[..., of].astype(float) for name, seen in probes.items()})
                if probes
                else None,
            )
            for number, (seed, of) in enumerate(zip(seeds, self._trained, strict=True))
        ]


class Timer:
    """Seconds spent in each phase: ``with timer("train"): …``."""

    def __init__(self) -> None:
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time that the context takes to a phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began
