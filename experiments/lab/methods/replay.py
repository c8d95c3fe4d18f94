"""Experience replay: stored samples, Rolnick et al. (2019), weighted as van de Ven et al. (2020) do."""

from experiments.lab.methods.interface import Method, chosen_optimizer
from experiments.lab.options.settings import Settings
from experiments.lab.tasks.streams import replay_stream


def make(settings: Settings) -> Method:
    """Beside each batch one of stored samples of earlier tasks, with the loss (1/k) new + (1 − 1/k) old."""
    return Method(chosen_optimizer(settings), stream=replay_stream, elementwise=True)
