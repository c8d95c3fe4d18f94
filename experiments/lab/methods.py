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
    plain = {"adam": optax.adam, "sgd": optax.sgd}[settings.optimizer](settings.lr)
    if method == "standard":
        if settings.decay == 0:
            return plain
        return optax.chain(optax.add_decayed_weights(settings.decay), plain)
    chain = {"n_beakers": settings.beakers, "alpha": settings.alpha, "beta": settings.beta}
    if settings.time_step == "learning-rate":
        published = {"adam": complex_synapse_adam, "sgd": complex_synapse_sgd}[settings.optimizer]
        return published(settings.lr, **chain)
    return optax.chain(plain, complex_synapse(**chain))
