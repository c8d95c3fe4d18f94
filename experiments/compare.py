"""With and without complex synapses, over many seeds: ``python -m experiments.compare --help``."""

import itertools
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.lab.command.failures import Failures
from experiments.lab.command.guard import guarded
from experiments.lab.command.options import CommonOptions
from experiments.lab.command.outcome import draw, finish, show_page
from experiments.lab.command.own_methods import NAME, methods_in_words
from experiments.lab.command.parsing import parse
from experiments.lab.command.preparation import prepare
from experiments.lab.options.description import describe, describe_methods
from experiments.lab.system import processes
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.processes import note
from experiments.lab.system.tables import print_whole

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.lab.options.settings import Settings
    from experiments.lab.results.runs import FinishedRun
    from experiments.lab.results.statistics import Estimate, PairedDifference


@dataclass(frozen=True)
class CompareOptions(CommonOptions):
    """Train with and without complex synapses, and with other methods, over several seeds, and compare.

    Each seed's initial weights and batches are the same for all methods.

    Attributes:
        methods: What to compare; differences are to the first one named.
        seed: First seed (of the initial weights and of the batches).
        n_seeds: Number of seeds. They are consecutive, and train in one program.
    """

    methods: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar=f"[{NAME} …]",
            help=f"What to compare; differences are to the first one named. {methods_in_words()}",
        ),
    ] = ("standard", "cs")
    seed: int = 0
    n_seeds: int = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(CompareOptions, "experiments.compare", arguments)
    return guarded(lambda: compare(options, command))


def compare(options: CompareOptions, command: str) -> None:
    """Train both methods, or find their runs again, and sum the comparison up."""
    began = time.perf_counter()
    methods: Sequence[str] = options.methods
    if not methods:
        raise SettingsError("--methods: must name at least one")
    settings, dataset = prepare(options, methods, options.seed, options.n_seeds)
    seeds = range(options.seed, options.seed + options.n_seeds)
    from experiments.lab.live import Live
    from experiments.lab.results import stamps
    from experiments.lab.system.folders import check_folders

    stamp = stamps.comparison_stamp(
        [stamps.identity(settings, m, seed, dataset.sha256) for m in methods for seed in seeds]
    )
    if options.output.get_stamp:
        print(stamp)
        return
    declared = [settings.methods[method] for method in methods]
    alike = [one.name for one in declared if one.is_plain or one.has_beakers]
    if settings.beakers == 0 and len(alike) > 1:
        but = ", but for --decay" if settings.decay and any(one.is_plain for one in declared) else ""
        note(f"note: with --beakers 0 there is no synapse: {' and '.join(alike)} are the same{but}")
    name = f"compare-{stamp}"
    check_folders([("results_dir", options.output.results_dir / name)])
    finished, seconds, failures = {}, {}, Failures(methods)
    with Live(options.output, settings, methods, name) as live:
        show_page(live)
        for method in methods:
            job = options.job(dataset, configurations=[settings], method=method, seeds=seeds, live=live)
            with failures.of(method):
                (finished[method],), seconds[method] = job.finish()
        failures.raise_if_all()
    if not processes.is_first():
        return
    name = stamps.name_of_summary(f"compare-{stamp}", itertools.chain(*finished.values()))
    _show_table(finished, settings, list(failures.errors))
    finish(
        options.output,
        folder=name,
        command=command,
        config={
            **asdict(settings),
            "methods": methods,
            "seed": options.seed,
            "n_seeds": options.n_seeds,
        },
        settings=settings,
        dataset=dataset,
        finished=finished,
        seconds=seconds,
        began=began,
        figures=lambda: draw(finished, settings, options.output.plot_dir, name),
        more={"failed": failures.errors},
    )
    failures.raise_if_any()


def print_table(
    console: "Console",
    title: str,
    estimates: Mapping[str, "Estimate"],
    differences: Mapping[str, "PairedDifference"],
    failed: Sequence[str] = (),
) -> None:
    """Print the final accuracies (mean ± standard error) and their paired differences.

    Args:
        console: where to.
        title: what was compared.
        estimates: final accuracy (fraction) of each method, by the name to show.
        differences: of two methods, paired by seed, by the name to show.
        failed: the methods that have no accuracies.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    accuracies = Table(box=SIMPLE_HEAD)
    accuracies.add_column("method")
    accuracies.add_column("final average accuracy, mean ± SEM", justify="right")
    accuracies.add_column("n", justify="right")
    for method, estimate in estimates.items():
        accuracies.add_row(method, _mean_and_error(estimate), str(estimate.n))
    for method in failed:
        accuracies.add_row(method, "failed", "-")
    paired = Table(box=SIMPLE_HEAD)
    paired.add_column("by seed", no_wrap=True)
    for name in ("points", "95 % interval", "p, t-test", "p, flips"):
        paired.add_column(name, justify="right", no_wrap=True)
    for name, difference in differences.items():
        points, low, high = (
            "-" if math.isnan(value) else f"{100 * value:+.2f}"
            for value in (difference.mean, *difference.ci95)
        )
        interval = "-" if low == "-" else f"{low} to {high}"
        p_values = _p(difference.p_value), _p(difference.p_value_sign_flip)
        paired.add_row(name, points, interval, *p_values)
    console.print(title, soft_wrap=True)
    print_whole(console, accuracies)
    if differences:
        print_whole(console, paired)
        for line in _cautions(list(differences.values())):
            console.print(line, soft_wrap=True)


def _show_table(
    finished: Mapping[str, Sequence["FinishedRun"]], settings: "Settings", failed: Sequence[str]
) -> None:
    from experiments.lab.results import summaries
    from experiments.lab.system.terminal import plain_console

    estimates, differences = summaries.compared(finished)
    print_table(
        plain_console(),
        f"{describe(settings)}\n{describe_methods(settings, list(finished))}",
        {named(finished[method]): estimate for method, estimate in estimates.items()},
        differences,
        failed,
    )


def _cautions(differences: "Sequence[PairedDifference]") -> list[str]:
    """What to bear in mind when reading the differences, in a line of its own each."""
    tested = [one for one in differences if not math.isnan(one.p_value_sign_flip)]
    n, cautions = differences[0].n, []
    if tested and 1 < n < 6:
        cautions.append(f"with {n} seeds sign flips give no p below {2 ** (1 - n):.2g}")
    if len(tested) > 1:
        cautions.append(f"p-values are not corrected for {len(tested)} comparisons")
    lines = ["; ".join(cautions)] if cautions else []
    if len(tested) < len(differences):
        lines.append(
            "where a training diverged there is no error, interval or p-value; where all did, no mean either"
        )
    return lines


def named(finished: Sequence["FinishedRun"]) -> str:
    """The method's name, with a mark if trainings diverged."""
    runs = [one.run for one in finished]
    diverged = sum(run.diverged for run in runs)
    mark = f" ({diverged} of {len(runs)} diverged)" if diverged else ""
    return f"{runs[0].method}{mark}"


def _mean_and_error(estimate: "Estimate") -> str:
    if math.isnan(estimate.mean):
        return "-"
    error = "" if math.isnan(estimate.sem) else f" ± {100 * estimate.sem:.2f}"
    return f"{100 * estimate.mean:.2f}{error} %"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
