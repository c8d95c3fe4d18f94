"""What each of two processes runs, with two devices each: a synapse on parameters that lie on all four."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from cs_optax import (
    BeakerChain,
    complex_synapse,
    diagnose,
    drift_report,
    get_beakers,
    offload_beakers,
    readout,
    relax,
    reset_beakers,
    resize_beakers,
)

K = 4
SHAPE = (8, 3)
CHAIN = BeakerChain.from_timescales(K, 2.0, 128.0)


def results(place):
    """Everything that can be done with a state, as arrays; ``place`` makes the parameters."""
    tx = optax.chain(optax.adam(0.1), complex_synapse(chain=CHAIN))
    params = {"w": place(np.linspace(-1, 1, 24, dtype=np.float32).reshape(SHAPE))}
    state = tx.init(params)

    @jax.jit
    def step(params, state, n):
        grads = jax.tree.map(lambda p: jnp.sin(3 * p + n) - p, params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for n in range(20):
        params, state = step(params, state, n)
    relaxed, after = relax(state, params, 5.0)
    _, longer = resize_beakers(state, params, BeakerChain.from_timescales(K + 1, 2.0, 512.0))
    report = drift_report(state, params)
    return {
        "params": params["w"],
        **{f"u_{k}": u["w"] for k, u in enumerate(get_beakers(state), start=2)},
        "readout": readout(state, params, [1 / K] * K)["w"],
        "relaxed": relaxed["w"],
        "after": get_beakers(after)[-1]["w"],
        "longer": get_beakers(longer)[-1]["w"],
        "reset": get_beakers(reset_beakers(state, params))[-1]["w"],
        "offloaded": get_beakers(offload_beakers(step(*offloaded(params, state), 0)[1], K + 1))[-1]["w"],
        "norms": diagnose(state, params).norms,
        "drift": np.array([report.drift, report.memory_timescale]),
    }


def offloaded(params, state):
    return params, offload_beakers(state, 3)


def compute(coordinator, process_id, path):
    """As one of two processes; the first one writes what came out."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.distributed.initialize(coordinator, 2, process_id)
    mesh = jax.make_mesh((4,), ("shard",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("shard"))

    def place(array):
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    found = results(place)
    for name, array in found.items():
        if np.shape(array) == SHAPE:
            assert array.sharding.is_equivalent_to(sharding, 2), name
    everywhere = {name: np.asarray(process_allgather(array, tiled=True)) for name, array in found.items()}
    if process_id == 0:
        everywhere["drift"] = everywhere["drift"][:2]
        np.savez(path, **everywhere)
