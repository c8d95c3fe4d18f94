"""A model as functions of what training changes: its parameters, and the rest of its state.

Parameters (`nnx.Param`) are what the optimizer moves. The rest is what a module changes itself when it is
called in training mode: the statistics of batch normalisation, the counters of random streams. Both are
trees of plain arrays, so that they can be stacked over seeds, divided among devices and kept in files.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

Make = Callable[..., nnx.Module]

ARGUMENTS = ("input_shape", "n_outputs", "rngs", "settings")  # what a model is made of


class Network(NamedTuple):
    """A model as functions.

    Attributes:
        init: ``keys -> (params, state)``, one random key for each seed, and all stacked over them.
        learn: ``(params, state, x) -> (outputs, state)``, in training mode; of one seed.
        answer: ``(params, state, x) -> outputs``, in evaluation mode; of one seed.
    """

    init: Callable[[jax.Array], tuple[Any, Any]]
    learn: Callable[[Any, Any, jax.Array], tuple[jax.Array, Any]]
    answer: Callable[[Any, Any, jax.Array], jax.Array]


@functools.cache
def make_network(
    make: Make, input_shape: tuple[int, ...], n_outputs: int, settings: Hashable = None
) -> Network:
    """The functions of a model.

    Equal models share one compiled ``init``: XLA is slow to compile random numbers.

    Args:
        make: a function of some of `ARGUMENTS`, by name, that returns a module; or a class of modules.
        input_shape: the shape of a sample.
        n_outputs: the number of outputs.
        settings: the model's own settings.
    """
    given = dict(zip(ARGUMENTS, (input_shape, n_outputs, None, settings), strict=True))
    taken = parameters_of(make)

    def module(key: jax.Array | int) -> nnx.Module:
        of_seed = {**given, "rngs": nnx.Rngs(key)}
        return make(**{name: value for name, value in of_seed.items() if name in taken})

    @jax.jit
    @jax.vmap
    def init(key: jax.Array) -> tuple[Any, Any]:
        params, state = _parts(module(key))
        return jax.tree.map(_strong, params), _as_arrays(state)

    kinds: list[Any] = []  # of each array of the state: of which kind of random keys it is, or None

    def watched() -> nnx.Module:
        made = module(0)
        kinds[:] = [_kind(leaf) for leaf in jax.tree.leaves(_parts(made)[1])]
        return made

    abstract = nnx.eval_shape(watched)
    abstract.train()
    learning = nnx.graphdef(abstract)
    abstract.eval()
    answering = nnx.graphdef(abstract)

    def as_keys(state: Any) -> Any:
        leaves, structure = jax.tree.flatten(state)
        keys = [
            leaf if kind is None else jax.random.wrap_key_data(leaf, impl=kind)
            for leaf, kind in zip(leaves, kinds, strict=True)
        ]
        return jax.tree.unflatten(structure, keys)

    def learn(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        one = nnx.merge(learning, params, as_keys(state))
        outputs = one(x)
        _, after = _parts(one)
        # The loop hands on arrays of one type, whatever a module computes in.
        return outputs, jax.tree.map(lambda new, old: new.astype(old.dtype), _as_arrays(after), state)

    def answer(params: Any, state: Any, x: jax.Array) -> jax.Array:
        return nnx.merge(answering, params, as_keys(state))(x)

    return Network(init, learn, answer)


def parameters_of(make: Make) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function; of a class, those of its ``__init__``: a module's class hides them."""
    if not inspect.isclass(make):
        return inspect.signature(make).parameters
    of_class = inspect.signature(make.__init__).parameters  # type: ignore[misc]
    return dict(list(of_class.items())[1:])


def _parts(module: nnx.Module) -> tuple[Any, Any]:
    """The parameters and the rest of the state, but for what a single call leaves behind."""
    _, params, _, state = nnx.split(module, nnx.Param, nnx.Intermediate, ...)
    return params, state


def _as_arrays(state: Any) -> Any:
    """With random keys as the numbers that they consist of, which NumPy and files can hold."""
    return jax.tree.map(lambda leaf: _strong(leaf) if _kind(leaf) is None else jax.random.key_data(leaf), state)


def _strong(leaf: Any) -> jax.Array:
    """An array whose type does not depend on what it is combined with."""
    array = jnp.asarray(leaf)
    return jnp.asarray(array, array.dtype)


def _kind(leaf: Any) -> Any:
    is_key = jnp.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if is_key else None
