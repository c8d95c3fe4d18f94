"""What the beakers of a synapse hold while it learns; measured only when asked for.

The beakers are those of Benna & Fusi (2016); :func:`cs_optax.diagnose` and :func:`cs_optax.readout` do the
like for any training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cs_optax import BeakerChain, get_beakers
from experiments.lab.settings import Settings


@dataclass(frozen=True, eq=False)
class Probes:
    """What was measured of one run, at each of its L evaluations, of its K beakers and the layers.

    Attributes:
        layers: names of the layers, from the input to the output.
        distance: [L, K, layers], root mean square of ``u_k − u_1`` over a layer's weights and biases.
        flow: [L, K, layers], root mean square of ``g_k (u_k − u_{k+1})``, what passes link k in an iteration;
            the last one is the leak.
        accuracy: [L, K, tasks], accuracy on the evaluation subset of the network with the weights ``u_k``.
    """

    layers: list[str]
    distance: np.ndarray
    flow: np.ndarray
    accuracy: np.ndarray

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Probes:
        """Rebuild them from a file.

        Raises:
            ValueError: if they do not fit together.
        """
        distance, flow, accuracy = (
            np.array(record[name], float) for name in ("distance", "flow", "accuracy")
        )
        layers = [str(layer) for layer in record["layers"]]
        if distance.shape != flow.shape or distance.ndim != 3 or distance.shape[2] != len(layers):
            raise ValueError("the arrays of these probes do not fit together")
        if accuracy.ndim != 3 or accuracy.shape[:2] != distance.shape[:2]:
            raise ValueError("the arrays of these probes do not fit together")
        return cls(layers, distance, flow, accuracy)


def layer_names(params: Any) -> list[str]:
    """Names of the layers, as a path in the tree of parameters; each has weights and biases below it."""
    return list(_by_layer(params))


def beakers_of(params: Any, opt_state: Any) -> tuple[Any, ...]:
    """``u_1 … u_K``, each a tree like the parameters."""
    return (params, *get_beakers(opt_state))


def distances_and_flows(settings: Settings, params: Any, opt_state: Any) -> tuple[jax.Array, jax.Array]:
    """`Probes.distance` and `Probes.flow` of stacked parameters, each ``[K, layers, seeds]``."""
    beakers = beakers_of(params, opt_state)
    chain = BeakerChain.from_timescales(len(beakers), settings.alpha, settings.beta)
    iteration = settings.lr if settings.time_step == "learning-rate" else 1.0
    following = (*beakers[1:], jax.tree.map(jnp.zeros_like, params))
    rates = [conductance * iteration for conductance in chain.conductances]
    distance = [_root_mean_square(u, params) for u in beakers]
    flow = [rate * _root_mean_square(u, v) for rate, u, v in zip(rates, beakers, following, strict=True)]
    return jnp.stack(distance), jnp.stack(flow)


def _root_mean_square(u: Any, v: Any) -> jax.Array:
    """Of their difference, ``[layers, seeds]``."""
    layers = _by_layer(jax.tree.map(lambda a, b: (a - b).reshape(a.shape[0], -1), u, v))
    return jnp.stack(
        [jnp.sqrt(jnp.square(jnp.concatenate(of, axis=1)).mean(axis=1)) for of in layers.values()]
    )


def _by_layer(tree: Any) -> dict[str, list[jax.Array]]:
    """The leaves of each layer: those whose paths are the same but for the last part."""
    layers: dict[str, list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        names = [str(getattr(part, "key", getattr(part, "name", part))) for part in path]
        names = [name for name in names if name != "value"]
        layers.setdefault(".".join(names[:-1]), []).append(leaf)
    return layers
