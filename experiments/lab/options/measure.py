"""What a measure says of itself; and those that are built in, as any of the user's own is declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from experiments.lab.options.declaring import Declared, declaring
from experiments.lab.system.names import printable

LONGEST_LABEL = 60  # letters
OTHER_COLUMNS = r"method|seed|diverged_at|stamp|final_accuracy_task_\d+"  # of the table of runs


@dataclass(frozen=True, eq=False, kw_only=True)
class Measure(Declared):
    """A number that is computed of a finished run. Called with the run and its settings, it gives the number.

    Attributes:
        name: in summaries and in the table of runs.
        make: ``(run, settings) -> value``, of an `experiments.lab.results.runs.Run`: a number; None or NaN
            where it is not defined; or an `experiments.lab.results.measures.Measured`, which says why.
            Or ``module:function``, imported when it is first called.
        summary: a line that says what it is.
        settings: a frozen dataclass of its own settings, as `Declared` says: they become flags and fields of
            the settings that it is called with. They are no part of what a run is.
        label: what the printed table calls it; its name by default.
        module: the name of the module that it was found in; that of ``make`` by default.
        reference: what names it on the command line, ``module:function``; empty for what is built in.

    Raises:
        SettingsError: one line that names the measure and what is wrong with what it says.
    """

    what: ClassVar[str] = "measure"
    made_by: ClassVar[str] = "a function of a run and its settings"

    label: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)
        super().__post_init__()
        self.require(
            printable(self.label) == self.label and len(self.label) <= LONGEST_LABEL,
            f"its label must be printable, and have at most {LONGEST_LABEL} letters",
        )
        is_free = re.fullmatch(OTHER_COLUMNS, self.name) is None
        self.require(is_free, "has the name of another column of the table of runs")


def measure(name: str | None = None, **declared: Any) -> Callable[[Callable[..., Any]], Measure]:
    """Declare a measure of one's own: a decorator of the function that computes it.

    Args:
        name: the measure's name; the function's by default.
        declared: whatever else there is to say (`Measure`). The first line of the docstring is its summary.

    Examples:
        >>> @measure(label="loss at the end")
        ... def last_loss(run, settings):
        ...     return run.loss[-1]
        >>> last_loss.name, last_loss.label
        ('last_loss', 'loss at the end')
    """
    return declaring(Measure, name, declared)


def from_record(name: str, label: str, values: Mapping[tuple[str, int], float | None]) -> Measure:
    """A measure of finished results, with the values that were kept by method and seed.

    Raises:
        SettingsError: if it cannot be meant.
    """
    return Measure(name=name, label=label, make=lambda run, settings: values.get((run.method, run.seed)))


def _built_in(name: str, label: str) -> Measure:
    return Measure(name=name, make=f"experiments.lab.results.measured:{name}", label=label)


# In the order in which they are shown.
BUILT_IN: Mapping[str, Measure] = {
    one.name: one
    for one in (
        _built_in("final_accuracy", "final average accuracy"),
        _built_in("backward_transfer", "backward transfer"),
        _built_in("forward_transfer", "forward transfer"),
        _built_in("forgetting", "forgetting"),
        _built_in("learning_accuracy", "learning accuracy"),
        _built_in("average_anytime_accuracy", "average anytime accuracy"),
        _built_in("min_accuracy", "min-ACC"),
        _built_in("worst_case_accuracy", "worst-case accuracy"),
    )
}
