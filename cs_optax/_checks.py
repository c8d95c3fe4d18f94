"""Checks of the arguments of public functions. Each error names the argument, the value and the range."""

from __future__ import annotations

import math
import operator
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_FLOATS = tuple(map(jnp.dtype, (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)))


def is_concrete(value: Any) -> bool:
    """Whether ``value`` is a known number: neither traced nor a schedule."""
    return not callable(value) and not isinstance(value, jax.core.Tracer)


def count(name: str, value: Any, least: int) -> int:
    """``value`` as an integer of at least ``least``."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} must be a Python integer, got a traced value: it fixes the structure of the "
            f"state. Under optax.inject_hyperparams, name it in static_args."
        )
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return number


def whole(name: str, value: Any, least: int) -> int:
    """Like `count`, for what is computed on the host: also a float that is a whole number, such as 1e5."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(f"{name} must be known, not traced: call this outside of jax.jit and jax.vmap")
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return count(name, value, least)


def real(name: str, values: Any, allowed: str = "real numbers") -> np.ndarray:
    """``values`` as an array of floats, if they are finite real numbers."""
    try:
        array = np.array(values)
        if np.iscomplexobj(array) or not np.all(np.isfinite(array.astype(float))):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold finite {allowed}, got {values!r}") from None
    return array.astype(float)


def transformation(name: str, value: Any) -> None:
    """Refuse a value that is not a transformation of Optax."""
    if not (hasattr(value, "init") and hasattr(value, "update")):
        raise ValueError(f"{name} must be an optax.GradientTransformation, got {value!r}")


def number(name: str, value: Any, allowed: str) -> float:
    """``value`` as a float, if it is one real number."""
    one_number(name, value)
    if isinstance(value, bool | str | bytes):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {allowed}, got {value!r}") from None


def positive(name: str, value: Any) -> float:
    """``value`` as a finite float greater than 0."""
    allowed = "finite and greater than 0"
    result = number(name, value, allowed)
    if not (math.isfinite(result) and result > 0):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return result


def at_least_zero(name: str, value: Any) -> float:
    """``value`` as a finite float of at least 0."""
    allowed = "finite and at least 0"
    result = number(name, value, allowed)
    if not (math.isfinite(result) and result >= 0):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return result


def option(name: str, value: Any, options: Iterable[str]) -> str:
    """``value``, if it is one of ``options``."""
    options = tuple(options)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def floats(name: str, values: Any) -> tuple[float, ...]:
    """``values`` as a tuple of floats."""
    try:
        if isinstance(values, str):
            raise TypeError
        return tuple(float(value) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a sequence of numbers, got {values!r}") from None


def one_number(name: str, value: Any) -> Any:
    """``value``, unless it is an array that holds more or less than one number, known or not."""
    if not callable(value) and np.ndim(value) > 0:
        raise ValueError(f"{name} must be a single number, got {value!r}")
    return value


def factor(name: str, value: Any) -> Any:
    """``value``: a schedule, or one number that is finite and at least 0 if it is known."""
    one_number(name, value)
    if is_concrete(value):
        at_least_zero(name, value)
    return value


def threshold(name: str, value: Any) -> Any:
    """``value``: one number that is finite and at least 0, as a float if it is known; not a schedule."""
    if callable(value):
        raise ValueError(f"{name} must be finite and at least 0, no schedule, got {value!r}")
    return at_least_zero(name, value) if is_concrete(value) else value


def times(name: str, value: Any, options: Iterable[str], n_times: int) -> Any:
    """``value``: one of ``options``, or ``n_times`` times of at least 0, as a float array if known."""
    options = tuple(options)
    if isinstance(value, str) and value in options:
        return value
    allowed = f"one of {', '.join(map(repr, options))}, or {max(n_times, 0)} times of at least 0"
    array: Any = value
    known = not isinstance(value, jax.core.Tracer)
    if known:
        try:
            array = np.asarray(None if isinstance(value, bool | str) else value, float)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be {allowed}, got {value!r}") from None
    if array.ndim != 1 or array.size != n_times or (known and not np.all(array >= 0)):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return array


def is_function(value: Any) -> bool:
    """Whether ``value`` is a function, and not a callable model."""
    return callable(value) and jax.tree_util.treedef_is_leaf(jax.tree.structure(value))


def initial_beakers(name: str, value: Any) -> Any:
    """``value``: "same", "zero", a function, or a tree of arrays."""
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return option(name, value, ("same", "zero"))
    return value


def warn(message: str) -> None:
    """Warn, with the location of the user's line that called this package."""
    frame: Any = sys._getframe(0)
    package, level = os.path.dirname(__file__), 1
    while frame is not None and os.path.dirname(frame.f_code.co_filename) == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def decay_rate(name: str, value: Any) -> None:
    """Check the decay rate of a moving average, if it is known. A schedule is refused."""
    one_number(name, value)
    if callable(value):
        raise ValueError(f"{name} must be in [0, 1), no schedule, got {value!r}")
    if is_concrete(value) and not 0 <= number(name, value, "in [0, 1)") < 1:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")


def timescales(n_beakers: int, alpha: Any, beta: Any) -> None:
    """Check that both are positive and that ``alpha <= beta``, as far as they are known.

    A timescale without effect may be missing: ``alpha`` for one beaker, both for none.
    """
    for name, value, needed in (("alpha", alpha, n_beakers >= 2), ("beta", beta, n_beakers >= 1)):
        if value is None and not needed:
            continue
        one_number(name, value)
        if is_concrete(value):
            positive(name, value)
    if n_beakers >= 2 and is_concrete(alpha) and is_concrete(beta) and float(beta) < float(alpha):
        raise ValueError(
            f"beta must be at least alpha (alpha is the shortest timescale, beta the longest), "
            f"got alpha={alpha!r}, beta={beta!r}"
        )


def seed(name: str, value: Any) -> Any:
    """``value``: an integer, modulo 2^32 if it is known."""
    one_number(name, value)
    if not is_concrete(value) and not callable(value):
        return value
    try:
        return operator.index(int(value) if isinstance(value, jax.Array) else value) % 2**32
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None


def float_dtype(name: str, value: Any) -> Any:
    """``value`` as a real floating-point dtype, or None."""
    if value is None:
        return None
    is_array = isinstance(value, jax.Array)
    try:
        dtype = None if is_array else jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or dtype not in _FLOATS:
        names = ", ".join(allowed.name for allowed in _FLOATS)
        hint = ". Under optax.inject_hyperparams, name it in static_args" if is_array else ""
        raise ValueError(f"{name} must be None or one of {names}, got {value!r}{hint}")
    return dtype
