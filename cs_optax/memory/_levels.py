"""The discretised complex synapse: a finite number of levels for each variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import _checks
from cs_optax.chain import BeakerChain


class LevelsState(NamedTuple):
    """State of :func:`discrete_synapse`.

    Attributes:
        count: number of updates so far, int32.
        beakers: ``(u_2, …, u_K)``, each a tree like the parameters. After the first update they are on their
            levels.
    """

    count: jax.Array  # type: ignore[assignment]  # tuples have a method of that name
    beakers: tuple[Any, ...]


def discrete_synapse(
    chain: BeakerChain, n_levels: int | Sequence[int], *, spacing: float = 1.0, seed: int = 0
) -> optax.GradientTransformation:
    r"""A complex synapse in which every variable has a finite number of levels, with random transitions.

    After the input, content flows through all links at once, for one unit of time. Each variable then moves
    to one of the two nearest levels, at random, so that it is correct on average:

    .. math::
        v_1 = \mathrm{clip}(u_1 + Δ), \quad v_k = u_k, \\
        w_k = v_k + \frac{1}{C_k}[g_{k-1}(v_{k-1} - v_k) + g_k(v_{k+1} - v_k)],
        \qquad u_k = \mathrm{clip}(\lfloor w_k \rceil_{random}).

    The :math:`m_k` levels of :math:`u_k` are evenly spaced around zero, from :math:`-(m_k - 1)/2` to
    :math:`(m_k - 1)/2` times ``spacing``. Zero is a level if :math:`m_k` is odd. This is a model of
    biological synapses, to be used with :func:`simulate`, and not for training. It must be the last
    transformation of a chain. The time step is 1.

    Args:
        chain: the chain, with times in updates.
        n_levels: number of levels, at least 2: one number, or one for each beaker.
        spacing: distance between neighbouring levels, in the unit of the parameters.
        seed: seed of the random transitions.

    Returns:
        An ``optax.GradientTransformation`` with a :class:`LevelsState`.

    Raises:
        ValueError: if an argument is out of range, or if one unit of time is too long for the chain.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain
        >>> from cs_optax.memory import discrete_synapse
        >>> tx = optax.chain(optax.sgd(1.0), discrete_synapse(BeakerChain.benna_fusi(4), n_levels=33))
        >>> params = jnp.zeros(5)
        >>> updates, state = tx.update(-jnp.ones(5), tx.init(params), params)
        >>> bool(jnp.all((updates == 0) | (updates == 1)))
        True

    References:
        Benna & Fusi, `Computational principles of synaptic memory consolidation
        <https://doi.org/10.1038/nn.4401>`_, Nature Neuroscience 19:1697-1706, 2016.
    """
    if not isinstance(chain, BeakerChain):
        raise ValueError(f"chain must be a BeakerChain, got {chain!r}")
    K = chain.n_beakers
    levels = [n_levels] * K if np.ndim(n_levels) == 0 else list(n_levels)  # type: ignore[arg-type]
    if len(levels) != K:
        raise ValueError(f"n_levels must be one number or {K}, one for each beaker, got {n_levels!r}")
    highest = [(_checks.count("n_levels", m, least=2) - 1) / 2 for m in levels]
    spacing = _checks.positive("spacing", spacing)
    seed = _checks.count("seed", seed, least=0)
    C, g = chain.capacities, chain.conductances
    outflow = [(g[k] + (g[k - 1] if k else 0.0)) / C[k] for k in range(K)]
    if max(outflow) > 1:
        raise ValueError(
            f"chain must be slower than one unit of time, (g_(k-1) + g_k)/C_k at most 1, got {max(outflow):g}"
        )

    def on_level(key: jax.Array, value: jax.Array, k: int) -> jax.Array:
        """A random level next to ``value``, with ``value`` as its mean within the bounds."""
        offset = highest[k] % 1
        scaled = value / spacing - offset
        below = jnp.floor(scaled)
        chosen = below + (jax.random.uniform(key, value.shape, value.dtype) < scaled - below) + offset
        return spacing * jnp.clip(chosen, -highest[k], highest[k])

    def step(key: jax.Array, param: jax.Array, delta: jax.Array, *beakers: jax.Array) -> list[jax.Array]:
        first = jnp.clip(param + delta, -spacing * highest[0], spacing * highest[0])
        v = [first, *beakers, jnp.zeros_like(param)]
        flow = [g[k] * (v[k] - v[k + 1]) for k in range(K)]
        moved = [v[k] + ((flow[k - 1] if k else 0.0) - flow[k]) / C[k] for k in range(K)]
        return [on_level(jax.random.fold_in(key, k), w, k) for k, w in enumerate(moved)]

    def init_fn(params: Any) -> LevelsState:
        copies = tuple(jax.tree.map(jnp.array, params) for _ in range(K - 1))
        return LevelsState(jnp.zeros([], jnp.int32), copies)

    def update_fn(updates: Any, state: LevelsState, params: Any = None) -> tuple[Any, LevelsState]:
        if params is None:
            raise ValueError(
                "discrete_synapse reads the weights: call update(updates, state, params) with params"
            )
        key = jax.random.fold_in(jax.random.key(seed), state.count)
        leaves, treedef = jax.tree.flatten(params)
        given: Any = jax.tree.structure(updates)
        if given != treedef:
            raise ValueError(f"updates must be a tree like params, {treedef}, got {given}")
        columns = [jax.tree.leaves(tree) for tree in (updates, *state.beakers)]
        after = [
            step(jax.random.fold_in(key, i), leaf, *(column[i] for column in columns))
            for i, leaf in enumerate(leaves)
        ]
        changes = [row[0] - leaf for row, leaf in zip(after, leaves, strict=True)]
        beakers = tuple(jax.tree.unflatten(treedef, [row[k] for row in after]) for k in range(1, K))
        state = LevelsState(optax.safe_increment(state.count), beakers)
        return jax.tree.unflatten(treedef, changes), state

    return optax.GradientTransformation(init_fn, update_fn)
