"""Methods with seeds, trained or found again, and summed up: what compare does, and run with one of each."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from experiments.lab.command.failures import Failures
from experiments.lab.command.options import CommonOptions, Output
from experiments.lab.command.outcome import CommandResults, finish, show_page
from experiments.lab.command.own_methods import Methods
from experiments.lab.command.preparation import prepare
from experiments.lab.command.report import show_table
from experiments.lab.options.settings import Settings
from experiments.lab.system import processes
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.processes import note

# JAX, Flax and matplotlib are imported only where they are used: --help and a mistyped flag answer at once.
if TYPE_CHECKING:
    from experiments.lab.results.runs import FinishedRun

Stamp = Callable[[Sequence[Mapping[str, Any]]], str]
Show = Callable[["Mapping[str, Sequence[FinishedRun]]", Settings, Sequence[str]], None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is to be trained, and what a command has of its own about it.

    Attributes:
        name: the command's, with which the names of its folder and figures begin.
        methods: the methods; differences are to the first.
        seed: the first seed.
        n_seeds: number of consecutive seeds.
        config: its options beside the settings, for the summary.
        stamp: names it, by what decides each of its runs, method by method.
        show: prints what came of the methods, with the settings and the methods that failed.
    """

    name: str
    methods: Sequence[str]
    seed: int
    n_seeds: int
    config: Mapping[str, Any]
    stamp: Stamp
    show: Show


@dataclass(frozen=True)
class CompareOptions(CommonOptions):
    """Compare complex synapses with plain training, and with other methods, over several seeds.

    For each seed, all methods start from the same initial weights and see the same batches.

    Attributes:
        methods: Methods to compare; differences are to the first one.
        seed: First seed, of the initial weights and of the batches.
        n_seeds: Number of consecutive seeds. They train together.
    """

    methods: Methods = ("standard", "cs")
    seed: int = 0
    n_seeds: int = 5


def compare(options: CompareOptions, command: str) -> CommandResults | None:
    """Train all methods, or find their runs again, and sum the comparison up: see `compare_methods`."""
    if not options.methods:
        raise SettingsError("--methods: must name at least one")
    from experiments.lab.results import stamps

    what = Comparison(
        name="compare",
        methods=options.methods,
        seed=options.seed,
        n_seeds=options.n_seeds,
        config={"methods": options.methods, "seed": options.seed, "n_seeds": options.n_seeds},
        stamp=stamps.comparison_stamp,
        show=show_table,
    )
    return compare_methods(options, command, what)


def compare_methods(options: CommonOptions, command: str, what: Comparison) -> CommandResults | None:
    """Train the methods, or find their runs again, and sum them up.

    Returns:
        What came of them; None where only the stamp was asked for, and in all processes but the first.

    Raises:
        SettingsError: if something is wrong with the options, the folders or the data.
        MethodsFailedError: if a method failed; the others are summed up.
    """
    began = time.perf_counter()
    settings, dataset = prepare(options, what.methods, what.seed, what.n_seeds)
    seeds = range(what.seed, what.seed + what.n_seeds)
    from experiments.lab.live import Live
    from experiments.lab.results import stamps
    from experiments.lab.system.folders import check_folders

    output = options.output
    if output.plot_dir != Output.plot_dir and not options.draws:
        note(f"note: --plot-dir has no effect without {options.asks_to_draw}")
    of_runs = [stamps.identity(settings, m, seed, dataset.sha256) for m in what.methods for seed in seeds]
    stamp = what.stamp(of_runs)
    if output.get_stamp:
        print(stamp)
        return None
    _note_what_is_alike(settings, what.methods)
    name = f"{what.name}-{stamp}"
    check_folders([("results_dir", output.results_dir / name)])
    finished, seconds, failures = {}, {}, Failures(what.methods)
    with Live(output, settings, what.methods, name) as live:
        show_page(live)
        for method in what.methods:
            job = options.job(dataset, configurations=[settings], method=method, seeds=seeds, live=live)
            with failures.of(method):
                (finished[method],), seconds[method] = job.finish()
        failures.raise_if_all()
    if not processes.is_first():
        return None
    name = stamps.name_of_summary(name, itertools.chain(*finished.values()))
    what.show(finished, settings, list(failures.errors))
    config = {**asdict(settings), **what.config}
    more = {"failed": failures.errors}
    results = CommandResults(name, command, config, settings, dataset, finished, seconds, began, more)
    finish(options, results)
    failures.raise_if_any(output.results_dir / name)
    return results


def _note_what_is_alike(settings: Settings, methods: Sequence[str]) -> None:
    declared = [settings.methods[method] for method in methods]
    alike = [one.name for one in declared if one.is_plain or one.has_beakers]
    if settings.beakers == 0 and len(alike) > 1:
        but = ", but for --decay" if settings.decay and any(one.is_plain for one in declared) else ""
        note(f"note: with --beakers 0 there is no synapse: {' and '.join(alike)} are the same{but}")
