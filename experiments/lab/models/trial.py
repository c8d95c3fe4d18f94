"""A network of the user's own, tried on the shapes of a batch: mistakes are found before any training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from experiments.lab.models.network import MistakenModelError, Network


def try_on_a_batch(network: Network, batch_shape: tuple[int, ...], n_outputs: int) -> None:
    """Check what a network makes of a batch, and of a single sample, without computing anything.

    Raises:
        MistakenModelError: if it has no parameters, or its outputs have another shape or type.
        Exception: whatever the network itself raises.
    """
    params, state = _of_one_seed(network)
    if not jax.tree.leaves(params):
        raise MistakenModelError("has no parameters (nnx.Param) to train")
    x = jax.ShapeDtypeStruct(batch_shape, jnp.float32)
    outputs, after = jax.eval_shape(network.learn, params, state, x)
    _check_outputs(outputs, x, n_outputs, "in training mode")
    _check_state(state, after)
    for n in (batch_shape[0], 1):
        x = jax.ShapeDtypeStruct((n, *batch_shape[1:]), jnp.float32)
        _check_outputs(jax.eval_shape(network.answer, params, state, x), x, n_outputs, "in evaluation mode")
    jax.eval_shape(
        jax.grad(lambda params, state, x: network.learn(params, state, x)[0].sum()), params, state, x
    )


def _of_one_seed(network: Network) -> tuple[Any, Any]:
    """Shapes and types of the parameters and of the rest of the state."""
    stacked = jax.eval_shape(network.init, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1)))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), stacked)


def _check_outputs(outputs: Any, x: jax.ShapeDtypeStruct, n_outputs: int, when: str) -> None:
    expected = (x.shape[0], n_outputs)
    shape, dtype = getattr(outputs, "shape", None), getattr(outputs, "dtype", None)
    if shape is None or dtype is None:
        made = type(outputs).__name__
        raise MistakenModelError(f"must return an array {expected} for a batch {x.shape}, not a {made}")
    if shape != expected:
        raise MistakenModelError(
            f"must return an array {expected} for a batch {x.shape}, not {shape}, {when}"
        )
    if not jnp.issubdtype(dtype, jnp.floating):
        raise MistakenModelError(f"must return floating-point numbers, not {dtype}")


def _check_state(before: Any, after: Any) -> None:
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        if old.shape != new.shape:
            name = jax.tree_util.keystr(path[:-1], simple=True, separator=".")
            raise MistakenModelError(f"{name} has the shape {old.shape}, and after a batch {new.shape}")
