"""In which memory arrays are kept: the device's, or that of its host.

JAX computes with what is in the device's memory, and tells the two apart by their types.
"""

from __future__ import annotations

from typing import Any

import jax


def on_host(array: Any) -> bool:
    """Whether an array is kept in the memory of the host."""
    return jax.typeof(array).memory_space == jax.memory.Space.Host


def fetched(array: Any) -> Any:
    """The array where it can be computed with."""
    return jax.device_put(array, jax.memory.Space.Device) if on_host(array) else array


def offloaded(array: Any) -> Any:
    """The array in the memory of the host."""
    return array if on_host(array) else jax.device_put(array, jax.memory.Space.Host)


def put_back(array: Any, like: Any) -> Any:
    """The array in the memory that ``like`` is kept in."""
    return offloaded(array) if on_host(like) else fetched(array)
