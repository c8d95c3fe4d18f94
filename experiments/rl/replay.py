"""A ring of the last transitions of each agent: written in one place for all, read at random."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Batch(NamedTuple):
    """Transitions, each ``[…]``, observations ``[…, inputs]``."""

    seen: jax.Array
    action: jax.Array
    reward: jax.Array
    following: jax.Array
    terminated: jax.Array


def empty(n_agents: int, capacity: int, n_observed: int) -> jax.Array:
    """A ring without transitions, ``[agents, capacity, numbers]``: one array, so that one write fills it."""
    return jnp.zeros((n_agents, capacity, 2 * n_observed + 3))


def write(ring: jax.Array, number: jax.Array, batch: Batch) -> jax.Array:
    """Put transitions ``[agents, envs, …]`` in; ``number`` is how many times that was done before.

    The capacity is a multiple of the environments.
    """
    rest = jnp.stack([batch.action, batch.reward, batch.terminated], axis=-1).astype(ring.dtype)
    rows = jnp.concatenate([batch.seen, batch.following, rest], axis=-1)
    place = number * rows.shape[1] % ring.shape[1]
    return jax.lax.dynamic_update_slice_in_dim(ring, rows, place, axis=1)


def sample(ring: jax.Array, keys: jax.Array, filled: jax.Array, n: int) -> Batch:
    """Draw ``n`` transitions of each agent from those that are there, with replacement."""

    def of_agent(key: jax.Array, own: jax.Array) -> jax.Array:
        return own[jax.random.randint(key, (n,), 0, filled)]

    rows = jax.vmap(of_agent)(keys, ring)
    width = (rows.shape[-1] - 3) // 2
    seen, following, rest = jnp.split(rows, [width, 2 * width], axis=-1)
    return Batch(seen, rest[..., 0].astype(jnp.int32), rest[..., 1], following, rest[..., 2])
