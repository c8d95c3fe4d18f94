"""Every optimizer of Optax before the synapse."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from trials import CHAIN, PARAMS, assert_close, infinitely_slow, loss, train

from cs_optax import complex_synapse, get_beakers

NEEDS = {
    "dpsgd": {"l2_norm_clip": 1e3, "noise_multiplier": 0.0, "seed": 0},
    "noisy_sgd": {"key": 0},
    "sgd": {"momentum": 0.9, "nesterov": True},
}
NO_OPTIMIZERS = {
    "scale_by_backtracking_linesearch",
    "scale_by_learning_rate",
    "scale_by_zoom_linesearch",
    "schedule_free",
}


def optimizers():
    """All that take a learning rate, with the name of that argument."""
    found = {}
    for name, function in [*vars(optax).items(), *vars(contrib).items()]:
        if inspect.isfunction(function) and not name.startswith("_") and name not in NO_OPTIMIZERS:
            arguments = inspect.signature(function).parameters
            rate = next((a for a in ("learning_rate", "max_learning_rate") if a in arguments), None)
            if rate is not None:
                found[name] = function, rate
    return found


def value_fn(params, obj_fn, unheard_of):
    """Optax's line searches ask for a function of all extra arguments."""
    del obj_fn, unheard_of
    return loss(params)


def run(tx, name, steps=5):
    """A training with all that an optimizer may ask for."""
    tx = optax.with_extra_args_support(tx)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates = jax.tree.map(lambda g: g[None], grads) if name == "dpsgd" else grads
        updates, state = tx.update(
            updates, state, params, value=value, grad=grads, value_fn=value_fn, obj_fn=loss, unheard_of=value
        )
        return (optax.apply_updates(params, updates), state), None

    params = jax.tree.map(jnp.asarray, PARAMS)
    return jax.jit(lambda *carry: jax.lax.scan(step, carry, length=steps)[0])(params, tx.init(params))


def test_all_of_them_are_found():
    assert len(optimizers()) > 40
    assert {"adam", "adamw", "sgd", "lion", "adafactor", "muon", "adagrad", "lbfgs", "sophia"} <= {
        *optimizers()
    }


@pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning")
@pytest.mark.parametrize("name", optimizers())
def test_an_infinitely_slow_chain_after_it_is_that_optimizer_alone(name):
    function, rate = optimizers()[name]
    base = function(**{rate: 0.05}, **NEEDS.get(name, {}))
    params, _ = run(optax.chain(base, infinitely_slow()), name)
    assert_close(params, run(base, name)[0])
    assert np.any(params["kernel"] != PARAMS["kernel"])


@pytest.mark.parametrize("name", ["adam", "lion", "adafactor", "muon", "lbfgs"])
def test_with_a_chain_that_stays_at_its_initial_weights_what_it_learns_is_partly_kept(name):
    """Between the optimizer alone and no training at all, in the weights; the beakers follow behind."""
    function, rate = optimizers()[name]
    base = function(**{rate: 0.05})
    (params, state), (plain, _) = (
        run(tx, name, steps=10) for tx in (optax.chain(base, complex_synapse(**CHAIN, leak="initial")), base)
    )
    learned = np.abs(plain["rest"][0] - PARAMS["rest"][0])
    kept, first, *_ = (np.abs(tree["rest"][0] - PARAMS["rest"][0]) for tree in (params, *get_beakers(state)))
    assert np.all(first < kept)
    assert np.all(kept < learned)
    assert np.all(first > 0)


def test_lbfgs_finds_the_minimum_through_a_closed_chain():
    """Its line search measures the update before the chain takes its part; it converges all the same."""
    tx = optax.chain(optax.lbfgs(), complex_synapse(3, 20.0, 320.0, leak="none", init="zero"))
    value_and_grad = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(params, state):
        value, grads = value_and_grad(params, state=state)
        updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=loss)
        return optax.apply_updates(params, updates), state

    params = jax.tree.map(jnp.asarray, PARAMS)
    state = tx.init(params)
    for _ in range(60):
        params, state = step(params, state)
    assert loss(params) < 1e-2 * loss(PARAMS)


def test_momentum_before_it_and_the_published_sgd_differ_by_the_momentum_alone():
    ours = complex_synapse(**CHAIN, method="sequential_euler", time_step=0.1)
    assert_close(
        train(optax.chain(optax.sgd(0.1, momentum=0.0), ours))[0], train(optax.chain(optax.sgd(0.1), ours))[0]
    )
