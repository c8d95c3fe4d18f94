"""PPO on CartPole-v1, a whole training in one compiled function: what one added line does to it.

    python examples/ppo.py                 # five seeds of each, half a million steps; needs gymnax

The numbers are the usual ones for this task: four environments, rollouts of 128 steps, four epochs of four
minibatches, a learning rate that falls to zero, gradients of at most half a unit.
"""

import argparse
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnax.environments.classic_control.cartpole import CartPole

from cs_optax import complex_synapse

ENVS, STEPS, EPOCHS, MINIBATCHES = 4, 128, 4, 4
GAMMA, TRACE, CLIP, ENTROPY, VALUE, LARGEST_NORM, RATE = 0.99, 0.95, 0.2, 0.01, 0.5, 0.5, 2.5e-4
ENV = CartPole()


def adam(n_updates: int) -> list[optax.GradientTransformation]:
    """Clipping and Adam, as PPO usually has them."""
    rate = optax.linear_schedule(RATE, 0.0, n_updates)
    return [optax.clip_by_global_norm(LARGEST_NORM), optax.adam(rate, eps=1e-5)]


# The one added line is the synapse at the end; what it gives back, if anything, decides all.
OPTIMIZERS = {
    "Adam": lambda n: optax.chain(*adam(n)),
    "synapse, alpha 10": lambda n: optax.chain(*adam(n), complex_synapse(8, 10.0, 163_840.0)),
    "synapse, alpha 1000": lambda n: optax.chain(*adam(n), complex_synapse(8, 1e3, 16_384_000.0)),
    "synapse, alpha 10, no leak, their backflow": lambda n: optax.chain(
        *adam(n), complex_synapse(8, 10.0, 163_840.0, leak="none", backflow="kaplanis")
    ),
    'synapse, backflow="never"': lambda n: optax.chain(
        *adam(n), complex_synapse(8, 10.0, 163_840.0, leak="none", backflow="never")
    ),
}


class Step(NamedTuple):
    """What a step of all environments gave, each ``[envs, …]``."""

    seen: jax.Array
    action: jax.Array
    chance: jax.Array  # logarithm of its probability
    value: jax.Array
    reward: jax.Array
    done: jax.Array


def initial(key: jax.Array) -> Any:
    """An actor and a critic, two hidden layers each."""

    def layers(key: jax.Array, outputs: int, scale: float) -> list[dict[str, jax.Array]]:
        sizes, scales = (4, 64, 64, outputs), (2**0.5, 2**0.5, scale)
        keys = jax.random.split(key, 3)
        return [
            {"w": jax.nn.initializers.orthogonal(s)(k, (a, b)), "b": jnp.zeros(b)}
            for k, s, a, b in zip(keys, scales, sizes, sizes[1:], strict=False)
        ]

    actor, critic = jax.random.split(key)
    return {"actor": layers(actor, 2, 0.01), "critic": layers(critic, 1, 1.0)}


def apply(layers: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """The outputs of one of the two."""
    *hidden, last = layers
    for layer in hidden:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss(params: Any, old: Step, advantage: jax.Array, goal: jax.Array) -> jax.Array:
    """PPO's clipped objective, the clipped error of the values, and the entropy."""
    chances = jax.nn.log_softmax(apply(params["actor"], old.seen))
    chance = jnp.take_along_axis(chances, old.action[:, None], axis=1)[:, 0]
    ratio = jnp.exp(chance - old.chance)
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage).mean()
    value = apply(params["critic"], old.seen)[:, 0]
    near = old.value + jnp.clip(value - old.value, -CLIP, CLIP)
    error = 0.5 * jnp.maximum((value - goal) ** 2, (near - goal) ** 2).mean()
    entropy = -(jnp.exp(chances) * chances).sum(axis=1).mean()
    return -gain + VALUE * error - ENTROPY * entropy


def advantages(steps: Step, last: jax.Array) -> jax.Array:
    """Generalized advantages, from the last step to the first."""

    def back(carry: Any, step: Step) -> Any:
        later, following = carry
        going_on = 1.0 - step.done
        later = step.reward + GAMMA * following * going_on - step.value + GAMMA * TRACE * going_on * later
        return (later, step.value), later

    return jax.lax.scan(back, (jnp.zeros_like(last), last), steps, reverse=True)[1]


def train(key: jax.Array, tx: optax.GradientTransformation, n_rollouts: int) -> jax.Array:
    """Train one agent, and return the mean return of the episodes that ended in each rollout."""

    def act(carry: Any, key: jax.Array) -> Any:
        params, states, seen, returns = carry
        choosing, moving = jax.random.split(key)
        logits = apply(params["actor"], seen)
        action = jax.random.categorical(choosing, logits)
        chance = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], axis=1)[:, 0]
        value = apply(params["critic"], seen)[:, 0]
        keys = jax.random.split(moving, ENVS)
        after, states, reward, ended, cut, _ = jax.vmap(ENV.step)(keys, states, action)
        done, returns = ended | cut, returns + reward
        step = Step(seen, action, chance, value, reward, done)
        return (params, states, after, jnp.where(done, 0.0, returns)), (
            step,
            jnp.where(done, returns, jnp.nan),
        )

    def minibatch(carry: Any, batch: Any) -> Any:
        params, opt = carry
        updates, opt = tx.update(jax.grad(loss)(params, *batch), opt, params)
        return (optax.apply_updates(params, updates), opt), None

    def rollout(carry: Any, key: jax.Array) -> Any:
        params, opt, *world = carry
        acting, mixing = jax.random.split(key)
        keys = jax.random.split(acting, STEPS)
        (_, *world), (steps, ended) = jax.lax.scan(act, (params, *world), keys)
        gains = advantages(steps, apply(params["critic"], world[1])[:, 0])
        samples = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (steps, gains, gains + steps.value))
        orders = jax.vmap(lambda k: jax.random.permutation(k, ENVS * STEPS))(jax.random.split(mixing, EPOCHS))
        places = orders.reshape(EPOCHS * MINIBATCHES, -1)
        learned, _ = jax.lax.scan(
            lambda c, at: minibatch(c, jax.tree.map(lambda x: x[at], samples)), (params, opt), places
        )
        return (*learned, *world), jnp.nanmean(ended)

    first, beginning, rest = jax.random.split(key, 3)
    params = initial(first)
    seen, states = jax.vmap(ENV.reset)(jax.random.split(beginning, ENVS))
    states = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), states)
    carry = params, tx.init(params), states, seen, jnp.zeros(ENVS)
    return jax.lax.scan(rollout, carry, jax.random.split(rest, n_rollouts))[1]


def compare(seeds: int, steps: int) -> dict[str, np.ndarray]:
    """The returns of each optimizer, ``[seeds, rollouts]``."""
    n_rollouts = steps // (ENVS * STEPS)
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    found = {}
    for name, optimizer in OPTIMIZERS.items():
        tx = optimizer(n_rollouts * EPOCHS * MINIBATCHES)
        found[name] = np.asarray(jax.jit(jax.vmap(lambda key, tx=tx: train(key, tx, n_rollouts)))(keys))
    return found


def main() -> None:
    """Print the mean returns of the training's quarters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500_000)
    options = parser.parse_args()
    for name, returns in compare(options.seeds, options.steps).items():
        quarters = [np.nanmean(part, axis=1) for part in np.array_split(returns, 4, axis=1)]
        words = "  ".join(f"{q.mean():4.0f} ± {q.std(ddof=1) / len(q) ** 0.5:3.0f}" for q in quarters)
        print(f"{name:<44}{words}", flush=True)


if __name__ == "__main__":
    main()
