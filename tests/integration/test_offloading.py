"""Slow beakers in the memory of the host: the same numbers, and nothing fetched without need."""

from collections import Counter
from functools import partial

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tiers import few
from trials import assert_close, assert_equal

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

K, FIRST = 6, 4
CHAIN = BeakerChain.from_timescales(K, 2.0, 400.0)
OPTIONS = {
    "exchange": {},
    "every link": {"resolution": 0.0},
    "bfloat16": {"beaker_dtype": "bfloat16"},
    "initial": {"leak": "initial", "visible_resolution": 0.25},
    "closed": {"leak": "none"},
    "kaplanis": {"backflow": "kaplanis"},
    "never": {"backflow": "never"},
    "euler": {"method": "sequential_euler"},
}


def parameters():
    key, other = jax.random.split(jax.random.key(0))
    return {"w": jax.random.normal(key, (8, 5)), "b": jax.random.normal(other, (3,))}


def kinds(opt_state):
    """Where each beaker is."""
    found = [{leaf.sharding.memory_kind for leaf in jax.tree.leaves(u)} for u in get_beakers(opt_state)]
    assert all(len(kind) == 1 for kind in found)
    return [kind.pop() for kind in found]


OFFLOADED = ["device"] * (FIRST - 2) + ["pinned_host"] * (K - FIRST + 1)


def moving(p, n):
    return 0.1 * (jnp.sin(3 * p + n) - p)


def trained(tx, params, state, n_steps=60, wrapped=jax.jit):
    @wrapped
    def step(params, state, n):
        updates, state = tx.update(jax.tree.map(lambda p: moving(p, n), params), state, params)
        return optax.apply_updates(params, updates), state

    for n in range(n_steps):
        params, state = step(params, state, n)
    return params, state


@pytest.mark.parametrize(
    ("name", "first"),
    few(
        [*((name, FIRST) for name in OPTIONS), ("exchange", 3)],
        [("bfloat16", FIRST)],
    ),
)
def test_the_same_numbers(name, first):
    tx = optax.chain(optax.adam(0.01), complex_synapse(chain=CHAIN, **OPTIONS[name]))
    params, state = parameters(), tx.init(parameters())
    apart = trained(tx, params, offload_beakers(state, first))
    # Two compiled programs: XLA may round one element differently.
    assert_close(apart, trained(tx, params, state), rtol=1e-5, atol=1e-7)
    assert kinds(apart[1]) == ["device"] * (first - 2) + ["pinned_host"] * (K - first + 1)


@pytest.mark.slow
def test_without_jit_in_a_scan_and_donated():
    tx = complex_synapse(chain=CHAIN)
    params, state = parameters(), offload_beakers(tx.init(parameters()), FIRST)
    expected = trained(tx, params, state, 20)
    assert_close(trained(tx, params, state, 20, wrapped=lambda step: step), expected)

    def scanned(params, state):
        def step(carry, n):
            params, state = carry
            updates, state = tx.update(jax.tree.map(lambda p: moving(p, n), params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), jnp.arange(20))[0]

    result = jax.jit(scanned, donate_argnums=(0, 1))(params, state)
    assert_close(result, expected)
    assert kinds(result[1]) == OFFLOADED


def test_fetched_only_where_a_link_is_due():
    """Each transfer stands in the loop of the link that needs it."""
    tx = complex_synapse(chain=CHAIN)
    state = offload_beakers(tx.init(parameters()), FIRST)
    program = jax.make_jaxpr(tx.update)(parameters(), state, parameters())

    def transfers(jaxpr, depth=0):
        for equation in jaxpr.eqns:
            if equation.primitive.name == "device_put":
                yield depth
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                yield from transfers(inner, depth + (equation.primitive.name == "while"))

    in_link_3 = 3  # u_4 fetched for u_3; fetched for itself, and put back
    in_links_4_and_5 = 7  # u_5 fetched for u_4; u_5 fetched beside u_4 and put back; u_6 beside u_5
    within_link_4 = 1  # u_6 fetched for u_5
    # Each loop has its own fetches, and those for a beaker's slower neighbour in a loop within.
    expected = {1: 2 * (in_link_3 - 1 + in_links_4_and_5 - 1), 2: 2 * (1 + 1 + within_link_4)}
    assert Counter(transfers(program.jaxpr)) == expected


def test_fetched_again_and_made_under_jit():
    tx = optax.chain(optax.adam(0.01), complex_synapse(chain=CHAIN))
    made = jax.jit(lambda params: offload_beakers(tx.init(params), FIRST))(parameters())
    assert kinds(made) == OFFLOADED
    assert kinds(offload_beakers(made, K + 1)) == ["device"] * (K - 1)
    assert_equal(offload_beakers(made, K + 1), tx.init(parameters()))
    assert kinds(jax.jit(lambda state: offload_beakers(state, 3))(made)) == ["device", *["pinned_host"] * 4]


def test_tools_look_there_and_leave_it_there():
    tx = complex_synapse(chain=CHAIN, leak="initial")
    params, near = trained(tx, parameters(), tx.init(parameters()), 10)
    state = offload_beakers(near, FIRST)
    weights = np.linspace(0, 1, K)
    assert_equal(readout(state, params, weights), readout(near, params, weights))
    assert_equal(diagnose(state, params), diagnose(near, params))
    assert drift_report(state, params) == drift_report(near, params)
    relaxed, after = relax(state, params, 10.0)
    assert_equal((relaxed, after), relax(near, params, 10.0))
    assert kinds(after) == kinds(reset_beakers(state, params)) == OFFLOADED
    longer = BeakerChain(np.append(CHAIN.capacities, 2e4), np.append(CHAIN.conductances, 1e-3))
    _, resized = resize_beakers(state, params, longer)
    assert kinds(resized) == [*OFFLOADED, "pinned_host"]


@pytest.mark.slow
def test_differentiated():
    """Forwards as they are; backwards through several steps with all beakers fetched before."""
    tx = complex_synapse(chain=BeakerChain.from_timescales(K, 0.5, 20.0))
    kept = offload_beakers(tx.init(parameters()), FIRST)

    def slowest(params, first):
        state = offload_beakers(kept, first)
        for n in range(4):
            updates = jax.tree.map(partial(moving, n=n), params)
            updates, state = tx.update(updates, state, params)
            params = optax.apply_updates(params, updates)
        (last,) = get_beakers(offload_beakers(state, K + 1))[-1:]
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(last))

    def near(params):
        return slowest(params, K + 1)

    params, direction = parameters(), jax.tree.map(jnp.cos, parameters())
    far, along = jax.jit(lambda p, d: jax.jvp(lambda p: slowest(p, FIRST), (p,), (d,)))(params, direction)
    expected = jax.jit(lambda p, d: jax.jvp(near, (p,), (d,)))(params, direction)
    assert_close((far, along), expected)
    gradient = jax.jit(jax.grad(near))(params)
    total = sum(jnp.vdot(gradient[name], direction[name]) for name in params)
    assert_close(total, along)
    assert abs(along) > 1e-6


@pytest.mark.parametrize("axis_type", few([AxisType.Auto, AxisType.Explicit], [AxisType.Explicit]))
def test_sharded_ones_go_to_the_host_in_parts(axis_type):
    mesh = jax.make_mesh((8,), ("shard",), axis_types=(axis_type,))
    tx = complex_synapse(chain=CHAIN)
    places = {"w": NamedSharding(mesh, PartitionSpec("shard")), "b": NamedSharding(mesh, PartitionSpec())}
    params = jax.device_put(parameters(), places)
    expected = trained(tx, parameters(), tx.init(parameters()), 30)
    with jax.set_mesh(mesh):
        result = trained(tx, params, offload_beakers(tx.init(params), FIRST), 30)
    assert kinds(result[1]) == OFFLOADED
    for beaker in get_beakers(result[1]):
        assert beaker["w"].sharding.shard_shape((8, 5)) == (1, 5)
    assert_close(result, expected)


def test_refusals():
    params = parameters()
    with pytest.raises(ValueError, match="first must be an integer of at least 3, got 2"):
        offload_beakers(complex_synapse(chain=CHAIN).init(params), 2)
    with pytest.raises(ValueError, match="opt_state must hold a complex synapse"):
        offload_beakers(optax.adam(0.1).init(params), 3)
