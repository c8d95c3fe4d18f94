"""Synaptic intelligence: Zenke, Poole & Ganguli (2017)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.lab.methods.anchors import Anchor, towards
from experiments.lab.methods.interface import Method, Tree, chosen_optimizer
from experiments.lab.options.settings import Settings


class Course(NamedTuple):
    """The anchor of SI, and what each parameter has done for the loss since then: −∑ g·Δθ."""

    anchor: Anchor
    gained: Tree


def make(settings: Settings) -> Method:
    r"""Penalty :math:`c \sum_i Ω_i (θ_i - θ^*_i)^2`; after each task Ω ← Ω + ω/((θ - θ^*)^2 + ξ), θ* ← θ."""

    def start(params: Tree) -> Course:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Course(Anchor(params, zeros), zeros)

    def remember(course: Course, params: Tree, new: Tree, grads: Tree) -> Course:
        gained = jax.tree.map(lambda w, g, p, n: w - g * (n - p), course.gained, grads, params, new)
        return course._replace(gained=gained)

    def consolidate(course: Course, params: Tree, fisher: Tree | None) -> Course:
        def importance(omega: Any, gained: Any, p: Any, p0: Any) -> Any:
            return jnp.maximum(omega + gained / ((p - p0) ** 2 + settings.si_damping), 0)

        before, was = course.anchor.params, course.anchor.importance
        kept = jax.tree.map(importance, was, course.gained, params, before)
        return Course(Anchor(params, kept), jax.tree.map(jnp.zeros_like, course.gained))

    def pull(params: Tree, course: Course) -> Tree:
        return towards(course.anchor, params, 2 * settings.si_strength)

    return Method(
        chosen_optimizer(settings),
        start=start,
        pull=pull,
        remember=remember,
        consolidate=consolidate,
        elementwise=True,
    )
