"""The other methods beside their published accuracies: ``python -m benchmarks.baselines --data-dir PATH``.

Not what they cost but whether they are right: split MNIST in the protocol of Hsu et al. (2018,
arXiv:1810.12488), four epochs of each task, in the three scenarios. Their networks, strengths and (for EWC)
estimates of the Fisher information are not these, so a difference of some points is no error by itself; a
method that fails where theirs works is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import compare
from benchmarks.report import publish
from experiments.lab.command.guard import fail
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

SCENARIOS = "task", "domain", "class"
PUBLISHED = {  # final average accuracy in %, by scenario; replay is called rehearsal there
    "standard": (93.5, 55.2, 19.7),
    "ewc": (98.0, 57.3, 19.8),
    "si": (98.6, 64.8, 19.7),
    "lwf": (99.6, 71.0, 24.2),
    "er": (99.4, 95.2, 90.8),
    "joint": (99.5, 98.6, 97.5),
}
OTHERS = "l2", "average", "cs"  # not in the paper, under the same conditions
SYNAPSE = ("--beakers=7", "--alpha=10", "--beta=20000")
EPOCHS = ("--iters=375",)  # of 128 samples: four epochs of about 12 000


def accuracies(
    scenario: str, seeds: int, data_dir: Path | None, results_dir: Path
) -> Mapping[str, tuple[float | None, float | None]]:
    """Mean and standard error of each method in %, by the command, which finds again what it has trained."""
    methods = ("--methods", *PUBLISHED, *OTHERS)
    flags = [*methods, f"--scenario={scenario}", f"--n-seeds={seeds}", *EPOCHS, *SYNAPSE]
    summary = compare(flags, data_dir, results_dir / scenario)
    final = {name: of["final_accuracy"] for name, of in summary["methods"].items()}
    # Neither is known where trainings diverged.
    return {name: (in_percent(of["mean"]), in_percent(of["sem"])) for name, of in final.items()}


def in_percent(fraction: float | None) -> float | None:
    """A fraction in percent, where it is known."""
    return None if fraction is None else 100 * fraction


@dataclass(frozen=True)
class BaselinesOptions:
    """The other methods beside their published accuracies.

    Attributes:
        data_dir: Folder with MNIST, as for the comparison.
        n_seeds: Seeds.
        results_dir: Where runs are kept.
        out: Folder for the table (Markdown and JSON).
    """

    data_dir: Path | None = None
    n_seeds: int = 5
    results_dir: Path = Path("results/baselines")
    out: Path | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """One table for each scenario."""
    given, _ = parse(BaselinesOptions, "benchmarks.baselines", arguments)
    if given.n_seeds < 2:
        wrong = f"--n-seeds {given.n_seeds}: must be at least 2, for a standard error"
        sys.exit(fail(f"error: {wrong}", status=2))
    tables = []
    for number, scenario in enumerate(SCENARIOS):
        rows: list[list[str | float | None]] = []
        final = accuracies(scenario, given.n_seeds, given.data_dir, given.results_dir)
        for method, (mean, error) in final.items():
            published = PUBLISHED[method][number] if method in PUBLISHED else None
            difference = None if None in (mean, published) else mean - published
            rows.append([method, mean, error, published, difference])
        title = f"Split MNIST, {scenario} scenario: final average accuracy in %, {given.n_seeds} seeds"
        head = ["", "here", "standard error", "Hsu et al. 2018", "difference"]
        tables.append(Table(title, head, rows, [0, 2, 2, 1, 1]))
    publish("baselines", given.out, tables)


if __name__ == "__main__":
    main()
