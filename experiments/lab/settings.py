"""What decides the result of an experiment: the settings, their defaults and their limits.

The fields are grouped by theme, each group a dataclass of its own that the commands show as one block
of their help; `Settings` is all of them in one flat object for the code that trains.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from experiments.lab.names import printable

MOST_BEAKERS = 200  # each has to be compiled
MOST_OF = {"fc_layers": 100, "fc_units": 10**5}  # layers have to be compiled too; more units fill any memory
LARGEST = 1e38  # of what is computed with in float32
MOST_SAMPLES = 10**9  # that a run is shown, since they are drawn beforehand
MOST_SEEDS = 1000  # of one comparison, since they are in the device's memory together
LARGEST_SEED = 2**31 - 1  # larger ones would be cut to 32 bits by JAX, and two seeds become one

Experiment = Literal[  # those that are built in
    "splitMNIST", "permMNIST", "splitFashionMNIST", "permFashionMNIST", "splitDigits", "permDigits"
]
Scenario = Literal["task", "domain", "class"]
Stream = Literal["task-based", "random", "gradual", "file"]
ClassOrder = Literal["canonical", "shuffled"]
EvaluateOn = Literal["test", "validation"]
Optimizer = Literal["adam", "sgd"]
TimeStep = Literal["iteration", "learning-rate"]
Method = Literal[
    "standard",
    "cs",
    "cs-readout",
    "cs-published",
    "joint",
    "ewc",
    "si",
    "lwf",
    "er",
    "l2",
    "average",
]


class SettingsError(ValueError):
    """Settings that cannot be meant; the message is one line for the user."""


@dataclass(frozen=True)
class DataAndTasks:
    """What is learned, and in which order.

    Attributes:
        experiment: splitMNIST, permMNIST, splitFashionMNIST, permFashionMNIST, splitDigits, permDigits, or
            data of your own: a file.npz, or module:function. Split experiments divide the ten classes
            among the tasks; perm experiments have all ten classes in every task, with the pixels permuted
            differently in each. Digits (8 x 8 pixels) come with scikit-learn and need no download.
        scenario: With task, the task is known at test time; with domain it is not, and all tasks share
            the same outputs; with class, all classes of all tasks have to be told apart.
        stream: With task-based, one task comes after the other; with gradual likewise, but neighbours
            overlap (--overlap); with random, the task (in the class scenario the class) of every sample is
            drawn uniformly; with file, it is what --stream-file says, which need not be named twice.
        overlap: The share of a task's iterations over which, in a gradual stream, it gives way to the next
            one: 0 is at once, with 1 a task is pure in its middle alone.
        stream_file: A sequence of tasks of your own, .npz: integer arrays "tasks" [iterations] or
            [iterations, batch], numbered from 0, and if wanted "rows" [iterations, batch], the training
            samples. It decides the number of iterations, whatever --iters says.
        class_order: How the classes are spread over the tasks of split experiments: 0, 1, 2 … or
            shuffled anew for each seed.
        tasks: Number of tasks. Split experiments allow 1, 2 and 5, in the class scenario also 10; data of
            your own that name the task of each sample decide it.
        iters: Number of iterations (batches), per task in task-based and gradual streams, else in total.
        batch: Samples per iteration.
    """

    experiment: str = "splitMNIST"
    scenario: Scenario = "task"
    stream: Stream = "task-based"
    overlap: float = 1.0
    stream_file: Path | None = None
    class_order: ClassOrder = "canonical"
    tasks: int = 5
    iters: int = 500
    batch: int = 128


@dataclass(frozen=True)
class NetworkAndOptimizer:
    """A fully connected network, and how it is trained.

    Attributes:
        fc_layers: Number of layers, the output layer included.
        fc_units: Units in each hidden layer.
        singlehead: One output layer shared by all tasks, instead of one per task. For the task
            scenario; the others have a single head anyway.
        lr: Learning rate.
        optimizer: Optimizer, alone or followed by complex synapses.
        decay: Weight decay of all methods but those with complex synapses.
    """

    fc_layers: int = 3
    fc_units: int = 400
    singlehead: bool = False
    lr: float = 0.001
    optimizer: Optimizer = "adam"
    decay: float = 0.0


@dataclass(frozen=True)
class Synapse:
    """The synapse of Benna & Fusi (2016). Without effect on the standard method.

    Attributes:
        beakers: Number of beakers, the visible weight included. With 1 the weights decay with the
            timescale beta; with 0 there is no synapse.
        alpha: Shortest timescale of the synapse, in iterations (but see --time-step).
        beta: Longest timescale of the synapse, in iterations (but see --time-step).
        time_step: Time that passes in one iteration. With iteration it is 1, and alpha and beta are
            numbers of iterations; with learning-rate it is that of the published code, whose
            timescales are really alpha/lr and beta/lr iterations.
        readout: The beaker whose weights cs-readout evaluates, from 1, the visible weights; 0 means the
            one in the middle of the chain.
    """

    beakers: int = 5
    alpha: float = 500.0
    beta: float = 2500.0
    time_step: TimeStep = "iteration"
    readout: int = 0


@dataclass(frozen=True)
class Baselines:
    """How strongly the other methods hold on to what was learned. Each is without effect on the rest.

    The defaults suit split MNIST; experiments/README.md says which values were tried.

    Attributes:
        ewc_strength: Weight of online EWC's penalty (lambda); 0 is none, more protects more.
        ewc_decay: What is left of earlier tasks' Fisher information (gamma of online EWC) after a task.
        ewc_samples: Samples of each task that its Fisher information is estimated on, each with one label
            drawn from the network's own prediction.
        si_strength: Weight of SI's penalty (c); 0 is none, more protects more.
        si_damping: Keeps SI's importance of a weight that has hardly moved finite (xi).
        lwf_temperature: Temperature of the distillation in learning without forgetting (LwF).
        replay_budget: Samples of each class that experience replay (ER) stores, or all where there are fewer.
        l2_strength: Weight of the penalty on the distance to the initial weights; 0 is none.
        average_time: Timescale of the average of the weights, in iterations; until then it is their plain
            mean.
    """

    ewc_strength: float = 100_000.0
    ewc_decay: float = 1.0
    ewc_samples: int = 1000
    si_strength: float = 100.0
    si_damping: float = 0.1
    lwf_temperature: float = 2.0
    replay_budget: int = 100
    l2_strength: float = 1e-5
    average_time: float = 2000.0


# What of these groups each method makes use of; of all other settings, every method does.
USED_BY: dict[str, frozenset[str]] = {
    "cs": frozenset({"beakers", "alpha", "beta", "time_step"}),
    "cs-readout": frozenset({"beakers", "alpha", "beta", "time_step", "readout"}),
    "cs-published": frozenset({"beakers", "alpha", "beta"}),
    "ewc": frozenset({"ewc_strength", "ewc_decay", "ewc_samples"}),
    "si": frozenset({"si_strength", "si_damping"}),
    "lwf": frozenset({"lwf_temperature"}),
    "er": frozenset({"replay_budget"}),
    "l2": frozenset({"l2_strength"}),
    "average": frozenset({"average_time"}),
}
WITH_BEAKERS = ("cs", "cs-readout", "cs-published")
NEED_TASKS = ("ewc", "si", "lwf", "er")  # they have to be told when a task ends

# Numbers that change neither what is shown nor the shape of anything: configurations that differ in nothing
# else can train together.
TRAIN_TOGETHER = (
    "lr",
    "alpha",
    "beta",
    "ewc_strength",
    "ewc_decay",
    "si_strength",
    "si_damping",
    "lwf_temperature",
    "l2_strength",
    "average_time",
)


@dataclass(frozen=True)
class Evaluation:
    """What is recorded during training.

    Attributes:
        loss_log: Iterations between two records of the training loss (its mean since the last one). Longer
            than the run: one record, at its end.
        eval_log: Iterations between two evaluations of the test accuracy. There is one before the first
            iteration, at the end of each task and of the run in any case.
        eval_n: Test samples per task (in the class scenario per class) in these evaluations. The final
            accuracy is always that on the whole test set.
        evaluate_on: What counts as the test set. With validation, every sixth training image of each
            class, which is then not trained on: for choosing settings without a look at the test set.
    """

    loss_log: int = 100
    eval_log: int = 100
    eval_n: int = 1024
    evaluate_on: EvaluateOn = "test"


@dataclass(frozen=True)
class FromTheData:
    """What data of one's own decide; there are no flags for it.

    Attributes:
        classes: Number of classes in the data (in each task, where the samples name theirs).
        labelled: Whether each sample names the task it belongs to.
    """

    classes: int = 10
    labelled: bool = False


@dataclass(frozen=True)
class Settings(FromTheData, Baselines, Evaluation, Synapse, NetworkAndOptimizer, DataAndTasks):
    """Every setting that changes the result of one run, in one flat object.

    The fields, their units and their defaults are those of the groups it inherits from; the
    command-line flag of a field is its name with hyphens.
    """

    @property
    def built_in(self) -> bool:
        """Whether the experiment is one of those that come with the code."""
        return self.experiment in get_args(Experiment)

    @property
    def name(self) -> str:
        """The experiment's name: for data of one's own, that of the file or function alone, printable."""
        if self.built_in:
            return self.experiment
        is_file = self.experiment.endswith(".npz")
        return printable(Path(self.experiment).stem if is_file else self.experiment.replace(":", "."))

    @property
    def dataset(self) -> str:
        """The data set's name: "MNIST", "FashionMNIST" or "Digits"; or where one's own data are."""
        if not self.built_in:
            return self.experiment
        return self.experiment.removeprefix("split").removeprefix("perm")

    @property
    def permuted(self) -> bool:
        """Whether the tasks are permutations of the pixels, not groups of classes."""
        return self.built_in and self.experiment.startswith("perm")

    @property
    def beaker_to_read(self) -> int:
        """The beaker that cs-readout evaluates, counted from 1."""
        return self.readout or 1 + self.beakers // 2

    @property
    def one_task_after_the_other(self) -> bool:
        """Whether each task has iterations of its own, the ends of which are known."""
        return self.stream in ("task-based", "gradual")

    @property
    def total_iterations(self) -> int:
        """Number of iterations of the whole run."""
        return self.tasks * self.iters if self.one_task_after_the_other else self.iters

    @property
    def classes_per_task(self) -> int:
        """Number of classes in each task."""
        return self.classes if self.permuted or self.labelled else self.classes // self.tasks

    @property
    def chance(self) -> float:
        """Fraction correct of a guess among the classes that are told apart at test time."""
        rivals = self.tasks if self.scenario == "class" else 1
        return 1 / (self.classes_per_task * rivals)


def flag(field: str) -> str:
    """Name a field as the command line does.

    >>> flag("fc_units")
    '--fc-units'
    """
    return "--" + field.replace("_", "-")


def validate(settings: Settings) -> None:
    """Reject what cannot be meant.

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    own = settings.experiment.endswith(".npz") or ":" in settings.experiment.strip(":")
    _require(
        settings,
        "experiment",
        settings.built_in or own,
        f"one of {', '.join(get_args(Experiment))}, a file that ends in .npz, or module:function",
    )
    for name, choices in _CHOICES.items():
        _require(settings, name, getattr(settings, name) in choices, f"one of {', '.join(choices)}")
    for name in _COUNTS:
        most = MOST_OF.get(name, math.inf)
        allowed = "at least 1" if most == math.inf else f"1 to {most}"
        _require(settings, name, 1 <= getattr(settings, name) <= most, allowed)
    for name in ("lr", "alpha", "beta", "si_damping", "lwf_temperature"):
        _require(settings, name, 0 < getattr(settings, name) <= LARGEST, f"positive and at most {LARGEST:g}")
    for name in ("decay", "ewc_strength", "ewc_decay", "si_strength", "l2_strength"):
        _require(settings, name, 0 <= getattr(settings, name) <= LARGEST, f"0 to {LARGEST:g}")
    _require(settings, "overlap", 0 <= settings.overlap <= 1, "0 to 1")
    _require(settings, "average_time", 1 <= settings.average_time <= LARGEST, f"1 to {LARGEST:g}")
    _require(settings, "beakers", 0 <= settings.beakers <= MOST_BEAKERS, f"0 to {MOST_BEAKERS}")
    stretches = settings.tasks if settings.one_task_after_the_other else 1
    most = MOST_SAMPLES // (stretches * settings.batch)
    _require(settings, "iters", settings.iters <= most, f"at most {most}: {MOST_SAMPLES:g} samples in all")
    last = max(settings.beakers, 1)
    _require(settings, "readout", 0 <= settings.readout <= last, f"0 to {last}, the number of --beakers")
    _require(
        settings,
        "beta",
        settings.beakers < 2 or settings.beta >= settings.alpha,
        f"at least --alpha ({settings.alpha:g}), the shortest timescale",
    )
    _require(
        settings,
        "singlehead",
        not settings.singlehead or settings.scenario == "task",
        f"left out in the {settings.scenario} scenario, which has a single head anyway "
        "(it is for --scenario task)",
    )
    _require(
        settings,
        "class_order",
        settings.class_order == "canonical" or not (settings.permuted or settings.labelled),
        f"left out: in {settings.name} the classes do not decide the task",
    )
    if (settings.stream == "file") != (settings.stream_file is not None):
        raise SettingsError(
            "--stream file: needs a --stream-file"
            if settings.stream_file is None
            else f"--stream-file {settings.stream_file}: is for --stream file, not {settings.stream}"
        )
    if settings.built_in:
        validate_tasks(settings)


def validate_tasks(settings: Settings) -> None:
    """Reject tasks that leave a class out, or have nothing to tell apart.

    For data of one's own this can be asked only when they are known (`FromTheData`).

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    if settings.labelled:
        several = settings.classes > 1 or settings.scenario == "class"
        _require(settings, "scenario", several, f"class: each task of {settings.name} has a single class")
    if settings.permuted or settings.labelled:
        return
    divisors = [n for n in range(1, settings.classes + 1) if settings.classes % n == 0]
    single = settings.scenario == "class"
    allowed = divisors if single else [n for n in divisors if n < settings.classes]
    shown = " or ".join(filter(None, [", ".join(map(str, allowed[:-1])), str(allowed[-1])]))
    why = f"{settings.name} divides {settings.classes} classes evenly among the tasks"
    more = (
        ""
        if single
        else f", and one class per task leaves nothing to learn in the {settings.scenario} scenario"
    )
    _require(settings, "tasks", settings.tasks in allowed, f"{shown}: {why}{more}")


def validate_methods(settings: Settings, methods: Sequence[str]) -> None:
    """Reject methods that are unknown, named twice, or that the stream gives nothing to go by.

    Raises:
        SettingsError: one line that names the method and what is allowed.
    """
    for method in methods:
        if method not in get_args(Method):
            raise SettingsError(f"method {method}: must be one of {', '.join(get_args(Method))}")
        if methods.count(method) > 1:
            raise SettingsError(f"method {method}: must be named once")
        if method in NEED_TASKS and settings.stream != "task-based":
            raise SettingsError(
                f"method {method}: must be told when a task ends, so it needs --stream task-based"
            )


def unused_by(method: str) -> frozenset[str]:
    """The settings that a method makes no use of.

    >>> sorted(unused_by("cs-published") - unused_by("cs"))
    ['time_step']
    """
    special = frozenset(field.name for group in (Synapse, Baselines) for field in fields(group))
    without = special - USED_BY.get(method, frozenset())
    return without | {"decay"} if method.startswith("cs") else without


def without_effect(settings: Settings, methods: Sequence[str]) -> list[str]:
    """The flags that are not as usual and change nothing, each with the reason.

    >>> without_effect(Settings(overlap=0.5, l2_strength=0.1), ["cs"])
    ['--overlap 0.5 has no effect without --stream gradual', '--l2-strength 0.1 has no effect on cs']
    """
    usual, unused = Settings(), frozenset.intersection(*map(unused_by, methods))
    reasons = {field.name: f"on {', '.join(methods)}" for field in fields(Settings) if field.name in unused}
    if settings.beakers < 2 and any(method in WITH_BEAKERS for method in methods):
        without = ("alpha", "beta", "time_step") if settings.beakers == 0 else ("alpha",)
        reasons |= dict.fromkeys(without, f"with --beakers {settings.beakers}")
    if settings.stream != "gradual":
        reasons = {"overlap": "without --stream gradual", **reasons}
    if settings.stream == "file":
        reasons["iters"] = "with --stream-file"
    return [
        f"{_given(settings, name)} has no effect {reason}"
        for name, reason in reasons.items()
        if getattr(settings, name) != getattr(usual, name)
    ]


def validate_seeds(seed: int, n_seeds: int = 1, purpose: str = "") -> None:
    """Reject seeds that are negative or too large, and too many or none at all.

    Args:
        seed: the first seed.
        n_seeds: number of consecutive seeds.
        purpose: what the flags name beside the seeds, such as "tuning-".

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    if not 1 <= n_seeds <= MOST_SEEDS:
        raise SettingsError(f"--n-{purpose}seeds {n_seeds}: must be 1 to {MOST_SEEDS}")
    largest = LARGEST_SEED - (n_seeds - 1)
    if not 0 <= seed <= largest:
        raise SettingsError(f"--{purpose}seed {seed}: must be 0 to {largest}")


_CHOICES: dict[str, tuple[str, ...]] = {
    "scenario": get_args(Scenario),
    "stream": get_args(Stream),
    "class_order": get_args(ClassOrder),
    "evaluate_on": get_args(EvaluateOn),
    "optimizer": get_args(Optimizer),
    "time_step": get_args(TimeStep),
}
_COUNTS = tuple(f.name for f in fields(Settings) if f.type is int and f.name not in ("beakers", "readout"))


def _require(settings: Settings, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        raise SettingsError(f"{_given(settings, name)}: must be {allowed}")


def _given(settings: Settings, name: str) -> str:
    """A field as it is on the command line."""
    value = getattr(settings, name)
    shown = "" if value is True else f" {value:g}" if isinstance(value, float) else f" {value}"
    return f"{flag(name)}{shown}"
