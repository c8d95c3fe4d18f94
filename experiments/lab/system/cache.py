"""Compiled programs kept on disk, so that a command which has run once starts at once."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import platformdirs

from experiments.lab.system.folders import check_writable

SHORTEST_COMPILATION = 0.1  # seconds; what is compiled sooner is not worth a file


def keep_compiled_programs() -> Path | None:
    """Turn JAX's persistent compilation cache on, in the user's cache folder.

    What the user has said to JAX counts: ``JAX_COMPILATION_CACHE_DIR`` names another folder, and
    ``JAX_ENABLE_COMPILATION_CACHE=false`` does without. A folder that cannot be written in, or whose name is
    no Unicode, is no error: programs are then compiled anew.

    Returns:
        The folder, or None where there is none or the user has named it.
    """
    settings = "jax_enable_compilation_cache", "jax_compilation_cache_dir"
    enabled, named = (getattr(jax.config, name) for name in settings)
    if not enabled:
        return None
    try:
        folder = (
            Path(named) if named else platformdirs.user_cache_path("cs_optax", appauthor=False) / "compiled"
        )
        str(folder).encode()  # JAX would fail at any other name
        if not named:
            check_writable(folder)
    except (OSError, RuntimeError, UnicodeEncodeError):  # the second where a user has no home
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    if named:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_COMPILATION)
    return folder
