"""The figures of the commands, in one style: colour-blind safe, to be read at a column's width.

Every function that draws returns a `matplotlib.figure.Figure` made without pyplot, so that no display
is needed and no state is shared. `save` writes it as PDF (in which text stays text) and as PNG.
"""

import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.lab import statistics
from experiments.lab.description import figure_title
from experiments.lab.results import Run, write_atomically
from experiments.lab.settings import Settings

COLUMN = 3.5  # inches, the width of a journal's column
PNG_DPI = 300
MOST_TASKS_NAMED = 12  # more would not be legible at this width
TITLE_WIDTH = 72  # letters
TRAINED = slice(1, None)  # of the evaluations: the first, before any training, would only flatten the rest

# From the palette of Okabe & Ito (2008). The line styles tell the methods apart without colour too.
COLORS = {
    "standard": "#0072B2",
    "cs": "#D55E00",
    "cs-published": "#E69F00",
    "joint": "#000000",
    "ewc": "#009E73",
    "si": "#CC79A7",
    "lwf": "#56B4E9",
    "er": "#4D4D4D",
    "l2": "#999999",
    "average": "#882255",
}
LINES: dict[str, Any] = {
    "standard": (0, (4, 1.2)),
    "cs": "solid",
    "cs-published": "solid",
    "joint": (0, (1, 1)),
    "ewc": "solid",
    "si": "solid",
    "lwf": "solid",
    "er": (0, (4, 1.2)),
    "l2": (0, (4, 1.2)),
    "average": (0, (1, 1)),
}
NAMES = {
    "standard": "standard",
    "cs": "complex synapses",
    "cs-published": "cs as published",
    "joint": "joint",
    "ewc": "online EWC",
    "si": "SI",
    "lwf": "LwF",
    "er": "replay",
    "l2": "L2 to start",
    "average": "slow average",
}
INK, LINK, FAINT = "#4D4D4D", "#B0B0B0", "#D0D0D0"

STYLE: dict[Any, Any] = {
    "axes.labelcolor": "black",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
    "font.size": 7.5,
    "legend.borderaxespad": 0.2,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "pdf.fonttype": 42,
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.6,
}


@matplotlib.rc_context(STYLE)
def accuracy_over_iterations(runs: Mapping[str, Sequence[Run]], settings: Settings) -> Figure:
    """Test accuracy of several methods over the iterations: mean and standard error over seeds.

    The upper panel averages over the tasks seen so far, the lower one over all tasks, those to come
    included. A random stream has seen all tasks from the start: there a single panel is enough.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
    """
    measures = {"all tasks": "accuracy_overall"}
    if settings.one_task_after_the_other and settings.tasks > 1:
        measures = {"tasks seen so far": "accuracy_so_far", **measures}
    figure = Figure(figsize=(COLUMN, 1.05 + 1.6 * len(measures)))
    _title(figure, figure_title(settings, methods=list(runs)), runs)
    panels = figure.subplots(len(measures), sharex=True, squeeze=False)[:, 0]
    for panel, (tasks, measure) in zip(panels, measures.items(), strict=True):
        for method, group in runs.items():
            curves = np.array([100 * getattr(run, measure)[TRAINED] for run in group])
            _mean_and_error(panel, method, group[0].evaluated_at[TRAINED], curves)
        panel.set_ylabel(f"Accuracy on\n{tasks} (%)")
        _finish_over_iterations(panel, settings)
    _name_tasks(panels[0], settings)
    panels[-1].set_xlabel("Iteration")
    _legend_below(figure, panels[-1], n_seeds=len(next(iter(runs.values()))))
    return figure


@matplotlib.rc_context(STYLE)
def paired_seeds(runs: Mapping[str, Sequence[Run]], settings: Settings) -> Figure:
    """Final accuracy of every seed, a thin line joining what the methods made of the same seed.

    On the right the differences within the seeds (each method minus the first one), which are what
    the methods are judged by. Beside the dots stand their mean and its 95 % confidence interval.

    Args:
        runs: the runs of two methods or more, in the same order of seeds.
        settings: the settings they share.
    """
    names = list(runs)
    first, *others = names
    figure = Figure(figsize=(COLUMN * (1 + max(0, len(names) - 2) / 6), 2.8))
    _title(figure, figure_title(settings, methods=names), runs)
    left, right = figure.subplots(ncols=2, width_ratios=[len(names), len(others) + 0.1])
    final = {method: np.array([100 * run.final_accuracy for run in runs[method]]) for method in names}
    left.plot(range(len(names)), list(final.values()), color=LINK, linewidth=0.7, zorder=1)
    for place, (method, accuracies) in enumerate(final.items()):
        # Where two methods stand alone, the intervals stand outside of the lines between them.
        beside = -0.2 if place == 0 else 0.2
        _dots_and_interval(left, place, place + beside, accuracies, COLORS[method])
    _name_methods(left, names)
    left.set_xlim(-0.5, len(names) - 0.5)
    left.set_ylabel("Final average accuracy (%)")
    _chance_if_near(left, settings, highest=math.inf)  # an interval may go beyond 100 %
    right.axhline(0, color=INK, linewidth=0.6, zorder=0)
    for place, method in enumerate(others):
        color = "black" if len(others) == 1 else COLORS[method]
        _dots_and_interval(right, place, place + 0.25, final[method] - final[first], color)
    right.set_xlim(-0.4, len(others) - 0.4)
    if len(others) == 1:
        right.set_xticks([0], ["difference"])
        right.set_ylabel(f"{_capital(NAMES[others[0]])} − {NAMES[first]}\n(percentage points)")
    else:
        _name_methods(right, others)
        right.set_ylabel(f"Difference to {NAMES[first]}\n(percentage points)")
    for axes in (left, right):
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_locator(_round_ticks())
    if len(final[first]) > 1:
        interval = Line2D([], [], color=INK, linewidth=1.2, marker="s", markersize=4)
        figure.legend([interval], ["mean, 95 % confidence interval"], loc="outside lower center")
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_of_one_run(run: Run, settings: Settings) -> Figure:
    """Test accuracy on each task over the iterations of one run, and their mean over all tasks.

    Args:
        run: the run.
        settings: its settings.
    """
    figure = Figure(figsize=(COLUMN, 2.7))
    _title(figure, figure_title(settings, run.method, run.seed), {run.method: [run]})
    axes = figure.subplots()
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.88, settings.tasks))
    lines = [
        axes.plot(run.evaluated_at[TRAINED], 100 * accuracy[TRAINED], color=color, label=f"task {task + 1}")[
            0
        ]
        for task, (accuracy, color) in enumerate(zip(run.accuracy.T, colors, strict=True))
    ]
    if settings.tasks > MOST_TASKS_NAMED:
        lines = [lines[0], lines[-1]]  # the colours between them run from one to the other
    mean = 100 * run.accuracy_overall[TRAINED]
    lines += axes.plot(
        run.evaluated_at[TRAINED], mean, color="black", linewidth=2.2, label="mean of all tasks"
    )
    axes.set_xlabel("Iteration")
    axes.set_ylabel("Accuracy (%)")
    _finish_over_iterations(axes, settings)
    _name_tasks(axes, settings)
    figure.legend(handles=lines, loc="outside lower center", ncols=4, columnspacing=1.2)
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as PDF and as PNG, each whole or not at all.

    Args:
        figure: the figure.
        folder: where to; made if missing.
        name: the files' name without its ending.

    Returns:
        The paths of the two files.

    Raises:
        OSError: if they cannot be written.
    """
    paths = [folder / f"{name}.pdf", folder / f"{name}.png"]
    for path in paths:
        content = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(content, format=path.suffix[1:], dpi=PNG_DPI)
        write_atomically(path, content.getvalue())
    return paths


def _title(figure: Figure, text: str, runs: Mapping[str, Sequence[Run]]) -> None:
    """What was run, above all panels; wrapped where unusual settings make a line too long."""
    diverged = [method for method, group in runs.items() if any(run.diverged_at for run in group)]
    if diverged:
        text += f"\ndiverged: {', '.join(diverged)}"
    lines = [textwrap.fill(line, TITLE_WIDTH) for line in text.splitlines()]
    figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=6.5, color=INK, linespacing=1.3)


def _mean_and_error(axes: Axes, method: str, iterations: np.ndarray, curves: np.ndarray) -> None:
    mean, sem = curves.mean(axis=0), statistics.standard_error(curves)
    color = COLORS[method]
    axes.plot(iterations, mean, color=color, linestyle=LINES[method], label=NAMES[method])
    if len(curves) > 1:
        axes.fill_between(iterations, mean - sem, mean + sem, color=color, alpha=0.22, linewidth=0)


def _name_methods(axes: Axes, methods: Sequence[str]) -> None:
    places = range(len(methods))
    if len(methods) > 2:
        axes.set_xticks(places, [NAMES[m] for m in methods], rotation=45, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(places, [NAMES[method].replace(" ", "\n") for method in methods])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _dots_and_interval(axes: Axes, place: float, beside: float, values: np.ndarray, color: str) -> None:
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    axes.plot(np.full(len(values), place), values, "o", color=color, markersize=3.5, **edge)
    estimate = statistics.estimate(values)
    if estimate.n > 1:
        axes.vlines(beside, *estimate.ci95, color=color, linewidth=1.2)
        axes.plot(beside, estimate.mean, "s", color=color, markersize=4)


def _finish_over_iterations(axes: Axes, settings: Settings) -> None:
    axes.set_xlim(0, settings.total_iterations)
    for line in axes.lines:
        if np.size(line.get_xdata()) == 1:  # a single evaluation makes no line
            line.set(marker="o", markersize=4, clip_on=False)
    axes.xaxis.set_major_locator(_round_ticks())
    axes.yaxis.set_major_locator(_round_ticks())
    if settings.one_task_after_the_other and settings.tasks <= MOST_TASKS_NAMED:
        for boundary in range(settings.iters, settings.total_iterations, settings.iters):
            axes.axvline(boundary, color=FAINT, linewidth=0.6, zorder=0)
    _chance_if_near(axes, settings)


def _round_ticks() -> MaxNLocator:
    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])


def _chance_if_near(axes: Axes, settings: Settings, highest: float = 100.5) -> None:
    """Mark chance level where it is in sight, or nearly so; elsewhere it would only flatten the rest."""
    chance, (low, high) = 100 * settings.chance, axes.get_ylim()
    axes.set_ylim(low, min(high, highest))
    if not low - 0.5 * (high - low) < chance < high:
        return
    axes.set_ylim(min(low, chance - 0.05 * (high - low)))
    axes.axhline(chance, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    axes.annotate(
        "chance",
        (1, chance),
        xycoords=("axes fraction", "data"),
        xytext=(2, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=7,
    )


def _name_tasks(axes: Axes, settings: Settings) -> None:
    """Number the tasks above the stretches of the iterations in which they are learned."""
    if not settings.one_task_after_the_other or not 1 < settings.tasks <= MOST_TASKS_NAMED:
        return
    for task in range(settings.tasks):
        name = f"task {task + 1}" if settings.tasks <= 6 else str(task + 1)
        axes.annotate(
            name,
            ((task + 0.5) * settings.iters, 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            color=INK,
            fontsize=7,
        )


def _legend_below(figure: Figure, axes: Axes, n_seeds: int) -> None:
    lines, labels = axes.get_legend_handles_labels()
    if n_seeds > 1:
        lines.append(Patch(color=INK, alpha=0.25, linewidth=0))
        labels.append(f"± SEM, {n_seeds} seeds")
    figure.legend(
        lines,
        labels,
        loc="outside lower center",
        ncols=min(3, len(lines)),
        columnspacing=1.0,
        handlelength=1.8,
    )
