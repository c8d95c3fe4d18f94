"""What a method says of itself: its name, its settings, and how these are searched; and how it is drawn.

Nothing here needs JAX: the built-in methods are declared (`experiments.lab.options.declared`) without their
code, which is imported when they are trained.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from experiments.lab.options.declaring import Declared, declaring
from experiments.lab.system.names import printable

LONGEST_LABEL = 24  # letters
OF_FIGURES = ("label", "color", "line", "mixes_tasks")

Line = Literal["solid", "dashed", "dotted", "dash-dotted"]


@dataclass(frozen=True)
class Range:
    """Positive numbers between two bounds, searched evenly in their logarithm.

    Attributes:
        low: the lower bound.
        high: the upper bound.
        label: what the axis of a figure calls them; the setting's name by default.

    Raises:
        ValueError: if they are not positive, finite, and the lower bound first.
    """

    low: float
    high: float
    label: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"{self}: must be positive, finite, and the lower bound first")

    def at(self, place: float) -> float:
        """The number at a place between 0 and 1, to three digits."""
        return float(f"{self.low * (self.high / self.low) ** place:.3g}")

    def place(self, value: float) -> float:
        """Where a number stands between the bounds; outside of 0 to 1 if it is not between them."""
        return math.log(value / self.low) / math.log(self.high / self.low) if value > 0 else -math.inf


# What can be searched of a synapse's settings, in the place of those that follow from it.
SPACING = "spacing"  # of its timescales, x; decides the number of beakers
DEPTH = "depth"  # share of the chain from the visible weight to the beaker that is read; decides which
SPAN = "span"  # of its timescales, beta/alpha
SHAPES = (SPAN, SPACING, DEPTH)


@dataclass(frozen=True, eq=False, kw_only=True)
class Declaration(Declared):
    """A method, before it is made. Called with settings, it makes the method.

    Attributes:
        name: on the command line of a built-in method, in tables and in the names of files: letters, digits,
            hyphens and underscores.
        make: ``settings -> method``: an ``optax.GradientTransformation`` or an
            `experiments.lab.methods.Method`. Or ``module:function``, imported when it is first called.
        summary: a line for the help.
        settings: a frozen dataclass of the method's own settings: numbers, truth values and words, all with
            defaults. They become flags and settings; its docstring's `Attributes` are the help.
        uses: names of settings of other methods, or of the synapse, that it makes use of too. Any that it
            does not name have their usual values when it is made, whatever the flags say.
        ignores: names of settings that all methods have, such as ``decay``, and this one makes no use of.
        fixed: values of settings that it has in any case.
        search: the ranges that experiments.sweep searches beside the learning rate's.
        together: names of those settings which are nothing but numbers, that change no shape and decide no
            branch of Python: configurations that differ in them alone can train in one program.
        evaluated_by: settings by which nothing but the weights that are evaluated is decided, each with the
            values that experiments.sweep tries in every training beside the given one. The method's `reading`
            makes use of them; all else is made with their usual values.
        label: its name in figures.
        color: in figures, ``#rrggbb``. None takes one that is free.
        line: its line in figures.
        needs_task_ends: whether it has to be told when a task ends, and so needs a task-based stream.
        mixes_tasks: whether its own stream mixes all tasks: there is then no task that ends.
        has_beakers: whether its optimizer's state holds the beakers of a complex synapse of the settings
            ``beakers``, ``alpha`` and ``beta``, which ``--probes`` measures.
        is_plain: whether it is the optimizer that the flags choose and no more.
        module: the name of the module that it was found in; that of ``make`` by default.
        reference: what names it on the command line, ``module:function``; empty for a built-in method.

    Raises:
        SettingsError: one line that names the method and what is wrong with what it says.
    """

    what: ClassVar[str] = "method"
    made_by: ClassVar[str] = "a function of the settings"

    uses: Collection[str] = ()
    ignores: Collection[str] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Range] = field(default_factory=dict)
    together: Collection[str] = ("lr",)
    evaluated_by: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    label: str = ""
    color: str | None = None
    line: Line = "solid"
    needs_task_ends: bool = False
    mixes_tasks: bool = False
    has_beakers: bool = False
    is_plain: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)
        super().__post_init__()
        _check_words(self)
        _check_names(self)

    @property
    def used(self) -> frozenset[str]:
        """The names of the settings that it makes use of, beside those that all methods have."""
        return frozenset({*self.own, *self.uses})


def method(name: str | None = None, **declared: Any) -> Callable[[Callable[[Any], Any]], Declaration]:
    """Declare a method of one's own: a decorator of the function that makes it.

    Args:
        name: the method's name; the function's by default.
        declared: whatever else there is to say (`Declaration`). The first line of the function's docstring is
            its summary.

    Examples:
        >>> @method(search={"lr": Range(1e-5, 1e-1)}, color="#117733")
        ... def careful(settings):
        ...     '''Steps of a tenth.'''
        >>> careful.name, careful.summary
        ('careful', 'Steps of a tenth.')
    """
    return declaring(Declaration, name, declared)


def as_record(declared: Declaration) -> dict[str, Any]:
    """What the figures of finished runs have to know of a method of the user's own."""
    return {
        "origin": declared.origin,
        **{name: getattr(declared, name) for name in OF_FIGURES},
    }


def from_record(name: str, record: Mapping[str, Any]) -> Declaration:
    """A method that can be drawn, but not made.

    Raises:
        SettingsError: if it cannot be meant.
    """
    return Declaration(name=name, make="", **{one: record[one] for one in OF_FIGURES if one in record})


def _check_words(declared: Declaration) -> None:
    label = declared.label
    declared.require(
        printable(label) == label and len(label) <= LONGEST_LABEL,
        f"its label must be printable, and have at most {LONGEST_LABEL} letters",
    )
    is_color = declared.color is None or re.fullmatch("#[0-9a-fA-F]{6}", declared.color) is not None
    declared.require(is_color, f"its color {declared.color!r} must be written as #rrggbb")
    lines = Line.__args__  # type: ignore[attr-defined]
    declared.require(declared.line in lines, f"its line {declared.line!r} must be one of {', '.join(lines)}")


def check_search(declared: Declared, search: Mapping[str, Range], settings: Collection[str]) -> None:
    """Ranges are of settings that can be searched.

    Raises:
        SettingsError: one line that names what declares them, and what is wrong.
    """
    for name, usual in search.items():
        declared.require(name in settings, f"its search names {name}, which is no setting of its own")
        declared.require(isinstance(usual, Range), f"its search must give a Range for {name}")


def _check_names(declared: Declaration) -> None:
    """Ranges and numbers are those of settings that it has."""
    known = {"lr", *declared.used}
    check_search(declared, declared.search, known | (set(SHAPES) if declared.has_beakers else set()))
    for name in declared.together:
        declared.require(name in known, f"its together names {name}, which is no setting of its own")
    for name, tried in declared.evaluated_by.items():
        is_own = name in declared.used and name not in {*declared.search, *declared.together}
        declared.require(
            is_own, f"its evaluated_by names {name}, which must be a setting of its own, not searched"
        )
        is_list = isinstance(tried, Sequence) and not isinstance(tried, str)
        declared.require(is_list, f"its evaluated_by must give the values to try of {name}")
    if declared.has_beakers:
        missing = {"beakers", "alpha", "beta"} - declared.used
        declared.require(not missing, f"has beakers, so it must use {', '.join(sorted(missing))}")
