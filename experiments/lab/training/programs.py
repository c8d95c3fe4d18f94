"""The compiled parts of a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from experiments.lab.methods.interface import Method
from experiments.lab.models.network import Network
from experiments.lab.options.settings import Settings
from experiments.lab.tasks.answers import Data, View, distillation, question, right_answers, show
from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples
from experiments.lab.training.fisher import fisher_information
from experiments.lab.training.probes import beakers_of, distances_and_flows

EVALUATION_BLOCK = 1000  # test samples a seed at a time


class Carry(NamedTuple):
    """What the loop hands on, stacked over seeds but for single numbers of the optimizer.

    Where several configurations train together, all of it is stacked over them too, in front.
    """

    params: Any
    state: Any  # what the network has beside them: statistics, counters of random streams; empty without any
    opt_state: Any
    memory: Any  # what the method remembers
    losses: jax.Array  # [iterations, seeds]
    old_state: Any  # of the network at the end of the last task, where its outputs are to be kept; else empty


def at_the_start(settings: Settings, how: Method) -> Callable[..., Carry]:
    """``(params, state) -> carry``, of what `Network.init` gives."""

    def start(params: Any, state: Any) -> Carry:
        losses = jnp.zeros((settings.total_iterations, len(jax.tree.leaves(params)[0])))
        return Carry(
            params, state, how.optimizer.init(params), how.start(params), losses, _old_state(how, state)
        )

    return start


def training_loop(
    settings: Settings, problem: Problem, network: Network, how: Method
) -> Callable[..., Carry]:
    """``(carry, first, stop, stream, data, view) -> carry``."""

    def loss_of_one(
        params: Any,
        state: Any,
        old: Any,
        x: jax.Array,
        y: jax.Array,
        of: Samples,
        n_done: Any,
        temperature: Any,
    ) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        """What is minimised; the loss on the new samples, which is what is recorded; and the state."""
        outputs, state = network.learn(params, state, x)
        scores, target = question(problem, outputs, y, of.tasks)
        each = optax.softmax_cross_entropy_with_integer_labels(scores, target)
        recorded = each[: settings.batch].mean()
        loss = recorded if of.weights is None else (each * of.weights).sum()
        if not how.distils:
            return loss, (recorded, state)
        old_params, old_state = old
        targets = network.answer(old_params, old_state, x)
        kept = distillation(problem, outputs, targets, n_done, temperature)
        return (loss + n_done * kept) / (n_done + 1), (recorded, state)

    seeds = (0, 0, 0, 0, 0, 0, None, None)
    gradient = network.differentiated(jax.vmap(jax.grad(loss_of_one, has_aux=True), in_axes=seeds))

    def run(carry: Carry, first: int, stop: int, stream: Samples, data: Data, view: View) -> Carry:
        def step(i: jax.Array, carry: Carry) -> Carry:
            params, state, opt_state, memory, losses, old_state = carry
            batch = jax.tree.map(lambda a: a[i], stream)
            x, y = show(problem, data, batch, view)
            old = (memory, old_state) if how.distils else ()
            n_done, temperature = i // settings.iters, settings.lwf_temperature
            grads, (loss, state) = gradient(params, state, old, x, y, batch, n_done, temperature)
            pulled = grads
            if how.pull is not None:
                pulled = jax.tree.map(jnp.add, grads, how.pull(params, memory))
            updates, opt_state = how.optimizer.update(pulled, opt_state, params)
            new = optax.apply_updates(params, updates)
            if how.remember is not None:
                memory = how.remember(memory, params, new, grads)
            return Carry(new, state, opt_state, memory, losses.at[i].set(loss), old_state)

        return lax.fori_loop(first, stop, step, carry)

    return run


def end_of_task(problem: Problem, network: Network, how: Method) -> Callable[..., Carry]:
    """``(carry, task, keys, learned, data, view) -> carry``, with one random key for each seed.

    ``learned`` are the samples ``[tasks, seeds, samples]`` for the Fisher information; None without it.
    """

    def scores(params: Any, state: Any, x: jax.Array, task: jax.Array) -> jax.Array:
        outputs = network.answer(params, state, x)
        return question(problem, outputs, jnp.zeros(task.shape, jnp.int32), task)[0]

    def end(
        carry: Carry, task: int, keys: jax.Array, learned: Samples | None, data: Data, view: View
    ) -> Carry:
        fisher = None
        if learned is not None:
            samples = jax.tree.map(lambda a: a[task], learned)
            x, _ = show(problem, data, samples, view)
            of_task = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, task)
            estimate = network.differentiated(partial(fisher_information, scores))
            fisher = estimate(carry.params, carry.state, x, samples.tasks, of_task)
        assert how.consolidate is not None
        return carry._replace(
            memory=how.consolidate(carry.memory, carry.params, fisher), old_state=_old_state(how, carry.state)
        )

    return end


def _old_state(how: Method, state: Any) -> Any:
    """A copy, which is donated apart from the state itself."""
    return jax.tree.map(jnp.copy, state) if how.distils else ()


def probe_beakers(
    settings: Settings, problem: Problem, network: Network
) -> Callable[..., dict[str, jax.Array]]:
    """``(carry, samples, data, view) -> what is measured of the beakers``, seeds last."""

    def probe(carry: Carry, samples: Samples, data: Data, view: View) -> dict[str, jax.Array]:
        distance, flow = distances_and_flows(settings, carry.params, carry.opt_state)
        fractions = []
        for weights in beakers_of(carry.params, carry.opt_state):
            right, shown = _count_right(problem, network, weights, carry.state, samples, data, view)
            fractions.append(jnp.moveaxis(right / shown, 0, -1))
        return {"distance": distance, "flow": flow, "accuracy": jnp.stack(fractions)}

    return probe


def count_answers(
    problem: Problem, network: Network, how: Method
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """``(carry, reading, samples, data, view) -> right, shown``; both int [seeds, tasks].

    The reading is what the method's weights take beside the state: nothing, or a single tree. The weights
    that a method has evaluated come with the state of those that are trained.
    """

    def count(
        carry: Carry, reading: tuple[Any, ...], samples: Samples, data: Data, view: View
    ) -> tuple[jax.Array, jax.Array]:
        weights = how.weights(carry.params, carry.memory, carry.opt_state, *reading)
        return _count_right(problem, network, weights, carry.state, samples, data, view)

    return count


def _count_right(
    problem: Problem,
    network: Network,
    params: Any,
    state: Any,
    samples: Samples,
    data: Data,
    view: View,
) -> tuple[jax.Array, jax.Array]:
    """How many samples of each task are answered right, and how many there are; both int [seeds, tasks].

    Outputs that are not finite are no answer, and never right.
    """

    def block(part: Samples) -> tuple[jax.Array, jax.Array]:
        x, y = show(problem, data, part, view)
        right = right_answers(problem, jax.vmap(network.answer)(params, state, x), y, part.tasks)
        of_task = jax.nn.one_hot(part.tasks, problem.n_tasks, dtype=jnp.int32)
        return (right[..., None] * of_task).sum(axis=1), of_task.sum(axis=1)

    n_seeds, n_samples = samples.rows.shape
    n_blocks = -(-n_samples // EVALUATION_BLOCK)
    padding = ((0, 0), (0, -n_samples % n_blocks))
    # Task -1 is no task: what fills the last block counts for nothing.
    padded = Samples(jnp.pad(samples.rows, padding), jnp.pad(samples.tasks, padding, constant_values=-1))
    blocks = jax.tree.map(lambda a: a.reshape(n_seeds, n_blocks, -1).swapaxes(0, 1), padded)
    right, shown = lax.map(block, blocks)
    return right.sum(axis=0), shown.sum(axis=0)
