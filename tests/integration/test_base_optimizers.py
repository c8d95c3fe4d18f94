"""Every optimizer of Optax before the synapse."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from tiers import few
from trials import CHAIN, PARAMS, assert_close, infinitely_slow, train

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


def loss(params):
    """Of no constant curvature: line searches would decide by a last bit."""
    return sum(jnp.sum(jnp.cosh(leaf - 0.5) - 1) for leaf in jax.tree.leaves(params))


def value_fn(params, obj_fn, unheard_of):
    """Optax's line searches ask for a function of all extra arguments."""
    del obj_fn, unheard_of
    return loss(params)


def run(name, *txs, steps=5):
    """A training with each, with all that an optimizer may ask for: parameters and states."""

    def step(tx, params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates = jax.tree.map(lambda g: g[None], grads) if name == "dpsgd" else grads
        updates, state = optax.with_extra_args_support(tx).update(
            updates, state, params, value=value, grad=grads, value_fn=value_fn, obj_fn=loss, unheard_of=value
        )
        return optax.apply_updates(params, updates), state

    @jax.jit
    def train(carries):
        def together(carries, _):
            return [step(tx, *carry) for tx, carry in zip(txs, carries, strict=True)], None

        return jax.lax.scan(together, carries, length=steps)[0]

    params = jax.tree.map(jnp.asarray, PARAMS)
    return train([(params, tx.init(params)) for tx in txs])


def test_all_of_them_are_found():
    assert len(optimizers()) > 40
    assert {*KINDS} <= {*optimizers()}


# One of each kind: moments, signs, factored or shared moments, matrices, line searches, noise, curvature,
# learning rates of their own, wrappers, a gradient for each sample.
KINDS = ["adam", "adafactor", "dpsgd", "lbfgs", "lion", "muon", "noisy_sgd", "novograd", "polyak_sgd"]
KINDS += ["prodigy", "rprop", "schedule_free_sgd", "sgd", "sm3", "sophia"]


@pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning")
@pytest.mark.parametrize("name", few(optimizers(), KINDS[::2]))
def test_an_infinitely_slow_chain_after_it_is_that_optimizer_alone(name):
    function, rate = optimizers()[name]
    base = function(**{rate: 0.05}, **NEEDS.get(name, {}))
    (params, _), (plain, _) = run(name, optax.chain(base, infinitely_slow()), base)
    assert_close(params, plain)
    assert np.any(params["kernel"] != PARAMS["kernel"])


@pytest.mark.parametrize("name", few(["adam", "lion", "adafactor", "muon", "lbfgs"], ["adam", "muon"]))
def test_with_a_chain_that_stays_at_its_initial_weights_what_it_learns_is_partly_kept(name):
    """Between the optimizer alone and no training at all, in the weights; the beakers follow behind."""
    function, rate = optimizers()[name]
    base = function(**{rate: 0.05})
    synapse = complex_synapse(**CHAIN, leak="initial")
    (params, state), (plain, _) = run(name, optax.chain(base, synapse), base, steps=10)
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
