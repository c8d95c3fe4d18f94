"""What ``init`` and ``update`` are given: whether it belongs together, and the beakers made from it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cs_optax import _checks
from cs_optax._xla import beaker_dtype_of, is_low_precision
from cs_optax.chain import BeakerChain


def check_update(
    updates: Any, state: Any, params: Any, n_beakers: int, keeps_initial: bool
) -> tuple[optax.Params, optax.Updates]:
    """Parameters and updates as arrays, where they and the state belong together."""
    if params is None:
        raise ValueError("complex_synapse reads the weights: call update(updates, state, params) with params")
    params = _beside(updates, params)
    _check_state(state, params, n_beakers, keeps_initial)
    params, updates = jax.tree.map(jnp.asarray, (params, updates))
    check_shapes("updates", updates, "params", params)
    for update in jax.tree.leaves(updates):
        if not jnp.issubdtype(update.dtype, jnp.inexact):
            raise ValueError(f"updates must be floating-point or complex, got {update.dtype}")
    return params, updates


def _beside(updates: Any, params: Any) -> Any:
    """The parameters without what has no update, such as the functions in a whole Equinox model."""
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


def _check_state(state: Any, params: Any, n_beakers: int, keeps_initial: bool) -> None:
    """Refuse a state that was made for another chain or for other parameters."""
    held = state.clocks.shape[1] - 1
    if held != n_beakers:
        raise ValueError(
            f"the state must be of {n_beakers} beakers, as the transformation, but it is of {held}: "
            "call init again, or see cs_optax.resize_beakers"
        )
    if (state.initial is not None) != keeps_initial:
        it_is, must_be = ("without", "with") if keeps_initial else ("with", "without")
        raise ValueError(f"the state must be {must_be} initial parameters, as the leak asks, it is {it_is}")
    now: Any = jax.tree.structure(params)
    for tree in (*state.beakers, *([] if state.initial is None else [state.initial])):
        was: Any = jax.tree.structure(tree)
        if was != now:
            raise ValueError(f"params must have the structure they had at init, {was}, got {now}")
        check_shapes("params", params, "the state", tree)


def check_shapes(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Refuse arrays that would have to be broadcast."""
    shapes, expected = ([jnp.shape(leaf) for leaf in jax.tree.leaves(x)] for x in (tree, other))
    for shape, wanted in zip(shapes, expected, strict=True):
        if shape != wanted:
            raise ValueError(f"{name} must have the shapes of {other_name}, got {shape} for {wanted}")


def split_modulation(dt: jax.Array, modulation: Any, params: optax.Params) -> tuple[jax.Array, Any]:
    """The time step with one factor for all, or as it was and a tree of factors like ``params``."""
    if modulation is None:
        return dt, None
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(modulation)) and np.ndim(modulation) == 0:
        return dt * jnp.asarray(modulation, dt.dtype), None
    try:
        factors = jax.tree.broadcast(modulation, params)
    except ValueError:
        raise ValueError(
            "modulation must be a number or a tree that is a prefix of params, "
            f"{jax.tree.structure(params)}, got {jax.tree.structure(modulation)}"
        ) from None

    def check(factor: Any, p: jax.Array) -> jax.Array:
        factor = jnp.asarray(factor, dt.dtype)
        pairs = zip(factor.shape[::-1], p.shape[::-1], strict=False)
        if factor.ndim > p.ndim or any(m not in (1, n) for m, n in pairs):
            raise ValueError(
                "modulation must have shapes that broadcast to those of params, "
                f"got {factor.shape} for {p.shape}"
            )
        return factor

    return dt, jax.tree.map(check, factors, params)


def new_beaker(k: int, init: Any, params: optax.Params, beaker_dtype: Any) -> optax.Params:
    """Beaker k as it starts."""
    if isinstance(init, str):
        return jax.tree.map(lambda p: _new_leaf(p, p, beaker_dtype, empty=init == "zero"), params)
    start = init(k, params) if _checks.is_function(init) else init
    ours: Any = jax.tree.structure(start)
    theirs: Any = jax.tree.structure(params)
    if ours != theirs:
        raise ValueError(f"init must give the structure of params, {theirs}, got {ours}")
    check_shapes("init", start, "params", params)
    return jax.tree.map(lambda p, u: _new_leaf(p, u, beaker_dtype), params, start)


def _new_leaf(param: Any, start: Any, beaker_dtype: Any, empty: bool = False) -> Any:
    """A beaker of one parameter that starts as ``start``, or empty."""
    if callable(param) or not jnp.issubdtype(jnp.result_type(param), jnp.inexact):
        kind = repr(param) if callable(param) else jnp.result_type(param)
        raise ValueError(
            f"params must be floating-point or complex, got a leaf of {kind}: leave it out, "
            "by optax.masked for example, or by equinox.filter"
        )
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
    """A copy that is not weakly typed, as a Python number would be: any restored state is strong."""
    if isinstance(param, jax.ShapeDtypeStruct):
        return param.update(weak_type=False)
    return jnp.array(param, jnp.result_type(param))


def warn_of_coarse_parameters(params: optax.Params, chain: BeakerChain | None, time_step: Any) -> None:
    """Warn of weights that round away what the chain gives back in one step."""
    if chain is None or not chain.is_known or chain.n_beakers < 2 or not _checks.is_concrete(time_step):
        return
    for leaf in filter(lambda leaf: hasattr(leaf, "dtype"), jax.tree.leaves(params)):
        if not is_low_precision(leaf):
            continue
        share = float(time_step) * chain.conductances[0] / chain.capacities[0]
        if share < float(jnp.finfo(leaf.dtype).eps) / 2:
            _checks.warn(
                f"parameters of {leaf.dtype} are too coarse for this chain: a step gives back "
                f"{share:.1e} of the difference between two beakers, and their numbers are further apart. "
                "Keep the parameters in float32, and cast them where they are used."
            )
            return
