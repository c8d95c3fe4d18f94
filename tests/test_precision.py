"""Long timescales in few bits: what rounding does to the contents."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few

from cs_optax import BeakerChain, complex_synapse, get_beakers
from cs_optax._xla import combine_seeds, round_stochastically

pytestmark = pytest.mark.usefixtures("optimized")

low_precision = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
VALUES = [1.0, 1.001, -1.0049, 0.3, -7.7, 2.0**-15 * 1.37, 0.0, 1.999, -2.001, 255.3]


def neighbours(value, dtype):
    """The two numbers of ``dtype`` around a value."""
    with np.errstate(invalid="ignore"):
        grid = np.arange(2**16, dtype=np.uint16).view(jnp.dtype(dtype)).astype(np.float64)
    grid = np.unique(grid[np.isfinite(grid)])
    return grid[grid <= value].max(), grid[grid >= value].min()


@low_precision
@pytest.mark.parametrize("value", VALUES)
def test_rounding_takes_a_neighbour_and_is_right_on_average(dtype, value):
    n = 40_000
    rounded = round_stochastically(jnp.full(n, value, jnp.float32), jnp.dtype(dtype), combine_seeds(3))
    rounded, value = np.asarray(rounded, np.float64), float(np.float32(value))
    below, above = neighbours(value, dtype)
    assert set(np.unique(rounded)) <= {below, above}
    deviation = (above - below) / 2
    assert abs(rounded.mean() - value) <= 5 * deviation / np.sqrt(n)


def test_rounding_differs_between_elements_seeds_and_steps_but_not_between_calls():
    x = jnp.full((40, 50), 1.002)
    a, b = (np.asarray(round_stochastically(x, jnp.bfloat16, combine_seeds(0, k)), float) for k in (1, 2))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(a[:, 1:].ravel(), a[:, :-1].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(a[1:].ravel(), a[:-1].ravel())[0, 1]) < 0.1
    np.testing.assert_array_equal(
        a, np.asarray(round_stochastically(x, jnp.bfloat16, combine_seeds(0, 1)), float)
    )


@low_precision
@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
def test_rounding_of_few_numbers_is_right_on_average(dtype, shape):
    n, value = 10_000, 1.0004
    seeds = jnp.arange(n, dtype=jnp.uint32)
    x = jnp.full(shape, value, jnp.float32)
    rounded = jax.vmap(lambda seed: round_stochastically(x, jnp.dtype(dtype), seed))(seeds)
    below, above = neighbours(value, dtype)
    mean = np.asarray(rounded, np.float64).reshape(n, -1).mean(axis=0)
    assert np.abs(mean - value).max() <= 5 * (above - below) / 2 / np.sqrt(n)


def test_the_beakers_of_a_chain_round_differently():
    params, tx = jnp.zeros(4000), complex_synapse(4, 10.0, 160.0, beaker_dtype="bfloat16", resolution=0.0)
    beakers = tuple(jnp.full(4000, value, jnp.bfloat16) for value in (1.0, 1.1, 1.3))
    _, state = tx.update(params, tx.init(params)._replace(beakers=beakers), params)
    errors = np.corrcoef([np.asarray(u, np.float64) for u in get_beakers(state)])
    assert np.abs(errors - np.eye(3)).max() < 0.1


def test_two_groups_of_parameters_round_differently():
    params = {"a": jnp.full(4000, 1.002), "b": jnp.full(4000, 1.002)}

    def synapse():
        return complex_synapse(3, 10.0, 160.0, beaker_dtype="bfloat16", init="zero")

    tx = optax.partition({"first": synapse(), "second": synapse()}, {"a": "first", "b": "second"})
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), state, params)
        params = optax.apply_updates(params, updates)
    a, b = (np.asarray(get_beakers(state)[0][leaf], np.float64) for leaf in "ab")
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


@low_precision
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_rounding_keeps_what_is_not_finite(dtype, value):
    rounded = round_stochastically(jnp.full(500, value, jnp.float32), jnp.dtype(dtype), combine_seeds(0))
    np.testing.assert_array_equal(np.asarray(rounded, float), np.full(500, value))


def test_rounding_of_what_is_too_large_is_infinite():
    rounded = round_stochastically(
        jnp.array([1e6, -1e6], jnp.float32), jnp.dtype("float16"), combine_seeds(0)
    )
    np.testing.assert_array_equal(rounded, [np.inf, -np.inf])


def follow_noise(chain, dtype, beaker_dtype, n_steps, size, **options):
    """``u_1 … u_K`` of some weights after many small random updates with a slight trend, float64."""
    tx = complex_synapse(chain=chain, beaker_dtype=beaker_dtype, **options)

    def step(i, carry):
        params, state = carry
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), i), params.shape, jnp.float32)
        updates, state = tx.update((size * (noise + 0.05)).astype(params.dtype), state, params)
        return optax.apply_updates(params, updates), state

    start = jnp.linspace(1, 2, 64).astype(dtype)
    run = jax.jit(lambda p: jax.lax.fori_loop(0, n_steps, step, (p, tx.init(p))))
    params, state = run(start)
    return np.stack([np.asarray(u, np.float64) for u in (params, *get_beakers(state))])


def errors(contents, exact):
    """Of each beaker, as a share of its change since the beginning: rms, and of the mean."""
    change = np.sqrt(np.mean((exact - np.linspace(1, 2, 64)) ** 2, axis=1))
    difference = contents - exact
    return np.sqrt(np.mean(difference**2, axis=1)) / change, np.abs(difference.mean(axis=1)) / change


@pytest.mark.slow
def test_float32_exchange_follows_float64_where_euler_stalls(x64):
    """With updates of 1e-4 slow beakers gain less in one Euler step than float32 can hold."""
    chain = BeakerChain.from_timescales(8, 10.0, 10 * 4.0**7).closed()
    settings = {"n_steps": 100_000, "size": 1e-4}
    for options, low, high in (({}, 0.0, 0.005), ({"method": "sequential_euler"}, 0.9, 2.0)):
        exact = follow_noise(chain, "float64", None, **settings, **options)
        rounded = follow_noise(chain, "float32", None, **settings, **options)
        assert low <= errors(rounded, exact)[0].max() < high


@pytest.mark.parametrize(("n_beakers", "alpha"), few([(8, 10.0), (5, 500.0)], [(5, 500.0)]))
def test_bfloat16_beakers_follow_float64_up_to_timescales_of_1e5(n_beakers, alpha, x64):
    chain = BeakerChain.from_timescales(n_beakers, alpha, 1e5)
    exact = follow_noise(chain, "float64", None, 200_000, 0.05)
    rounded = follow_noise(chain, "float32", "bfloat16", 200_000, 0.05)
    rms, bias = errors(rounded, exact)
    assert rms[0] < 0.08
    assert rms.max() < 0.2  # of the slowest beaker, which has changed least
    assert bias.max() < 0.04


@pytest.mark.slow
def test_bfloat16_beakers_would_stall_if_rounded_to_the_nearest(x64, monkeypatch):
    """The twin of the test above: it is the rounding that keeps them going."""
    monkeypatch.setattr("cs_optax._step.round_stochastically", lambda x, dtype, seed: x.astype(dtype))
    jax.clear_caches()  # of the steps that were compiled before
    chain = BeakerChain.from_timescales(5, 500.0, 1e5)
    exact = follow_noise(chain, "float64", None, 100_000, 0.05)
    rounded = follow_noise(chain, "float32", "bfloat16", 100_000, 0.05)
    jax.clear_caches()
    assert errors(rounded, exact)[0].max() > 0.5


def test_bfloat16_beakers_conserve_content_on_average(x64):
    chain = BeakerChain.benna_fusi(5)
    C = np.array(chain.capacities)
    tx = complex_synapse(chain=chain, leak="none", beaker_dtype="bfloat16")
    params = jnp.asarray(np.random.default_rng(0).uniform(1, 2, 2000), jnp.float32)
    state = tx.init(params)
    before = C @ np.stack([np.asarray(u, np.float64) for u in (params, *get_beakers(state))])

    def step(_, carry):
        updates, state = tx.update(jnp.zeros_like(carry[0]), carry[1], carry[0])
        return carry[0] + updates, state

    params, state = jax.jit(lambda *carry: jax.lax.fori_loop(0, 2000, step, carry))(params, state)
    after = C @ np.stack([np.asarray(u, np.float64) for u in (params, *get_beakers(state))])
    np.testing.assert_allclose(after.mean(), before.mean(), rtol=5e-3)


def test_rounding_is_the_same_in_every_run():
    tx = complex_synapse(4, 8.0, 512.0, beaker_dtype="bfloat16")
    params = jnp.linspace(-1, 1, 50)
    runs = [jax.jit(tx.update)(0.1 * params, tx.init(params), params)[1].beakers for _ in range(2)]
    jax.tree.map(np.testing.assert_array_equal, *runs)
