"""Samples, each shown in a task: those to evaluate on, and those for the Fisher information."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.lab.options.settings import Settings
from experiments.lab.tasks.problems import Problem, generator


class Samples(NamedTuple):
    """Samples of a data set, each shown in a task: int32 arrays of one shape, and float32 weights."""

    rows: Any  # where in the data set
    tasks: Any
    weights: Any = None  # in the loss, of a sum of 1 over a batch; None for the mean


def one_after_the_other(parts: Sequence[Samples]) -> Samples:
    """Samples in a row, without weights."""
    return Samples(*(np.concatenate([part[field] for part in parts]) for field in (0, 1)))


def evaluation_samples(settings: Settings, problem: Problem, seed: int) -> tuple[Samples, Samples]:
    """The test samples for the log points, and all others: each ``[samples]``.

    The first are ``eval_n`` or as many as there are of each task, in the class scenario of each class. Tasks
    follow one another.
    """
    random = generator(seed, "evaluation")
    subset: list[Samples] = []
    rest: list[Samples] = []
    for task in range(problem.n_tasks):
        if settings.asked.by_class:
            groups = [
                problem.test.members_of_class(task, within) for within in range(problem.classes_per_task)
            ]
        else:
            groups = [problem.test.members(task)]
        for group in groups:
            rows = random.permutation(group)
            for parts, part in (subset, rows[: settings.eval_n]), (rest, rows[settings.eval_n :]):
                parts.append(Samples(part, np.full_like(part, task)))
    return one_after_the_other(subset), one_after_the_other(rest)


def fisher_samples(settings: Settings, problem: Problem, seed: int) -> Samples:
    """Training samples of each task, ``ewc_samples`` or as many as the smallest has: ``[tasks, samples]``.

    With shuffled classes, the smallest that any order of the classes makes, so that all seeds have as many.
    """
    random = generator(seed, "fisher")
    members = [problem.train.members(task) for task in range(problem.n_tasks)]
    n = min(settings.ewc_samples, *map(len, members))
    if settings.class_order == "shuffled":
        sizes = np.sort(np.bincount(problem.train.y))
        n = min(n, int(sizes[: problem.classes_per_task].sum()))
    rows = np.stack([random.permutation(group)[:n] for group in members])
    return Samples(rows, np.broadcast_to(np.arange(len(rows), dtype=np.int32)[:, None], rows.shape).copy())


def of_one_length(samples: Sequence[Samples]) -> list[Samples]:
    """Test samples, the shorter ones filled up with samples of task -1, which is none."""
    longest = max(len(each.rows) for each in samples)
    return [
        Samples(np.pad(rows, fill), np.pad(tasks, fill, constant_values=-1))
        for rows, tasks, _ in samples
        for fill in [(0, longest - len(rows))]
    ]
