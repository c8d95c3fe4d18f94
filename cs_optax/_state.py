"""Looking into and acting on the beakers inside any composed Optax state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import _checks
from cs_optax._dtypes import wide_dtype
from cs_optax._places import fetched, offloaded
from cs_optax._transform import ComplexSynapseState
from cs_optax._trees import is_array, is_masked, map_leaves, merge_masked
from cs_optax.chain import BeakerChain

Tree = Any


def get_beakers(opt_state: Any) -> tuple[Tree, ...]:
    """The hidden beakers in an optimizer state, wherever in it they are.

    Args:
        opt_state: the state of any composition with :func:`complex_synapse` in it.

    Returns:
        ``(u_2, …, u_K)``, each a tree like the parameters. Several synapse states, as with
        ``optax.partition``, are merged leaf by leaf, with None where a leaf has no such beaker. An empty
        tuple where there is none.

    Raises:
        ValueError: if two synapse states hold beakers of the same leaf.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers
        >>> tx = optax.chain(optax.sgd(0.1), complex_synapse(n_beakers=3, alpha=8.0, beta=128.0))
        >>> get_beakers(tx.init({"w": jnp.zeros(2)}))
        ({'w': Array([0., 0.], dtype=float32)}, {'w': Array([0., 0.], dtype=float32)})
    """
    states = [state for state in synapses(opt_state) if state.beakers]
    merged = []
    for k in range(max((len(state.beakers) for state in states), default=0)):
        trees = [state.beakers[k] for state in states if k < len(state.beakers)]
        tree = reduce(merge_masked, trees)
        merged.append(jax.tree.map(lambda u: None if is_masked(u) else u, tree, is_leaf=is_masked))
    return tuple(merged)


def readout(opt_state: Any, params: Tree, weights: Sequence[float]) -> Tree:
    """Evaluation weights: the weighted sum of all beakers, ``Σ_k w_k u_k``.

    Args:
        opt_state: the state of any composition with :func:`complex_synapse` in it.
        params: tree of ``u_1``.
        weights: ``w_1 … w_K``.

    Returns:
        A tree like ``params``, with its dtypes. A leaf without beakers, as ``optax.masked`` leaves one out,
        stays as it is.

    Raises:
        ValueError: if ``weights`` is not one finite number for each beaker, if ``params`` is not like
            the beakers, or if there is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, readout
        >>> params = jnp.array([1.0, 2.0])
        >>> state = complex_synapse(n_beakers=2, alpha=8.0, beta=32.0).init(params)
        >>> readout(state, params, [0.5, 0.5])
        Array([1., 2.], dtype=float32)
    """
    require_synapse(opt_state)
    beakers = get_beakers(opt_state)
    weights = _checks.floats("weights", weights)
    if len(weights) != 1 + len(beakers) or not np.all(np.isfinite(weights)):
        raise ValueError(
            f"weights must be finite, one for each of the {1 + len(beakers)} beakers, got {weights}"
        )

    def combine(p: Any, *us: Any) -> Any:
        us = tuple(u if is_array(u) else None for u in us)
        if not is_array(p) or (us and all(u is None for u in us)):
            return p
        missing = [k for k, u in enumerate(us, start=2) if u is None and weights[k - 1]]
        if missing:
            raise ValueError(f"weights must be 0 for beaker {missing[0]}, which a parameter lacks")
        pairs = [(w, u) for w, u in zip(weights, (p, *us), strict=True) if u is not None]
        dtype = wide_dtype(*(u for _, u in pairs))
        return sum(w * u.astype(dtype) for w, u in pairs).astype(p.dtype)

    return map_leaves(combine, params, *beakers)


def reset_beakers(opt_state: Any, params: Tree) -> Any:
    """The state with every beaker, and the ``initial`` copy, set to ``params`` and all clocks at zero.

    The counter that schedules read goes on.

    Args:
        opt_state: the state of any composition with :func:`complex_synapse` in it.
        params: what the beakers become.

    Raises:
        ValueError: if ``params`` is not like the beakers, or if there is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers, reset_beakers
        >>> state = complex_synapse(n_beakers=2, alpha=8.0, beta=32.0).init(jnp.array(1.0))
        >>> get_beakers(reset_beakers(state, jnp.array(5.0)))
        (Array(5., dtype=float32),)
    """
    require_synapse(opt_state)

    def to_params(tree: Tree) -> Tree:
        return map_leaves(lambda u, p: jnp.array(p, u.dtype) if is_array(u) else u, tree, params)

    def reset(state: ComplexSynapseState) -> ComplexSynapseState:
        return state._replace(
            clocks=jax.tree.map(jnp.zeros_like, state.clocks),
            beakers=tuple(to_params(beaker) for beaker in state.beakers),
            initial=None if state.initial is None else to_params(state.initial),
        )

    return map_synapses(reset, opt_state)


def offload_beakers(opt_state: Any, first: int) -> Any:
    """The state with the slow beakers, from ``u_first`` on, in host memory, the others on the device.

    They stay there: an update fetches a beaker only where a link of it fires, which is the more seldom the
    slower it is, and puts it back (with ``resolution=0`` or ``sequential_euler``: in every step). The numbers
    are the same. Can be jitted, as ``jax.jit(lambda params: offload_beakers(tx.init(params), first))``, and
    keeps shardings: each device's part goes to its own host (``memory_kind="pinned_host"``). The copy that
    ``leak="initial"`` reads stays on the device.

    Three things JAX cannot do with such arrays yet: a step that donates has to donate both parameters and
    state, and to return them in this order, or JAX may pair arrays of different memories and end the process;
    for reverse-mode derivatives through several updates all beakers have to be fetched before; and under
    ``jax.vmap`` over states all of them are fetched in every step.

    Args:
        opt_state: the state of any composition with :func:`complex_synapse` in it.
        first: the first beaker to keep on the host, counted as in ``u_k``, at least 3: ``u_2`` exchanges
            with the weights in every step. With one more than there are beakers, or more, all are fetched.

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
            jax.tree.map(offloaded if k >= first else fetched, beaker)
            for k, beaker in enumerate(state.beakers, start=2)
        ]
        return state._replace(beakers=tuple(beakers))

    return map_synapses(place, opt_state)


def _is_synapse(node: Any) -> bool:
    return isinstance(node, ComplexSynapseState)


def synapses(opt_state: Any) -> list[ComplexSynapseState]:
    """All synapse states inside a state."""
    return [node for node in jax.tree.leaves(opt_state, is_leaf=_is_synapse) if _is_synapse(node)]


def require_synapse(opt_state: Any) -> None:
    """Refuse a state without a synapse, and one of which it cannot be known whose synapse it is."""
    if not synapses(opt_state):
        raise ValueError("opt_state must hold a complex synapse, it holds none")
    for node in jax.tree.leaves(opt_state, is_leaf=_is_masked_state):
        if _is_masked_state(node) and any(not state.beakers for state in synapses(node)):
            raise ValueError(
                "opt_state must hold hidden beakers where parameters are masked: a chain of one has none, "
                "and so does not know its parameters"
            )


def _is_masked_state(node: Any) -> bool:
    return isinstance(node, optax.MaskedState)


def known_clocks(state: ComplexSynapseState) -> np.ndarray:
    """The clocks in float64, ``[1 + K]``, for what is computed on the host."""
    (clocks,) = jax.tree.leaves(state.clocks)
    if isinstance(clocks, jax.core.Tracer):
        raise ValueError("opt_state must be known, not traced: call this outside of jax.jit and jax.vmap")
    return np.asarray(clocks, np.float64).sum(axis=0)


def only_synapse(opt_state: Any, chain: BeakerChain, leak: str) -> tuple[ComplexSynapseState, BeakerChain]:
    """The one synapse state inside, and the chain as the leak leaves it, where they can belong together."""
    _checks.option("leak", leak, ("zero", "none", "initial"))
    if not isinstance(chain, BeakerChain):
        raise ValueError(f"chain must be a BeakerChain, got {type(chain).__name__}")
    if leak == "none":
        chain = chain.closed()
    require_synapse(opt_state)
    found = synapses(opt_state)
    if len(found) != 1:
        raise ValueError(
            f"opt_state must hold one complex synapse, it holds {len(found)}: give the state of one group, "
            "with optax.partition state.inner_states[label]"
        )
    (state,) = found
    if state.clocks.ndim != 2:
        raise ValueError("opt_state must be of one run: go through stacked states one by one, or by jax.vmap")
    if state.clocks.shape[1] != 1 + chain.n_beakers:
        raise ValueError(
            f"chain must have the {state.clocks.shape[1] - 1} beakers of opt_state, it has {chain.n_beakers}"
        )
    if (state.initial is not None) != (leak == "initial" and not chain.is_closed):
        held = "with" if state.initial is not None else "without"
        raise ValueError(
            f"leak must be that of the transformation, got {leak!r} and a state {held} initial parameters"
        )
    return state, chain


def map_synapses(function: Callable[[ComplexSynapseState], Any], opt_state: Any) -> Any:
    """The state with ``function`` applied to every synapse state inside."""
    return jax.tree.map(
        lambda node: function(node) if _is_synapse(node) else node, opt_state, is_leaf=_is_synapse
    )
