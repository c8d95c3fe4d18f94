"""Streams of other lengths, with settings chosen at one: ``python -m benchmarks.lengths --data-dir PATH``.

Every method is searched on split MNIST at each length of the stream (`experiments.sweep`): that is its own
best. The settings that it chose at one length are then used at all the others. The loss is its own best less
that, paired by seed. It can be negative: what is best on the validation data of the tuning seeds need not be
best on the test data of other seeds.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks.comparison import summary_of
from benchmarks.report import publish
from experiments.lab import Results, read_results
from experiments.lab.command.guard import fail
from experiments.lab.command.parsing import parse
from experiments.lab.figures import STYLE
from experiments.lab.figures.style import PAGE, looks
from experiments.lab.results.statistics import PairedDifference, estimate, paired_difference
from experiments.lab.system.tables import Table

METHODS = "standard", "average", "cs", "cs-readout", "record"
TASKS = 5


@dataclass(frozen=True)
class LengthsOptions:
    """Streams of other lengths, with settings chosen at one.

    Attributes:
        data_dir: Folder with MNIST, as for the comparison.
        methods: Methods, as for experiments.compare.
        iters: Iterations of a task, one number for each length. The settings are chosen at the second.
        scenario: Scenario of split MNIST.
        fc_units: Units in each hidden layer.
        batch: Samples in a batch.
        budget: Configurations of each method and length.
        n_tuning_seeds: Seeds for choosing settings.
        n_seeds: Seeds of the comparison.
        results_dir: Where runs are kept.
        out: Folder for the table (Markdown and JSON) and the figure.
    """

    data_dir: Path | None = None
    methods: tuple[str, ...] = METHODS
    iters: tuple[int, ...] = (100, 500, 2500, 10_000)
    scenario: str = "class"
    fc_units: int = 100
    batch: int = 32
    budget: int = 12
    n_tuning_seeds: int = 2
    n_seeds: int = 10
    results_dir: Path = Path("results/lengths")
    out: Path | None = None


class Studied:
    """The trainings of one study; the commands find again what has been trained."""

    def __init__(self, given: LengthsOptions) -> None:
        """Describe it by what the command was asked."""
        self._given = given
        self._best: dict[tuple[str, int], Results] = {}

    def own_best(self, method: str, iters: int) -> Results:
        """The method with the settings that suit this length."""
        given = self._given
        search: list[object] = ["--budget", given.budget, "--n-tuning-seeds", given.n_tuning_seeds]
        search += ["--ranges", "lr=1e-6:1e-2"]
        if (method, iters) not in self._best:
            self._best[method, iters] = self._results("sweep", method, iters, search)
        return self._best[method, iters]

    def carried(self, method: str, iters: int) -> Results:
        """The method with the settings that were chosen at the second length."""
        chosen_at = self._given.iters[1]
        best = self.own_best(method, chosen_at)
        if iters == chosen_at:
            return best
        return self._results("compare", method, iters, shlex.split(_search(best, method)["flags_of_best"]))

    def _results(self, command: str, method: str, iters: int, more: Sequence[object]) -> Results:
        given = self._given
        flags: list[object] = ["--methods", method, "--scenario", given.scenario, "--class-order", "shuffled"]
        flags += ["--fc-units", given.fc_units, "--batch", given.batch]
        flags += ["--iters", iters, "--n-seeds", given.n_seeds, "--eval-log", iters]
        flags += ["--eval-n", 256, *more]
        return read_results(summary_of(command, [*map(str, flags)], given.data_dir, given.results_dir))


def _search(results: Results, method: str) -> Mapping[str, Any]:
    assert results.searches is not None  # they are a sweep's
    return results.searches[method]


class Compared(dict[tuple[str, int], tuple[Results, Results]]):
    """Of each method and length: with the settings carried to it, and at its own best."""

    def accuracies(self, method: str, iters: int) -> tuple[Sequence[float], Sequence[float]]:
        """Final average accuracies, in per cent, a seed each: carried, and at its best."""
        first, second = (100 * one.final_accuracy[method] for one in self[method, iters])
        return first, second

    def loss(self, method: str, iters: int) -> PairedDifference:
        """What the method's own best has more, in points."""
        carried, best = self.accuracies(method, iters)
        return paired_difference(best, carried)


def tables(compared: Compared, given: LengthsOptions) -> list[Table]:
    """The accuracies, the losses and the settings."""
    lengths = [f"{TASKS * iters} iterations" for iters in given.iters]

    def rows(cell: Callable[[str, int], str]) -> list[list[str]]:
        return [[method, *(cell(method, iters) for iters in given.iters)] for method in given.methods]

    def accuracy(method: str, iters: int) -> str:
        one = estimate(compared.accuracies(method, iters)[0])
        return f"{one.mean:.1f} ± {one.sem:.1f}"

    def loss(method: str, iters: int) -> str:
        one = compared.loss(method, iters)
        low, high = one.ci95
        return "" if iters == given.iters[1] else f"{one.mean:.1f} ({low:.1f} to {high:.1f})"

    def settings(method: str, iters: int) -> str:
        return str(_search(compared[method, iters][1], method)["flags_of_best"])

    chosen = f"settings chosen at {lengths[1]}"
    head, digits = ["", *lengths], [0] * (1 + len(lengths))
    network = f"{given.fc_units} units a layer, batches of {given.batch}"
    what = f"Split MNIST, {given.scenario} scenario, {network}, {given.n_seeds} seeds"
    return [
        Table(f"{what}: final average accuracy (%), {chosen}", head, rows(accuracy), digits),
        Table("Points that the method's own best has more (95 % interval)", head, rows(loss), digits),
        Table("Its own best", head, rows(settings), digits),
    ]


@matplotlib.rc_context(STYLE)
def draw(compared: Compared, given: LengthsOptions) -> Figure:
    """Accuracy over the length of the stream, a panel for each method."""
    settings = compared[given.methods[0], given.iters[0]][0].settings
    shown = looks(given.methods, settings)
    figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
    axes = figure.subplots(1, len(given.methods), sharey=True, squeeze=False)[0]
    lengths = [TASKS * iters for iters in given.iters]
    for panel, method in zip(axes, given.methods, strict=True):
        color = shown[method].color
        labels = f"settings chosen at {lengths[1]} iterations", "settings chosen at each length"
        for place, (label, style) in enumerate(zip(labels, ("o-", "s--"), strict=True)):
            each = [estimate(compared.accuracies(method, iters)[place]) for iters in given.iters]
            means, errors = [one.mean for one in each], [one.sem for one in each]
            panel.errorbar(lengths, means, errors, fmt=style, color=color, markersize=3.5, label=label)
        panel.set(xscale="log", xlabel="iterations", title=shown[method].label)
        panel.axvline(lengths[1], color="0.8", linewidth=0.8, zorder=0)
    axes[0].set_ylabel("final accuracy (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Three tables and a figure."""
    given, _ = parse(LengthsOptions, "benchmarks.lengths", arguments)
    if len(given.iters) < 2:
        wrong = " ".join(["--iters", *map(str, given.iters)])
        needed = "must be at least 2 numbers; settings are chosen at the second"
        sys.exit(fail(f"error: {wrong}: {needed}", status=2))
    studied = Studied(given)
    compared = Compared()
    for iters, method in product(given.iters, given.methods):
        compared[method, iters] = studied.carried(method, iters), studied.own_best(method, iters)
        print(f"{method}, {TASKS * iters} iterations: done", flush=True)
    publish("lengths", given.out, tables(compared, given), draw(compared, given))


if __name__ == "__main__":
    main()
