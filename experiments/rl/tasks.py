"""CartPole-v1 and Catch as one world: the same observation and the same three actions.

Both are gymnax's own. An observation has six numbers: four that describe the state, each scaled to about unit
variance (those of the cart-pole as in the code of Kaplanis et al. 2018), and two that say which task it is,
if the task is to be seen. Catch has no velocities: its second number is always zero.

==========  ===================  ==================  ====================  ====================  ====
task        0                    1                   2                     3                     4, 5
==========  ===================  ==================  ====================  ====================  ====
cart-pole   x / 0.75             velocity / 0.75     angle / 0.07          its velocity / 0.3    1, 0
catch       (paddle − 2) / 1.41  0                   (ball x − 2) / 1.41   (ball y − 4.5) / 2.87  0, 1
==========  ===================  ==================  ====================  ====================  ====

The actions are left, nothing, right. Gymnax's CartPole-v1 knows left and right alone: nothing is no force,
which its equation of motion takes as an action of one half.
"""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

TASKS = ("cart-pole", "catch")
N_ACTIONS = 3
N_STATE = 4  # numbers that describe the state
N_OBSERVED = N_STATE + len(TASKS)

LONGEST = (500, 9)  # steps of an episode: of the cart-pole at most, of catch always
CARTPOLE_SCALES = (0.75, 0.75, 0.07, 0.3)
CATCH_SCALES = (2**0.5, 8.25**0.5)  # standard deviations of 0 … 4 and of 0 … 9


class States(NamedTuple):
    """Where an environment is in both tasks; only that of the current task moves."""

    cartpole: Any
    catch: Any


class Transition(NamedTuple):
    """What one step gave.

    Attributes:
        observation: after the step, and before the next episode begins where one has ended.
        reward: 1 for each step of the cart-pole; of catch 1 for a ball caught, −1 for one lost, else 0.
        terminated: whether nothing comes after it.
        finished: whether the episode has ended, by its end or by the limit of 500 steps.
    """

    observation: jax.Array
    reward: jax.Array
    terminated: jax.Array
    finished: jax.Array


@cache
def environments() -> dict[str, Any]:
    """Gymnax's environment of each task, imported when it is first needed."""
    from gymnax.environments.bsuite.catch import Catch
    from gymnax.environments.classic_control.cartpole import CartPole

    return {"cartpole": CartPole(), "catch": Catch()}


def reset(key: jax.Array) -> States:
    """Begin an episode of each task."""
    cartpole, catch = jax.random.split(key)
    known = environments()
    states = States(_begin(known["cartpole"], cartpole), _begin(known["catch"], catch))
    # Python's numbers in gymnax's states would change their type in a loop.
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), states)


def observe(states: States, task: jax.Array, *, cue: bool) -> jax.Array:
    """What is seen of the current task, ``[6]``; with ``cue`` also which one it is."""
    # Written out, not taken from gymnax: its Catch shows a picture.
    x, y = states.cartpole, states.catch
    scales = jnp.array(CARTPOLE_SCALES)
    of_cartpole = jnp.stack([x.x, x.x_dot, x.theta, x.theta_dot]) / scales
    across, down = CATCH_SCALES
    paddle, ball = (y.paddle_x - 2) / across, (y.ball_x - 2) / across
    of_catch = jnp.stack([paddle, jnp.zeros(()), ball, (y.ball_y - 4.5) / down])
    named = jax.nn.one_hot(task, len(TASKS)) if cue else jnp.zeros(len(TASKS))
    return jnp.concatenate([jnp.where(task == 0, of_cartpole, of_catch), named])


def step(
    key: jax.Array, states: States, action: jax.Array, task: jax.Array, *, cue: bool
) -> tuple[States, Transition]:
    """One step in the current task; where the episode ends, the next one has begun."""

    def of(name: str, action: jax.Array) -> tuple[States, States, Any]:
        env = environments()[name]
        last, begun, reward, terminated, finished = _advance(env, key, getattr(states, name), action)
        following = jax.tree.map(lambda new, old: jnp.where(finished, new, old), begun, last)
        return (
            states._replace(**{name: last}),
            states._replace(**{name: following}),
            (jnp.float32(reward), terminated, finished),
        )

    last, following, (reward, terminated, finished) = jax.lax.switch(
        task, (lambda: of("cartpole", 0.5 * action), lambda: of("catch", action))
    )
    return following, Transition(observe(last, task, cue=cue), reward, terminated, finished)


def score(returns: jax.Array, task: jax.Array) -> jax.Array:
    """Mean returns as numbers from 0 to 1: the share of 500 steps, and the share of balls caught."""
    return jnp.where(task == 0, returns / LONGEST[0], (returns + 1) / 2)


def _begin(env: Any, key: jax.Array) -> Any:
    return env.reset_env(key, env.default_params)[1]


def _advance(env: Any, key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Any, Any, Any, Any]:
    """After a step: the state, a new episode's, the reward, whether the task has ended, and the episode."""
    now, after = jax.random.split(key)
    _, state, reward, terminated, _ = env.step_env(now, state, action, env.default_params)
    finished = terminated | env.is_truncated(state, env.default_params)
    return state, _begin(env, after), reward, terminated, finished
