"""Trees with matching leaves but different containers, or with masked parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax._xla import to_device, to_memory_of


def is_masked(node: Any) -> bool:
    """Whether ``optax.masked`` has excluded a node."""
    return isinstance(node, optax.MaskedNode)


def is_array(leaf: Any) -> bool:
    """Whether a leaf holds weights, and is not a function or a setting of a model."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def is_absent(node: Any) -> bool:
    """Whether a node is None or masked."""
    return node is None or is_masked(node)


def merge_masked(one: optax.Params, other: optax.Params) -> optax.Params:
    """One tree from two, each masked where the other is not. A mask may replace a whole subtree."""
    if is_absent(one):
        return other
    if is_absent(other):
        return one
    structure: Any
    same: Any
    children, structure = jax.tree.flatten(one, is_leaf=lambda node: node is not one)
    others, same = jax.tree.flatten(other, is_leaf=lambda node: node is not other)
    if jax.tree_util.all_leaves([one]) or structure != same:
        raise ValueError("opt_state must hold one complex synapse for each parameter, it holds several")
    return structure.unflatten(map(merge_masked, children, others))


def map_leaves(function: Callable[..., Any], tree: optax.Params, *others: optax.Params) -> optax.Params:
    """``jax.tree.map`` over leaves with the same path, in the containers of the first tree.

    Model libraries keep a parameter and its beakers in containers of different types. None and ``MaskedNode``
    are leaves; in the other trees they replace everything below them. Python numbers that are weights become
    arrays. Arrays in host memory are fetched, and the result for a leaf is kept in the memory of that leaf.
    """
    paths, structure = _paths(tree)
    tables = [dict(_paths(other)[0]) for other in others]
    own = dict(paths)
    for table in tables:
        for path, leaf in table.items():
            here = any(path[:length] in own for length in range(len(path) + 1))
            if is_array(leaf) and not here:
                _refuse_other_leaves(path)

    def counterpart(table: dict[Any, Any], path: tuple[Any, ...], leaf: Any) -> Any:
        for length in range(len(path), -1, -1):
            if path[:length] in table:
                found = table[path[:length]]
                if length < len(path) and is_array(found):
                    break
                if is_array(found) and not is_absent(leaf) and jnp.shape(found) != np.shape(leaf):
                    break
                return found
        return _refuse_other_leaves(path) if is_array(leaf) else None

    def of_leaf(path: tuple[Any, ...], leaf: Any) -> Any:
        leaves = [leaf, *(counterpart(table, path, leaf) for table in tables)]
        if any(map(is_array, leaves)) or all(isinstance(leaf, float | complex) for leaf in leaves):
            leaves = [leaf if is_absent(leaf) else to_device(jnp.asarray(leaf)) for leaf in leaves]
        result = function(*leaves)
        return to_memory_of(leaf, result) if is_array(leaf) and is_array(result) else result

    return structure.unflatten(of_leaf(path, leaf) for path, leaf in paths)


def _paths(tree: optax.Params) -> tuple[list[tuple[tuple[Any, ...], Any]], Any]:
    """All leaves with their paths, as plain keys, and the structure."""
    found, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_absent)

    def plain(entry: Any) -> Any:
        return next(getattr(entry, name) for name in ("key", "name", "idx") if hasattr(entry, name))

    return [(tuple(plain(entry) for entry in path), leaf) for path, leaf in found], structure


def _refuse_other_leaves(path: tuple[Any, ...]) -> Any:
    where = "/".join(map(str, path)) or "the root"
    raise ValueError(f"params must have the same leaves and shapes as the beakers; they differ at {where}")
