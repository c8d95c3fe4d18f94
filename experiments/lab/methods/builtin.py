"""What a method's name stands for: an optimizer, and what it remembers of earlier tasks.

Trees are stacked over seeds that train together, and none of them may know of another. What a method does
element by element, and says so, is done to the stacked trees as they are: that is fastest, and its counters
stay single numbers. All else is mapped over the seeds.

Sources: online EWC, Schwarz et al. (2018) after Kirkpatrick et al. (2017); SI, Zenke, Poole & Ganguli (2017);
LwF, Li & Hoiem (2017); replay of stored samples, Rolnick et al. (2019), weighted as van de Ven et al.
(2020) do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cs_optax import complex_synapse, get_beakers, published
from experiments.lab.options.settings import Settings
from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples
from experiments.lab.tasks.streams import joint_stream, replay_stream, training_stream

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
        weights: ``(params, memory, opt_state) -> params``, those to evaluate; of trees stacked over seeds.
        elementwise: whether ``start``, ``pull``, ``remember`` and ``consolidate`` treat every parameter by
            itself, and so may be given trees stacked over seeds; else `make_method` maps them over the seeds.
    """

    optimizer: optax.GradientTransformation
    stream: Callable[[Settings, Problem, int], Samples] = training_stream
    start: Callable[[Tree], Tree] = lambda params: ()
    pull: Callable[[Tree, Tree], Tree] | None = None
    remember: Callable[[Tree, Tree, Tree, Tree], Tree] | None = None
    consolidate: Callable[[Tree, Tree, Tree | None], Tree] | None = None
    needs_fisher: bool = False
    distils: bool = False
    weights: Callable[[Tree, Tree, Any], Tree] = lambda params, memory, opt_state: params
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


def _chain(*transformations: optax.GradientTransformation) -> Elementwise:
    """One after the other, of which only those are mapped over the seeds that have to be."""
    return elementwise(optax.chain(*map(over_seeds, transformations)))


def make_method(settings: Settings, name: str) -> Method:
    """The method of a name, with the strengths that the settings give it, for trees stacked over seeds.

    Raises:
        KeyError: if there is no such method.
    """
    method = _METHODS[name](settings)
    functions = {one: getattr(method, one) for one in ("start", "pull", "remember", "consolidate")}
    mapped = {one: jax.vmap(function) for one, function in functions.items() if function is not None}
    return replace(method, optimizer=over_seeds(method.optimizer), **({} if method.elementwise else mapped))


def as_trained(settings: Settings, name: str) -> Settings:
    """The settings with the time step that the method really has.

    >>> as_trained(Settings(), "cs-published").time_step
    'learning-rate'
    """
    return replace(settings, time_step="learning-rate") if name == "cs-published" else settings


def _base(settings: Settings) -> optax.GradientTransformation:
    """``optax.adam`` or ``optax.sgd``, with ``--decay`` added to the gradient (L2), as published."""
    plain = _plain(settings)
    decay = elementwise(optax.add_decayed_weights(settings.decay))
    return _chain(decay, plain) if settings.decay else plain


def _plain(settings: Settings) -> optax.GradientTransformation:
    return elementwise(optax.adam(settings.lr) if settings.optimizer == "adam" else optax.sgd(settings.lr))


def _standard(settings: Settings) -> Method:
    return Method(_base(settings), elementwise=True)


def _cs(settings: Settings) -> Method:
    """The optimizer followed by complex synapses; or the published one, if the time step says so."""
    if settings.time_step == "learning-rate":
        return _cs_published(settings)
    synapse = elementwise(complex_synapse(settings.beakers, settings.alpha, settings.beta))
    return Method(_chain(_plain(settings), synapse), elementwise=True)


def _cs_readout(settings: Settings) -> Method:
    """Trained as `cs`, evaluated with the weights that one of its beakers holds."""

    def weights(params: Tree, memory: Tree, opt_state: Any) -> Tree:
        return (params, *get_beakers(opt_state))[settings.beaker_to_read - 1]

    return replace(_cs(settings), weights=weights)


def _cs_published(settings: Settings) -> Method:
    optimizer = published.adam if settings.optimizer == "adam" else published.sgd
    n_beakers, alpha, beta = settings.beakers, settings.alpha, settings.beta
    with warnings.catch_warnings():
        # The command's first lines say how many iterations these timescales are.
        warnings.filterwarnings("ignore", "the shortest timescale, .* hardly anything will be consolidated")
        published_optimizer = optimizer(settings.lr, n_beakers=n_beakers, alpha=alpha, beta=beta)
    return Method(elementwise(published_optimizer), elementwise=True)


def _joint(settings: Settings) -> Method:
    """All tasks mixed: what could be reached if nothing had to be remembered."""
    return Method(_base(settings), stream=joint_stream, elementwise=True)


def _replay(settings: Settings) -> Method:
    """Beside each batch one of stored samples of earlier tasks, with the loss (1/k) new + (1 − 1/k) old."""
    return Method(_base(settings), stream=replay_stream, elementwise=True)


def _l2(settings: Settings) -> Method:
    r"""Penalty :math:`\tfrac{λ}{2} |θ - θ_0|^2`, with the initial parameters."""

    def pull(params: Tree, initial: Tree) -> Tree:
        return jax.tree.map(lambda p, p0: settings.l2_strength * (p - p0), params, initial)

    return Method(_base(settings), start=_copy, pull=pull, elementwise=True)


class Average(NamedTuple):
    """The mean of the parameters, and the number of iterations that it is of."""

    params: Tree
    iterations: jax.Array


def _average(settings: Settings) -> Method:
    """Plain training, evaluated with a moving average of the parameters.

    The plain mean at first, exponential from ``average_time`` on: the initial parameters do not linger.
    """

    def start(params: Tree) -> Average:
        return Average(_copy(params), jnp.zeros([], jnp.int32))

    def remember(average: Average, params: Tree, new: Tree, grads: Tree) -> Average:
        iterations = average.iterations + 1
        span = jnp.minimum(iterations, settings.average_time)
        return Average(jax.tree.map(lambda a, p: a + (p - a) / span, average.params, new), iterations)

    return Method(
        _base(settings),
        start=start,
        remember=remember,
        weights=lambda params, average, opt_state: average.params,
        elementwise=True,
    )


class Anchor(NamedTuple):
    """Parameters to stay near, and how much each matters."""

    params: Tree
    importance: Tree


def _towards(anchor: Anchor, params: Tree, strength: float) -> Tree:
    return jax.tree.map(
        lambda p, p0, importance: strength * importance * (p - p0), params, anchor.params, anchor.importance
    )


def _ewc(settings: Settings) -> Method:
    r"""Online EWC: penalty :math:`\tfrac{λ}{2} \sum_i F_i (θ_i - θ^*_i)^2`.

    After a task F ← γ F + F_task, θ* ← θ.
    """

    def start(params: Tree) -> Anchor:
        return Anchor(_copy(params), jax.tree.map(jnp.zeros_like, params))

    def consolidate(anchor: Anchor, params: Tree, fisher: Tree | None) -> Anchor:
        kept = jax.tree.map(lambda f, new: settings.ewc_decay * f + new, anchor.importance, fisher)
        return Anchor(_copy(params), kept)

    def pull(params: Tree, anchor: Anchor) -> Tree:
        return _towards(anchor, params, settings.ewc_strength)

    return Method(
        _base(settings), start=start, pull=pull, consolidate=consolidate, needs_fisher=True, elementwise=True
    )


class SiMemory(NamedTuple):
    """The anchor of SI, and what each parameter has done for the loss since then: −∑ g·Δθ."""

    anchor: Anchor
    gained: Tree


def _si(settings: Settings) -> Method:
    r"""Penalty :math:`c \sum_i Ω_i (θ_i - θ^*_i)^2`; after each task Ω ← Ω + ω/((θ - θ^*)^2 + ξ), θ* ← θ."""

    def start(params: Tree) -> SiMemory:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return SiMemory(Anchor(_copy(params), zeros), _copy(zeros))

    def remember(memory: SiMemory, params: Tree, new: Tree, grads: Tree) -> SiMemory:
        gained = jax.tree.map(lambda w, g, p, n: w - g * (n - p), memory.gained, grads, params, new)
        return memory._replace(gained=gained)

    def consolidate(memory: SiMemory, params: Tree, fisher: Tree | None) -> SiMemory:
        def importance(omega: Any, gained: Any, p: Any, p0: Any) -> Any:
            return jnp.maximum(omega + gained / ((p - p0) ** 2 + settings.si_damping), 0)

        before, was = memory.anchor.params, memory.anchor.importance
        kept = jax.tree.map(importance, was, memory.gained, params, before)
        return SiMemory(Anchor(_copy(params), kept), jax.tree.map(jnp.zeros_like, memory.gained))

    def pull(params: Tree, memory: SiMemory) -> Tree:
        return _towards(memory.anchor, params, 2 * settings.si_strength)

    return Method(
        _base(settings), start=start, pull=pull, remember=remember, consolidate=consolidate, elementwise=True
    )


def _lwf(settings: Settings) -> Method:
    """Loss (1/k) new + (1 − 1/k) distillation of the outputs that the parameters gave before this task."""

    def consolidate(old: Tree, params: Tree, fisher: Tree | None) -> Tree:
        return _copy(params)

    return Method(_base(settings), start=_copy, consolidate=consolidate, distils=True, elementwise=True)


def _copy(tree: Tree) -> Tree:
    """Its own arrays: the loop donates all that it carries."""
    return jax.tree.map(jnp.copy, tree)


_METHODS: dict[str, Callable[[Settings], Method]] = {
    "standard": _standard,
    "cs": _cs,
    "cs-readout": _cs_readout,
    "cs-published": _cs_published,
    "joint": _joint,
    "ewc": _ewc,
    "si": _si,
    "lwf": _lwf,
    "er": _replay,
    "l2": _l2,
    "average": _average,
}
