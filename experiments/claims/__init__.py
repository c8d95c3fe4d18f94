"""The published claims about the complex synapse, each measured by a module of its own.

`CLAIMS` names them all. Each module has a function ``measure(seed)`` that gives an `Outcome`: rows of the
table claim · target · measured · pass, every number behind them, and figures.
"""

import importlib

from experiments.claims.outcome import Outcome

# In words what each measures; the name is that of its module, with hyphens.
CLAIMS = {
    "power-law": "a unit fades as a power law, in the optimizer itself; other exponents, ripple, validity",
    "lifetime": "variance grows with the logarithm of time, and memories live for 1.05 N/ln(N)",
    "comparison": "bistable, multistate and cascade synapses, exponentials, a bound for two weights",
    "monte-carlo": "populations run through the optimizer: SNR, few levels, different chains, sparsity",
    "familiarity": "a Hopfield network recognises patterns for almost as long as it has synapses",
    "q-learning": "Q(λ) with a goal that moves between corners: how soon a good policy is found again",
    "drift": "following targets that drift at several timescales, beside the Kalman filter",
    "integrators": "errors of both methods against the exact solution, and links moved a step",
    "precision": "rounding: Euler's slow beakers stall in float32, those of the exchange method follow",
}


def measure(name: str, seed: int) -> Outcome:
    """Measure a claim.

    Args:
        name: one of `CLAIMS`.
        seed: of everything random in it.
    """
    module = importlib.import_module(f"experiments.claims.{name.replace('-', '_')}")
    outcome: Outcome = module.measure(seed)
    return outcome
