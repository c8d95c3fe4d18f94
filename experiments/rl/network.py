"""The network: action values of an observation, fully connected."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

Params = list[dict[str, jax.Array]]


def initial(key: jax.Array, sizes: Sequence[int], *, normalized: bool) -> Params:
    """Weights and biases of each layer; He's normal numbers, and a small last layer.

    Args:
        key: of the random numbers.
        sizes: inputs, hidden units of each layer, outputs.
        normalized: whether hidden layers have layer normalization, and so a gain and a bias for it.
    """
    layers = []
    for place, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        last = place == len(sizes) - 2
        scale = 0.1 if last else 2**0.5
        w = scale * jax.random.normal(jax.random.fold_in(key, place), (rows, columns)) / rows**0.5
        layer = {"w": w, "b": jnp.zeros(columns)}
        if normalized and not last:
            layer |= {"gain": jnp.ones(columns), "shift": jnp.zeros(columns)}
        layers.append(layer)
    return layers


def values(params: Params, seen: jax.Array) -> jax.Array:
    """Action values ``[…, actions]`` of observations ``[…, inputs]``."""
    *hidden, last = params
    for layer in hidden:
        seen = seen @ layer["w"] + layer["b"]
        if "gain" in layer:
            seen = layer["gain"] * jax.nn.standardize(seen) + layer["shift"]
        seen = jax.nn.relu(seen)
    return seen @ last["w"] + last["b"]
