"""Averages of past weights, read from the beakers of a synapse: which mixture gives which average.

What is wished for is a profile in words (`experiments.lab.options.profile`); `cs_optax.BeakerChain.averaging`
finds the mixture, on the host, from the chain and the number of iterations alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from cs_optax import BeakerChain, profiles
from experiments.lab.options.profile import Profile, read


def weights_of(
    times: tuple[int, float, float], profile: str, iteration: int, options: Mapping[str, Any]
) -> np.ndarray:
    """The weights ``[K]`` of the beakers, float32, with which they are the average of the past iterations.

    Before the first iteration it is the visible weight alone.

    Args:
        times: number of beakers, shortest and longest timescale of the chain.
        profile: the average in words.
        iteration: how many iterations there were.
        options: those of `cs_optax.complex_synapse` that `averaging` has to know.
    """
    return _found(times, read(profile), iteration, tuple(options.items()))


@lru_cache(maxsize=2**14)  # the same ones for all seeds, and for all trainings with a chain
def _found(
    times: tuple[int, float, float], wish: Profile, iteration: int, options: tuple[tuple[str, Any], ...]
) -> np.ndarray:
    chain = BeakerChain.from_timescales(*times)
    if iteration == 0:
        return np.eye(1, times[0], dtype=np.float32)[0]
    with warnings.catch_warnings():
        if wish.of_length:  # a share of the first iterations may well be less than one
            warnings.filterwarnings("ignore", message="time=.* less than one update")
        found = chain.averaging(_profile(wish, iteration), iteration, **dict(options))
    return found.weights.astype(np.float32)


def _profile(wish: Profile, iteration: int) -> profiles.Profile:
    """The profile after so many iterations; a moment before the first of them is the first."""
    number = wish.number * iteration if wish.of_length else wish.number
    match wish.kind:
        case "mean":
            return profiles.Mean(number)
        case "power":
            return profiles.Power(number)
        case "exponential":
            return profiles.Exponential(number)
        case _:
            return profiles.Moment(min(round(number), iteration - 1))
