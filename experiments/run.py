"""One method with one seed: ``python -m experiments.run --help``."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.lab.command.guard import guarded
from experiments.lab.command.options import CommonOptions, Output
from experiments.lab.command.outcome import draw, finish, show_page
from experiments.lab.command.own_methods import NAME
from experiments.lab.command.parsing import parse
from experiments.lab.command.preparation import prepare
from experiments.lab.options.description import describe, describe_methods
from experiments.lab.options.settings import Settings
from experiments.lab.system import processes
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.processes import note

# JAX, Flax and matplotlib are imported only where they are used: --help and a mistyped flag answer at once.
if TYPE_CHECKING:
    from experiments.lab.results.runs import Run


@dataclass(frozen=True)
class RunOptions(CommonOptions):
    """Train a network on a sequence of tasks, once, with or without complex synapses.

    Attributes:
        cs: Train with complex synapses: short for --method cs.
        method: How to train; the optimizer alone where neither this nor --cs is given. Built in are what the
            help of experiments.compare explains; MODULE:FUNCTION is a method of your own.
        seed: Seed of the initial weights and of the batches.
    """

    cs: bool = False
    method: Annotated[str | None, tyro.conf.arg(metavar=NAME, help_behavior_hint="(default: standard)")] = (
        None
    )
    seed: int = 0

    @property
    def draws(self) -> bool:
        """Whether the command draws figures."""
        return self.output.pdf


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(RunOptions, "experiments.run", arguments)
    return guarded(lambda: run(options, command))


def run(options: RunOptions, command: str) -> None:
    """Train one method with one seed, or find it again, and sum it up."""
    began = time.perf_counter()
    if options.cs and options.method not in (None, "cs"):
        raise SettingsError(f"--cs: must be left out with --method {options.method}")
    method = options.method or ("cs" if options.cs else "standard")
    settings, dataset = prepare(options, [method], options.seed)
    from experiments.lab.live import Live
    from experiments.lab.results import stamps
    from experiments.lab.system.folders import check_folders

    if options.output.plot_dir != Output.plot_dir and not options.output.pdf:
        note("note: --plot-dir has no effect without --pdf")
    stamp = stamps.run_stamp(stamps.identity(settings, method, options.seed, dataset.sha256))
    if options.output.get_stamp:
        print(stamp)
        return
    name = f"run-{stamp}"
    check_folders([("results_dir", options.output.results_dir / name)])
    with Live(options.output, settings, [method], name) as live:
        show_page(live)
        job = options.job(dataset, configurations=[settings], method=method, seeds=[options.seed], live=live)
        (finished,), seconds = job.finish()
    if not processes.is_first():
        return
    name = stamps.name_of_summary(f"run-{stamp}", finished)
    _show_accuracy(finished[0].run, settings)

    def figures() -> None:
        if options.output.pdf:
            draw({method: finished}, settings, options.output.plot_dir, name)

    finish(
        options.output,
        folder=name,
        command=command,
        config={**asdict(settings), "method": method, "seed": options.seed},
        settings=settings,
        dataset=dataset,
        finished={method: finished},
        seconds={method: seconds},
        began=began,
        figures=figures,
    )


def _show_accuracy(run: "Run", settings: Settings) -> None:
    print(describe(settings))
    print(describe_methods(settings, [run.method]))
    diverged = " (diverged)" if run.diverged else ""
    per_task = "  ".join(f"{100 * accuracy:.1f}" for accuracy in run.accuracy_matrix[-1])
    print(f"{run.method}, seed {run.seed}: final average accuracy {100 * run.final_accuracy:.2f} %{diverged}")
    print(f"per task: {per_task}")


if __name__ == "__main__":
    sys.exit(main())
