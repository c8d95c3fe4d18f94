"""One method with one seed: ``python -m experiments.run --help``."""

import math
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from experiments.lab import processes
from experiments.lab.description import describe, describe_methods
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
        data_dir: Folder with the four files of MNIST or FashionMNIST (.gz or unpacked), or with a
            copy prepared by TensorFlow Datasets. Without it, TensorFlow Datasets' own folder is
            used, downloading if need be.
        results_dir: Folder for the results. Finished runs are found again there.
        plot_dir: Folder for the figures.
        dump_stream: Write down which samples were shown in which iteration, beside the summary, one file for
            each seed (as --stream-file reads them).
        probes: Measure, at every evaluation of complex synapses, how far each beaker is from the weights in
            each layer, how much flows, and how well each beaker's weights do on each task.
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
    resume: bool = False
    checkpoint_every: float = 60.0
    get_stamp: bool = False

    def __post_init__(self) -> None:
        # The shell leaves the tilde of --results-dir=~/results to us.
        for name in ("results_dir", "plot_dir"):
            object.__setattr__(self, name, getattr(self, name).expanduser())


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
        return replace(settings, stream=named, stream_file=settings.stream_file.expanduser())


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
    from experiments.lab.live import Live

    if options.output.plot_dir != Output.plot_dir and not options.output.pdf:
        note("note: --plot-dir has no effect without --pdf")
    stamp = results.run_stamp(results.identity(settings, method, options.seed, dataset.sha256))
    if options.output.get_stamp:
        print(stamp)
        return
    with Live(options.output, settings, [method], f"run-{stamp}") as live:
        show_page(live)
        job = options.job(dataset, configurations=[settings], method=method, seeds=[options.seed], live=live)
        (finished,), seconds = job.finish()
    if not processes.is_first():
        return
    _show_accuracy(finished[0].run, settings)

    def figures() -> None:
        if options.output.pdf:
            draw({method: finished}, settings, options.output.plot_dir, f"run-{stamp}")

    finish(
        options.output,
        folder=f"run-{stamp}",
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
    return options, f"{program} {shlex.join(given)}".rstrip()


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
    # A terminal without these characters is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command()
    except SettingsError as error:
        return _fail(f"error: {error}", status=2)
    except OSError as error:
        known = error.filename and error.strerror
        return _fail(f"error: {error.filename}: {error.strerror}" if known else f"error: {error}", status=1)
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
    if output.tensorboard:
        from experiments.lab.live import check_packages

        check_packages(output)
    _prepare_machines(options)
    from experiments.lab import results
    from experiments.lab.cache import keep_compiled_programs

    if not output.get_stamp:
        keep_compiled_programs()
        check_folders(
            ("results_dir", output.results_dir),
            ("results_dir", output.results_dir / results.RUNS),
            ("plot_dir", output.plot_dir),
        )
    for line in without_effect(settings, methods):
        note(f"note: {line}")
    if output.data_dir is not None and settings.dataset == "Digits":
        note("note: --data-dir is not used: the digits come with scikit-learn")
    if output.data_dir is not None and settings.experiment.endswith(".npz"):
        note(f"note: --data-dir is not used: the data are in {settings.experiment}")
    settings, dataset = _with_data(settings, output.data_dir)
    if settings.stream == "file":
        from experiments.lab.streams import read_stream

        planned = read_stream(settings)
        absent = sorted(set(range(settings.tasks)) - set(planned.tasks.ravel().tolist()))
        if absent:
            numbers = ", ".join(str(task) for task in absent)
            note(f"note: --stream-file never shows task {numbers} (from 0), which the averages count too")
        settings = replace(settings, iters=len(planned.tasks))
    processes.agree({**_what_decides(options), "the data's checksum": dataset.sha256})
    return settings, dataset


OF_EACH_PROCESS = ("coordinator", "process_id", "data_dir", "results_dir", "plot_dir", "stream_file")


def _what_decides(options: CommonOptions) -> dict[str, Any]:
    """What all processes of one command have in common: all but who they are and where their files lie."""
    import jax

    decides = {"the command": type(options).__name__, "the version of JAX": jax.__version__}
    for name, value in asdict(options).items():
        for inner, one in value.items() if isinstance(value, dict) else [(name, value)]:
            if inner not in OF_EACH_PROCESS:
                decides[flag(inner)] = one
    return decides


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


def check_folders(*folders: tuple[str, Path]) -> None:
    """Make sure that these folders, each with the option that names it, can be written in.

    Raises:
        SettingsError: if one cannot.
    """
    from experiments.lab import results

    for name, folder in folders:
        try:
            results.check_writable(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(f"{flag(name)} {folder}: cannot be written in: {reason}") from error


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
    print(message, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
