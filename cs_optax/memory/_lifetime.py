"""Lifetimes of memories, and what they depend on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cs_optax import _checks
from cs_optax.chain import BeakerChain
from cs_optax.memory._models import MarkovSynapse

_PATIENCE = 3  # numbers of beakers without an improvement after which none is expected


class Optimum(NamedTuple):
    """Result of :func:`optimal_n_beakers`.

    Attributes:
        n_beakers: the number of beakers with which memories live longest.
        lifetime: how long, in memories.
    """

    n_beakers: int
    lifetime: float


def lifetime(model: BeakerChain | MarkovSynapse, n_synapses: int, threshold: float = 1.0) -> float:
    """Age at which a memory's signal-to-noise ratio falls to ``threshold``, in memories.

    The root of ``SNR(t) = threshold``, where one memory comes per unit of time and SNR is that of the ideal
    observer who reads the synapses just after a memory: ``model.snr``, of a chain with ``dt=1``. Between two
    whole ages ``log SNR`` is taken for linear. Where SNR rises for a moment, as that of a cascade does at
    first, it is the last such age.

    What :func:`simulate` measures differs in one point: there the noise is that of patterns that were never
    stored, without the memory's own share, ``V - 1`` in the place of ``V = chain.variance(1.0)``. Such a
    reading falls to 1 where this one falls to ``sqrt((V - 1)/V)``.

    Args:
        model: a chain (with one beaker it is an exponential), or a comparison model.
        n_synapses: number of synapses N, at least 1.
        threshold: the least SNR at which something counts as remembered, greater than 0.

    Returns:
        The age; 0 where even a new memory is below the threshold.

    Raises:
        ValueError: if an argument is out of range, or the chain is closed: its noise has no bound.

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

    More beakers make the power law last longer, but its noise grows with the logarithm of ``beta``: the
    best ``beta`` is about the lifetime itself, ``t* ≈ 1.05 N/ln N`` at Benna & Fusi's timescales (the
    defaults) and a threshold of 1.

    Args:
        n_synapses: number of synapses N, at least 1.
        threshold: the least SNR at which something counts as remembered, greater than 0. Where nothing is,
            the result is one beaker, with a lifetime of 0.
        alpha: shortest timescale, in memories.
        ratio: ``tau_{k+1}/tau_k``, greater than 1; ``x`` is its root.

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
    """Slope of ``log(response)`` over ``log(t)``, by least squares.

    Args:
        t: times, greater than 0; evenly spaced in their logarithm for each decade to count the same.
        response: positive numbers, the same shape.
        between: only times from the first to the second.

    Raises:
        ValueError: if fewer than two times are left, or a number is not finite and greater than 0.

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
