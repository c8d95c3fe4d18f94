"""The methods that are compared, in one table: what follows Adam, what sets targets, and what acts.

A method of one's own is a row more. All begin from the same weights and see the same random numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.lab.options.declaration import Range

DASHED, DOTTED = (0, (4, 1.2)), (0, (1, 1))

LEARNING_RATE = Range(1e-4, 1e-2, "learning rate")
ALPHA = Range(3.0, 3e3, "alpha (updates)")
TIME = Range(6.0, 3e4, "time of the average (updates)")
STRENGTH = Range(1e-4, 1.0, "strength")
USUAL = {"lr": 1e-3, "alpha": 10.0, "time": 500.0, "strength": 1e-2}

# A chain that only listens, with averages from a few updates to a whole training; see docs/averages.md.
LISTENING = {"backflow": "never", "leak": "none", "resolution": 1 / 32, "visible_resolution": 1 / 16}
LISTENERS, FASTEST = 8, 3.0  # beakers, and alpha; neighbouring timescales are four times apart
# How old what a beaker from the second on holds is on average, in updates: sums of C_k+1/g_k.
AGES = tuple(sum(FASTEST * 2.0 ** (2 * j - 1) for j in range(1, k)) for k in range(2, LISTENERS + 1))


@dataclass(frozen=True)
class Method:
    """A way to train an agent.

    Attributes:
        label: its name in tables and figures.
        color: of its line.
        line: its style.
        synapse: options of `complex_synapse` after Adam; None without one.
        slow: a slow copy of the weights: an exponential average, or what the beaker of the
            synapse holds whose age is nearest to the average's time.
        target: what the values of the following observation are taken from: the agent's usual way (DQN: an
            average at a fixed rate, PQN: the weights themselves), or the slow copy.
        acts: what chooses the actions, in training and evaluation: the weights, or the slow copy.
        anchored: whether the weights are pulled to the slow copy.
        remembers_all: whether the replay buffer (DQN) holds the whole training.
        search: what is searched beside the learning rate.
    """

    label: str
    color: str
    line: Any = "solid"
    synapse: Mapping[str, Any] | None = None
    slow: Literal["average", "readout"] | None = None
    target: Literal["usual", "slow"] = "usual"
    acts: Literal["weights", "slow"] = "weights"
    anchored: bool = False
    remembers_all: bool = False
    search: Mapping[str, Range] = field(default_factory=dict)

    @property
    def listens(self) -> bool:
        """Whether its chain gives nothing back."""
        return self.synapse is LISTENING


_OPEN = {"leak": "none"}
METHODS: dict[str, Method] = {
    "adam": Method("Adam", "#4D4D4D"),
    "cs": Method("complex synapses", "#D55E00", synapse=_OPEN, search={"alpha": ALPHA}),
    "cs-kaplanis": Method(
        "complex synapses, their backflow",
        "#D55E00",
        DASHED,
        synapse=_OPEN | {"backflow": "kaplanis"},
        search={"alpha": ALPHA},
    ),
    "listen-target": Method(
        "listening chain: target",
        "#0072B2",
        synapse=LISTENING,
        slow="readout",
        target="slow",
        search={"time": TIME},
    ),
    "listen-act": Method(
        "listening chain: acts",
        "#0072B2",
        DASHED,
        synapse=LISTENING,
        slow="readout",
        acts="slow",
        search={"time": TIME},
    ),
    "average-target": Method(
        "single average: target", "#009E73", slow="average", target="slow", search={"time": TIME}
    ),
    "average-act": Method(
        "single average: acts", "#009E73", DASHED, slow="average", acts="slow", search={"time": TIME}
    ),
    "l2-anchor": Method(
        "L2 to a moving anchor",
        "#E69F00",
        slow="average",
        anchored=True,
        search={"time": TIME, "strength": STRENGTH},
    ),
    "replay": Method("replay of everything", "#CC79A7", DOTTED, remembers_all=True),
}
OF_DQN_ALONE = ("replay",)
