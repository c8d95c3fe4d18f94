"""The beaker chain as a linear dynamical system: its exact solution and what follows from it.

Everything is computed with NumPy in float64 on the host. The optimizer uses only the capacities and
conductances. The tests compare its fast integrators with the exact propagator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cs_optax import _checks
from cs_optax._averaging import Averaging, averaging
from cs_optax._schedule import periods_of
from cs_optax._step import exchange_rates, shares


def timescale_chain(n_beakers: int, alpha: Any, beta: Any) -> tuple[list[Any], list[Any]]:
    """Capacities and conductances of the chain with timescales ``alpha`` to ``beta``.

    ``C_k = x^(k-1)``, ``g_k = x^(1-k)/alpha`` with ``x = (beta/alpha)^(1/(2K-2))``; for ``K = 1``,
    ``C_1 = 1``, ``g_1 = 1/beta``. Works on numbers and on (traced) arrays alike.
    """
    if n_beakers == 1:
        return [1.0], [1.0 / beta]
    if isinstance(alpha, float):
        x = (beta / alpha) ** (1.0 / (2 * n_beakers - 2))
    else:  # the quotient of two float32 numbers may overflow
        x = jnp.exp((jnp.log(beta) - jnp.log(alpha)) / (2 * n_beakers - 2))
    return [x**k for k in range(n_beakers)], [x**-k / alpha for k in range(n_beakers)]


class Timescales(NamedTuple):
    """Result of :func:`suggest_timescales`: the first three arguments of :func:`complex_synapse`.

    Attributes:
        n_beakers: number of beakers.
        alpha: shortest timescale, in iterations.
        beta: longest timescale, in iterations.
    """

    n_beakers: int
    alpha: float
    beta: float


def suggest_timescales(n_iterations: int, n_tasks: int = 1, *, purpose: str = "memory") -> Timescales:
    """A first guess of the timescales for a training of ``n_iterations``, from which to start a search.

    For a "memory", in which everything flows back:

    * ``alpha`` is a fiftieth of the iterations of one task, but at least 8, where the integrator is exact,
      and at most 10 000;
    * ``beta`` is eight times the whole training, so that its first memories hardly leak before its end;
    * ``n_beakers = 1 + ceil(log2(beta/alpha)/2)``, but at least 2, so that neighbouring timescales differ by
      a factor of 4 or less (x ≤ 2).

    For "averages" of past weights, in a chain that only listens (``backflow="never"``, ``leak="none"``): 8
    beakers, ``alpha`` a 400th of the training, but at least 1, and ``beta`` eight times the training. With
    ``resolution=1/32``, :meth:`BeakerChain.averaging` then gives every smooth average longer than ``alpha``
    with a misfit of at most 0.3 %. The number of tasks has no effect.

    Args:
        n_iterations: number of updates in the whole training, at least 1.
        n_tasks: number of tasks, trained one after the other.
        purpose: "memory" or "averages".

    Returns:
        :class:`Timescales`, in iterations.

    Raises:
        ValueError: if a number is not an integer of at least 1, if there are more tasks than iterations, or
            if ``purpose`` is neither of the two.

    Examples:
        >>> from cs_optax import complex_synapse, suggest_timescales
        >>> suggest_timescales(n_iterations=2500, n_tasks=5)
        Timescales(n_beakers=7, alpha=10.0, beta=20000.0)
        >>> tx = complex_synapse(*suggest_timescales(n_iterations=2500, n_tasks=5))
        >>> suggest_timescales(n_iterations=50_000, purpose="averages")
        Timescales(n_beakers=8, alpha=125.0, beta=400000.0)
    """
    n_iterations = _checks.whole("n_iterations", n_iterations, least=1)
    n_tasks = _checks.whole("n_tasks", n_tasks, least=1)
    if n_tasks > n_iterations:
        raise ValueError(f"n_tasks must be at most n_iterations, {n_iterations}, got {n_tasks}")
    beta = 8.0 * n_iterations
    if _checks.option("purpose", purpose, ("memory", "averages")) == "averages":
        return Timescales(8, max(n_iterations / 400, 1.0), beta)
    alpha = min(max(n_iterations / n_tasks / 50, 8.0), 1e4)
    return Timescales(max(2, 1 + math.ceil(math.log2(beta / alpha) / 2)), alpha, beta)


def _times(t: Any) -> np.ndarray:
    """``t`` as an array, where it holds times."""
    times = np.asarray(t, float)
    if not np.all((times >= 0) & (times < math.inf)):
        raise ValueError(f"t must be finite and at least 0, got {t!r}")
    return times


@dataclasses.dataclass(frozen=True)
class BeakerChain:
    r"""A chain of :math:`K` beakers with ``capacities`` :math:`C_k` and ``conductances`` :math:`g_k`.

    The contents :math:`u_k` obey (Benna & Fusi 2016, eq. 4)

    .. math::
        C_k \frac{du_k}{dt} = g_{k-1}(u_{k-1} - u_k) + g_k(u_{k+1} - u_k),
        \qquad g_0 = 0,\; u_{K+1} = 0,

    where :math:`u_1` is the visible weight. Link ``k`` joins beakers ``k`` and ``k+1``, and link :math:`K` is
    the leak. If the last conductance is zero, the chain is closed: :math:`\sum_k C_k u_k` is then conserved.

    A chain is a pytree with these 2K numbers as leaves. It can therefore be an argument of functions under
    ``jax.jit``, ``jax.grad`` and ``jax.vmap``. :func:`complex_synapse` accepts a chain with traced numbers.
    Methods that compute on the host raise an error for it.

    Args:
        capacities: ``K`` positive numbers.
        conductances: ``K`` numbers per unit of time. The last may be zero, all others are positive.

    Raises:
        ValueError: if the two differ in length or are empty, or if a number is known and out of range.

    Examples:
        >>> chain = BeakerChain.from_timescales(n_beakers=6, alpha=1.0, beta=1024.0)
        >>> chain.timescales()
        array([1.000e+00, 4.000e+00, 1.600e+01, 6.400e+01, 2.560e+02, 1.024e+03])
        >>> chain.impulse_response([1.0, 100.0]).round(6)
        array([0.472654, 0.047571])

    References:
        Benna & Fusi, `Computational principles of synaptic memory consolidation
        <https://doi.org/10.1038/nn.4401>`_, Nature Neuroscience 19:1697-1706, 2016.
    """

    capacities: Sequence[float]
    conductances: Sequence[float]

    def __post_init__(self) -> None:
        capacities, conductances = (
            _checks.floats(name, values) if _are_known(values) else tuple(values)
            for name, values in (("capacities", self.capacities), ("conductances", self.conductances))
        )
        if len(capacities) != len(conductances) or not capacities:
            raise ValueError(
                "capacities and conductances must have the same length, at least 1, but have "
                f"{len(capacities)} and {len(conductances)}"
            )
        for name, values in (("capacities", capacities), ("conductances", conductances[:-1])):
            for value in filter(_checks.is_concrete, values):
                _checks.positive(name, value)
        if _checks.is_concrete(conductances[-1]) and not 0 <= conductances[-1] < math.inf:
            raise ValueError(
                f"the last of conductances must be finite and at least 0, got {conductances[-1]!r}"
            )
        object.__setattr__(self, "capacities", capacities)
        object.__setattr__(self, "conductances", conductances)

    @classmethod
    def from_timescales(cls, n_beakers: int, alpha: float, beta: float) -> BeakerChain:
        """The chain whose timescales increase geometrically from ``alpha`` to ``beta``.

        ``C_k = x^(k-1)`` and ``g_k = x^(1-k)/alpha``, with ``x = (beta/alpha)^(1/(2K-2))``. Between ``alpha``
        and ``beta``, the impulse response is close to ``x^(-1/4) sqrt(alpha/(pi t))``. One beaker decays at
        the rate ``1/beta``.

        Args:
            n_beakers: number of beakers, at least 1.
            alpha: shortest timescale, in the unit of time of the chain.
            beta: longest timescale, likewise, at least ``alpha``.

        Raises:
            ValueError: if an argument is out of range.

        Examples:
            >>> BeakerChain.from_timescales(n_beakers=3, alpha=8.0, beta=128.0).timescales()
            array([  8.,  32., 128.])
        """
        n_beakers = _checks.count("n_beakers", n_beakers, least=1)
        _checks.timescales(n_beakers, alpha, beta)
        return cls(*timescale_chain(n_beakers, float(beta if n_beakers == 1 else alpha), float(beta)))

    @classmethod
    def benna_fusi(cls, n_beakers: int) -> BeakerChain:
        """The chain of Benna & Fusi (2016): ``C_k = 2^(k-1)``, ``g_k = 2^(-k-2)``.

        It equals ``from_timescales`` with ``alpha=8`` and ``x=2``. The unit of time is one memory.

        Args:
            n_beakers: number of beakers, at least 1.

        Raises:
            ValueError: if ``n_beakers`` is out of range.

        Examples:
            >>> BeakerChain.benna_fusi(4) == BeakerChain.from_timescales(4, alpha=8.0, beta=512.0)
            True
        """
        n_beakers = _checks.count("n_beakers", n_beakers, least=1)
        ks = range(1, n_beakers + 1)
        return cls([2.0 ** (k - 1) for k in ks], [2.0 ** (-k - 2) for k in ks])

    @classmethod
    def power_law(
        cls, n_beakers: int, alpha: float, exponent: float = -0.5, ratio: float = 4.0
    ) -> BeakerChain:
        """The chain whose impulse response falls as ``t^exponent``.

        With ``c = C_{k+1}/C_k`` and ``h = g_k/g_{k+1}``, the response of a long chain has the exponent
        ``-ln c / ln(c h)``. Here ``c h = ratio`` and ``c = ratio^(-exponent)``.

        Args:
            n_beakers: number of beakers, at least 1.
            alpha: shortest timescale ``tau_1``, in the unit of time of the chain.
            exponent: between -1 and 0, both excluded.
            ratio: ``tau_{k+1}/tau_k``, greater than 1.

        Raises:
            ValueError: if an argument is out of range.

        Examples:
            >>> BeakerChain.power_law(n_beakers=3, alpha=1.0, exponent=-0.25, ratio=16.0).capacities
            (1.0, 2.0, 4.0)
        """
        n_beakers = _checks.count("n_beakers", n_beakers, least=1)
        _checks.positive("alpha", alpha)
        exponent = _checks.number("exponent", exponent, "between -1 and 0")
        ratio = _checks.number("ratio", ratio, "greater than 1")
        if not -1 < exponent < 0:
            raise ValueError(f"exponent must lie between -1 and 0, both excluded, got {exponent!r}")
        if not (math.isfinite(ratio) and ratio > 1):
            raise ValueError(f"ratio must be finite and greater than 1, got {ratio!r}")
        capacities = [ratio ** (-exponent * k) for k in range(n_beakers)]
        return cls(capacities, [capacity / (alpha * ratio**k) for k, capacity in enumerate(capacities)])

    @property
    def n_beakers(self) -> int:
        """The number of beakers ``K``."""
        return len(self.capacities)

    @property
    def is_known(self) -> bool:
        """Whether all numbers are known, not traced."""
        return _are_known((*self.capacities, *self.conductances))

    @property
    def is_closed(self) -> bool:
        """Whether the last conductance is known to be zero, so that nothing leaks."""
        return _checks.is_concrete(self.conductances[-1]) and bool(self.conductances[-1] == 0)

    def closed(self) -> BeakerChain:
        """The same chain without its leak."""
        return BeakerChain(self.capacities, (*self.conductances[:-1], 0.0))

    def timescales(self) -> np.ndarray:
        """``tau_k = C_k/g_k``, float64, shape ``[K]``, in units of time; infinite for a closed end."""
        with np.errstate(divide="ignore"):
            return np.divide(self.capacities, self.conductances)

    def generator(self) -> np.ndarray:
        """The matrix ``A`` of ``du/dt = A u``, float64, shape ``[K, K]``, per unit of time.

        Examples:
            >>> BeakerChain([1.0, 2.0], [0.125, 0.0625]).generator()
            array([[-0.125  ,  0.125  ],
                   [ 0.0625 , -0.09375]])
        """
        return -self._laplacian() / np.array(self.capacities)[:, None]

    def propagator(self, t: float) -> np.ndarray:
        """``expm(A t)``, float64, shape ``[K, K]``: what time ``t`` without input does to the contents.

        Raises:
            ValueError: if ``t`` is not finite and at least 0.

        Examples:
            >>> chain = BeakerChain.benna_fusi(4)
            >>> bool(np.isclose(chain.propagator(10.0)[0, 0], chain.impulse_response(10.0)))
            True
        """
        t = _checks.at_least_zero("t", t)
        rates, modes = self._modes()
        root = np.sqrt(self.capacities)
        return (modes * np.exp(-rates * t)) @ modes.T * (root[None, :] / root[:, None])

    def impulse_response(self, t: Any) -> np.ndarray:
        """``r(t)``: the part of a unit input that is left in ``u_1`` after ``t``; float64, shape of ``t``.

        Raises:
            ValueError: if ``t`` is not finite and at least 0.

        Examples:
            >>> BeakerChain.benna_fusi(4).impulse_response([0.0, 10.0, 100.0]).round(4)
            array([1.    , 0.4202, 0.1334])
        """
        times = _times(t)
        rates, modes = self._modes()
        return np.exp(-np.multiply.outer(times, rates)) @ modes[0] ** 2

    def retention(self, t: Any) -> np.ndarray:
        """``S(t)``: the share of an input to ``u_1`` that is still in the chain after ``t``; shape of ``t``.

        ``S(t) = Σ_k C_k [expm(A t)]_{k1} / C_1``. It starts at 1 and falls to 0 as everything leaks. In a
        closed chain it stays 1.

        Raises:
            ValueError: if ``t`` is not finite and at least 0.

        Examples:
            >>> BeakerChain.benna_fusi(4).retention([0.0, 100.0, 1000.0]).round(3)
            array([1.   , 0.983, 0.461])
        """
        times = _times(t)
        rates, weights = self._retention_modes()
        return np.exp(-np.multiply.outer(times, rates)) @ weights

    def mean_retention(self, t: float) -> float:
        """The share of a steady input over the time ``t`` that is still in the chain: ``1/t ∫_0^t S``.

        Raises:
            ValueError: if ``t`` is not finite and at least 0.

        Examples:
            >>> round(BeakerChain.benna_fusi(4).mean_retention(1000.0), 3)
            0.737
        """
        t = _checks.at_least_zero("t", t)
        rates, weights = self._retention_modes()
        decayed = rates * t
        means = np.divide(-np.expm1(-decayed), decayed, out=np.ones_like(rates), where=decayed > 0)
        return float(means @ weights)

    def variance(self, dt: float | None = None) -> float:
        """Steady variance of ``u_1`` under white noise.

        It grows with ``alpha`` and with the logarithm of ``beta/alpha`` (Benna & Fusi 2016).

        Args:
            dt: without it, the variance in continuous time for noise of unit intensity, ``∫ r(t)^2 dt``. With
                it, the variance for an input of unit variance every ``dt``, read just after an input:
                ``Σ_n r(n dt)^2``.

        Returns:
            The variance; infinite for a closed chain.

        Raises:
            ValueError: if ``dt`` is not finite and greater than 0.

        Examples:
            >>> chain = BeakerChain.benna_fusi(4)
            >>> round(chain.variance(), 3), round(chain.variance(dt=1.0), 3)
            (12.982, 13.502)
        """
        if self.is_closed:
            return math.inf
        rates, modes = self._modes()
        weights = np.multiply.outer(modes[0] ** 2, modes[0] ** 2)
        sums = np.add.outer(rates, rates)
        if dt is None:
            return float((weights / sums).sum())
        return float((weights / -np.expm1(-sums * _checks.positive("dt", dt))).sum())

    def snr(self, t: Any, n_synapses: int, dt: float | None = None) -> np.ndarray:
        """The ideal observer's signal-to-noise ratio of a memory of age ``t``: ``sqrt(N) r(t)/sd``.

        ``N`` independent synapses store one uncorrelated memory of unit size per unit of time. ``sd`` is the
        root of :meth:`variance`. The ratio is zero for a closed chain, whose variance has no bound.

        Args:
            t: age of the memory, in units of time; a number or an array.
            n_synapses: ``N``, at least 1.
            dt: with it, a memory is stored every ``dt``, and the variance is read just after one.

        Returns:
            The ratio, float64, with the shape of ``t``.

        Raises:
            ValueError: if an argument is out of range.

        Examples:
            >>> BeakerChain.benna_fusi(4).snr([0, 10, 100], n_synapses=10_000, dt=1.0).round(2)
            array([27.21, 11.44,  3.63])
        """
        n_synapses = _checks.whole("n_synapses", n_synapses, least=1)
        return math.sqrt(n_synapses) * self.impulse_response(t) / math.sqrt(self.variance(dt))

    def stability_limit(self, exact: bool = False) -> float:
        """The time step below which the sequential Euler scheme cannot diverge.

        By default it is the guaranteed bound ``2 min_k C_k/(g_{k-1} + g_k)``. For a chain made from
        timescales this is ``2 alpha min(1, x^2/(x+1))``.

        Args:
            exact: whether to return the spectral limit instead, at which the step matrix gets an eigenvalue
                outside the unit circle.

        Returns:
            The limit in units of time; infinite for one closed beaker.

        Examples:
            >>> chain = BeakerChain.benna_fusi(4)
            >>> chain.stability_limit(), round(chain.stability_limit(exact=True), 3)
            (16.0, 20.743)
        """
        outflow = np.diag(self._laplacian())
        with np.errstate(divide="ignore"):
            guaranteed = float(2 * np.min(np.divide(self.capacities, outflow)))
        if not exact or math.isinf(guaranteed):
            return guaranteed
        # In small steps: a scheme may become stable again beyond where it first diverges.
        stable, unstable = guaranteed, 1.01 * guaranteed
        while self._sequential_radius(unstable) <= 1:
            stable, unstable = unstable, 1.01 * unstable
        while unstable - stable > 1e-12 * unstable:
            middle = (stable + unstable) / 2
            if self._sequential_radius(middle) <= 1:
                stable = middle
            else:
                unstable = middle
        return stable

    def exchange_periods(
        self, time_step: float = 1.0, resolution: float = 0.125, visible_resolution: float = 0.0
    ) -> list[int]:
        """The number of updates between two exchanges of each link, with the method "exchange".

        Args:
            time_step: time that passes in one update.
            resolution: as given to :func:`complex_synapse`.
            visible_resolution: likewise.

        Returns:
            One number for each link, in updates. Each is a multiple of the one before. The leak of a closed
            chain has none.

        Raises:
            ValueError: if an argument is out of range.

        Examples:
            >>> BeakerChain.benna_fusi(4).exchange_periods()
            [1, 3, 12, 60]
        """
        time_step = _checks.positive("time_step", time_step)
        resolution = _checks.at_least_zero("resolution", resolution)
        visible_resolution = _checks.at_least_zero("visible_resolution", visible_resolution)
        C, g = np.array(self.capacities), np.array(self.conductances)
        thresholds = resolution, visible_resolution if resolution else 0.0
        rates = exchange_rates(np.add(*shares(C, np.ones_like(C))), g, *thresholds)
        return periods_of(rates[: self.n_beakers - self.is_closed], time_step)

    def averaging(
        self,
        profile: Any,
        n_updates: int,
        *,
        time_step: float = 1.0,
        init: str = "same",
        leak: str = "zero",
        backflow: Any = "always",
        resolution: float = 0.125,
        visible_resolution: float = 0.0,
        beaker_dtype: Any = None,
    ) -> Averaging:
        r"""The weights with which :func:`readout` gives an average of past weights.

        Every hidden beaker is a weighted sum of the parameter after each update,
        :math:`u_k(n) = \sum_{t=1}^n W_{tk} u_1(t) + w_k u_1(0)`. W depends only on the chain and the options.
        After the training, any average that the K columns of W can approximate is therefore available as a
        mixture :math:`\sum_k a_k u_k`. For a profile p with :math:`\sum_t p_t = 1`, the weights a minimise

        .. math::
            \frac{\sum_t (\sum_k W_{tk} a_k - p_t)^2 + (\sum_k w_k a_k)^2}{\sum_t p_t^2}
            + ε^2 \sum_k a_k^2 \quad\text{with}\quad \sum_k a_k (w_k + \sum_t W_{tk}) = 1,

        The constraint makes a constant path come out unchanged. ε is twice the spacing of the beakers'
        numbers around 1, and at least 1e-6. It prevents differences of large numbers, whose rounding would
        cost more than they gain.

        W is exact for the exchanges of :func:`complex_synapse` with the method "exchange", these options, a
        constant ``time_step`` and recall 1. It is computed in float64 on the host. Updates between two
        exchanges of link 1 count together, because the chain sees them together. Do not use ``settle`` in
        :func:`readout` with these weights.

        The misfit holds for ``n_updates`` and the options given here. If they are not those of the training,
        the weights are wrong, and the misfit does not show it. Keep the options in one dictionary for
        :func:`complex_synapse` and for this method. After early stopping, take the number of updates from
        the state: ``int(optax.tree_utils.tree_get(state, "n_updates"))``. :func:`reset_beakers` does not set
        it to zero.

        Args:
            profile: the average wanted: one of :mod:`cs_optax.profiles`; an array ``[n_updates]``, oldest
                first; or a function of the age in updates, which is 0 for the last update, that accepts an
                array of ages. It is scaled to a sum of 1. Above a million updates, a function is not
                evaluated at every age, and must vary slowly over a 128th of its age.
            n_updates: number of updates since ``init`` or ``reset_beakers``, an integer or a scalar array.
            time_step: as given to :func:`complex_synapse`, a number greater than 0.
            init: likewise, "same" or "zero".
            leak: likewise.
            backflow: likewise.
            resolution: likewise.
            visible_resolution: likewise.
            beaker_dtype: likewise; None means float32.

        Returns:
            :class:`Averaging`: the ``weights`` ``[K]``, float64, their ``misfit`` and ``amplification``. A
            profile that the chain cannot approximate has a large misfit.

        Raises:
            ValueError: if an argument is out of range, or if the sum of the profile is not greater than 0.

        Warns:
            UserWarning: if the time of a :class:`cs_optax.profiles.Exponential` is less than one update.
                It may be a decay.

        Examples:
            >>> from cs_optax import BeakerChain, profiles
            >>> chain = BeakerChain.from_timescales(n_beakers=8, alpha=10.0, beta=40_000.0)
            >>> options = {"backflow": "never", "leak": "none", "resolution": 1 / 32}
            >>> average = chain.averaging(profiles.Mean(), n_updates=5000, **options)
            >>> average.weights.shape, average.misfit < 0.003
            ((8,), True)

        References:
            Karras et al., `Analyzing and improving the training dynamics of diffusion models
            <https://arxiv.org/abs/2312.02696>`_, CVPR 2024, appendix C.3, chooses averages after the training
            from snapshots.
        """
        return averaging(
            (np.array(self.capacities), np.array(self.conductances)),
            profile,
            n_updates,
            time_step=time_step,
            init=init,
            leak=leak,
            backflow=backflow,
            resolution=resolution,
            visible_resolution=visible_resolution,
            beaker_dtype=beaker_dtype,
        )

    def plot(
        self,
        ax: Any = None,
        *,
        time_step: float = 1.0,
        label: str | None = None,
        slope: float | None = -0.5,
    ) -> Any:
        """Plot the impulse response over iterations, log-log, with a mark at each beaker's timescale.

        Lines begin at one iteration, so that several chains on the same axes can be compared; that of a chain
        with shorter timescales begins at the power of ten below them. A dotted line shows a power law, once.

        Args:
            ax: Matplotlib axes to draw on; by default, new ones.
            time_step: time that passes in one update.
            label: label of the line, for a legend.
            slope: exponent of the dotted line, such as ``-0.5`` for 1/√t. With None there is no line.

        Returns:
            The axes. Matplotlib is imported only here.

        Raises:
            ValueError: if ``time_step`` is not finite and greater than 0.
        """
        import matplotlib.pyplot as plt

        time_step = _checks.positive("time_step", time_step)
        ax = plt.subplots()[1] if ax is None else ax
        scales = self.timescales() / time_step
        scales = scales[np.isfinite(scales)] if np.isfinite(scales).any() else np.ones(1)
        shortest, longest = np.min(scales), np.max(scales)
        times = np.geomspace(min(1.0, 10.0 ** np.floor(np.log10(shortest))), 10 * longest, 400)
        (line,) = ax.loglog(times, self.impulse_response(times * time_step), label=label)
        marks = self.impulse_response(scales * time_step)
        ax.loglog(scales, marks, linestyle="none", marker="o", markersize=4, color=line.get_color())
        if slope is not None and all(one.get_gid() != "slope" for one in ax.lines):
            ends = np.array([shortest, max(longest, 10 * shortest)])
            above = 1.5 * marks[np.argmin(scales)] * (ends / shortest) ** slope
            ax.loglog(ends, above, ":", color="gray", label=f"slope {slope:g}", gid="slope")
        ax.set(xlabel="iterations since the update", ylabel="fraction left in the weight")
        return ax

    def describe(
        self,
        time_step: float = 1.0,
        resolution: float = 0.125,
        visible_resolution: float = 0.0,
        bytes_per_value: int = 4,
    ) -> str:
        """A readable table with one line for each beaker, and the memory of the chain for each parameter.

        Args:
            time_step: time that passes in one update. Timescales are shown in updates (iterations).
            resolution: as given to :func:`complex_synapse`.
            visible_resolution: likewise.
            bytes_per_value: size of a number in the beakers' dtype.

        Returns:
            The table, as a string.

        Raises:
            ValueError: if an argument is out of range.

        Examples:
            >>> print(BeakerChain.benna_fusi(4).describe())
            beaker     capacity  conductance    timescale   exchanges every  bytes per parameter
            u_1               1        0.125            8                 1    0 (the parameter)
            u_2               2       0.0625           32                 3                    4
            u_3               4      0.03125          128                12                    4
            u_4               8     0.015625          512                60                    4
            timescales and periods in iterations; 12 bytes per parameter in the optimizer state
        """
        periods = [*self.exchange_periods(time_step, resolution, visible_resolution), "never"]
        lines = ["beaker     capacity  conductance    timescale   exchanges every  bytes per parameter"]
        for k, (C, g, tau) in enumerate(
            zip(self.capacities, self.conductances, self.timescales() / time_step, strict=True)
        ):
            memory = f"{bytes_per_value}" if k else "0 (the parameter)"
            lines.append(f"u_{k + 1:<5}{C:>12.6g} {g:>12.6g} {tau:>12.6g} {periods[k]:>17}{memory:>21}")
        total = bytes_per_value * (self.n_beakers - 1)
        lines.append(
            f"timescales and periods in iterations; {total} bytes per parameter in the optimizer state"
        )
        return "\n".join(lines)

    def _laplacian(self) -> np.ndarray:
        """``L`` of ``C du/dt = -L u``, which is symmetric. Its row sums are the leak."""
        g = np.array(self.conductances)
        inner = g[:-1]
        return np.diag(g + np.append(0.0, inner)) - np.diag(inner, 1) - np.diag(inner, -1)

    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Decay rates ``[K]`` and orthonormal modes ``[K, K]`` of ``C^(1/2) u``, whose dynamics is symmetric.

        They come from the singular values of the bidiagonal factor. These keep the slow rates exact; the
        eigenvalues of its square would not.
        """
        differences = np.eye(self.n_beakers) - np.eye(self.n_beakers, k=1)
        factor = np.sqrt(self.conductances)[:, None] * differences / np.sqrt(self.capacities)
        _, roots, modes = np.linalg.svd(factor)
        return roots**2, modes.T

    def _retention_modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Decay rates and weights, ``[K]`` each, of the content that entered through ``u_1``."""
        rates, modes = self._modes()
        root = np.sqrt(self.capacities)
        return rates, modes[0] * (root @ modes) / root[0]

    def _sequential_radius(self, dt: float) -> float:
        """Spectral radius of one sequential Euler step, with new left neighbours and old right ones.

        The mode that a closed chain conserves is excluded.
        """
        root = np.sqrt(self.capacities)
        A = -self._laplacian() / np.multiply.outer(root, root)
        step = np.linalg.solve(
            np.eye(self.n_beakers) - dt * np.tril(A, -1), np.eye(self.n_beakers) + dt * np.triu(A)
        )
        eigenvalues: Any = np.linalg.eigvals(step)
        if self.is_closed:
            eigenvalues = np.delete(eigenvalues, np.argmin(np.abs(eigenvalues - 1)))
        return float(np.abs(eigenvalues).max())


def _are_known(values: Any) -> bool:
    """Whether no number is traced."""
    return not isinstance(values, jax.core.Tracer) and (
        not isinstance(values, Sequence) or all(map(_checks.is_concrete, values))
    )


def _unflatten(_: None, children: Iterable[Any]) -> BeakerChain:
    """A chain of whatever JAX substitutes for its numbers, unchecked."""
    chain = object.__new__(BeakerChain)
    for name, values in zip(("capacities", "conductances"), children, strict=True):
        object.__setattr__(chain, name, values)
    return chain


jax.tree_util.register_pytree_with_keys(
    BeakerChain,
    lambda chain: (
        [
            (jax.tree_util.GetAttrKey("capacities"), chain.capacities),
            (jax.tree_util.GetAttrKey("conductances"), chain.conductances),
        ],
        None,
    ),
    _unflatten,
)
