"""How a method changes the weights of all agents at once, and which weights set targets and act.

Every tree has a leading axis of agents. The optimizer is not mapped over it: all of them act on each element
by itself, and the clocks of the synapse stay one number for all, so that links that wait are not computed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from cs_optax import complex_synapse, readout
from experiments.rl.methods import AGES, FASTEST, LISTENERS, Method
from experiments.rl.network import Params
from experiments.rl.settings import Settings

Numbers = dict[str, Any]  # lr, alpha, …: of one configuration, perhaps traced


class Learner(NamedTuple):
    """What is learned.

    Attributes:
        params: the weights.
        opt: the optimizer's state, beakers included.
        soft: DQN's usual target network; None where nothing uses it.
        slow: an exponential average; None where the method has none, or reads a beaker.
    """

    params: Params
    opt: optax.OptState
    soft: Params | None
    slow: Params | None


def optimizer(method: Method, settings: Settings, numbers: Numbers) -> optax.GradientTransformation:
    """Adam, and the synapse where the method has one."""
    adam = optax.adam(numbers["lr"], eps=settings.adam_eps)
    if method.synapse is None:
        return adam
    if method.listens:
        slowest = FASTEST * 4.0 ** (LISTENERS - 1)
        return optax.chain(adam, complex_synapse(LISTENERS, FASTEST, slowest, **method.synapse))
    alpha, n = numbers["alpha"], settings.beakers
    return optax.chain(adam, complex_synapse(n, alpha, alpha * 4.0 ** (n - 1), **method.synapse))


def start(params: Params, method: Method, settings: Settings, numbers: Numbers) -> Learner:
    """The learner before any update."""
    soft = params if settings.agent == "dqn" and method.target == "usual" else None
    slow = params if method.slow == "average" else None
    return Learner(params, optimizer(method, settings, numbers).init(params), soft, slow)


def slow_weights(learner: Learner, method: Method, numbers: Numbers) -> Params:
    """The slow copy: the average, or the beaker that is read."""
    if method.slow == "average":
        assert learner.slow is not None
        return learner.slow
    nearest = jnp.argmin(jnp.abs(jnp.log(jnp.array(AGES)) - jnp.log(numbers["time"])))
    # A weight for each beaker, since which one it is may be traced.
    weights: Params = readout(learner.opt, learner.params, 1.0 * (jnp.arange(LISTENERS) == 1 + nearest))
    return weights


def acting_weights(learner: Learner, method: Method, numbers: Numbers) -> Params:
    """What chooses actions."""
    return slow_weights(learner, method, numbers) if method.acts == "slow" else learner.params


def target_weights(learner: Learner, method: Method, numbers: Numbers) -> Params:
    """What the value of the following observation is taken from."""
    if method.target == "slow":
        return slow_weights(learner, method, numbers)
    return learner.params if learner.soft is None else learner.soft


def improve(learner: Learner, grads: Params, method: Method, settings: Settings, numbers: Numbers) -> Learner:
    """One update."""
    if method.anchored:
        strength = numbers["strength"]
        grads = jax.tree.map(lambda g, p, a: g + strength * (p - a), grads, learner.params, learner.slow)
    updates, opt = optimizer(method, settings, numbers).update(grads, learner.opt, learner.params)
    params: Params = optax.apply_updates(learner.params, updates)
    soft, slow = learner.soft, learner.slow
    if soft is not None:
        soft = _nearer(soft, params, settings.target_rate)
    if slow is not None:
        slow = _nearer(slow, params, 1 / numbers["time"])
    return Learner(params, opt, soft, slow)


def _nearer(tree: Params, goal: Params, rate: Any) -> Params:
    # At a rate of 1 it is the goal, to the last bit.
    moved: Params = jax.tree.map(lambda a, b: (1 - rate) * a + rate * b, tree, goal)
    return moved
