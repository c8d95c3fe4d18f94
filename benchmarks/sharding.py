"""What each device holds of a sharded network with complex synapses: ``python -m benchmarks.sharding``.

From the shapes of the optimizer's state, which nothing has to be computed for; the same count is checked
against compiled training steps, of a network that fits, on 1, 2, 4 and 8 devices (of a CPU where there are no
others), with what those steps communicate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from benchmarks.report import Options, publish
from cs_optax import get_beakers
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table
from experiments.lab.training.devices import local_devices
from experiments.sharded import (
    ShardedOptions,
    collectives,
    compiled_optimizer,
    in_words,
    optimizer_of,
    prepare,
)

PARAMETERS = (1e8, 7e9, 7e10)
BEAKERS = (5, 8, 12)
DEVICES = (1, 8, 64, 512)
COUNTS = (1, 2, 4, 8)
GIB = 2**30


def bytes_for_each(beakers: int, bfloat16: bool) -> tuple[float, float]:
    """Bytes for each float32 parameter: of the hidden beakers, and of all that is held from step to step."""
    tx = optimizer_of(ShardedOptions(beakers=beakers, bfloat16=bfloat16))
    n = 1_000_000
    param = jax.ShapeDtypeStruct((n,), "float32")
    state = jax.eval_shape(tx.init, param)

    def held(tree: Any) -> int:
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if leaf.shape == (n,))

    return held(get_beakers(state)) / n, held((param, state)) / n


class Compiled(NamedTuple):
    """Of a compiled step: bytes on a device, and what is communicated."""

    counted: int  # held from step to step, by the count above
    held: int  # the same by XLA
    in_step: int  # beside that in the step: gradients, activations, parameters that are gathered
    in_update: int  # in the optimizer alone
    of_step: dict[str, int]
    of_update: dict[str, int]


def compiled_on(given: ShardedOptions) -> Compiled:
    """A step, and its optimizer alone, compiled."""
    tx, params, state, jitted = prepare(given)
    step = jitted.lower(params, state, 0).compile()
    update = compiled_optimizer(tx, params, state)
    n = sum(leaf.size for leaf in jax.tree.leaves(params))
    return Compiled(
        counted=round(n / given.devices * bytes_for_each(given.beakers, given.bfloat16)[1]),
        held=step.memory_analysis().argument_size_in_bytes,
        in_step=step.memory_analysis().temp_size_in_bytes,
        in_update=update.memory_analysis().temp_size_in_bytes,
        of_step=collectives(step),
        of_update=collectives(update),
    )


class ShardingOptions(Options):
    """What each device holds of a sharded network with complex synapses."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Two tables."""
    given, _ = parse(ShardingOptions, "benchmarks.sharding", arguments)
    local_devices(max(COUNTS))
    rows = []
    for n in PARAMETERS:
        for beakers in BEAKERS:
            for bfloat16 in (False, True):
                _, each = bytes_for_each(beakers, bfloat16)
                dtype = "bfloat16" if bfloat16 else "float32"
                rows.append([f"{n:.0e}", beakers, dtype, *(n * each / d / GIB for d in DEVICES)])
    paper = Table(
        "GiB on each device from step to step, fully sharded: float32 parameters, Adam's moments, hidden "
        "beakers (gradients and activations come on top)",
        ["parameters", "K", "beakers", *(f"{d} device{'s' if d > 1 else ''}" for d in DEVICES)],
        rows,
        [0, 0, 0, 2, 2, 2, 2],
    )
    checked = []
    for bfloat16 in (False, True):
        for devices in COUNTS:
            one = compiled_on(dataclasses.replace(ShardedOptions(), devices=devices, bfloat16=bfloat16))
            sizes = [size / 1e6 for size in (one.counted, one.held, one.in_step, one.in_update)]
            words = in_words(one.of_step), in_words(one.of_update)
            checked.append(["bfloat16" if bfloat16 else "float32", devices, *sizes, *words])
    compiled = Table(
        "MB on each device of 4 layers of 512 units, K = 8: held from step to step, by the same count and "
        "in the compiled step; beside that in the step and in its optimizer alone; what both communicate",
        ["beakers", "devices", "counted", "compiled", "in step", "in optimizer", "step", "optimizer"],
        checked,
        [0, 0, 3, 3, 3, 3, 0, 0],
    )
    publish("sharding", given.out, [paper, compiled])


if __name__ == "__main__":
    main()
