"""Averages of past weights in words, such as ``mean:0.5``: what ``--profile`` may say.

A profile says how much of an average lies on each iteration made so far (:mod:`cs_optax.profiles`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

MAX_SIGMA_REL = 12**-0.5  # the plain mean


class Profile(NamedTuple):
    """An average in words, understood.

    Attributes:
        kind: mean, power, exponential or moment.
        number: the share of the iterations, the standard deviation, the time or the age.
        of_length: whether the time or the age is a share of the iterations made so far, not a number of them.
    """

    kind: str
    number: float
    of_length: bool = False

    def __str__(self) -> str:
        """In words again, the same for all ways of writing it.

        >>> str(read("exponential:0.20n")), str(read("mean:1")), str(read("moment:3e2"))
        ('exponential:0.2n', 'mean', 'moment:300')
        """
        if self == Profile("mean", 1.0):
            return self.kind
        return f"{self.kind}:{self.number:.12g}{'n' if self.of_length else ''}"


class _Kind(NamedTuple):
    allowed: str
    holds: Callable[[float], bool]
    with_length: bool = False  # whether a share of the length may be named too


_KINDS = {
    "mean": _Kind("SHARE (of the iterations so far, above 0 to 1)", lambda share: 0 < share <= 1),
    "power": _Kind("SIGMA (above 0 to 0.288)", lambda sigma: 0 < sigma <= MAX_SIGMA_REL),
    "exponential": _Kind("TIME", lambda time: 0 < time < math.inf, with_length=True),
    "moment": _Kind("AGE", lambda age: 0 <= age < math.inf, with_length=True),
}

ALLOWED = (
    f"mean, {', '.join(f'{kind}:{one.allowed}' for kind, one in _KINDS.items())}; "
    "TIME and AGE in iterations, or as 0.2n, a share of those so far"
)


def read(text: str) -> Profile:
    """Understand a profile.

    Args:
        text: ``mean``, the plain mean of all iterations, or of the last share of them, ``mean:0.5``;
            ``power:0.1``, a power function, by its standard deviation over the length; ``exponential:200`` or
            ``exponential:0.2n``, an exponential average over a time; ``moment:300``, about so long ago.

    Raises:
        ValueError: if it is none of these.

    >>> read("exponential:0.2n")
    Profile(kind='exponential', number=0.2, of_length=True)
    """
    kind, _, number = text.partition(":")
    if text == "mean":
        return Profile(kind, 1.0)
    known = _KINDS.get(kind)
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?(n?)", number)
    if known is None or found is None:
        raise ValueError(f"must be {ALLOWED}")
    value, of_length = float(found[1] + (found[2] or "")), bool(found[3])
    whole = kind != "moment" or of_length or value.is_integer()
    share = not of_length or (known.with_length and (kind != "moment" or value <= 1))
    if not (known.holds(value) and whole and share):
        raise ValueError(f"must be {ALLOWED}")
    return Profile(kind, value, of_length)


USUAL = "mean"  # where an average is read and none is named

# What experiments.sweep tries of one training: averages over a share of the iterations, and over times.
TRIED = (
    "moment:0",  # the last weights
    *("mean", "mean:0.5", "mean:0.25", "mean:0.1"),
    *("power:0.25", "power:0.2", "power:0.15", "power:0.1", "power:0.05"),
    *("exponential:0.5n", "exponential:0.2n", "exponential:0.1n", "exponential:0.05n", "exponential:0.02n"),
    *("exponential:30", "exponential:100", "exponential:300", "exponential:1000", "exponential:3000"),
    *("exponential:10000", "moment:0.5n", "moment:0.25n", "moment:0.1n"),
)
