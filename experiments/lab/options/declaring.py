"""What methods and models have in common: a function, perhaps of the user's own, and what it says of itself.

Nothing here needs JAX: what is built in is declared without its code, which is imported when it is trained.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.names import file_part, printable

KINDS = (int, float, bool, str)  # of settings

Kind = TypeVar("Kind", bound="Declared")


@dataclass(frozen=True, eq=False, kw_only=True)
class Declared:
    """A function that makes something, before it has made it.

    Attributes:
        name: in tables and in the names of files: letters, digits, hyphens and underscores.
        make: the function. Or ``module:function``, imported when it is first called.
        summary: a line for the help.
        settings: a frozen dataclass of its own settings: numbers, truth values and words, all with defaults.
            They become flags and fields of the settings; the `Attributes` of its docstring are their help.
        module: the name of the module that it was found in; that of ``make`` by default.
        reference: what names it on the command line, ``module:function``; empty for what is built in.

    Raises:
        SettingsError: one line that names it and what is wrong with what it says.
    """

    what: ClassVar[str]  # it makes, in a word
    made_by: ClassVar[str]  # what ``make`` must be

    name: str
    make: Callable[..., Any] | str
    summary: str = ""
    settings: type[Any] | None = None
    module: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        is_name = re.fullmatch(r"[^\W\d_][\w-]*", self.name) is not None
        self.require(
            is_name and file_part(self.name) == self.name,
            "its name must be short, of letters, digits, hyphens and underscores, with a letter first",
        )
        self.require(callable(self.make) or isinstance(self.make, str), f"must be {self.made_by}")
        self._check_settings()

    def require(self, holds: bool, what: str) -> None:
        """Refuse what does not hold, in its name.

        Raises:
            SettingsError: one line that names it and what must be.
        """
        if not holds:
            raise SettingsError(f"{self.what} {printable(str(self.name))}: {what}")

    @property
    def function(self) -> Callable[..., Any]:
        """What makes it."""
        return modules.load(self.make)[1] if isinstance(self.make, str) else self.make

    def __call__(self, *arguments: Any, **by_name: Any) -> Any:
        """What its function makes."""
        return self.function(*arguments, **by_name)

    @property
    def own(self) -> tuple[str, ...]:
        """The names of its own settings."""
        return tuple(one.name for one in fields(self.settings)) if self.settings else ()

    def settings_in(self, settings: object) -> Any:
        """Its own settings, taken out of all; None where it has none."""
        if self.settings is None:
            return None
        return self.settings(**{name: getattr(settings, name) for name in self.own})

    @property
    def defined_in(self) -> str:
        """The name of the module that the user's function is defined in; empty for what is built in."""
        if self.module or isinstance(self.make, str):
            return self.module
        return str(getattr(without_arguments(self.make), "__module__", ""))

    @property
    def origin(self) -> str:
        """The file and the function of the user's own, ``rules.py:mine``; empty for what is built in."""
        if not self.defined_in:
            return ""
        file = getattr(sys.modules.get(self.defined_in), "__file__", None)
        name = self.reference.rpartition(":")[2] or named(self.make)
        return f"{Path(file).name if file else self.defined_in}:{name}"

    def _check_settings(self) -> None:
        own = self.settings
        if own is None:
            return
        frozen = isinstance(own, type) and is_dataclass(own) and own.__dataclass_params__.frozen  # type: ignore[attr-defined]
        self.require(frozen, "its settings must be a dataclass that is frozen: @dataclass(frozen=True)")
        kinds = get_type_hints(own)
        for one in fields(own):
            kind = kinds[one.name]
            known = kind in KINDS or get_origin(kind) is Literal
            self.require(known, f"its setting {one.name} must be an int, float, bool, str or Literal")
            self.require(one.default is not MISSING, f"its setting {one.name} must have a default")
            self.require(not one.name.startswith("_"), f"its setting {one.name} must begin with a letter")
            # Values are told apart, and rounded, as what the default is.
            fits = type(one.default) is kind or one.default in get_args(kind)
            what = getattr(kind, "__name__", kind)
            self.require(
                fits, f"its setting {one.name} must have a default of its type {what}, not {one.default!r}"
            )


def declaring(
    kind: type[Kind], name: str | None, declared: Mapping[str, Any]
) -> Callable[[Callable[..., Any]], Kind]:
    """A decorator that declares a function: its name and first line are what is not said otherwise."""

    def declare(make: Callable[..., Any]) -> Kind:
        return kind(**{"name": name or named(make), "make": make, "summary": first_line(make), **declared})

    return declare


def without_arguments(make: Any) -> Any:
    """A function without the arguments that `functools.partial` has given it."""
    while isinstance(make, partial):
        make = make.func
    return make


def named(make: Any) -> str:
    """The name that a function was defined with."""
    make = without_arguments(make)
    return str(getattr(make, "__name__", type(make).__name__))


def first_line(make: Callable[..., Any]) -> str:
    """The first line of a function's docstring, without its full stop."""
    lines = (getattr(without_arguments(make), "__doc__", None) or "").strip().splitlines()
    return lines[0] if lines else ""
