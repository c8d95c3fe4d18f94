"""What an update holds in memory: ``python -m benchmarks.memory``.

Of one donated update of an array, compiled: the bytes of the optimizer's state, and the peak, as XLA's memory
analysis tells it, beside the parameters, the state and the gradients that must be there anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import optax

from benchmarks.report import Table, options, publish
from benchmarks.timing import Shapes, repeated_update
from benchmarks.update_cost import chain_of
from cs_optax import complex_synapse

BEAKERS = (5, 8, 12)


def memory_of(tx: optax.GradientTransformation, shapes: Shapes) -> tuple[float, float]:
    """Bytes per parameter: of the state, and of what an update needs beside its arguments."""
    params = {leaf: jax.ShapeDtypeStruct(shape, "float32") for leaf, shape in shapes.items()}
    state: Any = jax.eval_shape(tx.init, params)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    n_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    needs = repeated_update(tx, 1).lower(params, state, params).compile().memory_analysis()
    beside = needs.temp_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes
    return held / n_parameters, beside / n_parameters


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    parser = options(__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=1e7, help="parameters of the array (default 1e7)")
    given = parser.parse_args(arguments)
    shapes: Shapes = {"w": (int(given.size),)}
    optimizers = {"Adam alone": optax.adam(1e-3)}
    for k in BEAKERS:
        for dtype in ("float32", "bfloat16"):
            synapse = complex_synapse(chain=chain_of(k, 10.0), beaker_dtype=dtype)
            optimizers[f"K={k}, {dtype}"] = optax.chain(optax.adam(1e-3), synapse)
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
