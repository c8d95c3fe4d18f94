"""Training: all seeds of one method side by side, the data on the device, one jitted loop between log points.

Parameters and optimizer state are stacked over seeds. The gradient is mapped over them; an optimizer that
works element by element acts on the stacked tree as it is: its counters stay single numbers, and the
links of a complex synapse that rest cost nothing. Others are mapped
(`experiments.lab.methods.interface.over_seeds`). On a CPU the seeds are divided into teams that take turns
between two log points, for the sake of its cache.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np

from experiments.lab.data.dataset import Dataset
from experiments.lab.methods.interface import make_method
from experiments.lab.options.pinned import pinned
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run, Seconds
from experiments.lab.tasks.problems import make_problem
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.compiled import CompiledPrograms
from experiments.lab.training.devices import Spread, local_devices
from experiments.lab.training.log import Log, Timer
from experiments.lab.training.probes import layer_names
from experiments.lab.training.progress import Observe
from experiments.lab.training.readings import Readings
from experiments.lab.training.teams import Material, make_material, tasks_shown


@pinned()
def train(
    configurations: Sequence[Settings],
    method: str,
    seeds: Sequence[int],
    dataset: Dataset,
    observe: Observe,
    checkpoints: Checkpoints | None = None,
    arguments: Collection[str] = (),
    probed: bool = False,
    devices: int = 1,
) -> tuple[list[list[Run]], Seconds]:
    """Train one method with several seeds, and perhaps several configurations, at once.

    Args:
        configurations: valid settings, which differ in nothing that the method makes use of but numbers that
            it declares as such (`experiments.lab.options.declaration.Declaration.together`), and what its
            weights are evaluated by (`evaluated_by`). Those that differ in the latter alone share a training.
        method: the name of one of the settings' methods.
        seeds: one run each; its initial weights, batches and permutations follow from its seed alone.
        dataset: the data set that the settings name.
        observe: called at every log point, between two stretches of the loop; its report has all runs, the
            seeds of one configuration after those of another.
        checkpoints: where to keep the state at log points, and to find one to go on from. None keeps none.
        arguments: names of such numbers that the compiled program takes as arguments, though they do
            not differ: it is then found compiled when another value is trained. Those that differ always are.
        probed: whether to measure the beakers at every evaluation; with one configuration of a method with
            complex synapses.
        devices: how many devices the runs are divided among; the results are the same, but for rounding.

    Returns:
        For each configuration one run for each seed, in their order, and the time they took together (since
        the checkpoint, if they went on from one).

    Raises:
        SettingsError: if the data cannot fill a batch, or lacks a class; or there are fewer devices.
        KeyboardInterrupt: if ``observe`` raises it; the state has then been kept.
    """
    readings, n = Readings(configurations, method), len(configurations)
    settings = readings.trainings[0]
    spread = Spread(len(readings.trainings), len(seeds), local_devices(devices))
    problem = make_problem(settings, dataset)
    material = make_material(settings, problem, make_method(settings, method), seeds, spread)
    log, timer = Log(settings, readings.trained(len(seeds)), probed), Timer()
    log.seen = np.tile(tasks_shown(settings, problem, seeds, log.evaluated_at), (n, 1, 1))
    with timer("compile"):
        programs = CompiledPrograms(
            readings.trainings, method, next(readings.at(0)), problem, material, spread, arguments, probed
        )
    training = _Training(programs, readings, material, spread, log, timer, checkpoints)
    training.go_on()
    training.finish(observe)
    runs = log.runs(method, [*seeds] * n, training.layers if probed else [])
    return [runs[i : i + len(seeds)] for i in range(0, len(runs), len(seeds))], Seconds(**timer.seconds)


class _Training:
    """A training under way: what the loop hands on, and what is recorded of it.

    Args:
        programs: its compiled parts.
        readings: what its weights are evaluated with.
        material: what it works with.
        spread: how its runs lie on the devices.
        log: takes what is recorded.
        timer: takes the seconds.
        checkpoints: see `train`.
    """

    def __init__(
        self,
        programs: CompiledPrograms,
        readings: Readings,
        material: Material,
        spread: Spread,
        log: Log,
        timer: Timer,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._programs, self._teams, self._spread = programs, material.teams, spread
        self._readings = readings
        self._log, self._timer, self._checkpoints = log, timer, checkpoints
        self._carries = programs.begin()
        self._done = -1  # not even evaluated at the start

    @property
    def layers(self) -> list[str]:
        """The names of the layers that are probed."""
        return layer_names(self._carries[0].params)

    def go_on(self) -> None:
        """Take up the state of a checkpoint, if there is one."""
        if self._checkpoints is None:
            return
        kept = self._checkpoints.find(self._spread.gathered(self._carries, self._programs.axes))
        if kept is not None:
            self._done = kept.iteration
            self._carries = self._spread.scatter(kept.carry, self._programs.axes)
            self._log.restore(kept.records)

    def finish(self, observe: Observe) -> None:
        """Train to the end, log point by log point.

        Raises:
            KeyboardInterrupt: if ``observe`` raises it; the state has then been kept.
        """
        stops = self._log.stops_after(self._done)
        for stop in stops:
            began = max(self._done, 0)
            self._advance(began, stop)
            self._evaluate(stop)
            self._end_task(stop)
            self._done = stop
            try:
                observe(self._log.progress(began, stop))
            except KeyboardInterrupt:
                self._keep()
                raise
            if self._checkpoints is not None:
                at_the_end = stop == stops[-1] and self._checkpoints.at_the_end
                if self._checkpoints.due or at_the_end:
                    self._keep()
        self._check_last_update()

    def _check_last_update(self) -> None:
        """Note which runs have weights that are not finite: no loss comes after the last update to tell."""
        finite = []
        for carry in self._carries:
            of_run = carry.losses.ndim - 1  # so many axes before a parameter's own
            leaves = [np.isfinite(np.asarray(leaf)) for leaf in jax.tree.leaves(carry.params)]
            each = [leaf.all(axis=tuple(range(of_run, leaf.ndim))).ravel() for leaf in leaves]
            finite.append(np.logical_and.reduce(each))
        self._log.lost = ~self._programs.of_runs(finite)

    def _advance(self, began: int, stop: int) -> None:
        with self._timer("train"):
            if stop == began:
                return
            for number, team in enumerate(self._teams):
                self._carries[number] = self._programs.advance(self._carries[number], began, stop, team)
            losses = [
                np.moveaxis(np.asarray(carry.losses), -2, 0)[began:stop].reshape(stop - began, -1)
                for carry in self._carries
            ]
            self._log.losses[began:stop] = self._programs.of_runs(losses)

    def _evaluate(self, stop: int) -> None:
        log, programs = self._log, self._programs
        if stop not in log.evaluated_at:
            return
        with self._timer("evaluate"):
            in_full, counts, known = stop in (0, *log.matrix_at), [], {}
            for each in self._readings.at(stop):
                arrays = tuple(array.tobytes() for array in jax.tree.leaves(each))
                if arrays not in known:  # at the start all averages are the same
                    known[arrays] = self._count(programs.placed(each), in_full)
                counts.append(known[arrays])
            subset, whole = zip(*counts, strict=True)
            log.accuracy.append(_fractions(self._readings.of_runs(subset)))
            if log.probes:
                log.look(programs.look(self._carries))
            if in_full:
                log.matrix.append(_fractions(self._readings.of_runs(whole)))

    def _count(self, reading: Any, in_full: bool) -> tuple[np.ndarray, np.ndarray]:
        """Right answers, and all, on the subset; and on the whole test set where that is to be known."""
        subset = self._programs.count_on_subset(self._carries, reading)
        rest = self._programs.count_on_rest(self._carries, reading) if in_full else None
        return subset, subset if rest is None else subset + rest

    def _end_task(self, stop: int) -> None:
        if self._programs.has_task_ends and stop in self._log.task_ends[:-1]:
            with self._timer("train"):
                task = self._log.task_ends.index(stop)
                self._carries = self._programs.end_task(self._carries, task)
                jax.block_until_ready(self._carries)

    def _keep(self) -> None:
        if self._checkpoints is not None:
            carry = self._spread.gather(self._carries, self._programs.axes)
            self._checkpoints.keep(self._done, carry, self._log.records(), Seconds(**self._timer.seconds))


def _fractions(counts: np.ndarray) -> np.ndarray:
    """Divided on the host in float64, ``[runs, tasks]``: exact, whatever the device rounds to."""
    return (counts[0] / counts[1]).T
