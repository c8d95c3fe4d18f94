"""The methods that are compared, in one table: what follows Adam, what sets targets, and what acts.

A method of one's own is a row more. All begin from the same weights and see the same random numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.lab.options.declaration import Range

LEARNING_RATE = Range(1e-4, 1e-2, "learning rate")
ALPHA = Range(3.0, 3e3, "alpha (updates)")
TIME = Range(30.0, 3e4, "time of the average (updates)")
DEPTH = Range(0.125, 1.0, "beaker that is read, as a share of the chain")
STRENGTH = Range(1e-4, 1.0, "strength")
USUAL = {"lr": 1e-3, "alpha": 10.0, "time": 1e3, "depth": 0.25, "strength": 1e-2}

# A chain that only listens: suggest_timescales(…, purpose="averages"), one-sided, closed (docs/averages.md).
LISTENING = {"backflow": "never", "leak": "none", "resolution": 1 / 32, "visible_resolution": 1 / 16}


@dataclass(frozen=True)
class Method:
    """A way to train an agent.

    Attributes:
        label: its name in tables and figures.
        color: of its line.
        line: its style.
        synapse: options of `complex_synapse` after Adam; None without one.
        slow: a slow copy of the weights: an exponential average, or what a beaker of the synapse holds.
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


_OPEN, _READ = {"leak": "none"}, {"slow": "readout", "search": {"depth": DEPTH}}
METHODS: dict[str, Method] = {
    "adam": Method("Adam", "#4D4D4D"),
    "cs": Method("complex synapses", "#D55E00", synapse=_OPEN, search={"alpha": ALPHA}),
    "cs-kaplanis": Method(
        "the same, backflow by their rule",
        "#D55E00",
        (0, (4, 1.2)),
        synapse=_OPEN | {"backflow": "kaplanis"},
        search={"alpha": ALPHA},
    ),
    "listen-target": Method("listening chain: target", "#0072B2", synapse=LISTENING, target="slow", **_READ),
    "listen-act": Method(
        "listening chain: acts", "#0072B2", (0, (4, 1.2)), synapse=LISTENING, acts="slow", **_READ
    ),
    "average-target": Method(
        "single average: target", "#009E73", slow="average", target="slow", search={"time": TIME}
    ),
    "average-act": Method(
        "single average: acts", "#009E73", (0, (4, 1.2)), slow="average", acts="slow", search={"time": TIME}
    ),
    "l2-anchor": Method(
        "L2 to a moving anchor",
        "#E69F00",
        slow="average",
        anchored=True,
        search={"time": TIME, "strength": STRENGTH},
    ),
    "replay": Method("replay of everything", "#CC79A7", (0, (1, 1)), remembers_all=True),
}
OF_DQN_ALONE = ("replay",)
