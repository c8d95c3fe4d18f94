"""What decides the result of an experiment: the settings, their defaults and their limits.

The fields are grouped by theme, each group a dataclass of its own that the commands show as one block
of their help; `Settings` is all of them in one flat object for the code that trains.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from experiments.lab.options import profile
from experiments.lab.options.declaration import Declaration
from experiments.lab.options.declared import BUILT_IN, Baselines
from experiments.lab.options.measure import BUILT_IN as BUILT_IN_MEASURES
from experiments.lab.options.measure import Measure
from experiments.lab.options.model import BUILT_IN as BUILT_IN_MODEL
from experiments.lab.options.model import FullyConnected, Model
from experiments.lab.options.scenario import BUILT_IN as BUILT_IN_SCENARIOS
from experiments.lab.options.scenario import Scenario
from experiments.lab.system.names import printable

Experiment = Literal[  # those that are built in
    "splitMNIST", "permMNIST", "splitFashionMNIST", "permFashionMNIST", "splitDigits", "permDigits"
]
Stream = Literal["task-based", "random", "gradual", "file"]
ClassOrder = Literal["canonical", "shuffled"]
EvaluateOn = Literal["test", "validation"]
FullEval = Literal["tasks", "end"]
Optimizer = Literal["adam", "sgd"]
TimeStep = Literal["iteration", "learning-rate"]


@dataclass(frozen=True)
class DataAndTasks:
    """What is learned, and in which order.

    Attributes:
        experiment: splitMNIST, permMNIST, splitFashionMNIST, permFashionMNIST, splitDigits, permDigits, or
            data of your own: a file.npz, or module:function. Split experiments divide the ten classes
            among the tasks; perm experiments have all ten classes in every task, with the pixels permuted
            differently in each. Digits (8 x 8 pixels) come with scikit-learn and need no download.
        scenario: With task, the task is known at test time; with domain it is not, and all tasks share
            the same outputs; with class, all classes of all tasks have to be told apart. MODULE:FUNCTION is
            one of your own.
        stream: With task-based, one task comes after the other; with gradual likewise, but neighbours
            overlap (--overlap); with random, the task (in the class scenario the class) of every sample is
            drawn uniformly; with file, it is what --stream-file says, which need not be named twice.
        overlap: The share of a task's iterations over which, in a gradual stream, it gives way to the next
            one: 0 is at once, with 1 a task is pure in its middle alone.
        stream_file: A sequence of tasks of your own, .npz: integer arrays "tasks" [iterations] or
            [iterations, batch], numbered from 0, and if wanted "rows" [iterations, batch], the training
            samples. It decides the number of iterations, whatever --iters says.
        class_order: Order of the classes over the tasks of split experiments: 0, 1, 2 …, or by the seed.
        tasks: Number of tasks. Split experiments allow 1, 2 and 5, in the class scenario also 10; data of
            your own that name the task of each sample decide it.
        iters: Number of iterations (batches), per task in task-based and gradual streams, else in total.
        batch: Samples per iteration.
    """

    experiment: str = "splitMNIST"
    scenario: str = "task"
    stream: Stream = "task-based"
    overlap: float = 1.0
    stream_file: Path | None = None
    class_order: ClassOrder = "canonical"
    tasks: int = 5
    iters: int = 500
    batch: int = 128


@dataclass(frozen=True)
class NetworkAndOptimizer(FullyConnected):
    """The network, and how it is trained.

    Attributes:
        fc_layers: Layers of the built-in network, the output layer included.
        fc_units: Units in each hidden layer.
        singlehead: One output layer shared by all tasks, instead of one per task. For the task
            scenario; the others have a single head anyway.
        lr: Learning rate.
        optimizer: Optimizer, alone or followed by complex synapses.
        decay: Weight decay of all methods but those with complex synapses.
    """

    singlehead: bool = False
    lr: float = 0.001
    optimizer: Optimizer = "adam"
    decay: float = 0.0


@dataclass(frozen=True)
class Synapse:
    """The synapse of Benna & Fusi (2016). Without effect on the standard method.

    Attributes:
        beakers: Number of beakers, the visible weight included. With 1 the weights decay at beta, with 0
            there is no synapse.
        alpha: Shortest timescale of the synapse, in iterations (but see --time-step).
        beta: Longest timescale of the synapse, in iterations (but see --time-step).
        time_step: Time that passes in one iteration. With iteration it is 1, and alpha and beta are
            numbers of iterations; with learning-rate it is that of the published code, whose
            timescales are really alpha/lr and beta/lr iterations.
        readout: The beaker whose weights cs-readout evaluates, from 1, the visible weights; 0 means the
            one in the middle of the chain.
        profile: The average of past weights that record and cs-readout evaluate: mean, or mean:0.5 for the
            last half of the iterations so far; power:0.1, the power function of this standard deviation;
            exponential:200 over a time, in iterations or as exponential:0.2n, a share of those so far;
            moment:300, about so long ago. By default record takes the mean, and cs-readout the beaker of
            --readout in the place of an average.
    """

    beakers: int = 5
    alpha: float = 500.0
    beta: float = 2500.0
    time_step: TimeStep = "iteration"
    readout: int = 0
    profile: str = ""


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
        full_eval: When the whole test set is evaluated: with tasks after each task (task-based and gradual
            streams) and at the end, with end only there, as in a search.
    """

    loss_log: int = 100
    eval_log: int = 100
    eval_n: int = 1024
    evaluate_on: EvaluateOn = "test"
    full_eval: FullEval = "tasks"


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
    command-line flag of a field is its name with hyphens. Methods and models of the user's own add theirs
    (`experiments.lab.options.own.settings_with`).

    Attributes:
        methods: the methods that are known, by their names.
        model: what makes the network.
        scenarios: the scenarios that are known, by their names.
        measures: what is computed of a finished run, by their names.
    """

    methods: ClassVar[Mapping[str, Declaration]] = BUILT_IN
    model: ClassVar[Model] = BUILT_IN_MODEL
    scenarios: ClassVar[Mapping[str, Scenario]] = BUILT_IN_SCENARIOS
    measures: ClassVar[Mapping[str, Measure]] = BUILT_IN_MEASURES

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
    def task_ends(self) -> list[int]:
        """The iterations after which a task ends; in a stream that mixes the tasks its end alone."""
        return [*range(self.iters, self.total_iterations + 1, self.iters)]

    @property
    def total_iterations(self) -> int:
        """Number of iterations of the whole run."""
        return self.tasks * self.iters if self.one_task_after_the_other else self.iters

    @property
    def classes_per_task(self) -> int:
        """Number of classes in each task."""
        return self.classes if self.permuted or self.labelled else self.classes // self.tasks

    @property
    def asked(self) -> Scenario:
        """What is asked: the scenario, or what it is with a single head."""
        named = self.scenarios[self.scenario]
        return self.scenarios[named.single_head] if self.singlehead else named

    @property
    def chance(self) -> float:
        """Fraction correct of a guess among the classes that are told apart at test time."""
        return self.asked.chance_of(self.tasks, self.classes_per_task)

    @classmethod
    def unused_by(cls, method: str) -> frozenset[str]:
        """The settings that a training with a method makes no use of.

        >>> sorted(Settings.unused_by("cs-published") - Settings.unused_by("cs"))
        ['time_step']
        """
        of_methods = {field.name for field in fields(Synapse)}.union(
            *(one.own for one in cls.methods.values())
        )
        declared = cls.methods[method]
        unused = frozenset(of_methods - declared.used | {*declared.ignores})
        return unused | cls.unused_by_the_model() | cls.of_measures()

    @classmethod
    def of_measures(cls) -> frozenset[str]:
        """The settings of measures, which no training makes use of."""
        return frozenset(name for one in cls.measures.values() for name in one.own)

    @classmethod
    def unused_by_the_model(cls) -> frozenset[str]:
        """The settings of the built-in network, where it is not the one that is trained."""
        return frozenset(BUILT_IN_MODEL.own) - {*cls.model.own}

    def of_method(self, method: str) -> "Settings":
        """These settings as the method has them: what it makes no use of is as usual, or what it fixes.

        >>> settings = Settings(beakers=7, l2_strength=1.0).of_method("cs-published")
        >>> settings.beakers, settings.l2_strength, settings.time_step
        (7, 1e-05, 'learning-rate')
        """
        usual = {field.name: field.default for field in fields(self)}
        unused = {name: usual[name] for name in self.unused_by(method)}
        return replace(self, **{**unused, **self.methods[method].fixed})

    def profile_of(self, method: str) -> str:
        """The average of past weights that a method evaluates, in words; empty where it reads a beaker.

        >>> [Settings(profile="mean:1.0").profile_of(method) for method in ("record", "cs-readout", "cs")]
        ['mean', 'mean', '']
        >>> [Settings().profile_of(method) for method in ("record", "cs-readout")]
        ['mean', '']
        """
        used = self.methods[method].used
        if "profile" not in used or (not self.profile and "readout" in used):
            return ""
        return str(profile.read(self.profile or profile.USUAL))

    def as_read(self, method: str) -> "Settings":
        """These settings with one way alone of naming what is evaluated."""
        average = self.profile_of(method)
        return replace(self, profile=average, readout=0 if average else self.beaker_to_read)

    def as_trained(self, method: str) -> "Settings":
        """These settings as the method has them, but for those that only decide what is evaluated.

        >>> Settings(profile="power:0.1").as_trained("record") == Settings().as_trained("record")
        True
        """
        usual: dict[str, Any] = {field.name: field.default for field in fields(self)}
        named = self.methods[method].evaluated_by
        return replace(self.of_method(method), **{name: usual[name] for name in named})
