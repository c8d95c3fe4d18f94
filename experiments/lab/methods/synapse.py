"""Complex synapses after the optimizer: Benna & Fusi (2016), Kaplanis, Shanahan & Clopath (2018)."""

import warnings
from dataclasses import replace
from typing import Any

from cs_optax import complex_synapse, get_beakers, published
from experiments.lab.methods.interface import Method, Tree, chain, chosen_optimizer, elementwise
from experiments.lab.options.settings import Settings


def make(settings: Settings) -> Method:
    """The optimizer followed by complex synapses; or the published one, if the time step says so."""
    if settings.time_step == "learning-rate":
        return make_published(settings)
    synapse = elementwise(complex_synapse(settings.beakers, settings.alpha, settings.beta))
    return Method(chain(chosen_optimizer(settings, decay=False), synapse), elementwise=True)


def make_readout(settings: Settings) -> Method:
    """Trained with complex synapses, evaluated with the weights that one of the beakers holds."""

    def weights(params: Tree, memory: Tree, opt_state: Any) -> Tree:
        return (params, *get_beakers(opt_state))[settings.beaker_to_read - 1]

    return replace(make(settings), weights=weights)


def make_published(settings: Settings) -> Method:
    """The published optimizer, in which a learning rate's time passes in an iteration."""
    optimizer = published.adam if settings.optimizer == "adam" else published.sgd
    n_beakers, alpha, beta = settings.beakers, settings.alpha, settings.beta
    with warnings.catch_warnings():
        # The command's first lines say how many iterations these timescales are.
        warnings.filterwarnings("ignore", "the shortest timescale, .* hardly anything will be consolidated")
        published_optimizer = optimizer(settings.lr, n_beakers=n_beakers, alpha=alpha, beta=beta)
    return Method(elementwise(published_optimizer), elementwise=True)
