"""How finished runs are kept, and found again.

A run is one method with one seed. It is kept in ``<results-dir>/runs/<stamp>.json`` and found again by
its stamp, whichever command made it. Files appear whole or not at all. Numbers that are not finite
(the loss of a training that diverged, say) are null in the files and NaN when they are read again.
"""

import functools
import glob
import json
import platform
import secrets
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab.results.runs import FinishedRun, Probes, Run
from experiments.lab.results.stamps import code_of, run_stamp, stamp_of_any_code, without_code
from experiments.lab.system.files import write_json

RUNS, CHECKPOINTS = "runs", "checkpoints"  # the folders of the two, in that of the results


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
    from experiments.lab.results import sources  # imports JAX: reading and drawing runs does without

    stamp = run_stamp(run_identity)
    code = {"commit": sources.commit(), "files": code_of(run_identity).files}
    record = {"identity": run_identity, "environment": environment, "code": code, "run": _fields_of(run)}
    path = run_path(results_dir, stamp)
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
        path = run_path(results_dir, stamp)
        warnings.warn(f"{path} is damaged: the run is trained again", stacklevel=2)
        return None


def find_other_code(results_dir: Path, run_identity: Mapping[str, Any]) -> FinishedRun | None:
    """Find a run that other code made with the same settings: the last one to be kept; None without one."""
    found = []
    for path in (results_dir / RUNS).glob(f"{glob.escape(stamp_of_any_code(run_identity))}-*.json"):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            record = json.loads(path.read_text(encoding="utf-8"))
            same = without_code(record["identity"]) == without_code(run_identity)
            if same and record["identity"] != run_identity:
                changed = tuple(code_of(run_identity).changed(record["code"]["files"]))
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
    path = run_path(results_dir, stamp)
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
        if record["identity"] != (run_identity or record["identity"]):
            raise ValueError("this is another run")
        run = _run_from(record["run"], tasks=record["identity"]["settings"]["tasks"])
        return FinishedRun(stamp, run, dict(record["environment"]), found_again=True)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged") from error


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


def run_path(results_dir: Path, stamp: str) -> Path:
    """Where a run is kept."""
    return results_dir / RUNS / f"{stamp}.json"


def _fields_of(run: Run) -> dict[str, Any]:
    values = {field.name: getattr(run, field.name) for field in fields(Run)}
    return {**values, "probes": None if run.probes is None else asdict(run.probes)}


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
        probes=None if record.get("probes") is None else Probes.from_record(record["probes"]),
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
