"""What it costs, every table and figure in one command: ``python -m benchmarks --out FOLDER``.

Each benchmark runs in a process of its own; a filled folder looks like benchmarks/results/cpu/. (How exact
the dynamics are is told by ``python -m experiments.claims integrators precision``.)
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro

from experiments.lab.command.parsing import parse
from experiments.lab.system.standard_streams import lasting_streams

WithData = Literal["averages", "comparison", "startup"]
Without = Literal[
    "update_cost", "growth", "lowering", "seeds", "memory", "offloading", "products", "together", "sharding"
]
WITH_DATA: tuple[WithData, ...] = get_args(WithData)
WITHOUT: tuple[Without, ...] = get_args(Without)


@dataclass(frozen=True)
class AllOptions:
    """What it costs, every table and figure in one command.

    Attributes:
        names: Which benchmarks; all by default.
        out: Folder for what is made.
        repeats: Rounds that medians are taken of.
        data_dir: Folder with MNIST, as for the comparison.
    """

    names: tyro.conf.Positional[tuple[Without | WithData, ...]] = (*WITHOUT, *WITH_DATA)
    out: Path = Path("benchmark-results")
    repeats: int = 9
    data_dir: Path | None = None


def main() -> int:
    """Run them all, or those that are named."""
    given, _ = parse(AllOptions, "benchmarks", None)
    with lasting_streams() as streams:
        return streams.status(run(given))


def run(given: AllOptions) -> int:
    """Run the benchmarks that are named, each in a process of its own, and return the exit status."""
    failed = []
    for name in given.names:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--out", str(given.out)]
        command += ["--repeats", str(given.repeats)]
        if name in WITH_DATA and given.data_dir is not None:
            command += ["--data-dir", str(given.data_dir)]
        print(f"\n## {name}\n", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
