"""A stream of tasks from a file of the user's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import MOST_SAMPLES
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.npz import NotArraysError, as_integers, read_arrays
from experiments.lab.tasks.samples import Samples

if TYPE_CHECKING:
    from experiments.lab.tasks.problems import Problem


def read_stream(settings: Settings) -> Samples:
    """The sequence in ``settings.stream_file``: tasks ``[iterations, batch]``, and rows or None; read-only.

    The file is read once: all runs of a command follow one sequence, whatever becomes of the file. A new
    command forgets it with `experiments.lab.tasks.streams.forget_streams`.

    Raises:
        SettingsError: one line that names the file and what is wrong with it.
    """
    path = settings.stream_file
    assert path is not None
    planned = _planned(path, settings.tasks, settings.batch)
    if planned.rows is not None and settings.evaluate_on == "validation":
        raise SettingsError(
            f"--stream-file {path}: names training samples (rows), some of which --evaluate-on validation "
            "holds out"
        )
    return planned


def forget_file() -> None:
    """Read a file that was read before from the disk again."""
    _planned.cache_clear()


@lru_cache(maxsize=1)
def _planned(path: Path, n_tasks: int, batch: int) -> Samples:
    """The sequence in a file, if it is one of so many tasks, in batches of this size."""

    def refuse(what: str) -> SettingsError:
        return SettingsError(f"--stream-file {path}: {what}")

    try:
        arrays = read_arrays(path)
    except NotArraysError as error:
        raise refuse(str(error)) from error
    if not {"tasks"} <= set(arrays) <= {"tasks", "rows"}:
        raise refuse(f"holds {', '.join(sorted(arrays)) or 'nothing'}; must hold tasks, and may hold rows")
    for name, array in arrays.items():
        whole = as_integers(array)
        if whole is None:
            raise refuse(f"{name} must be integers, not {array.dtype}")
        arrays[name] = whole
    tasks, rows = arrays["tasks"], arrays.get("rows")
    if tasks.ndim not in (1, 2) or not tasks.size:
        raise refuse(f"tasks has the shape {tasks.shape}; must be [iterations] or [iterations, batch]")
    if tasks.min() < 0 or tasks.max() >= n_tasks:
        raise refuse(
            f"names the tasks {tasks.min()} to {tasks.max()}; with --tasks {n_tasks} "
            f"they are 0 to {n_tasks - 1}"
        )
    if len(tasks) > MOST_SAMPLES // batch:
        raise refuse(
            f"has {len(tasks)} iterations; with --batch {batch} they must be at most "
            f"{MOST_SAMPLES // batch}: {MOST_SAMPLES:g} samples in all"
        )
    if tasks.ndim == 1:
        tasks = np.broadcast_to(tasks[:, None], (len(tasks), batch))
    if tasks.shape[1] != batch:
        raise refuse(f"has batches of {tasks.shape[1]}, but --batch is {batch}")
    if rows is not None and rows.shape != tasks.shape:
        raise refuse(f"rows has the shape {rows.shape}; must be {tasks.shape}, as tasks")
    if rows is not None and not 0 <= rows.min() <= rows.max() <= np.iinfo(np.int32).max:
        raise refuse(f"names the rows {rows.min()} to {rows.max()}, which are no samples")
    planned = Samples(None if rows is None else rows.astype(np.int32), tasks.astype(np.int32))
    for array in planned.tasks, planned.rows:
        if array is not None:
            array.setflags(write=False)
    return planned


def checked_against(problem: Problem, planned: Samples, settings: Settings) -> Samples:
    """The samples themselves, if they are samples of their tasks."""
    refused = f"--stream-file {settings.stream_file}: "
    low, high = planned.rows.min(), planned.rows.max()
    if low < 0 or high >= len(problem.train.y):
        raise SettingsError(f"{refused}names the samples {low} to {high} of {len(problem.train.y)}")
    belongs = np.stack(
        [
            np.isin(np.arange(len(problem.train.y)), problem.train.members(task))
            for task in range(problem.n_tasks)
        ]
    )
    wrong = ~belongs[planned.tasks, planned.rows]
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0])
        order = (
            ", with the classes in this seed's order"
            if settings.class_order == "shuffled"
            else " (was it written with --class-order shuffled?)"
        )
        raise SettingsError(
            f"{refused}shows sample {planned.rows[where]} in task {planned.tasks[where]}, "
            f"but it is of another one{order}"
        )
    return planned
