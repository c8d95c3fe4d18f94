"""The complex synapse of Benna & Fusi (2016) as an Optax gradient transformation."""

from cs_optax import profiles, published
from cs_optax._averaging import Averaging
from cs_optax._diagnostics import Diagnostics, DriftReport, diagnose, drift_report
from cs_optax._evolution import relax, resize_beakers
from cs_optax._state import get_beakers, offload_beakers, readout, reset_beakers, settle_beakers
from cs_optax._transform import ComplexSynapseState, complex_synapse
from cs_optax.chain import BeakerChain, Timescales, suggest_timescales

__version__ = "0.1.0"

__all__ = [
    "Averaging",
    "BeakerChain",
    "ComplexSynapseState",
    "Diagnostics",
    "DriftReport",
    "Timescales",
    "complex_synapse",
    "diagnose",
    "drift_report",
    "get_beakers",
    "offload_beakers",
    "profiles",
    "published",
    "readout",
    "relax",
    "reset_beakers",
    "resize_beakers",
    "settle_beakers",
    "suggest_timescales",
]
