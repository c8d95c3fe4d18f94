"""The figures of a study, 16:9 and legible from the back of a room."""

from collections.abc import Callable, Mapping
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures import STYLE
from experiments.lab.results.statistics import estimate, standard_error
from experiments.rl.measures import FIRST_COUNTED, relearning, tasks_of
from experiments.rl.methods import METHODS
from experiments.rl.settings import Settings
from experiments.rl.study import Compared
from experiments.rl.tables import Three, difference, sooner
from experiments.rl.tasks import TASKS

Methods = Mapping[str, Compared]

SLIDE = (8, 4.5)  # inches
SIZES = {"font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 10.5, "figure.titlesize": 10.5}
TALK: dict[Any, Any] = {**STYLE, **SIZES, "legend.fontsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 9}
SHADE, ZERO = "#EFEFEF", "#808080"  # where a task is trained; what a method is compared with
# Over time; more lines would hide each other.
SHOWN = ("adam", "cs", "cs-kaplanis", "listen-act", "average-act", "replay")


@matplotlib.rc_context(TALK)
def scores(methods: Methods, settings: Settings) -> Figure:
    """Greedy scores of both tasks over all phases, a panel each; shaded where the task is trained."""
    figure = Figure(figsize=SLIDE)
    panels = figure.subplots(2, 1, sharex=True)
    every = settings.steps / settings.looks / 1000
    steps = np.arange(1, settings.phases * settings.looks + 1) * every
    for task, panel in enumerate(panels):
        for phase in np.flatnonzero(tasks_of(settings) == task):
            ends = phase * settings.steps / 1000, (phase + 1) * settings.steps / 1000
            panel.axvspan(*ends, color=SHADE, linewidth=0, zorder=0)
        for name in (name for name in SHOWN if name in methods):
            of_task = 100 * methods[name].kept.scores[..., task]
            mean, spread = of_task.mean(axis=0), standard_error(of_task)
            method = METHODS[name]
            panel.plot(steps, mean, color=method.color, linestyle=method.line, label=method.label)
            panel.fill_between(
                steps, mean - spread, mean + spread, color=method.color, alpha=0.15, linewidth=0
            )
        panel.set(ylim=(0, 101), xlim=(0, steps[-1]), ylabel=f"{TASKS[task]}\ngreedy score (%)")
    panels[-1].set_xlabel("environment steps (thousands); shaded: the task is trained")
    title = f"{settings.agent.upper()}: mean of {_seeds(methods)} ± SEM"
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, title=title)
    return figure


@matplotlib.rc_context(TALK)
def returns(methods: Methods, settings: Settings) -> Figure:
    """Steps to relearn a task each time it comes back, from the first return on, method beside method."""
    figure = Figure(figsize=SLIDE)
    panels = figure.subplots(2, 1, sharex=True)
    task_of = tasks_of(settings)
    counted = np.arange(settings.phases) >= FIRST_COUNTED
    for task, panel in enumerate(panels):
        phases = np.flatnonzero(counted & (task_of == task))
        for place, (name, one) in enumerate(methods.items()):
            times = np.minimum(relearning(one.kept.scores, settings), settings.steps)[:, phases] / 1000
            if not len(phases):
                continue
            x = place + np.linspace(-0.3, 0.3, len(phases)) if len(phases) > 1 else np.array([place])
            found = [estimate(each, one.measured.diverged.tolist()) for each in times.T]
            means = np.array([each.mean for each in found])
            reach = np.array([each.ci95[1] - each.mean for each in found])
            color = METHODS[name].color
            panel.errorbar(
                x, means, reach, color=color, marker="o", markersize=4.5, linewidth=1.3, elinewidth=1
            )
            if name == "adam":
                panel.axhline(means.mean(), color=ZERO, linestyle=(0, (4, 3)), linewidth=0.8, zorder=0)
        panel.axhline(settings.steps / settings.looks / 1000, color=SHADE, linewidth=2, zorder=0)
        panel.set_ylim(0, None)
        panel.set_ylabel(f"{TASKS[task]}\nthousand steps")
    panels[-1].set_xticks(range(len(methods)), [fill(METHODS[name].label, 14) for name in methods])
    title = f"{settings.agent.upper()}: steps to relearn a task, from its first return (left) to its last"
    figure.suptitle(
        f"{title}\n{_seeds(methods)}, 95 % intervals; dashed: Adam's mean; grey: first evaluation"
    )
    return figure


@matplotlib.rc_context(TALK)
def comparison(methods: Methods, settings: Settings) -> Figure:
    """Area of every method with each seed, and the paired differences from Adam in area and relearning."""
    figure = Figure(figsize=SLIDE)
    panels = figure.subplots(1, 3, sharey=True)
    for place, (name, one) in enumerate(methods.items()):
        color, diverged = METHODS[name].color, one.measured.diverged.tolist()
        area = 100 * one.measured.area
        panels[0].plot(area, np.full(len(area), place), "o", color=color, markersize=3, alpha=0.35)
        found = estimate(area, diverged)
        _interval(panels[0], place, (found.mean, *found.ci95), color)
        if "adam" in methods and name != "adam":
            adam = methods["adam"].measured
            points = difference(one.measured, adam, "area")
            _interval(panels[1], place, (points.mean, *points.ci95), color)
            _interval(panels[2], place, sooner(one.measured, adam), color)
    for panel, nothing in ((panels[1], 0), (panels[2], 1)):
        panel.axvline(nothing, color=ZERO, linestyle=(0, (4, 3)), linewidth=0.8, zorder=0)
    titles = ("area (%)", "area − Adam (points)", "sooner than Adam (×)")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
    panels[0].set_yticks(range(len(methods)), [fill(METHODS[name].label, 20) for name in methods])
    panels[0].invert_yaxis()
    figure.suptitle(
        f"{settings.agent.upper()}: area, and time to relearn; {_seeds(methods)}, 95 % intervals, paired"
    )
    return figure


FIGURES: dict[str, Callable[[Methods, Settings], Figure]] = {
    "scores": scores,
    "returns": returns,
    "comparison": comparison,
}


def _seeds(methods: Methods) -> str:
    n = len(next(iter(methods.values())).measured.area)
    return f"{n} seed{'s' if n > 1 else ''}"


def _interval(panel: Axes, place: int, three: Three, color: str) -> None:
    """A mean, and its interval where there is one."""
    mean, *ends = three
    panel.plot(ends, [place, place], color=color, linewidth=2.5, solid_capstyle="butt")
    panel.plot([mean], [place], "o", color=color, markersize=6.5, markeredgecolor="white")
