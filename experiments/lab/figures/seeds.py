"""Final accuracy, seed by seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.lab.figures.style import (
    COLUMN,
    INK,
    LINK,
    PAGE,
    STYLE,
    Look,
    capital,
    looks,
    mark_chance_if_near,
    round_ticks,
    write_title,
)
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results import statistics
from experiments.lab.results.runs import Run


@matplotlib.rc_context(STYLE)
def paired_seeds(runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None) -> Figure:
    """Final accuracy of every seed, a thin line joining what the methods made of the same seed.

    On the right the differences within the seeds (each method minus the first one), which are what
    the methods are judged by. Beside the dots are their mean and its 95 % confidence interval, which the left
    panel cuts at 0 and 100 %: that of two or three seeds may be wider. A seed whose training diverged is a
    cross, and a method with such seeds has neither.

    Args:
        runs: the runs of two methods or more, in the same order of seeds.
        settings: the settings they share.
        title: what was run; the settings in short by default.
    """
    names = list(runs)
    first, *others = names
    width = min(PAGE, COLUMN * (1 + max(0, len(names) - 2) / 6))
    figure = Figure(figsize=(width, 2.8 if len(names) == 2 else 3.2))  # long names stand aslant
    write_title(figure, title or figure_title(settings, methods=names), runs)
    left, right = figure.subplots(ncols=2, width_ratios=[len(names), len(others) + 0.1])
    look_of = looks(names, settings)
    final = {method: np.array([100 * run.final_accuracy for run in runs[method]]) for method in names}
    diverged = {method: np.array([run.diverged for run in runs[method]]) for method in names}
    left.plot(range(len(names)), list(final.values()), color=LINK, linewidth=0.7, zorder=1)
    for place, (method, accuracies) in enumerate(final.items()):
        # Where two methods stand alone, the intervals stand outside of the lines between them.
        beside = -0.2 if place == 0 else 0.2
        _dots_and_interval(left, place, place + beside, accuracies, diverged[method], look_of[method].color)
    _name_methods(left, list(look_of.values()))
    left.set_xlim(-0.5, len(names) - 0.5)
    left.set_ylabel("Final average\naccuracy (%)")
    mark_chance_if_near(left, settings, highest=102)
    left.set_ylim(bottom=max(left.get_ylim()[0], -2))
    right.axhline(0, color=INK, linewidth=0.6, zorder=0)
    for place, method in enumerate(others):
        color = "black" if len(others) == 1 else look_of[method].color
        either = diverged[method] | diverged[first]
        _dots_and_interval(right, place, place + 0.25, final[method] - final[first], either, color)
    right.set_xlim(-0.4, len(others) - 0.4)
    if len(others) == 1:
        right.set_xticks([0], ["difference"])
        right.set_ylabel(f"{capital(look_of[others[0]].label)} − {look_of[first].label}\n(percentage points)")
    else:
        _name_methods(right, [look_of[method] for method in others])
        right.set_ylabel(f"Difference to {look_of[first].label}\n(percentage points)")
    for axes in (left, right):
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_locator(round_ticks())
    if len(final[first]) > 1:
        interval = Line2D([], [], color=INK, linewidth=1.2, marker="s", markersize=4)
        figure.legend([interval], ["mean, 95 % confidence interval"], loc="outside lower center")
    return figure


def _name_methods(axes: Axes, methods: Sequence[Look]) -> None:
    places = range(len(methods))
    if len(methods) > 2:
        axes.set_xticks(
            places, [one.label for one in methods], rotation=45, ha="right", rotation_mode="anchor"
        )
    else:
        axes.set_xticks(places, [one.label.replace(" ", "\n") for one in methods])


def _dots_and_interval(
    axes: Axes, place: float, beside: float, values: np.ndarray, diverged: np.ndarray, color: str
) -> None:
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    for these, mark, look in ((~diverged, "o", edge), (diverged, "x", {})):
        axes.plot(np.full(these.sum(), place), values[these], mark, color=color, markersize=3.5, **look)
    estimate = statistics.estimate(values, diverged.tolist())
    if not math.isnan(estimate.sem):
        axes.vlines(beside, *estimate.ci95, color=color, linewidth=1.2)
        axes.plot(beside, estimate.mean, "s", color=color, markersize=4)
