"""How the cost grows: ``python -m benchmarks.growth``.

Time of one update over parameters, beakers and leaves, in a scan, and the time of compiling it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import optax

from benchmarks.report import Options, curves, publish
from benchmarks.timing import MLP, Shapes, compiled_update, in_a_row, times_of_updates
from benchmarks.update_cost import ADAM, with_synapse
from experiments.lab.command.parsing import parse
from experiments.lab.figures import panels
from experiments.lab.system.tables import Table

PARAMETERS = (1e4, 1e5, 1e6, 1e7, 1e8)
BEAKERS = (2, 3, 4, 6, 8, 10, 12, 16)
LEAVES = (1, 10, 100, 1000)
PARAMETERS_IN_LEAVES = 500_000


def over_parameters(largest: float, repeats: int) -> Table:
    """One array, from small to large."""
    optimizers = {
        ADAM: optax.adam(1e-3),
        "K=5, alpha=500": with_synapse(5, 500.0),
        "K=10, alpha=500": with_synapse(10, 500.0),
        "K=10, alpha=10": with_synapse(10, 10.0),
    }
    rows = []
    for size in (size for size in PARAMETERS if size <= largest):
        n_steps = in_a_row(12 * int(min(80, max(1, 2e7 / size))))  # a multiple of the slower links' periods
        shapes: Shapes = {"w": (int(size),)}
        # The largest take turns in pairs, lest all their states be held at once.
        times = {ADAM: 0.0}
        for name in list(optimizers)[1:]:
            pair = times_of_updates(
                {ADAM: optimizers[ADAM], name: optimizers[name]}, shapes, n_steps=n_steps, repeats=repeats
            )
            times[ADAM], times[name] = pair[ADAM], pair[name] / pair[ADAM]
        rows.append([f"{size:.0e}", *times.values()])
    return Table(
        "Time of one update over the number of parameters: milliseconds for Adam alone, then ratios to it",
        ["parameters", *optimizers],
        rows,
        [0, 4, 2, 2, 2],
    )


def over_beakers(repeats: int) -> Table:
    """The MLP, with more and more beakers."""
    optimizers = {ADAM: optax.adam(1e-3)}
    for k in BEAKERS:
        optimizers[f"{k} exchange 500"] = with_synapse(k, 500.0)
        optimizers[f"{k} exchange 10"] = with_synapse(k, 10.0)
        optimizers[f"{k} every link"] = with_synapse(k, 10.0, resolution=0.0)
        optimizers[f"{k} euler"] = with_synapse(k, 10.0, method="sequential_euler")
    times = times_of_updates(optimizers, MLP, n_steps=in_a_row(192), repeats=repeats)
    kinds = ("exchange 500", "exchange 10", "every link", "euler")
    return Table(
        f"Time of one update of the MLP over Adam's ({times[ADAM]:.3f} ms)",
        ["K", "alpha=500", "alpha=10", "alpha=10, resolution=0", "alpha=10, sequential_euler"],
        [[k, *(times[f"{k} {kind}"] / times[ADAM] for kind in kinds)] for k in BEAKERS],
        [0, 2, 2, 2, 2],
    )


def compile_seconds(tx: optax.GradientTransformation, shapes: Shapes) -> float:
    """Seconds to trace, lower and compile one donated update."""
    jax.config.update("jax_enable_compilation_cache", False)
    jax.clear_caches()
    began = time.perf_counter()
    compiled_update(tx, shapes)
    return time.perf_counter() - began


def over_leaves(most: int, repeats: int) -> Table:
    """Half a million parameters, in more and more leaves."""
    optimizers = {ADAM: optax.adam(1e-3), "K=10": with_synapse(10, 10.0)}
    optimizers["K=10, optax.flatten"] = optax.flatten(optimizers["K=10"])
    rows = []
    for n in (n for n in LEAVES if n <= most):
        shapes: Shapes = {f"w{number}": (PARAMETERS_IN_LEAVES // n,) for number in range(n)}
        times = times_of_updates(optimizers, shapes, n_steps=in_a_row(480), repeats=repeats)
        seconds = [compile_seconds(tx, shapes) for tx in optimizers.values()]
        rows.append([n, times[ADAM], *(times[name] / times[ADAM] for name in list(optimizers)[1:]), *seconds])
    return Table(
        f"Time of one update of {PARAMETERS_IN_LEAVES:g} parameters over the number of leaves, alpha=10: "
        "milliseconds for Adam alone, then ratios to it; and the seconds to compile a single update",
        ["leaves", *optimizers, *(f"{name}: compile" for name in optimizers)],
        rows,
        [0, 3, 2, 2, 1, 1, 1],
    )


def compile_over_beakers(most: int) -> Table:
    """Seconds to compile an update of the MLP and of up to 100 leaves."""
    n_leaves = min(most, 100)
    leaves: Shapes = {f"w{number}": (PARAMETERS_IN_LEAVES // n_leaves,) for number in range(n_leaves)}
    return Table(
        "Seconds to compile a single update, alpha=10",
        ["K", "MLP (6 leaves)", f"{n_leaves} leaves"],
        [[ADAM, *(compile_seconds(optax.adam(1e-3), tree) for tree in (MLP, leaves))]]
        + [[k, *(compile_seconds(with_synapse(k, 10.0), tree) for tree in (MLP, leaves))] for k in BEAKERS],
        [0, 2, 2],
    )


@dataclass(frozen=True)
class GrowthOptions(Options):
    """How the cost grows.

    Attributes:
        largest: Parameters at most.
        leaves: Leaves at most.
    """

    largest: float = 1e8
    leaves: int = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Four tables and a figure."""
    given, _ = parse(GrowthOptions, "benchmarks.growth", arguments)
    parameters = over_parameters(given.largest, given.repeats)
    beakers = over_beakers(given.repeats)
    leaves = over_leaves(given.leaves, given.repeats)
    compilation = compile_over_beakers(given.leaves)

    figure, axes = panels(["an update over the parameters", "over the beakers (MLP)", "over the leaves"])
    sizes = [float(row[0]) for row in parameters.rows]
    adam = [row[1] for row in parameters.rows]
    lines = {ADAM: adam}
    for column, name in enumerate(parameters.head[2:], start=2):
        lines[name] = [row[1] * row[column] for row in parameters.rows]
    curves(axes[0], sizes, lines)
    axes[0].set(xscale="log", yscale="log", xlabel="parameters", ylabel="milliseconds")
    curves(
        axes[1],
        BEAKERS,
        {name: [row[n] for row in beakers.rows] for n, name in enumerate(beakers.head[1:], start=1)},
    )
    axes[1].set(xlabel="beakers K", ylabel="time over Adam's", ylim=(0, None))
    curves(
        axes[2],
        [row[0] for row in leaves.rows],
        {name: [row[n] for row in leaves.rows] for n, name in enumerate(leaves.head[2:4], start=2)},
    )
    axes[2].set(xscale="log", xlabel="leaves", ylabel="time over Adam's", ylim=(0, None))
    publish("growth", given.out, [parameters, beakers, leaves, compilation], figure)


if __name__ == "__main__":
    main()
