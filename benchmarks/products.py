"""What XLA's options do for the matrix products: ``python -m benchmarks.products``.

Time of one training step of ten networks together with each set of flags, in
processes that take turns. The products are most of an experiment; none of these flags is set by default.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.report import Options, publish
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

SEEDS, STEPS = 10, 20
FLAGS = {
    "default": "",
    "oneDNN calls": "--xla_cpu_experimental_onednn_custom_call=true",
    "oneDNN off": "--xla_cpu_use_onednn=false",
    "XNNPACK": "--xla_cpu_use_xnnpack=true",
    "YNNPACK fusions off": "--xla_cpu_experimental_ynn_fusion_type=",
    "YNNPACK products": "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT",
    "one thread": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "vectors of 512 bits": "--xla_cpu_prefer_vector_width=512",
    "fast mathematics": "--xla_cpu_enable_fast_math=true",
    "sequential scheduler": "--xla_cpu_enable_concurrency_optimized_scheduler=false",
}
CHILD = f"""
from benchmarks.seeds import OPTIMIZERS, STANDARD, Training
from benchmarks.timing import in_turns
training = Training(OPTIMIZERS[STANDARD], {SEEDS}, {STEPS}, "batched")
print(in_turns({{"": training}}, 5)[""] / {STEPS * SEEDS})
"""


def step(flags: str) -> float | None:
    """Seconds of a step of one seed with these flags; None where XLA does not know them."""
    environment = {**os.environ, "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()}
    command = [sys.executable, "-c", CHILD]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and "Unknown flag" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


class ProductsOptions(Options):
    """What XLA's options do for the matrix products."""


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(ProductsOptions, "benchmarks.products", arguments)
    n_rounds = max(1, given.repeats // 3)  # of medians over five
    rounds = [[step(flags) for flags in FLAGS.values()] for _ in range(n_rounds)]
    rows: list[list[str | float | None]] = []
    medians = [None if None in column else float(np.median(column)) for column in zip(*rounds, strict=True)]
    for (name, flags), seconds in zip(FLAGS.items(), medians, strict=True):
        row = ["not known", None] if seconds is None else [1e3 * seconds, seconds / medians[0]]
        rows.append([name, f"`{flags}`" if flags else "", *row])
    table = Table(
        f"Milliseconds of a training step of one of {SEEDS} seeds, and over the default; medians of "
        f"{n_rounds} processes",
        ["", "XLA_FLAGS", "ms", "ratio"],
        rows,
        [0, 0, 2, 2],
    )
    publish("products", given.out, [table])


if __name__ == "__main__":
    main()
