"""The published optimizers, SGD and Adam with complex synapses, equal to the PyTorch code step by step.

Use them to reproduce published results. For other purposes, put :func:`cs_optax.complex_synapse` after any
optimizer of Optax. The published optimizers differ from it in two ways:

* The time that passes in one update is the **learning rate**. Their timescales are therefore
  ``alpha/learning_rate`` to ``beta/learning_rate`` iterations.
* The integrator is sequential Euler.

References:
    van de Ven, `complex-synapses <https://github.com/GMvandeVen/complex-synapses>`_.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cs_optax import _checks
from cs_optax._transform import Init, complex_synapse, warn_of_pitfalls
from cs_optax.chain import BeakerChain

__all__ = ["adam", "sgd"]


def sgd(
    learning_rate: optax.ScalarOrSchedule = 0.1,
    n_beakers: int = 6,
    alpha: optax.ScalarOrSchedule = 1.0,
    beta: optax.ScalarOrSchedule = 1024.0,
    *,
    init: Init = "same",
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with complex synapses, equal to the published ``ComplexSynapse``.

    The new weight is :math:`v_1 = p - η∇ + dt\,g_1(u_2 - p)` with :math:`dt = η`. The chain behind it is that
    of :func:`cs_optax.complex_synapse` with ``method="sequential_euler"``.

    Args:
        learning_rate: :math:`η`, a number, a scalar array or a schedule. It is also the time step.
        n_beakers: number of beakers, including the parameter.
        alpha: shortest timescale, in iterations × learning rate.
        beta: longest timescale, likewise.
        init: how the hidden beakers start, as in :func:`cs_optax.complex_synapse`.

    Returns:
        A complete optimizer, an ``optax.GradientTransformationExtraArgs``.

    Raises:
        ValueError: as :func:`cs_optax.complex_synapse`.

    Warns:
        UserWarning: as :func:`cs_optax.complex_synapse`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import published
        >>> tx = published.sgd(learning_rate=0.5, n_beakers=2, alpha=4.0, beta=16.0)
        >>> params = jnp.array(1.0)
        >>> updates, state = tx.update(jnp.array(1.0), tx.init(params), params)
        >>> float(optax.apply_updates(params, updates))
        0.5
    """
    _checks.factor("learning_rate", learning_rate)
    return optax.chain(
        optax.scale_by_learning_rate(learning_rate),
        complex_synapse(
            n_beakers, alpha, beta, time_step=learning_rate, init=init, method="sequential_euler"
        ),
    )


def adam(
    learning_rate: optax.ScalarOrSchedule = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    n_beakers: int = 6,
    alpha: optax.ScalarOrSchedule = 1.0,
    beta: optax.ScalarOrSchedule = 1024.0,
    *,
    init: Init = "same",
) -> optax.GradientTransformationExtraArgs:
    r"""Adam with complex synapses, equal to the published ``AdamComplexSynapse``.

    With the moments :math:`m, v` of Adam and :math:`η_t = η\sqrt{1 - b_2^t}/(1 - b_1^t)`, the new weight is
    :math:`v_1 = p - η_t m/(\sqrt v + ε) + dt\,g_1(u_2 - p)` with :math:`dt = η_t`. The chain behind it is
    that of :func:`cs_optax.complex_synapse` with ``method="sequential_euler"``. The published Adam adds
    :math:`ε` to :math:`\sqrt v` before the bias correction; ``optax.adam`` adds it afterwards.

    Args:
        learning_rate: :math:`η`, a number, a scalar array or a schedule. The time step is :math:`η_t`.
        b1: decay rate of the first moment.
        b2: decay rate of the second moment.
        eps: :math:`ε`, at least 0.
        n_beakers: number of beakers, including the parameter.
        alpha: shortest timescale, in iterations × learning rate.
        beta: longest timescale, likewise.
        init: how the hidden beakers start, as in :func:`cs_optax.complex_synapse`.

    Returns:
        A complete optimizer, an ``optax.GradientTransformationExtraArgs``.

    Raises:
        ValueError: as :func:`cs_optax.complex_synapse`.

    Warns:
        UserWarning: as :func:`cs_optax.complex_synapse`.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import published
        >>> tx = published.adam(learning_rate=0.25, n_beakers=2, alpha=4.0, beta=16.0)
        >>> params = jnp.array(1.0)
        >>> updates, state = tx.update(jnp.array(1.0), tx.init(params), params)
        >>> round(float(optax.apply_updates(params, updates)), 5)
        0.75
    """
    _checks.factor("learning_rate", learning_rate)
    _checks.decay_rate("b1", b1)
    _checks.decay_rate("b2", b2)
    _checks.threshold("eps", eps)

    def corrected_rate(count: Any) -> jax.Array:
        """``η_t`` of the update after ``count`` others."""
        rate = jnp.asarray(learning_rate(count) if callable(learning_rate) else learning_rate, float)
        t = optax.safe_increment(count).astype(rate.dtype)
        # 1 − b^t, which in float32 would cancel for the first updates.
        first, second = (-jnp.expm1(t * _log(b)) for b in (b1, b2))
        return rate * jnp.sqrt(second) / first

    synapse = complex_synapse(
        n_beakers, alpha, beta, time_step=corrected_rate, init=init, method="sequential_euler"
    )
    if n_beakers and all(map(_checks.is_concrete, (alpha, beta))):
        # The corrected rate soon equals the learning rate.
        chain = BeakerChain.from_timescales(n_beakers, alpha, beta)
        warn_of_pitfalls(chain, learning_rate, "sequential_euler")
    return optax.chain(
        _scale_by_uncorrected_adam(b1, b2, eps), optax.scale_by_learning_rate(corrected_rate), synapse
    )


def _log(b: Any) -> Any:
    """The logarithm, in double precision if the number is known; −∞ for 0."""
    if not _checks.is_concrete(b):
        return jnp.log(b)
    return math.log(b) if b else -math.inf


def _scale_by_uncorrected_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """``m/(sqrt(v) + ε)``: Adam's direction without its bias correction."""

    def init_fn(params: optax.Params) -> optax.ScaleByAdamState:
        return optax.scale_by_adam(b1, b2, eps).init(params)

    def update_fn(
        updates: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del params
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment_per_elem_norm(updates, state.nu, b2, 2)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
        return updates, optax.ScaleByAdamState(optax.safe_increment(state.count), mu, nu)

    return optax.GradientTransformation(init_fn, update_fn)
