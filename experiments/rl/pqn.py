"""PQN (Gallici et al. 2024): Q(λ) on rollouts of many environments; no replay, no target network."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.rl.acting import Actors, act
from experiments.rl.learner import Learner, Numbers, acting_weights, improve, target_weights
from experiments.rl.methods import Method
from experiments.rl.network import Params, values
from experiments.rl.settings import Settings


def remember_nothing(n_agents: int, method: Method, settings: Settings) -> tuple[()]:
    """There is no memory beside the weights."""
    return ()


def iterate(
    learner: Learner,
    actors: Actors,
    memory: tuple[()],
    keys: jax.Array,
    task: jax.Array,
    method: Method,
    settings: Settings,
    numbers: Numbers,
) -> tuple[Learner, Actors, tuple[()], jax.Array]:
    """A rollout of all environments, and some epochs of updates over it.

    Returns:
        What was given, afterwards, and the loss of each agent.
    """
    of_method = method, settings, numbers
    weights = acting_weights(learner, method, numbers)

    def step(actors: Actors, i: jax.Array) -> Any:
        now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, i)
        return act(weights, actors, now, task, settings)

    actors, (rollout, finished) = jax.lax.scan(step, actors, jnp.arange(settings.rollout))
    following = jax.vmap(values, in_axes=(0, 1), out_axes=1)(
        target_weights(learner, method, numbers), rollout.following
    ).max(axis=-1)
    goals = traced_returns(rollout.reward, following, rollout.terminated, finished, settings)

    def by_agent(x: jax.Array) -> jax.Array:
        """From ``[steps, agents, envs, …]`` to ``[agents, steps × envs, …]``."""
        return jnp.moveaxis(x, 1, 0).reshape(len(keys), -1, *x.shape[3:])

    samples = tuple(map(by_agent, (rollout.seen, rollout.action, goals)))
    last = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, settings.rollout)
    order = jax.vmap(lambda key: _orders(key, samples[1].shape[1], settings))(last)

    def update(learner: Learner, places: jax.Array) -> tuple[Learner, jax.Array]:
        batch = [jax.vmap(lambda own, at: own[at])(one, places) for one in samples]
        losses, grads = jax.vmap(_clipped(settings.clip))(learner.params, *batch)
        return improve(learner, grads, *of_method), losses

    learner, losses = jax.lax.scan(update, learner, jnp.moveaxis(order, 1, 0))
    return learner, actors, memory, losses.mean(axis=0)


def traced_returns(
    rewards: jax.Array, following: jax.Array, terminated: jax.Array, finished: jax.Array, settings: Settings
) -> jax.Array:
    """Q(λ)'s goals, from the last step to the first: arrays ``[steps, …]``.

    ``G_t = r_t + γ ((1 − λ) V_t+1 + λ G_t+1)``; without the trace after the last step of a rollout or of an
    episode, and without any of it where the episode has come to its own end.
    """

    def back(later: jax.Array, now: tuple) -> tuple[jax.Array, jax.Array]:
        reward, value, ended, over = now
        mixed = jnp.where(over, value, (1 - settings.trace) * value + settings.trace * later)
        goal = reward + settings.gamma * jnp.where(ended, 0.0, mixed)
        return goal, goal

    # After the last step nothing is known but the value itself: as if the trace went on with it.
    inputs = rewards, following, terminated, finished
    return jax.lax.scan(back, following[-1], inputs, reverse=True)[1]


def loss(params: Params, seen: jax.Array, action: jax.Array, goals: jax.Array) -> jax.Array:
    """Half the mean squared error of the values of the actions taken."""
    chosen = jnp.take_along_axis(values(params, seen), action[:, None], axis=-1)[:, 0]
    return 0.5 * jnp.mean((chosen - goals) ** 2)


def _clipped(largest: float) -> Any:
    """The loss, and its gradient of at most this norm, of one agent."""

    def of_agent(*given: Any) -> tuple[jax.Array, Params]:
        value, grads = jax.value_and_grad(loss)(*given)
        factor = jnp.minimum(1.0, largest / (optax.tree.norm(grads) + 1e-6))
        return value, jax.tree.map(lambda g: factor * g, grads)

    return of_agent


def _orders(key: jax.Array, n: int, settings: Settings) -> jax.Array:
    """Which samples each update sees, ``[epochs × minibatches, samples]``: all of them in each epoch."""
    mixed = jax.vmap(lambda one: jax.random.permutation(one, n))(jax.random.split(key, settings.epochs))
    return mixed.reshape(settings.epochs * settings.minibatches, -1)
