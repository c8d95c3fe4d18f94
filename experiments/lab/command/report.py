"""What came of a command, on the terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.lab.options.description import describe, describe_methods
from experiments.lab.options.settings import Settings
from experiments.lab.system.tables import print_whole

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.lab.results.runs import FinishedRun
    from experiments.lab.results.statistics import Estimate, PairedDifference


def show_run(
    finished: Mapping[str, Sequence["FinishedRun"]], settings: Settings, failed: Sequence[str]
) -> None:
    """Print the final accuracy of a single run, and that on each task; for the rest see `show_table`."""
    ((only,),) = finished.values()
    run = only.run
    print(describe(settings))
    print(describe_methods(settings, [run.method]))
    diverged = " (diverged)" if run.diverged else ""
    per_task = "  ".join(f"{100 * accuracy:.1f}" for accuracy in run.accuracy_matrix[-1])
    print(f"{run.method}, seed {run.seed}: final average accuracy {100 * run.final_accuracy:.2f} %{diverged}")
    print(f"per task: {per_task}")


def show_table(
    finished: Mapping[str, Sequence["FinishedRun"]], settings: Settings, failed: Sequence[str]
) -> None:
    """Print the final accuracies of all methods, and how they differ.

    Args:
        finished: the runs of each method, in the same order of seeds.
        settings: the settings they share.
        failed: the methods without runs.
    """
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


def show_measures(methods: Mapping[str, Mapping[str, Any]], settings: Settings) -> None:
    """Print the measures of the user's own, mean ± standard error over seeds; nothing where there are none.

    Args:
        methods: what the summary says of each method.
        settings: the settings, with the measures.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from experiments.lab.system.terminal import plain_console

    own = [one for one in settings.measures.values() if one.origin]
    if not own:
        return
    table = Table(box=SIMPLE_HEAD)
    table.add_column("method")
    for one in own:
        table.add_column(one.label, justify="right")
    for method, of_method in methods.items():
        table.add_row(method, *(_number(of_method["measures"][one.name]) for one in own))
    print_whole(plain_console(), table)


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
        accuracies.add_row(method, mean_and_error(estimate), str(estimate.n))
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


def _cautions(differences: "Sequence[PairedDifference]") -> list[str]:
    """What to bear in mind when reading the differences, in a line of its own each."""
    tested = [one for one in differences if not math.isnan(one.p_value_sign_flip)]
    n, cautions = differences[0].n, []
    if tested and 1 < n < 6:
        cautions.append(f"with {n} seeds the sign-flip test gives no p below {2 ** (1 - n):.2g}")
    if len(tested) > 1:
        cautions.append(f"p-values are not corrected for {len(tested)} comparisons")
    lines = ["; ".join(cautions)] if cautions else []
    if len(tested) < len(differences):
        lines.append(
            "if a training diverged, no error, interval or p-value is given; if all did, no mean either"
        )
    return lines


def named(finished: Sequence["FinishedRun"]) -> str:
    """The method's name, with a mark if trainings diverged."""
    runs = [one.run for one in finished]
    diverged = sum(run.diverged for run in runs)
    mark = f" ({diverged} of {len(runs)} diverged)" if diverged else ""
    return f"{runs[0].method}{mark}"


def mean_and_error(estimate: "Estimate") -> str:
    """A fraction in percent, with its standard error where that is known."""
    if math.isnan(estimate.mean):
        return "-"
    error = "" if math.isnan(estimate.sem) else f" ± {100 * estimate.sem:.2f}"
    return f"{100 * estimate.mean:.2f}{error} %"


def _number(measured: Mapping[str, Any]) -> str:
    if math.isnan(measured["mean"]):
        return "-"
    error = "" if math.isnan(measured["sem"]) else f" ± {measured['sem']:.2g}"
    return f"{measured['mean']:.4g}{error}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
