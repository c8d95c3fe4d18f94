"""Final accuracy, seed by seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.lab.figures.style import COLUMN, INK, LINK, STYLE, looks, round_ticks, sheet, write_title
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results import statistics
from experiments.lab.results.runs import Run

BELOW = 0.27  # of the distance between rows, from dots to their interval


@matplotlib.rc_context(STYLE)
def paired_seeds(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure:
    """Final accuracy of every seed, a thin line joining what the methods made of the same seed.

    A row for each method. On the right are the differences within the seeds (each method minus the first
    one), which are what the methods are judged by. Below the dots are their mean and its 95 % confidence
    interval, in the left panel cut at 0 and 100 %: that of two or three seeds may be wider. A seed whose
    training diverged is a cross, and a method with such seeds has neither.

    Args:
        runs: the runs of two methods or more, in the same order of seeds.
        settings: the settings they share.
        title: what was run; the settings in short by default.
        talk: whether for a slide.
    """
    names = list(runs)
    first, *others = names
    figure = sheet(COLUMN, 1.25 + 0.27 * len(names), talk=talk)
    write_title(figure, title or figure_title(settings, methods=names), runs)
    left, right = figure.subplots(ncols=2, sharey=True)
    look_of = looks(names, settings)
    final = {method: np.array([100 * run.final_accuracy for run in runs[method]]) for method in names}
    diverged = {method: np.array([run.diverged for run in runs[method]]) for method in names}
    left.plot(list(final.values()), range(len(names)), color=LINK, linewidth=0.7, zorder=1)
    for place, (method, accuracies) in enumerate(final.items()):
        _dots_and_interval(left, place, accuracies, diverged[method], look_of[method].color, (0, 100))
    left.set_yticks(range(len(names)), [look.label for look in look_of.values()])
    left.set_ylim(len(names) - 0.4, -0.4)
    left.set_xlabel("Final average\naccuracy (%)", fontsize=7.5)
    _mark_chance(left, settings)
    right.axvline(0, color=INK, linewidth=0.6, zorder=0)
    for place, method in enumerate(others, start=1):
        color, either = look_of[method].color, diverged[method] | diverged[first]
        _dots_and_interval(right, place, final[method] - final[first], either, color)
    right.set_xlabel(f"Difference to {look_of[first].label}\n(percentage points)", fontsize=7.5)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(round_ticks(4))
    if len(final[first]) > 1:
        interval = Line2D([], [], color=INK, linewidth=1.2, marker="s", markersize=4)
        figure.legend([interval], ["mean, 95 % confidence interval"], loc="outside lower center")
    return figure


def _mark_chance(axes: Axes, settings: Settings) -> None:
    """Mark chance level where it is in sight."""
    chance, (low, high) = 100 * settings.chance, axes.get_xlim()
    axes.set_xlim(max(low, -2), min(high, 102))  # room for dots at the ends of what there can be
    if low < chance < high:
        axes.axvline(chance, color=INK, linewidth=0.8, linestyle=":", zorder=0)
        place = (chance, 1)
        axes.annotate(
            "chance",
            place,
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            color=INK,
            fontsize=7,
        )


def _dots_and_interval(
    axes: Axes,
    place: int,
    values: np.ndarray,
    diverged: np.ndarray,
    color: str,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> None:
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    for these, mark, look in ((~diverged, "o", edge), (diverged, "x", {})):
        axes.plot(values[these], np.full(these.sum(), place), mark, color=color, markersize=3.5, **look)
    estimate = statistics.estimate(values, diverged.tolist())
    if not math.isnan(estimate.sem):
        axes.hlines(place + BELOW, *np.clip(estimate.ci95, *within), color=color, linewidth=1.2)
        axes.plot(estimate.mean, place + BELOW, "s", color=color, markersize=4)
