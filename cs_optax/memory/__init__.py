"""How long synapses remember: theory, simulation through the optimizer itself, and models for comparison.

One memory is stored per unit of time. It is a pattern that changes every synapse a little. The question is
for how long it can be distinguished from a pattern that was never stored.
"""

from cs_optax.memory._levels import LevelsState, discrete_synapse
from cs_optax.memory._lifetime import Optimum, lifetime, optimal_n_beakers, slope
from cs_optax.memory._models import (
    MarkovSynapse,
    bistable,
    cascade,
    exponential_envelope,
    memory_frontier,
    multistate,
)
from cs_optax.memory._simulation import Recall, hebbian, impulse_response, simulate

__all__ = [
    "LevelsState",
    "MarkovSynapse",
    "Optimum",
    "Recall",
    "bistable",
    "cascade",
    "discrete_synapse",
    "exponential_envelope",
    "hebbian",
    "impulse_response",
    "lifetime",
    "memory_frontier",
    "multistate",
    "optimal_n_beakers",
    "simulate",
    "slope",
]
