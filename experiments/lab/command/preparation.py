"""Before a command trains: what can be refused is refused, and the data are loaded."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.lab.command.options import CommonOptions
from experiments.lab.command.timescales import unused, with_timescales
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import (
    validate,
    validate_methods,
    validate_seeds,
    validate_tasks,
    without_effect,
)
from experiments.lab.system import processes
from experiments.lab.system.errors import SettingsError, flag
from experiments.lab.system.processes import note

if TYPE_CHECKING:
    from experiments.lab.data.dataset import Dataset


def prepare(
    options: CommonOptions, methods: Sequence[str], seed: int, n_seeds: int = 1
) -> tuple[Settings, "Dataset"]:
    """Check the options and load the data, before anything is computed or written.

    Raises:
        SettingsError: if something is wrong with the options, the folders or the data.
    """
    settings, output = options.settings(), options.output
    settings = with_timescales(options.synapse.timescales, settings, methods)
    validate(settings)
    validate_methods(settings, methods)
    validate_seeds(seed, n_seeds)
    with_beakers = [name for name, one in settings.methods.items() if one.has_beakers]
    if output.probes and not set(methods) & set(with_beakers):
        raise SettingsError(f"--probes: needs one of the methods {', '.join(with_beakers)}")
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
    from experiments.lab.options import pinned
    from experiments.lab.results import stamps
    from experiments.lab.system.cache import keep_compiled_programs
    from experiments.lab.system.folders import check_folders

    if not output.get_stamp:
        keep_compiled_programs()
        check_folders(options.folders())
    for line in (*without_effect(settings, methods), *unused(options.synapse.timescales, settings, methods)):
        note(f"note: {line}")
    for name, value in pinned.not_heeded().items():
        note(f"note: {name} is {value}, but runs are computed with {pinned.PINNED[name]}")
    if output.data_dir is not None and settings.dataset == "Digits":
        note("note: --data-dir is not used: the digits come with scikit-learn")
    if output.data_dir is not None and settings.experiment.endswith(".npz"):
        note(f"note: --data-dir is not used: the data are in {settings.experiment}")
    settings, dataset = _with_data(settings, output.data_dir)
    if settings.stream == "file":
        settings = _with_iterations_of_the_file(settings)
    # Again, since the data may decide the tasks, and a file the number of iterations.
    settings = with_timescales(options.synapse.timescales, settings, methods)
    checksums = {
        "the data's checksum": dataset.sha256,
        "the checksum of --stream-file": stamps.stream_digest(settings),
    }
    processes.agree({**_what_decides(options), **checksums})
    check_own_methods(settings, methods)
    _try_own(settings, methods, dataset)
    return settings, dataset


def _with_iterations_of_the_file(settings: Settings) -> Settings:
    """The settings with as many iterations as ``--stream-file`` has, which is read."""
    from experiments.lab.tasks.stream_files import read_stream
    from experiments.lab.tasks.streams import forget_streams

    forget_streams()
    planned = read_stream(settings)
    absent = sorted(set(range(settings.tasks)) - set(planned.tasks.ravel().tolist()))
    if absent:
        numbers = ", ".join(str(task) for task in absent)
        note(f"note: --stream-file never shows task {numbers} (from 0), which the averages count too")
    return replace(settings, iters=len(planned.tasks))


def check_own_methods(settings: Settings, methods: Sequence[str], numbers: Collection[str] = ()) -> None:
    """Make the methods of the user's own, rather than find out after the training of others that it fails.

    Args:
        settings: the settings to make them with.
        methods: all methods.
        numbers: names of settings that are to be arguments of the compiled program.

    Raises:
        SettingsError: one line that names the method, and what is wrong with it.
    """
    own = [method for method in methods if settings.methods[method].defined_in]
    if not own:
        return
    import jax

    from experiments.lab.methods.interface import make_method

    def made(values: dict[str, Any]) -> None:
        for method in own:
            make_method(replace(settings, **values), method)

    jax.eval_shape(made, {name: float(getattr(settings, name)) for name in numbers})  # as the loop does


def _try_own(settings: Settings, methods: Sequence[str], dataset: "Dataset") -> None:
    """Try what is the user's own, methods, model and scenario, on the shapes of a batch.

    Raises:
        SettingsError: one line that names it, and what is wrong with it.
    """
    own = [method for method in methods if settings.methods[method].defined_in]
    if not (own or settings.model.defined_in or settings.asked.defined_in):
        return
    from experiments.lab.methods.interface import make_method
    from experiments.lab.methods.trial import try_method
    from experiments.lab.models.making import network_of
    from experiments.lab.options.pinned import pinned
    from experiments.lab.tasks.problems import make_problem

    with pinned():
        problem = make_problem(settings, dataset)
        network = network_of(settings, problem)
        for method in own:
            try_method(method, make_method(settings, method), network)
    distilling = [method for method in methods if make_method(settings, method).distils]
    if distilling and problem.questions.distillation is None:
        asked = f"the {settings.scenario} scenario does not say which"
        raise SettingsError(f"method {distilling[0]}: keeps old outputs, but {asked}")


OF_EACH_PROCESS = ("coordinator", "process_id", "data_dir", "results_dir", "plot_dir", "stream_file")


def _what_decides(options: CommonOptions) -> dict[str, Any]:
    """What all processes of one command have in common: all but who they are and where their files lie."""
    import jax

    from experiments.lab.options import pinned
    from experiments.lab.results import own_code, sources

    decides = {
        "the command": type(options).__name__,
        "the version of JAX": jax.__version__,
        "the digest of the code": sources.current().digest,
        "the compiler's flags": pinned.compiler_flags(),
    }
    for own in options.own:
        decides[f"the code of method {own.name}"] = own_code.of_own(own)
    decides["the code of the model"] = own_code.of_own(options.own_model)
    if options.own_scenario is not None:
        decides["the code of the scenario"] = own_code.of_own(options.own_scenario)
    for name, value in asdict(options).items():
        for inner, one in value.items() if isinstance(value, dict) else [(name, value)]:
            if inner not in OF_EACH_PROCESS:
                decides[flag(inner)] = one
    return decides


def _check_packages(options: CommonOptions) -> None:
    """Make sure that all packages are installed which are imported later, perhaps after the training.

    Those that read the data are imported when they are loaded, which comes before it.
    """
    from experiments.lab.system.packages import check_package

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
        from experiments.lab.training.devices import ask_for, local_devices

        ask_for(machines.devices)  # before anything starts JAX
    if output.get_stamp:
        return
    if machines.distributed:
        processes.join(machines.coordinator, machines.n_processes, machines.process_id)
    if machines.devices != 1:
        local_devices(machines.devices)


def _with_data(settings: Settings, data_dir: Path | None) -> tuple[Settings, "Dataset"]:
    """Load the data; where they are the user's own, the settings with what they decide."""
    from experiments.lab.data import dataset as data
    from experiments.lab.data.own import load_own

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
