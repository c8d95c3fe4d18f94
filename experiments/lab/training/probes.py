"""What the beakers of a synapse hold while it learns; measured only when asked for.

The beakers are those of Benna & Fusi (2016); :func:`cs_optax.diagnose` and :func:`cs_optax.readout` do the
like for any training.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cs_optax import BeakerChain, get_beakers
from experiments.lab.options.settings import Settings


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
    """The leaves of each layer: those whose paths are the same but for the last part.

    A parameter of the whole network's own is a layer by itself.
    """
    layers: dict[str, list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        inside = [
            part for part in path if not isinstance(part, jax.tree_util.GetAttrKey)
        ]  # a variable's value
        names = [str(getattr(part, "key", getattr(part, "idx", part))) for part in inside]
        layers.setdefault(".".join(names[:-1] or names), []).append(leaf)
    return layers
