"""What an update holds in memory: ``python -m benchmarks.memory``.

Of one donated update of an array, compiled: the bytes of the optimizer's state, and the peak, as XLA's memory
analysis tells it, beside the parameters, the state and the gradients that must be there anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import optax

from benchmarks.report import Options, publish
from benchmarks.timing import Shapes, bytes_beside, compiled_update
from benchmarks.update_cost import ADAM, with_synapse
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

BEAKERS = (5, 8, 12)


def memory_of(tx: optax.GradientTransformation, shapes: Shapes) -> tuple[float, float]:
    """Bytes per parameter: of the state, and of what an update needs beside its arguments."""
    update, state = compiled_update(tx, shapes)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    n_parameters = sum(math.prod(shape) for shape in shapes.values())
    return held / n_parameters, bytes_beside(update) / n_parameters


@dataclass(frozen=True)
class MemoryOptions(Options):
    """What an update holds in memory.

    Attributes:
        size: Parameters of the array.
    """

    size: float = 1e7


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(MemoryOptions, "benchmarks.memory", arguments)
    shapes: Shapes = {"w": (int(given.size),)}
    optimizers = {ADAM: optax.adam(1e-3)}
    for k in BEAKERS:
        for dtype in ("float32", "bfloat16"):
            optimizers[f"K={k}, {dtype}"] = with_synapse(k, 10.0, beaker_dtype=dtype)
    rows = [[name, *memory_of(tx, shapes)] for name, tx in optimizers.items()]
    table = Table(
        f"Bytes for each of {given.size:g} float32 parameters: of the state, and at the peak of a donated "
        "update beside parameters, state and gradients",
        ["", "state", "beside"],
        rows,
        [0, 2, 2],
    )
    publish("memory", given.out, [table])


if __name__ == "__main__":
    main()
