r"""What the hidden beakers hold of the path of the weight.

The hidden beakers depend linearly on the visible weight. Between two exchanges of the first link, with
:math:`z = (u_2, …, u_K, u_{K+1})`,

.. math::
    z ← M (z + b (u_1 - z)_2), \qquad u_k(n) = \sum_{t=1}^{n} W_{tk}\, u_1(t) + w_k u_1(0),

where M is the product of the exchanges of all other links that are due. This holds whatever flows back,
because the path of the weight already contains it.

`record` goes back from the last update, in steps that grow with the age. All steps of one period of a link
are one matrix, and so are its powers. n updates therefore take a time of order log n. No value of W is
approximated: for updates that are grouped, the sum of W and its spread around the mean are kept.
"""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from typing import Any, NamedTuple

import numpy as np

from cs_optax._schedule import Stretch, stretches
from cs_optax._step import exchange_coefficients

# Longer trainings than this group updates that span at most this part of their age.
MAX_SINGLE = 4096
COARSENESS = 1 / 128


class Record(NamedTuple):
    """What the beakers hold, by age. The age of the last update is 0."""

    ages: (
        np.ndarray
    )  # [B + 1], from 0 to n_updates: bin j holds the updates from ages[j] on, before ages[j+1]
    n_exchanges: np.ndarray  # [B]: exchanges of link 1 in each bin, 1 where there was none after the last
    sums: np.ndarray  # [B, K]: sum over each bin of the weights with which u_1 … u_K hold the path
    spread: np.ndarray  # [K, K]: R with R^T R the sum of squares around the means of the bins, per update
    start: np.ndarray  # [K]: weights of the initial parameters


class _Run(NamedTuple):
    """Successive exchanges of link 1, with the exchanges of other links between them."""

    n: int
    length: int  # in updates
    step: np.ndarray  # [K, K]: the new z for the old one
    sums: np.ndarray  # [K]: sum of the weights of u_1 in the new z
    spread: np.ndarray  # [K, K]: triangular, of the squares around their mean

    def then(self, later: _Run) -> _Run:
        """Both runs, one after the other. Squares are combined as in Chan, Golub & LeVeque (1983)."""
        n, earlier = self.n + later.n, later.step @ self.sums
        between = math.sqrt(self.n * later.n / n) * (earlier / self.n - later.sums / later.n)
        squares = np.vstack([self.spread @ later.step.T, later.spread, between])
        spread = _triangular(squares)
        return _Run(n, self.length + later.length, later.step @ self.step, earlier + later.sums, spread)

    def followed_by(self, step: np.ndarray) -> _Run:
        """This run, followed by an exchange of another link."""
        return self._replace(step=step @ self.step, sums=step @ self.sums, spread=self.spread @ step.T)


class _Runs:
    """The runs of one stretch, each made once."""

    def __init__(self, stretch: Stretch, g: np.ndarray, time_step: float) -> None:
        self.stretch, self.g, self.time_step = stretch, g, time_step
        self.exchanges: dict[tuple[int, int], np.ndarray] = {}
        self.made: dict[tuple[int, int], _Run] = {}

    def exchange(self, link: int, wait: int) -> np.ndarray:
        """The effect of a link on z after a number of updates, ``[K, K]``, without the input of link 1."""
        if (link, wait) not in self.exchanges:
            charges = self.g * (wait * self.time_step)
            a, b = exchange_coefficients(self.stretch.left, self.stretch.right, charges)
            step = np.eye(len(self.g))
            if link:
                step[link - 1] += a[link] * (step[link] - step[link - 1])
            if link + 1 < len(step):
                left = step[link - 1] if link else 0.0
                step[link] += b[link] * (left - step[link])
            self.exchanges[link, wait] = step
        return self.exchanges[link, wait]

    def visit(self, wait: int) -> _Run:
        """One exchange of link 1."""
        step = self.exchange(0, wait)
        return _Run(1, wait, step, 1 - step.sum(axis=1), np.zeros_like(step))

    def periods(self, link: int, power: int) -> _Run:
        """``2 ** power`` periods of a link, in which no further link exchanges."""
        if (link, power) not in self.made:
            period = self.stretch.periods[link]
            if power:
                half = self.periods(link, power - 1)
                run = half.then(half)
            elif link == 0:
                run = self.visit(period)
            else:
                times = period // self.stretch.periods[link - 1]
                parts = (self.periods(link - 1, p) for p in range(times.bit_length()) if times >> p & 1)
                run = reduce(_Run.then, parts).followed_by(self.exchange(link, period))
            self.made[link, power] = run
        return self.made[link, power]

    def back(self, update: int, since: np.ndarray, longest: int, floor: int) -> tuple[_Run, np.ndarray]:
        """The longest run that ends with an update in which links exchange, and the map of z after it.

        The run has at most ``longest`` updates and does not go back beyond ``floor``, but has at least one
        exchange of link 1. Links slower than those in the run exchange after it.
        """
        stretch, wait = self.stretch, 0
        for link in reversed(range(stretch.n_exchanging(update))):
            regular = stretch.start if stretch.last[link] == stretch.start else stretch.first[link]
            if link + 1 < len(stretch.periods):
                regular = max(regular, stretch.exchange_before(link + 1, update) or 0)
            n = min(update - regular, update - floor, longest) // stretch.periods[link]
            if n > 0:
                return self.periods(link, n.bit_length() - 1), since
            wait = update - (stretch.exchange_before(link, update) or stretch.last[link])
            if link:
                since = since @ self.exchange(link, wait)
        return self.visit(wait), since


@lru_cache(maxsize=4)  # a search asks the same chain for many profiles
def record(
    capacities: tuple[float, ...],
    conductances: tuple[float, ...],
    start: tuple[float, ...],
    switches: tuple[float, ...],
    n_updates: int,
    edges: tuple[int, ...],
    time_step: float,
    resolutions: tuple[float, float],
) -> Record:
    """What the beakers hold after ``n_updates``.

    Args:
        capacities: ``C``, K of them.
        conductances: ``g``, likewise.
        start: ``z`` at initialisation, as multiples of the initial parameters, K numbers.
        switches: the numbers of updates after which links 1 … K-1 flow back; infinite for never.
        n_updates: number of updates.
        edges: updates that are not grouped with those after them.
        time_step: time that passes in each update.
        resolutions: ``resolution`` and ``visible_resolution``.
    """
    chain = np.array(capacities), np.array(conductances)
    coarseness = COARSENESS if n_updates > MAX_SINGLE else 0.0
    since = np.eye(len(start))  # the map of z from here to the end
    ages: list[int] = []
    n_exchanges: list[int] = []
    sums: list[np.ndarray] = []
    spreads = [np.zeros_like(since)]
    for stretch in reversed(list(stretches(chain, np.array(switches), n_updates, time_step, *resolutions))):
        runs = _Runs(stretch, chain[1], time_step)
        update = stretch.exchange_before(0, stretch.stop + 1) or 0
        while update > stretch.start:
            age = n_updates - update
            floor = max((edge for edge in edges if edge < update), default=0)
            run, since = runs.back(update, since, int(age * coarseness), floor)
            ages.append(age)
            n_exchanges.append(run.n)
            sums.append(since @ run.sums)
            if run.n > 1:
                spreads.append(run.spread @ since.T / math.sqrt(stretch.periods[0]))
            since, update = since @ run.step, update - run.length
    return _as_record(n_updates, ages, n_exchanges, sums, np.vstack(spreads), since @ np.array(start))


def _as_record(
    n_updates: int,
    ages: list[int],
    n_exchanges: list[int],
    sums: list[np.ndarray],
    spread: np.ndarray,
    start: np.ndarray,
) -> Record:
    """The record with u_1 before the hidden beakers, and without the leak's end after them."""
    if not ages or ages[0] > 0:  # updates after the last exchange are only in the weight itself
        ages, n_exchanges, sums = [0, *ages], [1, *n_exchanges], [np.zeros_like(start), *sums]
    rows = np.roll([*sums, *spread, start], 1, axis=1)
    rows[:, 0] = 0
    rows[0, 0] = 1
    n_bins = len(sums)
    return Record(
        np.array([*ages, n_updates]),
        np.array(n_exchanges),
        rows[:n_bins],
        _triangular(rows[n_bins:-1]),
        rows[-1],
    )


def _triangular(rows: np.ndarray) -> np.ndarray:
    """The triangular matrix R with the same R^T R."""
    triangle: Any = np.linalg.qr(rows, mode="r")
    return triangle
