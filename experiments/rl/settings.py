"""What decides the result of a training, beside the method, its numbers and the seed."""

from dataclasses import dataclass
from typing import Literal

Agent = Literal["dqn", "pqn"]
Task = Literal["cart-pole", "catch"]


@dataclass(frozen=True)
class Settings:
    """The agent, and how tasks alternate.

    Attributes:
        agent: DQN (replay, target network) or PQN (neither; Q(λ), layer normalization).
        phases: times that one of the two tasks is trained, in turn; the cart-pole is first.
        steps: environment steps of an agent in each phase, all its environments together.
        looks: greedy evaluations of both tasks in each phase, evenly spaced, the last at its end.
        episodes: of each evaluation and task.
        envs: environments of an agent that step together; DQN makes an update after each step of all.
        hidden: units of each hidden layer.
        batch: transitions of an update of DQN.
        buffer: transitions that the replay buffer of DQN holds.
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
    phases: int = 8
    steps: int = 20_000
    looks: int = 20
    episodes: int = 10
    envs: int = 4
    hidden: tuple[int, ...] = (64, 64)
    batch: int = 64
    buffer: int = 2000
    gamma: float = 0.97
    epsilon: float = 0.05
    target_rate: float = 0.01
    beakers: int = 10
    adam_eps: float = 1e-8
    cartpole_reward: float = 0.05
    cue: bool = True
    only: Task | None = None
    rollout: int = 32
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
    def n_updates(self) -> int:
        """Of the weights, in the whole training."""
        each = self.epochs * self.minibatches if self.agent == "pqn" else 1
        return self.phases * self.looks * self.iterations * each

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of each layer of the network."""
        from experiments.rl.tasks import N_ACTIONS, N_OBSERVED

        return (N_OBSERVED, *self.hidden, N_ACTIONS)
