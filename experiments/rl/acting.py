"""Agents in their environments: steps with some random actions, and greedy episodes to evaluate them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.rl import tasks
from experiments.rl.network import Params, values
from experiments.rl.replay import Batch
from experiments.rl.settings import Settings


class Actors(NamedTuple):
    """Environments ``[agents, envs]``, and what their episodes gave.

    Attributes:
        states: where they are.
        returns: of the episodes that are going on.
        sums: of the returns of those that ended since the last evaluation, ``[agents]``.
        counts: of these.
    """

    states: tasks.States
    returns: jax.Array
    sums: jax.Array
    counts: jax.Array


def begin(keys: jax.Array, envs: int) -> Actors:
    """New episodes in all environments of all agents."""
    states = jax.vmap(lambda key: jax.vmap(tasks.reset)(jax.random.split(key, envs)))(keys)
    none = jnp.zeros(len(keys))
    return Actors(states, jnp.zeros((len(keys), envs)), none, none)


def act(
    weights: Params, actors: Actors, keys: jax.Array, task: jax.Array, settings: Settings
) -> tuple[Actors, tuple[Batch, jax.Array]]:
    """A step of all environments, with an action at random in a share ``epsilon`` of them.

    Returns:
        The environments, what was seen and done in each, and which episodes have ended.
    """

    def of_env(
        key: jax.Array, states: tasks.States, best: jax.Array
    ) -> tuple[tasks.States, jax.Array, tasks.Transition]:
        random, which, moving = jax.random.split(key, 3)
        any_action = jax.random.randint(which, (), 0, tasks.N_ACTIONS)
        action = jnp.where(jax.random.uniform(random) < settings.epsilon, any_action, best)
        states, after = tasks.step(moving, states, action, task, cue=settings.cue)
        return states, action, after

    seen = _observe(actors.states, task, settings)
    best = jax.vmap(values)(weights, seen).argmax(axis=-1)
    each = jax.vmap(jax.random.split, in_axes=(0, None))(keys, best.shape[1])
    states, action, after = jax.vmap(jax.vmap(of_env))(each, actors.states, best)
    returns = actors.returns + after.reward
    actors = Actors(
        states,
        jnp.where(after.finished, 0.0, returns),
        actors.sums + jnp.where(after.finished, returns, 0.0).sum(axis=1),
        actors.counts + after.finished.sum(axis=1),
    )
    scale = jnp.where(task == 0, settings.cartpole_reward, 1.0)
    batch = Batch(seen, action, scale * after.reward, after.observation, after.terminated)
    return actors, (batch, after.finished)


def evaluate(weights: Params, keys: jax.Array, task: jax.Array, settings: Settings) -> jax.Array:
    """Mean score of greedy episodes, ``[agents]``, from 0 to 1."""
    actors = begin(keys, settings.episodes)

    def going_on(carry: tuple) -> jax.Array:
        _, _, alive, number = carry
        return alive.any() & (number < max(tasks.LONGEST))

    def step(carry: tuple) -> tuple:
        states, returns, alive, number = carry
        best = jax.vmap(values)(weights, _observe(states, task, settings)).argmax(axis=-1)
        # Nothing is drawn in an episode, and what comes after it does not count.
        move = jax.vmap(jax.vmap(lambda s, a: tasks.step(keys[0], s, a, task, cue=settings.cue)))
        states, after = move(states, best)
        return states, returns + alive * after.reward, alive & ~after.finished, number + 1

    shape = len(keys), settings.episodes
    carry = actors.states, jnp.zeros(shape), jnp.ones(shape, bool), jnp.int32(0)
    returns = jax.lax.while_loop(going_on, step, carry)[1]
    return tasks.score(returns.mean(axis=1), task)


def _observe(states: tasks.States, task: jax.Array, settings: Settings) -> jax.Array:
    look = jax.vmap(jax.vmap(lambda one: tasks.observe(one, task, cue=settings.cue)))
    return look(states)
