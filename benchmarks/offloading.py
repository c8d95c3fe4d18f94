"""Slow beakers in host memory: ``python -m benchmarks.offloading``.

Bytes that the optimizer keeps on the device and on its host, for fewer and fewer beakers on the device, and
the time of donated updates one after the other: on average, over so many that link 5 exchanges twice, and of
the longest one, in which it does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import optax

from benchmarks.report import Options, publish
from benchmarks.timing import bytes_beside, numbers, repeated_update
from benchmarks.update_cost import chain_of
from cs_optax import complex_synapse, offload_beakers
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

K = 8
FIRST = (9, 6, 5, 4, 3)
UPDATES = 2 * 192  # two periods of link 5


def kept(tree: Any, on_host: bool) -> int:
    """Bytes of a tree in the memory of the host, or of the device."""
    places = [(leaf.nbytes, leaf.sharding.memory_kind.endswith("host")) for leaf in jax.tree.leaves(tree)]
    return sum(size for size, far in places if far == on_host)


def measured(first: int, size: int) -> list[float]:
    """Bytes a parameter on the device, on the host, at the peak; milliseconds, on average and the longest."""
    tx = optax.chain(optax.adam(1e-3), complex_synapse(chain=chain_of(K, 10.0)))
    grads = numbers({"w": (size,)}, seed=1)
    params = numbers({"w": (size,)})
    state = jax.jit(lambda params: offload_beakers(tx.init(params), first))(params)
    update = repeated_update(tx, 1).lower(params, state, grads).compile()
    device, host = kept(state, False), kept(state, True)
    space = [device / size, host / size, (device + bytes_beside(update)) / size]
    seconds = []
    for _ in range(UPDATES):
        began = time.perf_counter()
        params, state = jax.block_until_ready(update(params, state, grads))
        seconds.append(time.perf_counter() - began)
    return [*space, 1e3 * float(np.mean(seconds[1:])), 1e3 * max(seconds[1:])]


@dataclass(frozen=True)
class OffloadingOptions(Options):
    """Slow beakers in host memory.

    Attributes:
        size: Parameters of the array; on a GPU ten times as many as on a CPU.
    """

    size: float = field(default_factory=lambda: 1e7 if jax.default_backend() == "cpu" else 1e8)


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(OffloadingOptions, "benchmarks.offloading", arguments)
    rows = [
        [f"{first} to {K}" if first <= K else "none", *measured(first, int(given.size))] for first in FIRST
    ]
    table = Table(
        f"{given.size:g} float32 parameters in one array, Adam and K={K}, alpha=10: bytes of the state "
        f"for each, in both memories and at the peak of an update; milliseconds of an update, over {UPDATES}",
        ["beakers on the host", "device", "host", "peak", "mean", "longest"],
        rows,
        [0, 1, 1, 1, 2, 2],
    )
    publish("offloading", given.out, [table])


if __name__ == "__main__":
    main()
