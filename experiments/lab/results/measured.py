"""The measures of a run: those that are built in, and those of the user's own."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from experiments.lab.options.measure import Measure
from experiments.lab.options.settings import Settings
from experiments.lab.results import measures as equations
from experiments.lab.results.measures import Measured
from experiments.lab.results.runs import Run
from experiments.lab.system import modules

# The streams without a row of the accuracy matrix at the end of each task.
NO_TASK_ENDS = {
    "random": "a random stream has no task ends",
    "file": "the task ends of a stream from a file are not known",
}
UNDEFINED = "it is not defined for this run"


def measures(run: Run, settings: Settings) -> dict[str, Measured]:
    """All measures of one run, by name, in the order in which they are to be shown.

    A run that diverged has them like any other: outputs that are not finite are wrong answers.

    Args:
        run: the run.
        settings: its settings, with the measures that are known.

    Returns:
        `final_accuracy` (the mean of the last row of the accuracy matrix, `1/T Σ_j R_T,j`: ACC of
        Lopez-Paz & Ranzato 2017), which is always defined, what `experiments.lab.results.measures` computes,
        under the names of its functions, and the measures of the user's own. One of these that fails is NaN,
        with the error as its reason.

    Raises:
        ValueError: if the stream has task ends, but the accuracy matrix not one row for each.
    """
    return {name: _value(one, run, settings) for name, one in settings.measures.items()}


def _value(measure: Measure, run: Run, settings: Settings) -> Measured:
    if not measure.defined_in:
        return _checked(measure(run, settings))
    try:
        return _checked(measure(_read_only(run), settings))
    except Exception as error:
        return Measured(math.nan, modules.told(error), failed=True)


def _read_only(run: Run) -> Run:
    """The run with arrays that cannot be written to."""
    values = {one.name: getattr(run, one.name) for one in fields(run)}
    views: dict[str, Any] = {
        name: value.view() for name, value in values.items() if isinstance(value, np.ndarray)
    }
    for view in views.values():
        view.setflags(write=False)
    return replace(run, **views)


def _checked(value: Any) -> Measured:
    """What a measure gave, if it is a number."""
    if isinstance(value, Measured):
        return value
    if value is None:
        return Measured(math.nan, UNDEFINED)
    if isinstance(value, str | bytes) or np.ndim(value) != 0:
        raise TypeError(f"must return a number, not {type(value).__name__}")
    number = float(value)
    return Measured(number, UNDEFINED if math.isnan(number) else None)


def final_accuracy(run: Run, settings: Settings) -> float:
    """The mean of the last row of the accuracy matrix, which is always defined."""
    return float(run.final_accuracy)


def backward_transfer(run: Run, settings: Settings) -> Measured:
    """See `experiments.lab.results.measures.backward_transfer`; the others likewise."""
    return _unless(_why_no_previous(run, settings), equations.backward_transfer, run.accuracy_matrix)


def forward_transfer(run: Run, settings: Settings) -> Measured:
    """Undefined in a gradual stream too."""
    overlap = "a gradual stream shows a task before the previous one ends"
    reason = _why_no_previous(run, settings) or (overlap if settings.stream == "gradual" else None)
    return _unless(reason, equations.forward_transfer, run.accuracy_matrix, run.initial_accuracy)


def forgetting(run: Run, settings: Settings) -> Measured:
    """Of earlier tasks."""
    return _unless(_why_no_previous(run, settings), equations.forgetting, run.accuracy_matrix)


def learning_accuracy(run: Run, settings: Settings) -> Measured:
    """Of a single task too."""
    return _unless(_why_no_task_ends(run, settings), equations.learning_accuracy, run.accuracy_matrix)


def average_anytime_accuracy(run: Run, settings: Settings) -> Measured:
    """Of any stream."""
    unseen = None if run.seen.any() else "there is no evaluation after the first iteration"
    return _unless(unseen, equations.average_anytime_accuracy, run.accuracy, run.seen)


def min_accuracy(run: Run, settings: Settings) -> Measured:
    """Of earlier tasks that were evaluated after their end."""
    records = run.accuracy, run.evaluated_at, run.matrix_at
    return _unless(_why_unwatched(run, settings), equations.min_accuracy, *records)


def worst_case_accuracy(run: Run, settings: Settings) -> Measured:
    """Of earlier tasks that were evaluated after their end, and the last one."""
    records = run.accuracy, run.evaluated_at, run.matrix_at
    return _unless(_why_unwatched(run, settings), equations.worst_case_accuracy, *records)


def _unless(reason: str | None, equation: Callable[..., float], *records: np.ndarray) -> Measured:
    return Measured(equation(*records)) if reason is None else Measured(math.nan, reason)


def _why_no_task_ends(run: Run, settings: Settings) -> str | None:
    no_ends = NO_TASK_ENDS.get(settings.stream)
    if settings.methods[run.method].mixes_tasks:
        no_ends = f"{run.method} mixes all tasks"
    if settings.full_eval == "end":
        no_ends = no_ends or "the whole test set is evaluated at the end alone"
    if no_ends is None and len(run.accuracy_matrix) != settings.tasks:
        raise ValueError(
            f"accuracy_matrix of {len(run.accuracy_matrix)} rows: must be {settings.tasks}, one for each task"
        )
    return no_ends


def _why_no_previous(run: Run, settings: Settings) -> str | None:
    no_ends = _why_no_task_ends(run, settings)
    return "there is a single task" if settings.tasks == 1 else no_ends


def _why_unwatched(run: Run, settings: Settings) -> str | None:
    no_previous = _why_no_previous(run, settings)
    return no_previous or equations.why_unwatched(run.evaluated_at, run.matrix_at)
