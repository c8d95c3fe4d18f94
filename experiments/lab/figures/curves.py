"""Accuracy over the iterations: on average, on each task, and of a single run."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures.style import (
    ACCURACY_COLORS,
    COLUMN,
    FAINT,
    INK,
    MOST_TASKS_NAMED,
    STYLE,
    TRAINED,
    Look,
    height_of_legend,
    legend_below,
    looks,
    lowest_panels,
    mark_chance_if_near,
    panels_in_grid,
    round_ticks,
    write_title,
)
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results import statistics
from experiments.lab.results.runs import Run

MOST_TASK_PANELS = 10


@matplotlib.rc_context(STYLE)
def accuracy_over_iterations(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None
) -> Figure:
    """Test accuracy of several methods over the iterations: mean and standard error over seeds.

    The upper panel averages over the tasks seen so far, the lower one over all tasks, those to come
    included. A random stream has seen all tasks from the start: there a single panel is enough.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
        title: what was run; the settings in short by default.
    """
    measures = {"all tasks": "accuracy_overall"}
    if settings.one_task_after_the_other and settings.tasks > 1:
        measures = {"tasks seen so far": "accuracy_so_far", **measures}
    figure = Figure(figsize=(COLUMN, 0.9 + height_of_legend(runs, settings, COLUMN) + 1.6 * len(measures)))
    write_title(figure, title or figure_title(settings, methods=list(runs)), runs)
    look_of = looks(runs, settings)
    panels = figure.subplots(len(measures), sharex=True, squeeze=False)[:, 0]
    for panel, (tasks, measure) in zip(panels, measures.items(), strict=True):
        for method, group in runs.items():
            curves = np.array([100 * getattr(run, measure)[TRAINED] for run in group])
            draw_mean_and_error(panel, look_of[method], group, group[0].evaluated_at[TRAINED], curves)
        panel.set_ylabel(f"Accuracy on\n{tasks} (%)")
        _finish_over_iterations(panel, settings)
        mark_chance_if_near(panel, settings)
    _name_tasks(panels[0], settings)
    panels[-1].set_xlabel("Iteration")
    legend_below(figure, panels[-1], n_seeds=len(next(iter(runs.values()))))
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_per_task(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None
) -> Figure:
    """Test accuracy on each task over the iterations, a panel for each: mean and standard error over seeds.

    Of more than ten tasks ten are shown, evenly spaced, the first and the last among them. Where one task
    comes after the other, the iterations of the panel's own are shaded.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
        title: what was run; the settings in short by default.
    """
    tasks = np.unique(np.linspace(0, settings.tasks - 1, MOST_TASK_PANELS).round().astype(int))
    columns = 1 if len(tasks) <= MOST_TASK_PANELS / 2 else 2
    rows, width = math.ceil(len(tasks) / columns), columns * COLUMN
    figure = Figure(figsize=(width, 0.85 + height_of_legend(runs, settings, width) + 0.92 * rows))
    write_title(figure, title or figure_title(settings, methods=list(runs)), runs)
    look_of = looks(runs, settings)
    panels = panels_in_grid(figure, len(tasks), columns, shared=True, down=True)
    for panel, task in zip(panels, tasks, strict=True):
        for method, group in runs.items():
            curves = np.array([100 * run.accuracy[TRAINED, task] for run in group])
            draw_mean_and_error(panel, look_of[method], group, group[0].evaluated_at[TRAINED], curves)
        if settings.stream == "task-based":
            panel.axvspan(
                task * settings.iters, (task + 1) * settings.iters, color=FAINT, alpha=0.5, linewidth=0
            )
        panel.set_title(f"task {task + 1}", fontsize=7, color=INK, pad=2)
        _finish_over_iterations(panel, settings)
    for panel in panels:
        # When all are drawn: they share their limits. Named where the margin has room.
        mark_chance_if_near(panel, settings, highest=102, named=panel is panels[rows * (columns - 1)])
        panel.yaxis.set_major_locator(round_ticks(3))
    for panel in lowest_panels(panels):
        panel.set_xlabel("Iteration")
    figure.supylabel("Accuracy (%)", fontsize=8)
    legend_below(figure, panels[0], n_seeds=len(next(iter(runs.values()))))
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_of_one_run(run: Run, settings: Settings) -> Figure:
    """Test accuracy on each task over the iterations of one run, and their mean over all tasks.

    Args:
        run: the run.
        settings: its settings.
    """
    figure = Figure(figsize=(COLUMN, 2.7))
    write_title(figure, figure_title(settings, run.method, run.seed), {run.method: [run]})
    axes = figure.subplots()
    colors = matplotlib.colormaps[ACCURACY_COLORS](np.linspace(0, 0.88, settings.tasks))
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
    mark_chance_if_near(axes, settings)
    _name_tasks(axes, settings)
    figure.legend(handles=lines, loc="outside lower center", ncols=4, columnspacing=1.2)
    return figure


@matplotlib.rc_context(STYLE)
def loss_over_iterations(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None
) -> Figure:
    """Training loss of several methods, mean since the log point before: mean and standard error over seeds.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
        title: what was run; the settings in short by default.
    """
    figure = Figure(figsize=(COLUMN, 2.5 + height_of_legend(runs, settings, COLUMN)))
    write_title(figure, title or figure_title(settings, methods=list(runs)), runs)
    axes, look_of = figure.subplots(), looks(runs, settings)
    for method, group in runs.items():
        losses = np.array([run.loss for run in group])
        draw_mean_and_error(axes, look_of[method], group, group[0].logged_at, losses)
    axes.set_xlabel("Iteration")
    axes.set_ylabel("Training loss")
    axes.set_ylim(bottom=0)
    _finish_over_iterations(axes, settings)
    _name_tasks(axes, settings)
    legend_below(figure, axes, n_seeds=len(next(iter(runs.values()))))
    return figure


def draw_mean_and_error(
    axes: Axes, look: Look, runs: Sequence[Run], iterations: np.ndarray, curves: np.ndarray
) -> None:
    """Draw a method's mean over seeds as a line, and its standard error, where it is known, as a band.

    Args:
        axes: where to.
        look: how the method is drawn.
        runs: those of the method.
        iterations: [L].
        curves: [runs, L].
    """
    mean, sem = curves.mean(axis=0), statistics.standard_error(curves, [run.diverged for run in runs])
    axes.plot(iterations, mean, color=look.color, linestyle=look.line, label=look.label)
    if not np.isnan(sem).all():
        axes.fill_between(iterations, mean - sem, mean + sem, color=look.color, alpha=0.22, linewidth=0)


def _finish_over_iterations(axes: Axes, settings: Settings) -> None:
    axes.set_xlim(0, settings.total_iterations)
    for line in axes.lines:
        if np.size(line.get_xdata()) == 1:  # a single evaluation makes no line
            line.set(marker="o", markersize=4, clip_on=False)
    axes.xaxis.set_major_locator(round_ticks())
    axes.yaxis.set_major_locator(round_ticks())
    if settings.one_task_after_the_other and settings.tasks <= MOST_TASKS_NAMED:
        for boundary in range(settings.iters, settings.total_iterations, settings.iters):
            axes.axvline(boundary, color=FAINT, linewidth=0.6, zorder=0)


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
