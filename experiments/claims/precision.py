"""What rounding costs over long times: Euler's slow beakers stall, those of the exchange method follow.

Each chain runs through the optimizer itself, one iteration after another, in the precision named and once
more in float64 with the same inputs: a sine for each weight, of periods from ten iterations to the length
of the run. The error of a beaker is the rms difference between the two runs, over the rms change of the
float64 beaker since the beginning. A beaker that stalls has an error of 100 %.
"""

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from cs_optax import BeakerChain, complex_synapse, get_beakers
from experiments.claims.outcome import Outcome, Row
from experiments.claims.style import CURVES
from experiments.lab.figures import STYLE, panels
from experiments.lab.system.tables import Table

N_WEIGHTS = 64
NAMES = {"exchange": "exchange", "sequential_euler": "sequential Euler"}
FOLLOWS = 0.15  # error below which a beaker follows
STALLS = 0.9  # error above which the worst one stalls


class Run(NamedTuple):
    """A chain with x = 2, and how it is run.

    Attributes:
        beaker_dtype: of the beakers; weights are float32.
        n_beakers: their number.
        alpha: shortest timescale, in iterations.
        duration: length of the run, in units of ``beta``.
        options: of :func:`complex_synapse`.
    """

    beaker_dtype: str
    n_beakers: int
    alpha: float
    duration: float
    options: dict[str, Any]

    @property
    def chain(self) -> BeakerChain:
        """The chain."""
        return BeakerChain.from_timescales(
            self.n_beakers, self.alpha, self.alpha * 4.0 ** (self.n_beakers - 1)
        )

    @property
    def n_iterations(self) -> int:
        """Length of the run, in iterations."""
        return round(self.duration * self.chain.timescales()[-1])

    @property
    def method(self) -> str:
        """The method in words."""
        name = NAMES[self.options.get("method", "exchange")]
        visible = self.options.get("visible_resolution")
        return f"{name}, visible resolution 1/{1 / visible:.0f}" if visible else name


EULER = {"method": "sequential_euler"}
RUNS = (
    Run("float32", 12, 10.0, 1.0, {}),
    Run("float32", 12, 10.0, 1.0, EULER),
    Run("float32", 9, 500.0, 1.0, {}),
    Run("float32", 9, 500.0, 1.0, {"visible_resolution": 1 / 16}),
    Run("float32", 9, 500.0, 1.0, EULER),
    Run("bfloat16", 8, 10.0, 2.0, {}),
    Run("bfloat16", 8, 10.0, 2.0, EULER),
    Run("bfloat16", 5, 500.0, 2.0, {}),
    Run("bfloat16", 5, 500.0, 2.0, {"visible_resolution": 1 / 16}),
    Run("float16", 8, 10.0, 2.0, {}),
)


def measure(seed: int, *, runs: tuple[Run, ...] = RUNS) -> Outcome:
    """Measure the error of each beaker.

    Args:
        seed: of the weights at the start.
        runs: what to run. Those of 4e7 iterations take a minute or so each.
    """
    rows, cells, found = [], [], []
    for run in runs:
        errors = errors_of_beakers(run, seed)
        found.append((run, errors))
        beta = run.chain.timescales()[-1]
        percent = 100 * float(errors.max()), 100 * float(errors[0])
        timescales = f"{run.alpha:g} to {beta:.2g}"
        cells.append(
            (run.beaker_dtype, run.n_beakers, timescales, f"{run.n_iterations:.2g}", run.method, *percent)
        )
        claim = f"worst beaker, {run.beaker_dtype}, K = {run.n_beakers}, {timescales}, {run.method}"
        measured = f"error {errors.max():.2%}"
        if run.options == EULER and run.beaker_dtype == "float32":
            rows.append(Row(claim, f"stalls: error ≥ {STALLS:.0%}", measured, bool(errors.max() >= STALLS)))
        elif run.options == EULER:
            rows.append(Row(claim, "reported: rounded stochastically, it does not stall", measured))
        else:
            rows.append(
                Row(claim, f"follows: error ≤ {FOLLOWS:.0%}", measured, bool(errors.max() <= FOLLOWS))
            )
    table = Table(
        "Errors against float64, in %, relative to what has changed: of the worst beaker, and of the weight.",
        (
            "beakers",
            "K",
            "timescales",
            "iterations",
            "method",
            "worst error of a beaker",
            "error of the weight",
        ),
        cells,
        (0, 0, 0, 0, 0, 3, 3),
    )
    numbers = {
        f"{run.beaker_dtype}, K = {run.n_beakers}, {run.method}": errors.tolist() for run, errors in found
    }
    return Outcome(rows, numbers, {"precision": _figure(found)}, {"precision": table})


def errors_of_beakers(run: Run, seed: int) -> np.ndarray:
    """Relative error of ``u_1 … u_K`` at the end of a run, ``[K]``."""
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of long timescales
        exact, rounded = (_contents(run, seed, dtype) for dtype in ("float64", run.beaker_dtype))
    changes = np.sqrt(np.mean((exact - _start(seed)) ** 2, axis=1))
    return np.asarray(np.sqrt(np.mean((rounded - exact) ** 2, axis=1)) / changes)


def _contents(run: Run, seed: int, beaker_dtype: str) -> np.ndarray:
    """``u_1 … u_K`` at the end, ``[K, N_WEIGHTS]``."""
    dtype = jnp.float64 if beaker_dtype == "float64" else jnp.float32
    tx = complex_synapse(chain=run.chain, beaker_dtype=beaker_dtype, **run.options)
    periods = jnp.geomspace(10.0, run.n_iterations, N_WEIGHTS)
    sizes = 0.1 / jnp.sqrt(periods)

    @jax.jit
    def iterate(params: jax.Array) -> Any:
        def step(_: Any, carry: Any) -> Any:
            params, state = carry
            inputs = sizes * jnp.sin(2 * jnp.pi * state.n_updates / periods)
            updates, state = tx.update(inputs.astype(dtype), state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, run.n_iterations, step, (params, tx.init(params)))

    params, state = iterate(jnp.asarray(_start(seed), dtype))
    return np.stack([np.asarray(u, np.float64) for u in (params, *get_beakers(state))])


def _start(seed: int) -> np.ndarray:
    """Weights of the order of 1, exact in float32."""
    return np.random.default_rng(seed).standard_normal(N_WEIGHTS).astype(np.float32).astype(np.float64)


@matplotlib.rc_context(STYLE)
def _figure(found: list[tuple[Run, np.ndarray]]) -> Figure:
    figure, axes = panels(["float32 beakers", "float16 and bfloat16 beakers"])
    for panel, single in zip(axes, (True, False), strict=True):
        chosen = [(run, errors) for run, errors in found if (run.beaker_dtype == "float32") == single]
        for (run, errors), (color, line) in zip(chosen, CURVES, strict=False):
            dtype = "" if single else f"{run.beaker_dtype}, "
            label = f"{dtype}alpha {run.alpha:g}, {run.method}"
            times = run.chain.timescales()
            panel.loglog(times, 100 * errors, color=color, linestyle=line, marker=".", label=label)
        panel.axhline(100, color="black", linewidth=0.6, linestyle=":")
        panel.set(xlabel="timescale of the beaker (iterations)", ylabel="error (%)", ylim=(1e-4, 1e5))
        panel.legend(fontsize=6, loc="upper left")
    return figure
