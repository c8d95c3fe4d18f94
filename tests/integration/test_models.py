"""A short training in each model library, and the beakers in that library's containers."""

from functools import cache

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from trials import assert_close

from cs_optax import (
    BeakerChain,
    complex_synapse,
    diagnose,
    drift_report,
    get_beakers,
    readout,
    relax,
    reset_beakers,
)

CHAIN = BeakerChain.from_timescales(4, 50.0, 800.0)
STEPS = 100
X = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
Y = np.sin(3 * X + 1)  # neither odd nor even: rounding would decide which way the biases go


def optimizer():
    return optax.chain(optax.adam(0.02), complex_synapse(chain=CHAIN, leak="initial"))


def error(outputs):
    return jnp.mean((outputs - Y) ** 2)


def check(opt_state, params, evaluate, start):
    """It has learned, the beakers follow behind, and every tool gives back what the library can run."""
    assert evaluate(params) < 0.3 * start
    beakers = get_beakers(opt_state)
    assert [len(jax.tree.leaves(beaker)) for beaker in beakers] == [4, 4, 4]
    norms, distances, flows = diagnose(opt_state, params)
    assert np.all(np.isfinite(norms))
    assert distances[0] == 0 < distances[1] < distances[2] < distances[3]
    assert np.all(flows[:-1] > 0)
    assert drift_report(opt_state, params).elapsed == STEPS

    same = readout(opt_state, params, [1.0, 0.0, 0.0, 0.0])
    assert_close(evaluate(same), evaluate(params))
    slower = evaluate(readout(opt_state, params, [0.5, 0.5, 0.0, 0.0]))
    assert evaluate(params) < slower < start

    relaxed, after = relax(opt_state, params, 20.0)
    assert jax.tree.structure(after) == jax.tree.structure(opt_state)
    assert evaluate(params) < evaluate(relaxed) < start
    reset = get_beakers(reset_beakers(opt_state, params))
    for beaker in reset:
        for leaf, param in zip(jax.tree.leaves(beaker), weights(params), strict=True):
            np.testing.assert_array_equal(leaf, param)


def weights(params):
    return jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array))


class NnxModel(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = nnx.Linear(1, 16, rngs=rngs), nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.tanh(self.hidden(x)))


def nnx_loss(model):
    return error(model(X))


def nnx_evaluation(model):
    graph, _ = nnx.split(model)
    return lambda params: nnx_loss(nnx.merge(graph, params))


@cache
def train_nnx():
    model = NnxModel(nnx.Rngs(0))
    trainer = nnx.Optimizer(model, optimizer(), wrt=nnx.Param)

    @nnx.jit
    def step(model, trainer):
        trainer.update(model, nnx.grad(nnx_loss)(model))

    for _ in range(STEPS):
        step(model, trainer)
    return model, trainer.opt_state


def test_flax_nnx_with_its_optimizer():
    model, state = train_nnx()
    start = nnx_loss(NnxModel(nnx.Rngs(0)))
    check(state, nnx.state(model, nnx.Param), nnx_evaluation(model), start)


def test_flax_nnx_split_and_merged_in_a_scan():
    model, tx = NnxModel(nnx.Rngs(0)), optimizer()
    graph, params = nnx.split(model, nnx.Param)
    start = nnx_loss(model)

    @jax.jit
    def run(params, state):
        def step(carry, _):
            params, state = carry
            grads = jax.grad(lambda params: nnx_loss(nnx.merge(graph, params)))(params)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), length=STEPS)[0]

    params, state = run(params, tx.init(params))
    check(state, params, nnx_evaluation(model), start)
    trained, _ = train_nnx()
    assert_close(
        jax.tree.leaves(params), jax.tree.leaves(nnx.state(trained, nnx.Param)), rtol=1e-4, atol=1e-5
    )


class LinenModel(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.tanh(nn.Dense(16)(x)))


def test_flax_linen_with_its_train_state():
    model = LinenModel()
    variables = model.init(jax.random.key(0), X)

    def evaluate(params):
        return error(model.apply({"params": params}, X))

    state = TrainState.create(apply_fn=model.apply, params=variables["params"], tx=optimizer())

    @jax.jit
    def step(state):
        return state.apply_gradients(grads=jax.grad(evaluate)(state.params))

    start = evaluate(state.params)
    for _ in range(STEPS):
        state = step(state)
    check(state.opt_state, state.params, evaluate, start)


class EquinoxModel(eqx.Module):
    """With a function, a setting and a number among its leaves, none of which is a weight."""

    mlp: eqx.nn.MLP
    dropout: eqx.nn.Dropout
    scale: float
    n_calls: jax.Array

    def __init__(self):
        self.mlp = eqx.nn.MLP(1, 1, 16, 1, activation=jnp.tanh, key=jax.random.key(0))
        self.dropout, self.scale, self.n_calls = eqx.nn.Dropout(0.5, inference=True), 1.0, jnp.array(0)

    def __call__(self, x):
        return self.scale * self.dropout(self.mlp(x))


def equinox_loss(model):
    return error(jax.vmap(model)(X))


@cache
def train_equinox(filtered):
    model, tx = EquinoxModel(), optimizer()
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        grads = eqx.filter_grad(equinox_loss)(model)
        params = eqx.filter(model, eqx.is_inexact_array) if filtered else model
        updates, state = tx.update(grads, state, params)
        return eqx.apply_updates(model, updates), state

    for _ in range(STEPS):
        model, state = step(model, state)
    return model, state


@pytest.mark.parametrize("filtered", [True, False], ids=["filtered", "whole model"])
def test_equinox_with_its_weights_or_the_whole_model_as_parameters(filtered):
    model, state = train_equinox(filtered)
    assert (model.scale, model.dropout.p, model.n_calls) == (1.0, 0.5, 0)
    if filtered:
        params, static = eqx.partition(model, eqx.is_inexact_array)
        check(
            state,
            params,
            lambda params: equinox_loss(eqx.combine(params, static)),
            equinox_loss(EquinoxModel()),
        )
    else:
        check(state, model, equinox_loss, equinox_loss(EquinoxModel()))


def test_equinox_trains_alike_both_ways():
    (one, state), (other, other_state) = train_equinox(True), train_equinox(False)
    assert_close(weights(one), weights(other), rtol=1e-6)
    assert_close(get_beakers(state), get_beakers(other_state), rtol=1e-6)


def test_haiku():
    def network(x):
        return hk.Sequential([hk.Linear(16), jnp.tanh, hk.Linear(1)])(x)

    model, tx = hk.without_apply_rng(hk.transform(network)), optimizer()
    params = model.init(jax.random.key(0), X)

    def evaluate(params):
        return error(model.apply(params, X))

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(evaluate)(params), state, params)
        return optax.apply_updates(params, updates), state

    start, state = evaluate(params), tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    assert set(get_beakers(state)[0]) == {"linear", "linear_1"}
    check(state, params, evaluate, start)


@pytest.mark.parametrize("library", ["nnx", "linen", "equinox", "haiku"])
def test_biases_are_left_out_by_the_number_of_axes(library):
    """The same mask for every library, and evaluation weights that leave the biases as they are."""
    params = {
        "nnx": lambda: nnx.state(NnxModel(nnx.Rngs(0)), nnx.Param),
        "linen": lambda: LinenModel().init(jax.random.key(0), X)["params"],
        "equinox": lambda: eqx.filter(EquinoxModel(), eqx.is_inexact_array),
        "haiku": lambda: hk.transform(lambda x: hk.Linear(1)(hk.Linear(16)(x))).init(jax.random.key(0), X),
    }[library]()
    tx = optax.chain(
        optax.sgd(0.1),
        optax.masked(complex_synapse(chain=CHAIN), lambda tree: jax.tree.map(lambda p: p.ndim > 1, tree)),
    )
    ones = jax.tree.map(jnp.ones_like, params)
    updates, state = jax.jit(tx.update)(ones, tx.init(params), params)
    new = optax.apply_updates(params, updates)
    mixed = readout(state, new, [0.0, 1.0, 0.0, 0.0])
    assert jax.tree.structure(mixed) == jax.tree.structure(params)
    kinds = [p.ndim for p in jax.tree.leaves(params)]
    assert sorted(kinds) == [1, 1, 2, 2]
    assert sorted(leaf.ndim for leaf in jax.tree.leaves(get_beakers(state)[0])) == [2, 2]
    for kind, before, after, seen in zip(kinds, *map(jax.tree.leaves, (params, new, mixed)), strict=True):
        if kind == 1:
            np.testing.assert_array_equal(after, before - np.float32(0.1))
            np.testing.assert_array_equal(seen, after)
        else:
            assert np.all(np.abs(seen - after) > 0.05)
