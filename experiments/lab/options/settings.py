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
            your own data: a file.npz, or module:function. Split experiments divide the ten classes among the
            tasks. In perm experiments every task has all ten classes, with a pixel permutation of its own.
            Digits (8 x 8 pixels) come with scikit-learn; no download is needed.
        scenario: task: the task is known at test time. domain: it is not known, and all tasks share the same
            outputs. class: all classes of all tasks have to be told apart. MODULE:FUNCTION: a scenario of
            your own.
        stream: task-based: one task after the other. gradual: the same, but neighbouring tasks overlap
            (--overlap). random: the task of each sample (class scenario: its class) is drawn uniformly. file:
            as --stream-file says, which implies it.
        overlap: Length of the transition between two tasks of a gradual stream, as a fraction of the
            iterations of a task: 0 switches at once; with 1 a task is pure only in its middle.
        stream_file: Your own sequence of tasks, an .npz file with the integer array "tasks" [iterations] or
            [iterations, batch], numbered from 0, and optionally "rows" [iterations, batch], the training
            samples to show. It sets the number of iterations, whatever --iters says.
        class_order: How split experiments assign the classes to the tasks: canonical (0, 1, 2 …), or
            shuffled, in a different order for each seed.
        tasks: Number of tasks. Split experiments allow 1, 2 and 5, and 10 in the class scenario. Your own
            data set it if they name the task of each sample.
        iters: Iterations (batches): per task in task-based and gradual streams, in total otherwise.
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
        fc_layers: Number of layers of the built-in network, the output layer included.
        fc_units: Units in each of its hidden layers.
        singlehead: Share one output layer among all tasks, instead of one per task. For the task scenario;
            the others have a single head anyway.
        lr: Learning rate.
        optimizer: The optimizer that all methods build on.
        decay: Weight decay (L2). Methods with complex synapses ignore it.
    """

    singlehead: bool = False
    lr: float = 0.001
    optimizer: Optimizer = "adam"
    decay: float = 0.0


@dataclass(frozen=True)
class Synapse:
    """The synapse of Benna & Fusi (2016). Only methods that have one use these settings.

    Attributes:
        beakers: Number of beakers, including the visible weight. With 1 the weights decay with the timescale
            beta; with 0 there is no synapse.
        alpha: Shortest timescale, in iterations (but see --time-step).
        beta: Longest timescale, in iterations (but see --time-step).
        time_step: Time that passes in one iteration. iteration: 1, so that alpha and beta are numbers of
            iterations. learning-rate: the learning rate, as in the published code, whose timescales are in
            fact alpha/lr and beta/lr iterations.
        readout: The beaker that cs-readout evaluates: 1 is the visible weight, 0 the middle of the chain.
        profile: The average of past weights that record and cs-readout evaluate. mean: of all iterations so
            far; mean:0.5: of the last half of them; power:0.1: a power function with this relative standard
            deviation; exponential:200 or exponential:0.2n: an exponential average over this time, in
            iterations or as a share of those so far; moment:300: the weights of about 300 iterations ago. By
            default record evaluates the mean, and cs-readout the beaker of --readout.
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
        loss_log: Iterations between two records of the training loss, each the mean since the previous one.
            If longer than the run, there is one record, at the end.
        eval_log: Iterations between two evaluations of the test accuracy. Evaluations before the first
            iteration, at the end of each task and at the end of the run are always made.
        eval_n: Test samples per task (class scenario: per class) in these evaluations. The final accuracy
            always uses the whole test set.
        evaluate_on: What to take the accuracy on: the test set; or, for choosing settings, validation data:
            every sixth training image of each class, which is then not trained on.
        full_eval: When to evaluate the whole test set. tasks: after each task (task-based, gradual streams)
            and at the end. end: only at the end, as in a search.
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
