"""What a model is: the network that is built in, and those of the user's own.

A model of one's own is a class of ``flax.nnx.Module``, or a function that makes one, of ``input_shape``,
``n_outputs`` and ``rngs``. With `model` before it, it also says which settings it has and how they
are searched, and takes ``settings``.
"""

from experiments.lab.options.declaration import Range
from experiments.lab.options.model import Model, model

__all__ = ["Model", "Range", "model"]
