"""A slow average of the weights."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.lab.methods.interface import Method, Tree, chosen_optimizer
from experiments.lab.options.settings import Settings


class Average(NamedTuple):
    """The mean of the parameters, and the number of iterations that it is of."""

    params: Tree
    iterations: jax.Array


def make(settings: Settings) -> Method:
    """Plain training, evaluated with a moving average of the parameters.

    The plain mean at first, exponential from ``average_time`` on: the initial parameters do not linger.
    """

    def start(params: Tree) -> Average:
        return Average(params, jnp.zeros([], jnp.int32))

    def remember(average: Average, params: Tree, new: Tree, grads: Tree) -> Average:
        iterations = average.iterations + 1
        span = jnp.minimum(iterations, settings.average_time)
        return Average(jax.tree.map(lambda a, p: a + (p - a) / span, average.params, new), iterations)

    return Method(
        chosen_optimizer(settings),
        start=start,
        remember=remember,
        weights=lambda params, average, opt_state: average.params,
        elementwise=True,
    )
