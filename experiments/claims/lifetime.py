"""Noise grows with the logarithm of time, so memories live for almost as long as there are synapses."""

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cs_optax import BeakerChain
from cs_optax.memory import lifetime, optimal_n_beakers
from experiments.claims.outcome import Outcome, Row, within
from experiments.claims.style import BEAKER_COLORS, CURVES
from experiments.lab.figures import STYLE, panels

VARIANCES = {2: 0.928571, 4: 1.622692, 6: 2.262577, 8: 2.890498, 12: 4.139806}  # of alpha, x = 2
# Standard deviation of u_1 at Benna & Fusi's numbers: in continuous time; in steps of 1, read just after the
# input, and after relaxing.
DEVIATIONS = {
    4: (3.6030, 3.6746, 3.5359),
    6: (4.2545, 4.3153, 4.1978),
    8: (4.8087, 4.8626, 4.7587),
    10: (5.3032, 5.3521, 5.2578),
    12: (5.7549, 5.7999, 5.7131),
}
FIRST_SNR = {4: 0.2721, 6: 0.2317, 8: 0.2057, 10: 0.1868, 12: 0.1724}
SYNAPSES = tuple(10**exponent for exponent in range(3, 11))
LONG_CHAINS = (16, 20, 24)


def measure(seed: int) -> Outcome:
    """Compare variances, SNR and lifetimes of the exact solution with closed forms and published numbers.

    Args:
        seed: has no effect: nothing here is random.
    """
    del seed
    rows = [_worst("variance of u_1 over alpha, x = 2, K = 2 … 12", 1e-5, _variance_errors())]
    rows.append(
        _worst("standard deviations at Benna & Fusi's numbers, K = 4 … 12", 1e-4, _deviation_errors())
    )
    growth = [
        (BeakerChain.benna_fusi(K + 1).variance() - BeakerChain.benna_fusi(K).variance()) / 8
        for K in (8, 12, 16)
    ]
    law = math.log(4) / (math.pi * math.sqrt(2))
    rows.append(
        Row(
            "variance over alpha gained by one beaker, x = 2, K = 8, 12, 16",
            f"ln(4)/(pi sqrt(x)) = {law:.4f} ± 2 %",
            " ".join(f"{gain:.4f}" for gain in growth),
            all(abs(gain / law - 1) < 0.02 for gain in growth),
        )
    )
    for K, expected in FIRST_SNR.items():
        first = float(BeakerChain.benna_fusi(K).snr(0.0, 1, dt=1.0))
        rows.append(within(f"SNR(0)/sqrt(N), K = {K}", expected - 5e-5, first, expected + 5e-5, digits=5))
    best = {N: optimal_n_beakers(N) for N in SYNAPSES}
    scaled = {N: optimum.lifetime * math.log(N) / N for N, optimum in best.items()}
    rows.append(
        Row(
            "best lifetime times ln(N)/N, N = 1e3 … 1e10",
            "1.02 to 1.08",
            f"{min(scaled.values()):.3f} to {max(scaled.values()):.3f}",
            all(1.02 <= value <= 1.08 for value in scaled.values()),
        )
    )
    long = []
    for K in LONG_CHAINS:
        chain = BeakerChain.benna_fusi(K)
        span = math.log(chain.timescales()[-1] / 8)
        long += [lifetime(chain, N) * (span + 3.14) / N for N in (10**5, 10**6, 10**7)]
    rows.append(
        Row(
            "lifetime of a long chain times (ln(beta/alpha) + 3.14)/N",
            "0.98 to 1.02",
            f"{min(long):.3f} to {max(long):.3f}",
            all(0.98 <= value <= 1.02 for value in long),
        )
    )
    numbers = {
        "best": {
            str(N): {"n_beakers": found.n_beakers, "lifetime": found.lifetime} for N, found in best.items()
        }
    }
    return Outcome(rows, numbers, {"lifetime": _figure(numbers["best"])})


def _variance_errors() -> list[float]:
    return [
        abs(BeakerChain.from_timescales(K, 1.0, 4.0 ** (K - 1)).variance() - expected)
        for K, expected in VARIANCES.items()
    ]


def _deviation_errors() -> list[float]:
    errors = []
    for K, expected in DEVIATIONS.items():
        chain = BeakerChain.benna_fusi(K)
        stepped = chain.variance(1.0)
        measured = (chain.variance(), stepped, stepped - 1)  # a new input has a variance of 1
        errors += [abs(math.sqrt(one) - other) for one, other in zip(measured, expected, strict=True)]
    return errors


def _worst(claim: str, bound: float, errors: list[float]) -> Row:
    return Row(claim, f"within {bound:g}", f"{max(errors):.1e}", max(errors) <= bound)


@matplotlib.rc_context(STYLE)
def _figure(best: dict[str, dict[str, float]]) -> Figure:
    figure, (left, middle, right) = panels(
        ["SNR of one memory, 100 000 synapses", "variance", "lifetime with the best number of beakers"]
    )
    for K in FIRST_SNR:
        chain = BeakerChain.benna_fusi(K)
        ages = np.unique(np.geomspace(1, 1e6, 200).round())
        left.loglog(ages, chain.snr(ages, 10**5, dt=1.0), color=BEAKER_COLORS[K], label=f"K = {K}")
    left.axhline(1, color="black", linewidth=0.6, linestyle=":")
    left.set(xlabel="age (memories)", ylabel="SNR", ylim=(0.1, 200))
    left.legend()
    numbers = np.arange(2, 15)
    for x, (color, line) in zip((1.5, 2.0, 3.0), CURVES, strict=False):
        chains = [BeakerChain.from_timescales(int(K), 1.0, x ** (2 * K - 2.0)) for K in numbers]
        spans = [chain.timescales()[-1] for chain in chains]
        variances = [chain.variance() for chain in chains]
        middle.semilogx(spans, variances, color=color, linestyle=line, marker=".", label=f"x = {x:g}")
    middle.set(xlabel="beta / alpha", ylabel="variance of $u_1$ / alpha")
    middle.legend()
    synapses = np.array([int(N) for N in best], float)
    lifetimes = [found["lifetime"] for found in best.values()]
    right.loglog(synapses, lifetimes, "o", color=CURVES[0][0], markersize=3.5, label="best K (beside each)")
    for N, found in best.items():
        right.annotate(
            f"{found['n_beakers']}",
            (int(N), found["lifetime"]),
            xytext=(4, -7),
            textcoords="offset points",
            fontsize=6.5,
        )
    right.loglog(
        synapses, 1.05 * synapses / np.log(synapses), color="black", linewidth=0.8, label="1.05 N / ln N"
    )
    right.set(xlabel="synapses N", ylabel="lifetime (memories)")
    right.legend()
    return figure
