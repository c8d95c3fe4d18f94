"""The methods that come with the code, as any method of a user's own is declared; and their settings."""

from dataclasses import dataclass

from experiments.lab.options import profile
from experiments.lab.options.declaration import DEPTH, SPACING, SPAN, Declaration, Range


@dataclass(frozen=True)
class EwcSettings:
    """Of online EWC.

    Attributes:
        ewc_strength: Strength of the penalty of online EWC (lambda); 0 is none.
        ewc_decay: Factor on the Fisher information of earlier tasks at the end of each task (gamma of online
            EWC).
        ewc_samples: Samples of each task on which its Fisher information is estimated, each with one label
            drawn from the network's own prediction.
    """

    ewc_strength: float = 100_000.0
    ewc_decay: float = 1.0
    ewc_samples: int = 1000


@dataclass(frozen=True)
class SiSettings:
    """Of synaptic intelligence.

    Attributes:
        si_strength: Strength of the penalty of SI (c); 0 is none.
        si_damping: Damping of SI (xi), which keeps the importance of weights finite that hardly moved.
    """

    si_strength: float = 100.0
    si_damping: float = 0.1


@dataclass(frozen=True)
class LwfSettings:
    """Of learning without forgetting.

    Attributes:
        lwf_temperature: Temperature of the distillation in learning without forgetting (LwF).
    """

    lwf_temperature: float = 2.0


@dataclass(frozen=True)
class ReplaySettings:
    """Of experience replay.

    Attributes:
        replay_budget: Samples of each class that experience replay (ER) stores; all of them if there are
            fewer.
    """

    replay_budget: int = 100


@dataclass(frozen=True)
class L2Settings:
    """Of L2 to the initial weights.

    Attributes:
        l2_strength: Strength of the penalty on the distance to the initial weights; 0 is none.
    """

    l2_strength: float = 1e-5


@dataclass(frozen=True)
class AverageSettings:
    """Of the average of the weights.

    Attributes:
        average_time: Timescale of the average of the weights, in iterations; earlier it is their plain mean.
    """

    average_time: float = 2000.0


@dataclass(frozen=True)
class Baselines(AverageSettings, L2Settings, ReplaySettings, LwfSettings, SiSettings, EwcSettings):
    """Settings of the other methods; each affects its own method only.

    The defaults suit split MNIST; experiments/README.md lists the values that were tried.
    """


# The colours are most from the palette of Okabe & Ito (2008); told apart in all kinds of colour vision.
_ALL = (
    Declaration(
        name="standard",
        make="experiments.lab.methods.standard:make",
        summary="the optimizer alone",
        color="#0072B2",
        line="dashed",
        is_plain=True,
    ),
    Declaration(
        name="cs",
        make="experiments.lab.methods.synapse:make",
        summary="the optimizer followed by complex synapses",
        uses=("beakers", "alpha", "beta", "time_step"),
        ignores=("decay",),
        search={"alpha": Range(1, 1000), SPAN: Range(10, 1e5), SPACING: Range(1.5, 3)},
        together=("lr", "alpha", "beta"),
        label="complex synapses",
        color="#D55E00",
        has_beakers=True,
    ),
    Declaration(
        name="cs-readout",
        make="experiments.lab.methods.synapse:make_readout",
        summary="trained as cs, evaluated with the weights of a slower beaker, or with an average of past "
        "weights (--profile)",
        uses=("beakers", "alpha", "beta", "time_step", "readout", "profile"),
        ignores=("decay",),
        search={
            "alpha": Range(1, 1000),
            SPAN: Range(10, 1e5),
            SPACING: Range(1.5, 3),
            DEPTH: Range(0.25, 1),
        },
        together=("lr", "alpha", "beta"),
        evaluated_by={"readout": (), "profile": profile.TRIED},  # the beaker comes with depth
        label="cs, slow beaker",
        color="#332288",
        has_beakers=True,
    ),
    Declaration(
        name="cs-published",
        make="experiments.lab.methods.synapse:make_published",
        summary="the published optimizer, whatever --time-step says",
        uses=("beakers", "alpha", "beta"),
        ignores=("decay",),
        fixed={"time_step": "learning-rate"},
        search={"alpha": Range(1e-3, 1000), SPAN: Range(10, 1e5), SPACING: Range(1.5, 3)},
        together=("lr", "alpha", "beta"),
        label="cs as published",
        color="#E69F00",
        line="dash-dotted",
        has_beakers=True,
    ),
    Declaration(
        name="joint",
        make="experiments.lab.methods.joint:make",
        summary="training on all tasks mixed",
        color="#000000",
        line="dotted",
        mixes_tasks=True,
    ),
    Declaration(
        name="ewc",
        make="experiments.lab.methods.ewc:make",
        summary="online elastic weight consolidation",
        settings=EwcSettings,
        search={"ewc_strength": Range(10, 1e7, "Strength λ")},
        together=("lr", "ewc_strength", "ewc_decay"),
        label="online EWC",
        color="#009E73",
        needs_task_ends=True,
    ),
    Declaration(
        name="si",
        make="experiments.lab.methods.si:make",
        summary="synaptic intelligence",
        settings=SiSettings,
        search={"si_strength": Range(0.1, 1e4, "Strength c")},
        together=("lr", "si_strength", "si_damping"),
        label="SI",
        color="#DDCC77",
        needs_task_ends=True,
    ),
    Declaration(
        name="lwf",
        make="experiments.lab.methods.lwf:make",
        summary="learning without forgetting",
        settings=LwfSettings,
        search={"lwf_temperature": Range(0.5, 8, "Temperature")},
        together=("lr", "lwf_temperature"),
        label="LwF",
        color="#56B4E9",
        line="dash-dotted",
        needs_task_ends=True,
    ),
    Declaration(
        name="er",
        make="experiments.lab.methods.replay:make",
        summary="experience replay",
        settings=ReplaySettings,
        label="replay",
        color="#4D4D4D",
        line="dashed",
        needs_task_ends=True,
    ),
    Declaration(
        name="l2",
        make="experiments.lab.methods.l2:make",
        summary="a penalty on the distance to the initial weights",
        settings=L2Settings,
        search={"l2_strength": Range(1e-6, 1e-1, "Strength λ")},
        together=("lr", "l2_strength"),
        label="L2 to start",
        color="#A9A9A9",
        line="dashed",
    ),
    Declaration(
        name="average",
        make="experiments.lab.methods.average:make",
        summary="trained as standard, evaluated with a slow average of the weights",
        settings=AverageSettings,
        search={"average_time": Range(30, 1e5, "Timescale (iterations)")},
        together=("lr", "average_time"),
        label="slow average",
        color="#7F3C00",
        line="dotted",
    ),
    Declaration(
        name="record",
        make="experiments.lab.methods.record:make",
        summary="trained as standard, evaluated with an average of past weights (--profile), read from "
        "beakers",
        uses=("profile",),
        evaluated_by={"profile": profile.TRIED},
        label="record",
        color="#9922EE",
    ),
)

BUILT_IN = {one.name: one for one in _ALL}
