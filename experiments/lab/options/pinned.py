"""What the environment could change of a result, and must not: the configuration of JAX that runs have.

Every training runs with the values here, whatever variables such as ``JAX_DEFAULT_PRNG_IMPL`` and
``JAX_ENABLE_X64``, or the program around it, say. What changes rounding alone (the device, the options of the
compiler that JAX has names for) is left as it is and kept with the run. The compiler's own flags can change
anything: they are part of a run's identity.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jax

PINNED: dict[str, Any] = {
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_high_dynamic_range_gumbel": False,
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,  # that of the device
    "jax_softmax_custom_jvp": False,
    # These do not change numbers, but end a training that is right.
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_legacy_prng_key": "allow",
    "jax_transfer_guard": "allow",
    "jax_disable_jit": False,
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
}

FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
HARMLESS = ("--xla_dump", "--xla_force_host_platform_device_count", "--xla_hlo_profile")


@contextmanager
def pinned() -> Iterator[None]:
    """The configuration of JAX that runs are computed with, for as long as the context lasts."""
    before = {}
    with ExitStack() as stack:
        for name, value in _known().items():
            context = getattr(jax, name.removeprefix("jax_"), None)
            if context is not None:  # which goes before one that is around it, as an update does not
                stack.enter_context(context(value))
            else:
                before[name] = getattr(jax.config, name)
                jax.config.update(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)


def _known() -> dict[str, Any]:
    """Those that this version of JAX has."""
    return {name: value for name, value in PINNED.items() if hasattr(jax.config, name)}


def not_heeded() -> dict[str, Any]:
    """What JAX was told to be configured as, and runs are not."""
    told = {name: getattr(jax.config, name) for name in _known()}
    return {name: value for name, value in told.items() if value not in (None, PINNED[name])}


def compiler_flags() -> dict[str, list[str]]:
    """The flags of the compiler that the environment gives and that may change results, by variable."""
    given = {name: sorted(os.environ.get(name, "").split()) for name in FLAGS}
    flags = {name: [flag for flag in all_ if not flag.startswith(HARMLESS)] for name, all_ in given.items()}
    return {name: some for name, some in flags.items() if some}
