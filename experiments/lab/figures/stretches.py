"""When each task is in training."""

from typing import NamedTuple

import numpy as np

from experiments.lab.options.settings import Settings
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.stream_files import read_stream


class Stretch(NamedTuple):
    """Iterations in which most samples are of one task, counted from 0."""

    task: int
    begin: int
    end: int


def stretches(settings: Settings) -> list[Stretch]:
    """All stretches of a stream, in order.

    None where the stream mixes all tasks, or where its file is not there any more.

    >>> stretches(Settings(tasks=2, iters=100))
    [Stretch(task=0, begin=0, end=100), Stretch(task=1, begin=100, end=200)]
    """
    if settings.one_task_after_the_other:
        ends = settings.iters * np.arange(settings.tasks + 1)
        return [Stretch(task, int(ends[task]), int(ends[task + 1])) for task in range(settings.tasks)]
    if settings.stream_file is None:
        return []
    try:
        tasks = read_stream(settings).tasks
    except SettingsError:
        return []
    found = []
    for task in range(settings.tasks):
        most = np.mean(tasks == task, axis=1) > 0.5
        edges = np.flatnonzero(np.diff(most, prepend=False, append=False)).reshape(-1, 2)
        found += [Stretch(task, int(begin), int(end)) for begin, end in edges]
    return sorted(found, key=lambda stretch: stretch.begin)
