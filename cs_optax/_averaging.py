r"""Which mixture of the beakers gives a requested average of past weights.

:math:`W_{tk}` and :math:`w_k` come from `_record`. For the profile p over the updates t = 1 … n, with
:math:`\sum_t p_t = 1`, the weights a of the beakers minimise

.. math::
    \frac{\sum_t (\sum_k W_{tk} a_k - p_t)^2 + (\sum_k w_k a_k)^2}{\sum_t p_t^2} + ε^2 \sum_k a_k^2
    \quad\text{with}\quad \sum_k a_k (w_k + \sum_t W_{tk}) = 1,

where ε is twice the spacing of the beakers' numbers around 1, and at least 1e-6. The last equation makes a
constant path come out unchanged.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cs_optax import _checks
from cs_optax._record import MAX_SINGLE, Record, record
from cs_optax._schedule import switches_of
from cs_optax.profiles import Exponential, Profile

# Up to so many updates, a function is evaluated at every age; above, at the Gauss-Legendre nodes of each bin.
MAX_TABLE = 2**20
# Twice the spacing was best for averages read from bfloat16 beakers. Less than this value reduces the misfit
# by a thousandth at amplifications of a hundred thousand, which costs more in float32.
MIN_ROUNDING = 1e-6
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(4)


class Averaging(NamedTuple):
    """Result of :meth:`BeakerChain.averaging`.

    Attributes:
        weights: one for each beaker, ``[K]``, float64, to be passed to :func:`readout`.
        misfit: 1 − cosine of the angle between the requested profile and the profile of these weights. 0 is
            an exact match; 1 means that they have nothing in common. It is not an error of the averaged
            weights, and holds only if the training had the options and the number of updates given.
        amplification: ``Σ_k |a_k|``. If every beaker has an error of at most e, such as rounding, the
            average has an error of at most this many times e. The least possible value is 1.
    """

    weights: np.ndarray
    misfit: float
    amplification: float


class _Wish(NamedTuple):
    """A profile on the bins of a record."""

    masses: np.ndarray  # [B], their sum is 1
    square: float  # Σ p² of all updates, or intervals between exchanges, in units of 1/update


def averaging(
    chain: tuple[np.ndarray, np.ndarray],
    profile: Any,
    n_updates: int,
    *,
    time_step: float,
    init: str,
    leak: str,
    backflow: Any,
    resolution: float,
    visible_resolution: float,
    beaker_dtype: Any,
) -> Averaging:
    """:meth:`BeakerChain.averaging` of the chain with capacities and conductances ``chain``."""
    C, g = chain
    n_updates = _checks.whole("n_updates", n_updates, least=1)
    time_step = _checks.positive("time_step", time_step)
    if _checks.option("leak", leak, ("zero", "none", "initial")) == "none":
        g = np.append(g[:-1], 0.0)
    filled = _checks.option("init", init, ("same", "zero")) == "same"
    start = (*[float(filled)] * (len(C) - 1), float(leak == "initial" and g[-1] > 0))
    backflow = _checks.times("backflow", backflow, ("always", "never", "kaplanis"), len(C) - 1)
    resolutions = (
        _checks.at_least_zero("resolution", resolution),
        _checks.at_least_zero("visible_resolution", visible_resolution),
    )
    dtype = _checks.float_dtype("beaker_dtype", beaker_dtype) or jnp.float32
    profile = _as_profile(profile, n_updates)
    # Up to so many updates none are taken together, and one record serves all profiles.
    grouped = isinstance(profile, Profile) and n_updates > MAX_SINGLE
    edges = profile.edges(n_updates) if grouped else ()
    steps = sorted({n_updates - math.floor(age) for age in edges if age < n_updates})
    switches = switches_of((C, g), backflow, time_step)
    held = record(tuple(C), tuple(g), start, tuple(switches), n_updates, tuple(steps), time_step, resolutions)
    return _average(held, _wish(profile, n_updates, held), float(jnp.finfo(dtype).eps))


def _average(held: Record, wish: _Wish, spacing: float) -> Averaging:
    """The mixture of the beakers that is closest to a requested profile."""
    lengths = np.diff(held.ages)
    rows = np.vstack([held.sums / np.sqrt(lengths)[:, None], held.spread, held.start])
    wanted = np.zeros(len(rows))
    wanted[: len(lengths)] = wish.masses / np.sqrt(lengths)
    weights = _fit(rows, wanted, held.sums.sum(axis=0) + held.start, max(2 * spacing, MIN_ROUNDING))
    read = rows @ weights
    cosine = float(read @ wanted / np.sqrt(wish.square * (read @ read)))
    return Averaging(weights, max(1 - cosine, 0.0), float(np.abs(weights).sum()))


def _fit(rows: np.ndarray, wanted: np.ndarray, totals: np.ndarray, rounding: float) -> np.ndarray:
    """The weights ``[K]`` that minimise the equation of this module."""
    size = np.linalg.norm(wanted)
    rows = np.vstack([rows / size, rounding * np.eye(len(totals))])
    wanted = np.append(wanted / size, np.zeros(len(totals)))
    # What satisfies the constraint is one solution of it and anything orthogonal to the totals.
    one = totals / (totals @ totals)
    free = np.linalg.qr(totals[:, None], mode="complete")[0][:, 1:]
    return one + free @ np.linalg.lstsq(rows @ free, wanted - rows @ one, rcond=None)[0]


def _as_profile(profile: Any, n_updates: int) -> Any:
    """A named profile, a function of age, or the values of the updates from the youngest to the oldest."""
    allowed = (
        f"one of cs_optax.profiles (Mean, Exponential, Power, Moment), a function of age, or an array of "
        f"shape ({n_updates},), one number for each update, oldest first"
    )
    if isinstance(profile, str):
        raise ValueError(f"profile must be {allowed}, got {profile!r}")
    if isinstance(profile, type):
        raise ValueError(
            f"profile must be an object, got the class {profile.__name__}: call it, as in profiles.Mean()"
        )
    if isinstance(profile, Exponential) and profile.time < 1:
        _checks.warn(
            f"time={profile.time:g} is less than one update: most of this average is the last weights. A "
            "running average with decay d has the time -1/ln d, in updates."
        )
    if isinstance(profile, Profile):
        return profile
    if callable(profile):
        if n_updates > MAX_TABLE:
            return profile
        profile = _values(profile, np.arange(n_updates))[::-1]
    values = _checks.real("profile", profile, "real numbers, oldest first")
    if values.shape != (n_updates,):
        raise ValueError(f"profile must be {allowed}, got shape {values.shape}")
    return values[::-1]


def _values(profile: Any, ages: np.ndarray) -> np.ndarray:
    """The values of a function at some ages."""
    values = _checks.real("profile", profile(ages), "numbers at every age")
    if values.shape not in (ages.shape, ()):
        raise ValueError(f"profile must return the shape of the ages, {ages.shape}, got {values.shape}")
    return np.broadcast_to(values, ages.shape)


def _wish(profile: Any, n_updates: int, held: Record) -> _Wish:
    """The profile on the bins of a record, scaled to a sum of 1."""
    lengths = np.diff(held.ages)
    if isinstance(profile, Profile):
        masses = np.diff(profile.share(held.ages, n_updates))
        square = float(np.sum(masses**2 / lengths))
    elif callable(profile):
        # The middle of the updates of a bin is half an update before the middle of the bin.
        centres, halves = held.ages[:-1] + (lengths - 1) / 2, lengths / 2
        values = _values(profile, np.maximum(centres[:, None] + halves[:, None] * NODES, 0))
        masses = values @ NODE_WEIGHTS * halves
        square = float(np.sum(masses**2 / lengths))
    else:
        sums = np.append(0.0, np.cumsum(profile))
        masses = np.diff(sums[held.ages])
        edges = _exchange_ages(held)
        square = float(np.sum(np.diff(sums[edges]) ** 2 / np.diff(edges)))
    total, size = float(masses.sum()), float(np.abs(masses).sum())
    if not total > 1e-9 * size:
        raise ValueError(f"profile must have a sum greater than 0, got {total!r}")
    return _Wish(masses / total, square / total**2)


def _exchange_ages(held: Record) -> np.ndarray:
    """The ages of all exchanges of link 1, from 0 to that before the first update."""
    starts = np.repeat(held.ages[:-1], held.n_exchanges)
    periods = np.repeat(np.diff(held.ages) // held.n_exchanges, held.n_exchanges)
    number = np.arange(len(starts)) - np.repeat(
        np.cumsum(held.n_exchanges) - held.n_exchanges, held.n_exchanges
    )
    return np.append(starts + number * periods, held.ages[-1])
