"""Every method at its best, fairly: ``python -m experiments.sweep --help``."""

import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.lab.command.failures import Failures
from experiments.lab.command.guard import guarded
from experiments.lab.command.options import CommonOptions
from experiments.lab.command.outcome import CommandResults, finish, show_page
from experiments.lab.command.own_methods import Methods, searched_in_words
from experiments.lab.command.parsing import parse
from experiments.lab.command.preparation import prepare
from experiments.lab.command.report import named, print_table
from experiments.lab.options.description import describe, describe_methods
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate_seeds
from experiments.lab.system import processes
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.processes import note

if TYPE_CHECKING:
    from experiments.lab.command.searching import Plan
    from experiments.lab.data.dataset import Dataset
    from experiments.lab.live import Live
    from experiments.lab.results.runs import FinishedRun, Seconds
    from experiments.lab.results.searches import Search


@dataclass(frozen=True)
class SweepOptions(CommonOptions):
    """Choose the settings of several methods on validation data, then compare the methods at their best.

    Every method gets the same number of configurations. They fill the ranges of its learning rate and its own
    strength (of complex synapses: alpha, beta and the number of beakers) evenly, and those that a model or a
    scenario of your own declares. The first configuration is that of the other flags. Settings that only
    decide which weights are evaluated (--profile) need no training of their own: several values are tried in
    each. Each configuration is trained with the tuning seeds, without the validation images (every sixth of
    each class), and judged by its final average accuracy on them. The best one of each method is then trained
    with other seeds on all training data, and its test accuracy is computed once. Finished runs are found
    again.

    Attributes:
        methods: Methods to compare, as for experiments.compare; differences are to the first one.
        budget: Number of configurations to train, of each method.
        ranges: Ranges to search in the place of the usual ones.
        tuning_seed: First seed for choosing settings.
        n_tuning_seeds: Number of seeds for choosing settings.
        seed: First seed of the comparison.
        n_seeds: Number of seeds of the comparison.
        together: Number of configurations that train at once, where their shapes allow it. 1 is best on a
            CPU; a GPU has room for more.
    """

    methods: Methods = ("standard", "cs")
    budget: int = 12
    ranges: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help="Ranges to search in the place of the usual ones, such as lr=1e-4:1e-2 alpha=1:100. They "
            f"can be given for {searched_in_words()}, and for what a method, model or scenario of your own "
            "declares. span is beta/alpha; spacing is that of the timescales, and decides the number of "
            "beakers; depth is that of the beaker that is read, as a share of the chain."
        ),
    ] = ()
    tuning_seed: int = 1000
    n_tuning_seeds: int = 3
    seed: int = 0
    n_seeds: int = 10
    together: int = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(SweepOptions, "experiments.sweep", arguments)
    return guarded(lambda: sweep(options, command))


def sweep(options: SweepOptions, command: str) -> None:
    """Search each method's settings, compare the best of them, and sum it all up."""
    began = time.perf_counter()
    methods: Sequence[str] = options.methods
    _validate(options)
    settings, dataset = prepare(options, methods, options.seed, options.n_seeds)
    from experiments.lab.command.searching import searched
    from experiments.lab.live import Live
    from experiments.lab.results import stamps
    from experiments.lab.system.folders import check_folders

    plan = _plan(options, settings)
    stamp = _stamp(options, plan, dataset)
    if options.output.get_stamp:
        print(stamp)
        return
    name = f"sweep-{stamp}"
    check_folders([("results_dir", options.output.results_dir / name)])
    print(f"{describe(settings)}\n{describe_methods(settings, [])}")
    searches, seconds, failures = {}, {}, Failures(methods)
    tuning = range(options.tuning_seed, options.tuning_seed + options.n_tuning_seeds)
    for method, planned in plan.items():
        with failures.of(method):
            searches[method], seconds[method] = searched(
                planned, tuning, options.together, partial(options.job, dataset)
            )
    with Live(options.output, settings, methods, name) as live:
        show_page(live)
        finished = _test(options, dataset, searches, live, seconds, failures)
    if not processes.is_first():
        return
    searches = {method: searches[method] for method in finished}
    seconds = {method: seconds[method] for method in finished}
    runs = [*itertools.chain(*finished.values()), *(run for one in searches.values() for run in one.runs)]
    name = stamps.name_of_summary(name, runs)
    _show(settings, searches, finished, list(failures.errors))
    records = _write_searches(options, name, searches)
    chosen = ("methods", "budget", "ranges", "tuning_seed", "n_tuning_seeds", "seed", "n_seeds")
    config = {**asdict(settings), **{each: getattr(options, each) for each in chosen}}
    more = {"searches": records, "failed": failures.errors}
    finish(options, CommandResults(name, command, config, settings, dataset, finished, seconds, began, more))
    failures.raise_if_any(options.output.results_dir / name)


def _plan(options: SweepOptions, settings: Settings) -> "dict[str, Plan]":
    """What to try of each method.

    Raises:
        SettingsError: if a range or a configuration cannot be meant.
    """
    from experiments.lab.command.searching import plan_of
    from experiments.lab.options import search

    own = [one for one in (settings.model, settings.asked) if one.search]
    methods = [settings.methods[method] for method in options.methods]
    ranges = search.read_ranges(options.ranges, [*methods, *own])
    return {method: plan_of(settings, method, ranges, options.budget) for method in options.methods}


def _stamp(options: SweepOptions, plan: "Mapping[str, Plan]", dataset: "Dataset") -> str:
    from experiments.lab.results import stamps

    return stamps.sweep_stamp(
        [
            stamps.identity(one, method, options.tuning_seed, dataset.sha256)
            for method, planned in plan.items()
            for one in planned.configurations
        ],
        (options.tuning_seed, options.n_tuning_seeds, options.seed, options.n_seeds),
    )


def _validate(options: SweepOptions) -> None:
    if not options.methods:
        raise SettingsError("--methods: must name at least one")
    for name in ("budget", "together"):
        if getattr(options, name) < 1:
            raise SettingsError(f"--{name} {getattr(options, name)}: must be at least 1")
    if options.output.probes:
        raise SettingsError("--probes: must be left out of a search; experiments.run probes its winner")
    if options.output.evaluate_on != "test":
        raise SettingsError(
            "--evaluate-on: must be left out: settings are chosen on validation data in any case"
        )
    validate_seeds(options.tuning_seed, options.n_tuning_seeds, "tuning-")
    tuning = range(options.tuning_seed, options.tuning_seed + options.n_tuning_seeds)
    if set(tuning) & set(range(options.seed, options.seed + options.n_seeds)):
        raise SettingsError(
            f"--tuning-seed {options.tuning_seed}: "
            "the tuning seeds must be others than those of the comparison"
        )


def _test(
    options: SweepOptions,
    dataset: "Dataset",
    searches: "Mapping[str, Search]",
    live: "Live",
    seconds: "dict[str, Seconds]",
    failures: Failures,
) -> "dict[str, list[FinishedRun]]":
    """Train the best configuration of each method on all training data, and add the seconds that it took."""
    seeds = range(options.seed, options.seed + options.n_seeds)
    finished = {}
    for method, of_method in searches.items():
        best = replace(of_method.best.settings, evaluate_on="test", full_eval=options.output.full_eval)
        job = options.job(
            dataset, configurations=[best], method=method, seeds=seeds, live=live, title=f"{method}, test"
        )
        with failures.of(method):
            (finished[method],), spent = job.finish()
            seconds[method] += spent
    failures.raise_if_all()
    return finished


def _show(
    settings: Settings,
    searches: "Mapping[str, Search]",
    finished: Mapping[str, Sequence["FinishedRun"]],
    failed: Sequence[str],
) -> None:
    from experiments.lab.options import search
    from experiments.lab.results import summaries
    from experiments.lab.system.terminal import plain_console

    for method, of_method in searches.items():
        best = of_method.best
        edges = of_method.edges
        at_edge = f" (at the edge of what was tried: {', '.join(edges)})" if edges else ""
        flags, tried = search.as_flags(of_method.chosen(best)), of_method.tried
        if all(len(one.diverged) == len(one.accuracies) for one in of_method.candidates):
            note(f"warning: {method}: every training of {tried} diverged, so that none of them is the best")
        print(f"best of {tried}, {method}: {flags}, {best.shown} on validation data{at_edge}")
    estimates, differences = summaries.compared(finished)
    print_table(
        plain_console(),
        f"{describe(settings)}, each method at its best",
        {named(finished[method]): estimate for method, estimate in estimates.items()},
        differences,
        failed,
    )


def _write_searches(
    options: SweepOptions, name: str, searches: "Mapping[str, Search]"
) -> dict[str, dict[str, Any]]:
    """Write the table of configurations, and return what the summary says of each search."""
    from experiments.lab.results.searches import search_record, table_of_searches
    from experiments.lab.system import files

    path = options.output.results_dir / name / "searches.csv"
    files.write_atomically(path, table_of_searches(searches, options.tuning_seed).encode())
    print(f"table of configurations: {path}")
    return {method: search_record(of_method) for method, of_method in searches.items()}


if __name__ == "__main__":
    sys.exit(main())
