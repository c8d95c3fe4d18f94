"""The seeds of a training in teams, and what each team is trained and evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.methods.interface import Method
from experiments.lab.options.settings import Settings
from experiments.lab.tasks.answers import Data, View
from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples, evaluation_samples, fisher_samples, of_one_length
from experiments.lab.tasks.streams import tasks_seen, training_stream
from experiments.lab.training.devices import Spread


class Team(NamedTuple):
    """What the seeds of one team are trained and evaluated on."""

    keys: jax.Array  # random ones, one for each seed
    stream: Samples  # [iterations, seeds, batch]
    view: View
    subset: Samples  # [seeds, samples]
    rest: Samples  # [seeds, samples]
    learned: Samples | None  # for the Fisher information, [tasks, seeds, samples]


class Material(NamedTuple):
    """What a training works with, on the devices: all teams, and both halves of the data."""

    teams: list[Team]
    train: Data
    test: Data


def make_material(
    settings: Settings, problem: Problem, how: Method, seeds: Sequence[int], spread: Spread
) -> Material:
    """Make the streams and samples of all seeds, and put them and the data where they belong.

    Args:
        settings: valid settings.
        problem: the tasks.
        how: the method, which decides the stream.
        seeds: all of them.
        spread: how they lie on the devices.

    Raises:
        SettingsError: if the data cannot fill a batch, or lacks a class.
    """
    groups = spread.teams(seeds)
    views = {seed: problem.seen_by(seed) for seed in seeds}

    def samples(of: Callable[[Settings, Problem, int], Any]) -> list[Any]:
        return [of(settings, view, seed) for seed, view in views.items()]

    def stacked(each: Sequence[Any], axis: int) -> list[Any]:
        """What each seed has, of each team along this axis."""
        of_seed = dict(zip(views, each, strict=True))
        return [
            spread.place(
                jax.tree.map(lambda *arrays: np.stack(arrays, axis), *(of_seed[seed] for seed in group)),
                seeds=axis,
            )
            for group in groups
        ]

    keys = [spread.place(jnp.stack([jax.random.key(seed) for seed in group]), seeds=0) for group in groups]
    subsets, rests = zip(*samples(evaluation_samples), strict=True)
    parts = (
        keys,
        stacked(samples(how.stream), axis=1),
        stacked([View(problem.permutations(seed), problem.places(seed)) for seed in seeds], axis=0),
        stacked(of_one_length(subsets), axis=0),
        stacked(of_one_length(rests), axis=0),
        stacked(samples(fisher_samples), axis=1) if how.needs_fisher else [None] * len(groups),
    )
    halves = (Data(spread.place(half.x), spread.place(half.y)) for half in (problem.train, problem.test))
    return Material([Team(*of_team) for of_team in zip(*parts, strict=True)], *halves)


def tasks_shown(
    settings: Settings, problem: Problem, seeds: Sequence[int], iterations: Sequence[int]
) -> np.ndarray:
    """Which tasks the stream has shown before each of some iterations: bool ``[seeds, iterations, tasks]``.

    It is the stream of the settings, whatever that of the method: joint training is compared over the same.
    """
    streams = (training_stream(settings, problem.seen_by(seed), seed) for seed in seeds)
    return np.array([tasks_seen(stream, settings.tasks, iterations) for stream in streams])
