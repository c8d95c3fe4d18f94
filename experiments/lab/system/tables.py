"""Tables of numbers, to be written in Markdown or printed."""

from collections.abc import Iterable, Sequence
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
        rows = [[_cell(*each) for each in zip(row, self.digits, strict=True)] for row in self.rows]
        return f"{self.title}\n\n{markdown(self.head, rows)}"


def markdown(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown(["K", "ms"], [["5", "1.25"]]))
    | K | ms |
    |---|---|
    | 5 | 1.25 |
    """
    first, *others = (f"| {' | '.join(row)} |" for row in (head, *rows))
    return "\n".join([first, "|---" * len(head) + "|", *others])


def _cell(value: Cell, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def print_whole(console: "Console", table: "rich.table.Table") -> None:
    """Print a table in as many columns as it needs: on a narrower terminal rich would cut its numbers."""
    unlimited = console.options.update(width=10**4)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)
