"""Schedules, and hyperparameters that live in the state: ``optax.inject_hyperparams``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few
from trials import CHAIN, PARAMS, assert_close, assert_equal, fresh, stepper, train

from cs_optax import (
    BeakerChain,
    complex_synapse,
    get_beakers,
    published,
)

STATIC = ("n_beakers", "resolution", "visible_resolution")
NUMBERS = ("alpha", "beta", "time_step")


def injected(factory=complex_synapse, static_args=STATIC, hyperparam_dtype=None, **arguments):
    wrap = optax.inject_hyperparams(factory, static_args, hyperparam_dtype)
    return wrap(**{**CHAIN, **arguments})


def descent(tx):
    return optax.chain(optax.sgd(0.1), tx)


def spec(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("method", few(["exchange", "sequential_euler"], ["exchange"]))
def test_states_are_alike_for_numbers_and_schedules(name, method):
    value = CHAIN.get(name, 1.0)
    fixed = complex_synapse(**CHAIN, method=method)
    scheduled = complex_synapse(**{**CHAIN, name: lambda count: value}, method=method)
    assert spec(fixed.init(PARAMS)) == spec(scheduled.init(PARAMS))
    (params, state), (scheduled_params, scheduled_state) = train(descent(fixed)), train(descent(scheduled))
    assert spec(state) == spec(scheduled_state)
    assert_close((params, state), (scheduled_params, scheduled_state))
    inner = [injected(**{name: value}), injected(**{name: lambda count: value})]
    assert spec(inner[0].init(PARAMS).inner_state) == spec(inner[1].init(PARAMS).inner_state)


@pytest.mark.parametrize(
    ("factory", "arguments", "static_args"),
    few(
        [
            (complex_synapse, {}, STATIC),
            (complex_synapse, {}, "n_beakers"),
            (complex_synapse, {"leak": "initial", "backflow": "kaplanis"}, STATIC),
            (complex_synapse, {"method": "sequential_euler", "beaker_dtype": "bfloat16"}, STATIC),
            (published.sgd, {}, "n_beakers"),
            (published.adam, {}, "n_beakers"),
        ],
        lambda factory, arguments, static_args: "leak" not in arguments and factory is not published.sgd,
    ),
    ids=["exchange", "resolution traced", "kaplanis", "euler", "sgd", "adam"],
)
def test_injected_numbers_do_what_fixed_ones_do(factory, arguments, static_args):
    before = descent if factory is complex_synapse else lambda tx: tx
    params, state = train(before(injected(factory, static_args, **arguments)))
    fixed, fixed_state = train(before(factory(**CHAIN, **arguments)))
    assert_close((params, get_beakers(state)), (fixed, get_beakers(fixed_state)))


def test_injected_schedules_do_what_schedules_do():
    schedules = {
        "alpha": optax.linear_schedule(4.0, 8.0, 10),
        "beta": optax.exponential_decay(64.0, 5, 1.5),
        "time_step": optax.linear_schedule(0.0, 2.0, 10),
    }
    params, state = train(descent(injected(**schedules)), steps=10)
    direct, direct_state = train(descent(complex_synapse(4, **schedules)), steps=10)
    assert_close((params, get_beakers(state)), (direct, get_beakers(direct_state)))
    np.testing.assert_allclose(optax.tree.get(state, "hyperparams")["alpha"], 7.6, rtol=1e-6)


def test_a_schedule_is_its_value_in_every_step():
    """Against a new transformation in each step, with the numbers of that step."""
    alpha = optax.linear_schedule(4.0, 8.0, 5)
    tx = descent(complex_synapse(4, alpha, 64.0))
    params, state = fresh(), tx.init(fresh())
    expected, expected_state = fresh(), tx.init(fresh())
    for count in range(6):
        params, state = jax.jit(stepper(tx))(params, state)
        of_now = descent(complex_synapse(4, float(alpha(count)), 64.0))
        expected, expected_state = jax.jit(stepper(of_now))(expected, expected_state)
    assert_close((params, state), (expected, expected_state))


def test_numbers_can_be_changed_in_the_state_without_compiling_again():
    tx = descent(injected())
    step = jax.jit(stepper(tx))
    params, state = step(fresh(), tx.init(fresh()))
    slower = optax.tree.set(state, alpha=jnp.float32(8.0), beta=jnp.float32(512.0))
    changed, changed_state = step(params, slower)
    assert step._cache_size() == 1
    other = descent(complex_synapse(4, 8.0, 512.0))
    expected, expected_state = jax.jit(stepper(other))(params, (state[0], state[1].inner_state))
    assert_close((changed, changed_state[1].inner_state), (expected, expected_state[1]))


def test_integer_hyperparameters_are_promoted():
    whole = {"alpha": 4, "beta": 64, "time_step": 1}
    params, state = train(descent(injected(**whole)))
    assert optax.tree.get(state, "hyperparams")["alpha"].dtype == jnp.int32
    exact = {name: float(value) for name, value in whole.items()}
    assert_close(params, train(descent(injected(**exact)))[0])
    assert_close(params, train(descent(complex_synapse(4, **whole)))[0])


@pytest.mark.parametrize("factory", [complex_synapse, published.sgd, published.adam])
def test_a_traced_number_of_beakers_is_an_error_that_names_static_args(factory):
    tx = optax.inject_hyperparams(factory)(**CHAIN)
    with pytest.raises(ValueError, match=r"n_beakers must be a Python integer.*static_args"):
        jax.jit(tx.init)(PARAMS)
    with pytest.raises(ValueError, match=r"n_beakers must be a Python integer.*static_args"):
        jax.jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)


def test_a_whole_chain_can_stand_among_injected_arguments():
    chain = BeakerChain.benna_fusi(4)
    tx = optax.inject_hyperparams(complex_synapse, STATIC)(chain=chain, time_step=2.0)
    assert_close(train(descent(tx))[0], train(descent(complex_synapse(chain=chain, time_step=2.0)))[0])


COARSE = pytest.mark.filterwarnings("ignore:parameters of .* are too coarse")
HALF = jax.tree.map(partial(jnp.asarray, dtype=jnp.bfloat16), PARAMS)


@COARSE
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("wrap", [complex_synapse, partial(injected, hyperparam_dtype=jnp.float32)])
def test_numbers_of_the_chain_stay_float32_beside_parameters_of_low_precision(wrap, dtype):
    """None of these three numbers is one of bfloat16 or float16."""
    alpha, time_step = 1000.3, 0.1
    tx = wrap(
        n_beakers=2, alpha=alpha, beta=4001.2, time_step=time_step, init="zero", method="sequential_euler"
    )
    params = jnp.ones(2, dtype)
    state = tx.init(params)
    _, state = jax.jit(tx.update)(jnp.zeros(2, dtype), state, params)
    chain = BeakerChain.from_timescales(2, alpha, 4001.2)
    flow = time_step * chain.conductances[0] / chain.capacities[1]
    np.testing.assert_allclose(get_beakers(state)[0], [flow, flow], rtol=1e-6)
    np.testing.assert_allclose(optax.tree.get(state, "clocks")[:, 0].sum(), time_step, rtol=1e-7)


@COARSE
def test_injected_numbers_are_of_the_parameters_precision_unless_told():
    """What Optax does: an alpha of 1000.3 beside bfloat16 parameters is one of 1000."""
    rounded, told = (
        injected(alpha=1000.3, beta=64e3),
        injected(alpha=1000.3, beta=64e3, hyperparam_dtype=jnp.float32),
    )
    assert float(rounded.init(HALF).hyperparams["alpha"]) == 1000.0
    assert float(told.init(HALF).hyperparams["alpha"]) == np.float32(1000.3)
    params, state = train(descent(told), HALF)
    fixed, fixed_state = train(descent(complex_synapse(4, 1000.3, 64e3)), HALF)
    assert_equal(params, fixed)
    assert_close(get_beakers(state), get_beakers(fixed_state))


def test_beaker_dtypes_can_stand_among_injected_arguments_by_name():
    """Optax takes a type for a schedule, as it takes every callable."""
    for tx in (
        injected(beaker_dtype="bfloat16"),
        injected(static_args=(*STATIC, "beaker_dtype"), beaker_dtype=jnp.bfloat16),
    ):
        assert get_beakers(tx.init(PARAMS))[0]["kernel"].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"beaker_dtype must be .*static_args"):
        injected(beaker_dtype=jnp.bfloat16).init(PARAMS)
