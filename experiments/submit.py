"""A comparison or a sweep as jobs of a cluster: ``python -m experiments.submit --help``."""

import importlib
import io
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.compare import CompareOptions
from experiments.lab.command.guard import guarded
from experiments.lab.command.own_methods import as_given
from experiments.lab.command.parsing import parse
from experiments.lab.options.description import counted
from experiments.lab.system.errors import SettingsError, flag
from experiments.lab.system.folders import check_folders
from experiments.lab.system.names import printable
from experiments.lab.system.packages import check_package
from experiments.lab.system.processes import note
from experiments.sweep import SweepOptions

if TYPE_CHECKING:
    import submitit

COMMANDS: dict[str, Any] = {"compare": CompareOptions, "sweep": SweepOptions}
MOST_AT_ONCE = 1000
TIMES = 100  # that a job may be queued again after its time limit
NOTICE = 300  # seconds before the limit at which a job is told of it
INTERRUPTED = "interrupted: what is finished is kept; jobs that are in the queue of a cluster go on"


@dataclass(frozen=True)
class SubmitOptions:
    """Hand a comparison or a sweep to Slurm: options of the jobs, then compare or sweep with its own options.

    An array of jobs trains it in shards: each method is one, of a comparison every --seeds-per-job seeds of
    each. When all have ended, a last job puts the whole together from what they have kept in <results-dir>,
    which all of them share; what a failed job left it tries again. A job that is preempted or out of time is
    queued again and goes on where it was. The same command again trains only what is missing.

        python -m experiments.submit --gpus 1 --hours 4 sweep --methods standard cs ewc --n-seeds 20

    Attributes:
        cluster: slurm, or local: as processes on this computer, waiting for them.
        seeds_per_job: Seeds of a comparison that train together in one job; 0 means all.
        hours: Time limit of a job.
        cpus: Cores of a job.
        gpus: GPUs of a job; with more than one, give the command --devices as well.
        memory: Memory of a job, in GB.
        partition: Partition of the cluster; its default where it is not given.
        account: Account to charge.
        at_once: Jobs that may run at once; 0 means one on this computer, all on a cluster.
        logs: Folder for the logs of the jobs, JOB_log.out and JOB_log.err.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    seeds_per_job: int = 0
    hours: float = 4.0
    cpus: int = 4
    gpus: int = 0
    memory: int = 16
    partition: str = ""
    account: str = ""
    at_once: int = 0
    logs: Path = Path("logs")

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in itself, with the option that names it."""
        yield "logs", self.logs
        yield "logs", self.logs / "plots"


@dataclass(frozen=True)
class Shard:
    """A command that a job runs; one that is stopped by the cluster is queued again."""

    name: str
    arguments: tuple[str, ...]

    def __call__(self) -> None:
        """Run it.

        Raises:
            RuntimeError: if it fails, so that the job counts as failed.
        """
        status = self.run()
        if status != 0:
            raise RuntimeError(f"experiments.{self.name} ended with status {status}")

    def run(self) -> int:
        """Run it here, and return its exit status."""
        status: int = importlib.import_module(f"experiments.{self.name}").main([*self.arguments, "--resume"])
        return status

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        """What to queue when the time is up: the same again, which goes on from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    at = place_of_command(given)
    status = 0

    def command() -> None:
        nonlocal status
        if at == len(given) and not {"-h", "--help"} & set(given):
            found = f", found none in: {shlex.join(given)}" if given else ""
            raise SettingsError(f"name the command to submit: {' or '.join(COMMANDS)}{found}")
        options, _ = parse(SubmitOptions, "experiments.submit", given[:at])
        status = submit(options, given[at:])

    return guarded(command, INTERRUPTED) or status


def place_of_command(given: Sequence[str]) -> int:
    """Where the command stands among these words; their number where there is none.

    Every option of the jobs takes one value, which may have the name of a command: ``--partition sweep``.
    """
    for place, word in enumerate(given):
        before = given[place - 1] if place else ""
        is_value = before.startswith("--") and "=" not in before
        if word in COMMANDS and not is_value:
            return place
    return len(given)


def submit(options: SubmitOptions, command: Sequence[str]) -> int:
    """Check the command, and submit it in shards.

    Returns:
        The exit status: on this computer that of the whole command.

    Raises:
        SettingsError: if the options or the command cannot be meant.
    """
    for name, least in (("seeds_per_job", 0), ("cpus", 1), ("gpus", 0), ("memory", 1), ("at_once", 0)):
        if getattr(options, name) < least:
            raise SettingsError(f"{flag(name)} {getattr(options, name)}: must be at least {least}")
    if options.cluster == "local" and options.gpus and options.at_once > 1:
        raise SettingsError("--at-once: must be left out with --gpus on this computer: its jobs share them")
    for name in ("partition", "account"):
        if options.cluster == "local" and getattr(options, name):
            raise SettingsError(f"{flag(name)}: must be left out with --cluster local")
    if not 0 < options.hours < float("inf"):
        raise SettingsError(f"--hours {options.hours:g}: must be positive and finite")
    logs = str(options.logs.absolute())
    if "%" in logs or printable(logs) != logs:
        raise SettingsError(
            f"--logs {logs}: must have no % in it, which Slurm replaces, and no characters that "
            "cannot be printed"
        )
    check_package("submitit", "jobs", "cluster")
    import submitit  # noqa: F401  # it closes all log handlers, so before a user's method imports Optax

    whole = Shard(command[0], tuple(command[1:]))
    shards = [
        replace(shard, arguments=(*shard.arguments, f"--plot-dir={options.logs / 'plots'}"))
        for shard in shards_of(whole, options.seeds_per_job)
    ]
    for each in (whole, *shards_of(whole, 0)):  # each method once, whatever its seeds
        _check(each)
    check_folders(options.folders())
    executor = _executor(options)
    print(f"{counted(len(shards), 'shard')}; logs: {options.logs.resolve()}")
    if options.cluster == "local":
        at_once, jobs = options.at_once or 1, []
        for first in range(0, len(shards), at_once):
            jobs += _start(executor, shards[first : first + at_once])
            for job in jobs:
                job.exception()  # waits for it; the other shards are trained in any case
        for job in jobs:
            if job.exception() is not None:
                log = job.paths.stderr
                note(f"warning: job {job.job_id} has failed: see {log}; trying again what is missing")
        return whole.run()
    array = _start(executor, shards)[0].job_id.partition("_")[0]
    # Also where some have failed: it tries again what is missing, and sums up the methods that are there.
    executor.update_parameters(slurm_additional_parameters={"dependency": f"afterany:{array}"})
    print(
        f"job {executor.submit(whole).job_id}: the whole, once all of them have ended; its log has the table"
    )
    return 0


def shards_of(whole: Shard, seeds_per_job: int) -> list[Shard]:
    """The parts of a command that can be trained on their own: what they keep is found by the whole.

    Args:
        whole: the command.
        seeds_per_job: seeds of a comparison in one part; 0 means all.

    Raises:
        SettingsError: if a sweep is to be divided by seeds, which its search has to have together.
    """
    from experiments.lab.options.search import searched_of

    options, _ = parse(COMMANDS[whole.name], f"experiments.{whole.name}", whole.arguments)
    if options.machines.distributed:
        raise SettingsError("--distributed: must be left out, since each job is a command of its own")
    if whole.name == "sweep" and seeds_per_job:
        raise SettingsError("--seeds-per-job: goes with compare; the shards of a sweep are its methods")
    size, known = seeds_per_job or max(options.n_seeds, 1), options.known_methods
    own = [one for one in (options.own_model, options.own_scenario) if one is not None]
    shards = []
    for method in options.methods:
        declared = known.get(method)  # an unknown one is refused when the command is checked
        arguments = [*whole.arguments, "--methods", as_given(known, method)]
        if declared is None or not declared.has_beakers:
            arguments = [word for word in arguments if word != "--probes"]
        if whole.name == "sweep":
            if options.ranges and declared is not None:  # those of other methods would be refused
                arguments += ["--ranges", *searched_of(options.ranges, [declared, *own])]
            shards.append(Shard(whole.name, tuple(arguments)))
            continue
        for first in range(0, options.n_seeds, size):
            seeds = [str(options.seed + first), str(min(size, options.n_seeds - first))]
            shards.append(Shard(whole.name, (*arguments, "--seed", seeds[0], "--n-seeds", seeds[1])))
    return shards


def _check(whole: Shard) -> None:
    """Find mistakes now rather than in a queue: try its folders, read its data and name its results."""
    module = importlib.import_module(f"experiments.{whole.name}")
    options, command = parse(COMMANDS[whole.name], f"experiments.{whole.name}", whole.arguments)
    check_folders(options.folders())
    stamped = replace(options, output=replace(options.output, get_stamp=True))
    with redirect_stdout(io.StringIO()):
        getattr(module, whole.name)(stamped, command)


def _start(executor: "submitit.AutoExecutor", shards: Sequence[Shard]) -> "list[submitit.Job[None]]":
    """Submit these as one array.

    Raises:
        OSError: if the cluster does not take them.
    """
    try:
        with executor.batch():
            jobs = [executor.submit(shard) for shard in shards]
    except RuntimeError as error:
        raise OSError(f"the jobs were not submitted: {error}") from error
    for shard, job in zip(shards, jobs, strict=True):
        print(f"job {job.job_id}: {shard.name} {shlex.join(shard.arguments)}", flush=True)
    return jobs


def _executor(options: SubmitOptions) -> "submitit.AutoExecutor":
    import submitit

    try:
        executor = submitit.AutoExecutor(options.logs, cluster=options.cluster, slurm_max_num_timeout=TIMES)
    except RuntimeError as error:
        raise SettingsError(f"--cluster {options.cluster}: {error}") from error
    executor.update_parameters(
        name="cs_optax",
        timeout_min=max(1, round(60 * options.hours)),
        cpus_per_task=options.cpus,
        gpus_per_node=options.gpus,
        mem_gb=options.memory,
    )
    if options.cluster == "slurm":
        named = {"slurm_partition": options.partition, "slurm_account": options.account}
        executor.update_parameters(
            slurm_signal_delay_s=min(NOTICE, round(1800 * options.hours)),
            slurm_array_parallelism=options.at_once or MOST_AT_ONCE,
            **{name: value for name, value in named.items() if value},
        )
    return executor


if __name__ == "__main__":
    sys.exit(main())
