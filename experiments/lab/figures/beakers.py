"""What the beakers hold while the network learns."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures.style import (
    ACCURACY_COLORS,
    COLUMN,
    STYLE,
    ink_on,
    round_ticks,
    sheet,
    write_title,
)
from experiments.lab.options.description import counted, figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run

MOST_CELLS_WITH_NUMBERS = 60


@matplotlib.rc_context(STYLE)
def beakers(
    runs: Sequence[Run], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure | None:
    """The beakers of one method, mean over seeds.

    Above, how far each is from the weights over the iterations: the root mean square over all layers. In the
    middle what flows through each link, the last of which is the leak. Below, how well the network does
    on each task at the end if it is given the weights of a beaker. On a slide the three are side by side.

    Args:
        runs: the runs of a method with complex synapses.
        settings: their settings.
        title: what was run; the settings in short by default.
        talk: whether for a slide.

    Returns:
        The figure; None where the beakers were not probed.
    """
    probes = [run.probes for run in runs if run.probes is not None]
    if len(probes) < len(runs):
        return None
    method, at = runs[0].method, runs[0].evaluated_at
    accuracy = 100 * np.mean([one.accuracy[-1] for one in probes], axis=0)
    n_beakers = len(accuracy)
    figure = sheet(COLUMN, 3.5 + 0.19 * n_beakers, talk=talk)
    what = title or figure_title(settings, methods=[method])
    write_title(
        figure,
        f"{what}\n{settings.methods[method].label}, mean of {counted(len(runs), 'seed')}",
        {method: runs},
    )
    above, middle, below = (
        figure.subplots(ncols=3)
        if talk
        else figure.subplots(nrows=3, height_ratios=[1.3, 1.3, 0.19 * n_beakers + 0.2])
    )
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, n_beakers))
    names = [f"$u_{{{k}}}$" for k in range(1, n_beakers + 1)]
    for panel, measure, label in (
        (above, "distance", "Distance from\nthe weights (RMS)"),
        (middle, "flow", "Flow to the next\n(last: leak; RMS)"),
    ):
        values = np.mean([np.sqrt(np.square(getattr(one, measure)).mean(axis=2)) for one in probes], axis=0)
        for k in range(1 if measure == "distance" else 0, n_beakers):
            panel.plot(at, values[:, k], color=colors[k], label=names[k])
        panel.set(xlim=(0, at[-1]), ylabel=label)
        panel.xaxis.set_major_locator(round_ticks(2 if talk else 5))
        if measure == "flow":
            panel.set_yscale("log", nonpositive="mask")
        if measure == "flow" or talk:
            panel.set_xlabel("Iteration")
    middle.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.0, fontsize=6.5)
    _draw_accuracies(below, accuracy, names)
    return figure


def _draw_accuracies(panel: Axes, accuracy: np.ndarray, names: Sequence[str]) -> None:
    n_beakers, tasks = accuracy.shape
    mesh = panel.pcolormesh(accuracy, cmap=ACCURACY_COLORS, vmin=10 * np.floor(accuracy.min() / 10), vmax=100)
    panel.set(ylim=(n_beakers, 0), xlabel="Task", ylabel="Weights of")
    panel.set_xticks(np.arange(tasks) + 0.5, [str(task + 1) for task in range(tasks)])
    panel.set_yticks(np.arange(n_beakers) + 0.5, names)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.figure.colorbar(mesh, ax=panel, label="Accuracy (%)", pad=0.02, aspect=10)
    if accuracy.size <= MOST_CELLS_WITH_NUMBERS:
        for (k, task), value in np.ndenumerate(accuracy):
            place = task + 0.5, k + 0.52
            ink = ink_on(mesh.to_rgba(value))
            panel.text(*place, f"{value:.0f}", color=ink, fontsize=6, ha="center", va="center")
