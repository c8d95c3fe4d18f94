"""JAX's transformations and control flow around updates."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads
from tiers import few
from trials import CHAIN, PARAMS, assert_close, assert_equal, fresh, stepper, train

from cs_optax import complex_synapse, get_beakers, published

OPTIONS = {
    "exchange": {},
    "every link": {"resolution": 0.0},
    "resting": {"resolution": 0.5, "visible_resolution": 0.25},
    "kaplanis": {"backflow": "kaplanis"},
    "never": {"backflow": "never"},
    "initial": {"leak": "initial"},
    "euler": {"method": "sequential_euler"},
    "bfloat16": {"beaker_dtype": "bfloat16"},
}
some_options = pytest.mark.parametrize("name", few(OPTIONS, ["exchange", "kaplanis", "euler", "bfloat16"]))


@cache
def optimizer(name):
    return optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, **OPTIONS[name]))


@some_options
def test_jitted_updates_are_the_eager_ones(name):
    tx = optimizer(name)
    step = stepper(tx)
    params, state = fresh(), tx.init(fresh())
    for _ in range(8):
        params, state = step(params, state)
    # A last bit in float32 may decide which way a beaker of low precision is rounded.
    tolerance = 2**-7 if name == "bfloat16" else 1e-5
    assert_close((params, state), train(tx, steps=8), rtol=tolerance)


@some_options
def test_a_scan_is_a_loop_of_donated_steps_compiled_once(name):
    tx = optimizer(name)
    traced = []

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        traced.append(1)
        return stepper(tx)(params, state)

    params = fresh()
    state = tx.init(params)
    for _ in range(8):
        given = jax.tree.leaves((params, optax.tree.set(state, chain=None)))  # the chain is written, not read
        params, state = step(params, state)
        assert all(array.is_deleted() for array in given)
    assert (len(traced), step._cache_size()) == (1, 1)
    assert_close((params, state), train(tx, steps=8), rtol=2**-7 if name == "bfloat16" else 1e-5)


@pytest.mark.parametrize("leak", ["zero", "initial"])
def test_a_new_state_shares_no_buffer_with_the_parameters_or_itself(leak):
    params = fresh()
    arrays = jax.tree.leaves((params, complex_synapse(**CHAIN, leak=leak).init(params)))
    assert len({array.unsafe_buffer_pointer() for array in arrays}) == len(arrays)


@pytest.mark.parametrize(
    ("base", "ours"),
    [
        (optax.identity(), complex_synapse(**CHAIN, leak="initial")),
        (optax.sgd(0.1), optax.chain(optax.sgd(0.1), complex_synapse(**CHAIN))),
        (optax.adam(0.1), optax.chain(optax.adam(0.1), complex_synapse(**CHAIN))),
        (optax.sgd(0.1), published.sgd(0.1, **CHAIN)),
        (optax.adam(0.1), published.adam(0.1, **CHAIN)),
    ],
    ids=["alone", "sgd", "adam", "published sgd", "published adam"],
)
@pytest.mark.parametrize(
    "params",
    few([1.0, np.float32(1.0), np.ones(2, np.float32)], lambda params: type(params) is float),
    ids=["weak", "0-d", "1-d"],
)
def test_it_is_compiled_no_more_often_than_the_optimizer_before_it(base, ours, params):
    """An optimizer may be compiled again after a first step that made weak types strong."""

    def times_traced(tx):
        traced = []

        @jax.jit
        def step(params, state):
            traced.append(1)
            return stepper(tx)(params, state)

        now, state = params, tx.init(params)
        for _ in range(4):
            now, state = step(now, state)
        return len(traced)

    assert times_traced(ours) <= times_traced(base)


@some_options
def test_one_branch_of_a_cond_updates_and_the_other_passes_through(name):
    tx = optimizer(name)
    step = stepper(tx)

    @jax.jit
    def maybe(update, params, state):
        return jax.lax.cond(update, step, lambda *carry: carry, params, state)

    params, state = fresh(), tx.init(fresh())
    assert_equal(maybe(False, params, state), (params, state))
    assert_close(maybe(True, params, state), jax.jit(step)(params, state))


@some_options
def test_a_while_loop_carries_the_state(name):
    tx = optimizer(name)
    step = stepper(tx)

    @jax.jit
    def run(params, state):
        return jax.lax.while_loop(lambda carry: carry[1][0][0].count < 8, lambda c: step(*c), (params, state))

    assert_close(
        run(fresh(), tx.init(fresh())), train(tx, steps=8), rtol=2**-7 if name == "bfloat16" else 1e-5
    )


@some_options
def test_vmap_over_stacked_parameters_is_one_training_each(name):
    tx = optimizer(name)
    stacked = jax.tree.map(lambda p: np.stack([p, -2 * p, p + 1]), PARAMS)
    together = jax.vmap(partial(train, tx, steps=8))(stacked)
    for number in range(3):
        alone = train(tx, jax.tree.map(lambda p, i=number: p[i], stacked), steps=8)
        assert_close(jax.tree.map(lambda leaf, i=number: leaf[i], together), alone)


@pytest.mark.parametrize(
    "name", few([name for name in OPTIONS if name != "bfloat16"], ["exchange", "kaplanis", "euler"])
)
def test_stacked_parameters_in_one_state_are_the_same_with_counters_in_common(name):
    tx = optax.chain(optax.sgd(0.1), complex_synapse(**CHAIN, **OPTIONS[name]))
    stacked = jax.tree.map(lambda p: np.stack([p, -2 * p, p + 1]), PARAMS)
    params, state = train(tx, stacked, steps=8)
    mapped_params, mapped_state = jax.vmap(partial(train, tx, steps=8))(stacked)
    assert_close((params, get_beakers(state)), (mapped_params, get_beakers(mapped_state)))


@pytest.mark.parametrize(
    "name", few(["exchange", "every link", "resting", "kaplanis", "euler"], ["resting", "euler"])
)
def test_vmap_over_hyperparameters_is_one_training_each(name):
    def outcome(alpha, beta, time_step, learning_rate):
        synapse = complex_synapse(4, alpha, beta, time_step=time_step, **OPTIONS[name])
        return train(optax.chain(optax.sgd(learning_rate), synapse), steps=8)

    grid = [(4.0, 64.0, 1.0, 0.1), (8.0, 512.0, 1.0, 0.1), (4.0, 256.0, 2.5, 0.2)]
    together = jax.vmap(outcome)(*map(jnp.array, zip(*grid, strict=True)))
    for number, numbers in enumerate(grid):
        assert_close(jax.tree.map(lambda leaf, i=number: leaf[i], together), outcome(*numbers), rtol=1e-4)


def outcome(alpha, beta, time_step, weights, inputs, **options):
    """A number that depends on all contents after as many steps as there are inputs."""
    tx = complex_synapse(3, alpha, beta, time_step=time_step, **options)

    def step(carry, delta):
        updates, state = tx.update(delta, carry[1], carry[0])
        return (carry[0] + updates, state), None

    start = weights, tx.init(0.5 * weights)
    (weights, state), _ = jax.lax.scan(step, start, inputs)
    return sum((number + 1) * jnp.sum(u**2) for number, u in enumerate((weights, *get_beakers(state))))


NUMBERS = (5.0, 60.0, 1.1, np.array([1.0, -0.7]), np.linspace(-0.2, 0.3, 24).reshape(12, 2))
DIFFERENTIATED = {
    "exchange": {},
    "every link": {"resolution": 0.0},
    "all rest": {"resolution": 0.6, "visible_resolution": 0.4},
    "kaplanis": {"backflow": "kaplanis"},
    "never": {"backflow": "never"},
    "euler": {"method": "sequential_euler"},
}


@pytest.mark.parametrize("name", few(DIFFERENTIATED, ["exchange", "kaplanis"]))
def test_derivatives_are_those_of_finite_differences(name, x64):
    function = jax.jit(partial(outcome, **DIFFERENTIATED[name]))
    numbers = tuple(map(jnp.asarray, NUMBERS))
    check_grads(function, numbers, order=1, modes=["fwd", "rev"], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_hessians_are_differences_of_gradients(x64):
    def of_timescales(numbers):
        return outcome(numbers[0], numbers[1], *map(jnp.asarray, NUMBERS[2:]), visible_resolution=0.4)

    at = jnp.array(NUMBERS[:2])
    gradient = jax.jit(jax.grad(of_timescales))
    hessian = jax.jit(jax.hessian(of_timescales))(at)
    differences = [(gradient(at + e) - gradient(at - e)) / 2e-4 for e in 1e-4 * jnp.eye(2)]
    np.testing.assert_allclose(hessian, np.array(differences), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-8)


@pytest.mark.parametrize("name", few(["exchange", "all rest"], ["exchange"]))
def test_vmapped_gradients_are_one_gradient_each(name):
    gradient = jax.jit(jax.grad(partial(outcome, **DIFFERENTIATED[name])))
    others = tuple(map(jnp.asarray, NUMBERS[1:]))
    alphas = jnp.array([4.0, 5.0, 7.0])
    together = jax.vmap(gradient, in_axes=(0, None, None, None, None))(alphas, *others)
    np.testing.assert_allclose(together, [gradient(alpha, *others) for alpha in alphas], rtol=1e-4)


def test_gradients_through_beakers_of_low_precision_are_those_of_float32():
    """Rounding is right on average, and is differentiated as that average."""
    weights = jnp.linspace(0.5, 1.5, 64)
    inputs = jnp.zeros((12, 64))
    exact, rounded = (
        jax.jit(jax.grad(partial(outcome, beaker_dtype=dtype), argnums=(0, 3)))(
            5.0, 60.0, 1.0, weights, inputs
        )
        for dtype in (None, "bfloat16")
    )
    np.testing.assert_allclose(rounded[0], exact[0], rtol=0.02)
    np.testing.assert_allclose(rounded[1], exact[1], rtol=0.04)


def test_rematerialised_steps_have_the_same_gradient():
    def through(wrap):
        tx = complex_synapse(3, 5.0, 60.0)

        def total(weights):
            step = wrap(lambda weights, state: tx.update(0.1 * weights, state, weights))
            state = tx.init(weights)
            for _ in range(4):
                updates, state = step(weights, state)
                weights = weights + updates
            return jnp.sum(weights**2)

        return jax.jit(jax.grad(total))(jnp.array([1.0, -2.0]))

    np.testing.assert_allclose(through(jax.checkpoint), through(lambda step: step), rtol=1e-6)
