"""The network of the experiments: a fully connected one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.lab.options.model import FullyConnected


class MLP(nnx.Module):
    """Fully connected layers with ReLU in between.

    Weights and biases start uniform in ±1/sqrt(fan-in), as those of the published network.

    Args:
        input_shape: of a sample, whatever its number of axes.
        n_outputs: number of outputs.
        rngs: where the initial parameters come from.
        settings: how many layers, and units in each hidden one.
    """

    def __init__(
        self, input_shape: tuple[int, ...], n_outputs: int, rngs: nnx.Rngs, settings: FullyConnected
    ) -> None:
        hidden = [settings.fc_units] * (settings.fc_layers - 1)
        self.layers = nnx.List(
            nnx.Linear(n_in, n_out, kernel_init=_uniform(n_in), bias_init=_uniform(n_in), rngs=rngs)
            for n_in, n_out in itertools.pairwise((math.prod(input_shape), *hidden, n_outputs))
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs ``[batch, n_outputs]`` for inputs ``[batch, *input_shape]``."""
        x = x.reshape(len(x), -1)
        *hidden, output = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return output(x)


def _uniform(fan_in: int) -> Callable[..., jax.Array]:
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
