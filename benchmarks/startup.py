"""How long until training begins: ``python -m benchmarks.startup``.

Seconds of whole processes, from start to end: ``import cs_optax`` beside what it imports anyway, and a
training of one iteration a task with the compilation cache of JAX empty and filled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Options, publish
from experiments.lab.command.parsing import parse
from experiments.lab.system.cache import SHORTEST_COMPILATION
from experiments.lab.system.tables import Table


def seconds(command: list[str], cache: Path) -> float:
    """Of one process."""
    began = time.perf_counter()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = str(SHORTEST_COMPILATION)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    return took


@dataclass(frozen=True)
class StartupOptions(Options):
    """How long until training begins.

    Attributes:
        data_dir: Folder with MNIST; without it, the digits are learned.
    """

    data_dir: Path | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(StartupOptions, "benchmarks.startup", arguments)
    data = ["--experiment=splitDigits"] if given.data_dir is None else [f"--data-dir={given.data_dir}"]
    train = [sys.executable, "-m", "experiments.run", "--cs", "--iters=1", "--batch=8", *data]
    short = ["--eval-log=5", "--loss-log=5", "--eval-n=1"]
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        for lap in range(given.repeats + 1):
            output = [f"--results-dir={folder}/{lap}", f"--plot-dir={folder}/{lap}"]
            commands = {
                "import jax, optax": [sys.executable, "-c", "import jax, optax"],
                "import jax, optax, cs_optax": [sys.executable, "-c", "import jax, optax, cs_optax"],
                "python -m experiments.run, cache empty": [*train, *short, *output],
                "python -m experiments.run, cache filled": [*train, *short, *output],
            }
            for name, command in commands.items():
                if name.endswith("empty"):
                    shutil.rmtree(cache, ignore_errors=True)
                shutil.rmtree(Path(folder, str(lap)), ignore_errors=True)
                took = seconds(command, cache)
                if lap:
                    times.setdefault(name, []).append(took)
    rows = [[name, float(np.median(values)), min(values), max(values)] for name, values in times.items()]
    differences = np.subtract(times["import jax, optax, cs_optax"], times["import jax, optax"])
    rows.append(
        ["what cs_optax adds, in pairs", *(float(f(differences)) for f in (np.median, np.min, np.max))]
    )
    table = Table(
        f"Seconds of whole processes, {given.repeats} runs each",
        ["", "median", "least", "most"],
        rows,
        [0, 2, 2, 2],
    )
    publish("startup", given.out, [table])


if __name__ == "__main__":
    main()
