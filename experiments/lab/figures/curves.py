"""Accuracy over the iterations: on average, on each task, and of a single run."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures.stretches import stretches
from experiments.lab.figures.style import (
    ACCURACY_COLORS,
    COLUMN,
    FAINT,
    IN_TRAINING,
    INK,
    MOST_TASKS_NAMED,
    STYLE,
    Look,
    height_of_legend,
    legend_below,
    looks,
    lowest_panels,
    mark_chance_if_near,
    panels_in_grid,
    round_ticks,
    rows_and_columns,
    sheet,
    write_title,
)
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results import statistics
from experiments.lab.results.runs import Run

MOST_TASK_PANELS = 10


@matplotlib.rc_context(STYLE)
def accuracy_over_iterations(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure:
    """Test accuracy of several methods over the iterations: mean and standard error over seeds.

    The upper panel averages over the tasks seen so far, the lower one over all tasks, those to come
    included. A random stream has seen all tasks from the start: there a single panel is enough. Lines begin
    before any training. Where that is far below the rest, they enter the panel from below.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
        title: what was run; the settings in short by default.
        talk: whether for a slide.
    """
    measures = {"all tasks": "accuracy_overall"}
    if settings.one_task_after_the_other and settings.tasks > 1:
        measures = {"tasks seen so far": "accuracy_so_far", **measures}
    height = 0.9 + height_of_legend(runs, settings, COLUMN) + 1.6 * len(measures)
    figure = sheet(COLUMN, height, talk=talk)
    write_title(figure, title or figure_title(settings, methods=list(runs)), runs)
    look_of = looks(runs, settings)
    panels = panels_in_grid(figure, len(measures), len(measures) if talk else 1, shared=False)
    for panel, (tasks, measure) in zip(panels, measures.items(), strict=True):
        for method, group in runs.items():
            curves = np.array([100 * getattr(run, measure) for run in group])
            draw_mean_and_error(panel, look_of[method], group, group[0].evaluated_at, curves)
        panel.set_ylabel(f"Accuracy on\n{tasks} (%)")
        _fit_to_trained([panel])
        _finish_over_iterations(panel, settings)
        mark_chance_if_near(panel, settings)
    _name_tasks(panels[0], settings, narrow=talk)
    for panel in lowest_panels(panels):
        panel.set_xlabel("Iteration")
    legend_below(figure, panels[-1], n_seeds=len(next(iter(runs.values()))))
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_per_task(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure:
    """Test accuracy on each task over the iterations, a panel for each: mean and standard error over seeds.

    Of more than ten tasks ten are shown, evenly spaced, the first and the last among them. The iterations
    in which the panel's own task is in training are marked, unless they overlap with those of others.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
        title: what was run; the settings in short by default.
        talk: whether for a slide.
    """
    tasks = np.unique(np.linspace(0, settings.tasks - 1, MOST_TASK_PANELS).round().astype(int))
    rows, columns = rows_and_columns(len(tasks), 3 if len(tasks) <= MOST_TASK_PANELS / 2 else 5)
    if not talk:
        columns = 1 if len(tasks) <= MOST_TASK_PANELS / 2 else 2
        rows = math.ceil(len(tasks) / columns)
    own = [] if settings.stream == "gradual" else stretches(settings)
    width, marked = columns * COLUMN, bool(own)
    height = 0.85 + height_of_legend(runs, settings, width, marked=marked) + 0.92 * rows
    figure = sheet(width, height, talk=talk)
    write_title(figure, title or figure_title(settings, methods=list(runs)), runs)
    look_of = looks(runs, settings)
    panels = panels_in_grid(figure, len(tasks), columns, shared=True, down=not talk)
    for panel, task in zip(panels, tasks, strict=True):
        for method, group in runs.items():
            curves = np.array([100 * run.accuracy[:, task] for run in group])
            draw_mean_and_error(panel, look_of[method], group, group[0].evaluated_at, curves)
        for stretch in own:
            if stretch.task == task:
                panel.axvspan(stretch.begin, stretch.end, color=IN_TRAINING, linewidth=0, zorder=-1)
        panel.set_title(f"task {task + 1}", fontsize=7, color=INK, pad=2)
    _fit_to_trained(panels)
    for panel in panels:
        _finish_over_iterations(panel, settings)
        # When all are drawn: they share their limits. Named where the margin has room.
        last = columns - 1 if talk else rows * (columns - 1)
        mark_chance_if_near(panel, settings, highest=102, named=panel is panels[last])
        panel.yaxis.set_major_locator(round_ticks(3))
    for panel in lowest_panels(panels):
        panel.set_xlabel("Iteration")
    figure.supylabel("Accuracy (%)", fontsize=8)
    legend_below(figure, panels[0], n_seeds=len(next(iter(runs.values()))), marked=marked)
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_of_one_run(run: Run, settings: Settings, *, talk: bool = False) -> Figure:
    """Test accuracy on each task over the iterations of one run, and their mean over all tasks.

    Args:
        run: the run.
        settings: its settings.
        talk: whether for a slide.
    """
    figure = sheet(COLUMN, 2.7, talk=talk)
    write_title(figure, figure_title(settings, run.method, run.seed), {run.method: [run]})
    axes = figure.subplots()
    colors = matplotlib.colormaps[ACCURACY_COLORS](np.linspace(0, 0.88, settings.tasks))
    lines = [
        axes.plot(run.evaluated_at, 100 * accuracy, color=color, label=f"task {task + 1}")[0]
        for task, (accuracy, color) in enumerate(zip(run.accuracy.T, colors, strict=True))
    ]
    if settings.tasks > MOST_TASKS_NAMED:
        lines = [lines[0], lines[-1]]  # the colours between them run from one to the other
    mean = 100 * run.accuracy_overall
    lines += axes.plot(run.evaluated_at, mean, color="black", linewidth=2.2, label="mean of all tasks")
    axes.set_xlabel("Iteration")
    axes.set_ylabel("Accuracy (%)")
    _fit_to_trained([axes])
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


def _fit_to_trained(panels: Sequence[Axes]) -> None:
    """Limits for what follows the first evaluation, which, before any training, would flatten the rest."""
    heights = [np.empty(0)]
    for line in (line for panel in panels for line in panel.lines if np.size(line.get_xdata()) > 0):
        heights.append(np.asarray(line.get_ydata())[1 if np.size(line.get_xdata()) > 2 else 0 :])
    for band in (band for panel in panels for band in panel.collections):
        edges = np.asarray(band.get_paths()[0].vertices)
        heights.append(edges[edges[:, 0] > 0, 1])
    known = np.concatenate(heights)
    known = known[np.isfinite(known)]
    if not known.size:  # a training that has just begun
        return
    low, high = known.min(), known.max()
    room = 0.05 * (high - low) or 1.0
    for panel in panels:
        panel.set_ylim(low - room, high + room)


def _finish_over_iterations(axes: Axes, settings: Settings) -> None:
    axes.set_xlim(0, settings.total_iterations)
    for line in axes.lines:
        if np.size(line.get_xdata()) <= 2:  # before and after: too few for a line alone
            line.set(marker="o", markersize=4, clip_on=False)
    axes.xaxis.set_major_locator(round_ticks())
    axes.yaxis.set_major_locator(round_ticks())
    found = stretches(settings)
    if len(found) <= MOST_TASKS_NAMED:
        for stretch in found[1:]:
            axes.axvline(stretch.begin, color=FAINT, linewidth=0.6, zorder=0)


def _name_tasks(axes: Axes, settings: Settings, *, narrow: bool = False) -> None:
    """Number the tasks above the iterations in which they are in training."""
    found = stretches(settings)
    if not 1 < len(found) <= MOST_TASKS_NAMED:
        return
    for stretch in found:
        name = f"task {stretch.task + 1}" if len(found) <= 6 and not narrow else str(stretch.task + 1)
        axes.annotate(
            name,
            ((stretch.begin + stretch.end) / 2, 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            color=INK,
            fontsize=7,
        )
