"""Averages of the weights that are kept in every step, as users write them, beside the chain that listens.

Each is Adam with a transformation after it that sees the new weights and leaves the updates alone, so that
they are timed as optimizers are. How near a mixture of the kept ones can come to a profile is known from what
they hold of the path alone, by least squares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.listening import shares
from cs_optax import profiles

RATE = 1e-3  # of Adam
EDM2 = (0.05, 0.10)  # the widths that Karras et al. keep


def _after_adam(start: Callable[[Any], Any], step: Callable[[Any, Any], Any]) -> optax.GradientTransformation:
    """Adam, ``start(params)`` beside its state, and ``step(kept, new_params)`` in each update."""

    def update(updates: Any, kept: Any, params: Any) -> tuple[Any, Any]:
        return updates, step(kept, optax.apply_updates(params, updates))

    return optax.chain(optax.adam(RATE), optax.GradientTransformation(start, update))


def exponentials(*times: float) -> optax.GradientTransformation:
    """An exponential average over each of some times (updates), moved in every update by Optax's function."""

    def step(averages: Any, params: Any) -> Any:
        return tuple(
            optax.incremental_update(params, average, -np.expm1(-1 / time))
            for time, average in zip(times, averages, strict=True)
        )

    return _after_adam(lambda params: tuple(jax.tree.map(jnp.copy, params) for _ in times), step)


def sparse_exponential(time: float, period: int) -> optax.GradientTransformation:
    """One that is moved in every so many updates only, by `optax.periodic_update`."""

    def start(params: Any) -> Any:
        return jnp.zeros([], jnp.int32), jax.tree.map(jnp.copy, params)

    def step(kept: Any, params: Any) -> Any:
        n, average = kept
        moved = optax.incremental_update(params, average, -np.expm1(-period / time))
        return n + 1, optax.periodic_update(moved, average, n, period)

    return _after_adam(start, step)


class _Weights(nnx.Module):
    """A module of nothing but weights."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.weights = nnx.data({name: nnx.Param(jnp.copy(value)) for name, value in params.items()})


def nnx_exponential(time: float) -> optax.GradientTransformation:
    """`flax.nnx.EMA`, without what `nnx.jit` costs in each call."""

    def start(params: dict[str, Any]) -> Any:
        return nnx.split(nnx.EMA(_Weights(params), float(np.exp(-1 / time))))

    def step(kept: Any, params: dict[str, Any]) -> Any:
        average = nnx.merge(*kept)
        average.update(_Weights(params))
        return nnx.split(average)

    return _after_adam(start, step)


def power_functions(*sigma_rels: float) -> optax.GradientTransformation:
    """The power functions of Karras et al. (2024, eq. 127), moved in every update."""
    exponents = [profiles.Power(sigma).exponent for sigma in sigma_rels]

    def start(params: Any) -> Any:
        return jnp.zeros([], jnp.int32), tuple(jax.tree.map(jnp.copy, params) for _ in exponents)

    def step(kept: Any, params: Any) -> Any:
        n = kept[0] + 1
        moved = []
        for exponent, average in zip(exponents, kept[1], strict=True):
            decay = (1 - 1 / n) ** (exponent + 1)
            moved.append(optax.incremental_update(params, average, 1 - decay))
        return n, tuple(moved)

    return _after_adam(start, step)


@partial(jax.jit, static_argnames="dtype")
def _cast(averages: Any, dtype: str) -> Any:
    return jax.tree.map(lambda x: x.astype(dtype), averages)


def snapshot(averages: Any, dtype: str = "float16") -> Any:
    """A copy in the memory of the host."""
    return jax.tree.map(lambda x: np.array(x), _cast(averages, dtype))


def snapshot_updates(n: int, n_snapshots: int) -> np.ndarray:
    """After which updates so many snapshots are taken, the last one at the end."""
    return np.round(np.linspace(0, n, n_snapshots + 1)[1:]).astype(int)


def held_by_exponentials(n: int, times: Sequence[float]) -> np.ndarray:
    """Weights of the path in exponential averages that began with the initial ones, ``[n + 1, averages]``."""
    ages, inverse = np.arange(n, -1, -1)[:, None], 1 / np.asarray(times, float)
    held = -np.expm1(-inverse) * np.exp(-ages * inverse)
    held[0] = np.exp(-n * inverse)
    return held


def held_by_snapshots(n: int, sigma_rels: Sequence[float], n_snapshots: int) -> np.ndarray:
    """The same in snapshots of power functions, ``[n + 1, widths * snapshots]``."""
    columns = []
    for sigma in sigma_rels:
        for at in snapshot_updates(n, n_snapshots):
            columns.append(np.zeros(n + 1))
            columns[-1][1 : at + 1] = shares(profiles.Power(sigma), at)
    return np.stack(columns, axis=1)


def fit(held: np.ndarray, wanted: Sequence[profiles.Profile]) -> tuple[np.ndarray, np.ndarray]:
    """The mixtures that come nearest to some profiles, and how far they stay away.

    Args:
        held: weights of the path, the initial weights first, in each average, ``[n + 1, averages]``.
        wanted: profiles.

    Returns:
        ``[averages, profiles]``, by least squares, their sums 1; and the misfits ``[profiles]``, 1 - cosine.
    """
    targets = np.stack([np.append(0, shares(profile, len(held) - 1)) for profile in wanted], axis=1)
    q, r = np.linalg.qr(held)
    mixtures = np.linalg.solve(r, q.T @ targets)
    mixtures = mixtures / mixtures.sum(axis=0)
    read = held @ mixtures
    cosines = (read * targets).sum(axis=0)
    cosines = cosines / np.linalg.norm(read, axis=0) / np.linalg.norm(targets, axis=0)
    return mixtures, 1 - cosines
