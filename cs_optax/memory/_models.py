"""Models of memory for comparison with the complex synapse, each with its exact signal-to-noise ratio.

The single exponential is a chain of one beaker. The other models have a finite number of states. Under random
memories, each synapse is then a Markov chain.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from cs_optax import _checks

_STOCHASTIC = 1e-9  # by how much the rows of a transition matrix may miss 1


@dataclasses.dataclass(frozen=True, eq=False)
class MarkovSynapse:
    r"""A synapse with ``M`` states, which a memory changes with given probabilities.

    A memory potentiates a random half of the synapses and depresses the other half. The states therefore
    follow :math:`M = (M_+ + M_-)/2`, with the stationary distribution :math:`p`. Just after a memory, the
    weights of the two halves differ. After :math:`t` further memories, the rest of it over the noise
    is

    .. math::
        SNR(t) = \sqrt{N}\; \frac{\tfrac12\, p\,(M_+ - M_-)\, M^t\, w}{\mathrm{sd}_p(w)}.

    Args:
        potentiation: :math:`M_+`, shape ``[M, M]``: the probabilities from the row's state to the column's.
        depression: :math:`M_-`, likewise.
        weights: :math:`w`, shape ``[M]``, the weight in each state.

    Raises:
        ValueError: if the shapes do not match, if a row is not a probability distribution, or if there is not
            exactly one stationary distribution with weights that differ.

    Examples:
        >>> from cs_optax.memory import MarkovSynapse
        >>> up, down = [[0.5, 0.5], [0.0, 1.0]], [[1.0, 0.0], [0.5, 0.5]]
        >>> MarkovSynapse(up, down, weights=[-1.0, 1.0]).snr([0, 1, 2], n_synapses=100)
        array([5.  , 2.5 , 1.25])

    References:
        Fusi & Abbott, `Limits on the memory storage capacity of bounded synapses
        <https://doi.org/10.1038/nn1859>`_, Nature Neuroscience 10:485-493, 2007.
    """

    potentiation: np.ndarray
    depression: np.ndarray
    weights: np.ndarray

    def __post_init__(self) -> None:
        weights = _checks.real("weights", self.weights)
        if weights.ndim != 1 or len(weights) < 2 or np.ptp(weights) == 0:
            raise ValueError(f"weights must be a list of at least two numbers, not all equal, got {weights}")
        for name in ("potentiation", "depression"):
            matrix = _checks.real(name, getattr(self, name), "probabilities")
            if matrix.shape != 2 * weights.shape:
                raise ValueError(
                    f"{name} must have the shape {2 * weights.shape}, as there are {len(weights)} weights, "
                    f"got {matrix.shape}"
                )
            wrong = (matrix.min(axis=1) < 0) | (np.abs(matrix.sum(axis=1) - 1) > _STOCHASTIC)
            if wrong.any():
                row = int(wrong.argmax())
                raise ValueError(
                    f"{name} must have rows of probabilities that sum to 1, got {matrix[row]} in row {row}"
                )
            matrix.setflags(write=False)
            object.__setattr__(self, name, matrix)
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)
        if not self._noise > 0:
            raise ValueError(f"weights must differ between the states that are ever reached, got {weights}")

    @property
    def n_states(self) -> int:
        """The number of states ``M``."""
        return len(self.weights)

    def stationary(self) -> np.ndarray:
        """The share of the synapses in each state after many random memories, float64, shape ``[M]``."""
        return self._stationary.copy()

    @functools.cached_property
    def _transition(self) -> np.ndarray:
        return (self.potentiation + self.depression) / 2

    @functools.cached_property
    def _stationary(self) -> np.ndarray:
        flow = self._transition.T - np.eye(self.n_states)
        system = np.vstack([flow, np.ones(self.n_states)])
        p, _, rank, _ = np.linalg.lstsq(system, np.append(np.zeros(self.n_states), 1.0), rcond=None)
        if rank < self.n_states:
            raise ValueError(
                "potentiation and depression must lead to one stationary distribution, whatever the state"
            )
        return np.maximum(p, 0.0)

    @functools.cached_property
    def _noise(self) -> float:
        """Standard deviation of the weight of one synapse; 0 if only rounding is left."""
        p = self._stationary
        variance = p @ (self.weights - p @ self.weights) ** 2
        return math.sqrt(variance) if variance > 1e-24 * np.ptp(self.weights) ** 2 else 0.0

    def snr(self, t: Any, n_synapses: int) -> np.ndarray:
        """The ideal observer's signal-to-noise ratio of a memory of age ``t``.

        Args:
            t: age, a whole number of memories, or an array of them; 0 is just after storing.
            n_synapses: number of synapses N, at least 1.

        Returns:
            The ratio, float64, with the shape of ``t``.

        Raises:
            ValueError: if an argument is out of range.
        """
        n_synapses = _checks.whole("n_synapses", n_synapses, least=1)
        ages = _ages(t)
        if np.any(ages != np.floor(ages)):
            raise ValueError(f"t must hold whole numbers of at least 0, got {t!r}")
        signal = self._stationary @ (self.potentiation - self.depression) / 2
        left = [self._after(int(age), signal) @ self.weights for age in ages.ravel()]
        return math.sqrt(n_synapses) / self._noise * np.array(left).reshape(ages.shape)

    def _after(self, age: int, signal: np.ndarray) -> np.ndarray:
        """``signal M^age``, by stored squares of ``M``, because a lifetime needs many ages."""
        for bit in range(age.bit_length()):
            if bit == len(self._squares):
                self._squares.append(self._squares[-1] @ self._squares[-1])
            if age >> bit & 1:
                signal = signal @ self._squares[bit]
        return signal

    @functools.cached_property
    def _squares(self) -> list[np.ndarray]:
        return [self._transition]


def bistable(probability: float) -> MarkovSynapse:
    """Two states, weak and strong. A memory that requires the other state reaches it with a probability.

    ``SNR(t) = sqrt(N) q (1 - q)^t``. With the best ``q``, which is ``e/sqrt(N)``, the lifetime is about
    ``sqrt(N)/e``.

    Args:
        probability: ``q``, greater than 0 and at most 1.

    Raises:
        ValueError: if ``probability`` is out of range.

    Examples:
        >>> from cs_optax.memory import bistable
        >>> bistable(0.5).snr([0, 1, 2], n_synapses=100)
        array([5.  , 2.5 , 1.25])

    References:
        Amit & Fusi, `Learning in neural networks with material synapses
        <https://doi.org/10.1162/neco.1994.6.5.957>`_, Neural Computation 6:957-982, 1994.
    """
    return multistate(2, probability)


def multistate(n_states: int, probability: float = 1.0) -> MarkovSynapse:
    """States in a row. A memory moves the synapse one state up or down with a probability.

    The weights are evenly spaced from -1 to 1. A synapse at an end of the row stays there. Potentiation and
    depression are exactly balanced. The lifetime is then about ``(2 M²/π²) ln(2.8 sqrt(N)/M)``. With the best
    number of states, ``M ≈ 1.7 sqrt(N)``, it is ``0.29 N``, and the SNR starts at 2. Fusi & Abbott (2007)
    show how little imbalance destroys this.

    Args:
        n_states: number of states, at least 2.
        probability: probability of a move, greater than 0 and at most 1.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> from cs_optax.memory import multistate
        >>> multistate(4).stationary().round(6)
        array([0.25, 0.25, 0.25, 0.25])

    References:
        Fusi & Abbott, `Limits on the memory storage capacity of bounded synapses
        <https://doi.org/10.1038/nn1859>`_, Nature Neuroscience 10:485-493, 2007.
    """
    n_states = _checks.count("n_states", n_states, least=2)
    q = _checks.positive("probability", probability)
    if q > 1:
        raise ValueError(f"probability must be greater than 0 and at most 1, got {probability!r}")
    up = np.eye(n_states) * (1 - q) + np.eye(n_states, k=1) * q
    up[-1, -1] = 1.0
    return MarkovSynapse(up, up[::-1, ::-1], np.linspace(-1, 1, n_states))


def cascade(n_levels: int, ratio: float = 0.5) -> MarkovSynapse:
    """The cascade model of Fusi, Drew & Abbott (2005): each of two weights has a row of ever stiffer states.

    A memory that requires the other weight moves the synapse to its most plastic state. From level ``i`` this
    has the probability ``q_i = x^(i-1)``. A memory that requires the present weight moves the synapse from
    level ``i`` to the stiffer level ``i + 1``, with the probability ``p_i = x^i/(1 - x)``. The last of
    several levels has ``q_n = x^(n-1)/(1 - x)``, which makes all states equally likely. The SNR may rise over
    the first ages.

    Args:
        n_levels: levels ``n`` of each weight, at least 1. There are twice as many states.
        ratio: ``x``, greater than 0 and at most 1/2, so that no probability exceeds 1.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> from cs_optax.memory import cascade
        >>> cascade(3).stationary().round(6)
        array([0.166667, 0.166667, 0.166667, 0.166667, 0.166667, 0.166667])

    References:
        Fusi, Drew & Abbott, `Cascade models of synaptically stored memories
        <https://doi.org/10.1016/j.neuron.2005.02.001>`_, Neuron 45:599-611, 2005.
    """
    n = _checks.count("n_levels", n_levels, least=1)
    x = _checks.positive("ratio", ratio)
    if x > 0.5:
        raise ValueError(f"ratio must be greater than 0 and at most 0.5, got {ratio!r}")
    switch = x ** np.arange(n)
    if n > 1:
        switch[-1] /= 1 - x
    deepen = np.append(x ** np.arange(1, n) / (1 - x), 0.0)
    up = np.zeros((2 * n, 2 * n))  # weak levels 1 … n, then strong levels 1 … n
    weak, strong = np.arange(n), np.arange(n, 2 * n)
    up[weak, weak] = 1 - switch
    up[weak, n] = switch
    up[strong, strong] = 1 - deepen
    up[strong[:-1], strong[1:]] = deepen[:-1]
    other = np.append(strong, weak)
    return MarkovSynapse(up, up[np.ix_(other, other)], np.repeat([-1.0, 1.0], n))


def exponential_envelope(t: Any, n_synapses: int) -> np.ndarray:
    """The best SNR of any single exponential at age ``t``, with another timescale for each age.

    The SNR of a chain of one beaker is ``sqrt(N) exp(-t/τ) sqrt(1 - exp(-2/τ))``. Its maximum over ``τ`` is
    ``sqrt(N) (t/(1 + t))^(t/2)/sqrt(1 + t)``, or about ``sqrt(N/(e t))`` for large ages. Such weights are
    unbounded.

    Args:
        t: age, in memories; finite and at least 0.
        n_synapses: number of synapses N, at least 1.

    Returns:
        The SNR, float64, with the shape of ``t``.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> from cs_optax.memory import exponential_envelope
        >>> exponential_envelope([0, 1, 100], n_synapses=10_000).round(3)
        array([100.  ,  50.  ,   6.05])
    """
    n_synapses = _checks.whole("n_synapses", n_synapses, least=1)
    ages = _ages(t)
    decay = np.exp(-ages / 2 * np.log1p(1 / np.where(ages > 0, ages, 1.0)))
    return math.sqrt(n_synapses) * np.where(ages > 0, decay, 1.0) / np.sqrt(1 + ages)


def memory_frontier(t: Any, n_synapses: int, n_states: int) -> np.ndarray:
    """An SNR that no synapse with two weights and ``M`` states is known to exceed at age ``t``.

    The bound is ``sqrt(N) exp(-t/(M-1))`` up to ``t = M - 1``, and ``sqrt(N) (M-1)/(e t)`` after that. It
    follows from the largest possible SNR at age 0, ``sqrt(N)``, and the largest possible area below the
    curve, ``sqrt(N) (M-1)``. It assumes that memories arrive at random times, one per unit of time on
    average. With memories at regular times, as in :class:`MarkovSynapse`, a synapse that passes a memory on
    like a shift register can exceed it. The bound does not apply to unbounded variables, such as those of a
    chain of beakers.

    Args:
        t: age, in memories; finite and at least 0.
        n_synapses: number of synapses N, at least 1.
        n_states: number of states M, at least 2.

    Returns:
        The bound, float64, with the shape of ``t``.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> from cs_optax.memory import memory_frontier
        >>> memory_frontier([0, 1, 10], n_synapses=100, n_states=2).round(3)
        array([10.   ,  3.679,  0.368])

    References:
        Lahiri & Ganguli, A memory frontier for complex synapses, Advances in Neural Information Processing
        Systems 26, 2013.
    """
    n_synapses = _checks.whole("n_synapses", n_synapses, least=1)
    longest = _checks.count("n_states", n_states, least=2) - 1
    ages = _ages(t)
    return math.sqrt(n_synapses) * np.where(
        ages <= longest, np.exp(-ages / longest), longest / (math.e * np.maximum(ages, longest))
    )


def _ages(t: Any) -> np.ndarray:
    ages = _checks.real("t", t, "numbers of at least 0")
    if np.any(ages < 0):
        raise ValueError(f"t must be finite and at least 0, got {t!r}")
    return ages
