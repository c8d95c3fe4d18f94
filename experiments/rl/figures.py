"""The figures of a study: scores over the alternations, and how soon each method relearns."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures import PAGE, STYLE
from experiments.lab.results.statistics import estimate, standard_error
from experiments.rl.measures import FIRST_COUNTED, by_phase, relearning, tasks_of
from experiments.rl.methods import METHODS
from experiments.rl.settings import Settings
from experiments.rl.study import Compared

NAMES = ("cart-pole", "catch")
SHADE = "#EFEFEF"  # where the task is trained
SHOWN = (
    "adam",
    "cs",
    "cs-kaplanis",
    "listen-act",
    "average-act",
    "replay",
)  # over time; more would hide them


@matplotlib.rc_context(STYLE)
def over_time(methods: Mapping[str, Compared], settings: Settings) -> Figure:
    """Greedy scores of both tasks over all phases, a panel each; shaded where the task is trained."""
    figure = Figure(figsize=(PAGE, 3.6))
    panels = figure.subplots(2, 1, sharex=True)
    every = settings.steps / settings.looks
    steps = np.arange(1, settings.phases * settings.looks + 1) * every / 1000
    shown = [name for name in SHOWN if name in methods]
    for task, panel in enumerate(panels):
        for phase, trained in enumerate(tasks_of(settings)):
            if trained == task:
                ends = phase * settings.steps / 1000, (phase + 1) * settings.steps / 1000
                panel.axvspan(*ends, color=SHADE, linewidth=0, zorder=0)
        for name in shown:
            method, scores = METHODS[name], 100 * methods[name].kept.scores[..., task]
            mean, spread = scores.mean(axis=0), standard_error(scores)
            panel.plot(
                steps, mean, color=method.color, linestyle=method.line, linewidth=1, label=method.label
            )
            panel.fill_between(
                steps, mean - spread, mean + spread, color=method.color, alpha=0.15, linewidth=0
            )
        panel.set(ylim=(0, 101), xlim=(0, steps[-1]), ylabel=f"{NAMES[task]}\ngreedy score (%)")
    panels[-1].set_xlabel("environment steps (thousands); shaded: the task is trained")
    n = len(next(iter(methods.values())).kept.scores)
    lines, labels = panels[0].get_legend_handles_labels()
    title = f"{settings.agent.upper()}, mean of {n} seeds ± SEM"
    figure.legend(lines, labels, loc="outside upper center", ncols=3, title=title)
    return figure


@matplotlib.rc_context(STYLE)
def times_to_relearn(methods: Mapping[str, Compared], settings: Settings) -> Figure:
    """Steps until each task is good again after a switch: each seed, the mean and its 95 % interval."""
    figure = Figure(figsize=(PAGE, 0.9 + 0.24 * len(methods)))
    panels = figure.subplots(1, 2, sharey=True)
    task_of = tasks_of(settings)[FIRST_COUNTED:]
    for task, panel in enumerate(panels):
        if task in task_of:
            for place, (name, one) in enumerate(methods.items()):
                times = np.minimum(relearning(one.kept.scores, settings), settings.steps)[:, FIRST_COUNTED:]
                _row(panel, place, times[:, task_of == task].mean(axis=1) / 1000, METHODS[name].color)
        panel.set_title(f"{NAMES[task]}: steps to relearn (thousands)")
        panel.set_xlim(0, 1.02 * settings.steps / 1000)
    panels[0].set_yticks(range(len(methods)), [METHODS[name].label for name in methods])
    panels[0].invert_yaxis()
    return figure


@matplotlib.rc_context(STYLE)
def within_phases(methods: Mapping[str, Compared], settings: Settings) -> Figure:
    """Score of the trained task after a switch, mean over the phases that count."""
    figure = Figure(figsize=(PAGE, 2.6))
    panels = figure.subplots(1, 2, sharey=True)
    task_of = tasks_of(settings)
    steps = np.arange(1, settings.looks + 1) * settings.steps / settings.looks / 1000
    for task, panel in enumerate(panels):
        places = [p for p in range(FIRST_COUNTED, settings.phases) if task_of[p] == task]
        for name in (name for name in SHOWN if name in methods and places):
            scores = 100 * by_phase(methods[name].kept.scores, settings)[:, places, :, task].mean(axis=1)
            mean, spread, method = scores.mean(axis=0), standard_error(scores), METHODS[name]
            panel.plot(steps, mean, color=method.color, linestyle=method.line, label=method.label)
            panel.fill_between(
                steps, mean - spread, mean + spread, color=method.color, alpha=0.15, linewidth=0
            )
        panel.set(xlabel="steps since the switch (thousands)", title=NAMES[task], ylim=(0, 101))
    panels[0].set_ylabel("greedy score (%)")
    lines, labels = panels[1].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _row(panel: Axes, place: int, values: np.ndarray, color: str) -> None:
    """One method: a faint point for each seed, and the mean with its interval."""
    found = estimate(values)
    panel.plot(values, np.full(len(values), place), "o", color=color, markersize=2.5, alpha=0.35)
    panel.plot(found.ci95, [place, place], color=color, linewidth=2.2, solid_capstyle="butt")
    panel.plot([found.mean], [place], "o", color=color, markersize=5, markeredgecolor="white")
