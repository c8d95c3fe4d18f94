"""The integrators against their slow twins, the exact propagator, and the laws of conservation."""

import math
import warnings

import chain_twin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few, pairs

from cs_optax import BeakerChain, complex_synapse, get_beakers

RNG = np.random.default_rng(0)


def follow(tx, inputs, params):
    """Parameters ``[T, …]`` and beakers under a sequence of inputs ``[T, …]``."""

    def step(carry, delta):
        params, state = carry
        updates, state = tx.update(delta, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, get_beakers(state))

    return jax.jit(lambda p, d: jax.lax.scan(step, (p, tx.init(p)), d)[1])(params, inputs)


def timescale_chain(alpha, x, n_beakers):
    return BeakerChain.from_timescales(n_beakers, alpha, alpha * x ** (2 * n_beakers - 2))


@pytest.mark.parametrize("resolution", [0.0, 0.125, 0.5])
@pytest.mark.parametrize(("alpha", "x", "n_beakers"), [(8.0, 2.0, 5), (9.0, 2.5, 3), (3.0, 1.0, 4)])
def test_exchange_is_its_slow_twin(alpha, x, n_beakers, resolution, x64):
    chain = timescale_chain(alpha, x, n_beakers)
    inputs, start = RNG.standard_normal(400), RNG.standard_normal()
    params, beakers = follow(
        complex_synapse(chain=chain, resolution=resolution), jnp.asarray(inputs), jnp.asarray(start)
    )
    twin = chain_twin.exchange(chain, inputs, [start] * n_beakers, resolution)
    np.testing.assert_allclose(np.stack([params, *beakers], axis=1), twin, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("alpha", "x"),
    few(pairs([8.0, 8.5, 10.0, 20.0], [1.5, 2.0, 2.5]), lambda alpha, x: alpha == 8.5),
)
@pytest.mark.parametrize(("resolution", "bound"), [(0.125, 0.01), (0.0, 0.001)])
def test_impulse_response_within_its_bound_at_every_phase(alpha, x, resolution, bound, x64):
    """One parameter for each phase of the impulse against the exchanges of the links, all t ≤ beta."""
    chain = timescale_chain(alpha, x, 5)
    beta = int(chain.timescales()[-1])
    n_phases = min(chain_twin.periods(chain, resolution)[2], 128)
    horizon = min(beta, 6000) + n_phases
    inputs = np.eye(horizon, n_phases)
    params, _ = follow(
        complex_synapse(chain=chain, resolution=resolution), jnp.asarray(inputs), jnp.zeros(n_phases)
    )
    for phase in range(n_phases):
        response = np.asarray(params)[phase : horizon - n_phases + phase, phase]
        exact = chain.impulse_response(np.arange(1, len(response) + 1))
        np.testing.assert_allclose(response, exact, rtol=bound)


GRID = [
    (alpha, x, n_beakers)
    for n_beakers in (3, 4, 5, 8, 12)
    for x in (1.5, 1.75, 2.0, 2.25, 2.5)
    for alpha in (8.0, 9.0, 10.0, 11.0, 13.0, 17.0, 30.0, 100.0, 500.0)
]
# Where the period of link 2 has just jumped, which is where the error is largest, and anywhere.
OFF_THE_GRID = [(8.0648, 2.5, 3), (8.7057, 2.5, 3), (8.5, 2.45, 3), (8.77, 2.5, 3)] + [
    (8 * float(np.exp(a)), float(x), int(n_beakers))
    for a, x, n_beakers in zip(
        np.random.default_rng(1).exponential(1.0, 30),
        np.random.default_rng(2).uniform(1.5, 2.5, 30),
        np.random.default_rng(3).integers(3, 9, 30),
        strict=True,
    )
]


@pytest.mark.parametrize(
    ("alpha", "x", "n_beakers", "bound"),
    few(
        [(*case, 0.01) for case in GRID] + [(*case, 0.012) for case in OFF_THE_GRID],
        lambda *case: case[:3] in {*GRID[::14], *OFF_THE_GRID[:4]},
    ),
)
def test_impulse_error_of_long_chains_up_to_beta(alpha, x, n_beakers, bound):
    """The twin, whose steps the optimizer takes, jumped forward in blocks to any time up to beta."""
    chain = timescale_chain(alpha, x, n_beakers)
    scheme = chain_twin.BlockPropagator(chain, 0.125)
    beta = chain.timescales()[-1]
    times = np.unique(np.geomspace(1, beta, 60).astype(int))
    critical = np.concatenate([np.array(scheme.periods[1:]) - 1 + offset for offset in (-1, 0, 1)])
    phases = np.unique(np.concatenate([critical, RNG.integers(0, scheme.periods[-1], 5)]))
    exact = chain.impulse_response(times)
    for phase in phases:
        response = [scheme.between(int(phase), int(phase + t))[0, 0] for t in times]
        np.testing.assert_allclose(response, exact, rtol=bound)


@pytest.mark.parametrize(
    ("alpha", "x", "n_beakers"),
    few([(8.0, 1.5, 6), (8.0, 2.5, 12), (20.0, 2.0, 8), (500.0, 1.5, 5)], [(8.0, 1.5, 6), (500.0, 1.5, 5)]),
)
@pytest.mark.parametrize(("resolution", "bound"), [(0.125, 0.003), (0.0, 0.001)])
def test_white_noise_error_within_its_bound(alpha, x, n_beakers, resolution, bound, x64):
    chain = timescale_chain(alpha, x, n_beakers)
    inputs = RNG.standard_normal((3000, 64))
    params, _ = follow(
        complex_synapse(chain=chain, resolution=resolution), jnp.asarray(inputs), jnp.zeros(64)
    )
    step, contents, exact = chain.propagator(1.0), np.zeros((n_beakers, 64)), []
    for noise in inputs:
        contents[0] += noise
        contents = step @ contents
        exact.append(contents[0].copy())
    error = np.sqrt(np.mean((np.asarray(params) - exact) ** 2) / np.mean(np.square(exact)))
    assert error < bound


def test_impulse_response_converges_with_the_square_of_the_time_step(x64):
    chain = BeakerChain.benna_fusi(4)
    errors = []
    for dt in (1.0, 0.5, 0.25):
        tx = complex_synapse(chain=chain, time_step=dt, resolution=0.0)
        inputs = jnp.zeros(int(40 / dt)).at[0].set(1.0)
        params, _ = follow(tx, inputs, jnp.zeros(()))
        errors.append(abs(params[-1] - chain.impulse_response(40.0)))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("visible_resolution", [0.0, 1.0])
@pytest.mark.parametrize("resolution", [0.0, 0.125])
@pytest.mark.parametrize("leak", few(["zero", "none", "initial"], ["initial"]))
def test_exchange_never_diverges_even_at_a_hundred_alpha(leak, resolution, visible_resolution):
    """Without input every content stays within the range of the contents before."""
    tx = complex_synapse(
        6,
        8.0,
        8192.0,
        time_step=800.0,
        leak=leak,
        resolution=resolution,
        visible_resolution=visible_resolution,
    )
    params = jnp.asarray(RNG.uniform(-1, 1, 20), jnp.float32)
    inputs = jnp.zeros((500, 20)).at[:20].set(RNG.uniform(-1, 1, (20, 20)))
    trajectory, beakers = follow(tx, inputs, params)
    contents = np.stack([trajectory, *beakers])
    assert np.all(np.isfinite(contents))
    rest = np.abs(contents[:, 20:]).max(axis=(0, 2))
    limit = np.abs(contents[:, 19]).max() if leak != "initial" else max(1.0, np.abs(contents[:, 19]).max())
    assert np.all(rest <= limit * (1 + 1e-5))


@pytest.mark.parametrize("dtype", few(["float32", "float64"], ["float32"]))
@pytest.mark.parametrize("init", few(["same", "zero"], ["zero"]))
@pytest.mark.parametrize("options", [{}, {"resolution": 0.0}, {"visible_resolution": 0.25}])
def test_content_is_conserved_without_a_leak(dtype, init, options, x64):
    """Σ C_k u_k changes by the input alone, up to the rounding of its terms."""
    chain = BeakerChain.benna_fusi(6)
    tx = complex_synapse(chain=chain, leak="none", init=init, **options)
    start = RNG.standard_normal(50).astype(dtype)
    inputs = np.zeros((2000, 50), dtype)
    inputs[:50] = RNG.standard_normal((50, 50))
    params, beakers = follow(tx, jnp.asarray(inputs), jnp.asarray(start))
    assert params.dtype == dtype
    C = np.array(chain.capacities)
    content = np.tensordot(C, np.stack([params, *beakers]).astype(np.float64), axes=1)
    before = start * (C.sum() if init == "same" else 1.0)
    scale = np.abs(content).max() + C.sum()
    error = np.abs(content - before - np.cumsum(inputs, axis=0, dtype=np.float64)).max() / scale
    assert error < 200 * np.finfo(dtype).eps


def test_a_low_precision_weight_that_cannot_move_is_no_source():
    """A bfloat16 weight, stuck between its two neighbours, gives the chain nothing it does not lose."""
    chain = BeakerChain.benna_fusi(5)
    tx = complex_synapse(chain=chain, leak="none", init="zero")
    params = jnp.ones(4, jnp.bfloat16)
    trajectory, beakers = follow(tx, jnp.zeros((3000, 4), jnp.bfloat16), params)
    contents = np.stack([np.asarray(u, np.float64) for u in (trajectory, *beakers)])
    content = np.tensordot(chain.capacities, contents, axes=1)
    np.testing.assert_allclose(content, 1.0, rtol=1e-4)


def test_leak_to_the_initial_weights_comes_back_to_them(x64):
    start = jnp.array([1.0, -2.0])
    tx = complex_synapse(3, 4.0, 64.0, leak="initial")
    inputs = jnp.zeros((8000, 2)).at[:10].set(0.5)
    params, beakers = follow(tx, inputs, start)
    assert np.abs(params[10] - start).min() > 0.5
    np.testing.assert_allclose(np.stack([params[-1], *(u[-1] for u in beakers)]), [start] * 3, atol=1e-9)


def test_leak_to_the_initial_weights_is_the_leak_to_zero_of_what_was_added(x64):
    inputs = jnp.asarray(RNG.standard_normal((300, 3)))
    start = jnp.array([1.0, -2.0, 3.0])
    params, _ = follow(complex_synapse(4, 6.0, 300.0, leak="initial"), inputs, start)
    change, _ = follow(complex_synapse(4, 6.0, 300.0, leak="zero"), inputs, 0 * start)
    np.testing.assert_allclose(params - start, change, atol=1e-12)


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
def test_equal_beakers_stay_equal_without_a_leak(method):
    tx = complex_synapse(5, 8.0, 2048.0, leak="none", method=method)
    params, beakers = follow(tx, jnp.zeros((100, 3)), jnp.array([0.3, -7.0, 0.0]))
    for content in (params, *beakers):
        np.testing.assert_array_equal(content, [[np.float32(0.3), -7.0, 0.0]] * 100)


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
@pytest.mark.parametrize("backflow", few(["always", "never", "kaplanis"], ["always", "kaplanis"]))
def test_the_step_is_linear_in_weights_and_inputs(method, backflow, x64):
    tx = complex_synapse(4, 5.0, 500.0, method=method, backflow=backflow)
    (p, q), (d, e) = RNG.standard_normal((2, 6)), RNG.standard_normal((2, 200, 6))
    one, _ = follow(tx, jnp.asarray(d), jnp.asarray(p))
    other, _ = follow(tx, jnp.asarray(e), jnp.asarray(q))
    both, _ = follow(tx, jnp.asarray(2 * d - 3 * e), jnp.asarray(2 * p - 3 * q))
    np.testing.assert_allclose(both, 2 * one - 3 * other, atol=1e-11)


def test_sequential_euler_diverges_where_the_spectral_limit_says():
    chain = BeakerChain.from_timescales(6, 1.0, 1024.0)
    limit = chain.stability_limit(exact=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        below, above = (
            complex_synapse(chain=chain, method="sequential_euler", time_step=limit * factor)
            for factor in (0.98, 1.02)
        )
    kick = jnp.zeros(4000).at[0].set(1.0)
    assert abs(follow(below, kick, jnp.zeros(()))[0][-1]) < 1.0
    assert not abs(follow(above, kick, jnp.zeros(()))[0][-1]) < 1e3


def test_a_varying_time_step_is_the_sum_of_its_parts(x64):
    """Waiting links add up the time: steps of 1 and 3 in turn come near the exact solution."""
    chain = BeakerChain.benna_fusi(5)
    tx = complex_synapse(chain=chain, time_step=lambda count: jnp.where(count % 2 == 0, 1.0, 3.0))
    params, _ = follow(tx, jnp.zeros(400).at[0].set(1.0), jnp.zeros(()))
    elapsed = np.cumsum(np.where(np.arange(400) % 2 == 0, 1.0, 3.0))
    np.testing.assert_allclose(params, chain.impulse_response(elapsed), rtol=0.03)


def test_a_schedule_that_is_constant_is_the_constant():
    inputs = jnp.asarray(RNG.standard_normal((300, 5)), jnp.float32)
    fixed, _ = follow(complex_synapse(6, 10.0, 10_240.0, time_step=0.5), inputs, jnp.zeros(5))
    scheduled, _ = follow(
        complex_synapse(
            6, lambda _: 10.0, optax.constant_schedule(10_240.0), time_step=lambda _: jnp.float32(0.5)
        ),
        inputs,
        jnp.zeros(5),
    )
    np.testing.assert_allclose(scheduled, fixed, rtol=1e-5, atol=1e-6)


def test_clocks_do_not_stop_where_float32_sums_would():
    """0.003 added to 1e5 is lost in float32; the compensated clock keeps it."""
    tx = complex_synapse(3, 3e6, 48e6, time_step=lambda count: 0.003)
    params = jnp.zeros(2)
    state = tx.init(params)
    per_time = jnp.array([1.0, 0.0, *state.chain[1, 1:]])
    far = state._replace(clocks=state.clocks.at[0].set(1e5 * per_time))

    def step(_, state):
        return tx.update(jnp.zeros(2), state, params)[1]

    clocks = np.asarray(jax.jit(lambda s: jax.lax.fori_loop(0, 10_000, step, s))(far).clocks, np.float64)
    later = np.asarray(per_time, np.float64) * (1e5 + 30.0)
    np.testing.assert_allclose(clocks.sum(axis=0)[[0, 2, 3]], later[[0, 2, 3]], rtol=1e-7)


def test_links_wait_between_their_exchanges():
    """With a resting visible link nothing flows, and an input passes as it came."""
    tx = complex_synapse(5, 500.0, 500.0 * 4**4, visible_resolution=1 / 16)
    params, beakers = follow(tx, jnp.zeros(60).at[0].set(1.0), jnp.zeros(()))
    moves = np.flatnonzero(np.diff(np.asarray(beakers[0]), prepend=0.0)) + 1
    assert moves.tolist() == [21, 42]
    assert np.all(np.asarray(params)[:20] == 1.0)


def test_resting_visible_link_keeps_its_promise(x64):
    """An error of about half the resolution for t < alpha."""
    chain = BeakerChain.from_timescales(5, 500.0, 2500.0)
    tx = complex_synapse(chain=chain, visible_resolution=1 / 16)
    inputs = np.eye(2600, 24)
    params, _ = follow(tx, jnp.asarray(inputs), jnp.zeros(24))
    for phase in range(24):
        response = np.asarray(params)[phase : phase + 2500, phase]
        np.testing.assert_allclose(response, chain.impulse_response(np.arange(1, 2501)), rtol=0.05)


@pytest.mark.parametrize("resolution", [0.0, 0.125])
def test_a_slow_link_before_a_fast_one_does_not_hold_it_up(resolution, x64):
    chain = BeakerChain([1.0, 2.0, 1.5, 4.0], [0.02, 0.0005, 0.05, 0.001])
    tx = complex_synapse(chain=chain, resolution=resolution)
    params, beakers = follow(tx, jnp.zeros(3000).at[0].set(1.0), jnp.zeros(()))
    for t in (1, 30, 300, 3000):
        exact = chain.propagator(t)[:, 0]
        got = np.array([params[t - 1], *(u[t - 1] for u in beakers)])
        np.testing.assert_allclose(got, exact, rtol=0.1, atol=2e-3)


FOUR = BeakerChain.from_timescales(4, 4.0, 256.0)
UNEVEN = BeakerChain([1.0, 2.0, 1.5, 4.0], [0.02, 0.0005, 0.05, 0.001])


def kaplanis_times(chain):
    return [(2**k - 1) * chain.capacities[0] / chain.conductances[0] for k in range(1, chain.n_beakers)]


@pytest.mark.parametrize(
    "options", [{"resolution": 0.0}, {}, {"resolution": 0.5, "visible_resolution": 0.25}]
)
@pytest.mark.parametrize("dt", few([1.0, 0.5], [0.5]))
@pytest.mark.parametrize(
    ("chain", "backflow"),
    few(
        [
            (FOUR, "kaplanis"),
            (BeakerChain.from_timescales(5, 20.0, 20.0 * 4**4), "kaplanis"),
            (UNEVEN, [30.0, 0.0, 200.0]),
            (FOUR, [0.0, math.inf, 100.0]),
        ],
        lambda chain, backflow: len(chain.capacities) == 4,
    ),
)
def test_backflow_that_begins_at_times_is_its_slow_twin(chain, backflow, dt, options, x64):
    inputs = 0.1 * RNG.standard_normal(700)
    tx = complex_synapse(chain=chain, backflow=backflow, time_step=dt, **options)
    params, beakers = follow(tx, jnp.asarray(inputs), jnp.asarray(0.5))
    times = kaplanis_times(chain) if backflow == "kaplanis" else backflow
    twin = chain_twin.exchange_with_times(chain, times, inputs, 0.5, dt=dt, **options)
    np.testing.assert_allclose(np.stack([params, *beakers], axis=1), twin, atol=1e-12)


def test_euler_with_backflow_that_begins_at_times_is_its_slow_twin(x64):
    inputs = RNG.standard_normal(400)
    tx = complex_synapse(chain=FOUR, backflow="kaplanis", method="sequential_euler")
    params, beakers = follow(tx, jnp.asarray(inputs), jnp.asarray(0.5))
    twin = chain_twin.euler_with_times(FOUR, kaplanis_times(FOUR), inputs, 0.5)
    np.testing.assert_allclose(np.stack([params, *beakers], axis=1), twin, atol=1e-12)


def test_the_rule_of_kaplanis_switches_at_the_updates_of_its_source():
    """With g_1 = 0.1 link k flows back from update (2^k − 1)/g_1 on: 10, 30, 70, 150, …, counted from 0."""
    tx = complex_synapse(8, 10.0, 10.0 * 4**7, backflow="kaplanis")
    params = jnp.zeros(())

    def step(state, _):
        state = tx.update(params, state, params)[1]
        return state, state.chain[2]

    recall = np.asarray(jax.lax.scan(step, tx.init(params), length=1300)[1])
    assert [int(np.argmax(link > 0)) for link in recall.T] == [10, 30, 70, 150, 310, 630, 1270, 0]


def test_before_its_time_a_link_leaves_its_left_beaker_alone(x64):
    """Until its time the weight is what the optimizer in front makes of it."""
    tx = complex_synapse(3, 10.0, 160.0, backflow=[40.0, 40.0])
    inputs = jnp.asarray(RNG.standard_normal(60))
    params, _ = follow(tx, inputs, jnp.zeros(()))
    np.testing.assert_allclose(params[:40], np.cumsum(inputs)[:40], rtol=1e-12)
    assert abs(params[45] - np.cumsum(inputs)[45]) > 1e-3


@pytest.mark.parametrize("recall", [0.0, 0.5, 2.0])
def test_recall_is_its_slow_twin(recall, x64):
    inputs = 0.1 * RNG.standard_normal(700)
    params, beakers = follow(
        complex_synapse(chain=FOUR, recall=recall), jnp.asarray(inputs), jnp.asarray(0.5)
    )
    twin = chain_twin.exchange_with_times(FOUR, [0.0] * 3, inputs, 0.5, recall=recall)
    np.testing.assert_allclose(np.stack([params, *beakers], axis=1), twin, atol=1e-12)


def test_a_constant_recall_is_another_chain(x64):
    """Link k has the same effect on both its beakers with C_k ρ^(k−1) and g_k ρ^k."""
    rho, K = 0.5, FOUR.n_beakers
    other = BeakerChain(
        [C * rho**k for k, C in enumerate(FOUR.capacities)],
        [g * rho ** min(k + 1, K - 1) for k, g in enumerate(FOUR.conductances)],
    )
    inputs = jnp.asarray(RNG.standard_normal(500))
    one, _ = follow(complex_synapse(chain=FOUR, recall=rho), inputs, jnp.asarray(0.5))
    same, _ = follow(complex_synapse(chain=other), inputs, jnp.asarray(0.5))
    np.testing.assert_allclose(one, same, atol=1e-12)


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
def test_a_chain_that_listens_follows_the_weights_as_its_slow_twin(method, x64):
    inputs, never = 0.1 * RNG.standard_normal(500), [math.inf] * 3
    tx = complex_synapse(chain=FOUR, backflow="never", method=method)
    params, beakers = follow(tx, jnp.asarray(inputs), jnp.asarray(0.5))
    twin = {"exchange": chain_twin.exchange_with_times, "sequential_euler": chain_twin.euler_with_times}[
        method
    ]
    np.testing.assert_allclose(
        np.stack([params, *beakers], axis=1), twin(FOUR, never, inputs, 0.5), atol=1e-12
    )


def test_before_its_time_a_link_fills_its_right_beaker_from_a_weight_of_low_precision_too():
    """Although that loses nothing of it, and a beaker otherwise gains what such a weight loses."""
    tx = complex_synapse(3, 10.0, 160.0, backflow=[40.0, 40.0], init="zero", beaker_dtype="float32")
    low, exact = (
        follow(tx, jnp.zeros((30, 4), dtype), jnp.ones(4, dtype)) for dtype in ("bfloat16", "float32")
    )
    np.testing.assert_array_equal(low[0], np.ones((30, 4)))
    np.testing.assert_allclose(low[1][0], exact[1][0], rtol=1e-5)
    assert (exact[1][0][-1] > 0.1).all()


@pytest.mark.parametrize(
    ("chain", "options"),
    [
        (BeakerChain.benna_fusi(4), {}),
        (BeakerChain.benna_fusi(4).closed(), {"resolution": 0.4}),
        (BeakerChain.from_timescales(4, 50.0, 3200.0), {"visible_resolution": 0.2}),
        (BeakerChain.from_timescales(3, 50.0, 800.0), {"resolution": 0.0, "visible_resolution": 0.2}),
        (BeakerChain([1.0, 2.0, 1.5, 4.0], [0.02, 0.0005, 0.05, 0.001]), {}),
    ],
)
def test_links_exchange_with_the_periods_that_the_chain_tells(chain, options):
    tx = complex_synapse(chain=chain, **options)

    def step(state, _):
        state = tx.update(jnp.zeros(()), state, jnp.zeros(()))[1]
        return state, state.clocks[0, 1:] / jnp.asarray(chain.conductances)

    waits = np.asarray(jax.lax.scan(step, tx.init(jnp.zeros(())), length=2000)[1])
    for k, period in enumerate(chain.exchange_periods(**options)):
        if not (options.get("resolution") == 0 or (k == 0 and "visible_resolution" not in options)):
            np.testing.assert_allclose(waits[:, k], np.arange(1, 2001) % period, rtol=1e-6)
        else:
            assert period == 1


@pytest.mark.parametrize("capacity", [1e3, 1e8])
def test_coefficients_do_not_cancel_for_very_unequal_beakers(capacity):
    """A full exchange leaves both beakers at their common mean, however large the second one is."""
    tx = complex_synapse(chain=BeakerChain([1.0, capacity], [1.0, 0.0]), time_step=100.0, init="zero")
    params, beakers = follow(tx, jnp.zeros(3).at[0].set(1.0), jnp.array(0.0))
    np.testing.assert_allclose(beakers[0], 1 / (1 + capacity), rtol=2e-3 if capacity < 1e4 else 1.0)
    assert np.all(np.isfinite(params))


@pytest.mark.parametrize("chain", [(6, 1e-5, 1e35), (40, 1e-30, 1e30), (2, 1.0, 1e16)])
def test_extreme_timescales_stay_finite(chain):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tx = complex_synapse(*chain)
    params, beakers = follow(tx, jnp.ones(20), jnp.array(1.0))
    assert np.all(np.isfinite(np.stack([params, *beakers])))
