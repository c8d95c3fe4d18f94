"""DQN with replay and a target network (Mnih et al. 2015), double (van Hasselt et al. 2016)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.rl import replay
from experiments.rl.acting import Actors, act
from experiments.rl.learner import Learner, Numbers, acting_weights, improve, target_weights
from experiments.rl.methods import Method
from experiments.rl.network import Params, values
from experiments.rl.settings import Settings
from experiments.rl.tasks import N_OBSERVED


class Memory(NamedTuple):
    """What an agent remembers beside its weights: the ring of transitions, and how often it was written."""

    ring: jax.Array
    written: jax.Array


def remember_nothing(n_agents: int, method: Method, settings: Settings) -> Memory:
    """The memory before any step."""
    whole = settings.phases * settings.steps
    capacity = max(settings.envs, whole if method.remembers_all else settings.buffer)
    capacity -= capacity % settings.envs
    return Memory(replay.empty(n_agents, capacity, N_OBSERVED), jnp.int32(0))


def iterate(
    learner: Learner,
    actors: Actors,
    memory: Memory,
    keys: jax.Array,
    task: jax.Array,
    method: Method,
    settings: Settings,
    numbers: Numbers,
) -> tuple[Learner, Actors, Memory, jax.Array]:
    """One step of all environments, and one update.

    Returns:
        What was given, afterwards, and the loss of each agent.
    """
    acting, drawing = _split(keys)
    weights = acting_weights(learner, method, numbers)
    actors, (batch, _) = act(weights, actors, acting, task, settings)
    ring = replay.write(memory.ring, memory.written, batch)
    memory = Memory(ring, memory.written + 1)
    filled = jnp.minimum(memory.written * settings.envs, ring.shape[1])
    batch = replay.sample(ring, drawing, filled, settings.batch)
    targets = target_weights(learner, method, numbers)
    of_agent = jax.vmap(jax.value_and_grad(loss), in_axes=(0, 0, 0, None))
    losses, grads = of_agent(learner.params, targets, batch, settings.gamma)
    return improve(learner, grads, method, settings, numbers), actors, memory, losses


def loss(params: Params, targets: Params, batch: replay.Batch, gamma: float) -> jax.Array:
    """Huber's loss of ``Q(s, a)`` against ``r + γ Q_target(s', argmax_a' Q(s', a'))``; at an end, ``r``."""
    best = values(params, batch.following).argmax(axis=-1)
    following = jnp.take_along_axis(values(targets, batch.following), best[:, None], axis=-1)[:, 0]
    goal = batch.reward + gamma * (1 - batch.terminated) * following
    chosen = jnp.take_along_axis(values(params, batch.seen), batch.action[:, None], axis=-1)[:, 0]
    return jnp.mean(optax.huber_loss(chosen, jax.lax.stop_gradient(goal)))


def _split(keys: jax.Array) -> Any:
    return jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
