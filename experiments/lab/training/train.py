"""Training: all seeds of one method side by side, the data on the device, one jitted loop between log points.

Parameters and optimizer state are stacked over seeds. The gradient is mapped over them; an optimizer that
works element by element acts on the stacked tree as it is: its counters stay single numbers, and the
links of a complex synapse that rest cost nothing. Others are mapped
(`experiments.lab.methods.builtin.over_seeds`). On a CPU the seeds are divided into teams that take turns
between two log points, for the sake of its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.data.dataset import Dataset
from experiments.lab.methods.interface import Method, make_method
from experiments.lab.models.network import network_of
from experiments.lab.options.pinned import pinned
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run, Seconds
from experiments.lab.tasks.answers import Data, View
from experiments.lab.tasks.problems import Problem, make_problem
from experiments.lab.tasks.streams import (
    Samples,
    evaluation_samples,
    fisher_samples,
    of_one_length,
    tasks_seen,
    training_stream,
)
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.devices import Spread, local_devices
from experiments.lab.training.log import Log, Timer
from experiments.lab.training.probes import layer_names
from experiments.lab.training.programs import (
    Carry,
    at_the_start,
    count_answers,
    end_of_task,
    probe_beakers,
    training_loop,
)
from experiments.lab.training.progress import Progress

Observer = Callable[[Progress], None]


class _Team(NamedTuple):
    """What the seeds of one team are trained and evaluated on."""

    keys: jax.Array  # random ones, one for each seed
    stream: Samples  # [iterations, seeds, batch]
    view: View
    subset: Samples  # [seeds, samples]
    rest: Samples  # [seeds, samples]
    learned: Samples | None  # for the Fisher information, [tasks, seeds, samples]


@pinned()
def train(
    configurations: Sequence[Settings],
    method: str,
    seeds: Sequence[int],
    dataset: Dataset,
    observe: Observer,
    checkpoints: Checkpoints | None = None,
    arguments: Collection[str] = (),
    probed: bool = False,
    devices: int = 1,
) -> tuple[list[list[Run]], Seconds]:
    """Train one method with several seeds, and perhaps several configurations, at once.

    Args:
        configurations: valid settings, which differ in nothing that the method makes use of but numbers that
            it declares as such (`experiments.lab.options.declaration.Declaration.together`).
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
    configurations = [one.of_method(method) for one in configurations]
    settings, n = configurations[0], len(configurations)
    spread = Spread(n, len(seeds), local_devices(devices))
    groups = spread.teams(seeds)
    problem, how = make_problem(settings, dataset), make_method(settings, method)
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
    teams = [
        _Team(*parts)
        for parts in zip(
            keys,
            stacked(samples(how.stream), axis=1),
            stacked([View(problem.permutations(seed), problem.places(seed)) for seed in seeds], axis=0),
            stacked(of_one_length(subsets), axis=0),
            stacked(of_one_length(rests), axis=0),
            stacked(samples(fisher_samples), axis=1) if how.needs_fisher else [None] * len(groups),
            strict=True,
        )
    ]
    train_data, test_data = (
        Data(spread.place(half.x), spread.place(half.y)) for half in (problem.train, problem.test)
    )
    log = Log(settings, n * len(seeds), probed)
    log.seen = np.tile(
        [
            tasks_seen(training_stream(settings, v, s), settings.tasks, log.evaluated_at)
            for s, v in views.items()
        ],
        (n, 1, 1),
    )
    timer = Timer()

    with timer("compile"):
        network = network_of(settings, problem)
        numbers = spread.place(
            _numbers(spread.configurations(configurations), method, arguments), configurations=0
        )

        def configured(part: Callable[[Settings, Method], Any], *in_axes: Any) -> Callable[..., Any]:
            """A part of the training, as a function of the numbers that differ and of what it needs."""

            def of_one(numbers: Mapping[str, Any], *arguments: Any) -> Any:
                one = replace(settings, **numbers)
                return part(one, make_method(one, method))(*arguments)

            return of_one if n == 1 else jax.vmap(of_one, in_axes=(0, *in_axes))

        def start(one: Settings, how: Method) -> Callable[..., Carry]:
            return at_the_start(settings, how)

        def loop(one: Settings, how: Method) -> Callable[..., Carry]:
            return training_loop(one, problem, network, how)

        def count(one: Settings, how: Method) -> Callable[..., tuple[jax.Array, jax.Array]]:
            return count_answers(problem, network, how)

        def probe(one: Settings, how: Method) -> Callable[..., dict[str, jax.Array]]:
            return probe_beakers(one, problem, network)

        def end(one: Settings, how: Method) -> Callable[..., Carry]:
            return end_of_task(problem, network, how)

        weights = jax.eval_shape(network.init, teams[0].keys)
        begin = configured(start, None, None)

        def shapes(number: int) -> Any:
            """Of what is handed on, with this number of seeds."""
            few = jax.tree.map(lambda w: jax.ShapeDtypeStruct((number, *w.shape[1:]), w.dtype), weights)
            return jax.eval_shape(begin, numbers, *few)

        axes = spread.axes(shapes)
        initial = [spread.place(network.init(team.keys), seeds=0) for team in teams]
        started = spread.compile(begin, numbers, *initial[0], out=axes)
        carries = [started(numbers, *of_team) for of_team in initial]
        del initial
        carry, team = carries[0], teams[0]  # for their shapes
        run = spread.compile(
            configured(loop, 0, None, None, None, None, None),
            numbers,
            carry,
            0,
            0,
            team.stream,
            train_data,
            team.view,
            out=axes,
            donate=1,
        )
        counts = spread.axis(seeds=0 if n == 1 else 1, configurations=0)

        def evaluation(like: Any, part: Samples) -> Callable[..., Any]:
            counting = configured(count, 0, None, None, None)
            return spread.compile(counting, numbers, like, part, test_data, team.view, out=counts)

        on_subset = evaluation(carry, team.subset)
        on_rest = evaluation(carry, team.rest) if team.rest.rows.size else None
        if probed:
            assert n == 1, "probes are for a single configuration"
            look = spread.compile(
                configured(probe),
                numbers,
                carry,
                team.subset,
                test_data,
                team.view,
                out=spread.axis(seeds=2),
            )
        end_task = None
        if how.consolidate is not None:
            end_task = spread.compile(
                configured(end, 0, None, None, None, None, None),
                numbers,
                carry,
                0,
                team.keys,
                team.learned,
                train_data,
                team.view,
                out=axes,
                donate=1,
            )
        del carry
        jax.block_until_ready(carries)

    def of_runs(of_teams: Iterable[np.ndarray]) -> np.ndarray:
        """Those of all teams, runs last, without what only fills."""
        return np.concatenate([of_team[..., spread.real] for of_team in of_teams], axis=-1)

    def counted(count: Callable[..., Any], parts: Iterable[Samples]) -> np.ndarray:
        """How many samples of the teams are right, and how many there are: ``[2, tasks, runs]``."""
        counts = (
            np.stack(count(numbers, carry, part, test_data, team.view))
            for carry, team, part in zip(carries, teams, parts, strict=True)
        )
        return of_runs(of_team.reshape(2, -1, settings.tasks).swapaxes(1, 2) for of_team in counts)

    def fractions(counts: np.ndarray) -> np.ndarray:
        """Divided on the host in float64, ``[runs, tasks]``: exact, whatever the device rounds to."""
        return (counts[0] / counts[1]).T

    done = -1  # not even evaluated at the start
    if checkpoints is not None and (kept := checkpoints.find(spread.gathered(carries, axes))) is not None:
        done, carries = kept.iteration, spread.scatter(kept.carry, axes)
        log.restore(kept.records)
    for stop in log.stops_after(done):
        began = max(done, 0)
        with timer("train"):
            if stop > began:
                for number, team in enumerate(teams):
                    carries[number] = run(
                        numbers, carries[number], began, stop, team.stream, train_data, team.view
                    )
                log.losses[began:stop] = of_runs(
                    np.moveaxis(np.asarray(carry.losses), -2, 0)[began:stop].reshape(stop - began, -1)
                    for carry in carries
                )
        with timer("evaluate"):
            if stop in log.evaluated_at:
                of_subset = counted(on_subset, (team.subset for team in teams))
                log.accuracy.append(fractions(of_subset))
                if probed:
                    seen = [
                        look(numbers, carry, team.subset, test_data, team.view)
                        for carry, team in zip(carries, teams, strict=True)
                    ]
                    log.look({name: of_runs(np.asarray(of[name]) for of in seen) for name in seen[0]})
                if stop in (0, *log.matrix_at):
                    of_all = of_subset
                    if on_rest is not None:
                        of_all = of_subset + counted(on_rest, (team.rest for team in teams))
                    log.matrix.append(fractions(of_all))
        if end_task is not None and stop in log.matrix_at[:-1]:
            with timer("train"):
                task = log.matrix_at.index(stop)
                carries = [
                    end_task(numbers, carry, task, team.keys, team.learned, train_data, team.view)
                    for carry, team in zip(carries, teams, strict=True)
                ]
                jax.block_until_ready(carries)
        done = stop
        try:
            observe(log.progress(began, stop))
        except KeyboardInterrupt:
            if checkpoints is not None:
                checkpoints.keep(stop, spread.gather(carries, axes), log.records(), Seconds(**timer.seconds))
            raise
        last = stop == settings.total_iterations
        if checkpoints is not None and (checkpoints.due or (last and checkpoints.at_the_end)):
            checkpoints.keep(stop, spread.gather(carries, axes), log.records(), Seconds(**timer.seconds))
    layers = layer_names(carries[0].params) if probed else []
    runs = log.runs(method, [*seeds] * n, layers)
    return [runs[i : i + len(seeds)] for i in range(0, len(runs), len(seeds))], Seconds(**timer.seconds)


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
