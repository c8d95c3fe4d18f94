"""A stored unit fades as a power law, in the very optimizer that trains networks."""

import math
from typing import Any

import jax
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from cs_optax import BeakerChain, complex_synapse
from cs_optax.memory import impulse_response, slope
from experiments.claims.outcome import Outcome, Row, within
from experiments.claims.style import BEAKER_COLORS, CURVES
from experiments.lab.figures import STYLE, panels

METHODS = {"exchange": 8.0, "sequential_euler": 32.0}  # and the alpha that each is measured at
GOLDEN_TIMES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # K = 6, alpha 1, beta 1024
GOLDEN = (0.90711949, 0.47265398, 0.14908447, 0.04757133, 0.01474986)
EXPONENTS = {(2.0, 4.0): -0.339, (4.0, 2.0): -0.665, (3.0, 2.0): -0.611}
RIPPLES = {2.0: 0.0075, 3.0: 0.045, 4.0: 0.10, 8.0: 0.30}


def measure(seed: int, *, n_beakers: tuple[int, ...] = (4, 6, 8, 12)) -> Outcome:
    """Measure slopes and prefactors of the impulse response, its ripple, and where it holds.

    The response of the optimizer is measured with a chain of ``x = 2`` for each number of beakers and each
    method, iteration by iteration to ``beta``, in float64. What is measured of the exact solution says so.

    Args:
        seed: has no effect: nothing here is random.
        n_beakers: numbers of beakers. 12 takes 4 to 130 million iterations, a minute or two.
    """
    del seed
    rows, responses = [], {}
    for method, alpha in METHODS.items():
        for K in n_beakers:
            chain = BeakerChain.from_timescales(K, alpha, alpha * 4.0 ** (K - 1))
            times, response = through_the_optimizer(chain, method)
            responses[method, K] = {"t": times.tolist(), "response": response.tolist()}
            beta = chain.timescales()[-1]
            name = f"{method}, K = {K}, alpha {alpha:g}, x = 2"
            rows.append(within(f"slope, {name}", -0.52, slope(times, response, (alpha, beta)), -0.48))
            inner = (times >= 4 * alpha) & (times <= beta / 2)
            law = 2**-0.25 * np.sqrt(alpha / (np.pi * times[inner]))
            prefactor = math.exp(np.mean(np.log(response[inner] / law)))
            rows.append(within(f"prefactor over the law's, {name}", 0.98, prefactor, 1.02))
    exact = BeakerChain.from_timescales(6, 1.0, 1024.0).impulse_response(GOLDEN_TIMES)
    error = float(np.abs(exact - GOLDEN).max())
    rows.append(
        Row("exact propagator, K = 6, alpha 1, beta 1024", "within 1e-6", f"{error:.1e}", error < 1e-6)
    )
    slopes = {}
    for (c, h), expected in EXPONENTS.items():
        chain = BeakerChain.power_law(10, 1.0, -math.log(c) / math.log(c * h), c * h)
        times = np.geomspace(4.0, chain.timescales()[-1] / 2, 400)
        slopes[c, h] = slope(times, chain.impulse_response(times))
        name = f"slope of the exact solution, c = {c:g}, h = {h:g}, K = 10"
        rows.append(within(name, expected - 0.01, slopes[c, h], expected + 0.01))
    for x, bound in RIPPLES.items():
        times, ratio = over_the_law(x)
        inner = (times >= 4) & (times <= times[-1] / 20)
        ripple = float(np.abs(ratio[inner] - 1).max())
        rows.append(Row(f"ripple, x = {x:g}", f"≤ {bound:.2%}", f"{ripple:.2%}", ripple <= bound))
    first, last = validity(6)
    rows.append(
        Row(
            "local slope in [-0.6, -0.4], K = 6",
            "from 0.56 alpha to 1.2 beta",
            f"from {first:.2f} alpha to {last:.2f} beta",
            round(first, 2) <= 0.56 and round(last, 2) >= 1.2,
        )
    )
    numbers = {
        "responses": {f"{method}, K = {K}": values for (method, K), values in responses.items()},
        "exponents": {f"c = {c:g}, h = {h:g}": value for (c, h), value in slopes.items()},
    }
    return Outcome(rows, numbers, {"power-law": _figure(responses)})


def through_the_optimizer(chain: BeakerChain, method: Any) -> tuple[np.ndarray, np.ndarray]:
    """Times from ``alpha`` to ``beta``, and what is left of a unit then in a weight under gradient descent.

    The published scheme lets an input flow from the next iteration on, so its time begins one later.
    """
    scales = chain.timescales()
    times = np.unique(np.geomspace(scales[0], scales[-1], 60).round().astype(int))
    tx = optax.chain(optax.sgd(1.0), complex_synapse(chain=chain, method=method))
    with jax.enable_x64(True):
        return times, impulse_response(tx, times + (method == "sequential_euler"))


def over_the_law(x: float, n_beakers: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Times up to ten times ``beta``, and the exact response over ``x^(-1/4)/sqrt(pi t)``; ``alpha`` is 1."""
    chain = BeakerChain.from_timescales(n_beakers, 1.0, x ** (2 * n_beakers - 2))
    times = np.geomspace(0.1, 10 * chain.timescales()[-1], 20_000)
    return times, chain.impulse_response(times) * np.sqrt(np.pi * times) * x**0.25


def validity(n_beakers: int) -> tuple[float, float]:
    """From where (in ``alpha``) to where (in ``beta``) the local slope is in [-0.6, -0.4]; ``x`` is 2."""
    beta = 4.0 ** (n_beakers - 1)
    chain = BeakerChain.from_timescales(n_beakers, 1.0, beta)
    times = np.geomspace(0.1, 10 * beta, 20_000)
    slopes = np.gradient(np.log(chain.impulse_response(times)), np.log(times))
    outside = times[(slopes < -0.6) | (slopes > -0.4)]
    middle = math.sqrt(beta)
    return float(outside[outside < middle].max()), float(outside[outside > middle].min() / beta)


@matplotlib.rc_context(STYLE)
def _figure(responses: dict[tuple[str, int], dict[str, list[float]]]) -> Figure:
    figure, (left, middle, right) = panels(
        ["what the optimizer leaves of a unit", "other exponents (exact)", "over the law, K = 10 (exact)"]
    )
    marks = {"exchange": "o", "sequential_euler": "+"}
    for (method, K), measured in responses.items():
        alpha = METHODS[method]
        color = BEAKER_COLORS[K]
        if method == "exchange":
            chain = BeakerChain.from_timescales(K, 1.0, 4.0 ** (K - 1))
            times = np.geomspace(0.3, 10 * 4.0 ** (K - 1), 300)
            left.loglog(times, chain.impulse_response(times), color=color, label=f"K = {K}", linewidth=0.8)
        some = slice(None, None, 4)
        ages = np.array(measured["t"][some]) / alpha
        left.loglog(
            ages, measured["response"][some], marks[method], color=color, markersize=3.5, fillstyle="none"
        )
    times = np.geomspace(1, 4e6, 50)
    left.loglog(times, 2**-0.25 / np.sqrt(np.pi * times), ":", color="black", label="$x^{-1/4}\\sqrt{α/πt}$")
    left.plot([], [], "o", color="black", fillstyle="none", markersize=3.5, label="exchange")
    left.plot([], [], "+", color="black", markersize=3.5, label="sequential Euler")
    left.set(xlabel="time / alpha", ylabel="fraction left", ylim=(1e-4, 1.2))
    left.legend(fontsize=6.5, ncols=2)
    for ((c, h), expected), (color, line) in zip(EXPONENTS.items(), CURVES, strict=False):
        chain = BeakerChain.power_law(10, 1.0, -math.log(c) / math.log(c * h), c * h)
        times = np.geomspace(0.1, 10 * chain.timescales()[-1], 300)
        label = f"c = {c:g}, h = {h:g}: {expected}"
        middle.loglog(times, chain.impulse_response(times), color=color, linestyle=line, label=label)
    middle.set(xlabel="time / alpha", ylabel="fraction left", ylim=(1e-7, 1.2))
    middle.legend()
    for x, (color, line) in zip(RIPPLES, CURVES, strict=False):
        times, ratio = over_the_law(x)
        right.semilogx(times, ratio, color=color, linestyle=line, label=f"x = {x:g}")
    right.set(xlabel="time / alpha", ylabel="response / law", ylim=(0, 1.5), xlim=(0.1, 1e9))
    right.legend(ncols=2)
    return figure
