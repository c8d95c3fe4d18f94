"""What decides the result of a training, beside the method, its numbers and the seed."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from experiments.lab.system.errors import SettingsError, flag

Agent = Literal["dqn", "pqn"]
Task = Literal["cart-pole", "catch"]


@dataclass(frozen=True)
class Settings:
    """The agent, and how tasks alternate.

    Attributes:
        agent: DQN (replay, target network) or PQN (neither; Q(λ)).
        phases: times that one of the two tasks is trained, in turn; the cart-pole is first.
        steps: environment steps of an agent in each phase, all its environments together.
        looks: greedy evaluations of both tasks in each phase, evenly spaced, the last at its end.
        episodes: of each evaluation and task.
        envs: environments of an agent that step together; DQN makes an update after each step of all.
        hidden: units of each hidden layer.
        batch: transitions of an update of DQN.
        buffer: transitions that the replay buffer of DQN holds.
        normalize: whether hidden layers have layer normalization.
        gamma: discount of future rewards.
        epsilon: share of random actions, always the same: nothing tells that a task is new.
        target_rate: of DQN's usual target network, in each update.
        beakers: of complex synapses that give back.
        adam_eps: Adam's epsilon.
        cartpole_reward: of each step of the cart-pole, so that the values of both tasks are of one size.
        cue: whether the observation says which task it is.
        only: train one task alone, in all phases.
        rollout: steps of PQN between two series of updates.
        epochs: of PQN over each rollout.
        minibatches: of PQN in each epoch.
        trace: PQN's λ.
        clip: largest norm of PQN's gradient.
    """

    agent: Agent = "dqn"
    phases: int = 10
    steps: int = 40_000
    looks: int = 20
    episodes: int = 10
    envs: int = 4
    hidden: tuple[int, ...] = (64, 64)
    batch: int = 128
    buffer: int = 2000
    normalize: bool = False
    gamma: float = 0.98
    epsilon: float = 0.1
    target_rate: float = 0.05
    beakers: int = 10
    adam_eps: float = 1e-8
    cartpole_reward: float = 0.05
    cue: bool = True
    only: Task | None = None
    rollout: int = 25
    epochs: int = 2
    minibatches: int = 4
    trace: float = 0.65
    clip: float = 10.0

    @property
    def iterations(self) -> int:
        """Of the loop between two evaluations."""
        return self.steps // (self.looks * self.steps_of_an_iteration)

    @property
    def steps_of_an_iteration(self) -> int:
        """Environment steps: one of all environments, or a rollout of all."""
        return self.envs * (self.rollout if self.agent == "pqn" else 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer of the network."""
        from experiments.rl.tasks import N_ACTIONS, N_OBSERVED

        return (N_OBSERVED, *self.hidden, N_ACTIONS)


# What a size changes of the settings above, for each agent; "paper" has the network, the buffer, and the
# numbers of phases and of updates (20 000 a phase) that the code of Kaplanis et al. has.
SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {"dqn": {}, "pqn": {}},
    "paper": {
        "dqn": {"phases": 20, "steps": 80_000, "hidden": (400, 200), "batch": 64},
        "pqn": {"phases": 20, "steps": 200_000, "hidden": (400, 200)},
    },
}
OF_PQN: dict[str, Any] = {"agent": "pqn", "envs": 16, "normalize": True, "gamma": 0.99, "steps": 80_000}


def settings_of(agent: str, size: str, **given: Any) -> Settings:
    """The settings of an agent at a size, and those that are given and not None.

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    usual = replace(Settings(), **{**(OF_PQN if agent == "pqn" else {}), **SIZES[size][agent]})
    settings = replace(usual, **{name: value for name, value in given.items() if value is not None})
    least = {"phases": 3, "steps": 1, "looks": 1, "episodes": 1, "buffer": settings.envs, "beakers": 2}
    for name, allowed in least.items():
        if getattr(settings, name) < allowed:
            raise SettingsError(f"{flag(name)} {getattr(settings, name)}: must be at least {allowed}")
    if not settings.hidden or min(settings.hidden) < 1:
        raise SettingsError(f"--hidden {' '.join(map(str, settings.hidden))}: must be at least 1 unit each")
    if not (0 <= settings.epsilon <= 1 and 0 <= settings.gamma < 1):
        name = "gamma" if 0 <= settings.epsilon <= 1 else "epsilon"
        most = "and below 1" if name == "gamma" else "to 1"
        raise SettingsError(f"{flag(name)} {getattr(settings, name):g}: must be from 0 {most}")
    unit = settings.looks * settings.steps_of_an_iteration
    if settings.steps % unit:
        near = unit * max(1, math.floor(settings.steps / unit))
        raise SettingsError(
            f"--steps {settings.steps}: must be a multiple of {unit}, such as {near}: "
            f"{settings.looks} looks times {settings.steps_of_an_iteration} steps between two updates"
        )
    return settings
