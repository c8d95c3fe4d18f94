"""What measuring a claim gives: rows of one table, every number, and figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from experiments.lab.system.tables import Table


@dataclass(frozen=True)
class Row:
    """A line of the table claim · target · measured · pass.

    Attributes:
        claim: what is claimed, in a few words.
        target: what must be measured for it to hold; what is known, where it is only reported.
        measured: what was measured.
        passed: whether it holds; None where there is no target, and the number is only reported.
    """

    claim: str
    target: str
    measured: str
    passed: bool | None = None


def within(claim: str, low: float, value: float, high: float, digits: int = 3, unit: str = "") -> Row:
    """The row of a number that must lie in an interval.

    >>> within("slope", -0.52, -0.5, -0.48)
    Row(claim='slope', target='-0.520 to -0.480', measured='-0.500', passed=True)
    """
    target = f"{low:.{digits}f} to {high:.{digits}f}{unit}"
    return Row(claim, target, f"{value:.{digits}f}{unit}", bool(low <= value <= high))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What measuring a claim gave.

    Attributes:
        rows: the lines of the table.
        numbers: every number behind them, as JSON can hold it (lists, not arrays).
        figures: by the names of their files.
        tables: likewise.
    """

    rows: list[Row]
    numbers: Mapping[str, Any]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
