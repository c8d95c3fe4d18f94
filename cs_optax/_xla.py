"""What the step needs beyond mathematics: dtypes, memories, rounding, and loops in place of branches."""

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
    """The dtype to compute with these arrays in: it holds them all and is at least float32."""
    # Floats of 8 bits and fewer promote to nothing; float32 holds them all.
    dtypes = (array.dtype for array in arrays if is_complex(array) or jnp.finfo(array.dtype).bits > 8)
    # Under strict promotion rules jnp.promote_types refuses to answer.
    with jax.numpy_dtype_promotion("standard"):
        return reduce(jnp.promote_types, dtypes, jnp.dtype(jnp.float32))


def is_complex(array: jax.Array) -> bool:
    """Whether the numbers of an array are complex."""
    return jnp.issubdtype(array.dtype, jnp.complexfloating)


def is_low_precision(array: jax.Array) -> bool:
    """Whether an array holds floats of lower precision than float32, in which small flows get lost."""
    return jnp.issubdtype(array.dtype, jnp.inexact) and jnp.finfo(array.dtype).bits < 32


def beaker_dtype_of(param: Any, beaker_dtype: DTypeLike | None = None) -> Any:
    """The dtype of a parameter's beakers: ``beaker_dtype``, or the parameter's own but at least float32.

    Complex parameters have complex beakers, of the precision asked for.
    """
    if beaker_dtype is None:
        return wide_dtype(param)
    if is_complex(param):
        with jax.numpy_dtype_promotion("standard"):
            return jnp.promote_types(beaker_dtype, jnp.complex64)
    return beaker_dtype


def truncate(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """``x`` in ``dtype`` without its further digits.

    XLA may leave out a cast to bfloat16 and back, but not ``reduce_precision``.
    """
    if dtype == jnp.bfloat16:
        x = lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    return x.astype(dtype)


# Memories: JAX computes with arrays in the device's memory, and an array's type says where it is.


def on_host(array: jax.Array) -> bool:
    """Whether an array is in the memory of the host."""
    return jax.typeof(array).memory_space == jax.memory.Space.Host


def to_device(array: jax.Array) -> jax.Array:
    """The array where JAX can compute with it."""
    return jax.device_put(array, jax.memory.Space.Device) if on_host(array) else array


def to_host(array: jax.Array) -> jax.Array:
    """The array in the memory of the host."""
    return array if on_host(array) else jax.device_put(array, jax.memory.Space.Host)


def to_memory_of(like: jax.Array, array: jax.Array) -> jax.Array:
    """The array in the memory that ``like`` is in."""
    return to_host(array) if on_host(like) else to_device(array)


# Rounding


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def round_stochastically(x: jax.Array, dtype: DTypeLike, seed: jax.Array) -> jax.Array:
    """``x`` as one of the two numbers of ``dtype`` around it, the nearer one more often: E[result] = x.

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
    """``x`` as the upper of the two numbers of ``dtype`` around it where it is past the threshold, 0 to 1."""
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
    """The seed of one leaf: of its path, not of its number, which leaves in two groups may share."""
    return combine_seeds(seed, np.uint32(zlib.crc32(jax.tree_util.keystr(path).encode())))


def uniform(index: jax.Array, seed: jax.Array) -> jax.Array:
    """One number in [0, 1) for each element, float32: its index, hashed with the seed.

    A hash of the index, unlike a generator, fuses into the loop around it and needs no state. An index that
    began at the seed depends on it: without it, it would be the same in all trips of a loop, and be kept in
    memory. The seed comes in again hashed: by itself it would cancel where the index is zero.
    """
    return (_mix(index ^ combine_seeds(seed)) >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2.0**-24)


def _mix(x: jax.Array) -> jax.Array:
    """Every bit of the result depends on every bit of ``x`` (the finalizer of MurmurHash3, public domain)."""
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> jnp.uint32(16))


# Loops of no or one trip


def run_if(
    due: jax.Array | None, move: Move, contents: optax.Params, operands: optax.Params, seed: jax.Array
) -> optax.Params:
    """``move(contents, operands, seed)`` if ``due``, or if ``due`` is None, else ``contents``."""
    return move(contents, operands, seed) if due is None else _run_if(move, due, contents, operands, seed)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run_if(
    move: Move, due: jax.Array, contents: optax.Params, operands: optax.Params, seed: jax.Array
) -> optax.Params:
    """A loop of no or one trip: XLA keeps what a loop carries in place, and copies around a branch.

    XLA would move what is the same in all trips out of the loop, and so compute it in every step and keep it
    in memory: random numbers, and the wide copies of arrays of low precision. The barrier and a seed that is
    new in each trip prevent that.
    """

    def trip(n: jax.Array, carry: tuple[optax.Params, optax.Params]) -> tuple[optax.Params, optax.Params]:
        contents, operands = carry
        kept = jax.tree.map(lambda x: lax.optimization_barrier(x) if is_low_precision(x) else x, operands)
        return move(contents, operands, seed + n), kept

    return lax.fori_loop(jnp.uint32(0), due.astype(jnp.uint32), trip, (contents, operands))[0]


@_run_if.defjvp
def _(move: Move, primals: Any, tangents: Any) -> Any:
    """The derivative of the branch that the loop stands for: a loop has none in reverse mode."""

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
    """Move each of ``contents`` that is due, from left to right: its left neighbour has moved already.

    Args:
        move: called as ``move(content, (left, right, fixed), seed)``.
        due: whether each one moves, None for always; never one whose left neighbour does not.
        contents: what moves.
        left: the left neighbour of the first.
        end: the right neighbour of the last.
        fixed: further operands for each one.
        seed: of the step.
    """
    moved = []
    for k, (content, right) in enumerate(zip(contents, (*contents, end)[1:], strict=True)):
        left = run_if(due[k], move, content, (left, right, fixed[k]), combine_seeds(seed, k))
        moved.append(left)
    return tuple(moved)
