"""What the integration tests share: a small problem, a compiled training, two comparisons."""

import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import complex_synapse, get_beakers

CHAIN = {"n_beakers": 4, "alpha": 4.0, "beta": 64.0}
PARAMS = {"kernel": np.linspace(-1, 2, 6, dtype=np.float32).reshape(2, 3), "rest": [np.ones(3, np.float32)]}


def fresh(params=PARAMS):
    """The parameters in buffers of their own, to be donated."""
    return jax.tree.map(jnp.array, params)


def loss(params):
    """The squared distance from 0.5."""
    return sum(jnp.sum(jnp.abs(leaf - 0.5) ** 2) for leaf in jax.tree.leaves(params))


def stepper(tx, loss=loss, **extra_args):
    """``step(params, state) -> (params, state)``: one update by the gradient of the loss."""

    def step(params, state):
        grads = jax.grad(loss)(params)
        updates, state = tx.update(grads, state, params, **extra_args)
        return optax.apply_updates(params, updates), state

    return step


@cache
def _training(tx, steps, loss):
    """``steps`` updates in one scan, compiled once."""
    step = stepper(tx, loss)
    return jax.jit(lambda *carry: jax.lax.scan(lambda carry, _: (step(*carry), None), carry, length=steps)[0])


def train(tx, params=PARAMS, steps=20, state=None, loss=loss):
    """The parameters and the state after ``steps`` updates, from a new state where none is given."""
    params = jax.tree.map(jnp.asarray, params)
    return _training(tx, steps, loss)(params, tx.init(params) if state is None else state)


def content(params, state, capacities):
    """``Σ_k C_k u_k`` of every weight: what a closed chain conserves."""
    trees = (params, *get_beakers(state))
    return jax.tree.map(lambda *us: sum(C * u for C, u in zip(capacities, us, strict=True)), *trees)


def infinitely_slow(**options):
    """A synapse in which nothing flows, of which it warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the shortest timescale, 1e\\+30")
        return complex_synapse(3, 1e30, 1e31, **options)


def assert_equal(a, b):
    """The same structure, dtypes and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert jnp.asarray(x).dtype == jnp.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    """The same structure, and nearly the same numbers."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        wide = np.result_type(np.float64, np.complex64 if np.iscomplexobj(x) else np.float64)
        np.testing.assert_allclose(np.asarray(x, wide), np.asarray(y, wide), rtol=rtol, atol=atol)
