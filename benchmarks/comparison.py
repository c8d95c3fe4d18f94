"""What a comparison takes: ``python -m benchmarks.comparison --data-dir PATH``.

Runs the published comparison (split MNIST, 2 methods × 10 seeds × 2500 iterations, evaluation every 100) as
its command, and holds its seconds against those of as many bare training steps: forward, backward and
Adam in one jitted loop, with the batch already in place.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Table, options, publish
from benchmarks.seeds import OPTIMIZERS, STANDARD, Training
from benchmarks.timing import in_turns

STEPS = 50  # of a bare training in one call


def bare_step(repeats: int) -> float:
    """Seconds of a training step of one network alone."""
    training = Training(OPTIMIZERS[STANDARD], 1, STEPS, "bare")
    return in_turns({"bare": training}, repeats)["bare"] / STEPS


def compare(seeds: int, iters: int, data_dir: Path | None, results_dir: Path) -> dict[str, Any]:
    """The summary of the command, run in a process of its own, and the seconds of each method."""
    flags = [f"--n-seeds={seeds}", f"--iters={iters}", "--alpha=500", "--beta=2500", "--beakers=5"]
    folders = [f"--results-dir={results_dir}", f"--plot-dir={results_dir}"]
    where = [] if data_dir is None else [f"--data-dir={data_dir}"]
    command = [sys.executable, "-m", "experiments.compare", *flags, *where, *folders]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    summary = json.loads(next(results_dir.glob("*/summary.json")).read_text())
    runs = [json.loads(path.read_text()) for path in results_dir.glob("runs/*.json")]
    summary["of"] = {run["identity"]["method"]: run["environment"]["seconds"] for run in runs}
    return summary


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST, as for the comparison")
    parser.add_argument("--n-seeds", type=int, default=10, help="seeds (default 10)")
    parser.add_argument("--iters", type=int, default=500, help="iterations of a task (default 500)")
    given = parser.parse_args(arguments)
    steps = given.n_seeds * given.iters * 5
    before = bare_step(given.repeats)
    with tempfile.TemporaryDirectory() as folder:
        summary = compare(given.n_seeds, given.iters, given.data_dir, Path(folder))
    bare = (before + bare_step(given.repeats)) / 2
    phases = "compile", "train", "evaluate"
    rows: list[list[Any]] = []
    for method, seconds in summary["of"].items():
        took = sum(seconds[phase] for phase in phases[1:])
        rows.append([method, *(seconds[phase] for phase in phases), took, took / (steps * bare)])
    rows.sort(key=lambda row: row[0] != "standard")
    total = summary["seconds"]
    whole = total["total"] - total["compile"]
    rows.append(["the whole command", *(total[phase] for phase in phases), whole, whole / (2 * steps * bare)])
    table = Table(
        f"Seconds of the comparison of 2 methods, {given.n_seeds} seeds and {5 * given.iters} iterations; last column: without "
        f"compilation, over as many bare training steps of {1e3 * bare:.2f} ms",
        ["", *phases, "without compilation", "over bare steps"],
        rows,
        [0, 1, 1, 1, 1, 2],
    )
    publish("comparison", given.out, [table])


if __name__ == "__main__":
    main()
