"""On a GPU: one kernel moves the hidden beakers through the links that may rest, and decides by itself which do.

XLA's loops (`_xla.sweep`) make the host wait for each decision, and XLA reads whole arrays where the link that
needs them rests. Every program of this kernel reads the decisions from a small vector. It moves its blocks of
an array through the links that are due, reading and writing each beaker once, and touches no other beaker.
The exchange of link 1 stays with XLA, which computes it together with the optimizer in front.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from cs_optax._platforms import on_gpu
from cs_optax._shards import on_each_shard
from cs_optax._step import Weight, from_left, from_right
from cs_optax._xla import (
    Move,
    combine_seeds,
    is_complex,
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
POINTERS = 400  # arrays of one kernel, at most: CUDA passes 4 kB of arguments


class Leaf(NamedTuple):
    """The arrays of one leaf, all of one shape; under ``jax.vmap`` with leading axes."""

    left: Weight | jax.Array | None  # the left neighbour, which has moved; None: the first content itself has
    contents: tuple[jax.Array, ...]
    end: jax.Array | None  # None: a number


class Numbers(NamedTuple):
    """What the links do; rows of numbers, under ``jax.vmap`` one for each member."""

    # For m contents: whether the links left and right of them exchange, 1 or 0, [1 + m]; b of the links on their
    # left, [m]; a of those on their right, [m]; the two numbers of Links.gain; and where each leaf leaks to.
    row: jax.Array
    seeds: jax.Array | None  # uint32, m for each leaf, where contents are rounded


class Plan(NamedTuple):
    """What is known of a kernel before it is compiled."""

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
    """As :func:`sweep`; on a GPU the kernel moves what it can.

    Args:
        move: as there.
        due: as there.
        contents: as there.
        left: as there.
        end: as there.
        fixed: as there.
        seed: as there.
        interpret: whether Pallas interprets the kernel, on any platform.
    """
    operands = due, contents, left, end, fixed, seed
    present = partial(sweep, move)
    # Where no link may rest, XLA makes one loop of all.
    if not contents or fixed[-1][2] is None or any(map(on_host, jax.tree.leaves((contents, end)))):
        return present(*operands)
    structure: Any = jax.tree.structure(contents[0])
    columns = zip(*(structure.flatten_up_to(tree) for tree in (left, end, *contents)), strict=True)
    fits = [_fits(*column) for column in columns]
    if not any(fits):
        return present(*operands)
    by_kernel = partial(_sweep_by_kernel, move, fits, interpret)
    return on_gpu(by_kernel, present, interpret, *operands)


def _fits(left: Weight, *arrays: jax.Array) -> bool:
    """Whether the kernel can move a leaf: real numbers of at least 16 bits, their indices of 32 bits."""
    real = (not is_complex(x) and jnp.finfo(x.dtype).bits >= 16 for x in (left.value, *arrays))
    return all(real) and 0 < left.value.size < 2**31


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
    """The leaves that fit by the kernel, the others as without it."""
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
        ours[first:] = _launch(due[first], ours[first:], left, end, fixed[first:], seed, first, on_many, interpret)
    if all(fits):
        return tuple(ours)
    kept = sweep(move, due, tuple(others[2:]), others[0], others[1], fixed, seed)
    merged = []
    for tree, other in zip(ours, kept, strict=True):
        pairs = zip(fits, structure.flatten_up_to(tree), structure.flatten_up_to(other), strict=True)
        merged.append(structure.unflatten([one if fit else another for fit, one, another in pairs]))
    return tuple(merged)


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
    """The contents, from number ``first`` on, moved; many leaves by one kernel."""
    structure: Any = jax.tree.structure(contents[0])
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(contents[0])[0]]
    lefts = [None] * len(paths) if left is None else structure.flatten_up_to(left)
    ends, *us = (structure.flatten_up_to(tree) for tree in (end, *contents))
    leaves = [
        Leaf(neighbour, of_leaf, u_end if u_end.shape == of_leaf[0].shape else None)
        for neighbour, u_end, *of_leaf in zip(lefts, ends, *map(list, us), strict=True)
    ]
    b, a, right_is_due, gains = zip(*fixed, strict=True)
    always = jnp.ones((), bool)
    links = [always if due is None else due, *right_is_due, *b]
    links += [jnp.zeros_like(one) if other is None else other for one, other in zip(b, a, strict=True)]
    links += [jnp.zeros_like(b[0])] * 2 if gains[0] is None else gains[0]
    plan = Plan(tuple(one is not None for one in a), gains[0] is not None, on_many, 0, interpret)
    moved: dict[int, tuple[jax.Array, ...]] = {}
    # Leaves of one size next to each other: equal kernels are compiled once.
    order = sorted(range(len(leaves)), key=lambda n: leaves[n].contents[0].size)
    together = max(1, POINTERS // (2 * len(contents) + 3))
    for start in range(0, len(order), together):
        group = order[start : start + together]
        targets = [jnp.zeros_like(b[0]) if leaves[n].end is not None else ends[n] for n in group]
        row = jnp.stack([number.astype(b[0].dtype) for number in (*links, *targets)])
        rounded = any(map(is_low_precision, jax.tree.leaves([leaves[n].contents for n in group])))
        seeds = [leaf_seed(combine_seeds(seed, first + k), paths[n]) for n in group for k in range(len(us))]
        numbers = Numbers(row, jnp.stack(seeds) if rounded else None)
        results = _moved(plan)(numbers, [leaves[n] for n in group])
        moved.update(zip(group, results, strict=True))
    return [structure.unflatten([moved[n][k] for n in range(len(leaves))]) for k in range(len(contents))]


def _moved(plan: Plan) -> Callable[[Numbers, list[Leaf]], list[tuple[jax.Array, ...]]]:
    """The contents of some leaves after one kernel, as a function that ``jax.vmap`` gives leading axes."""

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


@partial(jax.jit, static_argnums=(0, 1))
def _move_shards(
    plan: Plan,
    shapes: tuple[tuple[int, ...], ...],
    numbers: Numbers,
    leaves: list[Leaf],
    starts: jax.Array | None,
) -> list[tuple[jax.Array, ...]]:
    """The contents that lie on one device, after one kernel.

    Args:
        plan: as of the kernel.
        shapes: of the whole leaves.
        numbers: with leading axes, whole.
        leaves: arrays of this device.
        starts: where they start in the whole leaves, for each axis of all of them; None where they are whole.
    """
    from jax.experimental import pallas as pl  # takes a third of a second
    from jax.experimental.pallas import triton

    members = plan.n_axes
    parts, n_programs, n_axes = [], 0, 0
    for leaf, whole in zip(leaves, shapes, strict=True):
        local = leaf.contents[0].shape
        part = _Part(members, local, whole, n_programs, n_axes)
        parts.append(part)
        n_programs, n_axes = n_programs + part.n_members * part.n_lanes, n_axes + len(local)
    numbers = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), numbers)
    leaves = jax.tree.map(lambda x: x.reshape(math.prod(x.shape[:members]), -1), leaves)
    # Contents are the last arguments, in place of which the results are written.
    arguments = numbers, starts, [leaf._replace(contents=()) for leaf in leaves]
    contents = [leaf.contents for leaf in leaves]
    n_others = len(jax.tree.leaves(arguments))
    moved = pl.pallas_call(
        partial(_kernel, plan, parts),
        jax.tree.map(lambda u: jax.ShapeDtypeStruct(u.shape, u.dtype), contents),
        grid=(n_programs,),
        input_output_aliases={n_others + n: n for n in range(len(jax.tree.leaves(contents)))},
        interpret=plan.interpret,
        compiler_params=triton.CompilerParams(num_warps=4),
        name="complex_synapse",
    )(*arguments, contents)
    return [
        tuple(u.reshape(part.local) for u in of_leaf) for of_leaf, part in zip(moved, parts, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class _Part:
    """The programs that work on one leaf: so many lanes for each member, each moving every so many blocks."""

    n_leading: int  # axes of members
    local: tuple[int, ...]  # shape on this device
    whole: tuple[int, ...]
    first_program: int
    first_axis: int  # among those of all leaves

    @property
    def n_members(self) -> int:
        return math.prod(self.local[: self.n_leading])

    @property
    def size(self) -> int:
        """Elements of a member."""
        return math.prod(self.local[self.n_leading :])

    @property
    def block(self) -> int:
        """Elements that a program moves at once, a power of two."""
        return min(BLOCK, 1 << (self.size - 1).bit_length())

    @property
    def n_lanes(self) -> int:
        return min(-(-self.size // self.block), max(1, PROGRAMS // self.n_members))

    def index(self, flat: jax.Array, starts: Any, of_members: bool) -> jax.Array:
        """The row-major index, in the whole, of a member of this device or of an element of a member."""
        axes = range(self.n_leading) if of_members else range(self.n_leading, len(self.local))
        if all(self.local[axis] == self.whole[axis] for axis in axes):
            return flat
        index, stride = jnp.zeros_like(flat), 1
        for axis in reversed(axes):
            size = jnp.array(self.local[axis], flat.dtype)
            place = starts[self.first_axis + axis].astype(flat.dtype) + lax.rem(flat, size)
            index += jnp.array(stride % 2**32, flat.dtype) * place
            flat, stride = lax.div(flat, size), stride * self.whole[axis]
        return index


def _kernel(
    plan: Plan, parts: list[_Part], numbers: Any, starts: Any, leaves: Any, contents: Any, *results: Any
) -> None:
    """One program: the leaf, the member and the blocks that are its own."""
    from jax.experimental import pallas as pl

    program = pl.program_id(0)
    for n, part in enumerate(parts):
        own = program - part.first_program
        leaf = leaves[n]._replace(contents=contents[n])
        work = partial(_move_leaf, plan, part, n, numbers, starts, leaf, results[n], own)
        if len(parts) == 1:
            work()
        else:
            pl.when((own >= 0) & (own < part.n_members * part.n_lanes))(work)


def _move_leaf(
    plan: Plan, part: _Part, n: int, numbers: Any, starts: Any, leaf: Any, results: Any, program: jax.Array
) -> None:
    """The contents of one member in one lane: those links are run through that are due."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    n_contents = len(leaf.contents)
    lanes = jnp.int32(part.n_lanes)
    member, lane = lax.div(program, lanes), lax.rem(program, lanes)
    row = part.index(member, starts, of_members=True)

    def number(group: int, k: int) -> jax.Array:
        return numbers.row[row, (0, 1 + n_contents, 1 + 2 * n_contents, 1 + 3 * n_contents)[group] + k]

    def move_block(trip: jax.Array, _: None) -> None:
        start = (lane + trip * lanes) * part.block
        offsets = start + lax.iota(jnp.int32, part.block)
        inside = offsets < part.size

        def load(ref: Any) -> jax.Array:
            return triton.load(ref.at[member, pl.ds(start, part.block)], mask=inside, other=0)

        def store(k: int, u: jax.Array) -> jax.Array:
            ref = results[k]
            if is_low_precision(ref):
                seed = numbers.seeds[row, n * n_contents + k]
                index = part.index(offsets.astype(jnp.uint32), starts, of_members=False)
                size = math.prod(part.whole[part.n_leading :])
                u = round_by(uniform(index + seed * jnp.uint32(size % 2**32), seed), u, ref.dtype)
            u = u.astype(ref.dtype)
            triton.store(ref.at[member, pl.ds(start, part.block)], u, mask=inside)
            return u

        def exchange(k: int, u: jax.Array) -> None:
            """Through the link on the right of content k, and on."""
            if k + 1 < n_contents:
                w = load(leaf.contents[k + 1])
            elif leaf.end is not None:
                w = load(leaf.end)
            else:
                w = number(3, 2 + n).astype(jnp.float32)
            u = store(k, from_right(u, (number(2, k), w)) if plan.flows_back[k] else u)
            if k + 1 < n_contents:
                go_on(k + 1, from_left(w, u, number(1, k + 1), None))

        def go_on(k: int, u: jax.Array) -> None:
            lax.cond(number(0, k + 1) != 0, lambda: exchange(k, u), lambda: None if store(k, u) is None else None)

        u = load(leaf.contents[0])
        if leaf.left is None:
            exchange(0, u)
        else:
            gain = (number(3, 0), number(3, 1)) if plan.gains else None
            go_on(0, from_left(u, jax.tree.map(load, leaf.left), number(1, 0), gain))

    n_trips = -(-part.size // (part.block * part.n_lanes))
    is_due = number(0, 1 if leaf.left is None else 0) != 0
    pl.when(is_due)(lambda: lax.fori_loop(0, n_trips, move_block, None))
