"""What a method's name stands for: its optimizer."""

from __future__ import annotations

import optax

from cs_optax import complex_synapse, complex_synapse_adam, complex_synapse_sgd
from experiments.lab.settings import Settings


def make_optimizer(settings: Settings, method: str) -> optax.GradientTransformation:
    """The optimizer of a method.

    ``standard``: ``optax.adam`` or ``optax.sgd``, with ``--decay`` added to the gradient (L2), as published.
    ``cs``: the same without decay, followed by complex synapses; with ``--time-step learning-rate`` the
    published optimizer instead.
    """
    lr, with_adam = settings.lr, settings.optimizer == "adam"
    plain = optax.adam(lr) if with_adam else optax.sgd(lr)
    if method == "standard":
        if settings.decay == 0:
            return plain
        return optax.chain(optax.add_decayed_weights(settings.decay), plain)
    n_beakers, alpha, beta = settings.beakers, settings.alpha, settings.beta
    if settings.time_step == "iteration":
        return optax.chain(plain, complex_synapse(n_beakers, alpha, beta))
    published = complex_synapse_adam if with_adam else complex_synapse_sgd
    return published(lr, n_beakers=n_beakers, alpha=alpha, beta=beta)
