"""Two networks of one's own, to train with all methods: convolutions, and a transformer over patches.

    python -m experiments.compare --model examples/own_model.py:CNN --channels 8 --scenario domain
    python -m experiments.run --model examples/own_model.py:Transformer --cs --probes

Both take images whose height and width can be divided by four. README.md says more.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.lab.models import Range, model


@dataclass(frozen=True)
class CNNSettings:
    """Of the network with convolutions.

    Attributes:
        channels: Channels of the first convolution; the second has twice as many.
        dropout: The share of units before the last layer that are left out in training.
    """

    channels: int = 16
    dropout: float = 0.1


@model("cnn", settings=CNNSettings, search={"channels": Range(4, 64), "dropout": Range(0.03, 0.5)})
class CNN(nnx.Module):
    """Two convolutions with batch normalisation, dropout, and a linear layer."""

    def __init__(
        self, input_shape: tuple[int, ...], n_outputs: int, rngs: nnx.Rngs, settings: CNNSettings
    ) -> None:
        height, width, colors = input_shape
        n = settings.channels
        self.first = nnx.Conv(colors, n, (3, 3), rngs=rngs)
        self.first_norm = nnx.BatchNorm(n, momentum=0.9, rngs=rngs)
        self.second = nnx.Conv(n, 2 * n, (3, 3), rngs=rngs)
        self.second_norm = nnx.BatchNorm(2 * n, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(settings.dropout, rngs=rngs)
        self.output = nnx.Linear((height // 4) * (width // 4) * 2 * n, n_outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs ``[batch, n_outputs]`` for images ``[batch, height, width, colors]``."""
        for convolve, normalise in (self.first, self.first_norm), (self.second, self.second_norm):
            x = nnx.relu(normalise(convolve(x)))
            x = nnx.max_pool(x, (2, 2), (2, 2))
        return self.output(self.dropout(x.reshape(len(x), -1)))


@model("transformer")
class Transformer(nnx.Module):
    """Patches of 4 x 4 pixels as tokens, two blocks of attention, and the mean of all tokens."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int, rngs: nnx.Rngs) -> None:
        height, width, colors = input_shape
        width_of_token, n_tokens = 32, (height // 4) * (width // 4)
        self.embed = nnx.Conv(colors, width_of_token, (4, 4), strides=4, rngs=rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(rngs.params(), (n_tokens, width_of_token)))
        self.blocks = nnx.List(Block(width_of_token, rngs) for _ in range(2))
        self.norm = nnx.LayerNorm(width_of_token, rngs=rngs)
        self.output = nnx.Linear(width_of_token, n_outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs ``[batch, n_outputs]`` for images ``[batch, height, width, colors]``."""
        tokens = self.embed(x)
        tokens = tokens.reshape(len(x), -1, tokens.shape[-1]) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.output(jnp.mean(self.norm(tokens), axis=1))


class Block(nnx.Module):
    """Attention, and a layer of hidden units for each token, both beside what passes straight on."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, width, decode=False, rngs=rngs)
        self.hidden_norm = nnx.LayerNorm(width, rngs=rngs)
        self.hidden = nnx.Linear(width, 2 * width, rngs=rngs)
        self.back = nnx.Linear(2 * width, width, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Tokens ``[batch, tokens, width]`` for tokens of that shape."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        return tokens + self.back(nnx.gelu(self.hidden(self.hidden_norm(tokens))))
