"""Lifetimes of memories, and the number of beakers that makes them longest."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cs_optax import _checks
from cs_optax.chain import BeakerChain
from cs_optax.memory._models import MarkovSynapse

_PATIENCE = 3  # numbers of beakers without an improvement after which the search ends


class Optimum(NamedTuple):
    """Result of :func:`optimal_n_beakers`.

    Attributes:
        n_beakers: the number of beakers with which memories live longest.
        lifetime: their lifetime, in memories.
    """

    n_beakers: int
    lifetime: float


def lifetime(model: BeakerChain | MarkovSynapse, n_synapses: int, threshold: float = 1.0) -> float:
    """The age at which the signal-to-noise ratio of a memory falls to ``threshold``, in memories.

    It is the root of ``SNR(t) = threshold``. One memory is stored per unit of time. The SNR is that of an
    ideal observer who reads the synapses just after a memory: ``model.snr``, for a chain with ``dt=1``.
    Between two whole ages, ``log SNR`` is interpolated linearly. If the SNR rises at some ages, as that of a
    cascade does at first, the last root counts.

    :func:`simulate` uses another noise: that of patterns that were never stored, without the memory's own
    share. It is ``V - 1`` instead of ``V = chain.variance(1.0)``. The SNR of a simulation falls to 1 at the
    age at which this one falls to ``sqrt((V - 1)/V)``.

    Args:
        model: a chain (with one beaker it is an exponential), or a comparison model.
        n_synapses: number of synapses N, at least 1.
        threshold: the least SNR at which a memory counts as remembered, greater than 0.

    Returns:
        The age; 0 if even a new memory is below the threshold.

    Raises:
        ValueError: if an argument is out of range, or if the chain is closed, because its noise has no bound.

    Examples:
        >>> from cs_optax import BeakerChain
        >>> from cs_optax.memory import bistable, lifetime
        >>> round(lifetime(BeakerChain.benna_fusi(5), n_synapses=10_000))
        1117
        >>> round(lifetime(bistable(0.027), n_synapses=10_000))  # at its best transition probability
        36

    References:
        Benna & Fusi, `Computational principles of synaptic memory consolidation
        <https://doi.org/10.1038/nn.4401>`_, Nature Neuroscience 19:1697-1706, 2016.
    """
    if not isinstance(model, BeakerChain | MarkovSynapse):
        raise ValueError(f"model must be a BeakerChain or a MarkovSynapse, got {model!r}")
    n_synapses = _checks.whole("n_synapses", n_synapses, least=1)
    threshold = _checks.positive("threshold", threshold)
    if isinstance(model, BeakerChain) and model.is_closed:
        raise ValueError("model must leak: the noise of a closed chain grows without bound")
    noise = math.sqrt(model.variance(1.0)) if isinstance(model, BeakerChain) else 1.0

    def snr(age: int) -> float:
        if isinstance(model, BeakerChain):
            return math.sqrt(n_synapses) * float(model.impulse_response(age)) / noise
        return float(model.snr(age, n_synapses))

    if snr(0) < threshold:
        return 0.0
    forgotten = 1
    while max(snr(forgotten), snr(2 * forgotten)) >= threshold:
        forgotten *= 2
    remembered = forgotten // 2
    while forgotten - remembered > 1:
        middle = (forgotten + remembered) // 2
        if snr(middle) >= threshold:
            remembered = middle
        else:
            forgotten = middle
    above, below = snr(remembered), snr(forgotten)
    if below <= 0:
        return float(remembered)
    return remembered + math.log(above / threshold) / math.log(above / below)


def optimal_n_beakers(
    n_synapses: int, threshold: float = 1.0, *, alpha: float = 8.0, ratio: float = 4.0
) -> Optimum:
    """The number of beakers with which memories live longest.

    More beakers make the power law last longer, but the noise grows with the logarithm of ``beta``. The best
    ``beta`` is close to the lifetime itself. With Benna & Fusi's timescales, which are the defaults, and a
    threshold of 1, the lifetime is ``t* ≈ 1.05 N/ln N``.

    Args:
        n_synapses: number of synapses N, at least 1.
        threshold: the least SNR at which a memory counts as remembered, greater than 0. If no memory reaches
            it, the result is one beaker, with a lifetime of 0.
        alpha: shortest timescale, in memories.
        ratio: ``tau_{k+1}/tau_k``, greater than 1; ``x`` is its square root.

    Returns:
        :class:`Optimum`.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> from cs_optax.memory import optimal_n_beakers
        >>> optimal_n_beakers(1_000_000).n_beakers
        8
    """
    alpha = _checks.positive("alpha", alpha)
    best, since = Optimum(1, -1.0), 0
    n_beakers = 1
    while since < _PATIENCE:
        chain = BeakerChain.power_law(n_beakers, alpha, ratio=ratio)
        found = Optimum(n_beakers, lifetime(chain, n_synapses, threshold))
        best, since = (found, 0) if found.lifetime > best.lifetime else (best, since + 1)
        n_beakers += 1
    return best


def slope(t: Any, response: Any, between: tuple[float, float] | None = None) -> float:
    """The slope of ``log(response)`` over ``log(t)``, by least squares.

    Args:
        t: times, greater than 0. Space them evenly in their logarithm to give every decade the same weight.
        response: positive numbers, of the same shape.
        between: the first and the last time to use; by default, all times.

    Returns:
        The slope; -0.5 for a response that falls as ``1/sqrt(t)``.

    Raises:
        ValueError: if fewer than two times remain, or if a number is not finite and greater than 0.

    Examples:
        >>> from cs_optax.memory import slope
        >>> round(slope([1.0, 10.0, 100.0], [1.0, 0.1, 0.01]), 6)
        -1.0
    """
    times, values = _checks.real("t", t), _checks.real("response", response)
    if times.shape != values.shape:
        raise ValueError(f"t and response must have the same shape, got {times.shape} and {values.shape}")
    chosen = np.ones(times.shape, bool)
    if between is not None:
        if np.shape(between) != (2,) or not between[0] < between[1]:
            raise ValueError(f"between must be two times, the earlier one first, got {between!r}")
        chosen = (times >= between[0]) & (times <= between[1])
    times, values = times[chosen], values[chosen]
    if len(np.unique(times)) < 2:
        within = "" if between is None else f" in between={between!r}"
        raise ValueError(f"t must hold at least two times{within}, got {t!r}")
    for name, those in (("t", times), ("response", values)):
        if not np.all(those > 0):
            raise ValueError(f"{name} must be greater than 0, got {those.min():g}")
    return float(np.polyfit(np.log(times), np.log(values), 1)[0])
