"""The beaker chain as a linear dynamical system: its exact solution and what follows from it.

NumPy, float64, on the host. The optimizer only takes the capacities and conductances from here;
the exact propagator is what its fast integrators are tested against.
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
    """A first guess for a training of ``n_iterations``, to start a search from.

    For a "memory", in which all flows back: ``alpha`` is a fiftieth of the iterations of one task, but at
    least 8, where the integrator is exact, and at most 10 000; ``beta`` is eight times the whole training, so
    that its first memories have hardly begun to leak at its end; and
    ``n_beakers = 1 + ceil(log2(beta/alpha)/2)``, so that neighbouring timescales lie a factor 4 apart or less
    (x ≤ 2), and at least 2.

    For "averages" of past weights, in a chain that only listens (``backflow="never"``, ``leak="none"``): 8
    beakers, ``alpha`` a 400th of the training, but at least 1, and ``beta`` eight times the training. With
    ``resolution=1/32``, :meth:`BeakerChain.averaging` then gives every smooth average longer than ``alpha``
    with a misfit of at most 0.3 %. The number of tasks plays no part.

    Args:
        n_iterations: number of updates in the whole training, at least 1.
        n_tasks: number of tasks that come one after another.
        purpose: "memory" or "averages".

    Raises:
        ValueError: if a number is not an integer of at least 1, if there are more tasks than iterations, or
            if the purpose is another one.

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
    r"""A chain of :math:`K` beakers: ``capacities`` :math:`C_k` joined by ``conductances`` :math:`g_k`.

    The contents :math:`u_k` obey (Benna & Fusi 2016, eq. 4)

    .. math::
        C_k \frac{du_k}{dt} = g_{k-1}(u_{k-1} - u_k) + g_k(u_{k+1} - u_k),
        \qquad g_0 = 0,\; u_{K+1} = 0,

    where :math:`u_1` is the visible weight, link ``k`` joins beakers ``k`` and ``k+1``, and link
    :math:`K` is the leak. A last conductance of zero closes the chain: :math:`\sum_k C_k u_k` is then
    conserved.

    A chain is a pytree with these 2K numbers as leaves, so that it can be an argument of functions under
    ``jax.jit``, ``jax.grad`` and ``jax.vmap``. With numbers that are traced, :func:`complex_synapse` accepts
    it, but what is computed on the host raises an error.

    Args:
        capacities: ``K`` positive numbers.
        conductances: ``K`` numbers per unit of time, positive but for the last, which may be zero.

    Raises:
        ValueError: if the two differ in length, are empty, or hold a number that is known and out of range.

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
        """The chain whose timescales run geometrically from ``alpha`` to ``beta``.

        ``C_k = x^(k-1)``, ``g_k = x^(1-k)/alpha``, ``x = (beta/alpha)^(1/(2K-2))``; the impulse response
        is close to ``x^(-1/4) sqrt(alpha/(pi t))`` between the two. For ``n_beakers=1``: decay at ``1/beta``.

        Args:
            n_beakers: number of beakers, at least 1.
            alpha: shortest timescale, in the unit of time of the chain.
            beta: longest timescale, at least ``alpha``.

        Raises:
            ValueError: if an argument is out of range.
        """
        n_beakers = _checks.count("n_beakers", n_beakers, least=1)
        _checks.timescales(n_beakers, alpha, beta)
        return cls(*timescale_chain(n_beakers, float(beta if n_beakers == 1 else alpha), float(beta)))

    @classmethod
    def benna_fusi(cls, n_beakers: int) -> BeakerChain:
        """The numbers of Benna & Fusi (2016): ``C_k = 2^(k-1)``, ``g_k = 2^(-k-2)``.

        The same as ``from_timescales`` with ``alpha=8``, ``x=2``.
        """
        n_beakers = _checks.count("n_beakers", n_beakers, least=1)
        ks = range(1, n_beakers + 1)
        return cls([2.0 ** (k - 1) for k in ks], [2.0 ** (-k - 2) for k in ks])

    @classmethod
    def power_law(
        cls, n_beakers: int, alpha: float, exponent: float = -0.5, ratio: float = 4.0
    ) -> BeakerChain:
        """A chain whose impulse response falls as ``t^exponent``.

        With ``c = C_{k+1}/C_k`` and ``h = g_k/g_{k+1}`` the response of a long chain has the exponent
        ``-ln c / ln(c h)``; here ``c h = ratio`` and ``c = ratio^(-exponent)``.

        Args:
            n_beakers: number of beakers, at least 1.
            alpha: shortest timescale ``tau_1``.
            exponent: between -1 and 0, both excluded.
            ratio: ``tau_{k+1}/tau_k``, greater than 1.

        Raises:
            ValueError: if an argument is out of range.
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
        """Whether all its numbers are known now, not traced."""
        return _are_known((*self.capacities, *self.conductances))

    @property
    def is_closed(self) -> bool:
        """Whether it is known that nothing leaks out, which is so with a last conductance of zero."""
        return _checks.is_concrete(self.conductances[-1]) and bool(self.conductances[-1] == 0)

    def closed(self) -> BeakerChain:
        """The same chain without its leak."""
        return BeakerChain(self.capacities, (*self.conductances[:-1], 0.0))

    def timescales(self) -> np.ndarray:
        """``tau_k = C_k/g_k``, shape ``[K]``, in units of time; infinite for a closed end."""
        with np.errstate(divide="ignore"):
            return np.divide(self.capacities, self.conductances)

    def generator(self) -> np.ndarray:
        """The matrix ``A`` of ``du/dt = A u``, shape ``[K, K]``, per unit of time."""
        return -self._laplacian() / np.array(self.capacities)[:, None]

    def propagator(self, t: float) -> np.ndarray:
        """``expm(A t)``, shape ``[K, K]``: what ``t`` units of time without input do to the contents."""
        t = _checks.at_least_zero("t", t)
        rates, modes = self._modes()
        root = np.sqrt(self.capacities)
        return (modes * np.exp(-rates * t)) @ modes.T * (root[None, :] / root[:, None])

    def impulse_response(self, t: Any) -> np.ndarray:
        """``r(t)``: what is left in ``u_1`` of a unit put there ``t`` units of time ago; shape of ``t``."""
        times = _times(t)
        rates, modes = self._modes()
        return np.exp(-np.multiply.outer(times, rates)) @ modes[0] ** 2

    def retention(self, t: Any) -> np.ndarray:
        """``S(t)``: share of a content poured into ``u_1`` that is anywhere in the chain ``t`` later.

        ``Σ_k C_k [expm(A t)]_{k1} / C_1``, shape of ``t``: 1 at first, and always in a closed chain; 0 once
        all has leaked.
        """
        times = _times(t)
        rates, weights = self._retention_modes()
        return np.exp(-np.multiply.outer(times, rates)) @ weights

    def mean_retention(self, t: float) -> float:
        """Share of a steady input over the time ``t`` that is still in the chain: ``1/t ∫_0^t S``."""
        t = _checks.at_least_zero("t", t)
        rates, weights = self._retention_modes()
        decayed = rates * t
        means = np.divide(-np.expm1(-decayed), decayed, out=np.ones_like(rates), where=decayed > 0)
        return float(means @ weights)

    def variance(self, dt: float | None = None) -> float:
        """Steady variance of ``u_1`` under white noise.

        Without ``dt``, in continuous time and for noise of unit intensity: ``∫ r(t)^2 dt``. With ``dt``,
        for a unit-variance input every ``dt``, read just after it: ``Σ_n r(n dt)^2``. Infinite for a
        closed chain. It grows with ``alpha`` and the logarithm of ``beta/alpha`` (Benna & Fusi 2016).

        Raises:
            ValueError: if ``dt`` is not finite and greater than 0.
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
        """Ideal-observer signal-to-noise ratio ``sqrt(N) r(t)/sd`` of a memory ``t`` ago; shape of ``t``.

        ``N`` independent synapses store one uncorrelated memory of unit size per unit of time; ``sd`` is the
        root of :meth:`variance`. Zero everywhere for a closed chain, whose variance has no bound.

        Args:
            t: age of the memory, in units of time.
            n_synapses: ``N``.
            dt: with it, memories come every ``dt`` and the variance is read just after one.

        Raises:
            ValueError: if an argument is out of range.
        """
        n_synapses = _checks.whole("n_synapses", n_synapses, least=1)
        return math.sqrt(n_synapses) * self.impulse_response(t) / math.sqrt(self.variance(dt))

    def stability_limit(self, exact: bool = False) -> float:
        """The time step below which the sequential Euler scheme cannot diverge.

        Args:
            exact: the spectral limit, where the step matrix gets an eigenvalue outside the unit
                circle, instead of the guaranteed bound ``2 min_k C_k/(g_{k-1} + g_k)``, which for
                a chain from timescales is ``2 alpha min(1, x^2/(x+1))``.

        Returns:
            The limit in units of time; infinite for one closed beaker.
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
        """Updates between two exchanges of each link in :func:`complex_synapse`'s exchange method.

        Args:
            time_step: time that passes in one update.
            resolution: as given to :func:`complex_synapse`.
            visible_resolution: likewise.

        Returns:
            One number for each link, each a multiple of the one before; none for the leak of a closed
            chain.
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
        r"""The weights with which :func:`readout` gives an average of the weights of past updates.

        Every hidden beaker is a weighted sum of what the parameter was after each update,
        :math:`u_k(n) = \sum_{t=1}^n W_{tk} u_1(t) + w_k u_1(0)`, with W known from the chain and the options
        alone. So any average of past weights that the K columns of W come near is there after the training,
        as a mixture :math:`\sum_k a_k u_k`. The a minimise, for the profile p with :math:`\sum_t p_t = 1`,

        .. math::
            \frac{\sum_t (\sum_k W_{tk} a_k - p_t)^2 + (\sum_k w_k a_k)^2}{\sum_t p_t^2}
            + ε^2 \sum_k a_k^2 \quad\text{with}\quad \sum_k a_k (w_k + \sum_t W_{tk}) = 1,

        and so a path that was constant from the beginning is read as that constant. ε is twice the spacing of
        the beakers' numbers around 1, at least 1e-6: it keeps from differences of large numbers, whose
        rounding would cost more than they bring.

        W is exact for the exchanges of :func:`complex_synapse` (its method "exchange", with these options, a
        constant ``time_step`` and recall 1), in float64 on the host. Updates between which link 1 rests count
        together, since the chain sees them together. In :func:`readout` leave ``settle`` out.

        Args:
            profile: one of :mod:`cs_optax.profiles`; an array ``[n_updates]``, oldest first; or a function of
                the age in updates, 0 for the last one, that takes an array of ages. Its sum is made 1.
                Above a million updates a function is not asked at every age, and has to vary slowly: over a
                128th of its age.
            n_updates: how many updates there were.
            time_step: as given to :func:`complex_synapse`, a number greater than 0.
            init: likewise, "same" or "zero".
            leak: likewise.
            backflow: likewise.
            resolution: likewise.
            visible_resolution: likewise.
            beaker_dtype: likewise; float32 where it is None.

        Returns:
            ``weights`` ``[K]``, ``misfit`` and ``amplification``, see :class:`Averaging`. A profile that the
            chain cannot give has a large misfit.

        Raises:
            ValueError: if an argument is out of range, or the sum of the profile is not greater than 0.

        Examples:
            >>> from cs_optax import BeakerChain, profiles
            >>> chain = BeakerChain.from_timescales(n_beakers=8, alpha=10.0, beta=40_000.0)
            >>> options = {"backflow": "never", "leak": "none", "resolution": 1 / 32}
            >>> average = chain.averaging(profiles.Mean(), n_updates=5000, **options)
            >>> average.weights.shape, average.misfit < 0.003
            ((8,), True)

        References:
            Karras et al., `Analyzing and improving the training dynamics of diffusion models
            <https://arxiv.org/abs/2312.02696>`_, CVPR 2024, appendix C.3: averages chosen after the training,
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
        """Draw the impulse response over iterations, log-log, with a mark at each beaker's timescale.

        Lines begin at one iteration, so that several chains on the same axes can be compared; that of a chain
        with shorter timescales begins at the power of ten below them. A dotted line shows a power law, once.

        Args:
            ax: Matplotlib axes to draw on; by default new ones.
            time_step: time that passes in one update.
            label: of the line, for a legend.
            slope: exponent of the dotted line, ``-0.5`` as in 1/√t; None draws no such line.

        Returns:
            The axes. Matplotlib is imported only here.
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
        """A table to read: one line a beaker, and what the chain takes per parameter.

        Args:
            time_step: time that passes in one update; timescales are shown in updates (iterations).
            resolution: as given to :func:`complex_synapse`.
            visible_resolution: likewise.
            bytes_per_value: of the beakers' dtype.

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
        """``L`` of ``C du/dt = -L u``: symmetric, its row sums the leak."""
        g = np.array(self.conductances)
        inner = g[:-1]
        return np.diag(g + np.append(0.0, inner)) - np.diag(inner, 1) - np.diag(inner, -1)

    def _modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Decay rates ``[K]`` and orthonormal modes ``[K, K]`` of ``C^(1/2) u``, whose dynamics is symmetric.

        From the singular values of the bidiagonal factor, which keep the slow rates exact where the
        eigenvalues of their square would not.
        """
        differences = np.eye(self.n_beakers) - np.eye(self.n_beakers, k=1)
        factor = np.sqrt(self.conductances)[:, None] * differences / np.sqrt(self.capacities)
        _, roots, modes = np.linalg.svd(factor)
        return roots**2, modes.T

    def _retention_modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Decay rates and weights ``[K]`` of the content that entered through ``u_1``."""
        rates, modes = self._modes()
        root = np.sqrt(self.capacities)
        return rates, modes[0] * (root @ modes) / root[0]

    def _sequential_radius(self, dt: float) -> float:
        """Spectral radius of one sequential Euler step: new left neighbours, old right ones.

        Without the mode that a closed chain conserves.
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
    """A chain of whatever JAX puts in place of its numbers, unchecked."""
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
