"""Populations of synapses, run through the optimizer, remember as the theory says.

Also those with few levels for each variable, those that differ from each other, and with sparse memories.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from cs_optax import BeakerChain, complex_synapse
from cs_optax.memory import Recall, discrete_synapse, simulate, slope
from experiments.claims.outcome import Outcome, Row, within
from experiments.claims.style import CURVES
from experiments.lab.figures import STYLE, panels
from experiments.lab.results.statistics import estimate

N_BEAKERS = 6
YOUNGEST_FITTED = 4  # age from which slopes are fitted
FALLING = (35, 28, 22, 15, 9, 2)  # levels along the chain
LEVELS: dict[str, int | tuple[int, ...]] = {"64": 64, "32": 32, "16": 16, "35 → 2": FALLING}
JITTER = 0.2  # of the logarithms of capacities and conductances, in the population of different synapses
N_KINDS = 8  # of chains in it


def measure(
    seed: int, *, n_synapses: int = 4096, n_memories: int = 20_000, n_trials: int = 8, oldest: int = 1000
) -> Outcome:
    """Measure the SNR of populations at Benna & Fusi's numbers, and compare it with the theory's.

    The first half of the memories makes the population stationary, or nearly so: the slowest timescale is
    8192 memories.

    Args:
        seed: of memories and transitions.
        n_synapses: synapses in each population.
        n_memories: memories that it stores, one after another.
        n_trials: independent populations.
        oldest: largest age that is read.
    """
    chain = BeakerChain.benna_fusi(N_BEAKERS)
    ages = np.unique(np.geomspace(1, oldest, 25).round().astype(int))
    # An input flows on in its own update, so that the noise is without an input that has not flowed.
    theory = math.sqrt(n_synapses) * chain.impulse_response(ages) / math.sqrt(chain.variance(1.0) - 1)

    def run(tx: Any, **options: Any) -> Recall:
        return simulate(
            optax.chain(optax.sgd(1.0), tx),
            n_synapses,
            ages,
            n_memories=n_memories,
            n_trials=n_trials,
            seed=seed,
            read_every=4,
            **options,
        )

    continuous = run(complex_synapse(chain=chain))
    found = {"continuous": continuous}
    rows = [
        _near(
            f"SNR over theory, N = {n_synapses}, K = 6, ages 1 to {oldest}", continuous, theory, 0.93, 1.07
        ),
        within("slope", -0.52, _slope(continuous), -0.46),
    ]
    found["sparse"] = run(complex_synapse(chain=chain), coding_level=0.1)
    claim = "SNR over theory, a tenth of the synapses in each memory"
    rows.append(_near(claim, found["sparse"], theory, 0.93, 1.07))
    found["different"], mixed = _different(run, chain, ages, seed, n_synapses)
    claim = f"SNR over theory, {N_KINDS} chains of capacities and conductances ± {JITTER:.0%}"
    rows.append(_near(claim, found["different"], mixed, 0.93, 1.07))
    rows.append(within("slope, the same", -0.52, _slope(found["different"]), -0.46))
    for name, levels in LEVELS.items():
        found[name] = run(discrete_synapse(chain, levels, seed=seed))
        rows += _of_levels(name, found[name], continuous)
    numbers = {
        "ages": ages.tolist(),
        "theory": theory.tolist(),
        "theory of different synapses": mixed.tolist(),
        "snr of each trial": {name: recall.snr.tolist() for name, recall in found.items()},
    }
    return Outcome(rows, numbers, {"monte-carlo": _figure(found, theory)})


def _different(
    run: Any, chain: BeakerChain, ages: np.ndarray, seed: int, n_synapses: int
) -> tuple[Recall, np.ndarray]:
    """A population of several chains, and the SNR that theory gives for it.

    All are read alike: signals add up, and so do variances.
    """
    random = np.random.default_rng(seed)

    def jittered(values: Sequence[float]) -> list[float]:
        return list(np.array(values) * np.exp(random.normal(0.0, JITTER, len(values))))

    chains = [BeakerChain(jittered(chain.capacities), jittered(chain.conductances)) for _ in range(N_KINDS)]
    sizes = [len(part) for part in np.array_split(np.arange(n_synapses), N_KINDS)]
    ends = np.cumsum(sizes)[:-1]
    names = [f"kind {i}" for i in range(N_KINDS)]

    def rule(pattern: jax.Array) -> dict[str, jax.Array]:
        return dict(zip(names, jax.numpy.split(pattern, ends), strict=True))

    kinds = {name: complex_synapse(chain=one) for name, one in zip(names, chains, strict=True)}
    recall = run(optax.partition(kinds, {name: name for name in names}), rule=rule)
    signal = sum(size * one.impulse_response(ages) for size, one in zip(sizes, chains, strict=True))
    noise = sum(size * (one.variance(1.0) - 1) for size, one in zip(sizes, chains, strict=True))
    return recall, np.asarray(signal / math.sqrt(noise))


def _slope(recall: Recall) -> float:
    return slope(recall.ages, recall.snr.mean(axis=0), (YOUNGEST_FITTED, math.inf))


def _near(claim: str, recall: Recall, expected: np.ndarray, low: float, high: float) -> Row:
    """Each age's mean over trials over what is expected must lie in an interval."""
    ratios = recall.snr.mean(axis=0) / expected
    overall = estimate((recall.snr / expected).mean(axis=1))
    return Row(
        claim,
        f"{low} to {high} at every age",
        f"{ratios.min():.3f} to {ratios.max():.3f}, mean {overall.mean:.3f} ± {overall.sem:.3f}",
        bool(low <= ratios.min() and ratios.max() <= high),
    )


def _of_levels(name: str, recall: Recall, continuous: Recall) -> list[Row]:
    """The ratio of SNR to continuous variables, geometric mean over ages, and the slope."""
    fitted = recall.ages >= YOUNGEST_FITTED
    ratio = recall.snr.mean(axis=0)[fitted] / continuous.snr.mean(axis=0)[fitted]
    overall, falls = float(np.exp(np.log(ratio).mean())), _slope(recall)
    if name == "16":
        claim = "slope, 16 levels: too few"
        return [Row(claim, "< -0.58", f"{falls:.3f} (ratio {overall:.3f})", falls < -0.58)]
    if name == "35 → 2":
        claim = "SNR over that of continuous variables, 35 to 2 levels along the chain"
        return [Row(claim, "≥ 0.80", f"{overall:.3f} (slope {falls:.3f})", overall >= 0.80)]
    return [
        within(f"SNR over that of continuous variables, {name} levels", 0.76, overall, 0.84),
        within(f"slope, {name} levels", -0.52, falls, -0.46),
    ]


@matplotlib.rc_context(STYLE)
def _figure(found: dict[str, Recall], theory: np.ndarray) -> Figure:
    figure, (left, right) = panels(["measured through the optimizer", "SNR over theory"])
    ages = found["continuous"].ages
    left.loglog(ages, theory, color="black", linewidth=0.8, label="theory")
    right.axhline(1, color="black", linewidth=0.8)
    shown = {
        "continuous": "continuous",
        "different": "different chains",
        "64": "64 levels",
        "35 → 2": "35 to 2 levels",
        "16": "16 levels",
    }
    for (name, label), (color, line) in zip(shown.items(), CURVES, strict=False):
        snr = found[name].snr
        mean, sem = snr.mean(axis=0), snr.std(axis=0, ddof=1) / math.sqrt(len(snr))
        left.loglog(ages, mean, color=color, linestyle=line)
        right.semilogx(ages, mean / theory, color=color, linestyle=line, label=label)
        right.fill_between(
            ages, (mean - sem) / theory, (mean + sem) / theory, color=color, alpha=0.25, linewidth=0
        )
    left.set(xlabel="age (memories)", ylabel="SNR")
    left.legend()
    right.set(xlabel="age (memories)", ylabel="SNR / theory", ylim=(0, 1.35))
    right.legend(loc="lower left", title=f"± SEM, {len(snr)} trials")
    return figure
