"""What rounding costs over long times: ``python -m benchmarks.precision`` prints the table of docs/model.md.

Each chain runs through the optimizer itself, one iteration after another, in the precision named and once
more in float64 with the same inputs: a sine for each weight, of periods from ten iterations to the length
of the run. The error of a beaker is the rms difference between the two runs, over the rms change of the
float64 beaker since the beginning; the largest over all beakers is shown. A beaker that stalls has an error
of 100 %.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import BeakerChain, complex_synapse, get_beakers

N_WEIGHTS = 64
RUNS: list[tuple[str, int, float, float, dict[str, Any]]] = [
    # dtype of the beakers, K, alpha, iterations in units of beta (1e8 at most), options
    ("float32", 13, 10.0, 1.0, {}),
    ("float32", 13, 10.0, 1.0, {"method": "sequential_euler"}),
    ("float32", 10, 500.0, 1.0, {}),
    ("float32", 10, 500.0, 1.0, {"visible_resolution": 1 / 16}),
    ("float32", 10, 500.0, 1.0, {"method": "sequential_euler"}),
    ("bfloat16", 8, 10.0, 2.0, {}),
    ("bfloat16", 5, 500.0, 2.0, {}),
    ("bfloat16", 5, 500.0, 2.0, {"visible_resolution": 1 / 16}),
    ("float16", 8, 10.0, 2.0, {}),
]


def contents(chain: BeakerChain, n_steps: int, beaker_dtype: str, **options: Any) -> np.ndarray:
    """``u_1 … u_K`` of some weights at the end, shape ``[K, N_WEIGHTS]``.

    Weights are float32, or float64 with beakers in float64.
    """
    dtype = jnp.float64 if beaker_dtype == "float64" else jnp.float32
    tx = complex_synapse(chain=chain, beaker_dtype=beaker_dtype, **options)
    start = jnp.asarray(weights_at_start(), dtype)
    periods = jnp.geomspace(10.0, n_steps, N_WEIGHTS)
    sizes = 0.1 / jnp.sqrt(periods)

    @jax.jit
    def run(params: jax.Array) -> Any:
        def step(_: Any, carry: Any) -> Any:
            params, state = carry
            inputs = sizes * jnp.sin(2 * jnp.pi * state.count / periods)
            updates, state = tx.update(inputs.astype(dtype), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, n_steps, step, (params, tx.init(params)))

    params, state = run(start)
    return np.stack([np.asarray(u, np.float64) for u in (params, *get_beakers(state))])


def weights_at_start() -> np.ndarray:
    """Weights of the order of 1, exact in float32."""
    return np.random.default_rng(0).standard_normal(N_WEIGHTS).astype(np.float32).astype(np.float64)


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--longest", type=float, default=1.2e8, help="skip runs of more iterations than this (default 1.2e8)"
    )
    longest = parser.parse_args().longest
    print(
        "| beakers | K | timescales | iterations | method | worst error of a beaker | error of the weight |"
    )
    print("|---|---|---|---|---|---|---|")
    for beaker_dtype, n_beakers, alpha, duration, options in RUNS:
        beta = alpha * 4.0 ** (n_beakers - 1)
        chain = BeakerChain.from_timescales(n_beakers, alpha, beta)
        n_steps = round(duration * min(beta, 1e8))
        if n_steps > longest:
            continue
        exact = contents(chain, n_steps, "float64", **options)
        rounded = contents(chain, n_steps, beaker_dtype, **options)
        changes = np.sqrt(np.mean((exact - weights_at_start()) ** 2, axis=1))
        errors = np.sqrt(np.mean((rounded - exact) ** 2, axis=1)) / changes
        name = options.get("method", "exchange").replace("_", " ")
        if "visible_resolution" in options:
            name += f", visible resolution 1/{1 / options['visible_resolution']:.0f}"
        print(
            f"| {beaker_dtype} | {n_beakers} | {alpha:g} to {beta:.2g} | {n_steps:.2g} | {name} "
            f"| {100 * errors.max():.2g} % | {100 * errors[0]:.2g} % |",
            flush=True,
        )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    main()
