"""What becomes of all contents at once: time without input, and another chain for the same memories."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cs_optax import _checks
from cs_optax._dtypes import wide_dtype
from cs_optax._links import advance, new_clocks
from cs_optax._state import known_clocks, map_synapses, only_synapse, synapses
from cs_optax._trees import is_array, map_leaves
from cs_optax.chain import BeakerChain

Tree = Any


def relax(
    chain: BeakerChain, opt_state: Any, params: Tree, duration: float, leak: str = "zero"
) -> tuple[Tree, Any]:
    """Let time pass without input: the exact solution, in one step of any length.

    First every link exchanges for the time it still owes, then all contents are multiplied by
    ``expm(A · duration)``, which is computed in float64 on the host (so not under ``jax.jit``). That
    ``chain`` and ``leak`` are those of the transformation is up to you: the state does not know. With
    ``backflow="incremental"``, every link is taken to flow back by now. Contents are rounded to the nearest
    number of their dtype, once: for beakers of low precision, take one long step rather than many short ones.

    Args:
        chain: the chain of the transformation.
        opt_state: a state with one complex synapse of that chain in it.
        params: tree of ``u_1``.
        duration: how long, in units of time, at least 0.
        leak: as given to the transformation.

    Returns:
        The parameters and the state after it, in their dtypes.

    Raises:
        ValueError: if an argument is out of range, if the state is seen not to be of this chain, or under
            ``jax.jit``.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain, complex_synapse, relax
        >>> chain = BeakerChain.benna_fusi(2)
        >>> params = jnp.array(0.0)
        >>> state = complex_synapse(chain=chain).init(params)
        >>> params, state = relax(chain, state, jnp.array(1.0), duration=10.0)
        >>> round(float(params), 6) == round(float(chain.impulse_response(10.0)), 6)
        True
    """
    duration = _checks.at_least_zero("duration", duration)
    state, chain = only_synapse(opt_state, chain, leak)
    waited = known_clocks(state)[1:]
    step = chain.propagator(duration) @ _settlement(chain, waited)

    contents = _mixed(step, (params, *state.beakers), state.initial)
    clocks = jax.tree.map(lambda c: advance(c, jnp.asarray(duration, c.dtype)).at[:, 1:].set(0), state.clocks)
    new_state = state._replace(beakers=contents[1:], clocks=clocks)
    return contents[0], map_synapses(lambda _: new_state, opt_state)


def resize_beakers(
    opt_state: Any, params: Tree, old_chain: BeakerChain, new_chain: BeakerChain, leak: str = "zero"
) -> tuple[Tree, Any]:
    """Move the contents of a chain into another one: a checkpoint with 5 beakers, continued with 8.

    Links first exchange for the time they still owe. Then each hidden beaker of the new chain takes the
    content that the old chain has at the same time of filling, ``C_1/g_1 + Σ_{j≤k} C_j/g_{j-1}``, by linear
    interpolation over the logarithm of it. A chain that is made longer with the first capacities and
    conductances left as they were keeps the beakers it had, and the further ones begin as copies of
    the last; the other way round, the slow ones are cut off. The weight ``u_1`` stays as it is, and so does
    the time since initialisation. ``Σ C_k u_k`` is another one, of course, in another chain, and what
    :func:`drift_report` then says of the leak is as if the new chain had been there from the beginning.

    Args:
        opt_state: a state with one complex synapse of ``old_chain`` in it.
        params: tree of ``u_1``.
        old_chain: the chain that the state was made for.
        new_chain: the chain of the transformation to continue with.
        leak: as given to both transformations.

    Returns:
        The parameters, and a state for the new transformation, with the dtypes of the old one.

    Raises:
        ValueError: if an argument is out of range, or the state is seen not to be of the old chain.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import BeakerChain, complex_synapse, get_beakers, resize_beakers
        >>> five, eight = BeakerChain.benna_fusi(5), BeakerChain.benna_fusi(8)
        >>> params = jnp.ones(3)
        >>> state = complex_synapse(chain=five).init(params)
        >>> params, state = resize_beakers(state, params, five, eight)
        >>> updates, state = complex_synapse(chain=eight).update(jnp.zeros(3), state, params)
        >>> len(get_beakers(state))
        7
    """
    if not isinstance(new_chain, BeakerChain):
        raise ValueError(f"new_chain must be a BeakerChain, got {type(new_chain).__name__}")
    for name, chain in (("old_chain", old_chain), ("new_chain", new_chain)):
        if isinstance(chain, BeakerChain) and chain.n_beakers < 2:
            raise ValueError(f"{name} must have hidden beakers to move, it has 1 beaker in all")
    params, opt_state = relax(old_chain, opt_state, params, 0.0, leak)
    (state,) = synapses(opt_state)
    old, new = _positions(old_chain), _positions(new_chain)
    nodes = np.eye(old_chain.n_beakers)
    weights = np.stack([np.interp(new, old, node) for node in nodes], axis=1)
    weights[0] = nodes[0]
    contents = _mixed(weights, (params, *state.beakers), None)

    def clocks_like(clocks: Any) -> Any:
        return new_clocks(new_chain.n_beakers).astype(clocks.dtype).at[:, 0].set(clocks[:, 0])

    new_state = state._replace(beakers=contents[1:], clocks=jax.tree.map(clocks_like, state.clocks))
    if new_chain.is_closed:
        new_state = new_state._replace(initial=None)
    return contents[0], map_synapses(lambda _: new_state, opt_state)


def _mixed(weights: np.ndarray, contents: tuple[Tree, ...], rest: Tree | None) -> tuple[Tree, ...]:
    """New contents, each ``rest + Σ_j weights[k, j] (contents[j] − rest)``, in the dtypes of the old ones.

    Beakers beyond the old ones are like the last. No rest is a rest of zero.
    """

    def combine(row: list[float], like: Any, *us: Any) -> Any:
        if not all(is_array(u) for u in us):
            return like
        dtype = wide_dtype(*us)
        start = us[-1].astype(dtype) if rest is not None else jnp.zeros_like(us[0], dtype)
        pairs = zip(row, us[: len(contents)], strict=True)
        new = start + sum(weight * (u.astype(dtype) - start) for weight, u in pairs if weight)
        return new.astype(like.dtype)

    trees = contents if rest is None else (*contents, rest)
    return tuple(
        map_leaves(partial(combine, row), contents[min(k, len(contents) - 1)], *trees)
        for k, row in enumerate(weights.tolist())
    )


def _positions(chain: BeakerChain) -> np.ndarray:
    """Where the beakers are on the axis of log timescales: ``C_1/g_1``, then ``C_k/g_{k-1}``; shape ``[K]``.

    Cumulative sums, which increase for any chain. The leak has no part in it.
    """
    C, g = np.array(chain.capacities), np.array(chain.conductances)
    return np.log(np.cumsum(C / np.append(g[:1], g[:-1])))


def _settlement(chain: BeakerChain, waited: np.ndarray) -> np.ndarray:
    """The matrix by which each link exchanges for the time it has waited, in the order 1 … K."""
    C, g = np.array(chain.capacities), np.array(chain.conductances)
    result = np.eye(chain.n_beakers)
    for k in range(chain.n_beakers):
        inverse = np.append(1 / C[k : k + 2], 0.0)[:2]
        w = -np.expm1(-g[k] * inverse.sum() * waited[k]) / inverse.sum()
        link = np.eye(chain.n_beakers + 1)
        link[k, k] -= w * inverse[0]
        link[k, k + 1] += w * inverse[0]
        link[k + 1, k] += w * inverse[1]
        link[k + 1, k + 1] -= w * inverse[1]
        result = link[: chain.n_beakers, : chain.n_beakers] @ result
    return result
