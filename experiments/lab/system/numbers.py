"""Numbers as they are written on the command line."""


def whole_number(text: str) -> int:
    """Read a whole number, in digits or as a float that is one.

    Raises:
        ValueError: if it is none; the message says what is allowed.

    >>> whole_number("2500"), whole_number("2.5e3")
    (2500, 2500)
    """
    for read in (int, _whole_float):
        try:
            return read(text)
        except ValueError:
            pass
    raise ValueError(f"{text}: must be a whole number, such as 1000 or 1e3")


def _whole_float(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError
    return int(value)
