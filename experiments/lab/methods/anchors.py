"""Parameters to stay near: the memory of methods with a quadratic penalty."""

from __future__ import annotations

from typing import NamedTuple

import jax

from experiments.lab.methods.interface import Tree


class Anchor(NamedTuple):
    """Parameters to stay near, and how much each matters."""

    params: Tree
    importance: Tree


def towards(anchor: Anchor, params: Tree, strength: float) -> Tree:
    """The gradient of a penalty on the distance from the anchor: strength · importance · (θ − θ*)."""
    return jax.tree.map(
        lambda p, p0, importance: strength * importance * (p - p0), params, anchor.params, anchor.importance
    )
