"""One method with one seed: ``python -m experiments.run --help``."""

import math
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from experiments.lab import processes
from experiments.lab.description import describe, describe_methods
from experiments.lab.failures import MethodsFailedError
from experiments.lab.names import printable
from experiments.lab.numbers import whole_number
from experiments.lab.processes import note
from experiments.lab.settings import (
    WITH_BEAKERS,
    Baselines,
    DataAndTasks,
    Evaluation,
    Method,
    NetworkAndOptimizer,
    Settings,
    SettingsError,
    Synapse,
    flag,
    validate,
    validate_methods,
    validate_seeds,
    validate_tasks,
    without_effect,
)
from experiments.lab.standard_streams import lasting_streams, readable_columns
from experiments.lab.terminal import suit_the_terminal

# JAX, Flax and matplotlib are imported only where they are used: --help and a mistyped flag answer at once.
if TYPE_CHECKING:
    from experiments.lab.data import Dataset
    from experiments.lab.live import Live
    from experiments.lab.results import FinishedRun, Run, Seconds
    from experiments.lab.runs import Job

Options = TypeVar("Options")


@dataclass(frozen=True)
class Output:
    """What is written, and where.

    Attributes:
        time: Print the seconds spent on compiling, training and evaluating.
        pdf: Draw the figures (PDF and PNG). The comparison always draws its own.
        live: Draw the accuracies and the loss while training, in a page for the browser:
            <results-dir>/live/.
        tensorboard: Write them for TensorBoard, to <results-dir>/tensorboard/.
        visdom: Show them on the Visdom server at localhost:8097.
        data_dir: Folder with the four files of MNIST or FashionMNIST (.gz or unpacked), with Keras's
            mnist.npz, or with a copy prepared by TensorFlow Datasets. Without it, TensorFlow
            Datasets' own folder is used, downloading if need be.
        results_dir: Folder for the results. Finished runs are found again there.
        plot_dir: Folder for the figures.
        dump_stream: Write down which samples were shown in which iteration, beside the summary, one file for
            each seed (as --stream-file reads them).
        probes: Measure, at every evaluation of complex synapses, how far each beaker is from the weights in
            each layer, how much flows, and how well each beaker's weights do on each task.
        accept_other_code: Take finished runs that were made before the code of cs_optax/ or experiments/lab/
            was changed, with a warning. They are trained again otherwise.
        resume: Go on with a training that was stopped, from its last checkpoint.
        checkpoint_every: Seconds between two checkpoints of a training; 0 makes one at every log point.
        get_stamp: Print the stamp that names these results, and do nothing else. (The data are
            read: their checksum is part of the stamp.)
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
    accept_other_code: bool = False
    resume: bool = False
    checkpoint_every: float = 60.0
    get_stamp: bool = False


@dataclass(frozen=True)
class Machines:
    """Where the runs are computed. Results are the same but for rounding, and what training makes of it.

    Attributes:
        no_gpus: Compute on the CPU even where there is a GPU.
        devices: Devices that the runs which train together are divided among (of each process); of a CPU, as
            many parts as are wanted.
        distributed: Divide the runs among several processes, perhaps on several computers, each of which is
            started with this same command, and should find the same folders. Where JAX knows the cluster
            (Slurm, Open MPI …), nothing more is needed.
        coordinator: Elsewhere, HOST:PORT of the first process: the port is free, and all can reach it.
        n_processes: The number of processes.
        process_id: Which one this is, from 0. The first one writes the results.
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
    """What is learned, and in which order: as `DataAndTasks`, with words for the help."""

    stream_file: Annotated[
        Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: none)")
    ] = None


@dataclass(frozen=True)
class CommonOptions:
    """What all commands that train understand, in blocks as their help shows it."""

    data: Annotated[DataAndTasksToShow, tyro.conf.arg(name="data and tasks")] = field(
        default_factory=DataAndTasksToShow
    )
    network: Annotated[NetworkAndOptimizer, tyro.conf.arg(name="network and optimizer")] = field(
        default_factory=NetworkAndOptimizer
    )
    synapse: Annotated[Synapse, tyro.conf.arg(name="complex synapse")] = field(default_factory=Synapse)
    baselines: Annotated[Baselines, tyro.conf.arg(name="other methods")] = field(default_factory=Baselines)
    output: Annotated[EvaluationAndOutput, tyro.conf.arg(name="evaluation and output")] = field(
        default_factory=EvaluationAndOutput
    )
    machines: Annotated[Machines, tyro.conf.arg(name="devices and processes")] = field(
        default_factory=Machines
    )

    def job(self, dataset: "Dataset", **what: Any) -> "Job":
        """Runs to find or to train, kept and computed as these options say.

        Args:
            dataset: the data set.
            what: the rest of `experiments.lab.runs.Job`.
        """
        from experiments.lab.runs import Job

        return Job(dataset=dataset, output=self.output, devices=self.machines.devices, **what)

    @property
    def draws(self) -> bool:
        """Whether the command draws figures."""
        return True

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        from experiments.lab.results import CHECKPOINTS, RUNS

        output = self.output
        asked_for = (name for name in ("live", "tensorboard") if getattr(output, name))
        for name in ("", RUNS, CHECKPOINTS, *asked_for):
            yield "results_dir", output.results_dir / name
        if self.draws:
            yield "plot_dir", output.plot_dir

    def settings(self) -> Settings:
        """The settings that change results, in one flat object."""
        given = {
            **asdict(self.data),
            **asdict(self.network),
            **asdict(self.synapse),
            **asdict(self.baselines),
            **asdict(self.output),
        }
        settings = Settings(**{one.name: given[one.name] for one in fields(Settings) if one.name in given})
        if settings.stream_file is None:
            return settings
        named = settings.stream if settings.stream != DataAndTasks.stream else "file"
        return replace(settings, stream=named)


@dataclass(frozen=True)
class RunOptions(CommonOptions):
    """Train a network on a sequence of tasks, once, with or without complex synapses.

    Attributes:
        cs: Train with complex synapses: short for --method cs.
        method: How to train; standard, the optimizer alone, where neither this nor --cs is given. The help of
            experiments.compare says what the names stand for.
        seed: Seed of the initial weights and of the batches.
    """

    cs: bool = False
    method: Method | None = None
    seed: int = 0

    @property
    def draws(self) -> bool:
        """Whether the command draws figures."""
        return self.output.pdf


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(RunOptions, "experiments.run", arguments)
    return guarded(lambda: run(options, command))


def run(options: RunOptions, command: str) -> None:
    """Train one method with one seed, or find it again, and sum it up."""
    began = time.perf_counter()
    if options.cs and options.method not in (None, "cs"):
        raise SettingsError(f"--cs: must be left out with --method {options.method}")
    method = options.method or ("cs" if options.cs else "standard")
    settings, dataset = prepare(options, [method], options.seed)
    from experiments.lab import results
    from experiments.lab.folders import check_folders
    from experiments.lab.live import Live

    if options.output.plot_dir != Output.plot_dir and not options.output.pdf:
        note("note: --plot-dir has no effect without --pdf")
    stamp = results.run_stamp(results.identity(settings, method, options.seed, dataset.sha256))
    if options.output.get_stamp:
        print(stamp)
        return
    name = f"run-{stamp}"
    check_folders([("results_dir", options.output.results_dir / name)])
    with Live(options.output, settings, [method], name) as live:
        show_page(live)
        job = options.job(dataset, configurations=[settings], method=method, seeds=[options.seed], live=live)
        (finished,), seconds = job.finish()
    if not processes.is_first():
        return
    name = results.name_of_summary(f"run-{stamp}", finished)
    _show_accuracy(finished[0].run, settings)

    def figures() -> None:
        if options.output.pdf:
            draw({method: finished}, settings, options.output.plot_dir, name)

    finish(
        options.output,
        folder=name,
        command=command,
        config={**asdict(settings), "method": method, "seed": options.seed},
        settings=settings,
        dataset=dataset,
        finished={method: finished},
        seconds={method: seconds},
        began=began,
        figures=figures,
    )


_READERS = tyro.constructors.ConstructorRegistry()


@_READERS.primitive_rule
def _whole_numbers(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> "tyro.constructors.PrimitiveConstructorSpec[int] | None":
    """All flags for integers take what is a whole number however it is written, such as 1e3."""
    if info.type is not int:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def parse(kind: type[Options], module: str, arguments: Sequence[str] | None) -> tuple[Options, str]:
    """Read the command line; a mistake in it ends the program with status 2.

    Returns:
        The options, and the command to type to have the same again.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    by_script = Path(sys.argv[0]).stem == "cs-optax"  # see cs_optax/__main__.py
    program = module.replace("experiments.", "cs-optax ") if by_script else f"python -m {module}"
    with lasting_streams() as streams, readable_columns():
        suit_the_terminal()
        try:
            options = tyro.cli(
                kind,
                prog=program,
                args=given,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
                registry=_READERS,
            )
        except SystemExit as stop:  # after the help too
            raise SystemExit(streams.status(int(stop.code or 0))) from None
    try:
        options = expanded(options)
    except SettingsError as error:
        sys.exit(_fail(f"error: {error}", status=2))
    return options, f"{program} {shlex.join(given)}".rstrip()


def expanded(value: Any, name: str = "") -> Any:
    """Options with the tilde of all paths replaced: in --results-dir=~/results the shell leaves it.

    Args:
        value: the options, or one of them.
        name: of the field that it is the value of.

    Raises:
        SettingsError: if there is no such home.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{one.name: expanded(getattr(value, one.name), one.name) for one in fields(value)}
        )
    if isinstance(value, tuple):
        return tuple(expanded(one, name) for one in value)
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError as error:
        raise SettingsError(f"{flag(name)} {value}: the home folder {value.parts[0]} is not known") from error


RUNS_ARE_KEPT = (
    "interrupted: finished runs are kept, and found again next time; "
    "--resume goes on with what is not finished"
)


def guarded(command: Callable[[], None], interrupted: str = RUNS_ARE_KEPT) -> int:
    """Run a command; turn what the user can mend into one line and an exit status.

    A command whose output cannot be written finishes its work all the same, and then returns another status
    than 0.
    """
    with lasting_streams() as streams:
        try:
            status = _status_of(command, interrupted)
        except BaseException:
            if processes.joined():  # which must not wait for this one
                traceback.print_exc()
                processes.leave(1)
            raise
        processes.leave(status)
        return streams.status(status)


def _status_of(command: Callable[[], None], interrupted: str) -> int:
    suit_the_terminal()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command()
    except SettingsError as error:
        return _fail(f"error: {error}", status=2)
    except OSError as error:
        known = error.filename and error.strerror
        return _fail(f"error: {error.filename}: {error.strerror}" if known else f"error: {error}", status=1)
    except MethodsFailedError as error:
        return _fail(f"error: {error}", status=1)
    except processes.LostError as error:
        return _fail(f"error: {error}", status=1)
    except MemoryError as error:
        return _fail(f"error: not enough memory: {error}", status=1)
    except RuntimeError as error:  # JAX's own class, which would load JAX to be named
        if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
            raise
        return _fail(f"error: not enough memory: {str(error).splitlines()[0]}", status=1)
    except KeyboardInterrupt:
        return _fail(interrupted, status=130)
    return 0


def prepare(
    options: CommonOptions, methods: Sequence[str], seed: int, n_seeds: int = 1
) -> tuple[Settings, "Dataset"]:
    """Check the options and load the data, before anything is computed or written.

    Raises:
        SettingsError: if something is wrong with the options, the folders or the data.
    """
    settings, output = options.settings(), options.output
    validate(settings)
    validate_methods(settings, methods)
    validate_seeds(seed, n_seeds)
    if output.probes and not set(methods) & set(WITH_BEAKERS):
        raise SettingsError(f"--probes: needs one of the methods {', '.join(WITH_BEAKERS)}")
    if output.probes and settings.beakers < 2:
        raise SettingsError(f"--probes: needs --beakers of 2 or more, not {settings.beakers}")
    if output.dump_stream and settings.evaluate_on == "validation":
        raise SettingsError(
            "--dump-stream: must be left out with --evaluate-on validation, whose rows are others"
        )
    if not 0 <= output.checkpoint_every < math.inf:
        raise SettingsError(f"--checkpoint-every {output.checkpoint_every:g}: must be finite and at least 0")
    _check_packages(options)
    _prepare_machines(options)
    from experiments.lab import pinned, results
    from experiments.lab.cache import keep_compiled_programs
    from experiments.lab.folders import check_folders

    if not output.get_stamp:
        keep_compiled_programs()
        check_folders(options.folders())
    for line in without_effect(settings, methods):
        note(f"note: {line}")
    for name, value in pinned.not_heeded().items():
        note(f"note: {name} is {value}, but runs are computed with {pinned.PINNED[name]}")
    if output.data_dir is not None and settings.dataset == "Digits":
        note("note: --data-dir is not used: the digits come with scikit-learn")
    if output.data_dir is not None and settings.experiment.endswith(".npz"):
        note(f"note: --data-dir is not used: the data are in {settings.experiment}")
    settings, dataset = _with_data(settings, output.data_dir)
    if settings.stream == "file":
        from experiments.lab.streams import forget_streams, read_stream

        forget_streams()
        planned = read_stream(settings)
        absent = sorted(set(range(settings.tasks)) - set(planned.tasks.ravel().tolist()))
        if absent:
            numbers = ", ".join(str(task) for task in absent)
            note(f"note: --stream-file never shows task {numbers} (from 0), which the averages count too")
        settings = replace(settings, iters=len(planned.tasks))
    checksums = {
        "the data's checksum": dataset.sha256,
        "the checksum of --stream-file": results.stream_digest(settings),
    }
    processes.agree({**_what_decides(options), **checksums})
    return settings, dataset


OF_EACH_PROCESS = ("coordinator", "process_id", "data_dir", "results_dir", "plot_dir", "stream_file")


def _what_decides(options: CommonOptions) -> dict[str, Any]:
    """What all processes of one command have in common: all but who they are and where their files lie."""
    import jax

    from experiments.lab import pinned, sources

    decides = {
        "the command": type(options).__name__,
        "the version of JAX": jax.__version__,
        "the digest of the code": sources.current().digest,
        "the compiler's flags": pinned.compiler_flags(),
    }
    for name, value in asdict(options).items():
        for inner, one in value.items() if isinstance(value, dict) else [(name, value)]:
            if inner not in OF_EACH_PROCESS:
                decides[flag(inner)] = one
    return decides


def _check_packages(options: CommonOptions) -> None:
    """Make sure that all packages are installed which are imported later, perhaps after the training.

    Those that read the data are imported when they are loaded, which comes before it.
    """
    from experiments.lab.packages import check_package

    for package in ("flax", "platformdirs", "rich", "scipy"):
        check_package(package, "the experiments", "experiments")
    output = options.output
    if options.draws or output.live:
        needed_by = "--live" if output.live else "--pdf" if output.pdf else "the figures"
        check_package("matplotlib", needed_by, "experiments")
    if output.tensorboard:
        check_package("tensorboard", "--tensorboard", "live")


def _prepare_machines(options: CommonOptions) -> None:
    """Join the other processes, and see to the devices."""
    machines, output = options.machines, options.output
    if machines.no_gpus:
        import jax

        jax.config.update("jax_platforms", "cpu")
    for name in ("coordinator", "n_processes", "process_id"):
        if getattr(machines, name) is not None and not machines.distributed:
            raise SettingsError(f"{flag(name)}: goes with --distributed")
    if machines.distributed:
        for name in ("live", "tensorboard", "visdom"):
            if getattr(output, name):
                raise SettingsError(f"{flag(name)}: must be left out with --distributed")
    if machines.devices != 1:
        from experiments.lab.devices import ask_for, local_devices

        ask_for(machines.devices)  # before anything starts JAX
    if output.get_stamp:
        return
    if machines.distributed:
        processes.join(machines.coordinator, machines.n_processes, machines.process_id)
    if machines.devices != 1:
        local_devices(machines.devices)


def _with_data(settings: Settings, data_dir: Path | None) -> tuple[Settings, "Dataset"]:
    """Load the data; where they are the user's own, the settings with what they decide."""
    from experiments.lab import data
    from experiments.lab.own_data import load_own

    try:
        if settings.built_in:
            return settings, data.load(settings.dataset, data_dir)
        dataset = load_own(settings.experiment, data_dir)
    except data.DataError as error:
        raise SettingsError(str(error)) from error
    labelled = dataset.tasks is not None
    if dataset.tasks not in (None, settings.tasks):
        note(f"note: the data name {dataset.tasks} tasks, which --tasks {settings.tasks} does not change")
    known = replace(
        settings, classes=dataset.classes, labelled=labelled, tasks=dataset.tasks or settings.tasks
    )
    validate(known)
    validate_tasks(known)
    return known, dataset


def finish(
    output: Output,
    *,
    folder: str,
    command: str,
    config: Mapping[str, Any],
    settings: Settings,
    dataset: "Dataset",
    finished: Mapping[str, Sequence["FinishedRun"]],
    seconds: Mapping[str, "Seconds"],
    began: float,
    figures: Callable[[], None],
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the summary, a table of all runs and the figures, and say where; the last lines of a command.

    Figures come after the rest, which is there if they cannot be drawn.

    Args:
        output: the options that say where to.
        folder: name of the summary's folder in the results.
        command: the command line.
        config: its options.
        settings: what its runs have in common of their settings.
        dataset: what was learned.
        finished: the runs of each method.
        seconds: spent on training each.
        began: when the command began, by `time.perf_counter`.
        figures: draws them.
        more: what else belongs in the summary.

    Raises:
        OSError: if it cannot be written.
    """
    from experiments.lab import results

    environment = results.current_environment()
    total_seconds = time.perf_counter() - began
    path = output.results_dir / folder / "summary.json"
    summary = results.summary(
        command=command,
        config=config,
        settings=settings,
        environment=environment,
        dataset=dataset,
        finished=finished,
        seconds=seconds,
        total_seconds=total_seconds,
    )
    results.write_json(path, {**summary, **more}, indent=1)
    table = path.with_name("runs.csv")
    results.write_atomically(table, results.table_of_runs(finished, settings).encode())
    if output.dump_stream:
        for seed, content in _streams(settings, dataset, summary["seeds"]):
            stream = path.with_name(f"stream-s{seed}.npz")
            results.write_atomically(stream, content)
            print(f"stream: {stream}")
    try:
        figures()
    finally:
        if output.time:
            _show_seconds(seconds, total_seconds)
        print(f"table of runs: {table}")
        print(f"summary: {path}")


def _streams(settings: Settings, dataset: "Dataset", seeds: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The training samples of each seed, as a file that --stream-file understands."""
    import io

    import numpy as np

    from experiments.lab.problems import make_problem
    from experiments.lab.streams import training_stream

    problem = make_problem(settings, dataset)
    for seed in seeds:
        stream = training_stream(settings, problem.seen_by(seed), seed)
        content = io.BytesIO()
        np.savez_compressed(content, tasks=stream.tasks, rows=stream.rows)
        yield seed, content.getvalue()


def _show_seconds(seconds: Mapping[str, "Seconds"], total: float) -> None:
    """A line for each method, and one for the whole command."""
    rest = total
    for method, spent in seconds.items():
        parts = asdict(spent)
        rest -= sum(parts.values())
        print(f"seconds, {method}: {', '.join(f'{name} {value:.1f}' for name, value in parts.items())}")
    print(f"seconds: total {total:.1f}, of which {rest:.1f} for all else (start, data, files)")


def show_page(live: "Live") -> None:
    """Say where the page with live figures is, if there is one."""
    if live.page is not None:
        print(f"live page: {live.page.path}", flush=True)


def draw(
    finished: Mapping[str, Sequence["FinishedRun"]],
    settings: Settings,
    plot_dir: Path,
    name: str,
    *,
    searches: Mapping[str, Mapping[str, Any]] | None = None,
    formats: Sequence[str] | None = None,
) -> None:
    """Write every figure that these results have something for, and say where.

    Args:
        finished: the runs of each method, in the same order of seeds.
        settings: the settings they share.
        plot_dir: where to.
        name: what the files' names begin with.
        searches: see `experiments.lab.figures.all_figures`.
        formats: of the files; all by default.

    Raises:
        OSError: if they cannot be written.
    """
    from experiments.lab import figures

    for kind, figure in figures.all_figures(finished, settings, searches):
        if isinstance(figure, str):
            print(f"not drawn: {figure}")
            continue
        for path in figures.save(figure, plot_dir, f"{name}-{kind}", formats or figures.FORMATS):
            print(f"figure: {path}")


def _show_accuracy(run: "Run", settings: Settings) -> None:
    print(describe(settings))
    print(describe_methods(settings, [run.method]))
    diverged = " (diverged)" if run.diverged else ""
    per_task = "  ".join(f"{100 * accuracy:.1f}" for accuracy in run.accuracy_matrix[-1])
    print(f"{run.method}, seed {run.seed}: final average accuracy {100 * run.final_accuracy:.2f} %{diverged}")
    print(f"per task: {per_task}")


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning; where it comes from does not matter to the user."""
    print(f"warning: {processes.name()}{message}", file=sys.stderr)


def _fail(message: str, status: int) -> int:
    print(printable(message), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
