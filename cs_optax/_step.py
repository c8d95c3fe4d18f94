r"""One step of the beaker chain: when each link exchanges, how much, and what that does to the arrays.

The contents :math:`u_1` (the parameter) to :math:`u_K` obey (Benna & Fusi 2016, eq. 4)

.. math::
    C_k \frac{du_k}{dt} = g_{k-1}(u_{k-1} - u_k) + ρ_k g_k(u_{k+1} - u_k), \qquad g_0 = 0,

The recall :math:`ρ_k` is 1, or less if link k returns less than it takes. The leak's end :math:`u_{K+1}` is
constant. Link k joins beakers k and k+1, so link K is the leak. Vectors have shape ``[K]``. Their element
``k``, counted from zero, belongs to link or beaker k+1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike

from cs_optax._xla import (
    combine_seeds,
    is_low_precision,
    leaf_seed,
    on_host,
    round_stochastically,
    run_if,
    sweep,
    to_device,
    to_memory_of,
    truncate,
    wide_dtype,
)

Beakers = tuple[optax.Params, ...]


class Links(NamedTuple):
    """What the links do in one step."""

    due: tuple[jax.Array | None, ...]  # whether each link exchanges; None: in every step
    a: tuple[jax.Array | None, ...]  # v_k     += a_k (v_{k+1} − v_k); None: nothing ever flows back
    b: tuple[jax.Array, ...]  # v_{k+1} += b_k (v_k − v_{k+1}), with the new v_k; no meaning for the leak
    # C_1/C_2 and ρ_1: what u_2 gains for what u_1 loses. None: u_1 loses nothing.
    gain: tuple[jax.Array, jax.Array] | None


def new_clocks(n_beakers: int) -> jax.Array:
    """Clocks at zero, shape ``[2, 1 + K]``, in the default float dtype.

    Column 0 is the time since initialisation. Column k is the charge of link k, :math:`q_k = ∫ g_k dt` since
    its last exchange. In these units, a change of the timescales affects only the time after it. Row 0 holds
    the sums, and row 1 what rounding has kept out of them (Kahan). A plain float32 sum of equal steps would
    stop increasing.
    """
    return jnp.zeros((2, 1 + n_beakers), dtype=float)


def advance_clocks(clocks: jax.Array, dt: jax.Array, g: jax.Array) -> jax.Array:
    """All clocks after a further time ``dt``, by compensated summation."""
    total, missing = clocks
    added = missing + dt * jnp.append(jnp.ones(1, g.dtype), g)
    new_total = total + added
    return jnp.stack([new_total, added - (new_total - total)])


def shares(C: Any, recall: Any) -> tuple[Any, Any]:
    """``ρ_k/C_k`` and ``1/C_{k+1}``, ``[K]`` each: how far one unit through link k moves its two beakers.

    The leak's end acts like a beaker of infinite capacity. So does the left beaker of a link without recall.
    """
    xp = np if isinstance(C, np.ndarray) else jnp
    return recall / C, xp.append(1 / C[1:], xp.zeros_like(C[:1]))


def exchange_coefficients(left: Any, right: Any, q: Any) -> tuple[Any, Any]:
    r"""``a`` and ``b`` of links that have conducted the charge ``q`` since they last exchanged.

    Two beakers without other links exchange exactly

    .. math::
        F = w (v_k - v_{k+1}), \quad w = (1 - e^{-g_k s_k h})/s_k, \quad s_k = ρ_k/C_k + 1/C_{k+1}, \qquad
        v_k -= ρ_k F/C_k, \quad v_{k+1} += F/C_{k+1}

    in the time h. This is written as two updates of one array each, which XLA does in place. The second uses
    the new :math:`v_k`. The coefficients are :math:`a = ρ_k w/C_k` and :math:`b = (w/C_{k+1})/(1 - a)`.

    Args:
        left: the left `shares`, of any shape.
        right: the right `shares`, of the same shape.
        q: the charge ``g_k h``, likewise.
    """
    xp = np if isinstance(q, np.ndarray) else jnp
    s = left + right
    w = -xp.expm1(-q * s) / s
    # 1 − a without a subtraction, in which digits would cancel. A leak (right = 0) has no b.
    remaining = xp.where(right > 0, right + left * xp.exp(-q * s), 1) / s
    return w * left, w * right / remaining


def exchange_rates(s: Any, g: Any, resolution: Any, visible_resolution: Any) -> Any:
    r"""How many exchanges per unit of time each link needs, ``[K]``.

    Link k must exchange when :math:`g_k s_k h` reaches its threshold: ``resolution``, or
    ``visible_resolution`` for link 1. In the time h, its two beakers lose the fraction :math:`1 - e^{-g_k s_k
    h}` of their difference. Links are nested, so a link also exchanges as often as any link after it must.
    NumPy arrays give NumPy arrays.
    """
    xp = np if isinstance(g, np.ndarray) else jnp
    thresholds = xp.where(xp.arange(len(g)) == 0, visible_resolution, resolution).astype(g.dtype)
    waits = thresholds > 0
    rates = xp.where(waits, g * s / xp.where(waits, thresholds, 1), 1e30)  # the last: in every step
    return np.maximum.accumulate(rates[::-1])[::-1] if xp is np else lax.cummax(rates, reverse=True)


def is_due(rate: Any, waited: Any, left_waited: Any) -> Any:
    """Whether a link exchanges in a step in which its left neighbour does, after the given waiting times.

    It takes the exchange of the neighbour that is closest to its own time, ``1/rate``.
    """
    return rate * (waited + left_waited / 2) >= 1 - 1e-5  # if two are equally close, rounding must not decide


def kaplanis_times(C: Any, g: Any) -> Any:
    """The times from which links 1 … K-1 flow back in the code of Kaplanis et al. (2018), ``[K - 1]``."""
    xp = np if isinstance(g, np.ndarray) else jnp
    return (2.0 ** xp.arange(1, len(g), dtype=g.dtype) - 1) * C[0] / g[0]


def links_due(
    clocks: jax.Array,
    dt: jax.Array,
    chain: jax.Array,
    resolution: ArrayLike,
    visible_resolution: ArrayLike,
    switches: jax.Array | None,
) -> tuple[jax.Array | None, ...]:
    """Which links exchange in this step: each one only together with its left neighbour.

    Args:
        clocks: the clocks of the links, including this step.
        dt: the time step.
        chain: ``C``, ``g`` and ``ρ``, ``[3, K]``.
        resolution: threshold of links 2 … K.
        visible_resolution: threshold of link 1.
        switches: links whose recall changes after this step. They exchange now everything they owe. Or None.
    """
    C, g, recall = chain
    waited = clocks[:, 1:].sum(axis=0) / jnp.where(g > 0, g, 1)
    rates = exchange_rates(sum(shares(C, recall)), g, resolution, visible_resolution)
    now = is_due(rates, waited, jnp.append(dt, waited[:-1]))
    if switches is not None:
        now |= lax.cummax(switches.astype(jnp.int32), reverse=True).astype(bool)
    due: list[jax.Array | None] = []
    for k in range(len(g)):
        if _is_zero(resolution) or (k == 0 and _is_zero(visible_resolution)):
            due.append(None)
        else:
            due.append(now[k] if k == 0 or due[-1] is None else now[k] & due[-1])
    return tuple(due)


def discharge(clocks: jax.Array, due: tuple[jax.Array | None, ...]) -> jax.Array:
    """The clocks after the due links have exchanged everything they owed."""
    due_now = jnp.stack([jnp.array(True) if one is None else one for one in due])
    return clocks.at[:, 1:].set(jnp.where(due_now, 0, clocks[:, 1:]))


def euler_coefficients(left: Any, right: Any, q: Any) -> tuple[Any, Any]:
    """``a`` and ``b`` of `sequential_euler`; arguments as in `exchange_coefficients`."""
    return q * left, q * right


@partial(jax.jit, static_argnames="through")  # a loop outside of jit would be compiled again in each call
def exchange(
    params: optax.Params,
    inputs: optax.Updates,
    beakers: Beakers,
    end: optax.Params,
    links: Links,
    seed: jax.Array,
    through: Callable[..., Beakers] = sweep,
) -> tuple[optax.Updates, Beakers]:
    """Operator splitting: each link that is due exchanges exactly, in the order 1 … K.

    A hidden beaker exchanges with its left and its right neighbour in the same pass, so that each array is
    read and written once.

    Args:
        params: tree of ``p = u_1``.
        inputs: tree of the input ``Δ``.
        beakers: ``(u_2, …, u_K)``, trees like ``params``.
        end: tree of ``u_{K+1}``; its leaves may be scalars.
        links: what the links do. Coefficients are scalars, or have the shape of the only leaf.
        seed: the seed of this step, uint32, for the rounding of beakers of low precision.
        through: a function that moves the hidden beakers, like :func:`sweep`.

    Returns:
        The updates that make ``p`` the new ``u_1``, and the new beakers.
    """

    def visible(p: jax.Array, d: jax.Array, u: jax.Array) -> jax.Array:
        if links.a[0] is None:
            return d
        moved = _add(d, _flow(links.a[0], _add(p, d), u))
        return truncate(_where(links.due[0], moved, d), p.dtype)

    updates = jax.tree.map(visible, params, inputs, (*beakers, end)[0])
    weights = jax.tree.map(Weight.after_update, params, inputs, updates)
    around = tuple(
        (links.b[k], links.a[k + 1], links.due[k + 1], None if k else links.gain) for k in range(len(beakers))
    )
    return updates, through(_move, links.due, beakers, weights, end, around, seed)


class Weight(NamedTuple):
    """A parameter after its update."""

    value: jax.Array
    lost: jax.Array | None  # what it gave to the chain; None if that is what the exchange computes

    @classmethod
    def after_update(cls, p: jax.Array, d: jax.Array, update: jax.Array) -> Weight:
        # A parameter of low precision loses more or less than the exchange computes. u_2 gains what it
        # actually lost. Otherwise a weight that cannot move would be an endless source.
        value = _apply(p, update)
        return cls(value, _add(_add(p, -value), d) if is_low_precision(p) else None)


@jax.jit  # traced once for all links
def _move(beaker: optax.Params, operands: Any, seed: jax.Array) -> optax.Params:
    """A hidden beaker after the exchange on its left and, if that link is due, the one on its right."""
    left, right, (b, a, right_is_due, gain) = operands

    def move(u: jax.Array, v: jax.Array | Weight, w: jax.Array) -> jax.Array:
        u = from_left(to_device(u), v, b, gain)
        if a is None:
            return u
        if right_is_due is not None and on_host(w):
            # A separate branch, so that the neighbour is fetched only if it is needed.
            return run_if(right_is_due, from_right, u.astype(wide_dtype(u, w)), (a, w), seed)
        return _where(right_is_due, from_right(u, (a, w)), u)

    return _store(jax.tree.map(move, beaker, left, right), beaker, seed)


def from_left(
    u: jax.Array, v: jax.Array | Weight, b: jax.Array, gain: tuple[jax.Array, jax.Array] | None
) -> jax.Array:
    """A hidden beaker after the exchange with its left neighbour, in the dtype that holds both."""
    return _add(u, _inflow(b, u, v, gain) if isinstance(v, Weight) else _flow(b, u, v))


def from_right(
    u: jax.Array, operands: tuple[jax.Array, jax.Array], seed: jax.Array | None = None
) -> jax.Array:
    """A beaker after the exchange with its right neighbour: ``u + a (w − u)``. The operands: ``a, w``."""
    del seed
    a, w = operands
    return _add(u, _flow(a, u, w))


def _inflow(
    b: jax.Array, u: jax.Array, weight: Weight, gain: tuple[jax.Array, jax.Array] | None
) -> jax.Array:
    """What ``u_2`` gains from the weight: the flow, and with recall also what rounding took from it."""
    flow = _flow(b, u, weight.value)
    if weight.lost is None or gain is None:
        return flow
    ratio, recall = (number.astype(flow.dtype) for number in gain)
    rounded_away = ratio * _finite(weight.lost).astype(flow.dtype) - recall * flow
    return flow + jnp.minimum(recall, 1) * rounded_away


def sequential_euler(
    params: optax.Params,
    inputs: optax.Updates,
    beakers: Beakers,
    end: optax.Params,
    links: Links,
    seed: jax.Array,
) -> tuple[optax.Updates, Beakers]:
    r"""The scheme of the published code: new left neighbour, old right neighbour.

    .. math::
        v_1 = p + Δ + a_1 (u_2 - p), \quad v_k = u_k + b_{k-1} (v_{k-1} - u_k) + a_k (u_{k+1} - u_k), \qquad
        a_k = dt\,ρ_k g_k/C_k, \quad b_k = dt\,g_k/C_{k+1}

    for k = 2 … K in order. Arguments and results are those of `exchange`. Every link is due.
    """

    def visible(p: jax.Array, d: jax.Array, u: jax.Array) -> jax.Array:
        return d if links.a[0] is None else truncate(_add(d, _flow(links.a[0], p, u)), p.dtype)

    updates = jax.tree.map(visible, params, inputs, (*beakers, end)[0])
    left, moved = jax.tree.map(_apply, params, updates), []
    for k, (beaker, right) in enumerate(zip(beakers, (*beakers, end)[1:], strict=True)):

        def hidden(
            u: jax.Array,
            v: jax.Array,
            w: jax.Array,
            b: jax.Array = links.b[k],
            a: jax.Array | None = links.a[k + 1],
        ) -> jax.Array:
            return _add(u, _flow(b, u, v), *([] if a is None else [_flow(a, u, w)]))

        left = _store(jax.tree.map(hidden, beaker, left, right), beaker, combine_seeds(seed, k))
        moved.append(left)
    return updates, tuple(moved)


def _flow(rate: jax.Array, u: jax.Array, target: jax.Array) -> jax.Array:
    """``rate · (target − u)``."""
    dtype = wide_dtype(u, target)
    gap = to_device(target).astype(dtype) - to_device(u).astype(dtype)
    return rate.astype(dtype) * _finite(gap)


def _finite(gap: jax.Array) -> jax.Array:
    """Zero if a difference is not finite, so that equal infinities (masks) and NaN exchange nothing."""
    return jnp.where(jnp.isfinite(gap), gap, jnp.zeros_like(gap))


def _where(condition: jax.Array | None, new: jax.Array, old: jax.Array) -> jax.Array:
    """``new`` where the condition holds or is None, else ``old``.

    The condition is a single one for the whole array. XLA's CPU compiler makes two loops of it, and only one
    of them reads what ``new`` needs.
    """
    return new if condition is None else jnp.where(condition, new, old.astype(new.dtype))


def _store(tree: optax.Params, like: optax.Params, seed: jax.Array) -> optax.Params:
    """``tree`` in the dtypes and memories of ``like``.

    In one step, a beaker of low precision usually gains less than half the distance to the next number.
    Rounded to nearest, it would never change.
    """

    def store(path: Any, x: jax.Array, u: jax.Array) -> jax.Array:
        if not is_low_precision(u):
            return to_memory_of(u, x.astype(u.dtype))
        return to_memory_of(u, round_stochastically(x, u.dtype, leaf_seed(seed, path)))

    return jax.tree_util.tree_map_with_path(store, tree, like)


def _apply(p: jax.Array, update: jax.Array) -> jax.Array:
    """The parameter that ``optax.apply_updates`` will make."""
    return truncate(_add(p, update), p.dtype)


def _add(*arrays: jax.Array) -> jax.Array:
    """The sum, in the dtype that holds them all."""
    dtype = wide_dtype(*arrays)
    first, *others = (to_device(array).astype(dtype) for array in arrays)
    return sum(others, start=first)


def _is_zero(resolution: ArrayLike) -> bool:
    """Whether a resolution is known to be zero."""
    return isinstance(resolution, int | float) and resolution == 0
