"""One step of a beaker chain on trees of arrays: the two integrators.

Both take the parameters ``p = u_1``, the inputs ``Δ`` that the transformations before ours produced, and
``u_2 … u_K``, and return the updates that make ``p`` into the new ``u_1``, and the new ``u_2 … u_K``.
The symbols are those of :class:`cs_optax.BeakerChain`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cs_optax._dtypes import is_low_precision, wide_dtype
from cs_optax._links import Links
from cs_optax._rounding import round_stochastically, seed_of

Tree = Any
Beakers = tuple[Tree, ...]
Firing = Callable[[Tree, Tree, jax.Array], Tree]  # contents, what stays fixed, and a seed -> contents


@jax.jit  # a loop outside of jit would be compiled anew in each call
def exchange(
    params: Tree, inputs: Tree, beakers: Beakers, links: Links, rest: Tree | None, seed: jax.Array
) -> tuple[Tree, Beakers]:
    r"""Operator splitting: each link that fires exchanges exactly, in the order 1 … K.

    Two beakers joined for the time :math:`h`, and joined to nothing else, exchange

    .. math::
        F = (v_k - v_{k+1}) (1 - e^{-g_k s_k h}) / s_k, \qquad v_k -= F/C_k, \quad v_{k+1} += F/C_{k+1}.

    It is written as two updates of one array each, the second with the result of the first, which
    XLA does in place.

    Args:
        params: tree of ``p``.
        inputs: tree of ``Δ``.
        beakers: ``(u_2, …, u_K)``, trees like ``params``.
        links: which links fire and their coefficients, at least one.
        rest: the tree that the leak pulls towards; None for zero.
        seed: of this step, for the rounding of beakers of low precision; uint32.
    """
    n_links = len(links.fires)

    def from_first(beakers: Beakers, fixed: Any, seed: jax.Array) -> Beakers:
        """The hidden side of link 1, and the links that fire only where it does."""
        weights, links, rest = fixed
        beakers = _fill_first(weights, beakers, links, seed)
        return _if_due(from_second, links.fires[1], beakers, (links, rest), seed) if n_links > 1 else beakers

    def from_second(beakers: Beakers, fixed: Any, seed: jax.Array) -> Beakers:
        """Link 2, and those that fire only where it does; each touches two beakers."""
        links, rest = fixed
        for k in range(1, n_links):
            pair, leaks = beakers[k - 1 : k + 1], k == len(beakers)
            own = links.left[k], links.right[k], rest if leaks else None
            pair = _if_due(_exchange_pair, links.fires[k] if k > 1 else None, pair, own, seed_of(seed, k))
            beakers = (*beakers[: k - 1], *pair, *beakers[k + 1 :])
        return beakers

    def visible(p: Any, d: Any, *target: Any) -> jax.Array:
        return _rounded(_add(d, _pull(rate, _add(d, p), *target)), p.dtype)

    left = links.left[0]
    rate = left if links.fires[0] is None else jnp.where(links.fires[0], left, jnp.zeros_like(left))
    updates = jax.tree.map(visible, params, inputs, *_known(beakers[0] if beakers else rest))
    weights = jax.tree.map(lambda p, d, up: Weight(p, d, _applied(p, up)), params, inputs, updates)
    return updates, _if_due(from_first, links.fires[0], beakers, (weights, links, rest), seed)


def _if_due(function: Firing, due: jax.Array | None, contents: Tree, fixed: Tree, seed: jax.Array) -> Tree:
    """``function(contents, fixed, seed)`` where ``due``, or where that is None, else ``contents``."""
    return function(contents, fixed, seed) if due is None else _once_if(function, due, contents, fixed, seed)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _once_if(function: Firing, due: jax.Array, contents: Tree, fixed: Tree, seed: jax.Array) -> Tree:
    """A loop of no or one trip: what it carries stays in place, where XLA copies around a branch.

    The seed is new in each trip, as far as XLA can know: random numbers that are the same in all of
    them it would move out of the loop, and so compute in every step.
    """
    trips = due.astype(jnp.uint32)
    return lax.fori_loop(jnp.uint32(0), trips, lambda n, carry: function(carry, fixed, seed + n), contents)


@_once_if.defjvp
def _(function: Firing, primals: Any, tangents: Any) -> Any:
    """Differentiated as the branch that it is: a loop has no reverse mode."""

    def branch(due: jax.Array, contents: Tree, fixed: Tree, seed: jax.Array) -> Tree:
        return lax.cond(due, function, lambda contents, *_: contents, contents, fixed, seed)

    return jax.jvp(branch, primals, tangents)


class Weight(NamedTuple):
    """A parameter in this step."""

    before: jax.Array
    input: jax.Array
    after: jax.Array


def _fill_first(weights: Tree, beakers: Beakers, links: Links, seed: jax.Array) -> Beakers:
    """The right side of link 1: what ``u_2`` gains."""

    def hidden(u: Any, weight: Weight) -> jax.Array:
        pulled = _pull(links.right[0], u, weight.after)
        if not is_low_precision(weight.before):
            return _add(u, pulled)
        # A parameter of low precision loses more or less than the exchange asks for. u_2 gains what it
        # has really lost: otherwise a weight that cannot move would be an endless source.
        lost = _add(weight.input, weight.before, -weight.after)
        gain = links.gain.astype(lost.dtype) * lost
        if links.flows_back is not None:
            gain = jnp.where(links.flows_back[0], gain, pulled)
        return _add(u, gain)

    if not beakers:
        return beakers
    return (_stored(jax.tree.map(hidden, beakers[0], weights), beakers[0], seed), *beakers[1:])


@jax.jit  # traced once for all links
def _exchange_pair(pair: Beakers, fixed: Any, seed: jax.Array) -> Beakers:
    """A link between two hidden beakers, or the leak of the last one towards its rest."""
    left, right, rest = fixed

    def towards(rate: jax.Array, tree: Tree, target: Tree | None, side: int) -> Tree:
        moved = jax.tree.map(lambda u, *end: _add(u, _pull(rate, u, *end)), tree, *_known(target))
        return _stored(moved, tree, seed, side)

    first = towards(left, pair[0], pair[1] if len(pair) > 1 else rest, 0)
    return (first, *(towards(right, u, first, 1) for u in pair[1:]))


def sequential_euler(
    params: Tree,
    inputs: Tree,
    beakers: Beakers,
    dt: jax.Array,
    C: jax.Array,
    g: jax.Array,
    flows_back: jax.Array,
    rest: Tree | None,
    seed: jax.Array,
) -> tuple[Tree, Beakers]:
    r"""The scheme of the published code: new left neighbour, old right neighbour.

    .. math::
        v_1 = p + Δ + \tfrac{dt}{C_1} g_1 (u_2 - p), \qquad
        v_k = u_k + \tfrac{dt}{C_k} [g_{k-1} (v_{k-1} - u_k) + g_k (u_{k+1} - u_k)]

    for k = 2 … K in order.

    Args:
        params: tree of ``p``.
        inputs: tree of ``Δ``.
        beakers: ``(u_2, …, u_K)``, trees like ``params``.
        dt: the time step.
        C: capacities, shape ``[K]``.
        g: conductances, shape ``[K]``, the last one 0 for a closed chain.
        flows_back: for every link whether it moves its left beaker, boolean, shape ``[K]``.
        rest: the tree that the leak pulls towards; None for zero.
        seed: of this step, for the rounding of beakers of low precision; uint32.
    """
    from_left = dt * g[:-1] / C[1:]
    from_right = jnp.where(flows_back, dt * g / C, jnp.zeros_like(C))

    def visible(p: Any, d: Any, *right: Any) -> jax.Array:
        return _rounded(_add(d, _pull(from_right[0], p, *right)), p.dtype)

    def hidden(k: int, u: Any, left: Any, *right: Any) -> jax.Array:
        flows = _pull(from_left[k], u, left), _pull(from_right[k + 1], u, *right)
        return _add(u, *flows)

    right = (*beakers, rest)
    updates = jax.tree.map(visible, params, inputs, *_known(right[0]))
    left = jax.tree.map(_applied, params, updates)
    new = []
    for k, beaker in enumerate(beakers):
        left = jax.tree.map(partial(hidden, k), beaker, left, *_known(right[k + 1]))
        left = _stored(left, beaker, seed, k)
        new.append(left)
    return updates, tuple(new)


def _pull(rate: Any, u: Any, *target: Any) -> jax.Array:
    """``rate · (target − u)``; no target is a target of zero."""
    dtype = wide_dtype(u, *target)
    start = u.astype(dtype)
    gap = target[0].astype(dtype) - start if target else -start
    return rate.astype(dtype) * gap


def _stored(tree: Tree, like: Tree, seed: jax.Array, *place: int) -> Tree:
    """``tree`` in the dtypes of ``like``.

    What a beaker of low precision gains in one step mostly is less than half the distance to its
    neighbouring number: rounded to the nearest it would gain nothing, ever.
    """

    def round_leaf(number: int, x: Any, u: Any) -> jax.Array:
        if is_low_precision(u):
            return round_stochastically(x, u.dtype, seed_of(seed, number, *place))
        return x.astype(u.dtype)

    numbers = jax.tree.unflatten(jax.tree.structure(like), range(len(jax.tree.leaves(like))))
    return jax.tree.map(round_leaf, numbers, tree, like)


def _rounded(x: jax.Array, dtype: Any) -> jax.Array:
    """``x`` in ``dtype``, its further digits gone: XLA leaves out casts to bfloat16 and back, not this."""
    if dtype == jnp.bfloat16:
        x = lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    return x.astype(dtype)


def _applied(p: Any, update: Any) -> jax.Array:
    """The parameter that ``optax.apply_updates`` will make."""
    return _rounded(_add(p, update), p.dtype)


def _add(*arrays: Any) -> jax.Array:
    """The sum, in the dtype that holds them all."""
    dtype = wide_dtype(*arrays)
    return sum((array.astype(dtype) for array in arrays[1:]), start=arrays[0].astype(dtype))


def _known(tree: Tree | None) -> tuple[Tree, ...]:
    """Further arguments for ``jax.tree.map``: the tree where there is one."""
    return () if tree is None else (tree,)
