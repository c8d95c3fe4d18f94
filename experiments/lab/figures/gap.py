"""The stability gap: what happens to the earlier tasks right after a task switch."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.lab.figures.curves import draw_mean_and_error
from experiments.lab.figures.style import (
    COLUMN,
    STYLE,
    height_of_legend,
    legend_below,
    looks,
    round_ticks,
    sheet,
    write_title,
)
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run

WINDOW = 0.25  # of a task's iterations
FEWEST_EVALUATIONS = 3  # inside the window


@matplotlib.rc_context(STYLE)
def stability_gap(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure | None:
    """Accuracy on the earlier tasks in the first quarter of the next one: drop and, perhaps, recovery.

    At a distance d from a switch, from which on task i + 1 is learned, it is the mean of the accuracies on
    tasks 1 to i, `1/i Σ_{j≤i} a_j(e_i + d)` with the end e_i of task i; then the mean over all switches.
    Lines are means over seeds, bands their standard errors. At 0 nothing of the new task has been seen.

    Args:
        runs: the runs of each method; joint training, which has no switches, is left out.
        settings: the settings they share.
        title: what was run; the settings in short by default.
        talk: whether for a slide.

    Returns:
        The figure; None where it cannot be drawn (`why_no_gap`).

    References:
        De Lange, van de Ven & Tuytelaars (2023), Continual evaluation for lifelong learning:
        Identifying the stability gap, ICLR.
    """
    switching = {method: group for method, group in runs.items() if not settings.methods[method].mixes_tasks}
    if why_no_gap(runs, settings) is not None:
        return None
    figure = sheet(COLUMN, 2.15 + height_of_legend(switching, settings, COLUMN), talk=talk)
    write_title(figure, title or figure_title(settings, methods=list(switching)), switching)
    axes = figure.subplots()
    look_of = looks(runs, settings)
    for method, group in switching.items():
        distances = _distances(group[0], settings)
        curves = 100 * np.array([_after_switches(run, settings, distances) for run in group])
        draw_mean_and_error(axes, look_of[method], group, distances, curves)
    axes.set_xlim(0, WINDOW * settings.iters)
    axes.set_xlabel("Iterations since the task switch")
    axes.set_ylabel("Accuracy on\nearlier tasks (%)")
    axes.xaxis.set_major_locator(round_ticks())
    axes.yaxis.set_major_locator(round_ticks())
    legend_below(figure, axes, n_seeds=len(next(iter(switching.values()))))
    return figure


def why_no_gap(runs: Mapping[str, Sequence[Run]], settings: Settings) -> str | None:
    """Why there is no stability gap to draw, in one clause; None if there is one."""
    if settings.stream != "task-based":
        return f"a {settings.stream} stream has no sharp task switches"
    if settings.tasks == 1:
        return "a single task has no switches"
    switching = [group[0] for method, group in runs.items() if not settings.methods[method].mixes_tasks]
    if not switching:
        return "joint training has no switches"
    within = max(0, len(_distances(switching[0], settings)) - 1)
    if within >= FEWEST_EVALUATIONS:
        return None
    longest = int(WINDOW * settings.iters) // FEWEST_EVALUATIONS
    enough = [n for n in range(1, longest + 1) if settings.iters % n == 0]
    return f"too few evaluations at the same distance from every task switch, {within} " + (
        f"(--eval-log {max(enough)} is enough, not {settings.eval_log})"
        if enough
        else f"(tasks of {settings.iters} iterations are too short)"
    )


def _distances(run: Run, settings: Settings) -> np.ndarray:
    """The distances, in iterations, at which there is an evaluation after every switch, and 0."""
    after = [run.evaluated_at - end for end in settings.iters * np.arange(1, settings.tasks)]
    common = set(after[0].tolist()).intersection(*(one.tolist() for one in after))
    return np.array(sorted(d for d in common if 0 <= d <= WINDOW * settings.iters))


def _after_switches(run: Run, settings: Settings, distances: np.ndarray) -> np.ndarray:
    """The mean over switches of the mean accuracy on the tasks before them, at each distance."""
    of_switches = [
        run.accuracy[np.searchsorted(run.evaluated_at, i * settings.iters + distances), :i].mean(axis=1)
        for i in range(1, settings.tasks)
    ]
    return np.asarray(np.mean(of_switches, axis=0))
