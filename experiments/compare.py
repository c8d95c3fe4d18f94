"""With and without complex synapses, over many seeds: ``python -m experiments.compare --help``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from experiments.lab.command.comparing import Comparison, compare_methods
from experiments.lab.command.guard import guarded
from experiments.lab.command.options import CommonOptions
from experiments.lab.command.own_methods import NAME, methods_in_words
from experiments.lab.command.parsing import parse
from experiments.lab.command.report import show_table
from experiments.lab.system.errors import SettingsError


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
    compare_methods(options, command, what)


if __name__ == "__main__":
    sys.exit(main())
