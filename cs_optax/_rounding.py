"""Rounding to float16 and bfloat16 that is right on average: small flows add up instead of getting lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def round_stochastically(x: jax.Array, dtype: Any, seed: jax.Array) -> jax.Array:
    """``x`` as one of the two numbers of ``dtype`` around it, the nearer one more probably: E[result] = x.

    Differentiated as that mean.

    Args:
        x: real numbers of a wider dtype.
        dtype: float16 or bfloat16.
        seed: uint32 scalar; the same seed rounds in the same way, wherever the array is sharded.
    """
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
    up = _uniform(x.shape, seed) < steps - below
    rounded = (below + up.astype(jnp.float32)) * spacing
    return jnp.where(jnp.abs(x) < jnp.float32(largest), rounded, x).astype(dtype)


@round_stochastically.defjvp
def _(dtype: Any, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return round_stochastically(primals[0], dtype, primals[1]), tangents[0].astype(dtype)


def seed_of(*counters: Any) -> jax.Array:
    """A seed, uint32, for every combination of counters."""
    seed = jnp.uint32(0)
    for counter in counters:
        seed = _mix(seed + jnp.asarray(counter).astype(jnp.uint32) + jnp.uint32(0x9E3779B9))
    return seed


def _uniform(shape: tuple[int, ...], seed: jax.Array) -> jax.Array:
    """One number in [0, 1) for each element, float32: its index, hashed with the seed.

    A hash of the index, unlike a generator, fuses into the loop around it and needs no state. The seed comes
    in first: an index without it would be the same in all trips of a loop, and be kept in memory. It comes
    in again hashed: by itself it would cancel where the index is zero.
    """
    index = jnp.full(shape, seed)
    for axis, size in enumerate(shape):
        index = index * jnp.uint32(size % 2**32) + lax.broadcasted_iota(jnp.uint32, shape, axis)
    return (_mix(index ^ seed_of(seed)) >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2.0**-24)


def _mix(x: jax.Array) -> jax.Array:
    """Every bit of the result depends on every bit of ``x`` (the finalizer of MurmurHash3, public domain)."""
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> jnp.uint32(16))
