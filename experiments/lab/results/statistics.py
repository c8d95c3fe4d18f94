"""Means over seeds and paired differences between methods, each with its uncertainty.

Seeds are the samples: every number here describes the spread from seed to seed (initial weights and
batches). All intervals and tests are two-sided. With a single seed nothing is known about the spread:
the standard error, the interval and the t-test's p-value are then NaN.

A training that diverged has an accuracy, since outputs that are not finite count as wrong, but one that says
nothing about its method at another learning rate. Where some of the seeds diverged, means are given and
nothing about the spread; where all of them did, nothing at all (NaN).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import special

EXACT_UP_TO = 20  # pairs; the sums of 2^20 sign patterns take a twentieth of a second
MONTE_CARLO_SAMPLES = 100_000
ROUNDING = 1e-12  # relative; float64 divisions and means over tasks stay well below


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: arithmetic mean.
        sem: standard error of the mean (standard deviation with n - 1, divided by sqrt(n)).
        n: number of values.
        ci95: 95 % confidence interval of the mean, from Student's t with n - 1 degrees of freedom.
    """

    mean: float
    sem: float
    n: int
    ci95: tuple[float, float]


@dataclass(frozen=True)
class PairedDifference(Estimate):
    """The mean of a difference within pairs, and two tests of its being zero.

    Attributes:
        p_value: paired t-test. Where all differences are equal there is no spread to judge by: 1 if
            they are zero (the methods are identical), else NaN. NaN too where a training diverged.
        p_value_sign_flip: sign-flip (permutation) test, which needs no normal distribution: the share
            of all 2^n assignments of signs to the differences whose mean is at least as far from zero.
            Exact for up to `EXACT_UP_TO` pairs; beyond, estimated from `MONTE_CARLO_SAMPLES` random
            assignments with a fixed seed.
            Its smallest possible value is 2^(1-n): with fewer than six pairs it cannot reach 0.05.
    """

    p_value: float
    p_value_sign_flip: float


def estimate(values: Sequence[float] | np.ndarray, diverged: Sequence[bool] = ()) -> Estimate:
    """Mean, standard error and 95 % interval of one value per seed.

    Args:
        values: one value per seed.
        diverged: whether each of them is of a training that diverged; none is by default.

    Raises:
        ValueError: if there is no value.

    Examples:
        >>> estimate([0.25, 0.5, 0.75]).mean
        0.5
        >>> estimate([0.25, 0.5, 0.0], diverged=[False, False, True])
        Estimate(mean=0.25, sem=nan, n=3, ci95=(nan, nan))
    """
    samples = np.asarray(values, dtype=np.float64)
    if samples.size == 0:
        raise ValueError("no values to average")
    mean = math.nan if diverged and all(diverged) else float(samples.mean())
    sem = float(standard_error(samples, diverged))
    reach = sem * float(special.stdtrit(samples.size - 1, 0.975)) if samples.size > 1 else math.nan
    return Estimate(mean, sem, samples.size, (mean - reach, mean + reach))


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    diverged: Sequence[bool] = (),
) -> PairedDifference:
    """Compare two methods over the same seeds: first minus second.

    Args:
        first: one value per seed.
        second: the other method's values, in the same order of seeds.
        diverged: whether either training of each seed diverged; none did by default.

    Raises:
        ValueError: if the two differ in length, or are empty.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"pairs need equal lengths, not {a.size} and {b.size}")
    differences = _without_rounding_noise(a - b, scale=np.abs([a, b]).max(initial=0.0))
    of_mean = estimate(differences, diverged)
    return PairedDifference(
        of_mean.mean,
        of_mean.sem,
        of_mean.n,
        of_mean.ci95,
        p_value=_paired_t_test(of_mean),
        p_value_sign_flip=math.nan if any(diverged) else sign_flip_p_value(differences),
    )


def differences(
    values: Mapping[str, Sequence[float]], diverged: Mapping[str, Sequence[bool]] = MappingProxyType({})
) -> dict[str, PairedDifference]:
    """Compare all methods with the first one, over the same seeds.

    Args:
        values: one value per seed for each method, in the same order of seeds.
        diverged: of each method whether each of its trainings diverged; none did by default.

    Examples:
        >>> differences({"standard": [0.5, 0.25], "cs": [0.75, 0.5]})["cs - standard"].mean
        0.25
    """
    first, *others = values

    def either(other: str) -> list[bool]:
        pairs = zip(diverged.get(other, ()), diverged.get(first, ()), strict=True)
        return [any(pair) for pair in pairs]

    return {
        f"{other} - {first}": paired_difference(values[other], values[first], either(other))
        for other in others
    }


def sign_flip_p_value(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided sign-flip test of a mean difference of zero; see `PairedDifference`.

    Examples:
        >>> sign_flip_p_value([1.0, 2.0, 3.0, 4.0])  # 2 of 16 patterns: all signs equal
        0.125
    """
    values = np.asarray(differences, dtype=np.float64)
    # A tie must count as one although its terms were added in another order.
    threshold = abs(values.sum()) - ROUNDING * np.abs(values).sum()
    if values.size <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums) >= threshold))
    random = np.random.default_rng(0)
    signs = random.choice([-1.0, 1.0], size=(MONTE_CARLO_SAMPLES, values.size))
    as_far = np.count_nonzero(np.abs(signs @ values) >= threshold)
    # The observed pattern is one of the possible ones: it counts, and p is never 0.
    return float((as_far + 1) / (MONTE_CARLO_SAMPLES + 1))


def standard_error(samples: np.ndarray, diverged: Sequence[bool] = ()) -> np.ndarray:
    """Standard error of the mean over the first axis; NaN where it is not known.

    Args:
        samples: [n, …].
        diverged: whether each of the ``n`` is of a training that diverged; none is by default.
    """
    n = len(samples)
    if n == 1 or any(diverged):
        return np.full(samples.shape[1:], math.nan)
    # Equal samples have a spread of exactly zero, whatever the rounding of their mean.
    spread = np.where(np.ptp(samples, axis=0) == 0, 0.0, samples.std(axis=0, ddof=1))
    return np.asarray(spread / math.sqrt(n))


def _paired_t_test(difference: Estimate) -> float:
    if math.isnan(difference.sem):
        return math.nan
    if difference.sem == 0:
        return 1.0 if difference.mean == 0 else math.nan
    t = difference.mean / difference.sem
    return float(2 * special.stdtr(difference.n - 1, -abs(t)))


def _without_rounding_noise(differences: np.ndarray, scale: float) -> np.ndarray:
    """Equal differences made exactly equal: 0.3 - 0.2 and 0.2 - 0.1 differ by a rounding."""
    if differences.size and np.ptp(differences) <= ROUNDING * scale:
        return np.full_like(differences, np.median(differences))
    return differences
