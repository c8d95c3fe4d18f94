"""The choice between two implementations of a computation, made when it is lowered for a platform.

``lax.platform_dependent`` makes the same choice, but traces both implementations on every platform, and does
not handle an error in one of them. Here, a process that never lowers for a GPU does not even import Pallas.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend import core
from jax.interpreters import batching, mlir

from cs_optax import _checks

GPUS = ("cuda", "rocm")

_choice = core.Primitive("synapse_on_gpu")
_choice.multiple_results = True


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2, 3))
def on_gpu(
    kernel: Callable[..., Any],
    trial: Callable[..., Any],
    otherwise: Callable[..., Any],
    everywhere: bool,
    *operands: Any,
) -> Any:
    """``otherwise(*operands)``, computed on GPUs as ``kernel(on_many, *operands)`` if that can be lowered.

    Both must return the same trees of arrays. Derivatives are those of ``otherwise``.

    Args:
        kernel: the implementation for GPUs. Its first argument says whether several devices share the arrays.
        trial: called like ``kernel``; a part of it that cannot be lowered if the whole cannot.
        otherwise: the implementation for all other platforms, and the fallback, with a warning, if ``trial``
            is refused.
        everywhere: whether to use ``kernel`` on all platforms, whatever it raises.
        operands: trees of arrays.
    """
    structure: Any
    results: Any
    flat, structure = jax.tree.flatten(operands)
    traced = jax.jit(lambda *flat: otherwise(*structure.unflatten(flat))).trace(*flat)

    def on_leaves(function: Callable[..., Any], on_many: bool, *flat: jax.Array) -> list[jax.Array]:
        return jax.tree.leaves(function(on_many, *structure.unflatten(flat)))

    results = jax.tree.structure(traced.out_info)
    return results.unflatten(
        _choice.bind(
            *flat,
            otherwise=traced.jaxpr,
            kernel=partial(on_leaves, kernel),
            trial=partial(on_leaves, trial),
            everywhere=everywhere,
            devices=_needs_devices() if everywhere or _has_gpus() else None,
        )
    )


@on_gpu.defjvp
def _(
    kernel: Any, trial: Any, otherwise: Callable[..., Any], everywhere: bool, primals: Any, tangents: Any
) -> Any:
    del kernel, trial, everywhere
    return jax.jvp(otherwise, primals, tangents)


@_choice.def_impl
def _(*flat: Any, otherwise: Any, **others: Any) -> Any:
    del others  # without jax.jit
    return core.jaxpr_as_fun(otherwise)(*flat)


@_choice.def_abstract_eval
def _(*flat: Any, otherwise: Any, **others: Any) -> Any:
    del flat, others
    return otherwise.out_avals


@functools.cache
def _needs_devices() -> Any:
    """A computation that makes JAX provide the devices when it lowers the choice."""
    identity = custom_partitioning(lambda x: x)
    identity.def_partition(None)
    return jax.make_jaxpr(identity)(0.0)


def _batched(
    flat: Any, axes: Any, *, otherwise: Any, kernel: Any, trial: Any, **others: Any
) -> tuple[Any, list[int]]:
    def mapped(function: Callable[..., Any], on_many: bool, *flat: jax.Array) -> list[jax.Array]:
        return jax.vmap(partial(function, on_many), axes)(*flat)

    jaxpr = jax.make_jaxpr(jax.vmap(core.jaxpr_as_fun(otherwise), axes))(*flat)
    both = {"kernel": partial(mapped, kernel), "trial": partial(mapped, trial)}
    results = _choice.bind(*flat, otherwise=jaxpr, **both, **others)
    return results, [0] * len(results)


def _lower(ctx: Any, *flat: Any, otherwise: Any, kernel: Any, everywhere: bool, **others: Any) -> Any:
    del others
    if not everywhere:
        return mlir.lower_fun(core.jaxpr_as_fun(otherwise), multiple_results=True)(ctx, *flat)
    return lower_without_mesh(partial(kernel, _n_devices(ctx) > 1), ctx, *flat)


def lower_without_mesh(function: Callable[..., Any], ctx: Any, *flat: Any) -> Any:
    """Lower without a mesh and without shardings in the types, so that XLA determines the shardings."""
    with _no_mesh():
        bare = ctx.replace(avals_in=[jax.core.ShapedArray(aval.shape, aval.dtype) for aval in ctx.avals_in])
        return mlir.lower_fun(function, multiple_results=True)(bare, *flat)


def _lower_on_gpu(ctx: Any, *flat: Any, trial: Any, everywhere: bool, **others: Any) -> Any:
    with warnings.catch_warnings():
        # Later versions of JAX announce that Triton will leave Pallas. Without it, loops are taken.
        warnings.filterwarnings("ignore", "The Pallas Triton backend", DeprecationWarning)
        reason = None if everywhere else _refusal(ctx, trial)
        if reason is None:
            return _lower(ctx, *flat, everywhere=True, **others)
    _warn_once(reason)
    return _lower(ctx, *flat, everywhere=False, **others)


def _refusal(ctx: Any, trial: Any) -> str | None:
    """Why the kernel cannot be lowered, found by trial, because a failure half-way could not be undone."""
    if _n_devices(ctx) > 1 and (ctx.module_context.lowering_parameters.for_export or not _has_gpus()):
        return "several devices share the arrays, but are not available in this process"
    shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in ctx.avals_in]
    platforms = tuple(ctx.platforms or ctx.module_context.platforms)
    try:
        with _no_mesh():
            jax.jit(partial(trial, False)).trace(*shapes).lower(lowering_platforms=platforms)
    except Exception as error:  # whatever a version of JAX finds wrong
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return None


def _n_devices(ctx: Any) -> int:
    """How many devices share the arrays. If they are shards already, the number does not matter."""
    return getattr(ctx.module_context.axis_context, "num_devices", 2)


def _has_gpus() -> bool:
    """Whether this process has several GPUs, among which arrays may be divided."""
    return jax.default_backend() == "gpu" and jax.device_count() > 1


def _no_mesh() -> Any:
    """A context without a mesh that keeps its kind of device."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


@functools.cache
def _warn_once(reason: str) -> None:
    _checks.warn(
        f"complex synapses are computed without the kernel for GPUs, and more slowly, because it was refused "
        f'({reason}). kernel="never" silences this warning.'
    )


batching.primitive_batchers[_choice] = _batched
mlir.register_lowering(_choice, _lower)
for _platform in GPUS:
    mlir.register_lowering(_choice, _lower_on_gpu, platform=_platform)
