"""A training's parts as compiled programs, for teams of seeds and several configurations on devices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.methods.interface import Method, make_method
from experiments.lab.models.making import network_of
from experiments.lab.options.settings import Settings
from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples
from experiments.lab.training.devices import Spread
from experiments.lab.training.programs import (
    Carry,
    at_the_start,
    count_answers,
    end_of_task,
    probe_beakers,
    training_loop,
)
from experiments.lab.training.teams import Material, Team


class CompiledPrograms:
    """The compiled parts of one training. All teams share them, for they are of one size.

    Args:
        configurations: the settings that train together, as the method has them.
        method: the method's name.
        readings: what each of their weights is evaluated with, for its shapes.
        problem: the tasks.
        material: what it works with.
        spread: how its runs lie on the devices.
        arguments: the numbers that are arguments of the programs though they do not differ.
        probed: whether the beakers are to be measured.

    Attributes:
        axes: along which axis each array that the loop hands on is divided among the devices.
    """

    def __init__(
        self,
        configurations: Sequence[Settings],
        method: str,
        readings: Sequence[tuple[Any, ...]],
        problem: Problem,
        material: Material,
        spread: Spread,
        arguments: Collection[str] = (),
        probed: bool = False,
    ) -> None:
        self._settings, self._n, self._method = configurations[0], len(configurations), method
        self._problem, self._material, self._spread = problem, material, spread
        how = make_method(self._settings, method)
        self._network = network_of(self._settings, problem)
        numbers = _numbers(spread.configurations(configurations), method, arguments)
        self._numbers = spread.place(numbers, configurations=0)
        self.axes, self._initial = self._start()
        carry, team = self._initial[0], material.teams[0]  # for their shapes
        self._run = self._compile_loop(carry, team)
        reading, rest = self.placed(readings), team.rest
        self._on_subset = self._compile_evaluation(carry, reading, team, team.subset)
        self._on_rest = self._compile_evaluation(carry, reading, team, rest) if rest.rows.size else None
        self._look = self._compile_probes(carry, team) if probed else None
        self._end_task = self._compile_end_of_task(carry, team) if how.consolidate is not None else None
        jax.block_until_ready(self._initial)

    def begin(self) -> list[Carry]:
        """What the loop begins with, of each team: to be had once, for the loop takes its memory."""
        initial, self._initial = self._initial, []
        return initial

    @property
    def has_task_ends(self) -> bool:
        """Whether there is something to do at the end of a task."""
        return self._end_task is not None

    def advance(self, carry: Carry, first: int, stop: int, team: Team) -> Carry:
        """Train one team for a stretch of iterations."""
        out: Carry = self._run(
            self._numbers, carry, first, stop, team.stream, self._material.train, team.view
        )
        return out

    def placed(self, readings: Sequence[tuple[Any, ...]]) -> Any:
        """What the weights of each configuration are evaluated with, stacked over them, on the devices."""
        each = readings if self._n == 1 else self._spread.configurations(readings)
        tree = each[0] if self._n == 1 else jax.tree.map(lambda *arrays: np.stack(arrays), *each)
        return self._spread.place(tree, configurations=0)

    def count_on_subset(self, carries: Sequence[Carry], reading: Any) -> np.ndarray:
        """Right answers, and all, on the samples for the log points: ``[2, tasks, runs]``.

        Args:
            carries: what each team has handed on.
            reading: what the weights are evaluated with, as `placed` gives it.
        """
        parts = [team.subset for team in self._material.teams]
        return self._counted(self._on_subset, carries, reading, parts)

    def count_on_rest(self, carries: Sequence[Carry], reading: Any) -> np.ndarray | None:
        """The same on all other samples; None where there are none."""
        if self._on_rest is None:
            return None
        parts = [team.rest for team in self._material.teams]
        return self._counted(self._on_rest, carries, reading, parts)

    def look(self, carries: Sequence[Carry]) -> dict[str, np.ndarray]:
        """What is measured of the beakers, runs last."""
        assert self._look is not None
        seen = [
            self._look(self._numbers, carry, team.subset, self._material.test, team.view)
            for carry, team in zip(carries, self._material.teams, strict=True)
        ]
        return {name: self.of_runs([np.asarray(of[name]) for of in seen]) for name in seen[0]}

    def end_task(self, carries: Sequence[Carry], task: int) -> list[Carry]:
        """Let the method take in a task that has ended."""
        assert self._end_task is not None
        train = self._material.train
        return [
            self._end_task(self._numbers, carry, task, team.keys, team.learned, train, team.view)
            for carry, team in zip(carries, self._material.teams, strict=True)
        ]

    def of_runs(self, of_teams: Sequence[np.ndarray]) -> np.ndarray:
        """What all teams have, runs last, without what only fills."""
        return np.concatenate([of_team[..., self._spread.real] for of_team in of_teams], axis=-1)

    def _counted(
        self, count: Callable[..., Any], carries: Sequence[Carry], reading: Any, parts: Sequence[Samples]
    ) -> np.ndarray:
        counts = [
            np.stack(count(self._numbers, carry, reading, part, self._material.test, team.view))
            for carry, team, part in zip(carries, self._material.teams, parts, strict=True)
        ]
        tasks = self._settings.tasks
        return self.of_runs([of_team.reshape(2, -1, tasks).swapaxes(1, 2) for of_team in counts])

    def _configured(self, part: Callable[[Settings, Method], Any], *in_axes: Any) -> Callable[..., Any]:
        """A part of the training, as a function of the numbers that differ and of what it needs."""

        def of_one(numbers: Mapping[str, Any], *arguments: Any) -> Any:
            one = replace(self._settings, **numbers)
            return part(one, make_method(one, self._method))(*arguments)

        return of_one if self._n == 1 else jax.vmap(of_one, in_axes=(0, *in_axes))

    def _start(self) -> tuple[Any, list[Carry]]:
        """The axes of what is handed on, and what the loop begins with."""
        teams, spread, init = self._material.teams, self._spread, self._network.init
        weights = jax.eval_shape(init, teams[0].keys)
        begin = self._configured(at_the_start, None, None)

        def shapes(number: int) -> Any:
            """Of what is handed on, with this number of seeds."""
            few = jax.tree.map(lambda w: jax.ShapeDtypeStruct((number, *w.shape[1:]), w.dtype), weights)
            return jax.eval_shape(begin, self._numbers, *few)

        axes = spread.axes(shapes)
        initial = [spread.place(init(team.keys), seeds=0) for team in teams]
        started = spread.compile(begin, self._numbers, *initial[0], out=axes)
        return axes, [started(self._numbers, *of_team) for of_team in initial]

    def _compile_loop(self, carry: Carry, team: Team) -> Callable[..., Any]:
        def loop(one: Settings, how: Method) -> Callable[..., Carry]:
            return training_loop(one, self._problem, self._network, how)

        run = self._configured(loop, 0, None, None, None, None, None)
        needed = carry, 0, 0, team.stream, self._material.train, team.view
        return self._spread.compile(run, self._numbers, *needed, out=self.axes, donate=1)

    def _compile_evaluation(
        self, carry: Carry, reading: Any, team: Team, part: Samples
    ) -> Callable[..., Any]:
        def count(one: Settings, how: Method) -> Callable[..., tuple[jax.Array, jax.Array]]:
            return count_answers(self._problem, self._network, how)

        counting = self._configured(count, 0, 0, None, None, None)
        out = self._spread.axis(seeds=0 if self._n == 1 else 1, configurations=0)
        needed = carry, reading, part, self._material.test, team.view
        return self._spread.compile(counting, self._numbers, *needed, out=out)

    def _compile_probes(self, carry: Carry, team: Team) -> Callable[..., Any]:
        assert self._n == 1, "probes are for a single configuration"

        def probe(one: Settings, how: Method) -> Callable[..., dict[str, jax.Array]]:
            return probe_beakers(one, self._problem, self._network)

        needed = carry, team.subset, self._material.test, team.view
        return self._spread.compile(
            self._configured(probe), self._numbers, *needed, out=self._spread.axis(seeds=2)
        )

    def _compile_end_of_task(self, carry: Carry, team: Team) -> Callable[..., Any]:
        def end(one: Settings, how: Method) -> Callable[..., Carry]:
            return end_of_task(self._problem, self._network, how)

        ended = self._configured(end, 0, None, None, None, None, None)
        needed = carry, 0, team.keys, team.learned, self._material.train, team.view
        return self._spread.compile(ended, self._numbers, *needed, out=self.axes, donate=1)


def _numbers(
    configurations: Sequence[Settings], method: str, arguments: Collection[str]
) -> dict[str, jax.Array]:
    """These settings and those that differ: ``[configurations]``, or single numbers where there is one."""
    first = asdict(configurations[0])
    differ = [name for name in first if any(getattr(c, name) != first[name] for c in configurations)]
    together = configurations[0].methods[method].together
    assert {*differ, *arguments} <= {*together}, f"not just numbers: {differ}, {arguments}"
    values = {name: [getattr(c, name) for c in configurations] for name in sorted({*differ, *arguments})}
    one = len(configurations) == 1
    return {name: jnp.asarray(v[0] if one else v, jnp.float32) for name, v in values.items()}
