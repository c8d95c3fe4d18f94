"""The picture of the README: where an update goes in a chain of beakers, and what stays of it in the weight.

``python docs/figures/beakers.py`` draws it beside this file, for light and for dark pages: at three moments
(SVG), and moving (GIF). Levels and curves are those of the chain that ``suggest_timescales`` gives for five
tasks of 500 iterations. The area of a beaker's base is its capacity, so that its volume is what it holds.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pages import PAGES, Colours, settings

from cs_optax import BeakerChain, suggest_timescales

HERE = Path(__file__).parent
CHAIN = BeakerChain.from_timescales(*suggest_timescales(n_iterations=2500, n_tasks=5))
ALONE = BeakerChain.from_timescales(1, alpha=None, beta=10.0)
MOMENTS = (1, 10, 100)
FRAMES = np.geomspace(1, 1000, 72)
TIMES = np.geomspace(1, 1e5, 400)
GAP, FOOT = 1.0, 0.05  # between two beakers; below a tube
WIDTHS = np.sqrt(CHAIN.capacities)
LEFTS = np.concatenate([[0], np.cumsum(WIDTHS + GAP)[:-1]])
TUBES = 0.09 * np.sqrt(np.array(CHAIN.conductances[:-1]) / CHAIN.conductances[0]) + 0.03


def draw_beakers(ax: Axes, time: float, colours: Colours) -> None:
    """One row of beakers, a time after a unit was put into the first one."""
    levels = CHAIN.propagator(time)[:, 0]
    glass = {"color": colours.glass, "linewidth": 1.5, "solid_capstyle": "round", "solid_joinstyle": "round"}
    for k, (left, width, level) in enumerate(zip(LEFTS, WIDTHS, levels, strict=True)):
        right, colour = left + width, colours.hidden if k else colours.weight
        ax.add_patch(Rectangle((left, 0), width, 1, color=colours.glass, alpha=0.1, linewidth=0))
        ax.add_patch(Rectangle((left, 0), width, level, color=colour, linewidth=0))
        ax.plot([left, left, right, right], [1, 0, 0, 1], **glass)
        if k < len(TUBES):
            tube = (right - 0.06, FOOT), GAP + 0.12
            ax.add_patch(Rectangle(*tube, TUBES[k], color=colours.paper, linewidth=0, zorder=3))
            inside = float(np.clip(level - FOOT, 0, TUBES[k]))
            ax.add_patch(Rectangle(*tube, inside, color=colour, linewidth=0, zorder=3))
            for height in (FOOT, FOOT + TUBES[k]):
                ax.plot([right, right + GAP], [height, height], **{**glass, "linewidth": 1.1}, zorder=4)
    words = f"{time:.0f} iteration{'s' * (round(time) > 1)}\nlater"
    ax.text(LEFTS[-1] + WIDTHS[-1] / 2, 0.5, words, color=colours.ink, ha="center", va="center")
    ax.set(xlim=(-0.2, LEFTS[-1] + WIDTHS[-1] + 0.2), ylim=(-0.05, 1.1))
    ax.axis("off")


def draw_curves(ax: Axes, moments: tuple[float, ...], colours: Colours) -> None:
    """What is left in the weight over time, with a mark at each moment."""
    for chain, colour in ((ALONE, colours.alone), (CHAIN, colours.weight)):
        ax.loglog(TIMES, chain.impulse_response(TIMES), color=colour, linewidth=2.6)
        left = chain.impulse_response(moments)
        shown = left > 1e-3
        ax.loglog(np.array(moments)[shown], left[shown], "o", color=colour, markersize=8, clip_on=False)
    slope = TIMES[(TIMES > 20) & (TIMES < 1200)]
    ax.loglog(slope, 3.2 / np.sqrt(slope), color=colours.faint, linestyle=(0, (4, 3)), linewidth=1.5)
    ax.text(230, 0.25, "1/√t", color=colours.faint)
    ax.text(1.6e3, 6.5e-2, "7 beakers:\na power law", color=colours.weight, weight="bold", ha="left")
    ax.text(80, 2.2e-3, "1 beaker:\nan exponential", color=colours.alone, weight="bold", ha="left")
    ax.set(xlim=(1, 1e5), ylim=(1e-3, 1.2), xlabel="iterations after the update")
    ax.set_title(
        "What is left of an update in the weight", loc="left", color=colours.ink, weight="bold", pad=14
    )
    ax.set_yticks([1, 0.1, 0.01, 0.001], ["100 %", "10 %", "1 %", "0.1 %"])
    ax.set_xticks([1, 10, 100, 1e3, 1e4, 1e5], ["1", "10", "100", "1000", "10 000", "100 000"])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_facecolor("none")


def new_figure(rows: int, height: float, colours: Colours) -> tuple[Figure, list[Axes], Axes]:
    """A figure with rows of beakers on its left and curves on its right."""
    figure = plt.figure(figsize=(11.4, height))
    grid = {"left": 0.01, "right": 0.96, "top": 0.88, "bottom": 0.14, "wspace": 0.17, "hspace": 0.16}
    cells = figure.add_gridspec(rows, 2, width_ratios=(1.3, 1), **grid)
    beakers = [figure.add_subplot(cells[row, 0]) for row in range(rows)]
    above = 1.14
    beakers[0].text(0, above, "weight", color=colours.weight, weight="bold")
    words = "hidden beakers: each is larger and slower"
    beakers[0].text(LEFTS[2], above, words, color=colours.hidden, weight="bold")
    return figure, beakers, figure.add_subplot(cells[:, 1])


def draw_still(colours: Colours, path: Path) -> None:
    """Three moments, one below the other, beside the curves."""
    with plt.rc_context(settings(colours)):
        figure, rows, curves = new_figure(len(MOMENTS), 4.6, colours)
        for ax, moment in zip(rows, MOMENTS, strict=True):
            draw_beakers(ax, moment, colours)
        draw_curves(curves, MOMENTS, colours)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def draw_moving(colours: Colours, path: Path) -> None:
    """The same with time running, faster and faster."""
    with plt.rc_context(settings(colours)):
        figure, (beakers,), curves = new_figure(1, 3.4, colours)

        def draw(time: float) -> None:
            words = [(text.get_position(), text.get_text(), text.get_color()) for text in beakers.texts[:2]]
            beakers.clear()
            curves.clear()
            for place, text, colour in words:
                beakers.text(*place, text, color=colour, weight="bold")
            draw_beakers(beakers, time, colours)
            draw_curves(curves, (time,), colours)

        held = [*[FRAMES[0]] * 10, *FRAMES, *[FRAMES[-1]] * 15]
        FuncAnimation(figure, draw, frames=held).save(path, writer=PillowWriter(fps=12), dpi=72)
        plt.close(figure)


if __name__ == "__main__":
    matplotlib.use("Agg")
    for name, colours in PAGES.items():
        draw_still(colours, HERE / f"beakers-{name}.svg")
        draw_moving(colours, HERE / f"beakers-{name}.gif")
