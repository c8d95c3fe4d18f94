"""Configurations that one training serves: those that differ in nothing but how its weights are evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments.lab.methods.interface import make_method
from experiments.lab.options.settings import Settings
from experiments.lab.system import modules
from experiments.lab.system.errors import MethodError


class Readings:
    """What the weights of several configurations are evaluated with, and which trainings they share.

    One compiled evaluation serves all: it is called once for each reading. So what a configuration measures
    does not depend on which others are evaluated in the same training.

    Args:
        configurations: the settings.
        method: the method's name.

    Attributes:
        trainings: the settings of the trainings, as the method has them.
        training_of: [configurations], the place of the training of each.
    """

    def __init__(self, configurations: Sequence[Settings], method: str) -> None:
        self._method = method
        trained = [one.as_trained(method) for one in configurations]
        self.trainings = list(dict.fromkeys(trained))
        self.training_of = np.array([self.trainings.index(one) for one in trained])
        self._hows = [make_method(one, method) for one in configurations]
        served = [np.flatnonzero(self.training_of == place) for place in range(len(self.trainings))]
        # One call reads one configuration of each training; a training with fewer has its last one again.
        n_calls = max(len(places) for places in served)
        self._calls = [[places[min(call, len(places) - 1)] for places in served] for call in range(n_calls)]
        self._call_of = {place: call for call, each in reversed([*enumerate(self._calls)]) for place in each}
        self._like: Any = None  # the first one's shapes

    def at(self, iteration: int) -> Iterator[list[tuple[Any, ...]]]:
        """Of one call after the other, what the weights of each training are read with.

        Each is empty, or has one tree of NumPy arrays in it.

        Raises:
            MethodError: if the method's reading fails, or changes its shapes.
        """
        for places in self._calls:
            yield [self._arrays(place, iteration) for place in places]

    def trained(self, n_seeds: int) -> np.ndarray:
        """The place of each run among those that are trained, ``[configurations × seeds]``."""
        return (n_seeds * self.training_of[:, None] + np.arange(n_seeds)).ravel()

    def of_runs(self, of_calls: Sequence[np.ndarray]) -> np.ndarray:
        """What each configuration's runs have, runs last, of what each call has of the trained runs."""
        n_seeds = of_calls[0].shape[-1] // len(self.trainings)
        trained = self.trained(n_seeds).reshape(-1, n_seeds)
        each = [of_calls[self._call_of[place]][..., columns] for place, columns in enumerate(trained)]
        return np.concatenate(each, axis=-1)

    def _arrays(self, place: int, iteration: int) -> tuple[Any, ...]:
        reading = self._hows[place].reading
        if reading is None:
            return ()
        what = f"method {self._method}: its reading"
        try:
            tree = jax.tree.map(_as_array, reading(iteration))
        except Exception as error:
            raise MethodError(f"{what} after {iteration} iterations: {modules.told(error)}") from error
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
        self._like = shapes if self._like is None else self._like
        if shapes != self._like:
            raise MethodError(f"{what} must have the same shapes after all iterations, whatever the settings")
        return (tree,)


def _as_array(leaf: Any) -> np.ndarray:
    """With the number of bits that JAX computes with."""
    array = np.asarray(leaf)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
