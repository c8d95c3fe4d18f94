"""Laws that every chain obeys, for any timescales, time step, weights and inputs (hypothesis)."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tiers import few, pairs

from cs_optax import BeakerChain, complex_synapse, get_beakers

STEPS, N_WEIGHTS = 24, 5
OPTIONS = {
    "exchange": {},
    "every_link": {"resolution": 0.0},
    "resting": {"resolution": 0.5, "visible_resolution": 0.25},
    "kaplanis": {"backflow": "kaplanis"},
    "never": {"backflow": "never"},
}
quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
some_options = pytest.mark.parametrize("name", few(OPTIONS, ["exchange", "kaplanis"]))
with_some_leaks = pytest.mark.parametrize(
    ("name", "leak"),
    few(
        pairs(OPTIONS, ["zero", "none", "initial"]),
        [("exchange", "zero"), ("resting", "initial"), ("never", "none")],
    ),
)


def positive(low, high):
    """Numbers whose logarithm is uniform."""
    return st.floats(np.log10(low), np.log10(high)).map(lambda exponent: 10.0**exponent)


n_beakers = st.sampled_from([1, 2, 3, 6])
timescales = st.tuples(positive(0.1, 1e4), positive(1.0, 1e6)).map(lambda pair: (pair[0], pair[0] * pair[1]))
time_steps = positive(1e-2, 1e6)
seeds = st.integers(0, 2**32 - 1)


@cache
def runner(K, leak, name):
    """``(alpha, beta, dt, weights [n], inputs [T, n]) -> contents [T, K, n]``, compiled once."""

    def run(alpha, beta, dt, weights, inputs):
        tx = complex_synapse(K, alpha, beta, time_step=dt, leak=leak, **OPTIONS[name])

        def step(carry, delta):
            params, state = carry
            updates, state = tx.update(delta, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), jnp.stack([params, *get_beakers(state)])

        return jax.lax.scan(step, (weights, tx.init(weights)), inputs)[1]

    return jax.jit(run)


def draw(seed):
    """Weights ``[n]`` and inputs ``[T, n]``."""
    random = np.random.default_rng(seed)
    return random.standard_normal(N_WEIGHTS), random.standard_normal((STEPS, N_WEIGHTS))


@quick
@given(n_beakers, timescales, time_steps, seeds, st.floats(-3, 3), st.floats(-3, 3))
@with_some_leaks
def test_linearity(x64, name, leak, K, scales, dt, seed, a, b):
    run = runner(K, leak, name)
    (p, d), (q, e) = draw(seed), draw(seed + 1)
    both = run(*scales, dt, a * p + b * q, a * d + b * e)
    parts = a * run(*scales, dt, p, d) + b * run(*scales, dt, q, e)
    np.testing.assert_allclose(both, parts, rtol=1e-9, atol=1e-9)


@quick
@given(n_beakers, timescales, time_steps, seeds)
@some_options
def test_contents_that_are_all_equal_stay_so_without_leak_and_input(x64, name, K, scales, dt, seed):
    weights, _ = draw(seed)
    contents = runner(K, "none", name)(*scales, dt, weights, np.zeros((STEPS, N_WEIGHTS)))
    np.testing.assert_array_equal(contents, np.broadcast_to(weights, contents.shape))


@quick
@given(n_beakers, timescales, time_steps, seeds)
@pytest.mark.parametrize("name", ["exchange", "every_link", "resting"])
def test_content_changes_by_the_input_alone_without_a_leak(x64, name, K, scales, dt, seed):
    weights, inputs = draw(seed)
    capacities = np.array(BeakerChain.from_timescales(K, *scales).capacities)
    contents = np.asarray(runner(K, "none", name)(*scales, dt, weights, inputs))
    total = np.einsum("k,tkn->tn", capacities, contents)
    expected = weights * capacities.sum() + np.cumsum(inputs, axis=0)
    np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-9 * capacities.sum())


@quick
@given(n_beakers, timescales, time_steps, seeds)
@with_some_leaks
def test_contents_contract_without_input_for_any_time_step(x64, name, leak, K, scales, dt, seed):
    """Their range only shrinks: each exchange is a weighted mean. Without backflow too."""
    weights, inputs = draw(seed)
    inputs[STEPS // 2 :] = 0
    contents = np.asarray(runner(K, leak, name)(*scales, dt, weights, inputs))[STEPS // 2 - 1 :]
    ends = {"zero": 0 * weights, "none": contents[0, 0], "initial": weights}[leak]
    highest, lowest = (
        pick(function(contents, axis=1), ends)
        for pick, function in ((np.maximum, np.max), (np.minimum, np.min))
    )
    rounding = 1e-13 * np.abs(contents).max()
    assert np.all(np.diff(highest, axis=0) <= rounding)
    assert np.all(np.diff(lowest, axis=0) >= -rounding)


@quick
@given(n_beakers, timescales, seeds)
@pytest.mark.parametrize("leak", ["zero", "none", "initial"])
def test_finer_steps_converge_to_the_propagator(x64, leak, K, scales, seed):
    """Of all contents; a splitting in a fixed order is of the first order in the time step."""
    chain = BeakerChain.from_timescales(K, *scales)
    chain = chain.closed() if leak == "none" else chain
    weights, _ = draw(seed)
    rest = weights if leak == "initial" else 0 * weights
    kick = np.zeros((STEPS, N_WEIGHTS))
    kick[0] = 1.0
    errors = []
    for dt in (scales[0] / 50, scales[0] / 100):
        n_steps = round(STEPS * scales[0] / 100 / dt)
        contents = runner(K, leak, "every_link")(*scales, dt, weights, kick)[n_steps - 1]
        start = np.stack([weights] * K)
        start[0] += kick[0]
        exact = rest + chain.propagator(n_steps * dt) @ (start - rest)
        errors.append(np.abs(contents - exact).max())
    assert errors[1] < max(0.55 * errors[0], 1e-10)
    assert errors[0] < 0.01


@quick
@given(n_beakers, timescales, time_steps, seeds)
@some_options
def test_weights_that_are_permuted_behave_as_before(x64, name, K, scales, dt, seed):
    weights, inputs = draw(seed)
    order = np.random.default_rng(seed).permutation(N_WEIGHTS)
    run = runner(K, "zero", name)
    permuted = run(*scales, dt, weights[order], inputs[:, order])
    np.testing.assert_allclose(
        permuted, run(*scales, dt, weights, inputs)[..., order], rtol=1e-12, atol=1e-14
    )


@quick
@given(n_beakers, timescales, time_steps, seeds, st.integers(-30, 30))
@some_options
def test_another_unit_of_content_or_of_time_changes_nothing_else(x64, name, K, scales, dt, seed, exponent):
    # A link that begins to flow back in just this step may do so in the next one in another unit.
    switches = BeakerChain.from_timescales(K, *scales).timescales() / dt
    assume(np.all(np.abs(switches - np.round(switches)) > 1e-6 * switches))
    weights, inputs = draw(seed)
    run, unit = runner(K, "zero", name), 2.0**exponent
    contents = run(*scales, dt, weights, inputs)
    np.testing.assert_array_equal(run(*scales, dt, unit * weights, unit * inputs), unit * contents)
    other_unit = run(scales[0] * unit, scales[1] * unit, dt * unit, weights, inputs)
    np.testing.assert_allclose(other_unit, contents, rtol=1e-9, atol=1e-9)
