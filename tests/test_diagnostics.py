"""Norms, distances, flows, and the drift report, against their definitions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_training import PARAMS, some_steps

from cs_optax import BeakerChain, complex_synapse, diagnose, drift_report, get_beakers

CHAIN = BeakerChain.benna_fusi(4)


def flat(*trees):
    """Contents ``[K, N]``: one row a beaker."""
    return np.stack([np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in trees])


@pytest.mark.parametrize("leak", ["zero", "none", "initial"])
def test_norms_distances_and_flows_are_what_they_say(leak):
    params, state = some_steps(optax.chain(optax.sgd(1.0), complex_synapse(chain=CHAIN, leak=leak)), steps=30)
    result = jax.jit(lambda s, p: diagnose(s, p))(state, params)
    u = flat(params, *get_beakers(state))
    end = {"zero": 0 * u[:1], "none": u[-1:], "initial": flat(PARAMS)}[leak]
    np.testing.assert_allclose(result.norms, np.linalg.norm(u, axis=1), rtol=1e-5)
    np.testing.assert_allclose(result.distances, np.linalg.norm(u - u[0], axis=1), rtol=1e-4, atol=1e-6)
    gaps = np.linalg.norm(u - np.concatenate([u[1:], end]), axis=1)
    np.testing.assert_allclose(result.flows, np.array(CHAIN.conductances) * gaps, rtol=1e-4, atol=1e-6)


def test_flows_are_those_of_the_equation():
    """C du/dt is the difference of the flows in and out: against a short exact step."""
    params, state = some_steps(complex_synapse(chain=CHAIN), jnp.array([3.0]), steps=30)
    u = flat(params, *get_beakers(state))[:, 0]
    flows = np.asarray(diagnose(state, params).flows)
    signs = np.sign(u - np.append(u[1:], 0.0))
    change = (CHAIN.propagator(1e-3) @ u - u) / 1e-3
    np.testing.assert_allclose(
        np.array(CHAIN.capacities) * change, -np.diff(flows * signs, prepend=0.0), rtol=1e-2, atol=1e-3
    )


def test_each_leaf_alone_and_all_together_agree():
    params, state = some_steps(complex_synapse(chain=CHAIN))
    together, alone = diagnose(state, params), diagnose(state, params, per_leaf=True)
    assert alone.norms.keys() == PARAMS.keys()
    for total, leaves in zip(together, alone, strict=True):
        squares = sum(np.square(leaf) for leaf in jax.tree.leaves(leaves))
        np.testing.assert_allclose(np.square(total), squares, rtol=1e-5, atol=1e-9)


def test_beakers_that_a_leaf_lacks_are_not_a_number_there_and_nothing_in_the_total():
    tx = optax.partition(
        {"short": complex_synapse(2, 8.0, 32.0), "long": complex_synapse(chain=CHAIN)},
        {"a": "short", "b": "long"},
    )
    state = tx.init(PARAMS)
    alone = diagnose(state, PARAMS, per_leaf=True)
    assert np.isnan(alone.norms["a"]).tolist() == [False, False, True, True]
    assert np.isnan(alone.flows["a"]).tolist() == [False, False, True, True]
    np.testing.assert_allclose(
        diagnose(state, PARAMS).norms, [math.sqrt(14), math.sqrt(14), 3.0, 3.0], rtol=1e-6
    )
    with pytest.raises(ValueError, match="must hold one complex synapse, it holds 2"):
        drift_report(state, PARAMS)


def test_flows_of_the_groups_of_a_partition_are_those_of_their_own_chains():
    chains = {"a": BeakerChain.from_timescales(2, 8.0, 32.0), "b": CHAIN}
    tx = optax.partition(
        {label: complex_synapse(chain=one) for label, one in chains.items()}, {"a": "a", "b": "b"}
    )
    params, state = some_steps(tx)
    flows = diagnose(state, params, per_leaf=True).flows
    for label, chain in chains.items():
        contents = [params[label], *(u[label] for u in get_beakers(state) if u[label] is not None), 0.0]
        expected = [
            g * np.linalg.norm(u - v)
            for g, u, v in zip(chain.conductances, contents[:-1], contents[1:], strict=True)
        ]
        np.testing.assert_allclose(flows[label][: len(expected)], expected, rtol=1e-5)


def test_low_precision_and_complex_weights_are_measured_in_float32():
    params = {"h": jnp.full(4, 300.0, jnp.float16), "c": jnp.array([3 + 4j], jnp.complex64)}
    norms = diagnose(complex_synapse(chain=CHAIN).init(params), params).norms
    assert norms.dtype == jnp.float32
    np.testing.assert_allclose(norms, np.sqrt(4 * 300.0**2 + 25), rtol=1e-6)


@pytest.mark.parametrize("leak", ["zero", "none", "initial"])
def test_the_share_lost_is_that_of_a_steady_input(leak, x64):
    """From nothing, with a unit in each step: what is not in the chain has left it."""
    tx = complex_synapse(chain=CHAIN, leak=leak, resolution=0.0)

    def step(_, carry):
        updates, state = tx.update(jnp.array(1.0), carry[1], carry[0])
        return carry[0] + updates, state

    start = jnp.array(0.0)
    params, state = jax.jit(lambda p: jax.lax.fori_loop(0, 1500, step, (p, tx.init(p))))(start)
    content = np.array(CHAIN.capacities) @ flat(params, *get_beakers(state))[:, 0]
    report = drift_report(state, params)
    assert report.elapsed == 1500.0
    assert report.lost == pytest.approx(1 - content / 1500, abs=0.002)
    assert (report.lost > 0.1) == (leak != "none")


def test_a_single_variable_lasts_for_its_timescale():
    chain = BeakerChain.from_timescales(1, 1.0, 70.0)
    report = drift_report(complex_synapse(chain=chain).init(PARAMS), PARAMS)
    assert report.memory_timescale == pytest.approx(70.0, rel=1e-5)
    assert report.drift == pytest.approx(math.sqrt(14) / 70, rel=1e-5)


@pytest.mark.parametrize("leak", ["zero", "none", "initial"])
def test_the_memory_timescale_is_distance_over_speed(leak):
    params, state = some_steps(complex_synapse(chain=CHAIN, leak=leak), jnp.array([1.0, -2.0]), steps=25)
    report = drift_report(state, params)
    settled = flat(params, *get_beakers(state))
    speed = np.linalg.norm(settled[1] - settled[0]) * CHAIN.conductances[0]
    capacities = np.array(CHAIN.capacities)
    end = {"zero": 0.0, "none": capacities @ settled / capacities.sum(), "initial": np.array([1.0, -2.0])}[
        leak
    ]
    assert report.drift == pytest.approx(speed, rel=1e-4)
    assert report.memory_timescale == pytest.approx(np.linalg.norm(settled[0] - end) / speed, rel=1e-4)


def test_new_weights_do_not_drift():
    report = drift_report(complex_synapse(chain=CHAIN).init(PARAMS), PARAMS)
    assert report.drift == 0.0
    assert math.isinf(report.memory_timescale)
    assert report.lost == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, p: diagnose(optax.adam(0.1).init(p), p), "must hold a complex synapse, it holds none"),
        (lambda s, p: jax.jit(lambda s: drift_report(s, p))(s), "opt_state must be known, not traced"),
        (lambda s, p: diagnose(s, {"a": jnp.ones(3), "b": p["b"]}), "params must have the same leaves"),
    ],
)
def test_diagnostics_name_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(complex_synapse(chain=CHAIN).init(PARAMS), PARAMS)
