"""From a model, built in or of the user's own, to a network as functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.lab.models.network import MistakenModelError, Network
from experiments.lab.models.trial import try_on_a_batch
from experiments.lab.options.settings import Settings
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.problems import Problem

Make = Callable[..., nnx.Module]

ARGUMENTS = ("input_shape", "n_outputs", "rngs", "settings")  # what a model is made of


def network_of(settings: Settings, problem: Problem) -> Network:
    """The network that learns these tasks; one of the user's own is tried on the shapes of a batch.

    Raises:
        SettingsError: one line that names the model, and what is wrong with it.
    """
    model, shape, n_outputs = settings.model, problem.input_shape, problem.n_outputs
    try:
        network = make_network(model.function, shape, n_outputs, model.settings_in(settings))
        if model.defined_in:
            try_on_a_batch(network, (settings.batch, *shape), n_outputs)
            network = network._replace(mapped_twice=False)
    except MistakenModelError as error:
        raise SettingsError(f"model {model.name}: {error}") from error
    except Exception as error:
        if not model.defined_in:
            raise
        told = modules.told(error)
        raise SettingsError(f"model {model.name}: fails on samples of shape {shape}: {told}") from error
    return network


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

    Raises:
        MistakenModelError: if it takes something else, or makes no module.
        Exception: whatever it raises itself.
    """
    given = dict(zip(ARGUMENTS, (input_shape, n_outputs, None, settings), strict=True))
    taken = _arguments_taken(make, settings)

    def module(key: jax.Array | int) -> nnx.Module:
        of_seed = {**given, "rngs": nnx.Rngs(key)}
        made = make(**{name: of_seed[name] for name in taken})
        if not isinstance(made, nnx.Module):
            raise MistakenModelError(f"must make a flax.nnx.Module, not {type(made).__name__}")
        return made

    return _as_functions(module)


def _as_functions(module: Callable[[jax.Array | int], nnx.Module]) -> Network:
    """The functions of what makes a module out of a random key."""

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

    learning, answering = _graphs(nnx.eval_shape(watched))

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
        after = _as_arrays(_parts(one)[1])
        before: Any = jax.tree.structure(state)
        if jax.tree.structure(after) != before:
            raise MistakenModelError("has other variables after a batch than before it")
        # The loop hands on arrays of one type, whatever a module computes in.
        return outputs, jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)

    def answer(params: Any, state: Any, x: jax.Array) -> jax.Array:
        outputs: jax.Array = nnx.merge(answering, params, as_keys(state))(x)
        return outputs

    return Network(init, learn, answer)


def _arguments_taken(make: Make, settings: Hashable) -> list[str]:
    """The names of those `ARGUMENTS` that a function takes, which must be all that it needs."""
    parameters = _parameters(make)
    kinds = {one.kind for one in parameters.values()}
    by_name = {
        name for name, one in parameters.items() if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    }
    needed = {
        name
        for name, one in parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    if not needed <= by_name & set(ARGUMENTS):
        raise MistakenModelError(
            f"must take {', '.join(ARGUMENTS)}, by these names, or some of them, not {', '.join(parameters)}"
        )
    if settings is None and "settings" in needed:
        raise MistakenModelError("takes settings, but declares none: @model(settings=…)")
    known = set(ARGUMENTS) if inspect.Parameter.VAR_KEYWORD in kinds else by_name
    return [name for name in ARGUMENTS if name in known and (name != "settings" or settings is not None)]


def _parameters(make: Make) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function; of a class, those of its ``__init__``: a module's class hides them."""
    if not inspect.isclass(make):
        return inspect.signature(make).parameters
    of_class = inspect.signature(make.__init__).parameters
    return dict(list(of_class.items())[1:])


def _graphs(module: nnx.Module) -> tuple[Any, Any]:
    """What a module is but for its arrays, in training and in evaluation mode."""
    module.train()
    learning = nnx.graphdef(module)
    module.eval()
    return learning, nnx.graphdef(module)


def _parts(module: nnx.Module) -> tuple[Any, Any]:
    """The parameters and the rest of the state, but for what a single call leaves behind."""
    parts: Any = nnx.split(module, nnx.Param, nnx.Intermediate, ...)
    _, params, _, state = parts
    return params, state


def _as_arrays(state: Any) -> Any:
    """With random keys as the numbers that they consist of, which NumPy and files can hold."""
    return jax.tree.map(
        lambda leaf: _strong(leaf) if _kind(leaf) is None else jax.random.key_data(leaf), state
    )


def _strong(leaf: Any) -> jax.Array:
    """An array whose type does not depend on what it is combined with."""
    array = jnp.asarray(leaf)
    return jnp.asarray(array, array.dtype)


def _kind(leaf: Any) -> Any:
    """Of which kind of random keys it is; None of other arrays."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_impl(leaf) if is_key else None
