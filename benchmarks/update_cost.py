"""What a complex synapse costs beside Adam: ``python -m benchmarks.update_cost``.

The time of one update of ``optax.chain(optax.adam, complex_synapse)`` over that of ``optax.adam`` alone,
float32, everything donated: inside a scan, and as a single jitted call. The variants take turns, and
medians are compared, since machines are noisy. Beside the times stand the words that an update has to
move per parameter, if each array is touched once.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from cs_optax import BeakerChain, complex_synapse

Shapes = dict[str, tuple[int, ...]]

MLP: Shapes = {
    "w1": (784, 400),
    "b1": (400,),
    "w2": (400, 400),
    "b2": (400,),
    "w3": (400, 10),
    "b3": (10,),
}
LEAVES: Shapes = {f"w{number}": (50, 50) for number in range(200)}
ADAM = "adam"
VARIANTS: dict[str, tuple[int, float, dict[str, Any]]] = {
    "K=5, alpha=500": (5, 500.0, {}),
    "K=10, alpha=500": (10, 500.0, {}),
    "K=5, alpha=10": (5, 10.0, {}),
    "K=10, alpha=10": (10, 10.0, {}),
    "K=3, alpha=10": (3, 10.0, {}),
    "K=12, alpha=10": (12, 10.0, {}),
    "K=10, alpha=500, visible_resolution=1/16": (10, 500.0, {"visible_resolution": 1 / 16}),
    "K=6, sequential_euler": (6, 500.0, {"method": "sequential_euler"}),
}


def chain_of(variant: str) -> BeakerChain:
    """The chain of a variant, with x = 2."""
    n_beakers, alpha, _ = VARIANTS[variant]
    return BeakerChain.from_timescales(n_beakers, alpha, alpha * 4.0 ** (n_beakers - 1))


def optimizer(variant: str) -> optax.GradientTransformation:
    """Adam, and the chain of a variant after it."""
    if variant == ADAM:
        return optax.adam(1e-3)
    return optax.chain(optax.adam(1e-3), complex_synapse(chain=chain_of(variant), **VARIANTS[variant][2]))


def words(variant: str) -> float:
    """Words read or written per parameter and update, on average over the updates."""
    adam = 7.0  # gradient, both moments and the parameter read; moments and parameter written
    if variant == ADAM:
        return adam
    n_beakers, _, options = VARIANTS[variant]
    if options.get("method") == "sequential_euler":
        return adam + 2 * (n_beakers - 1)
    first, *hidden, leak = chain_of(variant).firing_periods(**options)
    # u_2 is read in every update; where link 1 rests, it is read again to be written.
    visible = 2.0 if first == 1 else 1 + 2 / first
    return adam + visible + sum(4 / period for period in hidden) + 2 / leak


def repeated_update(tx: optax.GradientTransformation, n_steps: int) -> Any:
    """The jitted ``(params, state, grads) -> (params, state)`` of many updates; it consumes both."""

    @partial(jax.jit, donate_argnums=(0, 1))
    def run(params: Any, state: Any, grads: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        if n_steps == 1:
            return step((params, state), None)[0]
        return jax.lax.scan(step, (params, state), length=n_steps)[0]

    return run


def measure(shapes: Shapes, n_steps: int, n_calls: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of one update for each variant, in calls of ``n_steps`` updates each."""
    key = jax.random.key(0)
    grads = {leaf: 0.01 * jax.random.normal(key, shape) for leaf, shape in shapes.items()}
    updates, carries = {}, {}
    for name in (ADAM, *VARIANTS):
        tx = optimizer(name)
        updates[name] = repeated_update(tx, n_steps)
        params = {leaf: jax.random.normal(key, shape) for leaf, shape in shapes.items()}
        carries[name] = jax.block_until_ready(updates[name](params, tx.init(params), grads))
    times: dict[str, list[float]] = {name: [] for name in updates}
    for _ in range(repeats):
        for name, update in updates.items():
            began = time.perf_counter()
            for _ in range(n_calls):
                carries[name] = update(*carries[name], grads)
            jax.block_until_ready(carries[name])
            times[name].append((time.perf_counter() - began) / (n_steps * n_calls))
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Print a table, in Markdown, for the MLP of the experiments, one large array and many leaves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--large", type=float, default=2e7, help="parameters of the large array (default 2e7)"
    )
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each variant (default 9)")
    options = parser.parse_args()
    device = jax.devices()[0]
    large: Shapes = {"w": (int(options.large),)}
    columns = {
        f"{name}, {how}": measure(shapes, n_steps, n_calls, options.repeats)
        for name, shapes, how, n_steps, n_calls in (
            ("MLP", MLP, "scan", 200, 1),
            ("MLP", MLP, "single calls", 1, 200),
            (f"one array of {options.large:g}", large, "scan", 8, 1),
            (f"one array of {options.large:g}", large, "single calls", 1, 8),
            ("200 leaves of 2500", LEAVES, "scan", 100, 1),
        )
    }
    where = f"{device.device_kind}, jax {jax.__version__}"
    print(f"Time of one update over Adam's, medians of {options.repeats}, {where}\n")
    print("| | words |", " | ".join(columns), "|")
    print("|---" * (2 + len(columns)) + "|")
    for name in (ADAM, *VARIANTS):
        ratios = " | ".join(
            f"{column[name]:.2f} ms" if name == ADAM else f"{column[name] / column[ADAM]:.2f}"
            for column in columns.values()
        )
        print(f"| {name} | {words(name):.1f} | {ratios} |")


if __name__ == "__main__":
    main()
