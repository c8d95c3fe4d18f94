"""What a complex synapse costs beside Adam: ``python -m benchmarks.update_cost``.

The time of one update of ``optax.chain(optax.adam, complex_synapse)`` over that of ``optax.adam`` alone,
inside a scan with everything donated, float32. The variants take turns, and medians are compared, since
machines are noisy.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from cs_optax import complex_synapse

MLP = {"w1": (784, 400), "b1": (400,), "w2": (400, 400), "b2": (400,), "w3": (400, 10), "b3": (10,)}
X_2 = {n_beakers: 4.0 ** (n_beakers - 1) for n_beakers in (3, 5, 6, 10, 12)}  # beta/alpha for x = 2


def synapse(n_beakers: int, alpha: float, **options: Any) -> optax.GradientTransformation:
    """Adam and a chain with x = 2 after it."""
    chain = complex_synapse(n_beakers, alpha, alpha * X_2[n_beakers], **options)
    return optax.chain(optax.adam(1e-3), chain)


VARIANTS = {
    "adam": optax.adam(1e-3),
    "K=5, alpha=500": synapse(5, 500.0),
    "K=10, alpha=500": synapse(10, 500.0),
    "K=5, alpha=10": synapse(5, 10.0),
    "K=10, alpha=10": synapse(10, 10.0),
    "K=3, alpha=10": synapse(3, 10.0),
    "K=12, alpha=10": synapse(12, 10.0),
    "K=10, alpha=500, visible_resolution=1/16": synapse(10, 500.0, visible_resolution=1 / 16),
    "K=6, sequential_euler": synapse(6, 500.0, method="sequential_euler"),
}


def repeated_update(tx: optax.GradientTransformation, n_steps: int) -> Any:
    """The jitted ``(params, state, grads) -> (params, state)`` of many updates; it consumes both."""

    @partial(jax.jit, donate_argnums=(0, 1))
    def run(params: Any, state: Any, grads: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), length=n_steps)[0]

    return run


def measure(shapes: dict[str, tuple[int, ...]], n_steps: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of one update for each variant."""
    key = jax.random.key(0)
    grads = {leaf: 0.01 * jax.random.normal(key, shape) for leaf, shape in shapes.items()}
    updates = {name: repeated_update(tx, n_steps) for name, tx in VARIANTS.items()}
    carries = {}
    for name, tx in VARIANTS.items():
        params = {leaf: jax.random.normal(key, shape) for leaf, shape in shapes.items()}
        carries[name] = jax.block_until_ready(updates[name](params, tx.init(params), grads))
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(repeats):
        for name, update in updates.items():
            began = time.perf_counter()
            carries[name] = jax.block_until_ready(update(*carries[name], grads))
            times[name].append(time.perf_counter() - began)
    return {name: 1e3 * float(np.median(values)) / n_steps for name, values in times.items()}


def main() -> None:
    """Print a table, in Markdown, for the MLP of the experiments and for one large array."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--large", type=float, default=2e7, help="parameters of the large array (default 2e7)"
    )
    parser.add_argument("--repeats", type=int, default=9, help="measurements of each variant (default 9)")
    options = parser.parse_args()
    device = jax.devices()[0]
    trees = {
        "MLP, 478 410 parameters": (MLP, 200),
        f"one array of {options.large:g}": ({"w": (int(options.large),)}, 8),
    }
    columns = {name: measure(shapes, n_steps, options.repeats) for name, (shapes, n_steps) in trees.items()}
    where = f"{device.device_kind}, jax {jax.__version__}"
    print(f"Time of one update over Adam's, medians of {options.repeats}, {where}\n")
    print("| |", " | ".join(columns), "|")
    print("|---" * (1 + len(columns)) + "|")
    for name in VARIANTS:
        ratios = " | ".join(
            f"{column[name]:.2f} ms" if name == "adam" else f"{column[name] / column['adam']:.2f}"
            for column in columns.values()
        )
        print(f"| {name} | {ratios} |")


if __name__ == "__main__":
    main()
