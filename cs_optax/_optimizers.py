"""The published optimizers, SGD and Adam with complex synapses, in one call."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cs_optax import _checks
from cs_optax._transform import (
    DEFAULT_ALPHA,
    DEFAULT_BETA,
    DEFAULT_N_BEAKERS,
    Numeric,
    beaker_transformation,
)
from cs_optax.chain import BeakerChain


def complex_synapse_sgd(
    learning_rate: Numeric = 0.1,
    n_beakers: int = DEFAULT_N_BEAKERS,
    alpha: Numeric = DEFAULT_ALPHA,
    beta: Numeric = DEFAULT_BETA,
    *,
    init: str = "same",
    time_step: Numeric | None = None,
    method: str = "sequential_euler",
    chain: BeakerChain | None = None,
    leak: str = "zero",
    resolution: Any = 0.125,
    visible_resolution: Any = 0.0,
    backflow: str = "always",
    beaker_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with complex synapses; with its defaults the published ``ComplexSynapse`` to the letter.

    :math:`v_1 = p - η∇ + dt\,g_1(u_2 - p)`, with the chain behind it as in :func:`complex_synapse`, where
    all arguments but ``learning_rate`` are explained.

    Args:
        learning_rate: :math:`η`; a number, an array or a schedule.
        n_beakers: number of beakers.
        alpha: shortest timescale, in units of time.
        beta: longest timescale.
        init: how the hidden beakers start.
        time_step: time that passes in one update. None is the published convention :math:`dt = η`: the
            timescales are then ``alpha/η`` to ``beta/η`` iterations.
        method: the integrator.
        chain: any other chain.
        leak: where the last beaker leaks to.
        resolution: how seldom hidden links may fire.
        visible_resolution: how seldom the first link may fire.
        backflow: when links begin to flow back.
        beaker_dtype: dtype of the beakers.

    Returns:
        A complete optimizer, an ``optax.GradientTransformationExtraArgs``.

    Raises:
        ValueError: as :func:`complex_synapse`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse_sgd
        >>> tx = complex_synapse_sgd(learning_rate=0.5, n_beakers=2, alpha=4.0, beta=16.0)
        >>> params = jnp.array(1.0)
        >>> updates, state = tx.update(jnp.array(1.0), tx.init(params), params)
        >>> float(optax.apply_updates(params, updates))
        0.5

    References:
        van de Ven, `complex-synapses <https://github.com/GMvandeVen/complex-synapses>`_.
    """
    _checks.step("learning_rate", learning_rate)
    return optax.chain(
        optax.scale_by_learning_rate(learning_rate),
        beaker_transformation(
            n_beakers,
            alpha,
            beta,
            time_step=learning_rate if time_step is None else time_step,
            chain=chain,
            init=init,
            leak=leak,
            method=method,
            resolution=resolution,
            visible_resolution=visible_resolution,
            backflow=backflow,
            beaker_dtype=beaker_dtype,
        ),
    )


def complex_synapse_adam(
    learning_rate: Numeric = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    n_beakers: int = DEFAULT_N_BEAKERS,
    alpha: Numeric = DEFAULT_ALPHA,
    beta: Numeric = DEFAULT_BETA,
    *,
    init: str = "same",
    time_step: Numeric | None = None,
    method: str = "sequential_euler",
    chain: BeakerChain | None = None,
    leak: str = "zero",
    resolution: Any = 0.125,
    visible_resolution: Any = 0.0,
    backflow: str = "always",
    beaker_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam with complex synapses; with its defaults the published ``AdamComplexSynapse`` to the letter.

    With the moments :math:`m, v` of Adam and :math:`η_t = η\sqrt{1 - b_2^t}/(1 - b_1^t)`,
    :math:`v_1 = p - η_t m/(\sqrt v + ε) + dt\,g_1(u_2 - p)`, and the chain behind it as in
    :func:`complex_synapse`, where the arguments after ``eps`` are explained. The published Adam adds
    :math:`ε` to :math:`\sqrt v` before the bias correction, ``optax.adam`` after it; for a plain Adam in
    front of a synapse, chain ``optax.adam`` with :func:`complex_synapse`.

    Args:
        learning_rate: :math:`η`; a number, an array or a schedule.
        b1: decay rate of the first moment.
        b2: decay rate of the second moment.
        eps: :math:`ε`.
        n_beakers: number of beakers.
        alpha: shortest timescale, in units of time.
        beta: longest timescale.
        init: how the hidden beakers start.
        time_step: time that passes in one update. None is the published convention :math:`dt = η_t`: the
            timescales are then, but for the first iterations, ``alpha/η`` to ``beta/η`` iterations.
        method: the integrator.
        chain: any other chain.
        leak: where the last beaker leaks to.
        resolution: how seldom hidden links may fire.
        visible_resolution: how seldom the first link may fire.
        backflow: when links begin to flow back.
        beaker_dtype: dtype of the beakers.

    Returns:
        A complete optimizer, an ``optax.GradientTransformationExtraArgs``.

    Raises:
        ValueError: as :func:`complex_synapse`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse_adam
        >>> tx = complex_synapse_adam(learning_rate=0.25, n_beakers=2, alpha=4.0, beta=16.0)
        >>> params = jnp.array(1.0)
        >>> updates, state = tx.update(jnp.array(1.0), tx.init(params), params)
        >>> round(float(optax.apply_updates(params, updates)), 5)
        0.75

    References:
        van de Ven, `complex-synapses <https://github.com/GMvandeVen/complex-synapses>`_.
    """
    _checks.step("learning_rate", learning_rate)
    _checks.decay_rate("b1", b1)
    _checks.decay_rate("b2", b2)
    if _checks.is_concrete(eps):
        _checks.at_least_zero("eps", eps)

    def corrected_rate(count: Any) -> jax.Array:
        """``η_t`` of the update that follows ``count`` others."""
        rate = jnp.asarray(learning_rate(count) if callable(learning_rate) else learning_rate, float)
        t = optax.safe_increment(count).astype(rate.dtype)
        # 1 − b^t, which in float32 would cancel for the first updates.
        first, second = (-jnp.expm1(t * _log(b)) for b in (b1, b2))
        return rate * jnp.sqrt(second) / first

    return optax.chain(
        _scale_by_uncorrected_adam(b1, b2, eps),
        optax.scale_by_learning_rate(corrected_rate),
        beaker_transformation(
            n_beakers,
            alpha,
            beta,
            time_step=corrected_rate if time_step is None else time_step,
            usual_time_step=learning_rate if time_step is None else time_step,
            chain=chain,
            init=init,
            leak=leak,
            method=method,
            resolution=resolution,
            visible_resolution=visible_resolution,
            backflow=backflow,
            beaker_dtype=beaker_dtype,
        ),
    )


def _log(b: Any) -> Any:
    """The logarithm, in double precision where the number is known; −∞ of 0."""
    if not _checks.is_concrete(b):
        return jnp.log(b)
    return math.log(b) if b else -math.inf


def _scale_by_uncorrected_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """``m/(sqrt(v) + ε)``: Adam's direction without its bias correction."""

    def init_fn(params: Any) -> optax.ScaleByAdamState:
        return optax.scale_by_adam(b1, b2, eps).init(params)

    def update_fn(
        updates: Any, state: optax.ScaleByAdamState, params: Any = None
    ) -> tuple[Any, optax.ScaleByAdamState]:
        del params
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
        return updates, optax.ScaleByAdamState(optax.safe_increment(state.count), mu, nu)

    return optax.GradientTransformation(init_fn, update_fn)
