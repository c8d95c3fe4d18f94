"""Time side by side: the candidates take turns, since machines are noisy, and medians are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

Shapes = dict[str, tuple[int, ...]]

MLP: Shapes = {
    "w1": (784, 400),
    "b1": (400,),
    "w2": (400, 400),
    "b2": (400,),
    "w3": (400, 10),
    "b3": (10,),
}


def in_a_row(n: int) -> int:
    """So many steps in one call on a CPU; more on accelerators, which would be done with them too soon."""
    return n if jax.default_backend() == "cpu" else 16 * n


def in_turns(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call over so many rounds, after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for lap in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            if lap:
                times[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


def numbers(shapes: Shapes, seed: int = 0) -> dict[str, jax.Array]:
    """Normal random numbers, an array for each shape."""
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        leaf: jax.random.normal(key, shape) for key, (leaf, shape) in zip(keys, shapes.items(), strict=True)
    }


def repeated_update(tx: optax.GradientTransformation, n_steps: int, **options: Any) -> Any:
    """The jitted ``(params, state, grads) -> (params, state)`` of many updates; it consumes both."""

    @partial(jax.jit, donate_argnums=(0, 1), **options)
    def run(params: Any, state: Any, grads: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        if n_steps == 1:
            return step((params, state), None)[0]
        return jax.lax.scan(step, (params, state), length=n_steps)[0]

    return run


def compiled_update(tx: optax.GradientTransformation, shapes: Shapes) -> tuple[Any, Any]:
    """One donated update, compiled, and the shapes of its state."""
    params = {leaf: jax.ShapeDtypeStruct(shape, "float32") for leaf, shape in shapes.items()}
    state = jax.eval_shape(tx.init, params)
    return repeated_update(tx, 1).lower(params, state, params).compile(), state


def bytes_beside(update: Any) -> int:
    """What a compiled program holds at its peak beside its arguments."""
    needs = update.memory_analysis()
    return int(needs.temp_size_in_bytes + needs.output_size_in_bytes - needs.alias_size_in_bytes)


def times_of_updates(
    optimizers: Mapping[str, optax.GradientTransformation],
    shapes: Shapes,
    *,
    n_steps: int,
    n_calls: int = 1,
    repeats: int = 9,
    compiler_options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Median milliseconds of one update for each optimizer, in calls of ``n_steps`` updates each."""
    grads = jax.tree.map(lambda leaf: 0.01 * leaf, numbers(shapes, seed=1))

    def prepared(tx: optax.GradientTransformation) -> _Updates:
        params = numbers(shapes)
        carry = params, tx.init(params)
        update = repeated_update(tx, n_steps, compiler_options=compiler_options)
        return _Updates(update.lower(*carry, grads).compile(), carry, grads, n_calls)

    with ThreadPoolExecutor() as pool:  # compiled side by side
        calls = dict(zip(optimizers, pool.map(prepared, optimizers.values()), strict=True))
    seconds = in_turns(calls, repeats)
    return {name: 1e3 * value / (n_steps * n_calls) for name, value in seconds.items()}


class _Updates:
    """Updates one after the other, each donating what the one before has made."""

    def __init__(self, update: Any, carry: Any, grads: Any, n_calls: int) -> None:
        self._update, self._carry, self._grads, self._n_calls = update, carry, grads, n_calls

    def __call__(self) -> Any:
        for _ in range(self._n_calls):
            self._carry = self._update(*self._carry, self._grads)
        return self._carry
