"""The network: a fully connected one, in Flax NNX, used as a function of its parameters."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class MLP(nnx.Module):
    """Fully connected layers with ReLU in between.

    Weights and biases start uniform in ±1/sqrt(fan-in), as those of the published network.

    Args:
        sizes: number of inputs, of units in each hidden layer, and of outputs.
        rngs: where the initial parameters come from.
    """

    def __init__(self, sizes: tuple[int, ...], *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List(
            nnx.Linear(n_in, n_out, kernel_init=_uniform(n_in), bias_init=_uniform(n_in), rngs=rngs)
            for n_in, n_out in itertools.pairwise(sizes)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs ``[…, n_outputs]`` for inputs ``[…, n_inputs]``."""
        *hidden, output = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return output(x)


@functools.cache
def make_model(
    sizes: tuple[int, ...],
) -> tuple[Callable[[jax.Array], Any], Callable[[Any, jax.Array], jax.Array]]:
    """The network as two functions: ``init(keys) -> params`` and ``apply(params, x) -> outputs``.

    ``init`` takes one random key for each seed and stacks the parameters over seeds; ``apply`` is of one
    seed. Networks of one size share one compiled ``init``: XLA is slow to compile random numbers.
    """

    @jax.jit
    @jax.vmap
    def init(key: jax.Array) -> Any:
        return nnx.state(MLP(sizes, rngs=nnx.Rngs(key)), nnx.Param)

    graph = nnx.graphdef(nnx.eval_shape(lambda: MLP(sizes, rngs=nnx.Rngs(0))))

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(graph, params)(x)

    return init, apply


def _uniform(fan_in: int) -> Callable[..., jax.Array]:
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
