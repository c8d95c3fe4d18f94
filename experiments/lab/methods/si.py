"""Synaptic intelligence: Zenke, Poole & Ganguli (2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.lab.methods.anchors import Anchor, towards
from experiments.lab.methods.interface import Method, Tree, chosen_optimizer
from experiments.lab.options.settings import Settings


class SiMemory(NamedTuple):
    """The anchor of SI, and what each parameter has done for the loss since then: −∑ g·Δθ."""

    anchor: Anchor
    gained: Tree


def make(settings: Settings) -> Method:
    r"""Penalty :math:`c \sum_i Ω_i (θ_i - θ^*_i)^2`; after each task Ω ← Ω + ω/((θ - θ^*)^2 + ξ), θ* ← θ."""

    def start(params: Tree) -> SiMemory:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return SiMemory(Anchor(params, zeros), zeros)

    def remember(memory: SiMemory, params: Tree, new: Tree, grads: Tree) -> SiMemory:
        gained = jax.tree.map(lambda w, g, p, n: w - g * (n - p), memory.gained, grads, params, new)
        return memory._replace(gained=gained)

    def consolidate(memory: SiMemory, params: Tree, fisher: Tree | None) -> SiMemory:
        def importance(omega: Any, gained: Any, p: Any, p0: Any) -> Any:
            return jnp.maximum(omega + gained / ((p - p0) ** 2 + settings.si_damping), 0)

        before, was = memory.anchor.params, memory.anchor.importance
        kept = jax.tree.map(importance, was, memory.gained, params, before)
        return SiMemory(Anchor(params, kept), jax.tree.map(jnp.zeros_like, memory.gained))

    def pull(params: Tree, memory: SiMemory) -> Tree:
        return towards(memory.anchor, params, 2 * settings.si_strength)

    return Method(
        chosen_optimizer(settings),
        start=start,
        pull=pull,
        remember=remember,
        consolidate=consolidate,
        elementwise=True,
    )
