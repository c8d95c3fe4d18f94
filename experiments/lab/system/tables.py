"""Tables of numbers, to be written in Markdown or printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table
    from rich.console import Console

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """Numbers under a title; columns of numbers are printed with ``digits`` digits behind the point.

    Attributes:
        title: what is measured, and in which unit.
        head: the columns.
        rows: cells, a row each; None where there is nothing.
        digits: behind the point, one for each column.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: Sequence[int]

    def markdown(self) -> str:
        """The table in Markdown, its title above."""
        lines = ["| " + " | ".join(self.head) + " |", "|---" * len(self.head) + "|"]
        for row in self.rows:
            cells = (_cell(value, digits) for value, digits in zip(row, self.digits, strict=True))
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join([self.title, "", *lines])


def _cell(value: Cell, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def print_whole(console: "Console", table: "rich.table.Table") -> None:
    """Print a table in as many columns as it needs: on a narrower terminal rich would cut its numbers."""
    unlimited = console.options.update(width=10**4)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)
