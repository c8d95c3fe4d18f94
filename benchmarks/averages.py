"""Averages of past weights from a chain that listens: ``python -m benchmarks.averages --misfits --rounding``.

The chain is the one that ``suggest_timescales(…, purpose="averages")`` suggests. How near it comes to twenty
profiles `BeakerChain.averaging` knows without a training. What rounding adds is measured on weights that
drift, wander and jitter, against their averages in float64.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from benchmarks.report import Options, publish
from cs_optax import BeakerChain, complex_synapse, profiles, readout, suggest_timescales
from experiments.lab.command.guard import fail
from experiments.lab.command.parsing import parse
from experiments.lab.system.tables import Table

LISTENING: dict[str, Any] = {
    "backflow": "never",
    "leak": "none",
    "resolution": 1 / 32,
    "visible_resolution": 1 / 16,
}
LENGTHS = (2_500, 50_000, 1_000_000, 100_000_000)
DTYPES = ("float32", "bfloat16")


def wanted(n: int) -> dict[str, profiles.Profile]:
    """Twenty profiles over a training of n updates: twelve smooth ones, four with an edge, four moments."""
    powers = {f"power function, sigma_rel {s}": profiles.Power(s) for s in (0.25, 0.2, 0.15, 0.1, 0.05)}
    exponentials = {
        f"exponential, {part:g} n": profiles.Exponential(part * n) for part in (1, 0.5, 0.2, 0.1, 0.02, 0.005)
    }
    means = {f"mean of the last {part:.0%}": profiles.Mean(part) for part in (0.75, 0.5, 0.25, 0.1)}
    moments = {
        f"the moment {part:g} n ago": profiles.Moment(round(part * n)) for part in (0.5, 0.2, 0.05, 0.01)
    }
    return {"mean of all": profiles.Mean(), **powers, **exponentials, **means, **moments}


def suggested(n: int) -> BeakerChain:
    """The chain for averages over n updates."""
    return BeakerChain.from_timescales(*suggest_timescales(n, purpose="averages"))


def misfits() -> Table:
    """How far the profiles are from what the chain can give, and how much they amplify rounding."""
    by_length = [
        [suggested(n).averaging(profile, n, **LISTENING) for profile in wanted(n).values()] for n in LENGTHS
    ]
    rows = [
        [name, *(100 * one.misfit for one in averages), max(one.amplification for one in averages)]
        for name, *averages in zip(wanted(LENGTHS[0]), *by_length, strict=True)
    ]
    head = ["profile", *(f"n = {n:,}".replace(",", " ") for n in LENGTHS), "amplification"]
    title = "Misfit, %, after n updates, with 8 beakers, and the largest amplification of rounding"
    return Table(title, head, rows, [0, 2, 2, 2, 2, 1])


def rounding(n: int = 2_500, n_weights: int = 2_000) -> Table:
    """How far the averages read are from those in float64: relative distance and 1 - cosine, in %."""
    rng = np.random.default_rng(0)
    start = rng.uniform(-1, 1, n_weights).astype(np.float32)
    wander = np.cumsum(rng.normal(scale=0.3 / np.sqrt(n), size=(n, n_weights)), axis=0)
    drift = 0.5 * rng.normal(size=n_weights) * np.sqrt(np.arange(1, n + 1) / n)[:, None]
    path = (start + drift + wander + rng.normal(scale=0.02, size=wander.shape)).astype(np.float32)
    smooth = dict(list(wanted(n).items())[:12])
    columns = []
    for dtype in DTYPES:
        weights, state = listen(path, start, dtype)
        for measure in (_distance, _angle):
            columns.append([])
            for profile in smooth.values():
                average = suggested(n).averaging(profile, n, **LISTENING, beaker_dtype=dtype)
                exact = np.diff(profile.share(np.arange(n + 1), n))[::-1] @ path.astype(np.float64)
                read = np.asarray(readout(state, weights, average.weights), np.float64)
                columns[-1].append(100 * measure(read, exact))
    head = ["profile", *(f"{dtype}: {what}" for dtype in DTYPES for what in ("distance", "1 − cosine"))]
    title = f"Averages that were read, against those in float64, %, after {n} updates"
    return Table(title, head, [list(row) for row in zip(smooth, *columns, strict=True)], [0, 2, 4, 2, 4])


def listen(path: np.ndarray, start: np.ndarray, dtype: str) -> tuple[jax.Array, Any]:
    """The weights and the state after a path, with beakers of a dtype."""
    tx = complex_synapse(chain=suggested(len(path)), beaker_dtype=dtype, **LISTENING)

    def step(carry: Any, now: jax.Array) -> tuple[Any, None]:
        before, state = carry
        return (now, tx.update(now - before, state, before)[1]), None

    carry: Any = jax.jit(lambda path: jax.lax.scan(step, (start, tx.init(start)), path)[0])(path)
    return carry


def _distance(read: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(read - exact) / np.linalg.norm(exact))


def _angle(read: np.ndarray, exact: np.ndarray) -> float:
    return float(1 - read @ exact / np.linalg.norm(read) / np.linalg.norm(exact))


@dataclass(frozen=True)
class AveragesOptions(Options):
    """Averages of past weights from a chain that listens.

    Attributes:
        misfits: The table of misfits, in seconds.
        rounding: The table of rounding, in seconds.
    """

    misfits: bool = False
    rounding: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """The tables that are asked for."""
    given, _ = parse(AveragesOptions, "benchmarks.averages", arguments)
    asked = {misfits: given.misfits, rounding: given.rounding}
    chosen = [table() for table, wanted in asked.items() if wanted]
    if not chosen:
        sys.exit(fail("error: nothing to do: ask for --misfits, --rounding or both", status=2))
    publish("averages", given.out, chosen)


if __name__ == "__main__":
    main()
