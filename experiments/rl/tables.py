"""The tables of a study: the paper's claims beside what was measured, all methods, and their differences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.lab.results.statistics import PairedDifference, estimate, paired_difference
from experiments.lab.system.tables import Table
from experiments.rl.measures import FIRST_COUNTED, Measured, relearning
from experiments.rl.methods import METHODS
from experiments.rl.settings import Settings
from experiments.rl.study import Compared, Studied

NOTHING = "–"
Three = tuple[float, float, float]  # a mean, and the ends of its 95 % interval

# Each method against Adam, and a chain against the single average that does the same.
PAIRS = (
    ("cs", "adam"),
    ("cs-kaplanis", "adam"),
    ("cs-kaplanis", "cs"),
    ("listen-target", "adam"),
    ("listen-act", "adam"),
    ("listen-target", "average-target"),
    ("listen-act", "average-act"),
    ("average-target", "adam"),
    ("average-act", "adam"),
    ("l2-anchor", "adam"),
    ("replay", "adam"),
    ("cs", "average-act"),
    ("cs", "l2-anchor"),
)


def ratio(first: np.ndarray, second: np.ndarray, diverged: Sequence[bool] = ()) -> Three:
    """Geometric mean of paired ratios, first over second, and its 95 % interval."""
    found = estimate(np.log(first / second), diverged)
    low, high = found.ci95
    return math.exp(found.mean), math.exp(low), math.exp(high)


def sooner(one: Measured, other: Measured) -> Three:
    """How many times sooner the first relearns than the second."""
    return ratio(other.relearned, one.relearned, either_diverged(one, other))


def difference(one: Measured, other: Measured, name: str) -> PairedDifference:
    """The first minus the second in a measure from 0 to 1, in points, paired by seed."""
    first, second = (100 * getattr(each, name) for each in (one, other))
    return paired_difference(first, second, either_diverged(one, other))


def either_diverged(one: Measured, other: Measured) -> list[bool]:
    """Whether an agent of each seed diverged."""
    return (one.diverged | other.diverged).tolist()


def claims_table(studied: Studied, settings: Settings, tabular: Mapping[str, Any] | None) -> Table:
    """The table claim · paper · ours · holds."""
    rows = [*_of_synapses(studied, settings), *_of_beakers(studied, settings), *_of_one_task(studied)]
    if tabular is not None:
        for claim, found in tabular["ratios"].items():
            if claim.startswith("steps to a good policy"):
                three = found["ratio"], *found["ci95"]
                rows.append(["tabular Q(λ): " + claim, "sooner", f"{_words(three)} ×", verdict(three, 1)])
    head = ["claim", "paper", "ours: mean, 95 % interval", "holds"]
    return Table("**Claims of the paper.**", head, rows, [0] * 4)


def methods_table(methods: Mapping[str, Compared]) -> Table:
    """Every method at its best, and its differences from Adam, paired by seed."""
    head = ["method", "numbers", "area (%)", "− Adam", "p", "steps to relearn", "Adam's over its own"]
    head += [
        "forgotten (points)",
        "other task kept (%)",
        "good at the first evaluation (% of phases)",
        "never good (% of phases)",
    ]
    rows: list[list[Any]] = []
    adam = methods["adam"].measured if "adam" in methods else None
    for name, one in methods.items():
        found, numbers = one.measured, ", ".join(f"{key} {value:g}" for key, value in one.numbers.items())
        marks = f" (edge: {', '.join(one.edges)})" if one.edges else ""
        compared = adam is not None and found is not adam
        area = difference(found, adam, "area") if adam is not None and compared else None
        rows.append(
            [
                label(name, found),
                numbers + marks,
                _estimate(found, 100 * found.area, 1),
                None if area is None else _signed(area, 1),
                None if area is None else _p_value(area),
                _estimate(found, found.relearned, 0),
                _words(sooner(found, adam)) if adam is not None and compared else None,
                _estimate(found, 100 * found.forgotten, 0),
                _estimate(found, 100 * found.kept, 0),
                f"{100 * found.at_once.mean():.0f}",
                f"{100 * found.missed.mean():.0f}",
            ]
        )
    title = "**Every method at its best.** Means over seeds, 95 % intervals."
    return Table(title, head, rows, [0] * len(head))


def answers_table(methods: Mapping[str, Compared]) -> Table:
    """Readouts of a chain against the tuned single average that does the same, and against no average."""
    rows: list[list[Any]] = []
    for first, second in PAIRS:
        if first in methods and second in methods:
            a, b = methods[first].measured, methods[second].measured
            area = difference(a, b, "area")
            rows.append(
                [
                    f"{label(first, a)} − {label(second, b)}",
                    _signed(area, 1),
                    _p_value(area),
                    _words(sooner(a, b)),
                    _signed(difference(a, b, "forgotten"), 0),
                ]
            )
    head = ["difference", "area (points)", "p (sign flips)", "relearns sooner (×)", "forgotten (points)"]
    return Table("**Differences, paired by seed.** 95 % intervals.", head, rows, [0] * len(head))


def label(name: str, found: Measured) -> str:
    """The name of a method, and how many of its agents diverged."""
    n = int(found.diverged.sum())
    return METHODS[name].label + (f" ({n} of {len(found.diverged)} agents diverged)" if n else "")


def verdict(three: Three, least: float) -> str:
    """Whether a claim holds: the interval lies above, below, or on both sides; nothing without one."""
    _, low, high = three
    if math.isnan(low):
        return NOTHING
    return "yes" if low > least else "NO" if high < least else "not shown"


def _of_synapses(studied: Studied, settings: Settings) -> list[list[Any]]:
    rows: list[list[Any]] = []
    if "adam" not in studied.methods:
        return rows
    adam = studied.methods["adam"]
    for name in ("cs-kaplanis", "cs"):
        if name in studied.methods:
            one = studied.methods[name]
            three = sooner(one.measured, adam.measured)
            claim = f"{label(name, one.measured)}: tasks that come back are relearned sooner than with Adam"
            rows.append([claim, "sooner", f"{_words(three)} ×", verdict(three, 1)])
            if settings.phases >= 6:
                times = _over_alternations(one, settings)
                claim = "… and sooner with each return: first half of the phases over the second"
                rows.append([claim, "sooner", f"{_words(times)} ×", verdict(times, 1)])
    if settings.phases >= 6:
        times = _over_alternations(adam, settings)
        claim = "Adam alone: first half of the phases over the second"
        rows.append([claim, NOTHING, f"{_words(times)} ×", NOTHING])
    return rows


def _over_alternations(one: Compared, settings: Settings) -> Three:
    times = np.minimum(relearning(one.kept.scores, settings), settings.steps)[:, FIRST_COUNTED:]
    half = times.shape[1] // 4 * 2  # as many phases of each task in both
    first, second = times[:, :half].mean(axis=1), times[:, -half:].mean(axis=1)
    return ratio(first, second, one.measured.diverged.tolist())


def _of_beakers(studied: Studied, settings: Settings) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for number, found in studied.beakers.items():
        three = sooner(studied.methods["cs-kaplanis"].measured, found)
        claim = f"{settings.beakers} beakers relearn sooner than {number} with the same numbers"
        rows.append([claim, "not found", f"{_words(three)} ×", NOTHING])
    return rows


def _of_one_task(studied: Studied) -> list[list[Any]]:
    """The cart-pole alone: what a synapse costs where nothing comes back, and without replay."""
    rows: list[list[Any]] = []
    places = (
        (studied.alone, "cart-pole alone", None),
        (studied.unreplayed, "cart-pole alone, replay of one batch", "higher"),
    )
    for found, where, paper in places:
        for name in found:
            if name != "adam" and "adam" in found:
                area = difference(found[name], found["adam"], "area")
                claims = paper is not None and name in ("cs", "cs-kaplanis")
                claim = f"{where}: area with {label(name, found[name])} − {label('adam', found['adam'])}"
                holds = verdict((area.mean, *area.ci95), 0) if claims else NOTHING
                rows.append([claim, paper if claims else NOTHING, _signed(area, 1) + " points", holds])
    return rows


def _words(three: Three) -> str:
    return _with_interval("{:.2f}", *three)


def _signed(found: PairedDifference, digits: int) -> str:
    return _with_interval(f"{{:+.{digits}f}}", found.mean, *found.ci95)


def _estimate(one: Measured, values: np.ndarray, digits: int) -> str:
    found = estimate(values, one.diverged.tolist())
    return _with_interval(f"{{:.{digits}f}}", found.mean, *found.ci95)


def _with_interval(form: str, mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return NOTHING
    text = form.format(mean) + ("" if math.isnan(low) else f" ({form.format(low)} to {form.format(high)})")
    return text.replace("-", "−")  # as the head has it


def _p_value(found: PairedDifference) -> str:
    p = found.p_value_sign_flip
    return NOTHING if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def numbers_of(one: Measured) -> dict[str, list[float]]:
    """Every number of each seed, as JSON can hold it."""
    return {name: np.asarray(value).tolist() for name, value in one._asdict().items()}
