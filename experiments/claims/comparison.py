"""How long simpler synapses remember, and how well at first: two weights, rows of states, exponentials."""

import math
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cs_optax import BeakerChain
from cs_optax.memory import (
    MarkovSynapse,
    bistable,
    cascade,
    exponential_envelope,
    lifetime,
    memory_frontier,
    multistate,
    optimal_n_beakers,
)
from experiments.claims.outcome import Outcome, Row
from experiments.claims.style import CURVES
from experiments.lab.figures import STYLE, panels

SHOWN = 10**5  # synapses in the figure

# By the model's name and the number of synapses: the setting that is best, and the lifetime it gives.
Best = dict[str, dict[int, tuple[float, float]]]


def measure(seed: int, *, largest: int = 8) -> Outcome:
    """Compare lifetimes of bistable, multistate and cascade synapses, exponentials and complex synapses.

    Each model is at its best for each number of synapses: its transition probability, number of states or
    levels, or its timescale.

    Args:
        seed: has no effect: nothing here is random.
        largest: exponent of the largest number of synapses, at least 5.
    """
    del seed
    few, many = [10**3], [10**exponent for exponent in range(4, largest + 1)]
    small = [10**3, 10**4, 10**5]  # the best rows have 1.7 sqrt(N) states, too many for a matrix beyond
    best: Best = {
        "bistable": {N: _best(_bistable, _probabilities(N), N) for N in few + many},
        "multistate": {N: _best(_multistate, _state_numbers(N), N) for N in small},
        "cascade": {N: _best(_cascade, range(1, 25), N) for N in many},
        "exponential": {N: _best(_exponential, _timescales(N), N) for N in many},
        "complex synapse": {N: _complex(N) for N in many},
    }
    rows = [*_scalings(best, few[0]), *_against_exponentials(best), _in_balance(best, max(small))]
    surpassed = _most_of_the_frontier()
    rows.append(
        Row(
            "SNR of bistable and cascade synapses over the frontier of Lahiri & Ganguli",
            "≤ 1 at every age from 1",
            f"at most {surpassed:.3f}",
            surpassed <= 1,
        )
    )
    numbers = {
        name: {str(N): {"setting": float(setting), "lifetime": age} for N, (setting, age) in found.items()}
        for name, found in best.items()
    }
    return Outcome(rows, numbers, {"comparison": _figure(best)})


def _scalings(best: Best, fewest: int) -> list[Row]:
    """Lifetimes that grow as the square root of the number of synapses."""
    rows = []
    for name, low, high in (("bistable", 0.35, 0.37), ("cascade", 0.85, 1.2)):
        scaled = [found[1] / math.sqrt(N) for N, found in best[name].items()]
        sizes = f"N = 1e{math.log10(min(best[name])):.0f} … 1e{math.log10(max(best[name])):.0f}"
        rows.append(
            Row(
                f"best lifetime over sqrt(N), {name}, {sizes}",
                f"{low} to {high}",
                f"{min(scaled):.3f} to {max(scaled):.3f}",
                all(low <= value <= high for value in scaled),
            )
        )
    of_fewest = _best(_cascade, range(1, 25), fewest)[1] / math.sqrt(fewest)
    claim = f"best lifetime over sqrt(N), cascade, N = {fewest:.0e}: too few"
    return [*rows, Row(claim, "reported", f"{of_fewest:.3f}")]


def _against_exponentials(best: Best) -> list[Row]:
    """The complex synapse beside exponentials of any timescale."""
    ages = np.arange(8 * 4**5 + 1)  # to beta
    below = exponential_envelope(ages, 1) / BeakerChain.benna_fusi(6).snr(ages, 1, dt=1.0)
    power_law = below[8:]  # from alpha
    longer = best["exponential"][SHOWN][1] / best["complex synapse"][SHOWN][1]
    return [
        Row(
            "envelope of all exponentials over the complex synapse, K = 6",
            "≤ 2.0 at every age from alpha to beta",
            f"{power_law.min():.2f} to {power_law.max():.2f}; below alpha up to {below[:8].max():.2f}",
            bool(power_law.max() <= 2.0),
        ),
        Row(
            f"one unbounded exponential at its best outlives the complex synapse, N = {SHOWN:.0e}",
            "reported",
            f"{longer:.2f} times as long",
        ),
    ]


def _in_balance(best: Best, largest: int) -> Row:
    """The lifetime of rows of states, which grows as the number of synapses."""
    scaled = [found[1] / N for N, found in best["multistate"].items()]
    start = float(multistate(int(best["multistate"][SHOWN][0])).snr(0, SHOWN))
    return Row(
        f"best lifetime over N, multistate in exact balance, N = 1e3 … 1e{math.log10(largest):.0f}",
        "0.29 ± 0.01",
        f"{min(scaled):.3f} to {max(scaled):.3f}, at an SNR of {start:.2f} at first",
        all(0.28 <= value <= 0.30 for value in scaled),
    )


Model = BeakerChain | MarkovSynapse


def _bistable(probability: float) -> Model:
    return bistable(probability)


def _multistate(n_states: float) -> Model:
    return multistate(int(n_states))


def _cascade(n_levels: float) -> Model:
    return cascade(int(n_levels))


def _exponential(timescale: float) -> Model:
    return BeakerChain.from_timescales(1, timescale, timescale)


def _complex(n_synapses: int) -> tuple[float, float]:
    found = optimal_n_beakers(n_synapses)
    return found.n_beakers, found.lifetime


def _probabilities(n_synapses: int) -> np.ndarray:
    return np.minimum(np.geomspace(0.5, 2.0, 81) * math.e / math.sqrt(n_synapses), 1.0)


def _state_numbers(n_synapses: int) -> list[int]:
    """Around the best one, 1.7 sqrt(N)."""
    return sorted({round(m) for m in np.geomspace(0.7, 1.4, 9) * 1.7 * math.sqrt(n_synapses)})


def _timescales(n_synapses: int) -> np.ndarray:
    return np.geomspace(0.5, 2.0, 21) * 2 * n_synapses / math.e


def _best(
    model: Callable[[float], Model], settings: "np.ndarray | range | list[int]", n_synapses: int
) -> tuple[float, float]:
    """The setting with which memories live longest, and how long that is.

    It must lie inside of what is tried.
    """
    lifetimes = {setting: lifetime(model(setting), n_synapses) for setting in settings}
    setting = max(lifetimes, key=lifetimes.__getitem__)
    assert setting not in (settings[0], settings[-1]), f"N = {n_synapses}: best at an edge, {setting}"
    return setting, lifetimes[setting]


def _most_of_the_frontier() -> float:
    """The largest SNR over the frontier at any age; at age 0 some are on it."""
    ages = np.unique(np.geomspace(1, 1e5, 120).round())
    models = [bistable(q) for q in (0.01, 0.1, 0.5, 1.0)] + [cascade(n) for n in range(2, 13)]
    ratios = [model.snr(ages, 1) / memory_frontier(ages, 1, model.n_states) for model in models]
    return float(np.max(ratios))


@matplotlib.rc_context(STYLE)
def _figure(best: Best) -> Figure:
    figure, (left, right) = panels(
        [f"SNR of one memory, $10^{{{math.log10(SHOWN):.0f}}}$ synapses", "lifetime"]
    )
    ages = np.unique(np.geomspace(1, 1e6, 250).round())
    models: dict[str, Model] = {
        "complex synapse": BeakerChain.benna_fusi(int(best["complex synapse"][SHOWN][0])),
        "exponential": _exponential(best["exponential"][SHOWN][0]),
        "cascade": cascade(int(best["cascade"][SHOWN][0])),
        "multistate": multistate(int(best["multistate"][SHOWN][0])),
        "bistable": bistable(best["bistable"][SHOWN][0]),
    }
    for (name, model), (color, line) in zip(models.items(), CURVES, strict=False):
        snr = model.snr(ages, SHOWN, dt=1.0) if isinstance(model, BeakerChain) else model.snr(ages, SHOWN)
        left.loglog(ages, snr, color=color, linestyle=line)
        synapses = np.array(list(best[name]), float)
        lifetimes = [found[1] for found in best[name].values()]
        right.loglog(synapses, lifetimes, color=color, linestyle=line, marker=".", label=name)
    left.loglog(
        ages, exponential_envelope(ages, SHOWN), color="black", linewidth=0.7, label="all exponentials"
    )
    left.axhline(1, color="black", linewidth=0.6, linestyle=":")
    left.set(xlabel="age (memories)", ylabel="SNR", ylim=(0.3, 1500))
    left.legend(loc="upper right", title="each at its best lifetime")
    right.set(xlabel="synapses N", ylabel="best lifetime (memories)")
    right.legend()
    return figure
