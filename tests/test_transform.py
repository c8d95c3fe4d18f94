"""What complex_synapse is as an Optax transformation: its limits, its state, its errors."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few

from cs_optax import (
    BeakerChain,
    ComplexSynapseState,
    complex_synapse,
    get_beakers,
    published,
)

PARAMS = {"kernel": jnp.arange(6.0).reshape(2, 3) / 5, "bias": [jnp.ones(3), jnp.array(-0.5)]}


def train(tx, params=PARAMS, steps=25):
    """Minimise the squared distance to 1 for some steps."""

    @jax.jit
    def step(params, state):
        grads = jax.tree.map(lambda p: 2 * (p - 1), params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize(
    "options",
    [{"n_beakers": 0}, {"n_beakers": 1, "beta": 9.0, "leak": "none"}, {"chain": BeakerChain([2.0], [0.0])}],
)
@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
def test_without_links_it_is_the_optimizer_before_it(options, method):
    chained = optax.chain(optax.adam(0.1), complex_synapse(method=method, **options))
    assert_same(train(chained)[0], train(optax.adam(0.1))[0], rtol=0)


def test_one_beaker_is_decay_at_1_over_beta():
    tx = complex_synapse(n_beakers=1, beta=20.0)
    params = jnp.array([1.0, -3.0])
    state = tx.init(params)
    for _ in range(7):
        updates, state = tx.update(jnp.zeros(2), state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params, np.array([1.0, -3.0]) * math.exp(-7 / 20), rtol=1e-6)


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
def test_infinitely_slow_chains_are_the_optimizer_before_them(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a chain in which nothing flows, which is meant here
        slow = complex_synapse(4, 1e30, 1e33, method=method)
    assert_same(train(optax.chain(optax.sgd(0.1), slow))[0], train(optax.sgd(0.1))[0], rtol=1e-6)


@pytest.mark.parametrize("factory", [published.sgd, published.adam])
def test_the_published_time_step_is_the_learning_rate(factory):
    """dt = lr, so that alpha and beta divided by lr give the same weights with dt = 1.

    With Adam, dt also follows the bias correction: without moments there is none.
    """
    adam = factory is published.adam
    options = {"b1": 0.0, "b2": 0.0} if adam else {}
    as_published = factory(0.01, n_beakers=4, alpha=1.0, beta=64.0, **options)
    base = optax.adam(0.01, 0.0, 0.0) if adam else optax.sgd(0.01)
    documented = optax.chain(base, complex_synapse(4, 100.0, 6400.0, method="sequential_euler"))
    assert_same(train(as_published)[0], train(documented)[0], rtol=1e-5)


def test_published_adam_is_optax_adam_but_for_the_place_of_eps():
    ours = published.adam(0.01, eps=0.0, n_beakers=0)
    assert_same(train(ours)[0], train(optax.adam(0.01, eps=0.0))[0], rtol=1e-5)


def test_methods_agree_for_long_timescales():
    """Both solve the same equations: with alpha of 1000 steps they differ little."""
    exchange = train(optax.chain(optax.sgd(0.1), complex_synapse(5, 1e3, 256e3)), steps=500)
    euler = train(
        optax.chain(optax.sgd(0.1), complex_synapse(5, 1e3, 256e3, method="sequential_euler")), steps=500
    )
    assert_same(exchange[0], euler[0], rtol=2e-3, atol=1e-4)
    assert_same(get_beakers(exchange[1]), get_beakers(euler[1]), rtol=2e-2, atol=1e-3)


def test_state_holds_one_tree_for_each_hidden_beaker_and_no_more():
    state = complex_synapse(n_beakers=5, alpha=8.0, beta=2048.0).init(PARAMS)
    assert isinstance(state, ComplexSynapseState)
    assert len(state.beakers) == 4
    assert state.initial is None
    numbers = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert numbers == 4 * sum(leaf.size for leaf in jax.tree.leaves(PARAMS)) + 1 + 2 * 6 + 3 * 5
    assert all(jax.tree.structure(tree) == jax.tree.structure(PARAMS) for tree in state.beakers)


@pytest.mark.parametrize("init", ["same", "zero"])
def test_beakers_start_as_copies_or_at_zero(init):
    beakers = get_beakers(complex_synapse(3, 8.0, 128.0, init=init).init(PARAMS))
    for beaker in beakers:
        assert_same(beaker, jax.tree.map(lambda p: p * (init == "same"), PARAMS), rtol=0)


def test_beakers_are_no_aliases_of_the_parameters():
    """Donating parameters and state together needs buffers of their own."""
    tx = complex_synapse(3, 8.0, 128.0, leak="initial")
    params = jnp.ones(4)
    state = tx.init(params)
    step = jax.jit(lambda p, s: tx.update(jnp.zeros(4), s, p), donate_argnums=(0, 1))
    updates, state = step(params, state)
    step(updates, state)


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
@pytest.mark.parametrize("dtype", few(["bfloat16", "float16", "float32"], ["bfloat16", "float32"]))
@pytest.mark.parametrize("beaker_dtype", [None, "bfloat16", "float32"])
def test_dtypes_of_updates_and_state_stay_what_they_are(method, dtype, beaker_dtype):
    tx = complex_synapse(4, 8.0, 512.0, method=method, beaker_dtype=beaker_dtype, leak="initial")
    params = jnp.ones(3, dtype)
    state = tx.init(params)
    updates, after = tx.update(0.1 * params, state, params)
    assert updates.dtype == dtype
    assert {u.dtype.name for u in get_beakers(after)} == {beaker_dtype or "float32"}
    assert jax.tree.map(lambda a: (a.dtype, a.shape), after) == jax.tree.map(
        lambda a: (a.dtype, a.shape), state
    )


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
def test_strict_promotion_and_rank_rules_are_kept(method):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        tx = complex_synapse(4, 8.0, 512.0, method=method, visible_resolution=0.1)
        params = {"a": jnp.ones((2, 3)), "b": jnp.ones(3, jnp.bfloat16), "c": jnp.ones((), jnp.complex64)}
        jax.jit(tx.update)(params, tx.init(params), params)


def test_complex_parameters_are_two_real_ones():
    tx = complex_synapse(4, 8.0, 512.0)
    real, imaginary = jnp.array([1.0, 2.0]), jnp.array([-0.5, 3.0])
    both, _ = train(tx, jax.lax.complex(real, imaginary))
    np.testing.assert_allclose(both.real, train(tx, real)[0], rtol=1e-6)


def test_missing_leaves_and_empty_trees_pass():
    tx = complex_synapse(3, 8.0, 128.0)
    params = {"a": jnp.ones(2), "b": None, "c": {}}
    updates, state = tx.update(params, tx.init(params), params)
    assert updates["b"] is None
    assert len(get_beakers(state)) == 2
    assert tx.update({}, tx.init({}), {})[0] == {}


@pytest.mark.slow
def test_resolutions_of_zero_can_be_differentiated():
    """Meta-learning: the gradient of the outcome with respect to alpha, against finite differences."""

    def outcome(alpha):
        tx = complex_synapse(3, alpha, 500.0, resolution=0.0)
        params, state = jnp.array(1.0), tx.init(jnp.array(1.0))
        params = params + 1.0
        for _ in range(10):
            updates, state = tx.update(jnp.array(0.0), state, params)
            params = params + updates
        return params

    slope = (outcome(10.5) - outcome(9.5)) / 1.0
    assert jax.grad(outcome)(10.0) == pytest.approx(float(slope), rel=0.02)


def test_hyperparameters_can_be_injected():
    tx = optax.inject_hyperparams(
        complex_synapse, static_args=("n_beakers", "resolution", "visible_resolution")
    )(n_beakers=4, alpha=8.0, beta=512)
    fixed = complex_synapse(n_beakers=4, alpha=8.0, beta=512.0)
    assert_same(train(tx)[0], train(fixed)[0], rtol=1e-5)


WRONG = {
    "n_beakers": [-1, 2.5, "three", None, True, math.nan],
    "alpha": [0.0, -1.0, math.nan, math.inf, "fast", None, [1.0, 2.0]],
    "beta": [0.0, -1.0, math.nan, math.inf, "slow", 0.5],
    "init": ["ones", None],
    "time_step": [-1.0, math.nan, math.inf, "iteration"],
    "recall": [-1.0, math.nan, math.inf, "weak"],
    "resolution": [-0.1, math.nan, math.inf, "fine"],
    "visible_resolution": [-0.1, math.nan, "fine"],
    "leak": ["one", None],
    "method": ["euler", None],
    "backflow": ["sometimes", True, None, 3.0, [1.0, 2.0], [-1.0] * 5, [math.nan] * 5],
    "beaker_dtype": ["int32", "single-ish", "complex64"],
    "seed": [[1, 2]],
    "kernel": ["always", True, None],
}
ARGUMENTS = {"n_beakers": 6, "alpha": 8.0, "beta": 8192.0}
WRONG_CASES = [(complex_synapse, name, value) for name, values in WRONG.items() for value in values] + [
    (factory, name, value)
    for factory in (published.sgd, published.adam)
    for name in ("n_beakers", "alpha", "beta", "init")
    for value in WRONG[name]
]


@pytest.mark.parametrize(("factory", "argument", "value"), WRONG_CASES)
def test_wrong_arguments_are_errors_that_name_them(factory, argument, value):
    with pytest.raises(ValueError, match=argument) as error:
        factory(**{**ARGUMENTS, argument: value})
    assert str(value) in str(error.value)
    assert "must be" in str(error.value)


@pytest.mark.parametrize("other", [{"n_beakers": 5}, {"alpha": 2.0}, {"beta": 100.0}])
def test_a_chain_comes_without_other_timescales(other):
    with pytest.raises(ValueError, match="must be omitted if chain is given"):
        complex_synapse(chain=BeakerChain.benna_fusi(4), **other)


def test_swapped_timescales_are_an_error():
    with pytest.raises(ValueError, match=r"beta must be at least alpha.*alpha=100.0, beta=10.0"):
        complex_synapse(4, 100.0, 10.0)


def test_missing_params_are_an_error_with_a_sentence():
    tx = complex_synapse(3, 8.0, 128.0)
    with pytest.raises(ValueError, match="complex_synapse reads the weights"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_a_traced_number_of_beakers_names_the_way_out():
    tx = optax.inject_hyperparams(complex_synapse)(n_beakers=4, alpha=8.0, beta=512.0)
    with pytest.raises(ValueError, match="static_args"):
        jax.eval_shape(tx.init, jnp.ones(2))


def test_far_apart_timescales_are_warned_of():
    with pytest.warns(UserWarning, match=r"x = 10 > 3"):
        complex_synapse(3, 1.0, 1e4)


def test_sequential_euler_past_its_bound_is_warned_of():
    with pytest.warns(UserWarning, match=r"may diverge with time_step=3.*below 2"):
        complex_synapse(6, 1.0, 1024.0, time_step=3.0, method="sequential_euler")


def test_timescales_in_the_unit_of_the_learning_rate_are_warned_of():
    with pytest.warns(UserWarning, match=r"500, is 5e\+05 updates of time_step=0.001"):
        complex_synapse(5, 500.0, 2500.0, time_step=1e-3)
    for factory in (published.sgd, published.adam):
        with pytest.warns(UserWarning, match=r"500, is 5e\+05 updates of time_step=0.001"):
            factory(1e-3, n_beakers=5, alpha=500.0, beta=2500.0)


def test_warnings_point_at_the_line_that_called():
    for factory in (complex_synapse, published.sgd):
        with pytest.warns(UserWarning, match="far apart") as record:
            factory(n_beakers=3, alpha=1.0, beta=1e4)
        assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("argument", "value"),
    [("learning_rate", -1.0), ("learning_rate", math.nan), ("learning_rate", "fast")],
)
@pytest.mark.parametrize("factory", [published.sgd, published.adam])
def test_wrong_learning_rates_are_errors(factory, argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be"):
        factory(**{argument: value})


@pytest.mark.parametrize(("argument", "value"), [("b1", 1.0), ("b2", -0.1), ("eps", -1.0), ("b1", "some")])
def test_wrong_moments_are_errors(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be"):
        published.adam(**{argument: value})


def test_a_learning_rate_that_warms_up_from_zero_is_a_time_step_of_zero():
    tx = optax.inject_hyperparams(published.sgd, static_args="n_beakers")(
        learning_rate=optax.linear_schedule(0.0, 0.1, 10), n_beakers=3, alpha=1.0, beta=16.0
    )
    params = jnp.array([1.0])
    updates, _ = tx.update(jnp.array([1.0]), tx.init(params), params)
    np.testing.assert_array_equal(updates, [0.0])


def test_a_published_adam_that_may_diverge_is_warned_of():
    with pytest.warns(UserWarning, match="may diverge with time_step=3"):
        published.adam(3.0, n_beakers=6, alpha=1.0, beta=1024.0)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            complex_synapse(5, 8.0, 2048.0),
            "state must have 3 beakers, like the transformation, but it has 5",
        ),
        (complex_synapse(1, beta=128.0), "state must have 3 beakers, like the transformation, but it has 1"),
    ],
)
def test_a_state_of_another_chain_is_an_error(other, message):
    params = jnp.ones(3)
    with pytest.raises(ValueError, match=message):
        complex_synapse(3, 8.0, 128.0).update(params, other.init(params), params)


def test_parameters_of_another_structure_are_an_error():
    tx = complex_synapse(3, 8.0, 128.0)
    with pytest.raises(ValueError, match="params must have the structure they had at init"):
        tx.update({"b": jnp.ones(2)}, tx.init({"a": jnp.ones(2)}), {"b": jnp.ones(2)})


def test_integer_parameters_are_an_error():
    with pytest.raises(ValueError, match=r"floating-point or complex, got a leaf of int32.*optax\.masked"):
        complex_synapse(3, 8.0, 128.0).init({"n": jnp.arange(3)})


def test_anything_but_a_chain_as_chain_is_an_error():
    with pytest.raises(ValueError, match=r"chain must be a BeakerChain or a tree of them, got \(1, 2\)"):
        complex_synapse(chain=(1, 2))


def test_updates_outside_of_jit_are_compiled_once():
    """By the events that JAX counts: an eager loop compiles nothing after its first steps."""
    compiled = []

    def count(event, duration, **_):
        if "backend_compile" in event:
            compiled.append(duration)

    for options in ({}, {"visible_resolution": 0.25}, {"resolution": 0.0}, {"method": "sequential_euler"}):
        tx = optax.chain(optax.adam(0.1), complex_synapse(4, 8.0, 512.0, **options))
        params, state = PARAMS, tx.init(PARAMS)
        for step in range(5):
            if step == 2:
                compiled.clear()
                jax.monitoring.register_event_duration_secs_listener(count)
            updates, state = tx.update(PARAMS, state, params)
            params = optax.apply_updates(params, updates)
        jax.monitoring.unregister_event_duration_listener(count)
        assert compiled == []


def test_the_bias_correction_of_the_published_adam_does_not_cancel():
    """A first step of lr · sqrt(1 − b2)/(1 − b1) · (1 − b1)/sqrt(1 − b2): lr, in float32 as well."""
    tx = published.adam(1e-3, b2=0.99999, eps=0.0, n_beakers=0)
    updates, _ = tx.update(jnp.array([3.0]), tx.init(jnp.zeros(1)), jnp.zeros(1))
    np.testing.assert_allclose(updates, [-1e-3], rtol=1e-6)


def test_counters_at_the_end_of_int32_do_no_harm():
    tx = published.adam(1e-3, n_beakers=3, alpha=1.0, beta=16.0)
    params = jnp.ones(2)
    state = jax.tree.map(
        lambda a: jnp.full_like(a, 2**31 - 1) if a.dtype == jnp.int32 else a, tx.init(params)
    )
    updates, _ = tx.update(params, state, params)
    assert np.all(np.isfinite(updates))


def test_python_numbers_are_parameters_too():
    tx = complex_synapse(3, 8.0, 128.0)
    updates, _ = tx.update(0.5, tx.init(1.0), 1.0)
    np.testing.assert_allclose(updates, 0.5 - 0.5 * (1 - math.exp(-1.5 / 8)) / 1.5, rtol=1e-5)


def test_concrete_arrays_can_be_captured_under_jit():
    alpha = jnp.array(8.0)
    jax.jit(lambda p: complex_synapse(3, alpha, 128.0).init(p))(jnp.ones(2))


def test_schedules_beside_a_chain_and_for_resolutions_are_errors():
    with pytest.raises(ValueError, match="alpha must be omitted if chain is given"):
        complex_synapse(chain=BeakerChain.benna_fusi(4), alpha=lambda count: 3.0)
    with pytest.raises(ValueError, match="resolution must be"):
        complex_synapse(**ARGUMENTS, resolution=lambda count: 0.1)


def test_one_beaker_is_warned_of_by_its_own_timescale():
    complex_synapse(1, alpha=1e7, beta=10.0)  # alpha plays no part
    with pytest.warns(UserWarning, match="hardly anything"):
        complex_synapse(1, beta=1e7)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "int8"])
def test_beakers_of_other_dtypes_are_an_error(dtype):
    with pytest.raises(ValueError, match="beaker_dtype must be None or one of float16, bfloat16"):
        complex_synapse(3, 8.0, 128.0, beaker_dtype=dtype)


def test_complex_parameters_under_strict_promotion_with_low_precision_beakers():
    with jax.numpy_dtype_promotion("strict"):
        state = complex_synapse(3, 8.0, 128.0, beaker_dtype="bfloat16").init(jnp.ones(2, jnp.complex64))
    assert get_beakers(state)[0].dtype == jnp.complex64
