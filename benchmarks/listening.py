"""The chain that listens, as it is suggested for averages, and the profiles that are wanted of it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from cs_optax import BeakerChain, complex_synapse, profiles, suggest_timescales

LISTENING: dict[str, Any] = {
    "backflow": "never",
    "leak": "none",
    "resolution": 1 / 32,
    "visible_resolution": 1 / 16,
}
N_SMOOTH, N_EDGED = 12, 4  # of the wanted profiles, in this order; the others are moments


def wanted(n: int) -> dict[str, profiles.Profile]:
    """Twenty profiles over a training of n updates: twelve smooth ones, four with an edge, four moments."""
    powers = {f"power function, sigma_rel {s}": profiles.Power(s) for s in (0.25, 0.2, 0.15, 0.1, 0.05)}
    exponentials = {
        f"exponential, {part:g} n": profiles.Exponential(part * n) for part in (1, 0.5, 0.2, 0.1, 0.02, 0.005)
    }
    means = {f"mean of the last {part:.0%}": profiles.Mean(part) for part in (0.75, 0.5, 0.25, 0.1)}
    moments = {
        f"the moment {part:g} n ago": profiles.Moment(round(part * n)) for part in (0.5, 0.2, 0.05, 0.01)
    }
    return {"mean of all": profiles.Mean(), **powers, **exponentials, **means, **moments}


def suggested(n: int) -> BeakerChain:
    """The chain for averages over n updates."""
    return BeakerChain.from_timescales(*suggest_timescales(n, purpose="averages"))


def shares(profile: profiles.Profile, n: int) -> np.ndarray:
    """The weight of each of n updates in an average, oldest first."""
    return np.diff(profile.share(np.arange(n + 1), n))[::-1]


def listen(path: np.ndarray, start: np.ndarray, dtype: str) -> tuple[jax.Array, Any]:
    """The weights and the state after a path ``[n, weights]``, with beakers of a dtype."""
    tx = complex_synapse(chain=suggested(len(path)), beaker_dtype=dtype, **LISTENING)

    def step(carry: Any, now: jax.Array) -> tuple[Any, None]:
        before, state = carry
        return (now, tx.update(now - before, state, before)[1]), None

    carry: Any = jax.jit(lambda path: jax.lax.scan(step, (start, tx.init(start)), path)[0])(path)
    return carry
