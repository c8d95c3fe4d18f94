"""How exact the integrators are: ``python -m benchmarks.accuracy`` prints the table of docs/model.md.

Each chain is run through the optimizer itself, in float64, with a time step of 1: a unit impulse at
every phase against the firing of its links, and white noise; both against the exact propagator. In the
exchange method an input flows on in its own step; in the published scheme from the next one on,
and the exact solution it is held against does likewise.
"""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cs_optax import BeakerChain, complex_synapse

N_PHASES = 96
HORIZON = 3000  # steps, or beta where that is less
OPTIONS: dict[str, dict[str, Any]] = {
    "exchange, resolution 0": {"resolution": 0.0},
    "exchange, resolution 1/8 (default)": {},
    "exchange, resolution 1/4": {"resolution": 0.25},
    "exchange, visible resolution 1/16": {"visible_resolution": 1 / 16},
    "sequential Euler": {"method": "sequential_euler"},
}
CHAINS = [
    (1.0, 2.0, 6),
    (8.0, 1.5, 6),
    (8.0, 2.0, 6),
    (8.0, 2.5, 6),
    (8.0, 3.0, 6),
    (20.0, 2.0, 8),
    (500.0, 2.0, 8),
]


def follow(tx: optax.GradientTransformation, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``[T, n]`` that start at zero, under inputs ``[T, n]``; and how often each link moved."""

    def step(carry: Any, delta: jax.Array) -> Any:
        params, state = carry
        updates, after = tx.update(delta, state, params)
        moved = after.clocks[0, 1:] == 0
        return (optax.apply_updates(params, updates), after), (params + updates, moved)

    def run(inputs: jax.Array) -> Any:
        params = jnp.zeros(inputs.shape[1])
        return jax.lax.scan(step, (params, tx.init(params)), inputs)[1]

    params, moved = jax.jit(run)(jnp.asarray(inputs))
    return np.asarray(params), np.asarray(moved).mean(axis=0)


def impulse_error(chain: BeakerChain, tx: optax.GradientTransformation, delay: int) -> float:
    """Worst relative error of the impulse response over all phases and times.

    Args:
        chain: the chain.
        tx: its integrator.
        delay: steps before an input begins to flow.
    """
    horizon = int(min(chain.timescales()[-1], HORIZON))
    params, _ = follow(tx, np.eye(horizon + N_PHASES, N_PHASES))
    exact = chain.impulse_response(np.arange(1, horizon + 1) - delay)
    responses = np.stack([params[phase : phase + horizon, phase] for phase in range(N_PHASES)])
    return float(np.abs(responses / exact - 1).max())


def noise_error(chain: BeakerChain, tx: optax.GradientTransformation, delay: int) -> tuple[float, float]:
    """Relative rms error under white noise, and exchanges a step."""
    noise = np.random.default_rng(0).standard_normal((HORIZON, 64))
    params, moved = follow(tx, noise)
    step, contents, exact = chain.propagator(1.0), np.zeros((chain.n_beakers, 64)), []
    for delta in noise:
        if delay:
            contents = step @ contents
        contents[0] += delta
        if not delay:
            contents = step @ contents
        exact.append(contents[0].copy())
    return float(np.sqrt(np.mean((params - exact) ** 2) / np.mean(np.square(exact)))), moved.sum()


def main() -> None:
    """Print the table, in Markdown."""
    print("| alpha | x | K | method | worst impulse error | white-noise error | exchanges a step |")
    print("|---|---|---|---|---|---|---|")
    for alpha, x, n_beakers in CHAINS:
        chain = BeakerChain.from_timescales(n_beakers, alpha, alpha * x ** (2 * n_beakers - 2))
        for name, options in OPTIONS.items():
            tx = complex_synapse(chain=chain, **options)
            delay = int(options.get("method") == "sequential_euler")
            impulse = impulse_error(chain, tx, delay)
            noise, exchanges = noise_error(chain, tx, delay)
            print(
                f"| {alpha:g} | {x:g} | {n_beakers} | {name} | {100 * impulse:.2f} % "
                f"| {100 * noise:.2f} % | {exchanges:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")
    main()
