"""Complex synapses after the optimizer: Benna & Fusi (2016), Kaplanis, Shanahan & Clopath (2018)."""

import warnings
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cs_optax import complex_synapse, get_beakers, published
from experiments.lab.methods.averages import weights_of
from experiments.lab.methods.interface import Method, Tree, chain, chosen_optimizer, elementwise
from experiments.lab.options.settings import Settings


def make(settings: Settings) -> Method:
    """The optimizer followed by complex synapses; or the published one, if the time step says so."""
    if settings.time_step == "learning-rate":
        return make_published(settings)
    synapse = elementwise(complex_synapse(settings.beakers, settings.alpha, settings.beta))
    return Method(chain(chosen_optimizer(settings, decay=False), synapse), elementwise=True)


def make_readout(settings: Settings) -> Method:
    """Trained with complex synapses, evaluated with a beaker, or with the average that is wished for."""

    def reading(iteration: int) -> np.ndarray:
        n_beakers = max(settings.beakers, 1)
        if settings.profile and settings.beakers:
            times = n_beakers, settings.alpha, settings.beta
            return weights_of(times, settings.profile, iteration, {})
        return np.eye(1, n_beakers, settings.beaker_to_read - 1, dtype=np.float32)[0]

    def weights(params: Tree, memory: Tree, opt_state: Any, mixture: jax.Array) -> Tree:
        def mixed(*beakers: jax.Array) -> jax.Array:
            # A beaker that is read alone is what it is, though training diverged and others are not finite.
            parts = [jnp.where(a == 0, 0, a * u) for a, u in zip(mixture, beakers, strict=True)]
            return sum(parts[1:], start=parts[0])

        return jax.tree.map(mixed, params, *get_beakers(opt_state))

    return replace(make(settings), weights=weights, reading=reading)


def make_published(settings: Settings) -> Method:
    """The published optimizer, in which a learning rate's time passes in an iteration."""
    optimizer = published.adam if settings.optimizer == "adam" else published.sgd
    n_beakers, alpha, beta = settings.beakers, settings.alpha, settings.beta
    with warnings.catch_warnings():
        # The command's first lines say how many iterations these timescales are.
        warnings.filterwarnings("ignore", "the shortest timescale, .* hardly anything will be consolidated")
        published_optimizer = optimizer(settings.lr, n_beakers=n_beakers, alpha=alpha, beta=beta)
    return Method(elementwise(published_optimizer), elementwise=True)
