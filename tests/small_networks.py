"""The built-in network as functions, for tests that need no training."""

import jax

from experiments.lab.models.making import make_network
from experiments.lab.models.mlp import MLP
from experiments.lab.options.model import FullyConnected


def mlp(n_inputs, *layers):
    """Initial parameters and outputs of a network with layers of these sizes, all of one number but the last.

    Returns:
        ``init(keys) -> params``, stacked over seeds, and ``apply(params, x) -> outputs``, of one seed.
    """
    settings = FullyConnected(len(layers), layers[0])
    network = make_network(MLP, (n_inputs,), layers[-1], settings)
    state = jax.tree.map(lambda leaf: leaf[0], network.init(jax.random.key(0)[None])[1])
    assert not jax.tree.leaves(state)
    return lambda keys: network.init(keys)[0], lambda params, x: network.answer(params, state, x)
