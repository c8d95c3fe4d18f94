"""A model as functions of what training changes: its parameters, and the rest of its state.

Parameters (``nnx.Param``) are what the optimizer moves. The rest is what a module changes itself when it is
called in training mode: the statistics of batch normalisation, the counters of random streams. Both are
trees of plain arrays, so that they can be stacked over seeds, divided among devices and kept in files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class MistakenModelError(ValueError):
    """A model that cannot be trained; the message is one line that says what must be."""


class Network(NamedTuple):
    """A model as functions.

    Attributes:
        init: ``keys -> (params, state)``, one random key for each seed, and all stacked over them.
        learn: ``(params, state, x) -> (outputs, state)``, in training mode; of one seed.
        answer: ``(params, state, x) -> outputs``, in evaluation mode; of one seed.
        mapped_twice: whether its gradient can be mapped over configurations beside seeds. JAX cannot map
            that of a convolution twice.
    """

    init: Callable[[jax.Array], tuple[Any, Any]]
    learn: Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]
    answer: Callable[[Any, Any, jax.Array], jax.Array]
    mapped_twice: bool = True

    def differentiated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function with gradients of the network, which configurations can go through together."""
        if self.mapped_twice:
            return function
        one_after_the_other: Callable[..., Any] = jax.custom_batching.sequential_vmap(function)
        return one_after_the_other
