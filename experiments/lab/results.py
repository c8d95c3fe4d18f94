"""Finished runs: what they hold, the stamp that names them, and how they are kept and summed up.

A run is one method with one seed. It is kept in ``<results-dir>/runs/<stamp>.json`` and found again by
its stamp, whichever command made it. Files appear whole or not at all. Numbers that are not finite
(the loss of a training that diverged, say) are null in the files and NaN when they are read again.
"""

import csv
import errno
import functools
import glob
import hashlib
import io
import json
import math
import os
import platform
import secrets
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lab import measures, statistics
from experiments.lab.names import file_part
from experiments.lab.settings import FromTheData, Settings, unused_by
from experiments.lab.streams import read_stream

# JAX, which the library imports, is imported only where runs are made: reading and drawing them does without.
if TYPE_CHECKING:
    from experiments.lab.data import Dataset
    from experiments.lab.probes import Probes

# Part of every stamp: to be raised when the experiments come to compute or record something else, so
# that runs made before are not taken for runs made now.
FORMAT = 5

DEFAULTS = Settings()

CODE_DIGITS = 6  # of the code's digest, in a stamp

RUNS, CHECKPOINTS = "runs", "checkpoints"  # the folders of the two, in that of the results

PAUSES = (0.05, 0.2, 1.0)  # seconds between attempts to rename a file


@dataclass(frozen=True, eq=False)
class Run:
    """One method, one seed, finished. Accuracies are fractions correct.

    Attributes:
        method: the method's name.
        seed: the seed of its initial weights and its batches.
        evaluated_at: int [L], iterations at which the accuracy was taken: 0 (before any training), every
            `eval_log`, the last of each task (task-based and gradual streams), and the last.
        accuracy: [L, tasks], accuracy per task on the evaluation subset.
        seen: bool [L, tasks], the tasks that the stream had shown by then; for joint training too, those of
            the stream that the other methods learn.
        logged_at: int [M], iterations at which the loss was recorded: every `loss_log`, or the last
            alone where the run is shorter.
        loss: [M], mean training loss over the stretch that ends there.
        initial_accuracy: [tasks], accuracy on the full test set before any training.
        accuracy_matrix: [rows, tasks], accuracy on the full test set: row i after task i (task-based and
            gradual streams), a single row at the end (others).
        matrix_at: int [rows], iterations at which the rows were taken.
        final_accuracy: mean over tasks of the last row.
        diverged_at: first iteration (from 1) whose training loss is not finite; None if all are.
        probes: what the beakers held at each evaluation; None where that was not asked for.
    """

    method: str
    seed: int
    evaluated_at: np.ndarray
    accuracy: np.ndarray
    seen: np.ndarray
    logged_at: np.ndarray
    loss: np.ndarray
    initial_accuracy: np.ndarray
    accuracy_matrix: np.ndarray
    matrix_at: np.ndarray
    final_accuracy: float
    diverged_at: int | None = None
    probes: "Probes | None" = None

    @property
    def diverged(self) -> bool:
        """Whether the training diverged; its accuracies then say nothing about the method."""
        return self.diverged_at is not None

    @property
    def accuracy_overall(self) -> np.ndarray:
        """Mean accuracy over all tasks, also those to come; [L]."""
        return np.asarray(self.accuracy.mean(axis=1))

    @property
    def accuracy_so_far(self) -> np.ndarray:
        """Mean accuracy over the tasks seen so far; [L]. NaN before the first."""
        totals, counts = (self.accuracy * self.seen).sum(axis=1), self.seen.sum(axis=1)
        return np.where(counts > 0, totals / np.maximum(counts, 1), math.nan)


@dataclass(frozen=True)
class Seconds:
    """Time spent on a group of seeds that trained together."""

    compile: float
    train: float
    evaluate: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(
            self.compile + other.compile,
            self.train + other.train,
            self.evaluate + other.evaluate,
        )


@dataclass(frozen=True)
class FinishedRun:
    """A run as it is kept.

    Attributes:
        stamp: its name.
        run: what it measured.
        environment: the software and the device it was made with, how many seeds trained together, and the
            seconds they took.
        found_again: whether it was read from the results, not made by this command.
        other_code: the files that were others when it was made (`find_other_code`); empty where none were.
    """

    stamp: str
    run: Run
    environment: dict[str, Any]
    found_again: bool
    other_code: tuple[str, ...] = ()


def identity(settings: Settings, method: str, seed: int, data_sha256: str) -> dict[str, Any]:
    """Everything that decides the result of one run.

    Left out, because they do not: settings the method makes no use of (`unused_by`), the configuration of
    JAX, which is the same for all (`experiments.lab.pinned`), and what changes rounding alone: the device,
    the versions of the libraries, and the seeds it trained together with. Those are kept with the run.

    Args:
        settings: the settings.
        method: the method's name.
        seed: the seed.
        data_sha256: checksum of the data set.
    """
    import cs_optax
    from experiments.lab import pinned, sources

    of_the_data = {field.name for field in fields(FromTheData)}  # told apart by their checksum
    settings = replace(settings, readout=settings.beaker_to_read)  # 0 is a name for one of them
    without_effect = unused_by(method) | of_the_data | {"stream_file", "experiment"}
    if settings.stream != "gradual":
        without_effect |= {"overlap"}
    return {
        "format": FORMAT,
        "cs_optax": cs_optax.__version__,
        "code": sources.current().digest,
        "compiler_flags": pinned.compiler_flags(),
        "data_sha256": data_sha256,
        "method": method,
        "seed": int(seed),
        "stream_sha256": stream_digest(settings),
        # Through the field's own type, so that 500 and 500.0 name the same run.
        "settings": {
            "experiment": settings.name,
            **{
                field.name: type(getattr(DEFAULTS, field.name))(getattr(settings, field.name))
                for field in fields(Settings)
                if field.name not in without_effect
            },
        },
    }


def stream_digest(settings: Settings) -> str | None:
    """Checksum of the sequence of tasks that comes from a file; None where none does."""
    if settings.stream_file is None:
        return None
    planned = read_stream(settings)
    total = hashlib.sha256()
    for array in (planned.tasks, planned.rows):
        if array is not None:
            total.update(f"{array.shape};".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def run_stamp(run_identity: Mapping[str, Any]) -> str:
    """Name a run: its main settings to read, a digest of all of them to tell runs apart, and the code's."""
    return f"{_stamp_of_any_code(run_identity)}-{run_identity['code'][:CODE_DIGITS]}"


def _stamp_of_any_code(run_identity: Mapping[str, Any]) -> str:
    method = f"{run_identity['method']}{_synapse([run_identity])}"
    seed = f"s{run_identity['seed']}"
    digest = _digest(without_code(run_identity))
    return f"{_protocol(run_identity['settings'])}-{method}-{seed}-{digest}"


def without_code(run_identity: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the result of a run but for the code."""
    return {name: value for name, value in run_identity.items() if name not in ("code", "cs_optax")}


def comparison_stamp(identities: Sequence[Mapping[str, Any]]) -> str:
    """Name a comparison after the runs it is made of, and their order: differences are to the first method.

    Args:
        identities: those of all its runs, method by method, each with the same consecutive seeds.
    """
    seeds = sorted({run_identity["seed"] for run_identity in identities})
    span = f"s{seeds[0]}" if len(seeds) == 1 else f"s{seeds[0]}to{seeds[-1]}"
    stamps = [run_stamp(run_identity) for run_identity in identities]
    return f"{_protocol(identities[0]['settings'])}{_synapse(identities)}-{span}-{_digest(stamps)}"


def sweep_stamp(identities: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> str:
    """Name a sweep after all it tries, method by method in their order, and its seeds.

    Args:
        identities: those of every configuration of every method.
        seeds: what decides which seeds choose and which compare.
    """
    stamps = [run_stamp(run_identity) for run_identity in identities]
    return f"{_protocol(identities[0]['settings'])}-{_digest([stamps, list(seeds)])}"


def files_of_other_code(finished: Iterable[FinishedRun]) -> list[str]:
    """The files that were others when some of these runs were made."""
    return sorted({file for one in finished for file in one.other_code})


def name_of_summary(name: str, finished: Iterable[FinishedRun]) -> str:
    """The name of a command's folder and figures: another one where it took runs that other code made."""
    return f"{name}-other-code" if files_of_other_code(finished) else name


def save_run(
    results_dir: Path,
    run_identity: Mapping[str, Any],
    run: Run,
    environment: Mapping[str, Any],
) -> FinishedRun:
    """Keep a run that has just been made.

    Raises:
        OSError: if it cannot be written; it then names the file outside of the results that it was saved to.
    """
    from experiments.lab import sources

    stamp = run_stamp(run_identity)
    code = {"commit": sources.commit(), "files": sources.current().files}
    record = {"identity": run_identity, "environment": environment, "code": code, "run": _fields_of(run)}
    path = _run_path(results_dir, stamp)
    try:
        write_json(path, record)
    except OSError as error:
        try:
            elsewhere = _folder_for_what_is_not_kept()
            write_json(elsewhere / path.name, record)
        except OSError:
            raise error from None
        reason = f"{error.strerror or error}; it is in {elsewhere}, to be moved to its place by hand"
        raise OSError(error.errno, reason, str(path)) from error
    return FinishedRun(stamp, run, dict(environment), found_again=False)


@functools.cache
def _folder_for_what_is_not_kept() -> Path:
    return Path(tempfile.gettempdir()) / f"cs_optax-{secrets.token_hex(4)}"


def find_run(results_dir: Path, run_identity: Mapping[str, Any]) -> FinishedRun | None:
    """Find a run that was made before; None where there is none, or (with a warning) none that is whole."""
    stamp = run_stamp(run_identity)
    try:
        return read_run(results_dir, stamp, run_identity)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        path = _run_path(results_dir, stamp)
        warnings.warn(f"{path} is damaged: that run is made again", stacklevel=2)
        return None


def find_other_code(results_dir: Path, run_identity: Mapping[str, Any]) -> FinishedRun | None:
    """Find a run that other code made with the same settings: the last one to be kept; None without one."""
    from experiments.lab import sources

    found = []
    for path in (results_dir / RUNS).glob(f"{glob.escape(_stamp_of_any_code(run_identity))}-*.json"):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            record = json.loads(path.read_text(encoding="utf-8"))
            same = without_code(record["identity"]) == without_code(run_identity)
            if same and record["identity"] != run_identity:
                changed = tuple(sources.current().changed(record["code"]["files"]))
                one = read_run(results_dir, path.stem)
                found.append((path.stat().st_mtime, replace(one, other_code=changed)))
    return max(found, key=lambda kept: kept[0])[1] if found else None


def read_run(results_dir: Path, stamp: str, run_identity: Mapping[str, Any] | None = None) -> FinishedRun:
    """Read a run by its stamp.

    Args:
        results_dir: the folder of the results.
        stamp: its name.
        run_identity: what it must be, where that is known.

    Raises:
        OSError: if it cannot be read; FileNotFoundError where there is none.
        ValueError: one line that names the file, if it is damaged, or another run.
    """
    path = _run_path(results_dir, stamp)
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
        if record["identity"] != (run_identity or record["identity"]):
            raise ValueError("this is another run")
        run = _run_from(record["run"], tasks=record["identity"]["settings"]["tasks"])
        return FinishedRun(stamp, run, dict(record["environment"]), found_again=True)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged") from error


def trained_together(one: FinishedRun) -> int:
    """How many runs trained at once with this one, itself included."""
    return int(one.environment.get("seeds_together", 1) * one.environment.get("configurations_together", 1))


def seconds_per_run(finished: Sequence[FinishedRun]) -> Seconds | None:
    """The time that one of these runs took, on average; None where it is not known of all.

    Runs that trained together took the time together, and each is given an equal share of it.
    """
    shares = []
    for one in finished:
        seconds = one.environment.get("seconds")
        if seconds is None:
            return None
        shares.append({part: spent / trained_together(one) for part, spent in seconds.items()})
    return Seconds(**{part: float(np.mean([share[part] for share in shares])) for part in shares[0]})


def current_environment() -> dict[str, Any]:
    """The software and the device that runs are made with. Starts JAX."""
    import jax

    import cs_optax

    device = jax.local_devices()[0]
    return {
        **{name: version(name) for name in ("jax", "jaxlib", "optax", "flax", "numpy", "scipy")},
        "python": platform.python_version(),
        "platform": device.platform,
        "device": device.device_kind,
        "devices": jax.local_device_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "cs_optax": cs_optax.__version__,
    }


def summary(
    *,
    command: str,
    config: Mapping[str, Any],
    settings: Settings,
    environment: Mapping[str, Any],
    dataset: "Dataset",
    finished: Mapping[str, Sequence[FinishedRun]],
    seconds: Mapping[str, Seconds],
    total_seconds: float,
) -> dict[str, Any]:
    """Sum up a command's runs, with the numbers behind its table and its figures.

    Args:
        command: the command line.
        config: its options.
        settings: what all runs have in common of their settings: at least the tasks and the stream.
        environment: the environment of this command; those of its runs are listed beside it.
        dataset: what it learned.
        finished: the runs of each method, in the same order of seeds.
        seconds: spent by this command on each method; what runs found again took stands with their
            environments.
        total_seconds: of the whole command, but for its figures.
    """
    from experiments.lab import sources

    runs = [one for group in finished.values() for one in group]
    return {
        "command": command,
        "config": config,
        "environment": environment,
        "code": {"digest": sources.current().digest, "commit": sources.commit()},
        "data": {"source": dataset.source, "sha256": dataset.sha256, "name": dataset.name},
        "seeds": [one.run.seed for one in next(iter(finished.values()))],
        "methods": {method: _summary_of_method(group, settings) for method, group in finished.items()},
        "paired": compared(finished)[1],
        "seconds": {
            **asdict(sum(seconds.values(), Seconds(0.0, 0.0, 0.0))),
            "total": total_seconds,
            "methods": {method: asdict(spent) for method, spent in seconds.items()},
        },
        "runs_found_again": sum(one.found_again for one in runs),
        "environments_of_runs": _distinct([one.environment for one in runs]),
    }


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write strict JSON atomically; numbers that are not finite become null.

    Of file names, what is no Unicode becomes an escape, which `json` reads back as it was.

    Raises:
        OSError: if it cannot be written.
    """
    text = json.dumps(_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode(errors="backslashreplace"))


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all, whatever happens meanwhile.

    Missing folders are made.

    Raises:
        OSError: if it cannot be written, with its path; what was there before is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only a rename within one file system is atomic.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            _synchronize(file.fileno())
        _rename(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # those of write and fsync know no path, the others the temporary one
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def _synchronize(descriptor: int) -> None:
    """Wait until the disk has the content; some network drives do not know how."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise


def _rename(temporary: Path, path: Path) -> None:
    """Rename; network drives, and programs that look through new files, may refuse it for a moment."""
    for pause in PAUSES:
        try:
            temporary.replace(path)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ESTALE, errno.EAGAIN):
                raise
            time.sleep(pause)
    temporary.replace(path)


def temporaries(path: Path) -> list[Path]:
    """What `write_atomically` was writing of this file when it was killed, or is writing now."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))


def _protocol(settings: Mapping[str, Any]) -> str:
    return (
        f"{file_part(settings['experiment'])}{settings['tasks']}-{settings['scenario']}-{settings['stream']}"
    )


def _synapse(identities: Sequence[Mapping[str, Any]]) -> str:
    """The complex synapse that these runs have, as part of a stamp; empty where none has one."""
    for settings in (run_identity["settings"] for run_identity in identities):
        if "beakers" in settings:
            published = "-published" if settings.get("time_step") == "learning-rate" else ""
            alpha, beta = (f"{settings[name]:g}".replace("+", "") for name in ("alpha", "beta"))
            return f"-K{settings['beakers']}-a{alpha}-b{beta}{published}"
    return ""


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def _run_path(results_dir: Path, stamp: str) -> Path:
    return results_dir / RUNS / f"{stamp}.json"


def _fields_of(run: Run) -> dict[str, Any]:
    values = {field.name: getattr(run, field.name) for field in fields(Run)}
    return {**values, "probes": None if run.probes is None else asdict(run.probes)}


def _probes_from(record: Mapping[str, Any] | None) -> "Probes | None":
    if record is None:
        return None
    from experiments.lab.probes import Probes  # which needs JAX, unlike the rest

    return Probes.from_record(record)


def _run_from(record: Mapping[str, Any], tasks: int) -> Run:
    """Rebuild a run from its file, and refuse one whose parts do not fit together."""
    run = Run(
        method=str(record["method"]),
        seed=int(record["seed"]),
        evaluated_at=np.array(record["evaluated_at"], dtype=np.int64),
        accuracy=np.array(record["accuracy"], dtype=np.float64),
        seen=np.array(record["seen"], dtype=bool),
        logged_at=np.array(record["logged_at"], dtype=np.int64),
        loss=np.array(record["loss"], dtype=np.float64),
        initial_accuracy=np.array(record["initial_accuracy"], dtype=np.float64),
        accuracy_matrix=np.array(record["accuracy_matrix"], dtype=np.float64),
        matrix_at=np.array(record["matrix_at"], dtype=np.int64),
        final_accuracy=float(record["final_accuracy"]),
        diverged_at=None if record["diverged_at"] is None else int(record["diverged_at"]),
        probes=_probes_from(record.get("probes")),
    )
    evaluations, rows = len(run.evaluated_at), len(run.matrix_at)
    if (
        run.accuracy.shape != (evaluations, tasks)
        or run.seen.shape != (evaluations, tasks)
        or run.initial_accuracy.shape != (tasks,)
        or run.loss.shape != run.logged_at.shape
        or run.accuracy_matrix.shape != (rows, tasks)
        or (run.probes is not None and len(run.probes.accuracy) != evaluations)
    ):
        raise ValueError("the arrays of this run do not fit together")
    return run


def compared(
    finished: Mapping[str, Sequence[FinishedRun]],
) -> tuple[dict[str, statistics.Estimate], dict[str, statistics.PairedDifference]]:
    """The final accuracy of each method, and how much it differs from the first one's, paired by seed.

    Args:
        finished: the runs of each method, in the same order of seeds.
    """
    final = {method: [one.run.final_accuracy for one in group] for method, group in finished.items()}
    diverged = {method: [one.run.diverged for one in group] for method, group in finished.items()}
    estimates = {method: statistics.estimate(final[method], diverged[method]) for method in finished}
    return estimates, statistics.differences(final, diverged)


def _summary_of_method(finished: Sequence[FinishedRun], settings: Settings) -> dict[str, Any]:
    runs = [one.run for one in finished]
    accuracies, diverged = [run.final_accuracy for run in runs], [run.diverged for run in runs]
    matrices = np.array([run.accuracy_matrix for run in runs])
    return {
        "final_accuracy": {**asdict(statistics.estimate(accuracies, diverged)), "per_seed": accuracies},
        "measures": _measures(runs, settings),
        "probes": _mean_of_probes(runs),
        "accuracy_matrix": matrices.mean(axis=0),
        "accuracy_matrix_per_seed": matrices,
        "accuracy_matrix_at": runs[0].matrix_at,
        "initial_accuracy_per_seed": np.array([run.initial_accuracy for run in runs]),
        "curves": {
            "evaluated_at": runs[0].evaluated_at,
            "accuracy_so_far": _curve([run.accuracy_so_far for run in runs], diverged),
            "accuracy_overall": _curve([run.accuracy_overall for run in runs], diverged),
            "accuracy_per_task": np.mean([run.accuracy for run in runs], axis=0),
            "logged_at": runs[0].logged_at,
            "loss": _curve([run.loss for run in runs], diverged),
        },
        "diverged": [run.seed for run in runs if run.diverged],
        "stamps": [one.stamp for one in finished],
        "found_again": [one.found_again for one in finished],
        "other_code": files_of_other_code(finished),
    }


def _mean_of_probes(runs: Sequence[Run]) -> dict[str, Any] | None:
    """What the beakers held, mean over seeds; None unless all runs were probed."""
    probes = [run.probes for run in runs if run.probes is not None]
    if len(probes) < len(runs):
        return None
    names = ("distance", "flow", "accuracy")
    means = {name: np.mean([getattr(one, name) for one in probes], axis=0) for name in names}
    return {"layers": probes[0].layers, **means}


def _measures(runs: Sequence[Run], settings: Settings) -> dict[str, Any]:
    """Every measure: its mean over seeds and each seed's value, or why there is none."""
    of_runs = [measures.measures(run, settings) for run in runs]
    summed: dict[str, Any] = {}
    for name, first in of_runs[0].items():
        values = [of_run[name].value for of_run in of_runs]
        estimate = statistics.estimate(values, [run.diverged for run in runs])
        summed[name] = {**asdict(estimate), "per_seed": values, "undefined": first.reason}
    return summed


def table_of_runs(finished: Mapping[str, Sequence[FinishedRun]], settings: Settings) -> str:
    """Every seed's numbers as CSV: a line for each run, with its measures and its final accuracy per task.

    What is undefined is empty.
    """
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    tasks = [f"final_accuracy_task_{task + 1}" for task in range(settings.tasks)]
    for method, group in finished.items():
        for one in group:
            of_run = {name: measure.value for name, measure in measures.measures(one.run, settings).items()}
            if not content.tell():
                writer.writerow(["method", "seed", *of_run, *tasks, "diverged_at", "stamp"])
            values = [*of_run.values(), *one.run.accuracy_matrix[-1]]
            shown = [value if math.isfinite(value) else "" for value in values]
            writer.writerow([method, one.run.seed, *shown, one.run.diverged_at or "", one.stamp])
    return content.getvalue()


def _curve(per_seed: Sequence[np.ndarray], diverged: Sequence[bool]) -> dict[str, Any]:
    samples = np.array(per_seed)
    return {
        "mean": samples.mean(axis=0),
        "sem": statistics.standard_error(samples, diverged),
        "per_seed": samples,
    }


def _distinct(values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [value for i, value in enumerate(values) if value not in values[:i]]


def _plain(value: Any) -> Any:
    """What JSON has a word for."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case list() | tuple():
            return [_plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case statistics.Estimate():
            return _plain(asdict(value))
        case Path():
            return str(value)
        case _:
            return value
