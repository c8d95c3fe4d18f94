"""Named profiles for :meth:`cs_optax.BeakerChain.averaging`: the weights of past updates in an average.

The age of the last update is 0. A profile gives, for any age, the share of the average that lies on younger
updates. It therefore costs the same for a thousand updates and for a hundred million, and its sum is 1. To
write a profile of your own, derive from :class:`Profile`. In most cases an array or a function of age is
enough.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cs_optax import _checks

__all__ = ["Exponential", "Mean", "Moment", "Power", "Profile"]

MAX_SIGMA_REL = 12**-0.5


class Profile:
    """Base class of all profiles."""

    def share(self, age: np.ndarray, n_updates: int) -> np.ndarray:
        """The share of the average that lies on updates younger than ``age``.

        Args:
            age: ages in updates, from 0 to ``n_updates``.
            n_updates: number of updates in the training.

        Returns:
            Numbers from 0 to 1, float64, with the shape of ``age``.
        """
        raise NotImplementedError

    def edges(self, n_updates: int) -> tuple[float, ...]:
        """The ages at which the profile jumps. Updates on both sides of them are not grouped."""
        del n_updates
        return ()


@dataclasses.dataclass(frozen=True)
class Mean(Profile):
    r"""The plain mean of the last ``fraction`` of all updates.

    .. math::
        p(a) = \frac{1}{f n}, \quad 0 ≤ a < f n

    With ``f = 1`` it is the average of Polyak & Juditsky (1992). With less, it is that of Izmailov et al.
    (2018, "SWA") with a snapshot in every update.

    Args:
        fraction: ``f``, greater than 0 and at most 1.

    Raises:
        ValueError: if ``fraction`` is out of range.

    Examples:
        >>> Mean(fraction=0.5).share(np.array([0, 250, 500, 750]), n_updates=1000)
        array([0. , 0.5, 1. , 1. ])

    References:
        Polyak & Juditsky, `Acceleration of stochastic approximation by averaging
        <https://doi.org/10.1137/0330046>`_, SIAM J. Control Optim. 30:838-855, 1992.

        Izmailov, Podoprikhin, Garipov, Vetrov & Wilson, `Averaging weights leads to wider optima and better
        generalization <https://arxiv.org/abs/1803.05407>`_, UAI 2018.
    """

    fraction: float = 1.0

    def __post_init__(self) -> None:
        allowed = "greater than 0 and at most 1"
        if not 0 < _checks.number("fraction", self.fraction, allowed) <= 1:
            raise ValueError(f"fraction must be {allowed}, got {self.fraction!r}")

    def share(self, age: np.ndarray, n_updates: int) -> np.ndarray:
        """``min(a/(f n), 1)``. If ``f n`` is less than one update, it is the last update."""
        return np.minimum(age / max(self.fraction * n_updates, 1), 1.0)

    def edges(self, n_updates: int) -> tuple[float, ...]:
        """The age at which the mean starts."""
        return (self.fraction * n_updates,)


@dataclasses.dataclass(frozen=True)
class Exponential(Profile):
    r"""The exponential average over a time.

    .. math::
        p(a) ∝ e^{-a/τ}, \quad 0 ≤ a < n

    A running average with decay ``d`` has ``τ = -1/ln d``, which is about ``1/(1 - d)``. Like a running
    average that is corrected for its start, this one contains nothing of the initial parameters.

    Args:
        time: ``τ``, in updates, greater than 0. It is not the decay: 0.99 is less than one update.

    Raises:
        ValueError: if ``time`` is out of range.

    Examples:
        >>> Exponential(time=100.0).share(np.array([50, 100, 10_000]), n_updates=10_000).round(3)
        array([0.393, 0.632, 1.   ])
    """

    time: float

    def __post_init__(self) -> None:
        _checks.positive("time", self.time)

    def share(self, age: np.ndarray, n_updates: int) -> np.ndarray:
        """``(1 - exp(-a/τ))/(1 - exp(-n/τ))``, the exact sum."""
        return np.expm1(-age / self.time) / np.expm1(-n_updates / self.time)


@dataclasses.dataclass(frozen=True)
class Power(Profile):
    r"""The power function of Karras et al. (2024), whose width is a fixed part of the training.

    .. math::
        p(t) ∝ t^γ, \quad t = n - a, \qquad σ_{rel} = \sqrt{\frac{γ + 1}{(γ + 2)^2 (γ + 3)}}

    (their eq. 121 and 123, with γ from their algorithm 2). The weights of the updates are those of their
    recursion (eq. 127), :math:`β(t) = (1 - 1/t)^{γ+1}`. Updates younger than a have the share
    :math:`1 - ((n - a)/n)^{γ+1}`.

    Args:
        sigma_rel: standard deviation relative to the length of the training, greater than 0 and at most
            ``1/sqrt(12)`` = 0.2887, which is the plain mean. Karras et al. use 0.05 to 0.25.

    Raises:
        ValueError: if ``sigma_rel`` is out of range.

    Examples:
        >>> round(Power(sigma_rel=0.1).exponent, 2)
        6.94

    References:
        Karras, Aittala, Lehtinen, Hellsten, Aila & Laine, `Analyzing and improving the training dynamics of
        diffusion models <https://arxiv.org/abs/2312.02696>`_, CVPR 2024.
    """

    sigma_rel: float

    def __post_init__(self) -> None:
        allowed = "greater than 0 and at most 1/sqrt(12) = 0.2887"
        if not 0 < _checks.number("sigma_rel", self.sigma_rel, allowed) <= MAX_SIGMA_REL:
            raise ValueError(f"sigma_rel must be {allowed}, got {self.sigma_rel!r}")

    @property
    def exponent(self) -> float:
        """``γ``, the largest root of ``(γ + 2)^2 (γ + 3) σ^2 = γ + 1``."""
        ratio = self.sigma_rel**-2
        roots: Any = np.roots([1, 7, 16 - ratio, 12 - ratio])
        return max(float(roots.real.max()), 0.0)

    def share(self, age: np.ndarray, n_updates: int) -> np.ndarray:
        """``1 - (1 - a/n)^(γ+1)``."""
        with np.errstate(divide="ignore"):  # the age of the first update has the share 1
            return -np.expm1((self.exponent + 1) * np.log1p(-age / n_updates))


@dataclasses.dataclass(frozen=True)
class Moment(Profile):
    """The weights after one update in the past, as sharply as the chain resolves it.

    A chain holds a moment as a bump that is about as wide as it is old. The misfit is therefore near 1, as
    for any bump of many updates. Expect the weights averaged over that width.

    Args:
        age: number of updates before the last one, at least 0 and less than the number of updates.

    Raises:
        ValueError: if ``age`` is out of range; in ``share``, if it is not less than the number of updates.

    Examples:
        >>> Moment(age=100).share(np.array([100, 101]), n_updates=1000)
        array([0., 1.])
    """

    age: int

    def __post_init__(self) -> None:
        _checks.whole("age", self.age, least=0)

    def share(self, age: np.ndarray, n_updates: int) -> np.ndarray:
        """1 for ages above its own, otherwise 0."""
        if self.age >= n_updates:
            raise ValueError(f"age must be less than n_updates, {n_updates}, got {self.age!r}")
        return (age > self.age).astype(float)

    def edges(self, n_updates: int) -> tuple[float, ...]:
        """The two ages around it."""
        del n_updates
        return (self.age, self.age + 1)
