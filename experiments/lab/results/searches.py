"""What was tried of a method in a search of its settings."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.lab.options import search
from experiments.lab.options.declaration import Range
from experiments.lab.options.description import counted
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import FinishedRun
from experiments.lab.results.stamps import files_of_other_code


@dataclass(frozen=True)
class Candidate:
    """One configuration of a method, tried.

    Attributes:
        settings: the configuration, evaluated on validation data.
        accuracies: its final average accuracy (fraction) with each tuning seed.
        diverged: the tuning seeds with which the training diverged.
    """

    settings: Settings
    accuracies: tuple[float, ...]
    diverged: tuple[int, ...] = ()

    @property
    def score(self) -> float:
        """The mean accuracy, by which configurations are chosen."""
        return sum(self.accuracies) / len(self.accuracies)

    @property
    def shown(self) -> str:
        """The score in percent, with a mark if trainings diverged."""
        lost = len(self.diverged)
        mark = f" ({lost} of {len(self.accuracies)} diverged)" if lost else ""
        return f"{100 * self.score:.2f} %{mark}"


@dataclass(frozen=True)
class Search:
    """What was tried of one method.

    Attributes:
        method: its name.
        space: what was searched.
        trainings: the configurations that were trained, in the order in which they were tried; of each, what
            was evaluated in its training.
        runs: of all of them.
    """

    method: str
    space: Mapping[str, Range]
    trainings: tuple[tuple[Candidate, ...], ...]
    runs: tuple[FinishedRun, ...]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The best of each training."""
        return tuple(map(best_of, self.trainings))

    @property
    def best(self) -> Candidate:
        """The best of all."""
        return best_of(self.candidates)

    @property
    def edges(self) -> list[str]:
        """The settings in which the best one lies at an edge."""
        return search.at_the_edge(self.best.settings, self.space, [one.settings for one in self.candidates])

    @property
    def tried(self) -> str:
        """How much was trained and evaluated, in words."""
        trained = counted(len(self.trainings), "configuration")
        n = sum(map(len, self.trainings))
        return trained if n == len(self.trainings) else f"{trained} with {counted(n, 'evaluation')}"

    def chosen(self, candidate: Candidate) -> dict[str, Any]:
        """What a candidate has of what was tried, as settings of the command line."""
        return search.chosen(candidate.settings, self.method, self.space)


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the highest score of those that never diverged, or of all; of equals, the first."""
    return max(candidates, key=lambda candidate: (not candidate.diverged, candidate.score))


def search_record(of_method: Search) -> dict[str, Any]:
    """A search, for the summary; of each training the best of what was evaluated."""
    best = of_method.chosen(of_method.best)
    seeds = len(of_method.best.accuracies)
    return {
        "space": {name: [one.low, one.high] for name, one in of_method.space.items()},
        "trainings": seeds * len(of_method.trainings),
        "evaluations": seeds * sum(map(len, of_method.trainings)),
        "candidates": [
            {
                **of_method.chosen(one),
                "validation_accuracy": one.score,
                "per_seed": one.accuracies,
                "diverged": one.diverged,
            }
            for one in of_method.candidates
        ],
        "other_code": files_of_other_code(of_method.runs),
        "best": best,
        "flags_of_best": search.as_flags(best),
        "at_the_edge": of_method.edges,
    }


def table_of_searches(searches: Mapping[str, Search], first_seed: int) -> str:
    """Everything that was evaluated, and every tuning seed, as CSV, a line each; the seeds are consecutive.

    Lines of one method with the same number in the column ``training``, and one seed, are of one training.
    """
    names = sorted({name for one in searches.values() for name in one.chosen(one.best)})
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["method", "training", *names, "seed", "validation_accuracy", "diverged"])
    for method, of_method in searches.items():
        evaluated = [(i, one) for i, each in enumerate(of_method.trainings) for one in each]
        for training, one in evaluated:
            values = of_method.chosen(one)
            of_names = [values.get(name, "") for name in names]
            for number, accuracy in enumerate(one.accuracies):
                seed = first_seed + number
                diverged = "yes" if seed in one.diverged else ""
                writer.writerow([method, training, *of_names, seed, accuracy, diverged])
    return content.getvalue()
