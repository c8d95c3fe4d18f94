"""What the step needs beyond mathematics: dtypes, memories, rounding, and loops instead of branches."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import DTypeLike

Move = Callable[
    [optax.Params, optax.Params, jax.Array], optax.Params
]  # contents, operands and a seed -> new contents


# Dtypes


def wide_dtype(*arrays: jax.Array) -> Any:
    """The dtype in which to compute with these arrays: it holds them all and has at least float32."""
    # Floats of 8 bits and fewer promote to nothing; float32 holds them all.
    dtypes = (array.dtype for array in arrays if is_complex(array) or jnp.finfo(array.dtype).bits > 8)
    # Under strict promotion rules jnp.promote_types refuses to answer.
    with jax.numpy_dtype_promotion("standard"):
        return reduce(jnp.promote_types, dtypes, jnp.dtype(jnp.float32))


def is_complex(array: jax.Array) -> bool:
    """Whether the numbers of an array are complex."""
    return jnp.issubdtype(array.dtype, jnp.complexfloating)


def is_low_precision(array: jax.Array) -> bool:
    """Whether an array has floats of lower precision than float32, in which small flows are lost."""
    return jnp.issubdtype(array.dtype, jnp.inexact) and jnp.finfo(array.dtype).bits < 32


def beaker_dtype_of(param: Any, beaker_dtype: DTypeLike | None = None) -> Any:
    """The dtype of a parameter's beakers: ``beaker_dtype``, or that of the parameter, but at least float32.

    Complex parameters have complex beakers, with the precision of ``beaker_dtype``.
    """
    if beaker_dtype is None:
        return wide_dtype(param)
    if is_complex(param):
        with jax.numpy_dtype_promotion("standard"):
            return jnp.promote_types(beaker_dtype, jnp.complex64)
    return beaker_dtype


def truncate(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """``x`` reduced to ``dtype``.

    XLA may leave out a cast to bfloat16 and back, but not ``reduce_precision``.
    """
    if dtype == jnp.bfloat16:
        x = lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    return x.astype(dtype)


# Memories: JAX computes with arrays in the device's memory, and an array's type says where it is.


def on_host(array: jax.Array) -> bool:
    """Whether an array is in host memory."""
    return jax.typeof(array).memory_space == jax.memory.Space.Host


def to_device(array: jax.Array) -> jax.Array:
    """The array in device memory, in which JAX can compute with it."""
    return jax.device_put(array, jax.memory.Space.Device) if on_host(array) else array


def to_host(array: jax.Array) -> jax.Array:
    """The array in host memory."""
    return array if on_host(array) else jax.device_put(array, jax.memory.Space.Host)


def to_memory_of(like: jax.Array, array: jax.Array) -> jax.Array:
    """The array in the memory of ``like``."""
    return to_host(array) if on_host(like) else to_device(array)


# Rounding


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def round_stochastically(x: jax.Array, dtype: DTypeLike, seed: jax.Array) -> jax.Array:
    """``x`` rounded at random to one of the two nearest numbers of ``dtype``, such that E[result] = x.

    The derivative is that of the mean.

    Args:
        x: real numbers of a wider dtype.
        dtype: float16 or bfloat16.
        seed: uint32 scalar; the same seed rounds in the same way, however the array is sharded.
    """
    index = jnp.full(x.shape, seed)
    for axis, size in enumerate(x.shape):
        index = index * jnp.uint32(size % 2**32) + lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    return round_by(uniform(index, seed), x, dtype)


@round_stochastically.defjvp
def _(dtype: Any, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return round_stochastically(primals[0], dtype, primals[1]), tangents[0].astype(dtype)


def round_by(threshold: jax.Array, x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """``x`` rounded to ``dtype``: up if its part above the lower number exceeds the threshold, 0 to 1."""
    x = x.astype(jnp.float32)
    limits = jnp.finfo(dtype)
    # The spacing of dtype at x and one over it, both powers of two, from the bits of the exponent. Below its
    # normal numbers the spacing stays what it is; float32 itself has none smaller than tiny.
    exponent = lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0x7F800000)
    power = lax.bitcast_convert_type(exponent, jnp.float32)
    inverse = lax.bitcast_convert_type(jnp.uint32(0x7F000000) - exponent, jnp.float32)
    smallest = max(float(limits.smallest_subnormal), float(jnp.finfo(jnp.float32).tiny))
    largest = min(float(limits.max), 2.0**126)
    spacing = jnp.maximum(power * jnp.float32(limits.eps), jnp.float32(smallest))
    steps = x * jnp.minimum(inverse * jnp.float32(1 / limits.eps), jnp.float32(1 / smallest))
    below = jnp.floor(steps)
    up = threshold < steps - below
    rounded = (below + up.astype(jnp.float32)) * spacing
    return jnp.where(jnp.abs(x) < jnp.float32(largest), rounded, x).astype(dtype)


def combine_seeds(*counters: Any) -> jax.Array:
    """One seed, uint32, for each combination of counters."""
    seed = jnp.uint32(0)
    for counter in counters:
        seed = _mix(seed + jnp.asarray(counter).astype(jnp.uint32) + jnp.uint32(0x9E3779B9))
    return seed


def leaf_seed(seed: jax.Array, path: Any) -> jax.Array:
    """The seed of one leaf. It depends on its path, because leaves of two groups may share a number."""
    return combine_seeds(seed, np.uint32(zlib.crc32(jax.tree_util.keystr(path).encode())))


def uniform(index: jax.Array, seed: jax.Array) -> jax.Array:
    """One number in [0, 1) for each element, float32: the index of the element, hashed with the seed.

    Unlike a generator, a hash of the index fuses into the loop around it and needs no state. The index starts
    at the seed. Otherwise it would be the same in all trips of a loop, and XLA would keep it in memory. The
    seed enters again as a hash, because by itself it would cancel at index zero.
    """
    return (_mix(index ^ combine_seeds(seed)) >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2.0**-24)


def _mix(x: jax.Array) -> jax.Array:
    """Every bit of the result depends on every bit of ``x`` (the finalizer of MurmurHash3, public domain)."""
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> jnp.uint32(16))


# Loops of zero or one trip


def run_if(
    due: jax.Array | None, move: Move, contents: optax.Params, operands: optax.Params, seed: jax.Array
) -> optax.Params:
    """``move(contents, operands, seed)`` if ``due``, or if ``due`` is None, else ``contents``."""
    return move(contents, operands, seed) if due is None else _run_if(move, due, contents, operands, seed)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run_if(
    move: Move, due: jax.Array, contents: optax.Params, operands: optax.Params, seed: jax.Array
) -> optax.Params:
    """A loop of zero or one trip. XLA updates what a loop carries in place, but copies around a branch.

    XLA would hoist everything that is the same in all trips out of the loop, compute it in every step, and
    keep it in memory. This concerns random numbers and the wide copies of arrays of low precision. The
    barrier, and a new seed in each trip, prevent it.
    """

    def trip(n: jax.Array, carry: tuple[optax.Params, optax.Params]) -> tuple[optax.Params, optax.Params]:
        contents, operands = carry
        kept = jax.tree.map(lambda x: lax.optimization_barrier(x) if is_low_precision(x) else x, operands)
        return move(contents, operands, seed + n), kept

    return lax.fori_loop(jnp.uint32(0), due.astype(jnp.uint32), trip, (contents, operands))[0]


@_run_if.defjvp
def _(move: Move, primals: Any, tangents: Any) -> Any:
    """The derivative of the equivalent branch, because a loop has none in reverse mode."""

    def branch(
        due: jax.Array, contents: optax.Params, operands: optax.Params, seed: jax.Array
    ) -> optax.Params:
        return lax.cond(due, move, lambda contents, *_: contents, contents, operands, seed)

    return jax.jvp(branch, primals, tangents)


def sweep(
    move: Move,
    due: tuple[jax.Array | None, ...],
    contents: tuple[optax.Params, ...],
    left: optax.Params,
    end: optax.Params,
    fixed: tuple[Any, ...],
    seed: jax.Array,
) -> tuple[optax.Params, ...]:
    """Move each of ``contents`` that is due, from left to right, after its left neighbour.

    Args:
        move: called as ``move(content, (left, right, fixed), seed)``.
        due: whether each content moves; None means always. A content moves only if its left neighbour does.
        contents: the contents to move.
        left: the left neighbour of the first content.
        end: the right neighbour of the last content.
        fixed: further operands for each content.
        seed: the seed of the step.
    """
    moved = []
    for k, (content, right) in enumerate(zip(contents, (*contents, end)[1:], strict=True)):
        left = run_if(due[k], move, content, (left, right, fixed[k]), combine_seeds(seed, k))
        moved.append(left)
    return tuple(moved)
