"""L2 to the initial weights."""

import jax

from experiments.lab.methods.interface import Method, Tree, chosen_optimizer
from experiments.lab.options.settings import Settings


def make(settings: Settings) -> Method:
    r"""Penalty :math:`\tfrac{λ}{2} |θ - θ_0|^2`, with the initial parameters."""

    def pull(params: Tree, initial: Tree) -> Tree:
        return jax.tree.map(lambda p, p0: settings.l2_strength * (p - p0), params, initial)

    return Method(chosen_optimizer(settings), start=lambda params: params, pull=pull, elementwise=True)
