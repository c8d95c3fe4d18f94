"""What a comparison takes: ``python -m benchmarks.comparison --data-dir PATH``.

Runs the published comparison (split MNIST, 2 methods × 10 seeds × 2500 iterations, evaluation every 100) as
its command, with an empty compilation cache, and holds its seconds against those of as many bare training
steps: forward, backward and Adam of one network, with the batch already in place, as jitted calls and in a
jitted loop. Evaluation, which a bare step has not, is 1.62 million samples forward for each method: 22 %
of the products of its training.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Options, publish
from benchmarks.seeds import OPTIMIZERS, STANDARD, Training
from benchmarks.timing import in_turns
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

STEPS = 50  # of a bare training in one measurement


def bare_steps(repeats: int) -> tuple[float, float]:
    """Seconds of a training step of one network alone: a jitted call, and in a loop."""
    call = Training(OPTIMIZERS[STANDARD], 1, 1, "bare")
    loop = Training(OPTIMIZERS[STANDARD], 1, STEPS, "bare")
    seconds = in_turns({"calls": lambda: [call() for _ in range(STEPS)][-1], "loop": loop}, repeats)
    return seconds["calls"] / STEPS, seconds["loop"] / STEPS


def compare(flags: Sequence[str], data_dir: Path | None, results_dir: Path, **environment: str) -> Any:
    """The summary of the command, run in a process of its own."""
    return json.loads(summary_of("compare", flags, data_dir, results_dir, **environment).read_text())


def summary_of(
    command: str, flags: Sequence[str], data_dir: Path | None, results_dir: Path, **environment: str
) -> Path:
    """The file of the summary of an experiment command (compare, sweep), run in a process of its own."""
    folders = [f"--results-dir={results_dir}", f"--plot-dir={results_dir}"]
    where = [] if data_dir is None else [f"--data-dir={data_dir}"]
    words = [sys.executable, "-m", f"experiments.{command}", *flags, *where, *folders]
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    return Path(done.stdout.splitlines()[-1].removeprefix("summary: "))


def timed(seeds: int, iters: int, data_dir: Path | None, results_dir: Path) -> dict[str, Any]:
    """The summary of the published comparison, with the seconds of each method and of all."""
    flags = [f"--n-seeds={seeds}", f"--iters={iters}", "--alpha=500", "--beta=2500", "--beakers=5"]
    cold = str(results_dir / "compiled")
    began = time.perf_counter()
    summary = compare(flags, data_dir, results_dir, JAX_COMPILATION_CACHE_DIR=cold)
    wall = time.perf_counter() - began
    runs = [json.loads(path.read_text()) for path in results_dir.glob("runs/*.json")]
    summary["of"] = {run["identity"]["method"]: run["environment"]["seconds"] for run in runs}
    summary["seconds"]["total"] = wall  # from the start of the process to the last figure
    return summary


@dataclass(frozen=True)
class ComparisonOptions(Options):
    """What a comparison takes.

    Attributes:
        data_dir: Folder with MNIST, as for the comparison.
        n_seeds: Seeds.
        iters: Iterations of a task.
    """

    data_dir: Path | None = None
    n_seeds: int = 10
    iters: int = 500


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(ComparisonOptions, "benchmarks.comparison", arguments)
    steps = given.n_seeds * given.iters * 5
    # Or this process would take most of a GPU's memory away from the command that it starts.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    before = bare_steps(given.repeats)
    with tempfile.TemporaryDirectory() as folder:
        summary = timed(given.n_seeds, given.iters, given.data_dir, Path(folder))
    # Before and after, since the machine may have changed its pace.
    call, loop = (sum(pair) / 2 for pair in zip(before, bare_steps(given.repeats), strict=True))
    phases = "compile", "train", "evaluate"
    rows: list[list[Any]] = []
    for method, seconds in summary["of"].items():
        took = sum(seconds[phase] for phase in phases[1:])
        times = [seconds[phase] for phase in phases]
        rows.append([method, *times, took, took / (steps * call), took / (steps * loop)])
    rows.sort(key=lambda row: row[0] != "standard")
    total = summary["seconds"]
    whole = total["total"] - total["compile"]
    times = [total[phase] for phase in phases]
    bare = [whole / (2 * steps * each) for each in (call, loop)]
    rows.append(["the whole command", *times, whole, *bare])
    table = Table(
        f"Seconds of the comparison of 2 methods, {given.n_seeds} seeds and {5 * given.iters} iterations; "
        "last columns: without compilation, over as many bare training steps, "
        f"as calls ({1e3 * call:.2f} ms each) and in a loop ({1e3 * loop:.2f} ms)",
        ["", *phases, "without compilation", "over calls", "over a loop"],
        rows,
        [0, 1, 1, 1, 1, 2, 2],
    )
    publish("comparison", given.out, [table])


if __name__ == "__main__":
    main()
