"""What was tried of a method in a search of its settings."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.lab.options import search
from experiments.lab.options.declaration import Range
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
        space: what was searched.
        candidates: the configurations, in the order in which they were tried.
        runs: of all of them.
    """

    space: Mapping[str, Range]
    candidates: tuple[Candidate, ...]
    runs: tuple[FinishedRun, ...]

    @property
    def best(self) -> Candidate:
        """The one with the highest score of those that never diverged, or of all; of equals, the first."""
        return max(self.candidates, key=lambda candidate: (not candidate.diverged, candidate.score))

    @property
    def edges(self) -> list[str]:
        """The settings in which the best one lies at an edge."""
        return search.at_the_edge(self.best.settings, self.space, [one.settings for one in self.candidates])


def search_record(of_method: Search) -> dict[str, Any]:
    """A search, for the summary."""
    best = search.varied(of_method.best.settings, of_method.space)
    return {
        "space": {name: [one.low, one.high] for name, one in of_method.space.items()},
        "candidates": [
            {
                **search.varied(one.settings, of_method.space),
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
    """Every configuration and tuning seed as CSV, a line each; the seeds are consecutive."""
    names = sorted(
        {name for one in searches.values() for name in search.varied(one.best.settings, one.space)}
    )
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["method", *names, "seed", "validation_accuracy", "diverged"])
    for method, of_method in searches.items():
        for one in of_method.candidates:
            values: dict[str, Any] = search.varied(one.settings, of_method.space)
            for number, accuracy in enumerate(one.accuracies):
                seed = first_seed + number
                diverged = "yes" if seed in one.diverged else ""
                writer.writerow([method, *(values.get(name, "") for name in names), seed, accuracy, diverged])
    return content.getvalue()
