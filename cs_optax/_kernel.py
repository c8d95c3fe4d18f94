"""On a GPU: one kernel moves the hidden beakers, and decides by itself which links exchange.

XLA's loops (`_xla.sweep`) make the host wait for each decision. XLA also reads whole arrays even if the link
that needs them rests. Every program of this kernel reads the decisions from a small vector. It moves its
blocks of an array through the links that are due. It reads and writes each of these beakers once, and touches
no other beaker. If link 1 exchanges in every step, XLA computes it, fused with the optimizer before it.

The kernel is written in Pallas and compiled by Triton. It calls the functions of `_step`, so its numbers are
the same. This module only decides what is read and written, and when.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cs_optax._platforms import on_gpu
from cs_optax._shards import on_each_shard
from cs_optax._step import Weight, from_left, from_right
from cs_optax._xla import (
    Move,
    combine_seeds,
    is_low_precision,
    leaf_seed,
    on_host,
    round_by,
    sweep,
    uniform,
    wide_dtype,
)

BLOCK = 1024  # elements that a program moves at once
PROGRAMS = 1024  # for one leaf, at most: each moves every so many blocks
LARGE = 2**20  # elements: a leaf with more has a kernel of its own
UNIT = 16  # elements, of which sizes are mostly a multiple: then they are moved several at a time
CONTENTS = 36  # of the leaves of one kernel, at most: the time to compile it grows with their square


class Leaf(NamedTuple):
    """The arrays of one leaf, all of one shape; under ``jax.vmap`` with leading axes."""

    left: Weight | jax.Array | None  # the left neighbour, which has moved; None: the first content itself has
    contents: tuple[jax.Array, ...]
    end: jax.Array | None  # None: a number


class Numbers(NamedTuple):
    """What the links do, as rows of numbers. Under ``jax.vmap`` there is one row for each member."""

    # Of m contents: whether the links left and right of them exchange, 1 or 0, [1 + m]; b of the links on the
    # left, [m]; a of those on the right, [m]; the two numbers of Links.gain; where each leaf leaks to.
    row: jax.Array
    seeds: jax.Array | None  # uint32, m for each leaf, where contents are rounded


class Plan(NamedTuple):
    """What is known about a kernel before it is compiled."""

    flows_back: tuple[bool, ...]  # whether the link on the right of each content moves it
    gains: bool  # whether Links.gain is there
    on_many: bool  # devices
    n_axes: int  # leading axes
    interpret: bool


def sweep_on_gpu(
    move: Move,
    due: tuple[jax.Array | None, ...],
    contents: tuple[optax.Params, ...],
    left: optax.Params,
    end: optax.Params,
    fixed: tuple[Any, ...],
    seed: jax.Array,
    *,
    interpret: bool = False,
) -> tuple[optax.Params, ...]:
    """Like :func:`sweep`, but on a GPU the kernel moves the leaves that it supports.

    Args:
        move: as in :func:`sweep`.
        due: likewise.
        contents: likewise.
        left: likewise.
        end: likewise.
        fixed: likewise.
        seed: likewise.
        interpret: whether Pallas interprets the kernel, on any platform.
    """
    operands = due, contents, left, end, fixed, seed
    by_loops = partial(sweep, move)
    # If no link may rest, XLA fuses everything into one loop.
    if not 0 < len(contents) <= CONTENTS or fixed[-1][2] is None:
        return by_loops(*operands)
    if any(map(on_host, jax.tree.leaves((contents, end)))):
        return by_loops(*operands)
    structure: Any = jax.tree.structure(contents[0])
    columns = [*zip(*(structure.flatten_up_to(tree) for tree in (left, end, *contents)), strict=True)]
    fits = [_fits(*column) for column in columns]
    if not any(fits):
        return by_loops(*operands)
    by_kernel = partial(_sweep_by_kernel, move, fits, interpret)
    trial = partial(_sweep_few, move, _few_of_each_kind(columns, fits), interpret)
    return on_gpu(by_kernel, trial, by_loops, interpret, *operands)


def _fits(left: Weight, *arrays: jax.Array) -> bool:
    """Whether the kernel can move a leaf. The indices of its elements must fit in 31 bits."""
    dtypes = {x.dtype for x in (left.value, *arrays)}
    return all(map(_is_computed, dtypes)) and 0 < left.value.size < 2**31 - 2 * BLOCK * PROGRAMS


@cache
def _is_computed(dtype: Any) -> bool:
    """Whether the kernel supports a dtype: real numbers of at least 16 bits."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 16


def _sweep_by_kernel(
    move: Move,
    fits: list[bool],
    interpret: bool,
    on_many: bool,
    due: tuple[jax.Array | None, ...],
    contents: tuple[optax.Params, ...],
    left: optax.Params,
    end: optax.Params,
    fixed: tuple[Any, ...],
    seed: jax.Array,
) -> tuple[optax.Params, ...]:
    """Move the leaves that fit with the kernel, and the others with the loops."""
    structure: Any = jax.tree.structure(contents[0])

    def part(tree: optax.Params, of_kernel: bool) -> optax.Params:
        leaves = structure.flatten_up_to(tree)
        return structure.unflatten(
            [leaf if fit is of_kernel else None for leaf, fit in zip(leaves, fits, strict=True)]
        )

    others = [part(tree, False) for tree in (left, end, *contents)]
    left, end, *ours = (part(tree, True) for tree in (left, end, *contents))
    first = 0  # content of the kernel
    if due[0] is None:
        # XLA moves the first content together with the optimizer in front. The link on its right is left to
        # the kernel, unless the content would be rounded in between.
        b, a, right_is_due, gain = fixed[0]
        exact = all(u.dtype == wide_dtype(u) for u in jax.tree.leaves(ours[0]))
        opens = a is not None and exact and len(ours) > 1
        neighbours = left, (*ours, end)[1], (b, None if opens else a, right_is_due, gain)
        ours[0] = move(ours[0], neighbours, combine_seeds(seed, 0))
        left, first = (None, 0) if opens else (ours[0], 1)
    if first < len(ours):
        ours[first:] = _launch(
            due[first], ours[first:], left, end, fixed[first:], seed, first, on_many, interpret
        )
    if all(fits):
        return tuple(ours)
    kept = sweep(move, due, tuple(others[2:]), others[0], others[1], fixed, seed)
    merged = []
    for tree, other in zip(ours, kept, strict=True):
        pairs = zip(fits, structure.flatten_up_to(tree), structure.flatten_up_to(other), strict=True)
        merged.append(structure.unflatten([one if fit else another for fit, one, another in pairs]))
    return tuple(merged)


def _few_of_each_kind(columns: list[tuple[Any, ...]], fits: list[bool]) -> list[int]:
    """Leaves that fit, as many of each kind as share a kernel: what is refused for one is for all."""
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for n, (left, end, *contents) in enumerate(columns):
        if fits[n]:
            shape, dtypes = contents[0].shape, (left.value.dtype, end.dtype, *(u.dtype for u in contents))
            kind = _sizes(contents[0]), left.lost is None, end.shape == shape, *map(str, dtypes)
            kinds.setdefault(kind, []).append(n)
    return [n for alike in kinds.values() for n in alike[: max(1, CONTENTS // len(columns[0]))]]


def _sweep_few(
    move: Move, few: list[int], interpret: bool, on_many: bool, *operands: Any
) -> tuple[optax.Params, ...]:
    """A few leaves by the kernel, to see whether it can be lowered: not all, which takes twice as long."""
    due, contents, left, end, fixed, seed = operands
    structure: Any = jax.tree.structure(contents[0])

    def part(tree: optax.Params) -> list[Any]:
        leaves = structure.flatten_up_to(tree)
        return [leaves[n] for n in few]

    ours = due, tuple(map(part, contents)), part(left), part(end), fixed, seed
    return _sweep_by_kernel(move, [True] * len(few), interpret, on_many, *ours)


def _sizes(array: jax.Array) -> tuple[bool, bool]:
    """What of a leaf's size decides its kernel."""
    return array.size > LARGE, array.size % UNIT == 0


def _launch(
    due: jax.Array | None,
    contents: list[optax.Params],
    left: optax.Params | None,
    end: optax.Params,
    fixed: tuple[Any, ...],
    seed: jax.Array,
    first: int,
    on_many: bool,
    interpret: bool,
) -> list[optax.Params]:
    """Move the contents from number ``first`` on, with many leaves in one kernel."""
    structure: Any = jax.tree.structure(contents[0])
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(contents[0])[0]]
    lefts = [None] * len(paths) if left is None else structure.flatten_up_to(left)
    ends, *us = (structure.flatten_up_to(tree) for tree in (end, *contents))
    leaves = [
        Leaf(neighbour, tuple(of_leaf), u_end if u_end.shape == of_leaf[0].shape else None)
        for neighbour, u_end, *of_leaf in zip(lefts, ends, *map(list, us), strict=True)
    ]
    b, a, right_is_due, gains = zip(*fixed, strict=True)
    always = jnp.ones((), bool)
    links = [always if due is None else due, *right_is_due, *b]
    links += [jnp.zeros_like(one) if other is None else other for one, other in zip(b, a, strict=True)]
    links += [jnp.zeros_like(b[0])] * 2 if gains[0] is None else gains[0]
    plan = Plan(tuple(one is not None for one in a), gains[0] is not None, on_many, 0, interpret)
    moved: dict[int, tuple[jax.Array, ...]] = {}
    for group in _together(leaves):
        targets = [jnp.zeros_like(b[0]) if leaves[n].end is not None else ends[n] for n in group]
        row = jnp.stack([number.astype(b[0].dtype) for number in (*links, *targets)])
        rounded = any(map(is_low_precision, jax.tree.leaves([leaves[n].contents for n in group])))
        seeds = None
        if rounded:
            of_each = [(n, combine_seeds(seed, first + k)) for n in group for k in range(len(us))]
            seeds = jnp.stack([leaf_seed(of_content, paths[n]) for n, of_content in of_each])
        results = _moved(plan)(Numbers(row, seeds), [leaves[n] for n in group])
        moved.update(zip(group, results, strict=True))
    return [structure.unflatten([moved[n][k] for n in range(len(leaves))]) for k in range(len(contents))]


def _together(leaves: list[Leaf]) -> list[list[int]]:
    """Groups of leaves that share a kernel: small leaves whose arrays have the same dtypes."""

    def kind(n: int) -> tuple[Any, ...]:
        dtypes = [
            None if x is None else x.dtype for x in jax.tree.leaves(leaves[n], is_leaf=lambda x: x is None)
        ]
        return *_sizes(leaves[n].contents[0]), *map(str, dtypes)

    most = max(1, CONTENTS // len(leaves[0].contents))
    groups: list[list[int]] = []
    for (is_large, *_), numbers in itertools.groupby(sorted(range(len(leaves)), key=kind), kind):
        alike = [*numbers]
        size = 1 if is_large else -(-len(alike) // -(-len(alike) // most))  # groups as equal as can be
        groups += [alike[start : start + size] for start in range(0, len(alike), size)]
    return groups


def _moved(plan: Plan) -> Callable[[Numbers, list[Leaf]], list[tuple[jax.Array, ...]]]:
    """A function that moves some leaves with one kernel, and to which ``jax.vmap`` adds leading axes."""

    @jax.custom_batching.custom_vmap
    def moved(numbers: Numbers, leaves: list[Leaf]) -> list[tuple[jax.Array, ...]]:
        shapes = tuple(leaf.contents[0].shape for leaf in leaves)
        local = partial(_move_shards, plan, shapes)
        if not plan.on_many:
            return local(numbers, leaves, None)
        return on_each_shard(local, numbers, leaves, [leaf.contents for leaf in leaves])

    @moved.def_vmap
    def _(size: int, is_mapped: Any, numbers: Numbers, leaves: list[Leaf]) -> Any:
        numbers, leaves = jax.tree.map(
            lambda x, mapped: x if mapped else jnp.broadcast_to(x, (size, *x.shape)),
            (numbers, leaves),
            tuple(is_mapped),
        )
        results = _moved(plan._replace(n_axes=plan.n_axes + 1))(numbers, leaves)
        return results, jax.tree.map(lambda _: True, results)

    return moved


class Layout(NamedTuple):
    """How the arrays of a kernel are laid out."""

    unit: int  # that sizes are multiples of
    n_lanes: int  # programs for a member
    local: tuple[tuple[int, ...], ...]  # shapes of the leaves on this device
    whole: tuple[tuple[int, ...], ...]


@partial(jax.jit, static_argnums=(0, 1))
def _move_shards(
    plan: Plan,
    shapes: tuple[tuple[int, ...], ...],
    numbers: Numbers,
    leaves: list[Leaf],
    starts: jax.Array | None,
) -> list[tuple[jax.Array, ...]]:
    """Move the contents on one device, with one kernel.

    Args:
        plan: the plan of the kernel.
        shapes: shapes of the whole leaves.
        numbers: the numbers of all members.
        leaves: the arrays on this device.
        starts: where they start in the whole leaves, for all axes of all leaves; None if they are whole.
    """
    from jax.experimental import pallas as pl  # takes a third of a second
    from jax.experimental.pallas import triton

    cut = plan.n_axes
    local = tuple(leaf.contents[0].shape for leaf in leaves)
    n_members = math.prod(local[0][:cut])
    sizes = [math.prod(shape[cut:]) for shape in local]
    blocks = [-(-size // BLOCK) for size in sizes]
    # A leaf's lanes are its share of the programs, as large as its share of the blocks. Sizes come in a
    # table, and the number of programs is a power of two: so the kernels of many leaves are one to XLA.
    n_lanes = max(len(local), min(max(1, PROGRAMS // n_members), 1 << (sum(blocks) - 1).bit_length()))
    lanes = [1 + (n_lanes - len(local)) * block // sum(blocks) for block in blocks]
    unit = UNIT if all(size % UNIT == 0 for size in sizes) else 1
    whole = [math.prod(shape[cut:]) for shape in shapes]
    table = zip(
        itertools.accumulate([0, *lanes[:-1]]), lanes, [size // unit for size in sizes], whole, strict=True
    )

    def rows(x: jax.Array) -> jax.Array:
        """One for each member."""
        return x.reshape((math.prod(x.shape[:cut]), -1) if cut else -1)

    contents = [leaf.contents for leaf in leaves]
    arguments = (
        jax.tree.map(rows, numbers),
        jnp.asarray(np.array([*table], np.int32).ravel()),
        starts,
        jax.tree.map(rows, [leaf._replace(contents=()) for leaf in leaves]),
    )
    n_others = len(jax.tree.leaves(arguments))
    flat = jax.tree.map(rows, contents)
    moved = pl.pallas_call(
        partial(_kernel, plan, Layout(unit, n_lanes, local, shapes)),
        flat,  # what the results are like, which are written in place of them
        grid=(n_members * n_lanes,),
        input_output_aliases={n_others + n: n for n in range(len(jax.tree.leaves(flat)))},
        interpret=plan.interpret,
        compiler_params=triton.CompilerParams(num_warps=4),
        name="complex_synapse",
    )(*arguments, flat)
    return [tuple(new.reshape(shape) for new in of_leaf) for of_leaf, shape in zip(moved, local, strict=True)]


def _kernel(
    plan: Plan,
    layout: Layout,
    numbers: Any,
    table: Any,
    starts: Any,
    leaves: list[Any],
    contents: list[Any],
    *results: Any,
) -> None:
    """One program: the contents of one member of one leaf, in one lane.

    All leaves share the lines below. A program masks the loads and stores of other leaves. Separate lines for
    each leaf would take longer to compile.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    n_contents = len(contents[0])
    n_lanes = jnp.int32(layout.n_lanes)
    member, lane = lax.div(pl.program_id(0), n_lanes), lax.rem(pl.program_id(0), n_lanes)
    leaf = jnp.int32(0)
    for n in range(1, len(leaves)):
        leaf += (lane >= table[4 * n]).astype(jnp.int32)
    first, lanes, size, whole = (table[4 * leaf + column] for column in range(4))
    size *= layout.unit
    lane -= first
    is_own = [(leaf == n) & (lane < lanes) for n in range(len(leaves))]  # some lanes may be left over

    def own(arrays: list[jax.Array]) -> jax.Array:
        value = arrays[0]
        for mine, other in zip(is_own[1:], arrays[1:], strict=True):
            value = jnp.where(mine, other, value)
        return value

    index_of = partial(_index_in_whole, plan.n_axes, layout, starts)
    row = own(index_of(member, of_members=True))

    def of_row(numbers: Any, k: Any) -> jax.Array:
        return numbers[row, k] if plan.n_axes else numbers[k]

    def number(group: int, k: Any) -> jax.Array:
        return of_row(numbers.row, (0, 1 + n_contents, 1 + 2 * n_contents, 1 + 3 * n_contents)[group] + k)

    def move_block(trip: jax.Array, _: None) -> None:
        start = (lane + trip * lanes) * BLOCK
        offsets = start + lax.iota(jnp.int32, BLOCK)
        block = (member, pl.ds(start, BLOCK)) if plan.n_axes else pl.ds(start, BLOCK)
        masks = [(offsets < size) & mine for mine in is_own]

        def load(*refs: Any) -> jax.Array:
            return own([triton.load(ref.at[block], mask=mask) for ref, mask in zip(refs, masks, strict=True)])

        def store(k: int, u: jax.Array) -> None:
            for result, mask in zip(results, masks, strict=True):
                triton.store(result[k].at[block], u, mask=mask)

        def rounded(k: int, u: jax.Array) -> jax.Array:
            dtype = results[0][k].dtype
            if not is_low_precision(results[0][k]):
                return u.astype(dtype)
            seed = of_row(numbers.seeds, leaf * n_contents + k)
            index = own(index_of(offsets.astype(jnp.uint32), of_members=False))
            return round_by(uniform(index + seed * whole.astype(jnp.uint32), seed), u, dtype)

        def exchange(k: int, u: jax.Array) -> jax.Array:
            """Content k after the link on its right, and all contents after it whose links are due."""
            if k + 1 < n_contents:
                w = load(*(us[k + 1] for us in contents))
            elif leaves[0].end is None:
                w = number(3, 2 + leaf).astype(jnp.float32)
            else:
                w = load(*(leaf.end for leaf in leaves))
            u = rounded(k, from_right(u, (number(2, k), w)) if plan.flows_back[k] else u)
            if k + 1 < n_contents:
                go_on(k + 1, from_left(w, u, number(1, k + 1), None))
            return u

        def go_on(k: int, u: jax.Array) -> None:
            """Store content k after the link on its left and, if that is due, the link on its right."""
            store(k, lax.cond(number(0, k + 1) != 0, partial(exchange, k), partial(rounded, k), u))

        u = load(*(us[0] for us in contents))
        if leaves[0].left is None:
            store(0, exchange(0, u))
        else:
            left = jax.tree.map(load, *(leaf.left for leaf in leaves))
            gain = (number(3, 0), number(3, 1)) if plan.gains else None
            go_on(0, from_left(u, left, number(1, 0), gain))

    n_trips = lax.div(size + BLOCK * lanes - 1, BLOCK * lanes)
    first_is_due = number(0, 1 if leaves[0].left is None else 0) != 0
    pl.when(first_is_due)(lambda: lax.fori_loop(0, n_trips, move_block, None))


def _index_in_whole(
    n_axes: int, layout: Layout, starts: Any, flat: jax.Array, *, of_members: bool
) -> list[jax.Array]:
    """For each leaf, the row-major index in the whole of a member, or of an element of a member."""
    indices, n_before = [], 0
    for local, whole in zip(layout.local, layout.whole, strict=True):
        index, rest, stride = jnp.zeros_like(flat), flat, 1
        axes = range(n_axes) if of_members else range(n_axes, len(local))
        for axis in reversed(axes):
            size = jnp.array(local[axis], flat.dtype)
            place = starts[n_before + axis].astype(flat.dtype) if starts is not None else 0
            index += jnp.array(stride % 2**32, flat.dtype) * (place + lax.rem(rest, size))
            rest, stride = lax.div(rest, size), stride * whole[axis]
        indices.append(index if local != whole else flat)
        n_before += len(local)
    return indices
