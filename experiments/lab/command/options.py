"""What all commands that train understand."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from experiments.lab.options.declaration import Declaration
from experiments.lab.options.declared import Baselines
from experiments.lab.options.measure import Measure
from experiments.lab.options.model import BUILT_IN, Model
from experiments.lab.options.own import settings_with
from experiments.lab.options.scenario import BUILT_IN as BUILT_IN_SCENARIOS
from experiments.lab.options.scenario import Scenario
from experiments.lab.options.settings import (
    DataAndTasks,
    Evaluation,
    NetworkAndOptimizer,
    Settings,
    Synapse,
)
from experiments.lab.system.errors import SettingsError

if TYPE_CHECKING:
    from experiments.lab.data.dataset import Dataset
    from experiments.lab.training.jobs import Job


@dataclass(frozen=True)
class Output:
    """What is written, and where.

    Attributes:
        time: Print the seconds spent on compiling, training and evaluating.
        pdf: Draw the figures (PDF and PNG). compare and sweep always draw them.
        live: Draw the accuracies and the loss during training, on a page for the browser in
            <results-dir>/live/.
        tensorboard: Write the accuracies and the loss for TensorBoard to <results-dir>/tensorboard/.
        visdom: Send the accuracies and the loss to the Visdom server at localhost:8097.
        data_dir: Folder with MNIST or FashionMNIST: the four original files (.gz or unpacked), Keras's
            mnist.npz, or a copy prepared by TensorFlow Datasets. By default, TensorFlow Datasets' own folder,
            with a download if necessary.
        results_dir: Folder for the results. Runs that are finished there are found again, not trained again.
        plot_dir: Folder for the figures.
        dump_stream: Write the training samples of every iteration to files beside the summary, one for each
            seed, which --stream-file reads.
        probes: At every evaluation of complex synapses, measure in each layer how far each beaker is from the
            weights and how much flows, and the accuracy on each task with each beaker's weights.
        measures: Your own measures, beside the built-in ones, for the summary and the table of runs. Finished
            runs are measured too, without training.
        accept_other_code: Accept finished runs that were made before the code of cs_optax/, experiments/lab/
            or your own was changed, with a warning. By default they are trained again.
        resume: Continue interrupted trainings from their last checkpoints.
        checkpoint_every: Seconds between two checkpoints of a training; 0 makes one at every log point.
        get_stamp: Print the stamp that names these results, and exit. (The data are read: their checksum is
            part of the stamp.)
    """

    time: bool = False
    pdf: bool = False
    live: bool = False
    tensorboard: bool = False
    visdom: bool = False
    data_dir: Annotated[
        Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: downloaded)")
    ] = None
    results_dir: Path = Path("results")
    plot_dir: Path = Path("plots")
    dump_stream: bool = False
    probes: bool = False
    measures: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="[MODULE:FUNCTION …]", help_behavior_hint="(default: none)")
    ] = ()
    accept_other_code: bool = False
    resume: bool = False
    checkpoint_every: float = 60.0
    get_stamp: bool = False


@dataclass(frozen=True)
class Machines:
    """Where the runs are computed. The results are the same up to rounding, which training can amplify.

    Attributes:
        no_gpus: Compute on the CPU even if there is a GPU.
        devices: Number of devices of each process among which runs that train together are divided; a CPU is
            divided into as many.
        distributed: Divide the runs among several processes, possibly on several hosts. Start each of them
            with this same command, on the same folders. On a cluster that JAX recognises (Slurm, Open MPI …)
            nothing else is needed.
        coordinator: On other clusters: HOST:PORT of the first process, with a free port that all processes
            can reach.
        n_processes: Number of processes.
        process_id: Number of this process, from 0. Process 0 writes the results.
    """

    no_gpus: bool = False
    devices: int = 1
    distributed: bool = False
    coordinator: Annotated[
        str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="(default: the cluster's)")
    ] = None
    n_processes: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the cluster's)")
    ] = None
    process_id: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the cluster's)")
    ] = None


@dataclass(frozen=True)
class EvaluationAndOutput(Output, Evaluation):
    """What is recorded during training, and where everything goes."""


@dataclass(frozen=True)
class DataAndTasksToShow(DataAndTasks):
    """What is learned, and in which order."""

    scenario: Annotated[str, tyro.conf.arg(metavar=f"{'|'.join(BUILT_IN_SCENARIOS)}|MODULE:FUNCTION")] = (
        DataAndTasks.scenario
    )
    stream_file: Annotated[
        Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: none)")
    ] = None


@dataclass(frozen=True)
class NetworkToShow(NetworkAndOptimizer):
    """The network, and how it is trained.

    Attributes:
        model: The network: mlp, fully connected layers with ReLU; or MODULE:FUNCTION, a model of your own, in
            a module or a file.py. The help then shows its settings too.
    """

    model: Annotated[str, tyro.conf.arg(metavar=f"{BUILT_IN.name}|MODULE:FUNCTION")] = BUILT_IN.name


Timescales = Literal["given", "suggested"]


@dataclass(frozen=True)
class SynapseToShow(Synapse):
    """The synapse of Benna & Fusi (2016). Only methods that have one use these settings.

    Attributes:
        timescales: given: --beakers, --alpha and --beta are used as they are. suggested: all three are those
            of cs_optax.suggest_timescales for the number of iterations and of tasks.
    """

    timescales: Timescales = "given"
    profile: Annotated[str, tyro.conf.arg(metavar="PROFILE", help_behavior_hint="(default: none)")] = (
        Synapse.profile
    )


@dataclass(frozen=True)
class CommonOptions:
    """What all commands that train understand, in blocks as their help shows it."""

    data: Annotated[DataAndTasksToShow, tyro.conf.arg(name="data and tasks")] = field(
        default_factory=DataAndTasksToShow
    )
    network: Annotated[NetworkToShow, tyro.conf.arg(name="network and optimizer")] = field(
        default_factory=NetworkToShow
    )
    synapse: Annotated[SynapseToShow, tyro.conf.arg(name="complex synapse")] = field(
        default_factory=SynapseToShow
    )
    baselines: Annotated[Baselines, tyro.conf.arg(name="other methods")] = field(default_factory=Baselines)
    output: Annotated[EvaluationAndOutput, tyro.conf.arg(name="evaluation and output")] = field(
        default_factory=EvaluationAndOutput
    )
    machines: Annotated[Machines, tyro.conf.arg(name="devices and processes")] = field(
        default_factory=Machines
    )

    # Of the user's own; their settings are blocks too.
    own: ClassVar[tuple[Declaration, ...]] = ()
    own_model: ClassVar[Model] = BUILT_IN
    own_scenario: ClassVar[Scenario | None] = None
    own_measures: ClassVar[tuple[Measure, ...]] = ()

    asks_to_draw: ClassVar[str] = "--pdf"

    @property
    def known_methods(self) -> Mapping[str, Declaration]:
        """All methods that can be named, by their names."""
        return settings_with(self.own, self.own_model, self.own_scenario).methods

    @property
    def model(self) -> Model:
        """What makes the network.

        Raises:
            SettingsError: if there is no such model.
        """
        known = {BUILT_IN.name: BUILT_IN, self.own_model.reference: self.own_model}
        if self.network.model not in known:
            allowed = f"{BUILT_IN.name}, or MODULE:FUNCTION, one of your own"
            raise SettingsError(f"--model {self.network.model}: must be {allowed}")
        return known[self.network.model]

    @property
    def scenario(self) -> str:
        """The name of what is asked; for one of the user's own, not what names it on the command line."""
        own = self.own_scenario
        is_own = own is not None and self.data.scenario == own.reference
        return own.name if own is not None and is_own else self.data.scenario

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures of the user's own.

        Raises:
            SettingsError: if there is no such measure.
        """
        known = {one.reference: one for one in self.own_measures}
        for name in self.output.measures:
            if name not in known:
                raise SettingsError(f"--measures {name}: must be MODULE:FUNCTION, one of your own")
        return tuple(known[name] for name in dict.fromkeys(self.output.measures))

    def job(self, dataset: "Dataset", **what: Any) -> "Job":
        """Runs to find or to train, kept and computed as these options say.

        Args:
            dataset: the data set.
            what: the rest of `experiments.lab.training.jobs.Job`.
        """
        from experiments.lab.training.jobs import Job

        return Job(dataset=dataset, output=self.output, devices=self.machines.devices, **what)

    @property
    def draws(self) -> bool:
        """Whether the command draws figures."""
        return True

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        from experiments.lab.results.store import CHECKPOINTS, RUNS

        output = self.output
        asked_for = (name for name in ("live", "tensorboard") if getattr(output, name))
        for name in ("", RUNS, CHECKPOINTS, *asked_for):
            yield "results_dir", output.results_dir / name
        if self.draws:
            yield "plot_dir", output.plot_dir

    def settings(self) -> Settings:
        """The settings that change results, in one flat object."""
        kind = settings_with(self.own, self.model, self.own_scenario, self.measures)
        blocks = [getattr(self, one.name) for one in fields(self)]
        given = {name: value for one in blocks if is_dataclass(one) for name, value in asdict(one).items()}  # type: ignore[arg-type]
        given["scenario"] = self.scenario
        settings = kind(**{one.name: given[one.name] for one in fields(kind) if one.name in given})
        if settings.stream_file is None:
            return settings
        named = settings.stream if settings.stream != DataAndTasks.stream else "file"
        return replace(settings, stream=named)
