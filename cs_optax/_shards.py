"""A computation on each shard of sharded arrays, without communication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.custom_partitioning import ArrayMapping, SdyShardingRule, custom_partitioning
from jax.extend import core
from jax.interpreters import mlir
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cs_optax._platforms import lower_without_mesh

# (replicated, groups, starts) -> results, as `on_each_shard` calls it
Local = Callable[[Any, list[Any], jax.Array | None], list[Any]]


_shard = core.Primitive("synapse_on_shard")
_shard.multiple_results = True


@_shard.def_abstract_eval
def _(*flat: Any, function: Any, made: Any) -> Any:
    del flat, function
    return made


def _lower(ctx: Any, *flat: Any, function: Any, made: Any) -> Any:
    """Lower the computation on a shard, with short source locations.

    XLA inlines it into a program with its own numbering of stack frames. Frames of nested calls can then form
    a circle, in which XLA would not terminate.
    """
    del made
    name = "jax_include_full_tracebacks_in_locations"
    before = getattr(jax.config, name)
    jax.config.update(name, False)
    try:
        return lower_without_mesh(function, ctx, *flat)
    finally:
        jax.config.update(name, before)


mlir.register_lowering(_shard, _lower)


def on_each_shard(local: Local, replicated: Any, groups: list[Any], likes: list[Any]) -> list[Any]:
    """Apply ``local`` to the shards of every device; on one device, to the whole arrays.

    Args:
        local: called with the replicated arrays, the groups' shards, and the int32 indices at which a shard
            starts in the whole, for all groups one after the other; None if there is only one shard.
        replicated: a tree of arrays.
        groups: trees of arrays. All arrays of one group have the same shape.
        likes: for each group, a tree of arrays like the results, with the shape of the group.

    Returns:
        What ``local`` returns.
    """

    @custom_partitioning
    def whole(replicated: Any, groups: list[Any]) -> list[Any]:
        return local(replicated, groups, None)

    def results_like_operands(mesh: Any, operands: Any, results: Any) -> Any:
        shardings = [jax.tree.leaves(group)[0].sharding for group in operands[1]]
        return _alike(shardings, results)

    def partition(mesh: Any, operands: Any, results: Any) -> Any:
        del mesh
        firsts = [jax.tree.leaves(group)[0] for group in results]
        # For each group, which part of the whole each device has.
        maps = [like.sharding.devices_indices_map(like.shape) for like in firsts]
        devices = list(maps[0])
        starts = np.array(
            [[axis.start or 0 for indices in maps for axis in indices[device]] for device in devices],
            np.int32,
        )
        mesh = Mesh(np.array(devices), ("device",))
        nothing = NamedSharding(mesh, PartitionSpec())
        shardings = (
            jax.tree.map(lambda _: nothing, operands[0]),
            _alike([x.sharding for x in firsts], operands[1]),
        )

        def on_a_shard(replicated: Any, groups: list[Any]) -> list[Any]:
            structure: Any
            flat, structure = jax.tree.flatten((replicated, groups))

            def function(*flat: jax.Array) -> list[jax.Array]:
                replicated, groups = structure.unflatten(flat)
                mine = jnp.asarray(starts)[lax.axis_index("device")]
                return jax.tree.leaves(local(replicated, groups, mine))

            made = tuple(
                jax.core.ShapedArray(jax.tree.leaves(group)[0].shape, result.dtype)
                for group, of_group in zip(groups, results, strict=True)
                for result in jax.tree.leaves(of_group)
            )
            whole_structure: Any = jax.tree.structure(results)
            return whole_structure.unflatten(_shard.bind(*flat, function=function, made=made))

        return mesh, on_a_shard, _alike([x.sharding for x in firsts], results), shardings

    whole.def_partition(
        partition, results_like_operands, sharding_rule=_elementwise(replicated, groups, likes)
    )
    return whole(replicated, groups)


def _alike(shardings: list[Any], groups: list[Any]) -> list[Any]:
    """Each group, with one sharding for all its arrays."""
    return [jax.tree.map(lambda _, one=one: one, group) for one, group in zip(shardings, groups, strict=True)]


def _elementwise(replicated: Any, groups: list[Any], likes: list[Any]) -> SdyShardingRule:
    """The rule that all arrays of a group are divided in the same way along each axis."""

    def mapped(letter: str, tree: Any) -> list[ArrayMapping]:
        return [
            ArrayMapping(*(f"{letter}{axis}" for axis in range(jnp.ndim(x)))) for x in jax.tree.leaves(tree)
        ]

    whole = [
        ArrayMapping(*(f"r{n}_{axis}" for axis in range(jnp.ndim(x))))
        for n, x in enumerate(jax.tree.leaves(replicated))
    ]
    operands, results = (
        [mapping for n, group in enumerate(trees) for mapping in mapped(f"g{n}_", group)]
        for trees in (groups, likes)
    )
    factors = tuple(factor for mapping in whole for factor in mapping)
    return SdyShardingRule((*whole, *operands), tuple(results), need_replication_factors=factors)
