"""Averages of past weights from a chain that listens: ``python -m benchmarks.averages``.

Four parts, each also by itself: what the chain costs beside averages that are kept in the steps (``--cost``);
how near it comes to twenty profiles, which `BeakerChain.averaging` knows without a training (``--misfits``);
what rounding adds, measured on weights that drift, wander and jitter, against their averages in float64
(``--rounding``); and the accuracy of all averages after one training, beside some that were kept in it
(``--accuracy``). With ``--out``, the last one also draws the two figures of docs/averages.md. The chain is
the one that ``suggest_timescales(…, purpose="averages")`` suggests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from benchmarks import kept
from benchmarks.average_figures import (
    SETTINGS,
    accuracies,
    accuracy_figure,
    accuracy_table,
    profiles_figure,
)
from benchmarks.listening import LISTENING, N_EDGED, N_SMOOTH, listen, shares, suggested, wanted
from benchmarks.report import Options, publish
from benchmarks.timing import MLP, Shapes, in_a_row, in_turns, numbers, times_of_updates
from benchmarks.update_cost import ADAM, LEAVES
from cs_optax import BeakerChain, complex_synapse, readout
from experiments.lab.command.parsing import parse
from experiments.lab.data.dataset import load
from experiments.lab.figures import save
from experiments.lab.system.tables import Table

LENGTHS = (2_500, 50_000, 1_000_000, 100_000_000)
DTYPES = ("float32", "bfloat16")
N = 50_000  # updates in the training that the costs are those of; link 1 exchanges in every 14th of them
SHORT = 2_500
RARER: dict[str, Any] = {"resolution": 1 / 8, "visible_resolution": 1 / 2}
STEPS = 28  # of the large array in a row: as many as between two exchanges of link 2

MISFITS = ("median of 20", "worst smooth one", "worst with an edge", "amplification of the smooth ones")


# What it costs


class Candidate(NamedTuple):
    """A way to have averages of the weights of Adam; misfits and amplifications of the wanted profiles."""

    optimizer: optax.GradientTransformation
    misfits: np.ndarray
    amplifications: np.ndarray
    snapshots: int = 0


def listening(n: int = N, chain: BeakerChain | None = None, **choices: Any) -> Candidate:
    """A chain that listens to a training of n updates."""
    chain, choices = chain or suggested(n), {**LISTENING, **choices}
    averages = [chain.averaging(profile, n, **choices) for profile in wanted(n).values()]
    return Candidate(
        optax.chain(optax.adam(kept.RATE), complex_synapse(chain=chain, **choices)),
        np.array([one.misfit for one in averages]),
        np.array([one.amplification for one in averages]),
    )


def keeping(optimizer: optax.GradientTransformation, held: np.ndarray, snapshots: int = 0) -> Candidate:
    """Averages that are kept, with what they hold of the path."""
    mixtures, misfits = kept.fit(held, list(wanted(N).values()))
    return Candidate(optimizer, misfits, np.abs(mixtures).sum(axis=0), snapshots)


def candidates() -> dict[str, Candidate]:
    """All that are compared, but for Adam alone."""
    one, two = (N / 10,), (N / 10, N / 100)
    held = kept.held_by_exponentials(N, one)
    pair = kept.power_functions(*kept.EDM2)
    denser = BeakerChain.from_timescales(12, N / 400, 8 * N)
    return {
        "listens, K=8": listening(),
        "listens, K=8, bfloat16": listening(beaker_dtype="bfloat16"),
        "listens, K=8, every update seen": listening(visible_resolution=0.0),
        "listens, K=12": listening(chain=denser),
        f"listens, K=8, {SHORT} updates": listening(SHORT),
        f"the same, resolution=1/8, visible_resolution=1/2, {SHORT} updates": listening(SHORT, **RARER),
        "one exponential average": keeping(kept.exponentials(*one), held),
        "the same, in every 14th update": keeping(kept.sparse_exponential(*one, 14), held),
        "flax.nnx.EMA": keeping(kept.nnx_exponential(*one), held),
        "two exponential averages": keeping(kept.exponentials(*two), kept.held_by_exponentials(N, two)),
        **{
            f"two power functions, {n} snapshots": keeping(
                pair, kept.held_by_snapshots(N, kept.EDM2, n), snapshots=n
            )
            for n in (16, 64, 256)
        },
    }


def bytes_of_state(tx: optax.GradientTransformation) -> float:
    """For each parameter."""
    params = {"w": jax.ShapeDtypeStruct((1_000_000,), "float32")}
    return (
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(tx.init, params)))
        / 1e6
    )


def cost(large: float, repeats: int) -> Table:
    """Time, memory and misfit of all candidates."""
    compared = candidates()
    # The number of snapshots does not change the program.
    programs = {ADAM: optax.adam(kept.RATE), **{name: one.optimizer for name, one in compared.items()}}
    named = {id(tx): name for name, tx in reversed(programs.items())}
    array: Shapes = {"w": (int(large),)}
    measurements = [
        ("MLP, scan", MLP, in_a_row(224), 1),
        ("MLP, single calls", MLP, 1, 224),
        (f"one array of {large:g}, scan", array, in_a_row(STEPS), 1),
        (f"one array of {large:g}, single calls", array, 1, in_a_row(STEPS)),
        ("200 leaves of 2500, scan", LEAVES, 448, 1),
    ]
    columns: dict[str, dict[str, float]] = {}
    for column, shapes, n_steps, n_calls in measurements:
        distinct = {name: programs[name] for name in named.values()}
        times = times_of_updates(distinct, shapes, n_steps=n_steps, n_calls=n_calls, repeats=repeats)
        one_snapshot = snapshot_milliseconds(shapes, repeats)
        columns[column] = {
            name: times[named[id(tx)]]
            + (compared[name].snapshots * one_snapshot / N if name in compared else 0)
            for name, tx in programs.items()
        }
    return Table(
        f"Averages over a training of {N} updates: time of one update over Adam's (medians of {repeats}, "
        "with the share of the snapshots, which go to the host's memory in float16), bytes for each "
        "parameter beside Adam's, and the misfit of the wanted profiles in %",
        ["", *columns, "bytes of state", "of snapshots", *MISFITS],
        [[ADAM, *(f"{column[ADAM]:.3g} ms" for column in columns.values()), *[None] * (2 + len(MISFITS))]]
        + [_row(name, one, columns) for name, one in compared.items()],
        [0, *[2] * len(columns), 0, 0, 2, 2, 2, 0],
    )


def _row(name: str, one: Candidate, columns: Mapping[str, Mapping[str, float]]) -> list[Any]:
    smooth, edged = one.misfits[:N_SMOOTH], one.misfits[N_SMOOTH : N_SMOOTH + N_EDGED]
    return [
        name,
        *(column[name] / column[ADAM] for column in columns.values()),
        bytes_of_state(one.optimizer) - bytes_of_state(optax.adam(kept.RATE)),
        2 * len(kept.EDM2) * one.snapshots,
        100 * np.median(one.misfits),
        100 * smooth.max(),
        100 * edged.max(),
        one.amplifications[:N_SMOOTH].max(),
    ]


def snapshot_milliseconds(shapes: Shapes, repeats: int) -> float:
    """Of a copy of two averages."""
    averages = [numbers(shapes, seed) for seed in range(len(kept.EDM2))]
    return 1e3 * in_turns({"snapshot": lambda: kept.snapshot(averages)}, repeats)["snapshot"]


# How near, and rounding


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
    smooth = dict(list(wanted(n).items())[:N_SMOOTH])
    columns = []
    for dtype in DTYPES:
        weights, state = listen(path, start, dtype)
        for measure in (_distance, _angle):
            columns.append([])
            for profile in smooth.values():
                average = suggested(n).averaging(profile, n, **LISTENING, beaker_dtype=dtype)
                exact = shares(profile, n) @ path.astype(np.float64)
                read = np.asarray(readout(state, weights, average.weights), np.float64)
                columns[-1].append(100 * measure(read, exact))
    head = ["profile", *(f"{dtype}: {what}" for dtype in DTYPES for what in ("distance", "1 − cosine"))]
    title = f"Averages that were read, against those in float64, %, after {n} updates"
    return Table(title, head, [list(row) for row in zip(smooth, *columns, strict=True)], [0, 2, 4, 2, 4])


def _distance(read: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(read - exact) / np.linalg.norm(exact))


def _angle(read: np.ndarray, exact: np.ndarray) -> float:
    return float(1 - read @ exact / np.linalg.norm(read) / np.linalg.norm(exact))


@dataclass(frozen=True)
class AveragesOptions(Options):
    """Averages of past weights: from a chain that listens, and kept in every step. All parts by default.

    Attributes:
        cost: The table of times and bytes.
        misfits: The table of misfits, in seconds.
        rounding: The table of rounding, in seconds.
        accuracy: The table of accuracies, and the figures.
        large: Parameters of the large array.
        data_dir: Folder with MNIST; without it, the digits are learned.
        seeds: Trainings of each kind.
    """

    cost: bool = False
    misfits: bool = False
    rounding: bool = False
    accuracy: bool = False
    large: float = 2e7
    data_dir: Path | None = None
    seeds: int = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """The parts that are asked for, or all."""
    given, _ = parse(AveragesOptions, "benchmarks.averages", arguments)
    everything = not (given.cost or given.misfits or given.rounding or given.accuracy)
    if everything or given.cost:
        publish("averages-cost", given.out, [cost(given.large, given.repeats)])
    if everything or given.misfits:
        publish("averages-misfits", given.out, [misfits()])
    if everything or given.rounding:
        publish("averages-rounding", given.out, [rounding()])
    if everything or given.accuracy:
        data = load("MNIST", given.data_dir) if given.data_dir else load("Digits")
        found = {one.title: accuracies(data, one, given.seeds) for one in SETTINGS}
        table, figure = accuracy_table(data.name, found), accuracy_figure(data.name, found)
        publish("averages-accuracy", given.out, [table], figure)
        if given.out is not None:
            save(profiles_figure(), given.out, "averages-profiles")


if __name__ == "__main__":
    main()
