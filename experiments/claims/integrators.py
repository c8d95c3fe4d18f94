"""How exact one step is, and how much it touches: both methods against the exact propagator.

Each chain is run through the optimizer itself, in float64, with a time step of 1: a unit impulse at every
phase against the exchanges of its links, and white noise. In the exchange method an input flows on in its
own step; in the published scheme from the next one on, and the exact solution it is held against does
likewise.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from cs_optax import BeakerChain, complex_synapse
from experiments.claims.outcome import Outcome, Row
from experiments.claims.style import CURVES
from experiments.lab.figures import STYLE, panels
from experiments.lab.system.tables import Table

HORIZON = 3000  # steps, or beta where that is less
OPTIONS: dict[str, dict[str, Any]] = {
    "exchange, resolution 0": {"resolution": 0.0},
    "exchange, resolution 1/8 (default)": {},
    "exchange, resolution 1/4": {"resolution": 0.25},
    "exchange, visible resolution 1/16": {"visible_resolution": 1 / 16},
    "sequential Euler": {"method": "sequential_euler"},
}
CHAINS = (
    (1.0, 2.0, 6),
    (8.0, 1.5, 6),
    (8.0, 2.0, 6),
    (8.0, 2.5, 6),
    (8.0, 3.0, 6),
    (20.0, 2.0, 8),
    (500.0, 2.0, 8),
)
RESOLUTIONS = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the figure, at Benna & Fusi's numbers
BOUNDS = {"exchange, resolution 0": (0.001, 0.001), "exchange, resolution 1/8 (default)": (0.01, 0.003)}


@dataclass(frozen=True)
class Errors:
    """How far a method is from the exact solution of its chain.

    Attributes:
        impulse: worst relative error of the impulse response, over all phases and times.
        noise: rms error of ``u_1`` under white noise, over its rms.
        exchanges: links that move in a step, on average.
    """

    impulse: float
    noise: float
    exchanges: float


def measure(
    seed: int,
    *,
    chains: tuple[tuple[float, float, int], ...] = CHAINS,
    resolutions: tuple[float, ...] = RESOLUTIONS,
    n_phases: int = 96,
) -> Outcome:
    """Measure the errors of both methods and how many links a step touches.

    Args:
        seed: of the white noise.
        chains: ``alpha``, ``x`` and ``K`` of each.
        resolutions: of the exchange method, to compare at ``alpha = 8``, ``x = 2``, ``K = 6``.
        n_phases: moments at which an impulse comes, against the exchanges of the links.
    """
    cells, found = [], {}
    for alpha, x, n_beakers in chains:
        chain = BeakerChain.from_timescales(n_beakers, alpha, alpha * x ** (2 * n_beakers - 2))
        for name, options in OPTIONS.items():
            errors = errors_of(chain, options, seed, n_phases)
            found[alpha, x, name] = errors
            percent = 100 * errors.impulse, 100 * errors.noise
            cells.append((f"{alpha:g}", f"{x:g}", n_beakers, name, *percent, errors.exchanges))
    rows = []
    for name, (impulse_bound, noise_bound) in BOUNDS.items():
        covered = [
            errors for (alpha, x, one), errors in found.items() if one == name and alpha >= 8 and x <= 2.5
        ]
        impulse = max(errors.impulse for errors in covered)
        noise = max(errors.noise for errors in covered)
        rows.append(
            Row(
                f"worst errors of an impulse and under noise, {name}, alpha ≥ 8, 1.5 ≤ x ≤ 2.5",
                f"≤ {impulse_bound:.1%}, ≤ {noise_bound:.1%}",
                f"{impulse:.2%}, {noise:.2%}",
                impulse <= impulse_bound and noise <= noise_bound,
            )
        )
    benna_fusi = BeakerChain.benna_fusi(6)
    over = [errors_of(benna_fusi, {"resolution": one}, seed, n_phases) for one in resolutions]
    euler = errors_of(benna_fusi, OPTIONS["sequential Euler"], seed, n_phases)
    table = Table(
        "Errors against the exact solution, time step 1, t ≤ min(beta, 3000), in %; exchanges a step.",
        ("alpha", "x", "K", "method", "worst impulse error", "white-noise error", "exchanges a step"),
        cells,
        (0, 0, 0, 0, 2, 2, 2),
    )
    numbers = {
        "resolution": list(resolutions),
        "exchange": [vars(errors) for errors in over],
        "sequential_euler": vars(euler),
    }
    return Outcome(rows, numbers, {"integrators": _figure(resolutions, over, euler)}, {"integrators": table})


def errors_of(chain: BeakerChain, options: dict[str, Any], seed: int, n_phases: int) -> Errors:
    """The errors of one method on one chain."""
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ripple and stability: bad chains are measured too
        tx = complex_synapse(chain=chain, **options)
        delay = int(options.get("method") == "sequential_euler")
        noise, exchanges = _noise_error(chain, tx, delay, seed)
        return Errors(_impulse_error(chain, tx, delay, n_phases), noise, exchanges)


def _follow(tx: optax.GradientTransformation, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def _impulse_error(chain: BeakerChain, tx: optax.GradientTransformation, delay: int, n_phases: int) -> float:
    """Worst relative error of the impulse response; an input begins to flow ``delay`` steps late."""
    horizon = int(min(chain.timescales()[-1], HORIZON))
    params, _ = _follow(tx, np.eye(horizon + n_phases, n_phases))
    exact = chain.impulse_response(np.arange(1, horizon + 1) - delay)
    responses = np.stack([params[phase : phase + horizon, phase] for phase in range(n_phases)])
    return float(np.abs(responses / exact - 1).max())


def _noise_error(
    chain: BeakerChain, tx: optax.GradientTransformation, delay: int, seed: int
) -> tuple[float, float]:
    """Relative rms error under white noise, and exchanges a step."""
    noise = np.random.default_rng(seed).standard_normal((HORIZON, 64))
    params, moved = _follow(tx, noise)
    step, contents, exact = chain.propagator(1.0), np.zeros((chain.n_beakers, 64)), []
    for delta in noise:
        if delay:
            contents = step @ contents
        contents[0] += delta
        if not delay:
            contents = step @ contents
        exact.append(contents[0].copy())
    error = float(np.sqrt(np.mean((params - exact) ** 2) / np.mean(np.square(exact))))
    return error, float(moved.sum())


@matplotlib.rc_context(STYLE)
def _figure(resolutions: tuple[float, ...], over: list[Errors], euler: Errors) -> Figure:
    figure, (left, right) = panels(["error against the exact solution", "work in a step"])
    x = np.array(resolutions)
    pairs = (
        ("impulse, worst", [errors.impulse for errors in over], euler.impulse),
        ("white noise, rms", [errors.noise for errors in over], euler.noise),
    )
    for (name, errors, of_euler), (color, line) in zip(pairs, CURVES, strict=False):
        left.plot(
            x, 100 * np.array(errors), color=color, linestyle=line, marker="o", markersize=3, label=name
        )
        left.axhline(
            100 * of_euler, color=color, linewidth=0.8, linestyle=":", label="same, sequential Euler"
        )
    left.set(xlabel="resolution of the exchange method", ylabel="error (%)", yscale="log")
    left.legend(fontsize=6.5)
    color = CURVES[0][0]
    right.plot(
        x, [errors.exchanges for errors in over], color=color, marker="o", markersize=3, label="exchange"
    )
    right.axhline(euler.exchanges, color=CURVES[1][0], linestyle=":", label="sequential Euler")
    right.axvline(1 / 8, color="black", linewidth=0.6, linestyle=":")
    right.annotate("default", (1 / 8, 4), xytext=(3, 0), textcoords="offset points", fontsize=7)
    right.set(xlabel="resolution of the exchange method", ylabel="links moved a step", ylim=(0, None))
    right.legend()
    return figure
