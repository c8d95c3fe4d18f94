"""One method with one seed: ``python -m experiments.run --help``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from experiments.lab.command.comparing import Comparison, compare_methods
from experiments.lab.command.guard import guarded
from experiments.lab.command.options import CommonOptions
from experiments.lab.command.own_methods import NAME
from experiments.lab.command.parsing import parse
from experiments.lab.command.report import show_run
from experiments.lab.system.errors import SettingsError


@dataclass(frozen=True)
class RunOptions(CommonOptions):
    """Train a network on a sequence of tasks once, with one method and one seed.

    Attributes:
        cs: Train with complex synapses: short for --method cs.
        method: The method. The help of experiments.compare explains the built-in ones; MODULE:FUNCTION is a
            method of your own.
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
    if options.cs and options.method not in (None, "cs"):
        raise SettingsError(f"--cs: must be left out with --method {options.method}")
    from experiments.lab.results import stamps

    method = options.method or ("cs" if options.cs else "standard")
    what = Comparison(
        name="run",
        methods=[method],
        seed=options.seed,
        n_seeds=1,
        config={"method": method, "seed": options.seed},
        stamp=lambda identities: stamps.run_stamp(*identities),
        show=show_run,
    )
    compare_methods(options, command, what)


if __name__ == "__main__":
    sys.exit(main())
