"""Measurements of what the chain does during a training. They cost nothing unless they are called."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax._state import (
    array_of,
    chain_of,
    get_beakers,
    known,
    only_synapse,
    require_owned_synapse,
    synapses,
)
from cs_optax._transform import ComplexSynapseState
from cs_optax._trees import is_array, map_leaves, merge_masked
from cs_optax._xla import wide_dtype


class Diagnostics(NamedTuple):
    """Result of :func:`diagnose`, in float32 or wider.

    Attributes:
        norms: ``‖u_k‖``, shape ``[K]``, or a tree of such arrays like the parameters. Masked parameters are
            left out.
        distances: ``‖u_k − u_1‖``, likewise. The first is 0.
        flows: ``‖g_k (u_k − u_{k+1})‖``, the content that passes link k per unit of time, likewise. The last
            one is the leak.
    """

    norms: Any
    distances: Any
    flows: Any


class DriftReport(NamedTuple):
    """Result of :func:`drift_report`, as Python floats.

    Attributes:
        elapsed: time since initialisation, in units of time.
        drift: ``‖du_1/dt‖`` without input: how fast the chain moves the weights, per unit of time.
        memory_timescale: ``‖u_1 − u_∞‖ / drift``, in units of time: how long the weights would last at this
            rate. ``u_∞`` is where they would end without input. It is infinite if nothing moves. The
            drift of a chain slows down with time, so weights last longer than this. The number separates
            fresh weights, which drift fast, from consolidated ones.
        lost: share of a steady input since initialisation that has left by the leak, from 0 to 1.
    """

    elapsed: float
    drift: float
    memory_timescale: float
    lost: float


def diagnose(opt_state: optax.OptState, params: optax.Params, *, per_leaf: bool = False) -> Diagnostics:
    """Norms of the beakers, their distances from the weights, and the flow through each link.

    The function can be jitted. Flows are those of this moment, ``g_k (u_k − u_{k+1})``, also through links
    that wait.

    Args:
        opt_state: the state of any composition that contains :func:`complex_synapse`.
        params: tree of ``u_1``.
        per_leaf: whether to measure each leaf separately, instead of all parameters together. A beaker that
            a leaf does not have gives NaN.

    Returns:
        :class:`Diagnostics`.

    Raises:
        ValueError: if ``params`` does not match the beakers, or if there is no synapse.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, diagnose
        >>> state = complex_synapse(n_beakers=3, alpha=8.0, beta=128.0).init(jnp.array([3.0, 4.0]))
        >>> diagnose(state, jnp.array([3.0, 4.0])).norms
        Array([5., 5., 5.], dtype=float32)
    """
    require_owned_synapse(opt_state)
    get_beakers(opt_state)  # refuses two synapses on one parameter
    states = synapses(opt_state)
    n_beakers = max(array_of(state.chain).shape[-1] for state in states)
    if n_beakers == 0:
        raise ValueError("opt_state must be of a chain with at least one beaker, it has none")
    absent = jnp.array(math.nan if per_leaf else 0.0, jnp.float32)

    def measure(state: ComplexSynapseState) -> optax.Params:
        g = array_of(state.chain)[1]

        def of_leaf(p: Any, *others: Any) -> Any:
            if not is_array(p) or not all(map(is_array, others)):
                return None
            us = [u.astype(wide_dtype(p, *others)) for u in (p, *others)]
            end = us.pop() if state.initial is not None else jnp.zeros_like(us[0])
            # One after the other: some backends mix up sums over several hosts that run at the same time.
            squares = jax.block_until_ready(_squares(us, end, g))
            missing = jnp.full((3, n_beakers - len(us)), absent, squares.dtype)
            return jnp.concatenate([squares, missing], axis=1)

        initial = () if state.initial is None else (state.initial,)
        return map_leaves(of_leaf, params, *state.beakers, *initial)

    trees = [measure(state) for state in states]
    if per_leaf:
        squares = reduce(merge_masked, trees)
    else:
        squares = sum(jax.tree.leaves(trees), start=jnp.zeros((3, n_beakers)))
    norms, distances, flows = (jax.tree.map(lambda leaf, i=i: jnp.sqrt(leaf[i]), squares) for i in range(3))
    return Diagnostics(norms, distances, flows)


@jax.jit
def _squares(us: list[jax.Array], end: jax.Array, g: jax.Array) -> jax.Array:
    """Squares of the norms, of the distances from the first, and of the flows to the next: ``[3, K]``."""

    def square(u: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(jnp.abs(u)))

    norms = [square(u) for u in us]
    distances = [square(u - us[0]) for u in us]
    gaps = [square(u - v) for u, v in zip(us, (*us[1:], end), strict=True)]
    rows = jnp.stack([jnp.stack(row) for row in (norms, distances, gaps)])
    return rows.at[2].multiply(jnp.square(g).astype(rows.dtype))


def drift_report(opt_state: optax.OptState, params: optax.Params) -> DriftReport:
    r"""How fast the chain moves the weights, how long they would last, and how much has leaked.

    .. math::
        \dot u_1 = ρ_1 g_1 (u_2 - u_1) / C_1, \qquad
        τ = ‖u_1 - u_∞‖ / ‖\dot u_1‖, \qquad
        \mathrm{lost} = 1 - \frac1T \int_0^T S(t)\,dt

    :math:`u_∞` is zero or the initial parameters, according to the leak. In a closed chain it is the mean of
    the contents, weighted by their capacities and the recall. :math:`S(t)` is :meth:`BeakerChain.retention`,
    and :math:`T` is the time since initialisation. The loss does not depend on the contents. It holds for
    updates at a steady rate, in a chain in which everything flows back. The report is computed on the host,
    so the function does not work under ``jax.jit``.

    Args:
        opt_state: a state that contains one complex synapse.
        params: tree of ``u_1``.

    Returns:
        :class:`DriftReport`.

    Raises:
        ValueError: as in :func:`diagnose`; also if there are several synapses, or under ``jax.jit``.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, drift_report
        >>> state = complex_synapse(n_beakers=1, beta=50.0).init(jnp.ones(3))
        >>> round(drift_report(state, jnp.ones(3)).memory_timescale, 3)
        50.0
    """
    state = only_synapse(opt_state)
    chain, recall = chain_of(state)
    elapsed = float(known(state.clocks).sum(axis=0)[0])
    drift = float(recall[0] * diagnose(opt_state, params).flows[0]) / chain.capacities[0]
    contents = (params, *get_beakers(opt_state))
    # With recall, a closed chain conserves the sum of these times its contents.
    conserved = np.array(chain.capacities) * np.cumprod(np.append(1.0, recall[:-1]))
    share = conserved / conserved.sum()

    def distance(*us: Any) -> Any:
        """From the end, squared."""
        if not all(is_array(u) for u in us):
            return None
        us = tuple(u.astype(wide_dtype(*us)) for u in us)
        if chain.is_closed:
            end = sum(weight * u for weight, u in zip(share.tolist(), us, strict=True))
        else:
            end = us[-1] if state.initial is not None else jnp.zeros_like(us[0])
        return jax.block_until_ready(_squares([us[0]], end, jnp.ones(1))[2, 0])

    ends = () if state.initial is None else (state.initial,)
    squares = jax.tree.leaves(map_leaves(distance, *contents, *ends))
    left = math.sqrt(float(sum(squares)))
    return DriftReport(
        elapsed=elapsed,
        drift=drift,
        memory_timescale=left / drift if drift else math.inf,
        lost=max(0.0, 1.0 - chain.mean_retention(elapsed)),
    )
