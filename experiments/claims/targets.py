"""Targets that drift, seen through noise, and the best filter there is, Kalman's."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.signal

NOISE = 1.0  # variance of the observations around the target, whose own is 1


@dataclass(frozen=True)
class World:
    """What drifts.

    Attributes:
        name: in words.
        timescales: of the processes, in iterations; their variances are equal and sum to 1.
    """

    name: str
    timescales: tuple[float, ...]

    @property
    def kept(self) -> np.ndarray:
        """What is left of each process after an iteration."""
        return np.exp(-1 / np.array(self.timescales))

    @property
    def variance(self) -> float:
        """Of each process."""
        return 1 / len(self.timescales)


WORLDS = (
    World("timescales 10 to 10 000", (10.0, 100.0, 1000.0, 10_000.0)),
    World("one timescale, 100", (100.0,)),
)


class Trajectories(NamedTuple):
    """Targets and their observations, each ``[n_iterations, seeds, n_targets]``."""

    target: np.ndarray
    seen: np.ndarray


def drifting(world: World, seeds: Iterable[int], n_targets: int, n_iterations: int) -> Trajectories:
    """Targets, stationary from the first, and what is seen of them; each seed makes its own."""
    targets, observations = [], []
    for seed in seeds:
        random = np.random.default_rng(seed)
        target = np.zeros((n_iterations, n_targets))
        for kept in world.kept:
            steps = random.normal(0.0, np.sqrt(world.variance * (1 - kept**2)), target.shape)
            steps[0] = random.normal(0.0, np.sqrt(world.variance), n_targets)
            target += scipy.signal.lfilter([1.0], [1.0, -kept], steps, axis=0)
        targets.append(target)
        observations.append(target + random.normal(0.0, np.sqrt(NOISE), target.shape))
    return Trajectories(np.stack(targets, axis=1), np.stack(observations, axis=1))


def kalman_variance(world: World) -> float:
    """Error of the best filter, from the Riccati equation, just after an observation."""
    predicted, gain = _kalman(world)
    return float(predicted.sum() - gain.sum() * predicted.sum())


def kalman_error(world: World, run: Trajectories) -> np.ndarray:
    """Mean squared error of the stationary Kalman filter over the second half of a run, of each seed."""
    _, gain = _kalman(world)
    gain, kept = gain[:, None, None], world.kept[:, None, None]
    state, errors = np.zeros((len(gain), *run.target.shape[1:])), []
    for target, y in zip(run.target, run.seen, strict=True):
        state = kept * state
        state += gain * (y - state.sum(axis=0))
        errors.append(np.mean((state.sum(axis=0) - target) ** 2, axis=1))
    return np.asarray(np.mean(errors[len(errors) // 2 :], axis=0))


def _kalman(world: World) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of the processes just before an observation ``[n, n]``, and the gain ``[n]``."""
    moved = np.diag(world.variance * (1 - world.kept**2))
    seen = np.ones((len(moved), 1))
    predicted = scipy.linalg.solve_discrete_are(np.diag(world.kept), seen, moved, np.array([[NOISE]]))
    return predicted, predicted.sum(axis=1) / (predicted.sum() + NOISE)
