"""Checks of what ``init`` and ``update`` receive, and the beakers made from it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import DTypeLike

from cs_optax import _checks
from cs_optax._trees import is_masked
from cs_optax._xla import beaker_dtype_of, is_complex, is_low_precision
from cs_optax.chain import BeakerChain


def check_update(
    updates: optax.Updates, state: Any, params: optax.Params | None, n_beakers: int, keeps_initial: bool
) -> tuple[optax.Params, optax.Updates]:
    """Parameters and updates as arrays, if they match the state."""
    if params is None:
        raise ValueError("complex_synapse reads the weights: call update(updates, state, params) with params")
    params = _beside(updates, params)
    _check_state(state, params, n_beakers, keeps_initial)
    params, updates = jax.tree.map(jnp.asarray, (params, updates))
    check_shapes("updates", updates, "params", params)
    for update, param in zip(jax.tree.leaves(updates), jax.tree.leaves(params), strict=True):
        if not jnp.issubdtype(update.dtype, jnp.inexact):
            raise ValueError(f"updates must be floating-point or complex, got {update.dtype}")
        if is_complex(update) and not is_complex(param):
            raise ValueError(f"updates must be real where params are, got {update.dtype} for {param.dtype}")
    return params, updates


def _beside(updates: optax.Updates, params: optax.Params) -> optax.Params:
    """The parameters without leaves that have no update, such as the functions of an Equinox model."""
    try:
        known = jax.tree.map(
            lambda d, p: None if d is None else p, updates, params, is_leaf=lambda node: node is None
        )
    except ValueError:
        known = None
    ours: Any = jax.tree.structure(updates)
    theirs: Any = jax.tree.structure(params if known is None else known)
    if ours != theirs:
        raise ValueError(f"updates must have the structure of params, {theirs}, got {ours}")
    return known


def _check_state(state: Any, params: optax.Params, n_beakers: int, keeps_initial: bool) -> None:
    """Refuse a state made for another chain or for other parameters."""
    held = state.clocks.shape[1] - 1
    if held != n_beakers:
        raise ValueError(
            f"the state must have {n_beakers} beakers, like the transformation, but it has {held}: "
            "call init again, or see cs_optax.resize_beakers"
        )
    if (state.initial is not None) != keeps_initial:
        must, does = ("must", "does not") if keeps_initial else ("must not", "does")
        raise ValueError(f"the state {must} hold the initial parameters for this leak, but it {does}")
    now: Any = jax.tree.structure(params)
    for tree in (*state.beakers, *([] if state.initial is None else [state.initial])):
        was: Any = jax.tree.structure(tree)
        if was != now:
            raise ValueError(f"params must have the structure they had at init, {was}, got {now}")
        check_shapes("params", params, "the state", tree)


def check_shapes(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Refuse arrays whose shapes differ, even if they would broadcast."""
    shapes, expected = ([jnp.shape(leaf) for leaf in jax.tree.leaves(x)] for x in (tree, other))
    for shape, wanted in zip(shapes, expected, strict=True):
        if shape != wanted:
            raise ValueError(f"{name} must have the shapes of {other_name}, got {shape} for {wanted}")


def split_modulation(dt: jax.Array, modulation: Any, params: optax.Params) -> tuple[jax.Array, Any]:
    """The time step times one factor for all, or the time step and a tree of factors like ``params``."""
    if modulation is None or not jax.tree.leaves(params):
        return dt, None
    if jax.tree_util.all_leaves([modulation]) and np.ndim(modulation) == 0:
        if _checks.is_concrete(modulation):
            _checks.at_least_zero("modulation", modulation)
        return dt * jnp.maximum(jnp.asarray(modulation, dt.dtype), 0), None
    factors = broadcast_prefix("modulation", modulation, params)
    return dt, jax.tree.map(lambda factor: jnp.maximum(jnp.asarray(factor, dt.dtype), 0), factors)


def broadcast_prefix(name: str, prefix: Any, params: optax.Params) -> Any:
    """A tree like ``params`` of numbers and arrays that broadcast to its leaves."""
    try:
        tree = jax.tree.broadcast(prefix, params)
    except ValueError:
        ours, theirs = jax.tree.structure(params), jax.tree.structure(prefix)
        raise ValueError(
            f"{name} must be a number or a tree that is a prefix of params, {ours}, got {theirs}"
        ) from None

    def check(leaf: Any, p: Any) -> None:
        if not isinstance(leaf, bool | int | float) and not hasattr(leaf, "dtype"):
            raise ValueError(f"{name} must hold numbers or arrays, got {leaf!r}")
        shape, wanted = jnp.shape(leaf), jnp.shape(p)
        pairs = zip(shape[::-1], wanted[::-1], strict=False)
        if len(shape) > len(wanted) or any(m not in (1, n) for m, n in pairs):
            raise ValueError(
                f"{name} must have shapes that broadcast to those of params, got {shape} for {wanted}"
            )

    jax.tree.map(check, tree, params)
    return tree


def new_beaker(k: int, init: Any, params: optax.Params, beaker_dtype: DTypeLike | None) -> optax.Params:
    """Beaker k at the start."""
    if isinstance(init, str):
        return jax.tree.map(lambda p: _new_leaf(p, p, beaker_dtype, empty=init == "zero"), params)
    start = init(k, params) if _checks.is_function(init) else init
    with suppress(ValueError):  # of other structures, which is said below
        start = jax.tree.map(lambda p, u: p if is_masked(p) else u, params, start, is_leaf=is_masked)
    ours: Any = jax.tree.structure(start)
    theirs: Any = jax.tree.structure(params)
    if ours != theirs:
        raise ValueError(f"init must have the structure of params, {theirs}, got {ours}")
    check_shapes("init", start, "params", params)
    return jax.tree.map(lambda p, u: _new_leaf(p, u, beaker_dtype), params, start)


def check_parameter(param: Any) -> None:
    """Refuse a parameter whose changes no beaker could hold."""
    if callable(param) or not jnp.issubdtype(jnp.result_type(param), jnp.inexact):
        kind = repr(param) if callable(param) else jnp.result_type(param)
        raise ValueError(
            f"params must be floating-point or complex, got a leaf of {kind}: exclude it, "
            "for example with optax.masked or equinox.filter"
        )


def _new_leaf(param: Any, start: Any, beaker_dtype: Any, empty: bool = False) -> Any:
    """A beaker of one parameter that starts as ``start``, or empty."""
    is_abstract = isinstance(param, jax.ShapeDtypeStruct)
    dtype = beaker_dtype_of(param if is_abstract else jnp.asarray(param), beaker_dtype)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(f"beaker_dtype must be available, got {dtype}, which needs jax_enable_x64")
    if is_abstract:
        return param.update(dtype=dtype, weak_type=False)
    beaker = jnp.array(start, dtype)
    if not empty:
        return beaker
    # A choice that the compiler cannot foresee: zeros that depend on nothing would, under jax.jit, be
    # replicated over all devices where the parameter is sharded.
    never = lax.optimization_barrier(jnp.array(False))
    return jnp.where(never, beaker, jnp.zeros_like(beaker))


def copy_leaf(param: Any) -> Any:
    """A copy that is not weakly typed, as a restored state never is. A Python number would be."""
    if isinstance(param, jax.ShapeDtypeStruct):
        return param.update(weak_type=False)
    return jnp.array(param, jnp.result_type(param))


def warn_of_coarse_parameters(
    params: optax.Params,
    chain: BeakerChain | None,
    time_step: optax.ScalarOrSchedule,
    recall: optax.ScalarOrSchedule,
) -> None:
    """Warn of weights in which the flow of one step rounds to nothing."""
    if chain is None or not chain.is_known or chain.n_beakers < 2:
        return
    share = chain.conductances[0] / chain.capacities[0]
    for factor in (time_step, recall):  # a schedule mostly begins at 1
        share *= float(factor) if _checks.is_concrete(factor) else 1.0
    for leaf in filter(lambda leaf: hasattr(leaf, "dtype"), jax.tree.leaves(params)):
        if not is_low_precision(leaf):
            continue
        if 0 < share < float(jnp.finfo(leaf.dtype).eps) / 2:
            _checks.warn(
                f"parameters of {leaf.dtype} are too coarse for this chain: a step returns {share:.1e} of "
                "the difference between two beakers, which is less than the spacing of their numbers. Keep "
                "the parameters in float32, and cast them for the forward pass."
            )
            return
