"""What a run of each method costs."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.lab.figures.style import COLUMN, INK, STYLE, looks, round_ticks, sheet, write_title
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Seconds

PARTS = {"compile": "#BBBBBB", "train": "#0072B2", "evaluate": "#E69F00"}


@matplotlib.rc_context(STYLE)
def seconds_per_run(
    seconds: Mapping[str, Seconds], settings: Settings, title: str | None = None, *, talk: bool = False
) -> Figure:
    """Seconds that a run of each method took, divided into compiling, training and evaluating.

    Args:
        seconds: of a run of each method, on average (`experiments.lab.results.runs.seconds_per_run`).
        settings: the settings they share.
        title: what was run; the settings in short by default.
        talk: whether for a slide.
    """
    figure = sheet(COLUMN, 1.15 + 0.2 * len(seconds), talk=talk)
    write_title(figure, title or figure_title(settings, methods=list(seconds)), {})
    axes = figure.subplots()
    places, ends = np.arange(len(seconds)), np.zeros(len(seconds))
    for part, color in PARTS.items():
        lengths = np.array([getattr(spent, part) for spent in seconds.values()])
        axes.barh(places, lengths, 0.7, ends, color=color, label=part, edgecolor="white", linewidth=0.4)
        ends += lengths
    for place, end in zip(places, ends, strict=True):
        text = f"{end:.3g}" if end < 100 else f"{end:.0f}"
        axes.annotate(
            text,
            (end, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=7,
        )
    axes.set_yticks(places, [look.label for look in looks(seconds, settings).values()])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(seconds) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(ends.max(), 1e-9))
    axes.xaxis.set_major_locator(round_ticks())
    axes.set_xlabel("Seconds per run")
    figure.legend(loc="outside lower center", ncols=3, columnspacing=1.2, handlelength=1.2)
    return figure
