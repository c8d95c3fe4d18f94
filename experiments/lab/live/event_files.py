"""TensorBoard: one folder of event files for each run."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from experiments.lab.results.runs import accuracy_so_far
from experiments.lab.training.progress import Progress

PREFIX = "events.out.tfevents"  # what TensorBoard takes for an event file has this in its name


class EventFiles:
    """Writes the scalars of a group of seeds to ``<folder>/<run>/``, a folder each.

    A training that begins anew clears its folder of event files. One that goes on at iteration n leaves
    them and marks in the new file that what they say from n on does not hold.
    """

    flag = "--tensorboard"

    def __init__(self, folder: Path, runs: Sequence[str]) -> None:
        """Describe the group.

        Args:
            folder: what TensorBoard is pointed at.
            runs: name of each seed's run.
        """
        self._folders = [folder / run for run in runs]
        self._files: list[_EventFile] = []

    def record(self, progress: Progress) -> None:
        """Add the scalars of a report.

        Raises:
            OSError: if they cannot be written.
        """
        if not self._files:
            for folder in self._folders:
                self._files.append(_EventFile(folder, progress.iteration))
        for place, file in enumerate(self._files):
            file.add(scalars(progress, place), progress.iteration)

    def update(self) -> None:
        """Let TensorBoard see them."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def scalars(progress: Progress, place: int) -> dict[str, float]:
    """Name the numbers of one seed.

    Args:
        progress: a report.
        place: the place of the seed in it.
    """
    values: dict[str, float] = {}
    if progress.iteration > 0:
        values["loss/training"] = float(progress.losses[place])
    if progress.accuracy is not None:
        accuracy = progress.accuracy[place]
        values["accuracy/all_tasks"] = float(accuracy.mean())
        if progress.seen[place].any():
            values["accuracy/tasks_seen"] = float(accuracy_so_far(progress.accuracy, progress.seen)[place])
        values |= {f"accuracy_per_task/task_{task + 1}": float(one) for task, one in enumerate(accuracy)}
    return values


def _stamp_of(path: Path) -> float:
    """The time in the name of an event file; 0 where it has none."""
    found = re.match(rf"{re.escape(PREFIX)}\.(\d+\.\d+)\.", path.name)
    return float(found[1]) if found else 0.0


class _EventFile:
    """One file of events. TensorBoard has a writer too, but it writes, and fails, in a thread of its own."""

    def __init__(self, folder: Path, first: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if first == 0:
            for left in folder.glob(f"{PREFIX}.*"):
                left.unlink()
        # TensorBoard reads the files of a folder in the order of their names. A training that goes on must
        # come after what is there, also where the clock has been set back or another computer's is behind.
        stamp = max([time.time(), *(_stamp_of(left) + 1e-3 for left in folder.glob(f"{PREFIX}.*"))])
        path = folder / f"{PREFIX}.{stamp:017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = path.open("xb")
        self._records = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        self._write(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def add(self, values: Mapping[str, float], iteration: int) -> None:
        named = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(step=iteration, summary=Summary(value=named)))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
