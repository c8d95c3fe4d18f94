"""What it costs, every table and figure in one command: ``python -m benchmarks --out FOLDER``.

Each benchmark runs in a process of its own; a filled folder looks like benchmarks/results/cpu/. (How exact
the dynamics are is told by ``python -m experiments.memory integrators precision``.)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from experiments.lab.system.numbers import whole_number
from experiments.lab.system.standard_streams import lasting_streams

WITH_DATA = ("averages", "comparison", "startup")
WITHOUT = ("update_cost", "growth", "seeds", "memory", "offloading", "products", "together", "sharding")


def main() -> int:
    """Run them all, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"which (default all): {', '.join((*WITHOUT, *WITH_DATA))}")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results"), help="folder for what is made")
    parser.add_argument(
        "--repeats", type=whole_number, default=9, help="rounds that medians are taken of (default 9)"
    )
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST, as for the comparison")
    given = parser.parse_args()
    unknown = set(given.names) - {*WITHOUT, *WITH_DATA}
    if unknown:
        known = ", ".join((*WITHOUT, *WITH_DATA))
        parser.error(f"unknown: {', '.join(sorted(unknown))}; must be of {known}")
    with lasting_streams() as streams:
        return streams.status(run(given))


def run(given: argparse.Namespace) -> int:
    """Run the benchmarks that are named, each in a process of its own, and return the exit status."""
    failed = []
    for name in given.names or (*WITHOUT, *WITH_DATA):
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
