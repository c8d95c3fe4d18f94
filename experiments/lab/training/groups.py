"""Which runs train together: configurations that want the same seeds, in parts for several processes."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from typing import TypeVar

Pair = tuple[int, int]  # the place of a configuration, and a seed
Item = TypeVar("Item")
Group = tuple[list[int], list[int]]  # the places of configurations, and seeds, that train together


def products(pairs: Sequence[Pair]) -> list[Group]:
    """These runs as configurations that want the same seeds, and those seeds."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place in sorted({place for place, _ in pairs}):
        groups.setdefault(tuple(seed for other, seed in pairs if other == place), []).append(place)
    return [(places, list(seeds)) for seeds, places in groups.items()]


def parts_of(group: Group, n: int, trainings: Sequence[Hashable] | None = None) -> list[Group]:
    """A group in at most ``n`` parts of about the same size: by trainings, and then by seeds.

    Args:
        group: the group.
        n: the number of parts.
        trainings: of each place, what names its training, which several may share; by default each has one.
    """
    served: dict[Hashable, list[int]] = {}
    for place in group[0]:
        served.setdefault(place if trainings is None else trainings[place], []).append(place)
    by_training = _split(list(served.values()), n)
    return [
        (sorted(place for places in part for place in places), seeds)
        for part in by_training
        for seeds in _split(group[1], n // len(by_training))
    ]


def _split(items: list[Item], n: int) -> list[list[Item]]:
    n = min(n, len(items))
    bounds = [len(items) * i // n for i in range(n + 1)]
    return [items[a:b] for a, b in itertools.pairwise(bounds)]
