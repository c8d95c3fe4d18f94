"""Which runs train together: configurations that want the same seeds, in parts for several processes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Pair = tuple[int, int]  # the place of a configuration, and a seed
Group = tuple[list[int], list[int]]  # the places of configurations, and seeds, that train together


def products(pairs: Sequence[Pair]) -> list[Group]:
    """These runs as configurations that want the same seeds, and those seeds."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place in sorted({place for place, _ in pairs}):
        groups.setdefault(tuple(seed for other, seed in pairs if other == place), []).append(place)
    return [(places, list(seeds)) for seeds, places in groups.items()]


def parts_of(group: Group, n: int) -> list[Group]:
    """A group in at most ``n`` parts of about the same size: by configurations, and then by seeds."""
    by_place = _split(group[0], n)
    return [(places, seeds) for places in by_place for seeds in _split(group[1], n // len(by_place))]


def _split(items: list[int], n: int) -> list[list[int]]:
    n = min(n, len(items))
    bounds = [len(items) * i // n for i in range(n + 1)]
    return [items[a:b] for a, b in itertools.pairwise(bounds)]
