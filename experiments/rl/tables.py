"""The tables of a study: the paper's claims beside what was measured, and all methods."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab.results.statistics import estimate, paired_difference
from experiments.lab.system.files import write_json
from experiments.lab.system.tables import Table
from experiments.rl.measures import Measured, relearning
from experiments.rl.methods import METHODS
from experiments.rl.settings import Settings
from experiments.rl.study import Compared, Studied

VERDICTS = {True: "yes", False: "NO", None: "–"}


def ratio(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Geometric mean of paired ratios, first over second, and its 95 % interval."""
    found = estimate(np.log(first / second))
    low, high = found.ci95
    return math.exp(found.mean), math.exp(low), math.exp(high)


def claims_table(studied: Studied, settings: Settings, tabular: Mapping[str, Any] | None) -> Table:
    """The table claim · paper · ours · holds."""
    rows = [*_of_synapses(studied, settings), *_of_beakers(studied, settings), *_of_one_task(studied)]
    if tabular is not None:
        for claim, found in tabular["ratios"].items():
            if claim.startswith("steps to a good policy, plain over complex"):
                three = found["ratio"], *found["ci95"]
                rows.append(["tabular Q(λ): " + claim, "sooner", f"{_words(three)} ×", _above_one(three)])
    head = ["claim", "paper", "ours: mean, 95 % interval", "holds"]
    return Table("**Claims of the paper.**", head, rows, [0] * 4)


def methods_table(methods: Mapping[str, Compared]) -> Table:
    """Every method at its best, and its differences from Adam, paired by seed."""
    head = ["method", "numbers", "area (%)", "− Adam", "p", "steps to relearn", "Adam's over its own"]
    head += ["forgotten (points)", "other task kept (%)", "phases missed (%)"]
    rows: list[list[Any]] = []
    adam = methods["adam"].measured if "adam" in methods else None
    for name, one in methods.items():
        found, numbers = one.measured, ", ".join(f"{key} {value:g}" for key, value in one.numbers.items())
        marks = f" (edge: {', '.join(one.edges)})" if one.edges else ""
        row: list[Any] = [METHODS[name].label, numbers + marks, _estimate(100 * found.area, 1)]
        if adam is None or found is adam:
            row += [None, None]
        else:
            difference = paired_difference(100 * found.area, 100 * adam.area)
            row += [_interval(difference.mean, *difference.ci95, 1), f"{difference.p_value_sign_flip:.3f}"]
        row.append(_estimate(found.relearned, 0))
        row.append(None if adam is None or found is adam else _words(ratio(adam.relearned, found.relearned)))
        row += [_estimate(100 * found.forgotten, 0), _estimate(100 * found.kept, 0)]
        row.append(f"{100 * found.missed.mean():.0f}")
        rows.append(row)
    return Table(
        "**Every method at its best.** Means over seeds, 95 % intervals.", head, rows, [0] * len(head)
    )


def answers_table(methods: Mapping[str, Compared]) -> Table:
    """Readouts of a chain against the tuned single average that does the same, and against no average."""
    pairs = [
        ("cs", "adam"),
        ("cs-kaplanis", "adam"),
        ("cs-kaplanis", "cs"),
        ("listen-target", "adam"),
        ("listen-act", "adam"),
        ("listen-target", "average-target"),
        ("listen-act", "average-act"),
        ("cs", "average-act"),
        ("cs", "l2-anchor"),
    ]
    rows = []
    for first, second in pairs:
        if first in methods and second in methods:
            a, b = methods[first].measured, methods[second].measured
            area = paired_difference(100 * a.area, 100 * b.area)
            fallen = paired_difference(100 * a.forgotten, 100 * b.forgotten)
            rows.append(
                [
                    f"{METHODS[first].label} − {METHODS[second].label}",
                    _interval(area.mean, *area.ci95, 1),
                    f"{area.p_value_sign_flip:.3f}",
                    _words(ratio(b.relearned, a.relearned)),
                    _interval(fallen.mean, *fallen.ci95, 0),
                ]
            )
    head = ["difference", "area (points)", "p (sign flips)", "relearns sooner (×)", "forgotten (points)"]
    return Table("**Differences, paired by seed.** 95 % intervals.", head, rows, [0] * len(head))


def tabular_result(folder: Path, seed: int) -> dict[str, Any]:
    """What `experiments.claims.q_learning` measures; kept, and found again."""
    from experiments.claims import measure
    from experiments.lab.options.pinned import pinned
    from experiments.rl.kept import code

    path = folder / "tabular.json"
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("seed") == seed and record.get("code") == code():
            return dict(record["numbers"])
    with pinned():
        numbers = measure("q-learning", seed).numbers
    write_json(path, {"seed": seed, "code": code(), "numbers": numbers})
    return dict(numbers)


def _of_synapses(studied: Studied, settings: Settings) -> list[list[Any]]:
    rows: list[list[Any]] = []
    if "adam" not in studied.methods:
        return rows
    adam = studied.methods["adam"]
    for name in ("cs-kaplanis", "cs"):
        if name in studied.methods:
            one = studied.methods[name]
            three = ratio(adam.measured.relearned, one.measured.relearned)
            claim = f"{METHODS[name].label}: tasks that come back are relearned sooner than with Adam"
            claim = claim.replace("the same", "complex synapses")
            rows.append([claim, "sooner", f"{_words(three)} ×", _above_one(three)])
            if settings.phases >= 6:
                times = _over_alternations(one, settings)
                claim = "… and sooner with each return: first half of the phases over the second"
                rows.append([claim, "sooner", f"{_words(times)} ×", _above_one(times)])
    if settings.phases >= 6:
        times = _over_alternations(adam, settings)
        rows.append(["Adam alone: first half of the phases over the second", "–", f"{_words(times)} ×", "–"])
    return rows


def _over_alternations(one: Compared, settings: Settings) -> tuple[float, float, float]:
    times = np.minimum(relearning(one.kept.scores, settings), settings.steps)[:, 2:]
    half = times.shape[1] // 4 * 2  # as many phases of each task in both
    return ratio(times[:, :half].mean(axis=1), times[:, -half:].mean(axis=1))


def _of_beakers(studied: Studied, settings: Settings) -> list[list[Any]]:
    if not studied.beakers:
        return []
    most = studied.methods["cs-kaplanis"].measured
    rows: list[list[Any]] = []
    for number, found in studied.beakers.items():
        three = ratio(found.relearned, most.relearned)
        claim = f"{settings.beakers} beakers relearn sooner than {number}"
        rows.append([claim, "not found", f"{_words(three)} ×", "–"])
    return rows


def _of_one_task(studied: Studied) -> list[list[Any]]:
    """The cart-pole alone: what a synapse costs where nothing comes back, and without replay."""
    rows: list[list[Any]] = []
    places = (
        (studied.alone, "cart-pole alone, usual replay", None),
        (studied.unreplayed, "cart-pole alone, replay of one batch", "higher"),
    )
    for found, where, paper in places:
        for name in found:
            if name != "adam" and "adam" in found:
                difference = paired_difference(100 * found[name].area, 100 * found["adam"].area)
                words = _interval(difference.mean, *difference.ci95, 1) + " points"
                claims = paper is not None and name in ("cs", "cs-kaplanis")
                verdict = VERDICTS[bool(difference.ci95[0] > 0)] if claims else "–"
                claim = f"{where}: area with {METHODS[name].label} − Adam"
                rows.append([claim, paper if claims else "–", words, verdict])
    return rows


def _above_one(three: tuple[float, ...]) -> str:
    return VERDICTS[bool(three[1] > 1)]


def _words(three: tuple[float, ...]) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*three)


def _interval(mean: float, low: float, high: float, digits: int) -> str:
    return f"{mean:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def _estimate(values: np.ndarray, digits: int) -> str:
    found = estimate(values)
    low, high = found.ci95
    return f"{found.mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def numbers_of(one: Measured) -> dict[str, list[float]]:
    """Every number of each seed, as JSON can hold it."""
    return {name: np.asarray(value).tolist() for name, value in one._asdict().items()}
