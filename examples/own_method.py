"""Two learning rules of one's own, to be compared with the built-in methods: README.md says how."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import optax

from experiments.lab.methods import Method, Range, chosen_optimizer, method


def sign_descent(settings):
    """Steps of one size, in the direction of a momentum (Lion)."""
    return optax.lion(settings.lr / 10)


@dataclass(frozen=True)
class SlowAnchor:
    """How strongly the weights are held, and by what.

    Attributes:
        anchor_strength: Weight of the penalty on the distance to the anchor; 0 is none.
        anchor_time: Time in which the anchor follows the weights, in iterations.
    """

    anchor_strength: float = 0.01
    anchor_time: float = 1000.0


class Memory(NamedTuple):
    """What is remembered of the weights."""

    anchor: optax.Params


@method(
    name="slow-anchor",
    settings=SlowAnchor,
    search={
        "anchor_strength": Range(1e-4, 1, "Strength"),
        "anchor_time": Range(10, 1e4, "Time (iterations)"),
    },
    together=("lr", "anchor_strength", "anchor_time"),
    label="slow anchor",
)
def slow_anchor(settings):
    """The weights are pulled to a slow average of themselves, which needs to know of no task."""

    def start(params):
        return Memory(anchor=params)

    def pull(params, memory):
        return jax.tree.map(lambda p, a: settings.anchor_strength * (p - a), params, memory.anchor)

    def remember(memory, params, new, grads):
        rate = 1 / settings.anchor_time
        return Memory(anchor=jax.tree.map(lambda a, p: a + rate * (p - a), memory.anchor, new))

    return Method(chosen_optimizer(settings), start=start, pull=pull, remember=remember)
