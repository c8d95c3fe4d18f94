"""How long a step is traced and lowered for a GPU, which needs none: ``python -m benchmarks.lowering``.

XLA then compiles each kernel, which takes a GPU and is not measured here.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import optax

from benchmarks.report import Options, publish
from benchmarks.timing import Shapes, repeated_update
from benchmarks.update_cost import ADAM, with_synapse
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table


@dataclass(frozen=True)
class LoweringOptions(Options):
    """How long a step is traced and lowered for a GPU.

    Attributes:
        leaves: Leaves of two shapes.
        different: Leaves of as many shapes.
    """

    repeats: int = 3
    leaves: int = 1000
    different: int = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(LoweringOptions, "benchmarks.lowering", arguments)
    alike: Shapes = {f"w{number}": ((64, 64), (64,))[number % 2] for number in range(given.leaves)}
    unlike: Shapes = {f"w{number}": (7 + number,) for number in range(given.different)}
    optimizers = {
        ADAM: optax.adam(1e-3),
        'K=10, kernel="never"': with_synapse(10, 10.0, kernel="never"),
        "K=10, with the kernel": with_synapse(10, 10.0),
    }
    rows = []
    for name, tx in optimizers.items():
        seconds = [min(lowering(tx, shapes) for _ in range(given.repeats)) for shapes in (alike, unlike)]
        rows.append([name, *seconds])
    table = Table(
        "Seconds of the CPU to trace and lower one update for CUDA, least of the rounds",
        ["", f"{given.leaves} leaves of two shapes", f"{given.different} leaves of as many shapes"],
        rows,
        [0, 1, 1],
    )
    publish("lowering", given.out, [table])


def lowering(tx: optax.GradientTransformation, shapes: Shapes) -> float:
    """Seconds of this process's CPU time for one donated update."""
    params = {leaf: jax.ShapeDtypeStruct(shape, "float32") for leaf, shape in shapes.items()}
    state = jax.eval_shape(tx.init, params)
    jax.clear_caches()
    began = time.process_time()
    with a_gpu():
        repeated_update(tx, 1).trace(params, state, params).lower(lowering_platforms=("cuda",))
    return time.process_time() - began


@contextlib.contextmanager
def a_gpu() -> Iterator[None]:
    """The kind of GPU to lower for, which JAX asks about from 0.12 on."""
    kind: Any = jax.sharding.AbstractDevice
    if "platform" not in inspect.signature(kind).parameters:
        yield
        return
    device = kind("NVIDIA H100 80GB HBM3", None, "gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device)):
        yield


if __name__ == "__main__":
    main()
