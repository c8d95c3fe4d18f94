"""Joint training."""

from experiments.lab.methods.interface import Method, chosen_optimizer
from experiments.lab.options.settings import Settings
from experiments.lab.tasks.streams import joint_stream


def make(settings: Settings) -> Method:
    """All tasks mixed: what could be reached if nothing had to be remembered."""
    return Method(chosen_optimizer(settings), stream=joint_stream, elementwise=True)
