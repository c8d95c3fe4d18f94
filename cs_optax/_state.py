"""Reading and changing the beakers inside any composed Optax state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import _checks
from cs_optax._averaging import Averaging
from cs_optax._inputs import broadcast_prefix
from cs_optax._step import exchange_coefficients, shares
from cs_optax._transform import ComplexSynapseState
from cs_optax._trees import is_array, is_masked, map_leaves, merge_masked
from cs_optax._xla import to_device, to_host, wide_dtype
from cs_optax.chain import BeakerChain


def get_beakers(opt_state: optax.OptState, *, params: optax.Params | None = None) -> tuple[optax.Params, ...]:
    """The hidden beakers in an optimizer state, wherever they are in it.

    A slow link waits many steps before it exchanges (:meth:`BeakerChain.exchange_periods`), so its beakers
    lag behind. With ``params``, the beakers are returned as if every link had just exchanged.

    To evaluate slow weights, read a middle beaker. If ``beta`` is longer than the training, the last beaker
    hardly leaves its initial value. The function can be jitted.

    Args:
        opt_state: the state of any composition that contains :func:`complex_synapse`, or a Flax
            ``nnx.Optimizer``.
        params: tree of ``u_1``, with which the links first exchange what they still owe.

    Returns:
        ``(u_2, …, u_K)``, each a tree like the parameters, in the beakers' dtypes. Several synapse states, as
        under ``optax.partition``, are merged leaf by leaf, with None if a leaf has no such beaker. A chain
        without hidden beakers gives an empty tuple.

    Raises:
        ValueError: if there is no synapse, or if two synapse states hold beakers of the same leaf.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers
        >>> tx = optax.chain(optax.sgd(0.1), complex_synapse(n_beakers=3, alpha=8.0, beta=128.0))
        >>> get_beakers(tx.init({"w": jnp.zeros(2)}))
        ({'w': Array([0., 0.], dtype=float32)}, {'w': Array([0., 0.], dtype=float32)})
    """
    if params is not None:
        _, opt_state = settle_beakers(opt_state, params)
    require_synapse(opt_state)
    states = [state for state in synapses(opt_state) if state.beakers]
    merged = []
    for k in range(max((len(state.beakers) for state in states), default=0)):
        trees = [state.beakers[k] for state in states if k < len(state.beakers)]
        tree = reduce(merge_masked, trees)
        merged.append(jax.tree.map(lambda u: None if is_masked(u) else u, tree, is_leaf=is_masked))
    return tuple(merged)


def readout(
    opt_state: optax.OptState,
    params: optax.Params,
    weights: Sequence[float] | jax.Array,
    *,
    settle: bool = False,
) -> optax.Params:
    """Weights to evaluate: the weighted sum of all beakers, ``Σ_k w_k u_k``.

    The weights ``w`` should sum to 1. Otherwise the result is scaled by their sum.
    :meth:`BeakerChain.averaging` computes them for an average of past weights.

    To compute many readouts in one compiled call, map over the rows of a matrix of weights.
    ``jax.vmap(lambda w: readout(opt_state, params, w))(matrix)`` computes them all at once, and
    ``jax.lax.map(lambda w: loss(readout(opt_state, params, w)), matrix)`` one after the other.

    Args:
        opt_state: the state of any composition that contains :func:`complex_synapse`, or a Flax
            ``nnx.Optimizer``.
        params: tree of ``u_1``. It may also be a whole Equinox model. With Flax NNX, it is
            ``nnx.state(model, nnx.Param)``.
        weights: ``w_1 … w_K``, which may be traced. ``w_1`` is the weight of the parameters themselves.
        settle: whether the links first exchange what they still owe, as with the ``params`` of
            :func:`get_beakers`.

    Returns:
        A tree like ``params``, with the same dtypes. A leaf without beakers, such as one that
        ``optax.masked`` excludes, is returned unchanged.

    Raises:
        ValueError: if ``weights`` is not one finite number for each beaker, if ``params`` does not match the
            beakers, or if there is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, readout
        >>> params = jnp.array([1.0, 2.0])
        >>> state = complex_synapse(n_beakers=2, alpha=8.0, beta=32.0).init(params)
        >>> readout(state, params, [0.5, 0.5])
        Array([1., 2.], dtype=float32)
    """
    require_owned_synapse(opt_state)
    if settle:
        params, opt_state = settle_beakers(opt_state, params)
    beakers = get_beakers(opt_state)
    weights = _readout_weights(weights, 1 + len(beakers))

    def combine(p: Any, *us: Any) -> Any:
        us = tuple(u if is_array(u) else None for u in us)
        if not is_array(p) or (us and all(u is None for u in us)):
            return p
        missing = [k for k, u in enumerate(us, start=2) if u is None and not _is_zero(weights[k - 1])]
        if missing:
            raise ValueError(f"weights must be 0 for beaker {missing[0]}, which one parameter does not have")
        # A beaker whose weight is known to be zero is not read.
        pairs = [(w, u) for w, u in zip(weights, (p, *us), strict=True) if u is not None and not _is_zero(w)]
        dtype = wide_dtype(p, *(u for _, u in pairs))
        start = jnp.zeros_like(p, dtype)
        mixed = sum((jnp.asarray(w, dtype) * u.astype(dtype) for w, u in pairs), start=start)
        # A mask of minus infinity is not a weight to average.
        finite = reduce(jnp.logical_and, (jnp.isfinite(u) for _, u in pairs), jnp.isfinite(p))
        return jnp.where(finite, mixed.astype(p.dtype), p)

    return map_leaves(combine, params, *beakers)


def _readout_weights(weights: Any, n_beakers: int) -> Sequence[Any]:
    """One number for each beaker, as Python numbers if they are known, so that zeros can be skipped."""
    if isinstance(weights, Averaging):
        raise ValueError("weights must be a sequence of numbers, got an Averaging: pass its .weights")
    if isinstance(weights, jax.core.Tracer):
        if weights.shape != (n_beakers,):
            raise ValueError(
                f"weights must be finite, one for each of the {n_beakers} beakers, got shape {weights.shape}"
            )
        return list(weights)
    known = _checks.floats("weights", weights)
    if len(known) != n_beakers or not np.all(np.isfinite(known)):
        raise ValueError(f"weights must be finite, one for each of the {n_beakers} beakers, got {known}")
    return known


def _is_zero(weight: Any) -> bool:
    """Whether a weight is known to be zero."""
    return isinstance(weight, float) and weight == 0


def settle_beakers(opt_state: optax.OptState, params: optax.Params) -> tuple[optax.Params, Any]:
    """Let every link exchange what it still owes, in the order 1 … K. No input arrives and no time passes.

    The function can be jitted. If training continues afterwards, all links start new periods.

    Args:
        opt_state: the state of any composition that contains :func:`complex_synapse`.
        params: tree of ``u_1``. It changes only if link 1 may wait (``visible_resolution``).

    Returns:
        The new parameters and the new state, in their dtypes.

    Raises:
        ValueError: if ``params`` does not match the beakers, or if there is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers, settle_beakers
        >>> tx = complex_synapse(n_beakers=3, alpha=100.0, beta=1600.0, init="zero")
        >>> params = jnp.array(1.0)
        >>> updates, state = tx.update(jnp.array(0.0), tx.init(params), params)
        >>> get_beakers(state)[1]
        Array(0., dtype=float32)
        >>> params, state = settle_beakers(state, optax.apply_updates(params, updates))
        >>> bool(get_beakers(state)[1] > 0)
        True
    """
    require_owned_synapse(opt_state)
    settled = params

    def settle(state: ComplexSynapseState) -> ComplexSynapseState:
        nonlocal settled
        _refuse_stacked(state)
        if array_of(state.chain).shape[-1] == 0:
            return state
        settled, *beakers = mix_contents(settlement(state), (settled, *state.beakers), state.initial)
        clocks = jax.tree.map(lambda clocks: clocks.at[..., 1:].set(0), state.clocks)
        return state._replace(beakers=tuple(beakers), clocks=clocks)

    opt_state = map_synapses(settle, opt_state)
    return settled, opt_state


def settlement(state: ComplexSynapseState) -> jax.Array:
    """The matrix ``[K, K]`` by which links exchange what they owe, on contents relative to the leak's end."""
    C, _, recall = array_of(state.chain)
    charges = array_of(state.clocks)[:, 1:].sum(axis=0)
    n_beakers = len(C)
    result = jnp.eye(n_beakers + 1, dtype=C.dtype)  # the last row is the leak's end
    for k, (a, b) in enumerate(zip(*exchange_coefficients(*shares(C, recall), charges), strict=True)):
        result = result.at[k].add(a * (result[k + 1] - result[k]))
        if k + 1 < n_beakers:
            result = result.at[k + 1].add(b * (result[k] - result[k + 1]))
    return result[:n_beakers, :n_beakers]


def mix_contents(
    weights: Any, contents: tuple[optax.Params, ...], rest: optax.Params | None
) -> tuple[optax.Params, ...]:
    """New contents, each ``rest + Σ_j weights[k, j] (contents[j] − rest)``, in the dtypes of the old ones.

    Beakers beyond the old ones are like the last. No rest is a rest of zero. Entries in which a content is
    not finite stay as they are, and so does, to the last bit, a content that takes nothing from others.
    """

    def combine(like_index: int, row: Sequence[Any], like: Any, *us: Any) -> Any:
        if not all(is_array(u) for u in us):
            return like
        dtype = wide_dtype(*us)
        us = tuple(u.astype(dtype) for u in us)
        old = us[like_index]
        end = us[-1] if rest is not None else jnp.zeros_like(old)
        pairs = [*zip(row, us, strict=False), (1 - sum(row), end)]
        # Weights that are known to be zero cost nothing.
        pairs = [(w, u) for w, u in pairs if not (isinstance(w, float) and w == 0) and u is not old]
        new = old + sum(jnp.asarray(weight, dtype) * (u - old) for weight, u in pairs)
        finite = reduce(jnp.logical_and, (jnp.isfinite(u) for _, u in pairs), jnp.isfinite(old))
        return jnp.where(finite, new.astype(like.dtype), like)

    rows = list(weights) if isinstance(weights, jax.Array) else np.asarray(weights).tolist()
    trees = contents if rest is None else (*contents, rest)
    likes = [min(k, len(contents) - 1) for k in range(len(rows))]
    return tuple(
        map_leaves(partial(combine, like, row), contents[like], *trees)
        for like, row in zip(likes, rows, strict=True)
    )


def reset_beakers(opt_state: optax.OptState, params: optax.Params, mask: optax.Params | None = None) -> Any:
    """Set every beaker, and the ``initial`` copy, to ``params``, and all clocks to zero.

    The counter that schedules read continues. With a ``mask``, only the entries that it marks are set, and
    the clocks continue. Use it for weights that were pruned or initialised again from outside.

    Args:
        opt_state: the state of any composition that contains :func:`complex_synapse`.
        params: the new contents of the beakers.
        mask: the entries to set: a tree of booleans or boolean arrays that is a prefix of ``params``.

    Returns:
        The new state, in its dtypes.

    Raises:
        ValueError: if ``params`` does not match the beakers, if ``mask`` is not a prefix of it, or if there
            is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers, reset_beakers
        >>> state = complex_synapse(n_beakers=2, alpha=8.0, beta=32.0).init(jnp.array(1.0))
        >>> get_beakers(reset_beakers(state, jnp.array(5.0)))
        (Array(5., dtype=float32),)
    """
    require_synapse(opt_state)

    chosen = None if mask is None else broadcast_prefix("mask", mask, params)

    def to_param(u: Any, p: Any, *marked: Any) -> Any:
        if not is_array(u):
            return u
        return jnp.where(marked[0], p.astype(u.dtype), u) if marked else jnp.array(p, u.dtype)

    def to_params(tree: optax.Params) -> optax.Params:
        return map_leaves(to_param, tree, params, *([] if chosen is None else [chosen]))

    def reset(state: ComplexSynapseState) -> ComplexSynapseState:
        clocks = state.clocks if mask is not None else jax.tree.map(jnp.zeros_like, state.clocks)
        return state._replace(
            clocks=clocks,
            beakers=tuple(to_params(beaker) for beaker in state.beakers),
            initial=None if state.initial is None else to_params(state.initial),
        )

    return map_synapses(reset, opt_state)


def offload_beakers(opt_state: optax.OptState, first: int) -> Any:
    """Move the slow beakers, from ``u_first`` on, into host memory, and keep the others on the device.

    The beakers stay there. An update fetches a beaker only if one of its links exchanges, and writes it back.
    The slower the beaker, the rarer this is. With ``resolution=0`` or ``sequential_euler`` it happens in
    every step. The numbers are the same.

    The function can be jitted: ``jax.jit(lambda params: offload_beakers(tx.init(params), first))``. It keeps
    shardings: each device's part goes to its own host (``memory_kind="pinned_host"``). The copy that
    ``leak="initial"`` reads stays on the device.

    JAX has three limitations with such arrays:

    * A step that donates must donate both parameters and state, and return them in this order. Otherwise JAX
      may pair arrays in different memories and end the process.
    * For reverse-mode derivatives through several updates, all beakers must be fetched before.
    * Under ``jax.vmap`` over states, all beakers are fetched in every step.

    Args:
        opt_state: the state of any composition that contains :func:`complex_synapse`.
        first: the first beaker to keep on the host, k of ``u_k``, at least 3, because ``u_2`` exchanges with
            the weights in every step. A number larger than that of the beakers fetches all of them.

    Returns:
        The state, with the same values.

    Raises:
        ValueError: if ``first`` is out of range, or if there is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers, offload_beakers
        >>> tx = complex_synapse(n_beakers=4, alpha=8.0, beta=512.0)
        >>> state = offload_beakers(tx.init(jnp.zeros(3)), first=3)
        >>> [beaker.sharding.memory_kind for beaker in get_beakers(state)]
        ['device', 'pinned_host', 'pinned_host']
    """
    require_synapse(opt_state)
    first = _checks.count("first", first, least=3)

    def place(state: ComplexSynapseState) -> ComplexSynapseState:
        beakers = [
            jax.tree.map(to_host if k >= first else to_device, beaker)
            for k, beaker in enumerate(state.beakers, start=2)
        ]
        return state._replace(beakers=tuple(beakers))

    return map_synapses(place, opt_state)


def _is_synapse(node: Any) -> bool:
    return isinstance(node, ComplexSynapseState)


def synapses(opt_state: optax.OptState) -> list[ComplexSynapseState]:
    """All synapse states inside a state."""
    return [node for node in jax.tree.leaves(opt_state, is_leaf=_is_synapse) if _is_synapse(node)]


def require_synapse(opt_state: optax.OptState) -> None:
    """Refuse a state without a synapse."""
    if not synapses(opt_state):
        found = "it holds none"
        if _holds_fields(opt_state):
            found = (
                "but its fields are in plain containers, as in a checkpoint restored without a target: "
                "restore it into jax.eval_shape(tx.init, params)"
            )
        raise ValueError(f"opt_state must hold a complex synapse, {found}")


def require_owned_synapse(opt_state: optax.OptState) -> None:
    """Refuse a state without a synapse, or with a synapse whose parameters cannot be determined."""
    require_synapse(opt_state)
    for node in jax.tree.leaves(opt_state, is_leaf=_is_masked_state):
        if _is_masked_state(node) and any(not state.beakers for state in synapses(node)):
            raise ValueError(
                "opt_state must hold hidden beakers if parameters are masked: a chain of one beaker has "
                "none, so its parameters are unknown"
            )


def _is_masked_state(node: Any) -> bool:
    return isinstance(node, optax.MaskedState)


def _holds_fields(opt_state: optax.OptState) -> bool:
    """Whether something in a state has the field names of a synapse without being one."""
    paths = jax.tree_util.tree_flatten_with_path(opt_state)[0]
    names = {getattr(entry, "key", getattr(entry, "name", None)) for path, _ in paths for entry in path}
    return {"clocks", "chain"} <= names


def array_of(field: Any) -> jax.Array:
    """The array of a field, which model libraries may wrap in a container."""
    (array,) = jax.tree.leaves(field)
    return array


def known(field: Any) -> np.ndarray:
    """A field in float64, for computations on the host."""
    array = array_of(field)
    if isinstance(array, jax.core.Tracer):
        raise ValueError("opt_state must be known, not traced: call this outside of jax.jit and jax.vmap")
    return np.asarray(array, np.float64)


def only_synapse(opt_state: optax.OptState) -> ComplexSynapseState:
    """The only synapse state inside."""
    require_owned_synapse(opt_state)
    found = synapses(opt_state)
    if len(found) != 1:
        raise ValueError(
            f"opt_state must hold one complex synapse, it holds {len(found)}: pass the state of one group, "
            "which under optax.partition is state.inner_states[label]"
        )
    (state,) = found
    _refuse_stacked(state)
    if array_of(state.chain).shape[1] == 0:
        raise ValueError("opt_state must be of a chain with at least one beaker, it has none")
    return state


def _refuse_stacked(state: ComplexSynapseState) -> None:
    if array_of(state.clocks).ndim != 2:
        raise ValueError("opt_state must be of one run: pass stacked states one by one, or use jax.vmap")


def chain_of(state: ComplexSynapseState) -> tuple[BeakerChain, np.ndarray]:
    """The chain of a state as it was in its last update, and its recall ``[K]``."""
    C, g, recall = known(state.chain)
    return BeakerChain(C, g), recall


def map_synapses(function: Callable[[ComplexSynapseState], Any], opt_state: optax.OptState) -> Any:
    """The state with ``function`` applied to every synapse state inside."""
    return jax.tree.map(
        lambda node: function(node) if _is_synapse(node) else node, opt_state, is_leaf=_is_synapse
    )
