"""A few updates of a small tree of parameters, for tests of what becomes of the state."""

import jax
import jax.numpy as jnp
import optax

PARAMS = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[3.0]])}


def some_steps(tx, params=PARAMS, steps=20):
    """Parameters and state after some updates with gradients of 0.1."""

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.tree.map(lambda p: 0.1 * jnp.ones_like(p), params), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state
