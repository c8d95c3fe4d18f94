"""What a method says of itself: its name, its settings, and how these are searched; and how it is drawn.

Nothing here needs JAX: the built-in methods are declared (`experiments.lab.options.declared`) without their
code, which is imported when they are trained.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.names import file_part, printable

LONGEST_LABEL = 24  # letters
OF_FIGURES = ("label", "color", "line", "mixes_tasks")
KINDS = (int, float, bool, str)  # of settings

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
class Declaration:
    """A method, before it is made. Called with settings, it makes the method.

    Attributes:
        name: on the command line of a built-in method, in tables and in the names of files: letters, digits,
            hyphens and underscores.
        make: ``settings -> method``: an ``optax.GradientTransformation`` or an
            `experiments.lab.methods.Method`. Or ``module:function``, imported when it is first called.
        summary: a line for the help.
        settings: a frozen dataclass of the method's own settings: numbers, truth values and words, all with
            defaults. They become flags and fields of the settings, and the `Attributes` of its docstring their
            help.
        uses: names of settings of other methods, or of the synapse, that it makes use of too. Any that it
            does not name have their usual values when it is made, whatever the flags say.
        ignores: names of settings that all methods have, such as ``decay``, and this one makes no use of.
        fixed: values of settings that it has in any case.
        search: the ranges that experiments.sweep searches beside the learning rate's.
        together: names of those settings which are nothing but numbers, that change no shape and decide no
            branch of Python: configurations that differ in them alone can train in one program.
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

    name: str
    make: Callable[[Any], Any] | str
    summary: str = ""
    settings: type[Any] | None = None
    uses: Collection[str] = ()
    ignores: Collection[str] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Range] = field(default_factory=dict)
    together: Collection[str] = ("lr",)
    label: str = ""
    color: str | None = None
    line: Line = "solid"
    needs_task_ends: bool = False
    mixes_tasks: bool = False
    has_beakers: bool = False
    is_plain: bool = False
    module: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)
        _check_words(self)
        _check_settings(self)
        _check_names(self)

    def __call__(self, settings: Any) -> Any:
        """The method that these settings make."""
        make = modules.load(self.make)[1] if isinstance(self.make, str) else self.make
        return make(settings)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of its own settings."""
        return tuple(one.name for one in fields(self.settings)) if self.settings else ()

    @property
    def used(self) -> frozenset[str]:
        """The names of the settings that it makes use of, beside those that all methods have."""
        return frozenset({*self.own, *self.uses})

    @property
    def defined_in(self) -> str:
        """The name of the module that the user's function is defined in; empty for a built-in method."""
        if self.module or isinstance(self.make, str):
            return self.module
        make = self.make
        while isinstance(make, partial):
            make = make.func
        return str(getattr(make, "__module__", ""))

    @property
    def origin(self) -> str:
        """The file and the function of a method of one's own, ``rules.py:mine``; empty for a built-in one."""
        if not self.defined_in:
            return ""
        file = getattr(sys.modules.get(self.defined_in), "__file__", None)
        name = self.reference.rpartition(":")[2] or named(self.make)
        return f"{Path(file).name if file else self.defined_in}:{name}"


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

    def declare(make: Callable[[Any], Any]) -> Declaration:
        return Declaration(
            **{"name": name or named(make), "make": make, "summary": first_line(make), **declared}
        )

    return declare


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


def named(make: Any) -> str:
    """The name that a function was defined with."""
    return str(getattr(make, "__name__", type(make).__name__))


def first_line(make: Callable[[Any], Any]) -> str:
    """The first line of a function's docstring, without its full stop."""
    lines = (getattr(make, "__doc__", None) or "").strip().splitlines()
    return lines[0] if lines else ""


def _require(declared: Declaration, holds: bool, what: str) -> None:
    if not holds:
        raise SettingsError(f"method {printable(str(declared.name))}: {what}")


def _check_words(declared: Declaration) -> None:
    is_name = re.fullmatch(r"[^\W\d_][\w-]*", declared.name) is not None
    _require(
        declared,
        is_name and file_part(declared.name) == declared.name,
        "its name must be short, of letters, digits, hyphens and underscores, with a letter first",
    )
    _require(declared, callable(declared.make) or isinstance(declared.make, str), "must be a function")
    label = declared.label
    _require(
        declared,
        printable(label) == label and len(label) <= LONGEST_LABEL,
        f"its label must be printable, and have at most {LONGEST_LABEL} letters",
    )
    is_color = declared.color is None or re.fullmatch("#[0-9a-fA-F]{6}", declared.color) is not None
    _require(declared, is_color, f"its color {declared.color!r} must be written as #rrggbb")
    lines = Line.__args__  # type: ignore[attr-defined]
    _require(
        declared, declared.line in lines, f"its line {declared.line!r} must be one of {', '.join(lines)}"
    )


def _check_settings(declared: Declaration) -> None:
    own = declared.settings
    if own is None:
        return
    frozen = isinstance(own, type) and is_dataclass(own) and own.__dataclass_params__.frozen  # type: ignore[attr-defined]
    _require(declared, frozen, "its settings must be a dataclass that is frozen: @dataclass(frozen=True)")
    kinds = get_type_hints(own)
    for one in fields(own):
        kind = kinds[one.name]
        known = kind in KINDS or get_origin(kind) is Literal
        _require(declared, known, f"its setting {one.name} must be an int, float, bool, str or Literal")
        _require(declared, one.default is not MISSING, f"its setting {one.name} must have a default")
        _require(declared, not one.name.startswith("_"), f"its setting {one.name} must begin with a letter")


def _check_names(declared: Declaration) -> None:
    """Ranges and numbers are those of settings that it has."""
    known = {"lr", *declared.used}
    searched = known | (set(SHAPES) if declared.has_beakers else set())
    for name, usual in declared.search.items():
        _require(declared, name in searched, f"its search names {name}, which is no setting of its own")
        _require(declared, isinstance(usual, Range), f"its search must give a Range for {name}")
    for name in declared.together:
        _require(declared, name in known, f"its together names {name}, which is no setting of its own")
    if declared.has_beakers:
        missing = {"beakers", "alpha", "beta"} - declared.used
        _require(declared, not missing, f"has beakers, so it must use {', '.join(sorted(missing))}")
