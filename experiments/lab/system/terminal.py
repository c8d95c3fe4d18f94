"""What is printed, as it is given: whatever the terminal, and whatever is in a name."""

import codecs
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

ERRORS = "cs_optax.as_it_can"  # what codecs call the way in which `suit_the_terminal` treats characters


def suit_the_terminal() -> None:
    """Let nothing that is printed fail: paths keep bytes that are no text, other characters become "?"."""
    codecs.register_error(ERRORS, _as_it_can)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ERRORS)


def plain_console(**how: Any) -> "Console":
    """A console that takes brackets and colons in a name for what they are, not for markup.

    Args:
        how: see `rich.console.Console`.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **how)


def _as_it_can(error: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    # Python hands on a byte that it could not decode, in the name of a file say, as one of these characters.
    encoded = (ord(one) - 0xDC00 if "\udc80" <= one <= "\udcff" else ord("?") for one in characters)
    return bytes(encoded), error.end
