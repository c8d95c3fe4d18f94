"""All that a GPU is asked, in order of importance: ``python -m benchmarks.gpu --minutes 8 --out FOLDER``.

First whether it computes what a CPU does, then what an update costs beside Adam's, with the kernel for GPUs
and without it, side by side. Each table is printed and written as soon as it is made; when the time is
over, no further one is begun. ``--small`` makes all tables of sizes that say nothing, to try the command;
``--kernel interpret`` has the kernel interpreted where there is no GPU.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import averages, comparison, growth, seeds, transformer
from benchmarks.report import Options, publish
from benchmarks.timing import MLP, Shapes, in_a_row, in_turns, times_of_updates
from benchmarks.update_cost import (
    ADAM,
    AS_GRAPH,
    LEAVES,
    STEPS,
    copy_bandwidth,
    optimizer,
    with_synapse,
    words,
)
from cs_optax import complex_synapse, get_beakers
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

UPDATES = [
    "K=10, alpha=500",
    "K=10, alpha=10",
    "K=5, alpha=500",
    "K=5, alpha=10",
    "K=12, alpha=10",
    "K=10, alpha=500, visible_resolution=1/16",
]
CASES: dict[str, dict[str, Any]] = {
    "exchange": {},
    "leak to the initial weights": {"leak": "initial"},
    "no leak": {"leak": "none"},
    "init zero, recall 1/2": {"init": "zero", "recall": 0.5},
    "link 1 rests": {"visible_resolution": 0.25, "leak": "initial"},
    "backflow never": {"backflow": "never"},
    "backflow of Kaplanis et al.": {"backflow": "kaplanis"},
    "resolution 0": {"resolution": 0.0},
    "sequential Euler": {"method": "sequential_euler"},
    "bfloat16 beakers": {"beaker_dtype": "bfloat16"},
    "float16 beakers, link 1 rests": {"beaker_dtype": "float16", "visible_resolution": 0.25},
    "bfloat16 weights": {"dtype": "bfloat16"},
}
# Sizes that no block divides; and more than one block for each program of the kernel.
OF_CASES: Shapes = {"matrix": (37, 41), "vector": (1_234_567,), "number": (), "even": (64, 64)}
KERNELS = ("with", "without")
DESCENT = "gradient descent"
Tables = Iterator[tuple[str, Table]]


class Given(NamedTuple):
    """What the command was asked for."""

    kernel: str  # what stands for "with"
    small: bool
    repeats: int
    data_dir: Path | None

    def choice(self, how: str) -> str:
        """The argument ``kernel`` of a synapse with or without it."""
        return self.kernel if how == "with" else "never"

    def of(self, size: Any, small: Any) -> Any:
        """The one or the other."""
        return small if self.small else size


def correctness(given: Given) -> Tables:
    """Weights and beakers after 60 updates, from the default device, less those from the CPU."""
    shapes = given.of(OF_CASES, {"matrix": (37, 41), "number": ()})

    def row(name: str) -> list[Any]:
        case = CASES[name]
        expected = trained(case, shapes, "never", jax.devices("cpu")[0])
        found = {how: trained(case, shapes, given.choice(how), jax.devices()[0]) for how in KERNELS}
        errors = [largest_difference(found[how], expected) for how in KERNELS]
        between = largest_difference(*found.values())
        # Where numbers are rounded to a coarse dtype, from inputs that differ in their last bit, by one step.
        coarse = {"bfloat16": 2**-7, "float16": 2**-10}
        tolerance = max([2e-5, *(step for dtype, step in coarse.items() if dtype in case.values())])
        return [name, *errors, between, "yes" if max(errors) <= tolerance else "NO"]

    with ThreadPoolExecutor() as pool:  # compiled side by side
        rows = [*pool.map(row, CASES)]
    yield (
        "correctness",
        Table(
            f"Largest difference from the CPU after 60 updates of {jax.devices()[0].device_kind}, over the "
            "largest number: with the kernel, without it, and between the two",
            ["", *KERNELS, "between", "within rounding"],
            [[name, *(f"{error:.1e}" for error in errors), verdict] for name, *errors, verdict in rows],
            [0, 0, 0, 0, 0],
        ),
    )
    if any(row[-1] == "NO" for row in rows):
        raise ValueError("the device does not compute what the CPU does")


def trained(case: dict[str, Any], shapes: Shapes, kernel: str, device: Any) -> list[np.ndarray]:
    """Weights and beakers on a device."""
    choices = {name: value for name, value in case.items() if name != "dtype"}
    dtype = case.get("dtype", "float32")
    tx = complex_synapse(6, 3.0, 3.0 * 4.0**5, kernel=kernel, **choices)
    rng = np.random.default_rng(0)

    def numbers() -> dict[str, Any]:
        return {leaf: jnp.asarray(rng.standard_normal(shape), dtype) for leaf, shape in shapes.items()}

    def step(n: Any, carry: Any, deltas: Any) -> Any:
        params, state = carry
        signed = jax.tree.map(lambda d: d * jnp.where(n % 3 == 0, -1, 1).astype(d.dtype), deltas)
        updates, state = tx.update(signed, state, params)
        return optax.apply_updates(params, updates), state

    with jax.default_device(device):
        params, deltas = numbers(), numbers()
        run = jax.jit(lambda p, d: jax.lax.fori_loop(0, 60, partial(step, deltas=d), (p, tx.init(p))))
        params, state = run(params, deltas)
        return [np.asarray(x, np.float64) for x in jax.tree.leaves((params, get_beakers(state)))]


def largest_difference(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Over all arrays, relative to the largest number of each."""
    pairs = zip(one, other, strict=True)
    return float(max(np.abs(x - y).max() / max(np.abs(y).max(), 1e-30) for x, y in pairs))


def update_cost(given: Given) -> Tables:
    """An update over Adam's: of the large array, of the MLP, of many leaves; in scans and calls."""
    n = given.of(20_000_000, 20_000)
    large: Shapes = {"w": (n,)}
    leaves = given.of(LEAVES, dict(list(LEAVES.items())[:3]))
    bandwidth = copy_bandwidth(large["w"], given.repeats)
    in_scan = in_a_row(given.of(192, 2))
    of_array = in_a_row(given.of(STEPS, 2))
    measurements: list[tuple[str, Shapes, int, int, dict[str, str] | None]] = [
        (f"one array of {n:g}, in a scan", large, of_array, 1, None),
        ("MLP, in a scan", MLP, in_scan, 1, None),
        (f"one array of {n:g}, single calls", large, 1, of_array, None),
        ("MLP, single calls", MLP, 1, given.of(192, 2), None),
        (f"{len(leaves)} leaves of 2500, in a scan", leaves, given.of(480, 2), 1, None),
    ]
    if jax.default_backend() == "gpu":
        measurements.append(("MLP, calls as graphs", MLP, 1, given.of(192, 2), AS_GRAPH))
    for title, shapes, n_steps, n_calls, compiler_options in measurements:
        optimizers = {ADAM: optimizer(ADAM)}
        for variant in given.of(UPDATES, UPDATES[:1]):
            for how in KERNELS:
                optimizers[f"{variant}, {how}"] = optimizer(variant, kernel=given.choice(how))
        times = times_of_updates(
            optimizers,
            shapes,
            n_steps=n_steps,
            n_calls=n_calls,
            repeats=given.repeats,
            compiler_options=compiler_options,
        )
        size = sum(int(np.prod(shape)) for shape in shapes.values())
        rows = []
        for variant in given.of(UPDATES, UPDATES[:1]):
            both = [times[f"{variant}, {how}"] for how in KERNELS]
            shares = [words(variant) * size / (1e-3 * ms) / bandwidth for ms in both]
            rows.append([variant, words(variant) / words(ADAM), *(ms / times[ADAM] for ms in both), *shares])
        heading = (
            f"{title}: time of an update over Adam's ({times[ADAM]:.4g} ms), with the kernel and without; "
        )
        heading += (
            f"the ratio of words; the least words over a copy's bandwidth ({4e-9 * bandwidth:.0f} GB/s)"
        )
        head = ["", "words", *KERNELS, *(f"bandwidth, {how}" for how in KERNELS)]
        yield f"update, {title}", Table(heading, head, rows, [0, *[2] * 5])


def many_networks(given: Given) -> Tables:
    """A training step of one network, of more and more, batched and under ``jax.vmap``."""
    rows = []
    n_steps = given.of(48, 2)
    kinds = [(name, how) for how in ("batched", "vmap") for name in ("Adam", *KERNELS)]
    for n in given.of((256, 64, 16, 4, 1), (2,)):
        calls = {}
        for name, how in kinds:
            tx = optax.adam(1e-3)
            if name != "Adam":
                tx = with_synapse(10, 10.0, kernel=given.choice(name))
            calls[f"{name}, {how}"] = seeds.Training(tx, n, n_steps, how)
        times = in_turns(calls, given.repeats)
        each: list[Any] = [n]
        for how in ("batched", "vmap"):
            adam = times[f"Adam, {how}"]
            each += [1e3 * adam / (n_steps * n), *(times[f"{name}, {how}"] / adam for name in KERNELS)]
        rows.append(each)
        head = [f"{name}, {how}" for name, how in kinds]
        title = "Training step of one network of many: milliseconds with Adam, over that with K=10, alpha=10"
        yield "networks", Table(title, ["networks", *head], rows, [0, *[4, 2, 2] * 2])


def published_comparison(given: Given) -> Tables:
    """Seconds of the command by the clock on the wall, with nothing compiled before and with all."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for state in ("cold", "warm"):
            flags = [f"--n-seeds={given.of(10, 1)}", f"--iters={given.of(500, 2)}"]
            flags += ["--alpha=500", "--beta=2500", "--beakers=5"]
            began = time.perf_counter()
            summary = comparison.compare(
                flags, given.data_dir, Path(folder) / state, JAX_COMPILATION_CACHE_DIR=f"{folder}/compiled"
            )
            wall = time.perf_counter() - began
            rows.append(
                [state, wall, *(summary["seconds"][part] for part in ("compile", "train", "evaluate"))]
            )
    head = ["compiled programs", "wall", "compile", "train", "evaluate"]
    yield (
        "comparison",
        Table("Seconds of the published comparison, with the kernel", head, rows, [0, *[2] * 4]),
    )


def of_a_transformer(given: Given) -> Tables:
    """What a training step of a transformer takes, and what of it is the optimizer."""
    config = given.of(transformer.Config(), transformer.SMALL)
    optimizers = {DESCENT: optax.sgd(1e-4), ADAM: optax.adam(1e-4)}
    for how in KERNELS:
        optimizers[f"K=8, alpha=10, {how}"] = optax.chain(
            optax.adam(1e-4), complex_synapse(8, 10.0, 10 * 4.0**7, kernel=given.choice(how))
        )
    calls = {name: transformer.Training(config, tx, given.of(8, 1)) for name, tx in optimizers.items()}
    times = {name: 1e3 * s / given.of(8, 1) for name, s in in_turns(calls, given.repeats).items()}
    rest = times[DESCENT]
    rows = [[name, ms, 100 * (ms - rest) / ms, ms / times[ADAM]] for name, ms in times.items()]
    n_leaves, n = calls[ADAM].size
    title = f"A training step of a transformer, {n / 1e6:.0f} million parameters in {n_leaves} leaves: "
    title += (
        "milliseconds, the share of what it takes beyond gradient descent in %, and all over that with Adam"
    )
    yield "transformer", Table(title, ["", "step", "share", "over Adam"], rows, [0, 2, 1, 3])


def compilation(given: Given) -> Tables:
    """Seconds to compile an update of many leaves."""
    rows = []
    for n in given.of((6, 100, 1000), (2,)):
        shapes: Shapes = {f"w{number}": (500_000 // n,) for number in range(n)}
        optimizers = {ADAM: optimizer(ADAM), "with": with_synapse(10, 10.0, kernel=given.kernel)}
        if n <= 100:
            optimizers["without"] = with_synapse(10, 10.0, kernel="never")
        seconds: dict[str, Any] = {
            name: growth.compile_seconds(tx, shapes) for name, tx in optimizers.items()
        }
        rows.append([n, *(seconds.get(name) for name in (ADAM, *KERNELS))])
        title = "Seconds to trace and compile one update, K=10, alpha=10"
        yield "compilation", Table(title, ["leaves", ADAM, *KERNELS], rows, [0, 1, 1, 1])
    jax.config.update("jax_enable_compilation_cache", True)


def grown(given: Given) -> Tables:
    """Over parameters, beakers and leaves, with the kernel."""
    yield "parameters", growth.over_parameters(given.of(1e8, 1e4), given.repeats)
    yield "leaves", growth.over_leaves(given.of(100, 1), given.repeats)
    yield "beakers", growth.over_beakers(given.repeats)


def of_averages(given: Given) -> Tables:
    """Averages read from a chain that listens."""
    yield "averages", averages.rounding(given.of(2500, 100), given.of(2000, 20))


SECTIONS: tuple[Callable[[Given], Tables], ...] = (
    correctness,
    update_cost,
    many_networks,
    of_a_transformer,
    compilation,
    published_comparison,
    grown,
    of_averages,
)


Section = Literal[
    "correctness",
    "update_cost",
    "many_networks",
    "of_a_transformer",
    "compilation",
    "published_comparison",
    "grown",
    "of_averages",
]


@dataclass(frozen=True)
class GpuOptions(Options):
    """All that a GPU is asked, in order of importance.

    Attributes:
        minutes: No table is begun after so many.
        data_dir: Folder with MNIST, as for the comparison.
        small: Sizes that say nothing, to try the command.
        kernel: What is measured as "with the kernel": "interpret" where there is no GPU.
        only: These tables; all by default.
    """

    repeats: int = 5
    minutes: float = 8.0
    data_dir: Path | None = None
    small: bool = False
    kernel: Literal["auto", "interpret"] = "auto"
    only: tuple[Section, ...] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables while there is time."""
    began = time.perf_counter()
    given, _ = parse(GpuOptions, "benchmarks.gpu", arguments)
    # Or this process would take most of the memory away from the commands that it starts.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    asked = Given(given.kernel, given.small, given.repeats, given.data_dir)
    failed, left = [], []
    for section in SECTIONS:
        if given.only and section.__name__ not in given.only:
            continue
        if time.perf_counter() - began > 60 * given.minutes:
            left.append(section.__name__)
            continue
        try:
            for name, table in section(asked):
                publish(f"gpu, {name}".replace(", ", "-").replace(" ", "_"), given.out, [table])
                print(f"\n[{time.perf_counter() - began:.0f} s]\n", flush=True)
                if time.perf_counter() - began > 60 * given.minutes:
                    left.append(f"the rest of {section.__name__}")
                    break
        except Exception:
            traceback.print_exc()
            failed.append(section.__name__)
    if left:
        print(f"no time for: {', '.join(left)}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
