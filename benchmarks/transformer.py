"""A training step of a decoder-only transformer, for what the optimizer's share of it is."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Config(NamedTuple):
    """Sizes; the defaults make 1.1e8 parameters in 100 leaves."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 32_000
    length: int = 512
    batch: int = 16


SMALL = Config(layers=1, width=16, heads=2, vocabulary=32, length=8, batch=2)


def new_parameters(config: Config, key: jax.Array) -> dict[str, Any]:
    """Float32, each layer's arrays by themselves."""
    width = config.width
    shapes: dict[str, Any] = {
        "tokens": (config.vocabulary, width),
        "places": (config.length, width),
        "norm": (width,),
    }
    for n in range(config.layers):
        shapes[f"layer{n}"] = {
            "queries_keys_values": (width, 3 * width),
            "out": (width, width),
            "up": (width, 4 * width),
            "up_bias": (4 * width,),
            "down": (4 * width, width),
            "down_bias": (width,),
            "norm_attention": (width,),
            "norm_layer": (width,),
        }
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda node: isinstance(node, tuple))
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [
            0.02 * jax.random.normal(one, shape) + (len(shape) == 1)
            for one, shape in zip(keys, leaves, strict=True)
        ]
    )


def _normed(x: jax.Array, scale: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    return (scale * wide * jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + 1e-6)).astype(x.dtype)


def loss(config: Config, params: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Cross entropy of the next token; products in bfloat16."""
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16) if p.ndim > 1 else p, params)
    x = half["tokens"][tokens] + half["places"]
    for n in range(config.layers):
        layer = half[f"layer{n}"]
        mixed = _normed(x, layer["norm_attention"]) @ layer["queries_keys_values"]
        heads = (*mixed.shape[:2], config.heads, config.width // config.heads)
        queries, keys, values = (part.reshape(heads) for part in jnp.split(mixed, 3, axis=-1))
        attended = jax.nn.dot_product_attention(queries, keys, values, is_causal=True)
        x += attended.reshape(x.shape) @ layer["out"]
        hidden = jax.nn.gelu(_normed(x, layer["norm_layer"]) @ layer["up"] + layer["up_bias"].astype(x.dtype))
        x += hidden @ layer["down"] + layer["down_bias"].astype(x.dtype)
    logits = (_normed(x, half["norm"]) @ half["tokens"].T).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:]).mean()


class Training:
    """Steps on one batch, each call going on from the one before.

    Args:
        config: of the network.
        tx: the optimizer.
        n_steps: in a call, each a jitted call of its own that donates what it replaces.
    """

    def __init__(self, config: Config, tx: optax.GradientTransformation, n_steps: int) -> None:
        params = new_parameters(config, jax.random.key(0))
        leaves = jax.tree.leaves(params)
        self.size = len(leaves), sum(leaf.size for leaf in leaves)
        self._tokens = jax.random.randint(
            jax.random.key(1), (config.batch, config.length), 0, config.vocabulary
        )
        self._carry = params, tx.init(params)
        self._n_steps = n_steps

        @partial(jax.jit, donate_argnums=(0, 1))
        def step(params: Any, state: Any, tokens: jax.Array) -> Any:
            gradients = jax.grad(partial(loss, config))(params, tokens)
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        self._step = step

    def __call__(self) -> Any:
        """Train on."""
        for _ in range(self._n_steps):
            self._carry = self._step(*self._carry, self._tokens)
        return self._carry
