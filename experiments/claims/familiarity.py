"""A network of neurons recognises what it has seen, for almost as long as it has synapses."""

import math

import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from cs_optax import BeakerChain, complex_synapse
from cs_optax.memory import Recall, hebbian, lifetime, optimal_n_beakers, simulate, slope
from experiments.claims.outcome import Outcome, Row, within
from experiments.claims.style import CURVES
from experiments.lab.figures import STYLE, panels

LAW = 1.04  # of the lifetime, n/ln(n)


def measure(
    seed: int, *, n_neurons: tuple[int, ...] = (64, 128, 256), n_readings: int = 1000, n_trials: int = 4
) -> Outcome:
    """Measure for how long a fully connected network is familiar with random patterns.

    A pattern of ±1 changes the weight between each two neurons by the product of their activities; its
    familiarity is the sum of weights times products, the energy of a Hopfield network but for its sign.
    There are ``n = neurons (neurons - 1)/2`` synapses, each with the number of beakers that is best for
    ``n``. The lifetime is the age at which the fitted power law reaches an SNR of 1; in theory, where this
    reading's noise is without the memory's own share (`cs_optax.memory.lifetime`).

    Args:
        seed: of the patterns.
        n_neurons: sizes of networks.
        n_readings: moments at which familiarity is read.
        n_trials: independent networks of each size.
    """
    rows, found = [], {}
    for neurons in n_neurons:
        n = neurons * (neurons - 1) // 2
        law = LAW * n / math.log(n)
        chain = BeakerChain.benna_fusi(optimal_n_beakers(n).n_beakers)
        recall = _recall(chain, neurons, law, seed, n_readings, n_trials)
        snr = recall.snr.mean(axis=0)
        falls = slope(recall.ages, snr)
        life = float(np.exp(np.log(recall.ages).mean() - np.log(snr).mean() / falls))
        name = f"{neurons} neurons, {n} synapses, K = {chain.n_beakers}"
        rows.append(within(f"slope of familiarity, {name}", -0.54, falls, -0.46))
        rows.append(
            Row(
                f"lifetime of familiarity, {name}",
                f"{LAW} n/ln(n) = {law:.0f} ± 25 %",
                f"{life:.0f} ({life / law - 1:+.0%})",
                abs(life / law - 1) <= 0.25,
            )
        )
        variance = chain.variance(1.0)
        theory = lifetime(chain, n, threshold=math.sqrt((variance - 1) / variance))
        rows.append(
            Row(
                f"the same over theory, {name}",
                "0.85 to 1.15",
                f"{life / theory:.3f}",
                0.85 <= life / theory <= 1.15,
            )
        )
        found[neurons] = (chain, recall, falls, life)
    numbers = {
        str(neurons): {
            "n_beakers": chain.n_beakers,
            "ages": recall.ages.tolist(),
            "snr of each trial": recall.snr.tolist(),
            "slope": falls,
            "lifetime": life,
        }
        for neurons, (chain, recall, falls, life) in found.items()
    }
    return Outcome(rows, numbers, {"familiarity": _figure(found)})


def _recall(
    chain: BeakerChain, neurons: int, oldest: float, seed: int, n_readings: int, n_trials: int
) -> Recall:
    """Familiarity with patterns from ``alpha`` to about the lifetime that is expected."""
    ages = np.unique(np.geomspace(8, oldest, 16).round().astype(int))
    burn_in = round(max(2 * chain.timescales()[-1], ages.max()))
    read_every = max(1, burn_in // n_readings)
    return simulate(
        optax.chain(optax.sgd(1.0), complex_synapse(chain=chain)),
        neurons,
        ages,
        n_memories=burn_in + n_readings * read_every,
        n_trials=n_trials,
        seed=seed,
        burn_in=burn_in,
        read_every=read_every,
        rule=hebbian,
    )


@matplotlib.rc_context(STYLE)
def _figure(found: dict[int, tuple[BeakerChain, Recall, float, float]]) -> Figure:
    figure, (panel,) = panels(["familiarity of a pattern"])
    for (neurons, (chain, recall, _, _)), (color, _) in zip(found.items(), CURVES, strict=False):
        n = neurons * (neurons - 1) // 2
        ages = np.unique(np.geomspace(1, 2 * recall.ages.max(), 100).round())
        theory = math.sqrt(n) * chain.impulse_response(ages) / math.sqrt(chain.variance(1.0) - 1)
        panel.loglog(ages, theory, color=color, linewidth=0.8)
        snr = recall.snr
        panel.errorbar(
            recall.ages,
            snr.mean(axis=0),
            snr.std(axis=0, ddof=1) / math.sqrt(len(snr)),
            color=color,
            fmt="o",
            markersize=3,
            label=f"{neurons} neurons",
        )
    panel.axhline(1, color="black", linewidth=0.6, linestyle=":")
    panel.set(xlabel="age (patterns)", ylabel="SNR", ylim=(0.3, None))
    panel.legend(title="lines: theory")
    return figure
