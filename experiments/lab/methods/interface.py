"""A method: an optimizer, and what it remembers of earlier tasks.

Trees are stacked over seeds that train together, and none of them may know of another. What a method does
element by element, and says so, is done to the stacked trees as they are: that is fastest, and its counters
stay single numbers. All else is mapped over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.lab.options.settings import Settings
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples
from experiments.lab.tasks.streams import training_stream

Tree = Any


@dataclass(frozen=True)
class Method:
    """A way of learning a stream of tasks.

    Attributes:
        optimizer: what turns gradients into updates; mapped over the seeds unless it is `Elementwise`.
        stream: ``(settings, problem, seed) -> samples``, the training samples.
        start: ``params -> memory``, what it remembers at first.
        pull: ``(params, memory) -> tree``, added to the gradient: that of a penalty. None without one.
        remember: ``(memory, params, new_params, grads) -> memory``, in every iteration; the gradients are
            those of the loss without the penalty. None where nothing changes.
        consolidate: ``(memory, params, fisher) -> memory``, at the end of each task but the last. ``fisher``
            is the diagonal of the Fisher information on the samples of that task, None unless
            ``needs_fisher``. None where there is nothing to do.
        needs_fisher: whether it wants that.
        distils: whether the memory is a tree of old parameters, whose outputs the new ones are to keep.
        weights: ``(params, memory, opt_state) -> params``, those to evaluate; with a ``reading`` also of what
            it gave, as arrays of JAX.
        reading: ``iteration -> arrays``, what ``weights`` needs beside the state after so many iterations, on
            the host: a tree of numbers or NumPy arrays of the same shapes at all iterations. It alone may
            depend on the settings that the declaration says it is ``evaluated_by``. None where nothing does.
        elementwise: whether the functions treat every parameter by itself, and so may be given trees stacked
            over seeds; else `make_method` maps them over the seeds.
    """

    optimizer: optax.GradientTransformation
    stream: Callable[[Settings, Problem, int], Samples] = training_stream
    start: Callable[[Tree], Tree] = lambda params: ()
    pull: Callable[[Tree, Tree], Tree] | None = None
    remember: Callable[[Tree, Tree, Tree, Tree], Tree] | None = None
    consolidate: Callable[[Tree, Tree, Tree | None], Tree] | None = None
    needs_fisher: bool = False
    distils: bool = False
    weights: Callable[..., Tree] = lambda params, memory, opt_state: params
    reading: Callable[[int], Tree] | None = None
    elementwise: bool = False


class Elementwise(optax.GradientTransformationExtraArgs):
    """A transformation that does to trees stacked over seeds what it would do to each seed's alone."""


def elementwise(transformation: optax.GradientTransformation) -> Elementwise:
    """Say of a transformation that it treats every parameter by itself.

    ``optax.adam`` does. What is not said to is mapped over the seeds: what takes a norm over all parameters
    (``optax.clip_by_global_norm``) or over a layer's (``optax.lamb``), say, or multiplies matrices.
    """
    return Elementwise(*optax.with_extra_args_support(transformation))


def over_seeds(transformation: optax.GradientTransformation) -> Elementwise:
    """The transformation for trees stacked over seeds: as it is where it is `Elementwise`, else mapped."""
    if isinstance(transformation, Elementwise):
        return transformation
    update = optax.with_extra_args_support(transformation).update
    return Elementwise(jax.vmap(transformation.init), jax.vmap(update))


def chain(*transformations: optax.GradientTransformation) -> Elementwise:
    """One after the other, of which only those are mapped over the seeds that have to be."""
    return elementwise(optax.chain(*map(over_seeds, transformations)))


def chosen_optimizer(settings: Settings, decay: bool = True) -> optax.GradientTransformation:
    """The optimizer that the flags choose: ``optax.adam`` or ``optax.sgd``.

    Args:
        settings: the settings.
        decay: whether to add ``--decay`` to the gradient (L2), as published.
    """
    plain = _plain(settings)
    if not (decay and settings.decay):
        return plain
    return chain(elementwise(optax.add_decayed_weights(settings.decay)), plain)


def _plain(settings: Settings) -> optax.GradientTransformation:
    return elementwise(optax.adam(settings.lr) if settings.optimizer == "adam" else optax.sgd(settings.lr))


def make_method(settings: Settings, name: str) -> Method:
    """The method of a name, with the strengths that the settings give it, for trees stacked over seeds.

    Raises:
        KeyError: if there is no such method.
        SettingsError: one line that names it, if it cannot be made, or is none.
    """
    method = _made(settings.of_method(name), name)
    functions = {one: getattr(method, one) for one in ("start", "pull", "remember", "consolidate", "weights")}
    given = {one: function for one, function in functions.items() if function is not None}
    optimizer = over_seeds(method.optimizer)
    if not method.elementwise:
        given |= {one: jax.vmap(function) for one, function in given.items() if one != "weights"}
        given["weights"] = _weights_over_seeds(method.weights, optimizer)
    for one in ("start", "consolidate"):
        if one in given:
            given[one] = _with_its_own_arrays(given[one])
    return replace(method, optimizer=optimizer, **given)


def _with_its_own_arrays(function: Callable[..., Tree]) -> Callable[..., Tree]:
    """What is remembered shares no array with the parameters: the loop donates all that it carries."""

    def copied(*arguments: Any) -> Tree:
        return jax.tree.map(jnp.copy, function(*arguments))

    return copied


def _made(settings: Settings, name: str) -> Method:
    """What the declared function makes of the settings."""
    declared = settings.methods[name]
    try:
        made = declared(settings)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        numbers = ", ".join(declared.together) or "nothing"
        raise SettingsError(
            f"method {name}: needs a number of Python where it has an array of JAX: what it decides by must "
            f"be computed with NumPy, and left out of together (now {numbers}): {modules.told(error)}"
        ) from error
    except SettingsError as error:
        raise SettingsError(f"method {name}: {error}") from error
    except Exception as error:
        if not declared.defined_in:
            raise
        raise SettingsError(f"method {name}: {modules.told(error)}") from error
    if isinstance(made, optax.GradientTransformation):
        made = Method(made)
    if not (isinstance(made, Method) and isinstance(made.optimizer, optax.GradientTransformation)):
        raise SettingsError(
            f"method {name}: must make an optax.GradientTransformation, or a Method with one as its "
            "optimizer, "
            f"not {type(getattr(made, 'optimizer', made)).__name__}"
        )
    if declared.evaluated_by and made.reading is None:
        named = ", ".join(declared.evaluated_by)
        raise SettingsError(f"method {name}: is evaluated by {named}, so its Method must have a reading")
    return made


def _weights_over_seeds(
    weights: Callable[..., Tree], optimizer: optax.GradientTransformation
) -> Callable[..., Tree]:
    """Mapped over the seeds, as far as the optimizer's state is stacked over them; all read alike."""

    def shapes(params: Tree, more: int) -> Tree:
        sizes = jax.tree.map(lambda p: jax.ShapeDtypeStruct((len(p) + more, *p.shape[1:]), p.dtype), params)
        return jax.eval_shape(optimizer.init, sizes)

    def mapped(params: Tree, memory: Tree, opt_state: Any, *reading: Tree) -> Tree:
        stacked = jax.tree.map(
            lambda one, other: None if one.shape == other.shape else 0, shapes(params, 0), shapes(params, 1)
        )
        in_axes = (0, 0, stacked, *(None for _ in reading))
        return jax.vmap(weights, in_axes=in_axes)(params, memory, opt_state, *reading)

    return mapped
