"""A chain that only listens, ``backflow="never"``: weights and updates are those without it, bit for bit.

With all of XLA's optimizations, which might compute another last bit where the chain reads along.
"""

import sys
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy.linalg import expm
from tiers import few

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
    settle_beakers,
)

sys.path.append(str(Path(__file__).parent / "integration"))
from test_base_optimizers import NEEDS, optimizers, run
from test_conformance import TREES

pytestmark = pytest.mark.usefixtures("optimized")
CHAIN = BeakerChain.from_timescales(5, 6.0, 900.0)
SHORT = BeakerChain.from_timescales(3, 6.0, 100.0)
PARAMS = {"w": jnp.linspace(-1.0, 1.0, 32).reshape(8, 4), "b": jnp.ones(8)}


@cache
def stepper(tx):
    """One step, and a scan of as many steps as there are numbers, compiled once for each structure."""

    def step(carry, n):
        params, state = carry
        grads = jax.tree.map(lambda p: jnp.sin(3 * p + n), params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    return step, jax.jit(partial(jax.lax.scan, step))


def training(tx, n_steps, params=PARAMS, state=None, jit=True):
    """The parameters and the state after some steps, in one scan or eagerly."""
    step, scan = stepper(tx)
    carry = params, tx.init(params) if state is None else state
    if jit:
        return scan(carry, jnp.arange(n_steps))[0]
    for n in range(n_steps):
        carry, _ = step(carry, n)
    return carry


def assert_close(a, b, rtol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-6), a, b)


def assert_identical(a, b):
    """Bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(bits(x), bits(y)), a, b)


def bits(array):
    return np.atleast_1d(np.asarray(array)).view("u1")


def listening(base, **options):
    return optax.chain(base, complex_synapse(**{"chain": CHAIN, "backflow": "never", **options}))


@pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning")
@pytest.mark.parametrize("name", few(optimizers(), ["adam", "sgd", "lion"]))
def test_every_optimizer_is_left_alone_bit_for_bit(name):
    function, rate = optimizers()[name]
    base = function(**{rate: 0.05}, **NEEDS.get(name, {}))
    (params, _), (plain, _) = run(name, listening(base, chain=SHORT), base, steps=4)
    assert_identical(params, plain)


OPTIONS = {
    "default": {},
    "resting": {"resolution": 0.5, "visible_resolution": 0.25},
    "every link": {"resolution": 0.0},
    "closed": {"leak": "none", "init": "zero"},
    "initial": {"leak": "initial"},
    "bfloat16": {"beaker_dtype": "bfloat16"},
    "euler": {"method": "sequential_euler"},
}
ADAM = optax.adam(0.05)


@pytest.mark.parametrize(
    ("name", "dtype"),
    few(
        [*((name, "float32") for name in OPTIONS), ("default", "bfloat16"), ("euler", "bfloat16")],
        [("resting", "float32")],
    ),
)
def test_weights_are_left_alone_eagerly_in_scans_and_under_vmap(name, dtype):
    tx, params = listening(ADAM, **OPTIONS[name]), jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    assert_identical(training(tx, 3, params, jit=False)[0], training(ADAM, 3, params, jit=False)[0])
    assert_identical(training(tx, 12, params)[0], training(ADAM, 12, params)[0])
    stacked = jax.tree.map(lambda p: jnp.stack([p, -p]), params)
    mapped = (jax.vmap(lambda p, t=t: training(t, 5, p)[0])(stacked) for t in (tx, ADAM))
    assert_identical(*mapped)


def test_sharded_weights_are_left_alone():
    mesh = jax.make_mesh((8,), ("x",))
    params = jax.device_put(PARAMS, NamedSharding(mesh, PartitionSpec("x")))
    (watched, state), (alone, _) = (training(tx, 6, params) for tx in (listening(ADAM), ADAM))
    assert_identical(jax.device_get(watched), jax.device_get(alone))
    assert get_beakers(state)[2]["w"].sharding.is_equivalent_to(params["w"].sharding, 2)


@pytest.mark.parametrize("tree", TREES)
def test_trees_are_left_alone(tree):
    params = TREES[tree]
    tx, grads = listening(ADAM), jax.tree.map(lambda p: 0.3 * p, params)
    watched, alone = (each.update(grads, each.init(params), params)[0] for each in (tx, ADAM))
    assert_identical(watched, alone)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "initial", "bfloat16"])
def test_tools_act_on_a_chain_that_listens_and_leave_its_weights_alone(name):
    """Where it is in the middle of its periods; and the training after them is that of Adam alone."""
    tx = listening(ADAM, **OPTIONS[name])
    params, (adam, state) = training(tx, 11)
    beakers = get_beakers(state)
    assert len(beakers) == 4
    settled, after = settle_beakers(state, params)
    longer = BeakerChain.from_timescales(7, 6.0, 900.0)
    same, resized = resize_beakers(state, params, longer)
    relaxed, later = relax(state, params, 50.0)
    for weights in (settled, same, relaxed, readout(state, params, [1.0, 0, 0, 0, 0])):
        assert_identical(weights, params)
    assert np.all(np.isfinite(diagnose(state, params).flows))
    report = drift_report(state, params)
    assert (report.drift, report.memory_timescale) == (0.0, np.inf)
    reset = reset_beakers(state, params)
    tolerance = 2**-7 if name == "bfloat16" else 0.0
    assert_close(get_beakers(reset), (params,) * 4, rtol=tolerance)
    for going_on in (after, later, reset, offload_beakers(state, first=4)):
        assert_identical(training(tx, 7, params, (adam, going_on))[0], training(ADAM, 7, params, adam)[0])
    options = {**OPTIONS[name], "backflow": "never"}
    other = optax.chain(ADAM, complex_synapse(chain=longer, **options))
    assert_identical(training(other, 7, params, (adam, resized))[0], training(ADAM, 7, params, adam)[0])


@pytest.mark.parametrize("leak", few(["zero", "none", "initial"], ["zero", "initial"]))
def test_time_without_input_brings_what_the_chain_hears_to_the_weights_at_rest(leak, x64):
    """``expm`` of the one-sided generator; in a closed chain all beakers become what the weights are."""
    tx = complex_synapse(chain=CHAIN, backflow="never", leak=leak, init="zero", resolution=0.0)
    start = jax.tree.map(lambda p: jnp.asarray(p, float), PARAMS)
    params, state = training(optax.chain(optax.sgd(0.1), tx), 9, start)
    C, g = np.array(CHAIN.capacities), np.array(CHAIN.conductances)
    generator = np.zeros((6, 6))  # u_1 … u_5 and the end
    for k in range(1, 5):
        generator[k, [k - 1, k]] += np.array([1, -1]) * g[k - 1] / C[k]
    generator[4, [5, 4]] += np.array([1, -1]) * (leak != "none") * g[4] / C[4]
    end = start if leak == "initial" else jax.tree.map(jnp.zeros_like, start)
    contents = [params, *get_beakers(state), end]
    expected = np.tensordot(expm(generator * 37.0), np.stack([u["w"] for u in contents]), axes=1)
    relaxed, later = relax(state, params, 37.0)
    np.testing.assert_allclose(np.stack([u["w"] for u in get_beakers(later)]), expected[1:5], rtol=1e-9)
    if leak == "none":
        _, at_last = relax(state, params, 1e6)
        for beaker in get_beakers(at_last):
            assert_close(beaker, relaxed)


def test_offloaded_beakers_hear_the_same():
    tx = listening(ADAM, leak="none")
    start = PARAMS, tx.init(PARAMS)
    params, state = training(tx, 40, *start)
    offloaded = jax.jit(lambda s: (s[0], offload_beakers(s[1], first=4)))(start[1])
    same, there = training(tx, 40, PARAMS, offloaded)
    assert_identical(same, params)
    assert_close(jax.device_get(get_beakers(there)), jax.device_get(get_beakers(state)))


@pytest.mark.parametrize("dtype", few(["float32", "bfloat16"], ["bfloat16"]))
def test_a_checkpoint_goes_on_with_the_same_bits(dtype, tmp_path):
    tx = listening(ADAM, leak="none", beaker_dtype=dtype)
    saved = training(tx, 9)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", saved)
    like = jax.eval_shape(lambda p: (p, tx.init(p)), PARAMS)
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(tmp_path / "state", like)
    assert_identical(training(tx, 9, *restored), training(tx, 9, *saved))
