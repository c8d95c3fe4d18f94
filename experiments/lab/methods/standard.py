"""The optimizer alone."""

from experiments.lab.methods.interface import Method, chosen_optimizer
from experiments.lab.options.settings import Settings


def make(settings: Settings) -> Method:
    """Nothing is remembered."""
    return Method(chosen_optimizer(settings), elementwise=True)
