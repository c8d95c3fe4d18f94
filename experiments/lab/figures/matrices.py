"""The accuracy matrix R as a heat map."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from experiments.lab.figures.style import (
    ACCURACY_COLORS,
    COLUMN,
    PAGE,
    STYLE,
    ink_on,
    looks,
    lowest_panels,
    panels_in_grid,
    rows_and_columns,
    sheet,
    write_title,
)
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run

MOST_TASKS_WITH_NUMBERS = 6
IN_A_COLUMN, ON_A_PAGE, ON_A_SLIDE = 3, 5, 4  # matrices side by side
LETTERS = 14  # of a name in a line above a matrix


@matplotlib.rc_context(STYLE)
def accuracy_matrices(
    runs: Mapping[str, Sequence[Run]], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure | None:
    """The accuracy matrix of each method, its mean over seeds: after each task (row) that on each (column).

    The first row is the accuracy before any training. The colours mean the same in all panels, and with up to
    six tasks every cell has its number, in percent.

    Args:
        runs: the runs of each method.
        settings: the settings they share.
        title: what was run; the settings in short by default.
        talk: whether for a slide.

    Returns:
        The figure; None where there is no such matrix: in streams without task ends, with a single task,
        or where joint training, which mixes all tasks, is the only method.
    """
    matrices = {
        method: np.mean([100 * np.vstack([run.initial_accuracy, run.accuracy_matrix]) for run in group], 0)
        for method, group in runs.items()
        if not settings.methods[method].mixes_tasks
    }
    if len(settings.task_ends) == 1 or settings.full_eval == "end" or not matrices:
        return None
    small = len(matrices) <= 2 * IN_A_COLUMN
    most = ON_A_SLIDE if talk else IN_A_COLUMN if small else ON_A_PAGE
    rows, columns = rows_and_columns(len(matrices), most)
    width = COLUMN if small else PAGE
    side = (width - 1.0) / columns
    figure = sheet(width, 0.65 + rows * (side + 0.4), talk=talk)
    write_title(figure, title or figure_title(settings, methods=list(runs)), runs)
    panels = panels_in_grid(figure, len(matrices), columns, shared=True)
    lowest = min(matrix.min() for matrix in matrices.values())
    limits = Normalize(10 * math.floor(lowest / 10), 100)
    for panel, (method, matrix) in zip(panels, matrices.items(), strict=True):
        mesh = _draw_matrix(panel, matrix, limits, size=7 if columns <= 2 else 5)
        name = textwrap.fill(looks(matrices, settings)[method].label, LETTERS, break_long_words=False)
        panel.set_title(name, fontsize=7, pad=3, loc="center")
    for panel in lowest_panels(panels):
        panel.set_xlabel("on task", fontsize=7.5)
    for panel in panels[::columns]:
        panel.set_ylabel("after task", fontsize=7.5)
    figure.colorbar(mesh, ax=panels, label="Accuracy (%)", fraction=0.05, aspect=18 * rows, pad=0.02)
    return figure


def _draw_matrix(panel: Axes, matrix: np.ndarray, limits: Normalize, size: float) -> ScalarMappable:
    rows, tasks = matrix.shape
    # Cells as vectors: viewers blur images of a few pixels.
    mesh = panel.pcolormesh(matrix, cmap=ACCURACY_COLORS, norm=limits, edgecolors="face", linewidth=0.1)
    panel.axhline(1, color="white", linewidth=1.5)
    panel.set(xlim=(0, tasks), ylim=(rows, 0), aspect="equal")
    every = math.ceil(tasks / 6)
    panel.set_xticks(np.arange(0, tasks, every) + 0.5, [str(task + 1) for task in range(0, tasks, every)])
    after = ["before", *map(str, range(every, rows, every))]
    panel.set_yticks(np.arange(0, rows, every) + 0.5, after)
    panel.tick_params(length=0, labelsize=7, pad=2)
    panel.spines[:].set_visible(False)
    for (row, task), accuracy in np.ndenumerate(matrix if tasks <= MOST_TASKS_WITH_NUMBERS else ()):
        panel.text(
            task + 0.5,
            row + 0.52,
            f"{accuracy:.0f}",
            color=ink_on(mesh.to_rgba(accuracy)),
            fontsize=size,
            ha="center",
            va="center",
        )
    return mesh
