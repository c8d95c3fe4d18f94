"""How sensitive each method is to its settings: validation accuracy over what was searched."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from experiments.lab.figures.style import (
    ACCURACY_COLORS,
    COLUMN,
    INK,
    PAGE,
    STYLE,
    Look,
    ink_on,
    looks,
    panels_in_grid,
    round_ticks,
    rows_and_columns,
    sheet,
    write_title,
)
from experiments.lab.options.declaration import SPAN, Declaration
from experiments.lab.options.description import counted, figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results import statistics

IN_A_COLUMN, ON_A_PAGE = 2, 4  # panels side by side
LOWEST_COLORED = 10  # percent of all configurations: those below have the colour of this one
FEWEST_WITH_CELLS = 9  # configurations: of fewer a cell would reach far
MARGIN = 0.06  # of an axis, beyond the outermost points

IN_WORDS = {"lr": "Learning rate"}
# Of a synapse three settings and the number of beakers are searched: three looks at the same points.
OF_SYNAPSES = (("alpha", "lr"), ("beta", "lr"), ("alpha", "beta"))


@matplotlib.rc_context(STYLE)
def sweep_map(searches: Mapping[str, Mapping[str, Any]], settings: Settings, *, talk: bool = False) -> Figure:
    """Validation accuracy of every configuration that was tried, in a panel for each method.

    A method of which the learning rate alone was searched has its accuracy (mean over the tuning seeds and
    its standard error) drawn over it. One with a strength beside it has a map in which the points are
    coloured by their accuracy, and what surrounds each like it: up to where another point is nearer, the axes
    being equally long. Fewer than nine points stand alone: they say nothing of what is far from them.
    Complex synapses, with more settings than two, have points alone, seen from three sides; in the last one
    the numbers of beakers are written into them.

    Colours, and the axes of accuracies, mean the same in all panels; the worst tenth of all configurations
    has one colour. A ring marks the best one of a method. A strength of 0 stands at the edge.

    Args:
        searches: of each method what was tried, as in a sweep's summary: `space` and `candidates`, of each
            training the best of what was evaluated.
        settings: the settings that were not searched.
        talk: whether for a slide.
    """
    panels = [(method, pair) for method, search in searches.items() for pair in _looks(search)]
    small = len(panels) <= 2 * IN_A_COLUMN
    rows, columns = rows_and_columns(len(panels), IN_A_COLUMN if small and not talk else ON_A_PAGE)
    figure = sheet(COLUMN if columns <= IN_A_COLUMN else PAGE, 0.75 + 1.6 * rows, talk=talk)
    tried = counted(max(len(search["candidates"]) for search in searches.values()), "configuration")
    title = f"{figure_title(settings).splitlines()[0]}\n{settings.optimizer}, batch {settings.batch}; "
    title += f"{tried} of each method"
    lost = {method: np.count_nonzero(_diverged(search)) for method, search in searches.items()}
    if any(lost.values()):
        title += "\ndiverged: " + ", ".join(f"{method} ({n})" for method, n in lost.items() if n)
    write_title(figure, title, {})
    places = panels_in_grid(figure, len(panels), columns, shared=False)
    colors, look_of = _colors(searches), looks(searches, settings)
    for panel, (method, pair) in zip(places, panels, strict=True):
        if len(pair) == 1:
            _draw_line(panel, look_of[method], searches[method], colors)
            panel.set_ylim(_heights(searches))
        else:
            _draw_map(panel, searches[method], pair, colors, cells=len(searches[method]["space"]) == 2)
            panel.set(**_axes_in_words(pair, settings.methods[method]))
        panel.set_title(look_of[method].label, fontsize=7.5, pad=4)
        panel.tick_params(labelsize=7)
    lower = min(_accuracies(search).min() for search in searches.values()) < colors.norm.vmin
    figure.colorbar(
        colors,
        ax=places,
        label="Validation accuracy (%)",
        fraction=0.05,
        aspect=18 * rows,
        extend="min" if lower else "neither",
    )
    ring = Line2D([], [], color="black", marker="o", markersize=8, markerfacecolor="none", linestyle="none")
    figure.legend([ring], ["best configuration"], loc="outside lower center")
    return figure


def _looks(search: Mapping[str, Any]) -> Sequence[tuple[str, ...]]:
    """The axes of the panels of a method: the learning rate alone, or pairs of settings, x and y."""
    others = [name for name in search["space"] if name != "lr"]
    if not others:
        return [("lr",)]
    if SPAN in others:
        return OF_SYNAPSES
    return [*((name, "lr") for name in others), *itertools.combinations(others, 2)]


def _axes_in_words(pair: tuple[str, ...], declared: Declaration) -> dict[str, str]:
    """What the axes of a map say, ``xlabel`` and ``ylabel``."""
    labels = {name: usual.label or name.replace("_", " ") for name, usual in declared.search.items()}
    return {
        f"{axis}label": labels.get(name, IN_WORDS.get(name, name))
        for axis, name in zip("xy", pair, strict=True)
    }


def _accuracies(search: Mapping[str, Any]) -> np.ndarray:
    return 100 * np.array([one["validation_accuracy"] for one in search["candidates"]])


def _errors(search: Mapping[str, Any]) -> np.ndarray:
    """The standard errors over the tuning seeds; NaN where there is one alone, or a training diverged."""
    per_seed = [one["per_seed"] for one in search["candidates"]]
    errors = statistics.standard_error(100 * np.array(per_seed, dtype=np.float64).T)
    return np.where(_diverged(search) > 0, math.nan, errors)


def _diverged(search: Mapping[str, Any]) -> np.ndarray:
    """The number of trainings of each configuration that diverged."""
    return np.array([len(one.get("diverged", ())) for one in search["candidates"]])


def _values(search: Mapping[str, Any], name: str) -> np.ndarray:
    return np.array([one[name] for one in search["candidates"]], dtype=np.float64)


def _colors(searches: Mapping[str, Mapping[str, Any]]) -> ScalarMappable:
    accuracies = np.concatenate([_accuracies(search) for search in searches.values()])
    # A few configurations that learn nothing would leave one colour for all others.
    low, high = np.percentile(accuracies, LOWEST_COLORED), accuracies.max()
    room = 0.0 if high > low else 1.0
    return ScalarMappable(Normalize(low - room, high + room), ACCURACY_COLORS)


def _heights(searches: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
    """The limits of the axes of accuracies: room for all points, and for error bars where they are drawn."""
    ends = [_accuracies(search) for search in searches.values()]
    for search in searches.values():
        if len(_looks(search)[0]) == 1:
            errors = np.nan_to_num(_errors(search))
            ends += [_accuracies(search) - errors, _accuracies(search) + errors]
    low, high = np.concatenate(ends).min(), np.concatenate(ends).max()
    room = MARGIN * (high - low) or 1.0
    return low - room, high + room


def _limits(search: Mapping[str, Any], name: str) -> tuple[float, float]:
    """What was searched and, should they lie outside of it, the points."""
    values = _values(search, name)
    values = values[values > 0]
    bounds = np.log10([*search["space"].get(name, ()), *values]) if values.size else np.array([0.0, 1.0])
    low, high = float(bounds.min()), float(bounds.max())
    room = MARGIN * (high - low) or 0.5
    return 10 ** (low - room), 10 ** (high + room)


def _places(search: Mapping[str, Any], name: str) -> np.ndarray:
    """Where the points stand along a logarithmic axis, as fractions of its length."""
    low, high = np.log10(_limits(search, name))
    values = np.maximum(_values(search, name), 10**low)
    return np.asarray((np.log10(values) - low) / (high - low))


def _draw_line(panel: Axes, look: Look, search: Mapping[str, Any], colors: ScalarMappable) -> None:
    name = "lr"
    values, accuracies, order = _values(search, name), _accuracies(search), _values(search, name).argsort()
    panel.plot(values[order], accuracies[order], color=look.color, linewidth=1, zorder=1)
    errors = _errors(search)
    if np.isfinite(errors).any():
        panel.errorbar(values, accuracies, errors, fmt="none", ecolor=INK, elinewidth=0.8)
    _draw_points(panel, values, accuracies, search, colors)
    _scale(panel.xaxis, *_limits(search, name))
    panel.set(xlabel=IN_WORDS[name], ylabel="Accuracy (%)")
    panel.yaxis.set_major_locator(round_ticks(4))


def _draw_map(
    panel: Axes, search: Mapping[str, Any], pair: tuple[str, ...], colors: ScalarMappable, *, cells: bool
) -> None:
    x, y = pair
    accuracies = _accuracies(search)
    cells = cells and len(accuracies) >= FEWEST_WITH_CELLS
    if cells:
        places = np.column_stack([_places(search, x), _places(search, y)])
        for number, accuracy in enumerate(accuracies):
            corners = _nearest(places, number)
            if len(corners):
                # The hairline closes the gaps that viewers leave between neighbours.
                panel.fill(*corners.T, color=colors.to_rgba(accuracy), lw=0.2, transform=panel.transAxes)
    limits = _limits(search, x), _limits(search, y)
    _scale(panel.xaxis, *limits[0])
    _scale(panel.yaxis, *limits[1])
    beakers = [one["beakers"] for one in search["candidates"]] if pair == ("alpha", "beta") else None
    xs, ys = (np.maximum(_values(search, name), low) for name, (low, _) in zip(pair, limits, strict=True))
    _draw_points(panel, xs, ys, search, colors, beakers, on_cells=cells)


def _draw_points(
    panel: Axes,
    x: np.ndarray,
    y: np.ndarray,
    search: Mapping[str, Any],
    colors: ScalarMappable,
    beakers: Sequence[int] | None = None,
    *,
    on_cells: bool = False,
) -> None:
    accuracies, never_diverged = _accuracies(search), _diverged(search) == 0
    best = int(np.lexsort((-accuracies, ~never_diverged))[0])  # stable: of equals, the first
    shades = colors.to_rgba(accuracies)
    edges = [ink_on(shade) if on_cells else "black" for shade in shades]
    size = 16 if beakers is None else 46
    panel.scatter(x, y, s=size, c=shades, edgecolors=edges, linewidths=0.5, zorder=2, clip_on=False)
    for color, thickness in (("white", 2.6), ("black", 1.2)):  # seen on light and on dark
        ring: dict[str, Any] = {"facecolors": "none", "edgecolors": color, "linewidths": thickness}
        panel.scatter(x[best], y[best], s=size + 56, zorder=1.5, clip_on=False, **ring)
    for number, count in enumerate(beakers or ()):
        panel.text(
            x[number],
            y[number],
            str(count),
            color=ink_on(shades[number]),
            fontsize=5.5,
            ha="center",
            va="center",
            zorder=4,
        )


def _scale(axis: Any, low: float, high: float) -> None:
    """A logarithmic axis with ticks at powers of ten, as many as have room, or between them."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
    if math.floor(math.log10(high)) - math.ceil(math.log10(low)) < 1:  # fewer than two powers of ten
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axis.set_major_locator(LogLocator(numticks=4))
    axis.set_minor_locator(NullLocator() if high / low > 1e4 else LogLocator(subs=range(2, 10)))
    axis.set_minor_formatter(NullFormatter())


def _nearest(places: np.ndarray, number: int) -> np.ndarray:
    """The part of the unit square that is nearer to one point than to any other: its corners, in turn."""
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    for other in np.delete(places, number, axis=0):
        across = other - places[number]
        beyond = (corners - (other + places[number]) / 2) @ across
        kept = []
        for i, corner in enumerate(corners):
            before = i - 1
            if beyond[before] * beyond[i] < 0:
                share = beyond[before] / (beyond[before] - beyond[i])
                kept.append(corners[before] + share * (corner - corners[before]))
            if beyond[i] <= 0:
                kept.append(corner)
        corners = np.array(kept).reshape(-1, 2)
    return corners
