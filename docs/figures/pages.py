"""The colours and type of the documentation's own figures, on light and on dark pages."""

from typing import Any, NamedTuple


class Colours(NamedTuple):
    """Of a page."""

    paper: str
    ink: str
    glass: str
    faint: str
    weight: str
    hidden: str
    alone: str
    stored: str


PAGES = {
    "light": Colours("#ffffff", "#1f2328", "#57606a", "#8c959f", "#d1491b", "#2f6fb5", "#8250df", "#1a7f37"),
    "dark": Colours("#0d1117", "#e6edf3", "#9198a1", "#7d8590", "#ff8552", "#4f9bea", "#bc8cff", "#3fb950"),
}
STYLE = {"font.family": "DejaVu Sans", "font.size": 11.5, "svg.fonttype": "path", "svg.hashsalt": "cs_optax"}
INKS = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color")


def settings(colours: Colours) -> dict[str, Any]:
    """Matplotlib's settings for a page."""
    paper = {"figure.facecolor": colours.paper, "axes.facecolor": "none"}
    return {**STYLE, **paper, **dict.fromkeys(INKS, colours.ink)}
