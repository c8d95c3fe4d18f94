"""Training: all seeds of one method side by side, the data on the device, one jitted loop between log points.

Parameters and optimizer state are stacked over seeds. The gradient is mapped over them; an optimizer that
works element by element acts on the stacked tree as it is: its counters stay single numbers, and the
links of a complex synapse that rest cost nothing. Others are mapped (`methods.over_seeds`). On a CPU the
seeds are divided into teams that take turns between two log points, for the sake of its cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.lab.checkpoints import Checkpoints
from experiments.lab.data import Dataset
from experiments.lab.devices import Spread, local_devices
from experiments.lab.fisher import fisher_information
from experiments.lab.methods import Method, as_trained, distillation, make_method
from experiments.lab.model import make_model
from experiments.lab.pinned import pinned
from experiments.lab.probes import Probes, beakers_of, distances_and_flows, layer_names
from experiments.lab.problems import Problem, make_problem
from experiments.lab.progress import Progress
from experiments.lab.results import Run, Seconds
from experiments.lab.settings import TRAIN_TOGETHER, Settings
from experiments.lab.streams import (
    Samples,
    evaluation_samples,
    fisher_samples,
    of_one_length,
    tasks_seen,
    training_stream,
)

EVALUATION_BLOCK = 1000  # test samples a seed at a time

Apply = Callable[[Any, jax.Array], jax.Array]
Observer = Callable[[Progress], None]


class Data(NamedTuple):
    """One half of a data set on the device."""

    x: jax.Array  # uint8 or float32 [n, pixels]
    y: jax.Array  # int32 [n]


class View(NamedTuple):
    """How each seed sees the data; of a single seed, arrays of NumPy without the first axis."""

    permutations: jax.Array | np.ndarray  # int32 [seeds, tasks, pixels]
    places: jax.Array | np.ndarray  # int32 [seeds, classes], of the data set's classes in the seed's order


class Carry(NamedTuple):
    """What the loop hands on, stacked over seeds but for single numbers of the optimizer.

    Where several configurations train together, all of it is stacked over them too, in front.
    """

    params: Any
    opt_state: Any
    memory: Any  # what the method remembers
    losses: jax.Array  # [iterations, seeds]


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
        configurations: valid settings, which differ in nothing but `TRAIN_TOGETHER`.
        method: one of `experiments.lab.settings.Method`.
        seeds: one run each; its initial weights, batches and permutations follow from its seed alone.
        dataset: the data set that the settings name.
        observe: called at every log point, between two stretches of the loop; its report has all runs, the
            seeds of one configuration after those of another.
        checkpoints: where to keep the state at log points, and to find one to go on from. None keeps none.
        arguments: names from `TRAIN_TOGETHER` that the compiled program takes as arguments, though they do
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
    log = _Log(settings, n * len(seeds), probed)
    log.seen = np.tile(
        [
            tasks_seen(training_stream(settings, v, s), settings.tasks, log.evaluated_at)
            for s, v in views.items()
        ],
        (n, 1, 1),
    )
    timer = _Timer()

    with timer("compile"):
        hidden = [settings.fc_units] * (settings.fc_layers - 1)
        init, apply = make_model((problem.n_pixels, *hidden, problem.n_outputs))
        numbers = spread.place(_numbers(spread.configurations(configurations), arguments), configurations=0)

        def configured(part: Callable[[Settings, Method], Any], *in_axes: Any) -> Callable[..., Any]:
            """A part of the training, as a function of the numbers that differ and of what it needs."""

            def of_one(numbers: Mapping[str, Any], *arguments: Any) -> Any:
                one = replace(settings, **numbers)
                return part(one, make_method(one, method))(*arguments)

            return of_one if n == 1 else jax.vmap(of_one, in_axes=(0, *in_axes))

        def start(one: Settings, how: Method) -> Callable[..., Carry]:
            def of_weights(params: Any) -> Carry:
                losses = jnp.zeros((settings.total_iterations, len(jax.tree.leaves(params)[0])))
                return Carry(params, how.optimizer.init(params), how.start(params), losses)

            return of_weights

        def loop(one: Settings, how: Method) -> Callable[..., Carry]:
            return _training_loop(one, problem, apply, how)

        def count(one: Settings, how: Method) -> Callable[..., tuple[jax.Array, jax.Array]]:
            return _counts(problem, apply, how)

        def probe(one: Settings, how: Method) -> Callable[..., dict[str, jax.Array]]:
            return _probe(as_trained(one, method), problem, apply)

        def end(one: Settings, how: Method) -> Callable[..., Carry]:
            return _end_of_task(problem, apply, how)

        weights = jax.eval_shape(init, teams[0].keys)
        begin = configured(start, None)

        def shapes(number: int) -> Any:
            """Of what is handed on, with this number of seeds."""
            few = jax.tree.map(lambda w: jax.ShapeDtypeStruct((number, *w.shape[1:]), w.dtype), weights)
            return jax.eval_shape(begin, numbers, few)

        axes = spread.axes(shapes)
        initial = [spread.place(init(team.keys), seeds=0) for team in teams]
        started = spread.compile(begin, numbers, initial[0], out=axes)
        carries = [started(numbers, of_team) for of_team in initial]
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


def _numbers(configurations: Sequence[Settings], arguments: Collection[str]) -> dict[str, jax.Array]:
    """These settings and those that differ: ``[configurations]``, or single numbers where there is one."""
    first = asdict(configurations[0])
    differ = [name for name in first if any(getattr(c, name) != first[name] for c in configurations)]
    assert {*differ, *arguments} <= set(TRAIN_TOGETHER), f"not just numbers: {differ}, {arguments}"
    values = {name: [getattr(c, name) for c in configurations] for name in sorted({*differ, *arguments})}
    one = len(configurations) == 1
    return {name: jnp.asarray(v[0] if one else v, jnp.float32) for name, v in values.items()}


def _training_loop(settings: Settings, problem: Problem, apply: Apply, how: Method) -> Callable[..., Carry]:
    """``(carry, first, stop, stream, data, view) -> carry``."""

    def loss_of_one(
        params: Any, old: Any, x: jax.Array, y: jax.Array, of: Samples, n_done: Any
    ) -> tuple[jax.Array, jax.Array]:
        """What is minimised, and what is recorded for all methods alike: the loss on the new samples."""
        outputs = apply(params, x)
        scores, target = _question(problem, outputs, y, of.tasks)
        each = optax.softmax_cross_entropy_with_integer_labels(scores, target)
        recorded = each[: settings.batch].mean()
        loss = recorded if of.weights is None else (each * of.weights).sum()
        if not how.distils:
            return loss, recorded
        kept = distillation(problem, outputs, apply(old, x), n_done, settings.lwf_temperature)
        return (loss + n_done * kept) / (n_done + 1), recorded

    gradient = jax.vmap(jax.grad(loss_of_one, has_aux=True), in_axes=(0, 0, 0, 0, 0, None))

    def run(carry: Carry, first: int, stop: int, stream: Samples, data: Data, view: View) -> Carry:
        def step(i: jax.Array, carry: Carry) -> Carry:
            params, opt_state, memory, losses = carry
            batch = jax.tree.map(lambda a: a[i], stream)
            x, y = _show(problem, data, batch, view)
            old = memory if how.distils else ()
            grads, loss = gradient(params, old, x, y, batch, i // settings.iters)
            pulled = grads
            if how.pull is not None:
                pulled = jax.tree.map(jnp.add, grads, how.pull(params, memory))
            updates, opt_state = how.optimizer.update(pulled, opt_state, params)
            new = optax.apply_updates(params, updates)
            if how.remember is not None:
                memory = how.remember(memory, params, new, grads)
            return Carry(new, opt_state, memory, losses.at[i].set(loss))

        return lax.fori_loop(first, stop, step, carry)

    return run


def _end_of_task(problem: Problem, apply: Apply, how: Method) -> Callable[..., Carry]:
    """``(carry, task, keys, learned, data, view) -> carry``, with one random key for each seed.

    ``learned`` are the samples ``[tasks, seeds, samples]`` for the Fisher information; None without it.
    """

    def scores(params: Any, x: jax.Array, task: jax.Array) -> jax.Array:
        return _question(problem, apply(params, x), jnp.zeros(task.shape, jnp.int32), task)[0]

    def end(
        carry: Carry, task: int, keys: jax.Array, learned: Samples | None, data: Data, view: View
    ) -> Carry:
        fisher = None
        if learned is not None:
            samples = jax.tree.map(lambda a: a[task], learned)
            x, _ = _show(problem, data, samples, view)
            of_task = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, task)
            fisher = fisher_information(scores, carry.params, x, samples.tasks, of_task)
        assert how.consolidate is not None
        return carry._replace(memory=how.consolidate(carry.memory, carry.params, fisher))

    return end


def _probe(settings: Settings, problem: Problem, apply: Apply) -> Callable[..., dict[str, jax.Array]]:
    """``(carry, samples, data, view) -> what is measured of the beakers``, seeds last."""

    def probe(carry: Carry, samples: Samples, data: Data, view: View) -> dict[str, jax.Array]:
        distance, flow = distances_and_flows(settings, carry.params, carry.opt_state)
        fractions = []
        for weights in beakers_of(carry.params, carry.opt_state):
            right, shown = _count_right(problem, apply, weights, samples, data, view)
            fractions.append(jnp.moveaxis(right / shown, 0, -1))
        return {"distance": distance, "flow": flow, "accuracy": jnp.stack(fractions)}

    return probe


def _counts(problem: Problem, apply: Apply, how: Method) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """``(carry, samples, data, view) -> right, shown``; both int [seeds, tasks]."""

    def count(carry: Carry, samples: Samples, data: Data, view: View) -> tuple[jax.Array, jax.Array]:
        weights = how.weights(carry.params, carry.memory, carry.opt_state)
        return _count_right(problem, apply, weights, samples, data, view)

    return count


def _count_right(
    problem: Problem, apply: Apply, params: Any, samples: Samples, data: Data, view: View
) -> tuple[jax.Array, jax.Array]:
    """How many samples of each task are answered right, and how many there are; both int [seeds, tasks].

    Outputs that are not finite are no answer, and never right.
    """

    def block(part: Samples) -> tuple[jax.Array, jax.Array]:
        x, y = _show(problem, data, part, view)
        scores, target = _question(problem, jax.vmap(apply)(params, x), y, part.tasks)
        of_task = jax.nn.one_hot(part.tasks, problem.n_tasks, dtype=jnp.int32)
        right = (scores.argmax(axis=-1) == target) & jnp.isfinite(scores).all(axis=-1)
        return (right[..., None] * of_task).sum(axis=1), of_task.sum(axis=1)

    n_seeds, n_samples = samples.rows.shape
    n_blocks = -(-n_samples // EVALUATION_BLOCK)
    padding = ((0, 0), (0, -n_samples % n_blocks))
    # Task -1 is no task: what fills the last block counts for nothing.
    padded = Samples(jnp.pad(samples.rows, padding), jnp.pad(samples.tasks, padding, constant_values=-1))
    blocks = jax.tree.map(lambda a: a.reshape(n_seeds, n_blocks, -1).swapaxes(0, 1), padded)
    right, shown = lax.map(block, blocks)
    return right.sum(axis=0), shown.sum(axis=0)


def _show(problem: Problem, data: Data, samples: Samples, view: View) -> tuple[jax.Array, jax.Array]:
    """Inputs ``[seeds, samples, pixels]`` in [0, 1] and classes ``[seeds, samples]``."""
    x = data.x[samples.rows]
    if problem.permuted:
        order = jax.vmap(lambda of_seed, task: of_seed[task])(view.permutations, samples.tasks)
        x = jnp.take_along_axis(x, order, axis=-1)
    y = data.y[samples.rows]
    if problem.shuffled:
        y = jax.vmap(lambda places, y: places[y])(view.places, y)
    return x.astype(jnp.float32) / problem.max_value, y


def _question(
    problem: Problem, outputs: jax.Array, y: jax.Array, task: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The scores ``[…, samples, classes]`` to choose from, and the right choice ``[…, samples]``."""
    n = problem.classes_per_task
    within = y % n
    if problem.all_classes:
        return outputs, task * n + within
    if not problem.multihead:
        return outputs, within
    heads = outputs.reshape(*outputs.shape[:-1], problem.n_tasks, n)
    own = jnp.take_along_axis(heads, task[..., None, None], axis=-2)
    return own.squeeze(-2), within


class _Log:
    """What is recorded of a group of runs, and when.

    Attributes:
        matrix_at: iterations with an evaluation on the whole test set, beside that at the start.
        evaluated_at: iterations with an evaluation on the subset; the start and those of ``matrix_at`` are
            among them.
        logged_at: ends of the stretches that losses are averaged over.
        seen: [runs, evaluations, tasks], the tasks shown so far.
        losses: [iterations, runs].
        accuracy: one [runs, tasks] for each of ``evaluated_at``.
        matrix: one [runs, tasks] for the start, and for each of ``matrix_at``.
        probes: one for each of ``evaluated_at``, runs last; empty without probes.
    """

    def __init__(self, settings: Settings, n_runs: int, probed: bool = False) -> None:
        self._total = total = settings.total_iterations
        by_task = settings.one_task_after_the_other
        self.matrix_at = list(range(settings.iters, total + 1, settings.iters)) if by_task else [total]
        self.evaluated_at = sorted({*range(0, total + 1, settings.eval_log), *self.matrix_at})
        self.logged_at = list(range(settings.loss_log, total + 1, settings.loss_log)) or [total]
        self.seen = np.zeros((n_runs, len(self.evaluated_at), settings.tasks), bool)
        self.losses = np.full((total, n_runs), np.nan)
        self.accuracy: list[np.ndarray] = []
        self.matrix: list[np.ndarray] = []
        self.probes: dict[str, list[np.ndarray]] = (
            {"distance": [], "flow": [], "accuracy": []} if probed else {}
        )

    def look(self, seen: Mapping[str, np.ndarray]) -> None:
        """Take in what was measured of the beakers."""
        for name, values in self.probes.items():
            values.append(seen[name])

    def stops_after(self, iteration: int) -> list[int]:
        """The iterations still to come at which something is recorded, in order."""
        return [stop for stop in sorted({*self.evaluated_at, *self.logged_at}) if stop > iteration]

    def records(self) -> dict[str, np.ndarray]:
        """All that has been recorded."""
        recorded = {"losses": self.losses, "accuracy": self.accuracy, "matrix": self.matrix}
        recorded |= {f"probes_{name}": values for name, values in self.probes.items()}
        return {name: np.array(values) for name, values in recorded.items()}

    def restore(self, records: Mapping[str, np.ndarray]) -> None:
        """Go on from what `records` gave."""
        self.losses = np.array(records["losses"])
        self.accuracy, self.matrix = list(records["accuracy"]), list(records["matrix"])
        self.probes = {name: list(records[f"probes_{name}"]) for name in self.probes}

    def progress(self, first: int, stop: int) -> Progress:
        """Where the training stands after the stretch from ``first`` to ``stop``."""
        losses = (
            self.losses[first:stop].mean(axis=0) if stop > first else np.full(self.losses.shape[1], np.nan)
        )
        evaluated = stop in self.evaluated_at
        latest = len(self.accuracy) - 1
        return Progress(
            stop, self._total, losses, self.accuracy[-1] if evaluated else None, self.seen[:, latest]
        )

    def runs(self, method: str, seeds: Sequence[int], layers: list[str]) -> list[Run]:
        """What each run did; ``seeds`` are those of the runs, ``layers`` those that were probed."""
        probes = {name: np.stack(values) for name, values in self.probes.items()}
        stretches = self.losses[: self.logged_at[-1]].reshape(len(self.logged_at), -1, len(seeds))
        not_finite = ~np.isfinite(self.losses)
        first_not_finite = np.where(not_finite.any(axis=0), not_finite.argmax(axis=0) + 1, 0)
        accuracy, matrix = np.stack(self.accuracy), np.stack(self.matrix)
        return [
            Run(
                method=method,
                seed=seed,
                evaluated_at=np.array(self.evaluated_at),
                accuracy=accuracy[:, number],
                seen=self.seen[number],
                logged_at=np.array(self.logged_at),
                loss=stretches.mean(axis=1)[:, number],
                initial_accuracy=matrix[0, number],
                accuracy_matrix=matrix[1:, number],
                matrix_at=np.array(self.matrix_at),
                final_accuracy=float(matrix[-1, number].mean()),
                diverged_at=int(first_not_finite[number]) or None,
                # In the precision that they are read in again.
                probes=Probes(layers, **{name: of[..., number].astype(float) for name, of in probes.items()})
                if probes
                else None,
            )
            for number, seed in enumerate(seeds)
        ]


class _Timer:
    """Seconds spent in each phase: ``with timer("train"): …``."""

    def __init__(self) -> None:
        self.seconds = {"compile": 0.0, "train": 0.0, "evaluate": 0.0}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began
