"""Averages of past weights: against the derivative of the real training, and a chain that only listens."""

import dataclasses
import inspect
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from scipy.linalg import expm

from cs_optax import (
    Averaging,
    BeakerChain,
    complex_synapse,
    diagnose,
    drift_report,
    get_beakers,
    offload_beakers,
    profiles,
    readout,
    relax,
    reset_beakers,
    resize_beakers,
    settle_beakers,
    suggest_timescales,
)
from cs_optax import _record

sys.path.append(str(Path(__file__).parent / "integration"))
from test_base_optimizers import NEEDS, optimizers, run
from test_conformance import TREES

pytestmark = pytest.mark.usefixtures("quick_to_compile")
ROOT = Path(__file__).parent.parent
CHAIN = BeakerChain.from_timescales(5, 6.0, 900.0)
LISTENING = {"backflow": "never", "leak": "none", "resolution": 1 / 32}


# What the beakers hold, by the derivative of the training itself


def held(chain, n_updates, **options):
    """Weights ``[n_updates + 1, K]`` of the path of u_1, from its start on, in u_1 … u_K at the end."""
    init = options.get("init", "same")
    tx = complex_synapse(chain=chain, **options)

    def contents(path):
        def step(carry, wanted):
            p, state = carry
            # The input after which the weight is the wanted one: the new weight is linear in it.
            none, one = (p + tx.update(jnp.full_like(p, d), state, p)[0] for d in (0.0, 1.0))
            updates, state = tx.update((wanted - none) / (one - none), state, p)
            return (p + updates, state), None

        (p, state), _ = jax.lax.scan(step, (path[0], tx.init(path[0])), path[1:])
        return jnp.stack([p, *get_beakers(state)])

    path = jnp.zeros(n_updates + 1)
    rows = jax.jit(jax.jacrev(contents))(path)
    assert init in ("same", "zero")
    return np.asarray(rows).T


def by_periods(rows, n_updates, period):
    """Rows of intervals that link 1 sees together, per square root of an update."""
    ends = [*range(0, n_updates, period), n_updates]
    sums = [rows[first + 1 : last + 1].sum(axis=0) / np.sqrt(last - first) for first, last in zip(ends, ends[1:])]
    return np.array([rows[0], *sums])


def misfit_of(weights, rows, profile, period=1):
    """1 − cosine, from all values; the initial parameters are no part of the wish."""
    wanted = by_periods(np.append(0.0, profile)[:, None], len(profile), period)[:, 0]
    read = by_periods(rows, len(profile), period) @ weights
    return 1 - read @ wanted / np.linalg.norm(read) / np.linalg.norm(wanted)


def best_misfit(rows, profile, period=1):
    """Of all mixtures that read a constant path as the constant: by Lagrange's multiplier."""
    wanted = by_periods(np.append(0.0, profile)[:, None], len(profile), period)[:, 0]
    seen, totals = by_periods(rows, len(profile), period), rows.sum(axis=0)
    matrix = np.block([[seen.T @ seen, totals[:, None]], [totals, np.zeros(1)]])
    weights = np.linalg.solve(matrix, np.append(seen.T @ wanted, 1.0))[:-1]
    return misfit_of(weights, rows, profile, period)


TRAININGS = {
    "default": {},
    "every link": {"resolution": 0.0},
    "rests": {"resolution": 0.5, "visible_resolution": 0.25},
    "empty": {"init": "zero"},
    "initial": {"leak": "initial"},
    "empty initial": {"leak": "initial", "init": "zero"},
    "closed": {"leak": "none", "init": "zero"},
    "steps of time": {"time_step": 2.5},
    "never": {"backflow": "never"},
    "never closed": {"backflow": "never", "leak": "none", "visible_resolution": 0.5},
    "never initial": {"backflow": "never", "leak": "initial", "init": "zero", "resolution": 1 / 32},
    "kaplanis": {"backflow": "kaplanis"},
    "kaplanis closed": {"backflow": "kaplanis", "leak": "none", "resolution": 0.4, "visible_resolution": 0.3},
    "times": {"backflow": [0.0, 21.3, 140.0, np.inf], "leak": "initial", "time_step": 1.5},
    "times out of order": {"backflow": [90.0, 31.0, 31.0, 7.0], "visible_resolution": 0.4},
    "times at the end": {"backflow": [5.0, 299.0, 12.0, 299.0]},
}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", TRAININGS)
def test_weights_and_misfit_are_those_of_the_derivative_of_the_training(name, grouped, x64, monkeypatch):
    monkeypatch.setattr(_record, "MAX_SINGLE", 0 if grouped else 4096)
    options = TRAININGS[name]
    n_updates = 300 - grouped
    rows = held(CHAIN, n_updates, **options)
    visits = np.flatnonzero(rows[1:, 1])  # when link 1 exchanged
    period = int(np.diff(visits).max())
    shapes = [np.ones(n_updates), np.arange(n_updates) ** 3.0]
    if not grouped:
        shapes.append(np.arange(n_updates) % 100 == 7.0)
    for shape in shapes:
        profile = shape / shape.sum()
        weights, misfit, amplification = CHAIN.averaging(profile, n_updates, **options)
        if name not in ("times out of order", "kaplanis closed"):  # whose periods change
            tolerance = 1e-5 if grouped else 1e-9
            assert misfit == pytest.approx(misfit_of(weights, rows, profile, period), abs=tolerance)
            assert misfit == pytest.approx(best_misfit(rows, profile, period), abs=1e-5)
        assert weights @ rows.sum(axis=0) == pytest.approx(1.0, abs=1e-12)
        assert amplification == pytest.approx(np.abs(weights).sum())
