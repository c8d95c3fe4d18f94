"""One step of a beaker chain on trees of arrays: the two integrators.

Both take the parameters ``p = u_1``, the inputs ``Δ`` that the transformations before ours produced, and
``u_2 … u_K``, and return the updates that make ``p`` into the new ``u_1``, and the new ``u_2 … u_K``.
The symbols are those of :class:`cs_optax.BeakerChain`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cs_optax._dtypes import is_low_precision, wide_dtype
from cs_optax._links import Links
from cs_optax._places import fetched, on_host, put_back
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
    XLA does in place. A hidden beaker takes part in the link on its left and in the one on its right
    in the same update, so that each array is written once.

    Args:
        params: tree of ``p``.
        inputs: tree of ``Δ``.
        beakers: ``(u_2, …, u_K)``, trees like ``params``.
        links: which links fire and their coefficients, at least one.
        rest: the tree that the leak pulls towards; None for zero.
        seed: of this step, for the rounding of beakers of low precision; uint32.
    """

    def visible(p: Any, d: Any, *target: Any) -> jax.Array:
        update = _add(d, _pull(side.rate, _add(d, p), *target))
        return _rounded(_where(side.fires, update, d), p.dtype)

    (side,) = _left_side(0, beakers, links, rest)
    updates = jax.tree.map(visible, params, inputs, *_known(side.target))
    weights = jax.tree.map(_weight, params, inputs, updates)
    return updates, _after_link(0, beakers, weights, links, rest, seed)


def _after_link(
    k: int, beakers: Beakers, left: Tree, links: Links, rest: Tree | None, seed: jax.Array
) -> Beakers:
    """The beakers on the right of link ``k`` (from 0) and of later ones, each moved where its link fires."""
    if beakers and k < _n_nested():

        def fire(slower: Beakers, fixed: Any, seed: jax.Array) -> Beakers:
            left, links, rest = fixed
            left = _right_of(k, None, slower, left, links, rest, seed)
            return left, *_after_link(k + 1, slower[1:], left, links, rest, seed)

        return _if_due(fire, links.fires[k], beakers, (left, links, rest), seed)
    new: Beakers = ()
    for j in range(k, k + len(beakers)):
        left = _right_of(j, links.fires[j], beakers[j - k :], left, links, rest, seed)
        new = *new, left
    return new


def _n_nested() -> int:
    """So many of the first loops in `exchange` stand one in the other; the others stand side by side.

    Each loop asks whether its link is due. On a GPU the host waits for the answer, so there a slow link is
    not asked where a faster one rests. On a CPU asking costs little, but what stands in a third loop, that
    of a scan over the steps included, is not shared out among its cores. Deeper nests would compile slowly,
    and Python's stack is finite.

    The answer is that of the process's default platform when a step is traced. A step that runs elsewhere,
    or an exported one, computes the same, only not as fast.
    """
    return 0 if jax.default_backend() == "cpu" else 3


def _right_of(
    k: int,
    due: jax.Array | None,
    beakers: Beakers,
    left: Tree,
    links: Links,
    rest: Tree | None,
    seed: jax.Array,
) -> Tree:
    """The first of these beakers, which is on the right of link ``k``, moved where that is due."""
    beaker, *slower = beakers
    sides = _left_side(k + 1, tuple(slower), links, rest)
    if k == 0:
        return _if_due(_filled, due, beaker, (left, links, sides), seed)
    return _if_due(_drawn, due, beaker, [Side(None, links.right[k], left), *sides], seed_of(seed, k))


def _left_side(k: int, slower: Beakers, links: Links, rest: Tree | None) -> list[Side]:
    """What link ``k`` does to the beaker on its left; ``slower`` are on its right. No link, no side."""
    if k == len(links.fires):
        return []
    return [Side(links.fires[k], links.left[k], slower[0] if slower else rest)]


def _if_due(function: Firing, due: jax.Array | None, contents: Tree, fixed: Tree, seed: jax.Array) -> Tree:
    """``function(contents, fixed, seed)`` where ``due``, or where that is None, else ``contents``."""
    return function(contents, fixed, seed) if due is None else _once_if(function, due, contents, fixed, seed)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _once_if(function: Firing, due: jax.Array, contents: Tree, fixed: Tree, seed: jax.Array) -> Tree:
    """A loop of no or one trip: what it carries stays in place, where XLA copies around a branch.

    What XLA knows to be the same in all trips it would compute before the loop, and so in every step, and
    keep in memory: random numbers, and the wide copies of arrays of low precision. Hence a seed that is
    new in each trip, and a barrier.
    """

    def trip(n: jax.Array, carry: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        contents, fixed = carry
        kept = jax.tree.map(lambda x: lax.optimization_barrier(x) if is_low_precision(x) else x, fixed)
        return function(contents, fixed, seed + n), kept

    trips = due.astype(jnp.uint32)
    return lax.fori_loop(jnp.uint32(0), trips, trip, (contents, fixed))[0]


@_once_if.defjvp
def _(function: Firing, primals: Any, tangents: Any) -> Any:
    """Differentiated as the branch that it is: a loop has no reverse mode."""

    def branch(due: jax.Array, contents: Tree, fixed: Tree, seed: jax.Array) -> Tree:
        return lax.cond(due, function, lambda contents, *_: contents, contents, fixed, seed)

    return jax.jvp(branch, primals, tangents)


class Side(NamedTuple):
    """One side of a link: ``v += rate · (target − v)`` where it fires."""

    fires: jax.Array | None  # None where it does in any case
    rate: jax.Array
    target: Tree | None  # None for zero


class Weight(NamedTuple):
    """A parameter in this step."""

    after: jax.Array
    before: jax.Array | None = None  # with its input, where it is of low precision
    input: jax.Array | None = None


def _weight(p: Any, d: Any, update: Any) -> Weight:
    after = _applied(p, update)
    return Weight(after, p, d) if is_low_precision(p) else Weight(after)


def _filled(beaker: Tree, fixed: tuple[Tree, Links, list[Side]], seed: jax.Array) -> Tree:
    """``u_2`` with what it gains from the weights, then moved by further sides."""
    weights, links, sides = fixed

    def moved(u: Any, weight: Weight, *targets: Any) -> jax.Array:
        pulled = _pull(links.right[0], u, weight.after)
        if weight.before is None:
            return _moved(_add(u, pulled), sides, targets)
        # A parameter of low precision loses more or less than the exchange asks for. u_2 gains what it
        # has really lost: otherwise a weight that cannot move would be an endless source.
        lost = _add(weight.before, -weight.after, weight.input)  # the first two cancel exactly
        gain = links.gain.astype(lost.dtype) * lost
        if links.flows_back is not None:
            gain = jnp.where(links.flows_back[0], gain, pulled)
        return _moved(_add(u, gain), sides, targets)

    return _stored(jax.tree.map(moved, beaker, weights, *_targets(sides)), beaker, seed)


@jax.jit  # traced once for all links
def _drawn(beaker: Tree, sides: list[Side], seed: jax.Array) -> Tree:
    """A hidden beaker, moved by one side after the other."""
    new = jax.tree.map(lambda u, *targets: _moved(u, sides, targets), beaker, *_targets(sides))
    return _stored(new, beaker, seed)


def _moved(u: Any, sides: list[Side], targets: Sequence[Any]) -> Any:
    """One leaf moved by one side after the other; the targets are those leaves that are not zero."""
    known = iter(targets)
    u = fetched(u)
    for side in sides:
        target = [next(known) for _ in _known(side.target)]
        if side.fires is not None and any(map(on_host, target)):
            # Not to fetch a neighbour in vain.
            u = u.astype(wide_dtype(u, *target))
            u = _once_if(_towards, side.fires, u, (side.rate, *target), jnp.uint32(0))
        else:
            u = _where(side.fires, _add(u, _pull(side.rate, u, *target)), u)
    return u


def _towards(u: jax.Array, link: tuple[jax.Array, jax.Array], _: jax.Array) -> jax.Array:
    """``u + rate · (target − u)``."""
    rate, target = link
    return _add(u, _pull(rate, u, target))


def _targets(sides: list[Side]) -> list[Tree]:
    return [tree for side in sides for tree in _known(side.target)]


def _where(condition: jax.Array | None, new: jax.Array, old: Any) -> jax.Array:
    """``new`` where the condition holds or is None, else ``old``.

    The condition is one for the whole array: XLA's CPU compiler makes two loops of it, and reads what only
    ``new`` needs in but one of them.
    """
    return new if condition is None else jnp.where(condition, new, old.astype(new.dtype))


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
    start = fetched(u).astype(dtype)
    gap = fetched(target[0]).astype(dtype) - start if target else -start
    return rate.astype(dtype) * gap


def _stored(tree: Tree, like: Tree, seed: jax.Array, *place: int) -> Tree:
    """``tree`` in the dtypes of ``like``.

    What a beaker of low precision gains in one step mostly is less than half the distance to its
    neighbouring number: rounded to the nearest it would gain nothing, ever.
    """

    def round_leaf(path: Any, x: Any, u: Any) -> jax.Array:
        if not is_low_precision(u):
            return put_back(x.astype(u.dtype), u)
        # Of the path, not of a number, which leaves in two groups of parameters may share.
        name = np.uint32(zlib.crc32(jax.tree_util.keystr(path).encode()))
        return put_back(round_stochastically(x, u.dtype, seed_of(seed, name, *place)), u)

    return jax.tree_util.tree_map_with_path(round_leaf, tree, like)


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
    first, *others = (fetched(array).astype(dtype) for array in arrays)
    return sum(others, start=first)


def _known(tree: Tree | None) -> tuple[Tree, ...]:
    """Further arguments for ``jax.tree.map``: the tree where there is one."""
    return () if tree is None else (tree,)
