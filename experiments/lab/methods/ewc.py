"""Online EWC: Schwarz et al. (2018) after Kirkpatrick et al. (2017)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from experiments.lab.methods.anchors import Anchor, towards
from experiments.lab.methods.interface import Method, Tree, chosen_optimizer
from experiments.lab.options.settings import Settings


def make(settings: Settings) -> Method:
    r"""Online EWC: penalty :math:`\tfrac{λ}{2} \sum_i F_i (θ_i - θ^*_i)^2`.

    After a task F ← γ F + F_task, θ* ← θ.
    """

    def start(params: Tree) -> Anchor:
        return Anchor(params, jax.tree.map(jnp.zeros_like, params))

    def consolidate(anchor: Anchor, params: Tree, fisher: Tree | None) -> Anchor:
        kept = jax.tree.map(lambda f, new: settings.ewc_decay * f + new, anchor.importance, fisher)
        return Anchor(params, kept)

    def pull(params: Tree, anchor: Anchor) -> Tree:
        return towards(anchor, params, settings.ewc_strength)

    return Method(
        chosen_optimizer(settings),
        start=start,
        pull=pull,
        consolidate=consolidate,
        needs_fisher=True,
        elementwise=True,
    )
