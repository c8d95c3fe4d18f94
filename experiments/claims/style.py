"""Colours and lines of the figures of claims; all else is in `experiments.lab.figures`."""

from typing import Any

# From the palette of Okabe & Ito (2008), with a line each.
CURVES: tuple[tuple[str, Any], ...] = (
    ("#D55E00", "solid"),
    ("#0072B2", (0, (4, 1.2))),
    ("#009E73", (0, (5, 1.2, 1, 1.2))),
    ("#CC79A7", (0, (1, 1))),
    ("#E69F00", (0, (8, 2))),
    ("#56B4E9", (0, (2, 1.5))),
)
BEAKER_COLORS = {4: "#E69F00", 6: "#D55E00", 8: "#0072B2", 10: "#CC79A7", 12: "#009E73"}
