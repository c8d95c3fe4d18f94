"""The diagonal of the Fisher information: how much each parameter matters for the answers to some samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

BLOCK = 25  # samples whose gradients are held at once, for one seed


def fisher_information(
    scores: Callable[[Any, Any, jax.Array, jax.Array], jax.Array],
    params: Any,
    state: Any,
    x: jax.Array,
    tasks: jax.Array,
    keys: jax.Array,
) -> Any:
    r"""Estimate :math:`F_i = E_x E_{y \sim p(y|x, θ)} [(\partial \log p(y|x, θ) / \partial θ_i)^2]`.

    One label is drawn for each sample from the network's own prediction: a Monte Carlo estimate of the Fisher
    information, unbiased, unlike the "empirical" one, which takes the labels of the data (Kunstner,
    Hennig & Balles 2019).

    Args:
        scores: ``(params, state, x, tasks) -> scores`` of one seed, to choose from, ``[samples, classes]``.
        params: stacked over seeds.
        state: what the network has beside them, stacked over seeds.
        x: inputs ``[seeds, samples, …]``.
        tasks: their tasks, int32 ``[seeds, samples]``.
        keys: one random key for each seed.

    Returns:
        A tree like ``params``.
    """
    n_samples = x.shape[1]
    n_blocks = -(-n_samples // BLOCK)
    padding = -n_samples % BLOCK

    def likelihood(params: Any, state: Any, x: jax.Array, task: jax.Array, label: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(scores(params, state, x[None], task[None])[0])[label]

    def of_seed(arguments: Any) -> Any:
        params, state, x, tasks, key = arguments
        labels = jax.random.categorical(key, scores(params, state, x, tasks))

        def add(total: Any, block: Any) -> tuple[Any, None]:
            *samples, counts = block
            grads = jax.vmap(jax.grad(likelihood), in_axes=(None, None, 0, 0, 0))(params, state, *samples)
            return jax.tree.map(lambda t, g: t + jnp.tensordot(counts, g**2, axes=1), total, grads), None

        def blocks(array: jax.Array) -> jax.Array:
            padded = jnp.pad(array, ((0, padding), *[(0, 0)] * (array.ndim - 1)))
            return padded.reshape(n_blocks, BLOCK, *array.shape[1:])

        parts = tuple(map(blocks, (x, tasks, labels, jnp.ones(n_samples, x.dtype))))
        total, _ = lax.scan(add, jax.tree.map(jnp.zeros_like, params), parts)
        return jax.tree.map(lambda t: t / n_samples, total)

    return lax.map(of_seed, (params, state, x, tasks, keys))
