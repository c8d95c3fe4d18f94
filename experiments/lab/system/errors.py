"""Mistakes of the user, and the names of flags."""

from collections.abc import Iterable
from difflib import get_close_matches


class SettingsError(ValueError):
    """Settings that cannot be meant; the message is one line for the user."""


class MethodError(SettingsError):
    """A mistake of one method of the user's own, found while it trains: others can train all the same."""


def flag(field: str) -> str:
    """Name a field as the command line does.

    >>> flag("fc_units")
    '--fc-units'
    """
    return "--" + field.replace("_", "-")


def meant(given: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the nearest known one, if there is one.

    >>> meant("iter", ["iters", "lr"]), meant("magic", ["iters", "lr"])
    ('; did you mean iters?', '')
    """
    nearest = get_close_matches(given, list(known), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""
