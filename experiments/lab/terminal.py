"""Tables and lines on the terminal, as they are given."""

from typing import Any

from rich.console import Console


def plain_console(**how: Any) -> Console:
    """A console that takes brackets and colons in a name for what they are, not for markup.

    Args:
        how: see `rich.console.Console`.
    """
    return Console(markup=False, emoji=False, highlight=False, **how)
