"""With and without complex synapses, over many seeds: ``python -m experiments.compare --help``."""

import sys
from collections.abc import Sequence

from experiments.lab.command.comparing import CompareOptions, compare
from experiments.lab.command.guard import guarded
from experiments.lab.command.parsing import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(CompareOptions, "experiments.compare", arguments)
    return guarded(lambda: compare(options, command))


if __name__ == "__main__":
    sys.exit(main())
