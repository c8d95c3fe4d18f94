"""The complex synapse of Benna & Fusi (2016) as an Optax gradient transformation."""

from cs_optax._optimizers import complex_synapse_adam, complex_synapse_sgd
from cs_optax._state import get_beakers, readout, relax, reset_beakers
from cs_optax._transform import ComplexSynapseState, complex_synapse
from cs_optax.chain import BeakerChain

__version__ = "0.1.0"

__all__ = [
    "BeakerChain",
    "ComplexSynapseState",
    "complex_synapse",
    "complex_synapse_adam",
    "complex_synapse_sgd",
    "get_beakers",
    "readout",
    "relax",
    "reset_beakers",
]
