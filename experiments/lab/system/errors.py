"""Mistakes of the user, and the names of flags."""


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
