"""Which dtype things are computed and kept in."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp


def wide_dtype(*arrays: Any) -> Any:
    """What holds all these arrays and is at least float32: the dtype to compute with them in."""
    # Floats of 8 bits and fewer promote to nothing; float32 holds them all.
    dtypes = (array.dtype for array in arrays if is_complex(array) or jnp.finfo(array.dtype).bits > 8)
    # Under strict promotion rules jnp.promote_types refuses to answer.
    with jax.numpy_dtype_promotion("standard"):
        return reduce(jnp.promote_types, dtypes, jnp.float32)


def is_complex(array: Any) -> bool:
    """Whether the numbers of an array are complex."""
    return jnp.issubdtype(array.dtype, jnp.complexfloating)


def is_low_precision(array: Any) -> bool:
    """Whether an array is of floats of lower precision than float32, in which small flows would get lost."""
    return jnp.issubdtype(array.dtype, jnp.inexact) and jnp.finfo(array.dtype).bits < 32


def beaker_dtype_of(param: Any, beaker_dtype: Any = None) -> Any:
    """The dtype of a parameter's beakers: its own, at least float32, or as asked for.

    Complex parameters have complex beakers, of the precision asked for.
    """
    if beaker_dtype is None:
        return wide_dtype(param)
    if is_complex(param):
        with jax.numpy_dtype_promotion("standard"):
            return jnp.promote_types(beaker_dtype, jnp.complex64)
    return beaker_dtype
