"""Measurements of what an optimizer remembers, made by running it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import _checks

Rule = Callable[[jax.Array], Any]


class Recall(NamedTuple):
    """Result of :func:`simulate`. An overlap is a sum over all synapses.

    Attributes:
        ages: integers ``[A]``: updates since the memory arrived, including the update that stored it.
        signal: ``[n_trials, A]``: the mean overlap of the weights with memories of each age.
        noise: ``[n_trials]``: the root mean square overlap with patterns that were never stored.
    """

    ages: np.ndarray
    signal: np.ndarray
    noise: np.ndarray

    @property
    def snr(self) -> np.ndarray:
        """The signal-to-noise ratio of each trial and age, ``[n_trials, A]``."""
        return self.signal / self.noise[:, None]


def impulse_response(tx: optax.GradientTransformation, n_updates: Any) -> np.ndarray:
    """What is left of a unit input in the weight, after a number of updates without gradients.

    The function runs the optimizer itself, one update after another, in the default float dtype. For
    ``optax.chain(optax.sgd(1.0), complex_synapse(…))``, the result is
    :meth:`cs_optax.BeakerChain.impulse_response`, up to the error of the integrator. With
    ``method="sequential_euler"`` it is the response one update earlier, because an input then starts to flow
    one update later.

    Args:
        tx: an optimizer. The weight starts at 0. The gradient is -1 in the first update and 0 afterwards.
        n_updates: the numbers of updates after which to read the weight, including the first update; whole
            numbers of at least 1.

    Returns:
        The weights, with the shape of ``n_updates``.

    Raises:
        ValueError: if ``n_updates`` is out of range.

    Examples:
        >>> import optax
        >>> from cs_optax import complex_synapse
        >>> from cs_optax.memory import impulse_response
        >>> tx = optax.chain(optax.sgd(1.0), complex_synapse(n_beakers=6, alpha=8.0, beta=8192.0))
        >>> impulse_response(tx, [1, 100, 10_000]).round(3)
        array([0.886, 0.134, 0.013], dtype=float32)
    """
    _checks.transformation("tx", tx)
    wanted = _whole("n_updates", n_updates)
    distinct, places = np.unique(wanted, return_inverse=True)

    @jax.jit
    def run(waits: jax.Array) -> jax.Array:
        def update(_: Any, carry: Any, gradient: float = 0.0) -> Any:
            weight, state = carry
            updates, state = tx.update(jnp.full_like(weight, gradient), state, weight)
            return optax.apply_updates(weight, updates), state

        def wait(carry: Any, n: jax.Array) -> Any:
            carry = jax.lax.fori_loop(0, n, update, carry)
            return carry, carry[0]

        weight = jnp.zeros([])
        stored = update(0, (weight, tx.init(weight)), gradient=-1.0)
        return jax.lax.scan(wait, stored, waits)[1]

    return np.asarray(run(jnp.asarray(np.diff(distinct, prepend=1))))[places].reshape(wanted.shape)


def hebbian(pattern: jax.Array) -> jax.Array:
    """The memory of a fully connected network: ``ξ_i ξ_j`` for each pair ``i < j`` of its neurons.

    Args:
        pattern: activities of ``n`` neurons, shape ``[n]``.

    Returns:
        One number for each of the pairs, shape ``[n (n - 1)/2]``.

    Raises:
        ValueError: if ``pattern`` is not a single pattern of at least two neurons.

    Examples:
        >>> import jax.numpy as jnp
        >>> from cs_optax.memory import hebbian
        >>> hebbian(jnp.array([1.0, -1.0, 1.0]))
        Array([-1.,  1., -1.], dtype=float32)
    """
    pattern = jnp.asarray(pattern)
    if pattern.ndim != 1 or len(pattern) < 2:
        raise ValueError(f"pattern must be [n] with at least two neurons, got the shape {pattern.shape}")
    first, second = np.triu_indices(pattern.shape[0], k=1)
    return pattern[first] * pattern[second]


def simulate(
    tx: optax.GradientTransformation,
    pattern_size: int,
    ages: Any,
    *,
    n_memories: int,
    n_trials: int = 1,
    seed: int = 0,
    burn_in: int | None = None,
    read_every: int = 1,
    coding_level: float = 1.0,
    rule: Rule | None = None,
) -> Recall:
    r"""Store random memories with an optimizer, one in each update, and measure the recall of old ones.

    A memory is a random pattern :math:`ξ`. Storing it is an update with the gradient :math:`-ξ`. Its recall
    is its overlap with the weights :math:`w`, :math:`\sum_i ξ_i w_i`. The signal of an age is the mean
    overlap with memories of that age. The noise is the spread of the overlap with patterns that were never
    stored. Their ratio is the SNR of the ideal observer. The simulation uses nothing of the theory.

    For ``optax.chain(optax.sgd(1.0), complex_synapse(chain=chain))``, the SNR approaches
    :math:`\sqrt{N} r(t)/\sqrt{V - 1}` with :math:`V` = ``chain.variance(1.0)``, less the input that has not
    flowed yet.

    Args:
        tx: an optimizer: ``optax.chain(optax.sgd(1.0), …)`` for memories of unit size. Its weights have the
            shape ``[n_trials, …]``. They are stacked, not mapped over, so that links rest for all trials
            together. The optimizer should treat every weight in the same way.
        pattern_size: length of a pattern. Without a ``rule``, it is the number of synapses.
        ages: ages to recall, ``[A]``, whole numbers of at least 1. The age is 1 right after the update that
            stored the memory.
        n_memories: number of memories, which is the number of updates.
        n_trials: number of independent populations.
        seed: seed of the patterns. A trial sees the same patterns whatever ``n_trials`` is.
        burn_in: number of updates before the first reading, to become stationary. By default, half of all
            updates, but at least the largest age.
        read_every: number of updates between two readings.
        coding_level: share of a pattern that is not zero. Those elements are -1 or 1, equally likely.
        rule: maps a pattern of shape ``[pattern_size]`` to the input of the synapses, a tree of arrays with
            zero mean. By default it is the pattern itself. :func:`hebbian` is the rule of a Hopfield network.
            With several leaves, each can have its own chain, by ``optax.partition``.

    Returns:
        :class:`Recall`.

    Raises:
        ValueError: if an argument is out of range.

    Examples:
        >>> import optax
        >>> from cs_optax import BeakerChain, complex_synapse
        >>> from cs_optax.memory import simulate
        >>> chain = BeakerChain.benna_fusi(4)
        >>> tx = optax.chain(optax.sgd(1.0), complex_synapse(chain=chain))
        >>> recall = simulate(tx, 1000, [1, 10, 100], n_memories=2000, n_trials=2)
        >>> recall.snr.shape
        (2, 3)
    """
    _checks.transformation("tx", tx)
    pattern_size = _checks.whole("pattern_size", pattern_size, least=1)
    seed = _checks.count("seed", seed, least=0)
    ages = np.atleast_1d(_whole("ages", ages))
    if ages.ndim > 1:
        raise ValueError(f"ages must be a list, got the shape {ages.shape}")
    n_memories = _checks.whole("n_memories", n_memories, least=1)
    n_trials = _checks.whole("n_trials", n_trials, least=1)
    read_every = _checks.whole("read_every", read_every, least=1)
    oldest = int(ages.max())
    burn_in = max(n_memories // 2, oldest) if burn_in is None else _checks.whole("burn_in", burn_in, least=0)
    if burn_in < oldest:
        raise ValueError(f"burn_in must be at least the largest of ages, {oldest}, got {burn_in}")
    n_readings = (n_memories - burn_in) // read_every
    if n_readings < 1:
        raise ValueError(
            f"n_memories must be at least burn_in + read_every, {burn_in + read_every}, got {n_memories}"
        )
    if _checks.positive("coding_level", coding_level) > 1:
        raise ValueError(f"coding_level must be greater than 0 and at most 1, got {coding_level!r}")
    rule = (lambda pattern: pattern) if rule is None else rule
    dtype = jnp.result_type(float)
    store_for_all = jax.vmap(rule)
    if not jax.tree.leaves(jax.eval_shape(rule, jax.ShapeDtypeStruct((pattern_size,), dtype))):
        raise ValueError("rule must return what the synapses receive, an array or a tree of them")

    def patterns(keys: jax.Array, step: Any, stream: int) -> jax.Array:
        """A pattern for each trial, int8 ``[n_trials, pattern_size]``."""

        def draw(key: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(key, stream), step)
            place = jax.random.uniform(key, (pattern_size,))
            high, low = place >= 1 - coding_level / 2, place < coding_level / 2
            return high.astype(jnp.int8) - low.astype(jnp.int8)

        return jax.vmap(draw)(keys)

    def overlaps(weights: Any, shown: jax.Array) -> jax.Array:
        """The overlaps of each trial's weights with its pattern, ``[n_trials]``."""
        memories = store_for_all(shown.astype(dtype))
        products = jax.tree.map(
            lambda w, m: jnp.einsum("ti,ti->t", *(leaf.reshape(n_trials, -1) for leaf in (w, m))),
            weights,
            memories,
        )
        return functools.reduce(jnp.add, jax.tree.leaves(products))

    @jax.jit
    def run(keys: jax.Array) -> Any:
        def store(step: jax.Array, carry: Any) -> Any:
            weights, state, stored = carry
            pattern = patterns(keys, step, stream=0)
            gradients = jax.tree.map(jnp.negative, store_for_all(pattern.astype(dtype)))
            updates, state = tx.update(gradients, state, weights)
            return optax.apply_updates(weights, updates), state, stored.at[step % oldest].set(pattern)

        def read(carry: Any, reading: jax.Array) -> Any:
            before, signal, noise = carry
            first = burn_in + reading * read_every
            after = jax.lax.fori_loop(first, first + read_every, store, before)
            weights, _, stored = after
            shown = stored[(first + read_every - jnp.asarray(ages)) % oldest]
            signal += jax.vmap(overlaps, in_axes=(None, 0), out_axes=1)(weights, shown)
            noise += overlaps(weights, patterns(keys, reading, stream=1)) ** 2
            return (after, signal, noise), None

        memory = jax.eval_shape(store_for_all, jnp.zeros((n_trials, pattern_size), dtype))
        weights = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), memory)
        stored = jnp.zeros((oldest, n_trials, pattern_size), jnp.int8)
        start = jax.lax.fori_loop(0, burn_in, store, (weights, tx.init(weights), stored))
        sums = jnp.zeros((n_trials, len(ages)), dtype), jnp.zeros(n_trials, dtype)
        (_, signal, noise), _ = jax.lax.scan(read, (start, *sums), jnp.arange(n_readings))
        return signal / n_readings, jnp.sqrt(noise / n_readings)

    of_each = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(n_trials))
    signal, noise = run(of_each)
    return Recall(ages, np.asarray(signal), np.asarray(noise))


def _whole(name: str, values: Any) -> np.ndarray:
    """``values`` as integers, where they are whole numbers of at least 1."""
    array = np.asarray(values)
    numbers = array.size > 0 and np.issubdtype(array.dtype, np.number)
    if not (numbers and np.all(array >= 1) and np.all(array == np.floor(array)) and np.all(array < 2**31)):
        raise ValueError(f"{name} must hold whole numbers of at least 1, got {values!r}")
    return array.astype(np.int64)
