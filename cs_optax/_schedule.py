"""The updates in which the links of a constant chain exchange, computed on the host."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from cs_optax._step import exchange_rates, is_due, kaplanis_times, shares


class Stretch(NamedTuple):
    """A range of updates in which every link exchanges periodically after its first exchange.

    Updates count from 1. Lists have one entry for each link.
    """

    start: int  # the update before the first
    stop: int  # the last update
    left: np.ndarray  # shares of the links, [K]
    right: np.ndarray
    last: list[int]  # the update in which a link exchanged last before
    first: list[int]  # the first one in which it exchanges, maybe beyond `stop`
    periods: list[int]

    def exchange_before(self, link: int, update: int) -> int | None:
        """The last exchange of a link before an update, or None if there is none in this stretch."""
        since = update - 1 - self.first[link]
        return None if since < 0 else update - 1 - since % self.periods[link]

    def n_exchanging(self, update: int) -> int:
        """The number of links that exchange in an update: the first ones, because links are nested."""
        for link, (first, period) in enumerate(zip(self.first, self.periods, strict=True)):
            if update < first or (update - first) % period:
                return link
        return len(self.first)


def periods_of(rates: np.ndarray, time_step: float) -> list[int]:
    """Updates between two exchanges of each link, given the exchanges per unit of time that it needs."""
    periods, left = [], 1
    for rate in rates:
        left *= _first(partial(_is_due_after, rate, left * time_step))
        periods.append(left)
    return periods


def _is_due_after(rate: float, period: float, n_periods: int) -> bool:
    """Whether a link exchanges after a number of periods of its left neighbour."""
    return bool(is_due(rate, n_periods * period, period))


def switches_of(chain: tuple[np.ndarray, np.ndarray], backflow: Any, time_step: float) -> np.ndarray:
    """The numbers of updates after which links 1 … K-1 flow back, ``[K - 1]``; infinite for never."""
    C, g = chain
    if isinstance(backflow, str):
        if backflow != "kaplanis":
            return np.full(len(C) - 1, 0.0 if backflow == "always" else np.inf)
        backflow = kaplanis_times(C, g)
    # A thousandth of a step, as in complex_synapse.
    return np.ceil(np.asarray(backflow, float) / time_step - 1e-3)


def stretches(
    chain: tuple[np.ndarray, np.ndarray],
    switches: np.ndarray,
    n_updates: int,
    time_step: float,
    resolution: float,
    visible_resolution: float,
) -> Iterator[Stretch]:
    """The first ``n_updates`` of a training as stretches, in order.

    Args:
        chain: ``C`` and ``g``, ``[K]`` each.
        switches: the numbers of updates after which links 1 … K-1 flow back; infinite for never.
        n_updates: number of updates.
        time_step: time that passes in each update.
        resolution: as given to :func:`complex_synapse`.
        visible_resolution: likewise.
    """
    C, g = chain
    n_links = max(len(C) - (g[-1] == 0), 1)
    last, start = [0] * n_links, 0
    for stop in sorted({int(n) for n in switches if 0 < n <= n_updates} | {n_updates}):
        left, right = shares(C, np.append(np.less_equal(switches, start), True).astype(float))
        rates = exchange_rates(left + right, g, resolution, visible_resolution if resolution else 0.0)
        rates = rates[:n_links]
        n_forced = 1 + max((k for k, n in enumerate(switches) if n == stop), default=-1)
        regular_stop = stop - (n_forced > 0)
        if regular_stop > start:
            periods = periods_of(rates, time_step)
            first = _first_exchanges(rates, periods, last, start, time_step)
            stretch = Stretch(start, regular_stop, left, right, last, first, periods)
            yield stretch
            before = [stretch.exchange_before(k, regular_stop + 1) for k in range(n_links)]
            last = [old if new is None else new for old, new in zip(last, before, strict=True)]
        if n_forced:  # links exchange everything they owe before their recall changes
            due: list[bool] = []
            for k, rate in enumerate(rates):
                left_wait = stop - last[k - 1] if k else 1
                own = is_due(rate, (stop - last[k]) * time_step, left_wait * time_step)
                due.append(k < n_forced or bool(due[-1] and own))
            first = [stop if one else stop + 1 for one in due]
            yield Stretch(stop - 1, stop, left, right, last, first, [1] * n_links)
            last = [stop if one else old for one, old in zip(due, last, strict=True)]
        start = stop


def _first_exchanges(
    rates: np.ndarray, periods: list[int], last: list[int], start: int, time_step: float
) -> list[int]:
    """The first exchange of each link after ``start``. A link may have waited since long before."""
    result: list[int] = []
    # Link 1 has no left neighbour: assume one that exchanges in every update.
    left_first, left_period, left_wait = start + 1, 1, 1
    for rate, period, before in zip(rates, periods, last, strict=True):
        wait = left_first - before
        first = left_first
        if not is_due(rate, wait * time_step, left_wait * time_step):

            def due(n: int, rate: float = rate, wait: int = wait, step: int = left_period) -> bool:
                return bool(is_due(rate, (wait + n * step) * time_step, step * time_step))

            first += left_period * _first(due)
        result.append(first)
        left_first, left_period, left_wait = first, period, first - before
    return result


def _first(condition: Callable[[int], bool]) -> int:
    """The first of 1, 2, … for which a monotonic condition holds."""
    return 1 + bisect.bisect_left(range(1, 2**53), True, key=condition)
