"""Changes of all contents at once: time without input, and the move into another chain."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import expm

from cs_optax import _checks
from cs_optax._state import chain_of, known, map_synapses, mix_contents, only_synapse, settlement
from cs_optax._step import advance_clocks, new_clocks, shares
from cs_optax.chain import BeakerChain


def relax(
    opt_state: optax.OptState, params: optax.Params, duration: float
) -> tuple[optax.Params, optax.OptState]:
    """Let time pass without input: the exact solution, in one step of any length.

    First, every link exchanges for the time it still owes. Then all contents are multiplied by
    ``expm(A · duration)``. The matrix is computed in float64 on the host, so the function does not work under
    ``jax.jit``. The chain is that of the last update. Links that do not flow back yet stay so for the whole
    duration. Contents are rounded once, to the nearest number of their dtype. For beakers of low precision,
    take one long step, not many short ones.

    Args:
        opt_state: a state that contains one complex synapse.
        params: tree of ``u_1``.
        duration: the time that passes, in units of time, at least 0.

    Returns:
        The new parameters and the new state, in their dtypes.

    Raises:
        ValueError: if ``duration`` is out of range, if ``params`` does not match the beakers, if there is not
            exactly one synapse, or under ``jax.jit``.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain, complex_synapse, relax
        >>> chain = BeakerChain.benna_fusi(2)
        >>> params = jnp.array(0.0)
        >>> state = complex_synapse(chain=chain).init(params)
        >>> params, state = relax(state, jnp.array(1.0), duration=10.0)
        >>> round(float(params), 6) == round(float(chain.impulse_response(10.0)), 6)
        True
    """
    duration = _checks.at_least_zero("duration", duration)
    state = only_synapse(opt_state)
    step = _propagator(*chain_of(state), duration) @ known(settlement(state))
    contents = mix_contents(step, (params, *state.beakers), state.initial)

    def later(clocks: jax.Array) -> jax.Array:
        g = jnp.zeros(clocks.shape[1] - 1, clocks.dtype)  # nothing is owed after it
        return advance_clocks(clocks.at[:, 1:].set(0), jnp.asarray(duration, clocks.dtype), g)

    new_state = state._replace(beakers=contents[1:], clocks=jax.tree.map(later, state.clocks))
    return contents[0], map_synapses(lambda _: new_state, opt_state)


def _propagator(chain: BeakerChain, recall: np.ndarray, duration: float) -> np.ndarray:
    """``expm(A t)`` of a chain in which not everything flows back."""
    if np.all(recall == 1):
        return chain.propagator(duration)
    C, g = np.array(chain.capacities), np.array(chain.conductances)
    left, right = shares(C, recall)
    A = np.diag(-g * left) + np.diag((g * left)[:-1], 1)
    A += np.diag((g * right)[:-1], -1) - np.diag(np.append(0, (g * right)[:-1]))
    return expm(A * duration)


def resize_beakers(
    opt_state: optax.OptState, params: optax.Params, new_chain: BeakerChain
) -> tuple[optax.Params, optax.OptState]:
    """Move the contents into another chain, for example to continue a checkpoint with 5 beakers with 8.

    First, every link exchanges for the time it still owes. Then each hidden beaker of the new chain takes the
    content of the old chain at the same filling time, ``C_1/g_1 + Σ_{j≤k} C_j/g_{j-1}``, by linear
    interpolation over its logarithm. If the new chain continues the old one, with the same first capacities
    and conductances, the old beakers keep their contents, and the new ones start as copies of the last.
    If the new chain is a shorter beginning of the old one, the slow beakers are cut off.

    The weight ``u_1`` and the time since initialisation do not change. ``Σ C_k u_k`` changes with the chain.
    :func:`drift_report` then reports the leak as if the new chain had been used from the start.

    Args:
        opt_state: a state that contains one complex synapse.
        params: tree of ``u_1``.
        new_chain: the chain of the transformation to continue with, which must have the same ``leak``.

    Returns:
        The parameters, and a state for the new transformation, with the dtypes of the old one.

    Raises:
        ValueError: if an argument is out of range, or if there is not exactly one synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain, complex_synapse, get_beakers, resize_beakers
        >>> five, eight = BeakerChain.benna_fusi(5), BeakerChain.benna_fusi(8)
        >>> params = jnp.ones(3)
        >>> state = complex_synapse(chain=five).init(params)
        >>> params, state = resize_beakers(state, params, eight)
        >>> updates, state = complex_synapse(chain=eight).update(jnp.zeros(3), state, params)
        >>> len(get_beakers(state))
        7
    """
    if not isinstance(new_chain, BeakerChain):
        raise ValueError(f"new_chain must be a BeakerChain, got {type(new_chain).__name__}")
    state = only_synapse(opt_state)
    old_chain, _ = chain_of(state)
    for name, chain in (("opt_state", old_chain), ("new_chain", new_chain)):
        if chain.n_beakers < 2:
            raise ValueError(f"{name} must have hidden beakers to move, it has 1 beaker in all")
    old, new = _positions(old_chain), _positions(new_chain)
    nodes = np.eye(old_chain.n_beakers)
    weights = np.stack([np.interp(new, old, node) for node in nodes], axis=1)
    weights[0] = nodes[0]
    contents = mix_contents(weights @ known(settlement(state)), (params, *state.beakers), state.initial)
    rows = np.stack([new_chain.capacities, new_chain.conductances, np.ones(new_chain.n_beakers)])
    if old_chain.is_closed:
        rows[1, -1] = 0

    def clocks_like(clocks: Any) -> Any:
        return new_clocks(new_chain.n_beakers).astype(clocks.dtype).at[:, 0].set(clocks[:, 0])

    new_state = state._replace(
        beakers=contents[1:],
        clocks=jax.tree.map(clocks_like, state.clocks),
        chain=jax.tree.map(lambda chain: jnp.asarray(rows, chain.dtype), state.chain),
        initial=None if new_chain.is_closed else state.initial,
    )
    return contents[0], map_synapses(lambda _: new_state, opt_state)


def _positions(chain: BeakerChain) -> np.ndarray:
    """The positions ``[K]`` of the beakers on the axis of log timescales: ``C_1/g_1``, then ``C_k/g_{k-1}``.

    They are cumulative sums, which increase for any chain. The leak has no effect.
    """
    C, g = np.array(chain.capacities), np.array(chain.conductances)
    return np.log(np.cumsum(C / np.append(g[:1], g[:-1])))
