"""Which links of a chain fire in a step, for how much time, and with which coefficients.

The symbols are those of :class:`cs_optax.BeakerChain`, as vectors of shape ``[K]``. A link that fires
exchanges all the time ``h_k`` that it has waited, so that slow links fire seldom and the cost of a
step does not grow with the number of beakers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Links(NamedTuple):
    """What each link does in one step; an entry, or an element of a vector, a link."""

    fires: tuple[jax.Array | None, ...]  # a scalar boolean; None where it fires in every step
    left: jax.Array  # a_k of  v_k     += a_k (v_{k+1} − v_k)
    right: jax.Array  # b_k of  v_{k+1} += b_k (v_k − v_{k+1}), with the new v_k; no meaning for a leak
    flows_back: jax.Array | None  # whether it moves its left beaker too; None where all do
    gain: jax.Array  # what u_2 gains for a unit that u_1 loses: C_1/C_2


def new_clocks(n_beakers: int) -> jax.Array:
    """Clocks at zero: shape ``[2, 1 + K]``, the default float dtype.

    Column 0 is the time since initialisation, column k the time that link k has waited. Row 0 holds
    the sums and row 1 what rounding has kept out of them (Kahan): a float32 sum of equal steps alone
    would stop advancing.
    """
    return jnp.zeros((2, 1 + n_beakers), dtype=float)


def advance(clocks: jax.Array, dt: jax.Array) -> jax.Array:
    """All clocks ``dt`` later, by compensated summation."""
    total, missing = clocks
    added = missing + dt
    new_total = total + added
    return jnp.stack([new_total, added - (new_total - total)])


def flows_back(clocks: jax.Array, C: jax.Array, g: jax.Array, incremental: bool) -> jax.Array:
    """For every link, whether it moves its left beaker too; boolean, shape ``[K]``.

    With ``incremental`` link k < K does once the time since initialisation exceeds
    ``tau_{k+1} = C_{k+1}/g_{k+1}`` (Kaplanis et al. 2018); otherwise, and for the leak, always.
    """
    always = jnp.ones(C.shape, bool)
    if not incremental:
        return always
    return always.at[:-1].set(clocks[:, 0].sum() * g[1:] > C[1:])


def links_in_step(
    clocks: jax.Array,
    dt: jax.Array,
    C: jax.Array,
    g: jax.Array,
    *,
    n_links: int,
    resolution: Any,
    visible_resolution: Any,
    incremental: bool,
) -> tuple[Links, jax.Array]:
    r"""The links of the step that takes ``dt``, and the clocks after it.

    What a link waits for is due when :math:`g_k s_k h_k` reaches ``resolution`` (link 1:
    ``visible_resolution``), with :math:`s_k = 1/C_k + 1/C_{k+1}`, for the leak :math:`1/C_K`. It fires only
    together with link k−1, at that firing of its neighbour which comes nearest, so that a step in
    which link 2 rests takes one decision where the loops stand one in the other. A slow link in
    front of a faster one fires as often as that one needs.
    """
    before = flows_back(clocks, C, g, incremental)
    clocks = advance(clocks, dt)
    after = flows_back(clocks, C, g, incremental)
    # In the step in which a waiting link begins to flow back it first settles what it owes till then.
    begins = after & ~before
    waited = clocks[:, 1:].sum(axis=0)

    inverse = 1 / C
    next_inverse = jnp.append(inverse[1:], jnp.zeros_like(inverse[:1]))
    s = inverse + next_inverse
    rates = jnp.where(after, g * s, g * next_inverse)[:n_links]
    fastest = lax.cummax(rates, reverse=True)

    fires: list[jax.Array | None] = []
    for k in range(n_links):
        threshold = resolution if k else visible_resolution
        if _is_zero(resolution) or _is_zero(threshold):
            fires.append(None)
            continue
        wait = waited[k] + (waited[k - 1] if k else dt) / 2
        due = wait * rates[k] >= threshold
        if k + 1 < n_links:
            due |= wait * fastest[k + 1] >= resolution
        if incremental:
            due |= begins[k:].any()
        neighbour = fires[-1] if k else None
        fires.append(due if neighbour is None else due & neighbour)

    at_rest = jnp.array([due is not None for due in fires], bool)
    still_owed = jnp.where(at_rest & begins[:n_links], dt, jnp.zeros_like(dt))
    h = jnp.where(at_rest, waited[:n_links], dt) - still_owed
    back = jnp.where(at_rest, before[:n_links], after[:n_links])
    g, s = g[:n_links], s[:n_links]
    inverse, next_inverse = inverse[:n_links], next_inverse[:n_links]

    gain = next_inverse[0] / inverse[0]
    theta = g * s * h
    exchanged = -jnp.expm1(-theta)
    left = exchanged * (inverse / s)
    # b = (w/C_{k+1})/(1 − w/C_k), written without the difference, which would cancel.
    is_leak = next_inverse == 0
    kept = jnp.where(is_leak, 1, next_inverse + inverse * jnp.exp(-theta))
    right = exchanged * next_inverse / kept
    if incremental:
        left = jnp.where(back, left, jnp.zeros_like(left))
        right = jnp.where(back, right, -jnp.expm1(-g * next_inverse * h))

    fired = jnp.stack([jnp.array(True) if due is None else due for due in fires])
    waiting = clocks[:, 1 : 1 + n_links]
    reset = jnp.stack([still_owed, jnp.zeros_like(still_owed)])
    clocks = clocks.at[:, 1 : 1 + n_links].set(jnp.where(fired, reset, waiting))
    return Links(tuple(fires), left, right, back if incremental else None, gain), clocks


def _is_zero(resolution: Any) -> bool:
    """Whether a resolution is known to be zero."""
    return isinstance(resolution, int | float) and resolution == 0
