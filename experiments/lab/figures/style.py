"""What all figures share: sizes, colours, line styles, names, and how they are titled and written."""

import io
import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run
from experiments.lab.system.files import write_atomically

COLUMN = 3.5  # inches, the width of a journal's column
PAGE = 2 * COLUMN
SLIDE = (5.12, 2.88)  # inches, 16:9: on a slide 7.5 inches high the same type is 2.6 times as large
PNG_DPI = 300
SLIDE_SHARPER = 1.25  # 1920 × 1080
FORMATS = ("pdf", "png")
MOST_TASKS_NAMED = 12  # more would not be legible at this width
LEGEND_SIZE = 7  # points
POINTS_PER_INCH = 72
LETTERS_PER_INCH = 20.5  # of a title
NO_GLYPH = "\N{WHITE SQUARE}"  # for letters of a name that the font does not have
ACCURACY_COLORS = "viridis"  # perceptually uniform, and in order in grey too

DASHED, DOTTED, DASH_DOTTED = (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2))
LINES: dict[str, Any] = {"solid": "solid", "dashed": DASHED, "dotted": DOTTED, "dash-dotted": DASH_DOTTED}
# For methods that declare no colour; told apart from each other and from those of all built-in methods in all
# kinds of colour vision.
FREE_COLORS = ("#AA3377", "#117733", "#661100", "#4B0055")
INK, LINK, FAINT = "#4D4D4D", "#B0B0B0", "#D0D0D0"
IN_TRAINING, MARKED = "#FBE7A1", "this task in training"  # the bands of a method in grey are grey


class Look(NamedTuple):
    """How a method is drawn: its color, its line as matplotlib has it, and its name."""

    color: str
    line: Any
    label: str


def looks(methods: Iterable[str], settings: Settings) -> dict[str, Look]:
    """How each of some methods that are drawn together looks.

    Those that declare no color have one that none of the others declares, and other lines once these are
    used up.

    Args:
        methods: their names.
        settings: the settings, which know them.
    """
    declared = [settings.methods[method] for method in methods]
    taken = {one.color.upper() for one in declared if one.color}
    colors = [color for color in FREE_COLORS if color not in taken] or list(FREE_COLORS)
    free = itertools.product(LINES.values(), colors)
    found = {}
    for one in declared:
        color, line = one.color, LINES[one.line]
        if color is None:
            line, color = next(free)
        found[one.name] = Look(color, line, one.label.replace("$", r"\$"))
    return found


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


def sheet(width: float, height: float, *, talk: bool = False) -> Figure:
    """An empty figure of so many inches; for a talk, a slide."""
    return Figure(figsize=SLIDE if talk else (width, height))


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure as PDF and as PNG, each whole or not at all.

    Figures that are drawn alike give the same bytes, whenever they are written.

    Args:
        figure: the figure.
        folder: where to; made if missing.
        name: the files' name without its ending.
        formats: the endings of the files to write, without their dot.

    Returns:
        The paths of the files.

    Raises:
        OSError: if they cannot be written.
    """
    paths = [folder / f"{name}.{ending}" for ending in formats]
    engine = figure.get_layout_engine()
    dpi = PNG_DPI * (SLIDE_SHARPER if tuple(figure.get_size_inches()) == SLIDE else 1)
    with matplotlib.rc_context(STYLE):
        for path in paths:
            content = io.BytesIO()
            undated = {"CreationDate": None} if path.suffix == ".pdf" else {}
            figure.savefig(content, format=path.suffix[1:], dpi=dpi, metadata=undated)
            write_atomically(path, content.getvalue())
            # Laid out once is enough for all formats: it takes as long as the drawing.
            figure.set_layout_engine("none")
    figure.set_layout_engine(engine)
    return paths


def write_title(figure: Figure, text: str, runs: Mapping[str, Sequence[Run]]) -> None:
    """Say what was run, above all panels; wrapped where unusual settings make a line too long.

    Args:
        figure: the figure.
        text: what was run.
        runs: the runs; the methods of which some diverged are named too.
    """
    diverged = {method: sum(run.diverged for run in group) for method, group in runs.items()}
    marks = [f"{method} ({n} of {len(runs[method])})" for method, n in diverged.items() if n]
    if marks:
        text += f"\ndiverged: {', '.join(marks)}"
    text = "".join(one if one == "\n" or _is_in_the_font(one) else NO_GLYPH for one in text)
    width = figure.get_size_inches()[0]
    lines = [textwrap.fill(line, int(LETTERS_PER_INCH * width)) for line in text.splitlines()]
    left = 0.02 * COLUMN / width
    figure.suptitle(
        "\n".join(lines), x=left, ha="left", fontsize=6.5, color=INK, linespacing=1.3, parse_math=False
    )


def _is_in_the_font(character: str) -> bool:
    return bool(get_font(findfont(STYLE["font.family"])).get_char_index(ord(character)))


def legend_below(figure: Figure, axes: Axes, n_seeds: int, *, marked: bool = False) -> None:
    """Name a panel's lines below all panels, the bands of several seeds, and marks of tasks in training."""
    lines, labels = axes.get_legend_handles_labels()
    if n_seeds > 1:
        lines.append(Patch(color=INK, alpha=0.25, linewidth=0))
        labels.append(_band(n_seeds))
    if marked:
        lines.append(Patch(color=IN_TRAINING, linewidth=0))
        labels.append(MARKED)
    figure.legend(
        lines,
        labels,
        loc="outside lower center",
        ncols=_columns_of_legend(labels, figure.get_size_inches()[0]),
        columnspacing=0.9,
        handlelength=2.0,
        fontsize=LEGEND_SIZE,
    )


def height_of_legend(
    runs: Mapping[str, Sequence[Run]], settings: Settings, width: float, *, marked: bool = False
) -> float:
    """The inches that `legend_below` takes for these runs in a figure of a width (inches)."""
    bands = [_band(len(group)) for group in runs.values()][:1]
    labels = [settings.methods[method].label for method in runs] + bands + [MARKED] * marked
    return 0.15 * math.ceil(len(labels) / _columns_of_legend(labels, width))


def _band(n_seeds: int) -> str:
    return f"± SEM, {n_seeds} seeds"


def _columns_of_legend(labels: Sequence[str], width: float) -> int:
    """As many columns as fit the width: letters are about half as wide as high."""
    for columns in range(min(6, len(labels)), 1, -1):
        longest = [max(len(labels[i]) for i in part) for part in np.array_split(range(len(labels)), columns)]
        letters, lines = sum(longest), 3.7 * columns
        if (0.58 * letters + lines) * LEGEND_SIZE / POINTS_PER_INCH < width - 0.08:
            return columns
    return 1


def mark_chance_if_near(
    axes: Axes, settings: Settings, highest: float = 100.5, *, named: bool = True
) -> None:
    """Mark chance level where it is in sight, or a little below; elsewhere it would only flatten the rest.

    Args:
        axes: the panel, with accuracies in percent.
        settings: the settings.
        highest: where the panel ends at most.
        named: whether to write beside the line what it is.
    """
    chance, (low, high) = 100 * settings.chance, axes.get_ylim()
    axes.set_ylim(low, min(high, highest))
    if not low - 0.15 * (high - low) < chance < high:
        return
    axes.set_ylim(min(low, chance - 0.05 * (high - low)))
    axes.axhline(chance, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    if named:
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


@matplotlib.rc_context(STYLE)
def panels(titles: Sequence[str], height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """An empty figure with a row of panels, each a column wide, so many inches high."""
    figure = Figure(figsize=(COLUMN * len(titles), height))
    row = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for panel, title in zip(row, titles, strict=True):
        panel.set_title(title)
    return figure, row


def panels_in_grid(figure: Figure, n: int, columns: int, *, shared: bool, down: bool = False) -> list[Axes]:
    """Panels in a grid, of which the last rows or columns may be incomplete.

    Args:
        figure: the figure.
        n: number of panels.
        columns: number of columns.
        shared: whether all have the same axes, which are then labelled at the left and below.
        down: whether they are counted column by column.

    Returns:
        The panels in their order.
    """
    grid = figure.subplots(math.ceil(n / columns), columns, sharex=shared, sharey=shared, squeeze=False)
    places = list((grid.T if down else grid).flat)
    for panel in places[n:]:
        panel.remove()
    for panel in lowest_panels(places[:n]):
        panel.tick_params(labelbottom=True)
    return places[:n]


def rows_and_columns(n: int, most: int) -> tuple[int, int]:
    """A grid for n panels, at most so many side by side, with as few empty places as there can be.

    >>> rows_and_columns(4, 3), rows_and_columns(6, 3), rows_and_columns(7, 4)
    ((2, 2), (2, 3), (2, 4))
    """
    rows = math.ceil(n / most)
    return rows, math.ceil(n / rows)


def lowest_panels(panels: Sequence[Axes]) -> list[Axes]:
    """Of panels in a grid, those with none below them."""
    columns = {panel.get_subplotspec().colspan.start: panel for panel in panels}  # type: ignore[union-attr]
    return list(columns.values())


def round_ticks(most: int = 5) -> MaxNLocator:
    """Ticks at round numbers, at most so many and one."""
    return MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])


def ink_on(color: Any) -> str:
    """Black or white, whichever is read more easily on a color (red, green, blue, …; each in 0 to 1)."""
    red, green, blue, *_ = color
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "black"


def capital(text: str) -> str:
    """The text with a capital first letter, and all else as it is."""
    return text[:1].upper() + text[1:]
