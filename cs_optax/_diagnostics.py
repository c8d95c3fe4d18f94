"""What the chain is doing during a training; nothing of it is computed unless asked for."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cs_optax._dtypes import wide_dtype
from cs_optax._state import get_beakers, known_clocks, only_synapse, require_synapse
from cs_optax._trees import is_array, map_leaves
from cs_optax.chain import BeakerChain

Tree = Any


class Diagnostics(NamedTuple):
    """Result of :func:`diagnose`; float32 or wider.

    Attributes:
        norms: ``‖u_k‖``, shape ``[K]``, or a tree like the parameters of such arrays. Parameters that are
            masked are left out.
        distances: ``‖u_k − u_1‖``, likewise; the first is 0.
        flows: ``‖g_k (u_k − u_{k+1})‖``, the content that passes link k in a unit of time, likewise; the last
            one is the leak. None where no chain was given.
    """

    norms: Any
    distances: Any
    flows: Any


class DriftReport(NamedTuple):
    """Result of :func:`drift_report`; Python floats.

    Attributes:
        elapsed: time since initialisation.
        drift: ``‖du_1/dt‖`` without input: how fast the chain moves the weights, per unit of time.
        memory_timescale: ``‖u_1 − u_∞‖ / drift``, in units of time: how long the weights would last at this
            rate, where they would go in the end if no input came being ``u_∞``. Infinite where nothing moves.
            A chain slows down as it goes, so that they last longer: it tells fresh weights, which drift
            fast, from consolidated ones.
        lost: share of a steady input since initialisation that has left by the leak, 0 to 1.
    """

    elapsed: float
    drift: float
    memory_timescale: float
    lost: float


def diagnose(
    opt_state: Any,
    params: Tree,
    chain: BeakerChain | None = None,
    *,
    leak: str = "zero",
    per_leaf: bool = False,
) -> Diagnostics:
    """Norms of the beakers, their distances from the weights, and the flow through each link.

    Can be jitted. Flows are those of this moment, ``g_k (u_k − u_{k+1})``, also through links that wait, and
    of links that flow both ways: with ``backflow="incremental"`` that is so in the end only.

    Args:
        opt_state: the state of any composition with :func:`complex_synapse` in it.
        params: tree of ``u_1``.
        chain: the chain of the transformation, for the flows; the state then has to hold one synapse.
        leak: as given to the transformation.
        per_leaf: for each leaf of the parameters alone (NaN for a beaker that a leaf lacks), instead of
            over all of them.

    Raises:
        ValueError: if ``params`` is not like the beakers, if there is no synapse, or if it is seen not to be
            of the chain.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain, complex_synapse, diagnose
        >>> chain = BeakerChain.benna_fusi(3)
        >>> state = complex_synapse(chain=chain).init(jnp.array([3.0, 4.0]))
        >>> diagnose(state, jnp.array([3.0, 4.0]), chain).norms
        Array([5., 5., 5.], dtype=float32)
    """
    require_synapse(opt_state)
    beakers = get_beakers(opt_state)
    initial = None
    if chain is not None:
        state, chain = only_synapse(opt_state, chain, leak)
        initial = state.initial
    absent = jnp.array(math.nan if per_leaf else 0.0, jnp.float32)

    def measure(p: Any, *others: Any) -> Any:
        if not is_array(p) or (beakers and not any(map(is_array, others[: len(beakers)]))):
            return None
        dtype = wide_dtype(p, *filter(is_array, others))
        us: list[Any] = [u.astype(dtype) if is_array(u) else None for u in (p, *others)]
        end = us.pop() if initial is not None else jnp.zeros_like(us[0])
        # One after the other: some backends mix up sums over several hosts that run at the same time.
        return jax.block_until_ready(_squares(us, end, absent))

    squares = map_leaves(measure, params, *beakers, *(() if initial is None else (initial,)))
    if not per_leaf:
        squares = sum(jax.tree.leaves(squares), start=jnp.zeros((3, 1 + len(beakers))))
    norms, distances, gaps = (jax.tree.map(lambda leaf, i=i: jnp.sqrt(leaf[i]), squares) for i in range(3))
    if chain is None:
        return Diagnostics(norms, distances, None)
    flows = jax.tree.map(lambda gap: gap * jnp.asarray(chain.conductances, gap.dtype), gaps)
    return Diagnostics(norms, distances, flows)


@jax.jit
def _squares(us: list[jax.Array | None], end: jax.Array, absent: jax.Array) -> jax.Array:
    """Squares of the norms, of the distances from the first, and of the gaps to the next: ``[3, K]``."""

    def square(u: Any, v: Any = 0.0) -> jax.Array:
        return absent if u is None or v is None else jnp.sum(jnp.square(jnp.abs(u - v)))

    gaps = [square(u, v) for u, v in zip(us, (*us[1:], end), strict=True)]
    rows = [square(u) for u in us], [square(u, us[0]) for u in us], gaps
    return jnp.stack([jnp.stack(row) for row in rows])


def drift_report(opt_state: Any, params: Tree, chain: BeakerChain, *, leak: str = "zero") -> DriftReport:
    r"""How fast the chain moves the weights, how long they would last, and what the leak has taken.

    .. math::
        \dot u_1 = g_1 (u_2 - u_1) / C_1, \qquad
        τ = ‖u_1 - u_∞‖ / ‖\dot u_1‖, \qquad
        \mathrm{lost} = 1 - \frac1T \int_0^T S(t)\,dt

    :math:`u_∞` is zero, the initial parameters, or, in a closed chain, the mean of its contents weighted by
    their capacities. :math:`S(t)` is :meth:`BeakerChain.retention`, and :math:`T` the time since
    initialisation: what is lost does not depend on the contents, and holds for updates that came at a
    steady rate. As in :func:`diagnose`, all links are taken to flow both ways. Computed on the host, so not
    under ``jax.jit``.

    Args:
        opt_state: a state with one complex synapse in it.
        params: tree of ``u_1``.
        chain: the chain of the transformation, since initialisation.
        leak: as given to the transformation.

    Raises:
        ValueError: as :func:`diagnose`, or under ``jax.jit``.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain, complex_synapse, drift_report
        >>> one = BeakerChain.from_timescales(1, alpha=50.0, beta=50.0)
        >>> state = complex_synapse(chain=one).init(jnp.ones(3))
        >>> round(drift_report(state, jnp.ones(3), one).memory_timescale, 3)
        50.0
    """
    state, effective = only_synapse(opt_state, chain, leak)
    elapsed = float(known_clocks(state)[0])
    drift = float(diagnose(opt_state, params, chain, leak=leak).flows[0]) / effective.capacities[0]
    contents = (params, *get_beakers(opt_state))
    absent = jnp.zeros((), jnp.float32)

    def distance(*us: Any) -> Any:
        """From the end, squared."""
        if not all(is_array(u) for u in us):
            return None
        dtype = wide_dtype(*us)
        us = tuple(u.astype(dtype) for u in us)
        if effective.is_closed:
            shares = np.array(effective.capacities) / np.sum(effective.capacities)
            end = sum(share * u for share, u in zip(shares.tolist(), us, strict=True))
        else:
            end = us[-1] if state.initial is not None else jnp.zeros_like(us[0])
        return jax.block_until_ready(_squares([us[0]], end, absent)[2, 0])

    ends = () if state.initial is None else (state.initial,)
    squares = jax.tree.leaves(map_leaves(distance, *contents, *ends))
    left = math.sqrt(float(sum(squares)))
    return DriftReport(
        elapsed=elapsed,
        drift=drift,
        memory_timescale=left / drift if drift else math.inf,
        lost=max(0.0, 1.0 - effective.mean_retention(elapsed)),
    )
