"""What is the user's own on a command line: methods, models, scenarios and measures, found before it is read.

All of them bring flags of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, is_dataclass, make_dataclass, replace
from textwrap import dedent
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import tyro

from experiments.lab.options.declaration import Declaration
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.options.declaring import Declared
from experiments.lab.options.measure import Measure
from experiments.lab.options.model import BUILT_IN as BUILT_IN_MODEL
from experiments.lab.options.model import Model
from experiments.lab.options.own import declared, settings_with
from experiments.lab.options.scenario import Scenario
from experiments.lab.system import modules
from experiments.lab.system.errors import flag

Options = TypeVar("Options")

NAME = "NAME|MODULE:FUNCTION"  # what stands for a method in the help


def methods_in_words() -> str:
    """The built-in methods, each with what it is, for the help."""
    described = " ".join(f"{one.name}: {one.summary}." for one in BUILT_IN.values())
    told = [one.name for one in BUILT_IN.values() if one.needs_task_ends]
    return (
        f"{described} MODULE:FUNCTION: a method of your own, in a module or a file.py; the help then shows "
        f"its settings too. {', '.join(told)} have to be told when a task ends, so they need a task-based "
        "stream."
    )


# What compare and sweep train.
Methods = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        metavar=f"[{NAME} …]",
        help=f"Methods to compare; differences are to the first one. {methods_in_words()}",
    ),
]


def searched_in_words() -> str:
    """What can be searched of the built-in methods, as one would type it, for the help."""
    names = dict.fromkeys(["lr", *(name for one in BUILT_IN.values() for name in one.search)])
    return ", ".join(name.replace("_", "-") for name in names)


def with_own(kind: type[Options], given: Sequence[str]) -> type[Options]:
    """The options of a command, with the methods, the model, the scenario and the measures of the user's own.

    Those that its words name; their settings are options too.

    Raises:
        SettingsError: one line that names it, and what is wrong with it.
    """
    own = tuple(
        declared(Declaration, one) for one in dict.fromkeys(_values(kind, given, "method", "methods"))
    )
    named = [*_values(kind, given, "model")]
    models = [declared(Model, one) for one in named[-1:]]  # as with any option, the last one counts
    scenarios = [declared(Scenario, one) for one in [*_values(kind, given, "scenario")][-1:]]
    measures = tuple(declared(Measure, one) for one in dict.fromkeys(_values(kind, given, "measures")))
    return options_with(kind, own, models, scenarios, measures)


def options_with(
    kind: type[Options],
    own: Sequence[Declaration] = (),
    models: Sequence[Model] = (),
    scenarios: Sequence[Scenario] = (),
    measures: Sequence[Measure] = (),
) -> type[Options]:
    """The options of a command, with what the user has of his own: at most one model and one scenario.

    Raises:
        SettingsError: one line that names it, and what is wrong with it.
    """
    own, measures = tuple(own), tuple(measures)
    if not (own or models or scenarios or measures):
        return kind
    model, scenario = models[0] if models else BUILT_IN_MODEL, scenarios[0] if scenarios else None
    settings_with(own, model, scenario, measures)  # whose names must be free
    taken = set(_names_of_flags(kind))
    sharing: dict[Any, list[Declared]] = {}  # by their settings
    for one in (*own, *models, *scenarios, *measures):
        for name in one.own:
            one.require(name not in taken, f"its setting {name} has the name of {flag(name)}")
        if one.settings is not None:
            sharing.setdefault(one.settings, []).append(one)
    blocks = [
        (f"own_{number}", _block(settings, alike), field(default_factory=settings))
        for number, (settings, alike) in enumerate(sharing.items())
    ]
    namespace = {
        "own": own,
        "own_measures": measures,
        "own_model": model,
        "own_scenario": scenario,
        "__doc__": dedent(kind.__doc__ or ""),
    }
    return make_dataclass(kind.__name__, blocks, bases=(kind,), frozen=True, namespace=namespace)


def by_name(options: Options) -> Options:
    """The options with the methods of the user's own under their names."""
    names = {one.reference: one.name for one in getattr(options, "own", ())}
    named: dict[str, Any] = {}
    for each in ("method", "methods"):
        value = getattr(options, each, None)
        if isinstance(value, str):
            named[each] = names.get(value, value)
        elif value is not None:
            named[each] = tuple(names.get(one, one) for one in value)
    return replace(options, **named) if names else options  # type: ignore[type-var]


def as_given(methods: Mapping[str, Declaration], name: str) -> str:
    """What names a method on a command line."""
    return methods[name].reference or name if name in methods else name


def _block(settings: Any, declared: Sequence[Declared]) -> Any:
    """The own settings of methods, a model, a scenario or measures as a block of the help."""
    names = ", ".join(f"{one.what} {one.name}" for one in declared)
    return Annotated[settings, tyro.conf.arg(name=names)]


def _values(kind: type[Any], given: Sequence[str], *options: str) -> Iterator[str]:
    """The values of these options that name something of the user's own."""
    flags = {flag(name) for name in options if name in _names_of_flags(kind)}
    inside = False
    for word in given:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            inside = name in flags
            word = value if equals else ""
        if inside and modules.is_reference(word):
            yield word


def _names_of_flags(kind: Any) -> Iterator[str]:
    """The names of all options, those of the blocks included."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        inner = get_args(hint)[0] if get_args(hint) else hint
        if is_dataclass(inner):
            yield from _names_of_flags(inner)
        else:
            yield name
