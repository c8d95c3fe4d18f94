"""Tasks that take turns, unannounced: one compiled phase, called again and again."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.rl import acting, dqn, pqn
from experiments.rl.learner import Numbers, acting_weights, start
from experiments.rl.methods import METHODS
from experiments.rl.network import initial
from experiments.rl.settings import Settings
from experiments.rl.tasks import TASKS, score

AGENTS: dict[str, Any] = {"dqn": dqn, "pqn": pqn}

WEIGHTS, STEPS, LOOKS, EPISODES = range(4)  # random numbers, each of their own


class Record(NamedTuple):
    """What a training of several seeds gave; of evaluations there are ``phases`` × `Settings.looks`.

    Attributes:
        scores: of greedy episodes, 0 to 1, ``[seeds, looks, tasks]``.
        trained: mean score of the episodes that ended between two looks, ``[seeds, looks]``; NaN without one.
        losses: mean loss between two looks, ``[seeds, looks]``.
    """

    scores: np.ndarray
    trained: np.ndarray
    losses: np.ndarray


def train(
    method: str,
    settings: Settings,
    numbers: Numbers,
    seeds: Sequence[int],
    progress: Callable[[int], object] = lambda phase: None,
) -> Record:
    """Train agents that differ in their seed alone.

    Args:
        method: the name of one of `METHODS`.
        settings: what they share.
        numbers: learning rate and so on; each a number, or an array of one for each of several configurations
            that train in one program, as a GPU does well. The record's arrays then have these first.
        seeds: one for each agent.
        progress: called with the number of phases after each.
    """
    several = jnp.ndim(numbers["lr"]) > 0
    begin, phase = _programs(method, settings, several)
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    numbers = {name: jnp.asarray(value, jnp.float32) for name, value in numbers.items()}
    state, kept = begin(keys, numbers), []
    for number in range(settings.phases):
        state, looks = phase(state, keys, numbers, jnp.int32(number))
        kept.append(jax.device_get(looks))
        progress(number + 1)
    # [looks, …, seeds, tasks], and configurations before looks where there are several
    parts = [np.concatenate(part, axis=1 if several else 0) for part in zip(*kept, strict=True)]
    scores, trained, losses = (np.moveaxis(part, 1 if several else 0, 2 if several else 1) for part in parts)
    return Record(scores, trained, losses)


@lru_cache(maxsize=2)
def _programs(method: str, settings: Settings, several: bool) -> tuple[Any, Any]:
    """The compiled beginning of a training, and a phase of it."""
    begin, phase = (partial(one, method, settings) for one in (_begin, _phase))
    if several:
        begin = jax.vmap(begin, in_axes=(None, 0))
        phase = jax.vmap(phase, in_axes=(0, None, 0, None))
    return jax.jit(begin), jax.jit(phase, donate_argnums=0)


def _begin(method: str, settings: Settings, keys: jax.Array, numbers: Numbers) -> Any:
    first = jax.vmap(lambda key: initial(_of(key, WEIGHTS), settings.sizes, normalized=settings.normalize))
    learner = start(first(keys), METHODS[method], settings, numbers)
    return learner, AGENTS[settings.agent].remember_nothing(len(keys), METHODS[method], settings)


def _phase(
    method: str, settings: Settings, state: Any, keys: jax.Array, numbers: Numbers, number: jax.Array
) -> Any:
    """Train on one task from a new episode on, and evaluate both now and then."""
    task = number % len(TASKS) if settings.only is None else jnp.int32(TASKS.index(settings.only))
    learner, memory = state
    actors = acting.begin(jax.vmap(lambda key: _of(key, EPISODES, number))(keys), settings.envs)
    of_method = METHODS[method], settings, numbers

    def iteration(carry: Any, i: jax.Array) -> Any:
        now = jax.vmap(lambda key: _of(key, STEPS, number, i))(keys)
        *carry, losses = AGENTS[settings.agent].iterate(*carry, now, task, *of_method)
        return tuple(carry), losses

    def until_look(carry: Any, look: jax.Array) -> Any:
        places = look * settings.iterations + jnp.arange(settings.iterations)
        (learner, actors, memory), losses = jax.lax.scan(iteration, carry, places)
        weights = acting_weights(learner, METHODS[method], numbers)
        now = jax.vmap(lambda key: _of(key, LOOKS, number, look))(keys)
        each = partial(acting.evaluate, weights, now, settings=settings)
        scores = jax.lax.map(each, jnp.arange(len(TASKS)))  # one after the other: half as much to compile
        trained = score(actors.sums / actors.counts, task)
        actors = actors._replace(sums=jnp.zeros(len(keys)), counts=jnp.zeros(len(keys)))
        return (learner, actors, memory), (scores.T, trained, losses.mean(axis=0))

    carry, looks = jax.lax.scan(until_look, (learner, actors, memory), jnp.arange(settings.looks))
    return (carry[0], carry[2]), looks


def _of(key: jax.Array, *numbers: Any) -> jax.Array:
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key
