"""What a complex synapse costs beside Adam: ``python -m benchmarks.update_cost``.

The time of one update of ``optax.chain(optax.adam, complex_synapse)`` over that of ``optax.adam`` alone,
float32, everything donated: inside a scan, and as a single jitted call. Beside the times stand the words
that an update has to move per parameter, and how near the least of them come to the bandwidth that a
plain copy of the large array reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import optax

from benchmarks.report import Options, publish
from benchmarks.timing import MLP, Shapes, in_a_row, in_turns, numbers, times_of_updates
from cs_optax import BeakerChain, complex_synapse
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

LEAVES: Shapes = {f"w{number}": (50, 50) for number in range(200)}
ADAM = "Adam alone"
VARIANTS: dict[str, tuple[int, float, dict[str, Any]]] = {
    "K=5, alpha=500": (5, 500.0, {}),
    "K=10, alpha=500": (10, 500.0, {}),
    "K=5, alpha=10": (5, 10.0, {}),
    "K=10, alpha=10": (10, 10.0, {}),
    "K=3, alpha=10": (3, 10.0, {}),
    "K=12, alpha=10": (12, 10.0, {}),
    "K=10, alpha=10, resolution=0": (10, 10.0, {"resolution": 0.0}),
    "K=10, alpha=500, visible_resolution=1/16": (10, 500.0, {"visible_resolution": 1 / 16}),
    "K=5, sequential_euler": (5, 500.0, {"method": "sequential_euler"}),
    "K=6, sequential_euler": (6, 500.0, {"method": "sequential_euler"}),
}
# Of the published PyTorch optimizer on two CPU cores, milliseconds: AdamComplexSynapse with 5 beakers at
# 5e5 parameters, and with 6 at 2e7.
PUBLISHED = {"MLP": 15.9, "large": 2200.0}
# On a GPU, a call as one CUDA graph, with the loops in it, that asks the host nothing.
AS_GRAPH = {"xla_gpu_enable_command_buffer": "FUSION,CUBLAS,WHILE,CONDITIONAL"}
COPIES = 8  # of the arrays in a row
STEPS = 24  # of the large array in a row: link 1 exchanges with visible_resolution every 21 steps


def chain_of(n_beakers: int, alpha: float) -> BeakerChain:
    """A chain with x = 2."""
    return BeakerChain.from_timescales(n_beakers, alpha, alpha * 4.0 ** (n_beakers - 1))


def with_synapse(n_beakers: int, alpha: float, **choices: Any) -> optax.GradientTransformation:
    """Adam, and a chain with x = 2 after it."""
    return optax.chain(optax.adam(1e-3), complex_synapse(chain=chain_of(n_beakers, alpha), **choices))


def optimizer(variant: str, **more: Any) -> optax.GradientTransformation:
    """Adam, and the chain of a variant after it, with further choices."""
    if variant == ADAM:
        return optax.adam(1e-3)
    n_beakers, alpha, choices = VARIANTS[variant]
    return with_synapse(n_beakers, alpha, **choices, **more)


def words(variant: str, in_loops: bool = False) -> float:
    """Words read or written per parameter and update, on average over the updates.

    Args:
        variant: its name.
        in_loops: as XLA's CPU compiler moves them, which makes a loop of its own for each array that is
            written; else as few as can be, where each array is read once and written once.
    """
    # The gradient, both moments and the parameter are read; moments and parameter are written. A loop for
    # each moment reads the gradient, the one for the parameter reads both moments.
    adam = 10.0 if in_loops else 7.0
    if variant == ADAM:
        return adam
    n_beakers, alpha, choices = VARIANTS[variant]
    # A link reads and writes the beaker on its right. The loop over the one on its left reads that beaker
    # too, and its own loop reads the left one.
    link = 4 if in_loops else 2
    if choices.get("method") == "sequential_euler":
        return adam + link * (n_beakers - 1)
    *links, _leak = chain_of(n_beakers, alpha).exchange_periods(**choices)
    return adam + sum(link / period for period in links)


def copy_bandwidth(shape: tuple[int, ...], repeats: int) -> float:
    """Words per second that a scan of plain updates of one array, as large as all of Adam's, moves."""
    n_copies = in_a_row(COPIES)

    @partial(jax.jit, donate_argnums=0)
    def copy(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: (x * 1.0001, None), x, length=n_copies)[0]

    held = [numbers({"w": (4 * shape[0],)})["w"]]

    def call() -> jax.Array:
        held.append(copy(held.pop()))
        return held[0]

    return 2 * held[0].size * n_copies / in_turns({"copy": call}, repeats)["copy"]


@dataclass(frozen=True)
class UpdateCostOptions(Options):
    """What a complex synapse costs beside Adam.

    Attributes:
        large: Parameters of the large array.
    """

    large: float = 2e7


def main(arguments: Sequence[str] | None = None) -> None:
    """The MLP of the experiments, one large array, and many leaves."""
    given, _ = parse(UpdateCostOptions, "benchmarks.update_cost", arguments)
    large: Shapes = {"w": (int(given.large),)}
    one_array = f"one array of {given.large:g}"
    optimizers = {name: optimizer(name) for name in (ADAM, *VARIANTS)}
    measurements: list[tuple[str, Shapes, str, int, int, dict[str, str] | None]] = [
        ("MLP", MLP, "scan", in_a_row(192), 1, None),
        ("MLP", MLP, "single calls", 1, 192, None),
        (one_array, large, "scan", in_a_row(STEPS), 1, None),
        (one_array, large, "single calls", 1, in_a_row(STEPS), None),
        ("200 leaves of 2500", LEAVES, "scan", 480, 1, None),
    ]
    if jax.default_backend() == "gpu":
        measurements += [
            ("MLP", MLP, "calls as graphs", 1, 192, AS_GRAPH),
            (one_array, large, "calls as graphs", 1, in_a_row(STEPS), AS_GRAPH),
        ]
    columns = {
        f"{name}, {how}": times_of_updates(
            optimizers,
            shapes,
            n_steps=n_steps,
            n_calls=n_calls,
            repeats=given.repeats,
            compiler_options=compiler_options,
        )
        for name, shapes, how, n_steps, n_calls, compiler_options in measurements
    }
    bandwidth = copy_bandwidth(large["w"], given.repeats)
    rows = []
    for name in optimizers:
        in_scan = columns[f"{one_array}, scan"][name]
        reached = words(name) * given.large / (1e-3 * in_scan) / bandwidth
        times = [
            f"{column[name]:.3g} ms" if name == ADAM else column[name] / column[ADAM]
            for column in columns.values()
        ]
        rows.append([name, words(name), words(name, in_loops=True), *times, reached])
    table = Table(
        f"Time of one update over Adam's; medians of {given.repeats}. Last column: bandwidth of the "
        f"words in the scan over {one_array}, as a fraction of a plain copy's ({4e-9 * bandwidth:.0f} GB/s)",
        ["", "words", "in loops", *columns, "bandwidth"],
        rows,
        [0, 1, 1, *[2] * len(columns), 2],
    )
    tables = [table]
    if jax.default_backend() == "cpu":
        tables.append(beside_the_published(columns, one_array if given.large == 2e7 else None))
    publish("update_cost", given.out, tables)


def beside_the_published(columns: Mapping[str, Mapping[str, float]], large: str | None) -> Table:
    """Their step on a CPU over ours in a scan; of the large array where it is as large as theirs was."""
    rows = []
    for tree, name, variants in (
        ("MLP", "MLP", ("K=5, sequential_euler", "K=5, alpha=500")),
        (large, "large", ("K=6, sequential_euler", "K=5, alpha=500")),
    ):
        for variant in variants if tree else ():
            ms = columns[f"{tree}, scan"][variant]
            rows.append([tree, variant, PUBLISHED[name], ms, PUBLISHED[name] / ms])
    return Table(
        "Milliseconds of a step of the published optimizer, measured beforehand on two cores (5 beakers at "
        "5e5 parameters, 6 at 2e7), over those of ours in a scan here",
        ["", "ours", "published", "ours", "ratio"],
        rows,
        [0, 0, 1, 3, 0],
    )


if __name__ == "__main__":
    main()
