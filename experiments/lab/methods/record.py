"""Plain training with beakers that listen: averages of past weights, chosen after it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from cs_optax import BeakerChain, complex_synapse, readout
from experiments.lab.methods.averages import weights_of
from experiments.lab.methods.interface import Method, Tree, chain, chosen_optimizer, elementwise
from experiments.lab.options.profile import USUAL
from experiments.lab.options.settings import Settings

# One chain for streams of any length: neighbouring timescales differ by a factor of 4, from 4 iterations to
# four million. From 500 to 200 000 iterations every smooth average that is longer than a fiftieth of them has
# a misfit of at most 0.15 %; of the means of a last part, with their edge, it is 3 to 6 %.
TIMES = (11, 4.0, 4.0**11)
# As docs/averages.md recommends.
LISTENING: dict[str, Any] = {
    "backflow": "never",
    "leak": "none",
    "resolution": 1 / 32,
    "visible_resolution": 1 / 16,
}


def make(settings: Settings) -> Method:
    """Trained as `standard`, bit for bit, and evaluated with an average of past weights."""
    listening = complex_synapse(chain=BeakerChain.from_timescales(*TIMES), **LISTENING)

    def reading(iteration: int) -> np.ndarray:
        return weights_of(TIMES, settings.profile or USUAL, iteration, LISTENING)

    def weights(params: Tree, memory: Tree, opt_state: Any, mixture: jax.Array) -> Tree:
        return readout(opt_state, params, mixture)

    return Method(
        chain(chosen_optimizer(settings), elementwise(listening)),
        reading=reading,
        weights=weights,
        elementwise=True,
    )
