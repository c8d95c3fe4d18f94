"""What is the user's own beside what is built in: methods, models, scenarios, measures; with settings."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Sequence
from dataclasses import fields, make_dataclass, replace
from functools import cache
from typing import Any

from experiments.lab.options.declaration import Declaration
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.options.declaring import Declared, Kind, first_line, named, without_arguments
from experiments.lab.options.measure import BUILT_IN as BUILT_IN_MEASURES
from experiments.lab.options.measure import Measure
from experiments.lab.options.model import BUILT_IN as BUILT_IN_MODEL
from experiments.lab.options.model import Model
from experiments.lab.options.scenario import BUILT_IN as BUILT_IN_SCENARIOS
from experiments.lab.options.scenario import Scenario
from experiments.lab.options.settings import Settings
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError, flag


def _found(kind: type[Kind], reference: str) -> Kind:
    try:
        module, found = modules.load(reference)
    except (modules.NotThereError, SettingsError) as error:
        raise SettingsError(f"{kind.what} {reference}: {error}") from error
    except Exception as error:
        where = reference.rpartition(":")[0]
        raise SettingsError(
            f"{kind.what} {reference}: {where} cannot be imported: {modules.told(error)}"
        ) from error
    return _declared(kind, found, reference, module.__name__)


def declared(kind: type[Kind], given: Any) -> Kind:
    """What ``module:function``, a declaration, or the function itself stands for.

    Raises:
        SettingsError: one line that names it, and what is wrong with it.
    """
    return _found(kind, given) if isinstance(given, str) else _declared(kind, given, *_where(given))


def _where(found: Any) -> tuple[str, str]:
    """What would name it on a command line, and the name of its module."""
    make = without_arguments(found.make if isinstance(found, Declared) else found)
    module = str(getattr(make, "__module__", ""))
    return f"{module}:{named(make)}", module


def _declared(kind: type[Kind], found: Any, reference: str, module: str) -> Kind:
    if isinstance(found, kind):
        return replace(found, reference=reference, module=module)
    if isinstance(found, Declared):
        raise SettingsError(f"{kind.what} {reference}: is a {found.what}")
    if not callable(found):
        raise SettingsError(f"{kind.what} {reference}: must be {kind.made_by}, not {reprlib.repr(found)}")
    try:
        return kind(
            name=named(found),
            make=found,
            summary=first_line(found),
            reference=reference,
            module=module,
        )
    except SettingsError as error:
        raise SettingsError(f"{kind.what} {reference}: {error}") from error


@cache
def settings_with(
    own: tuple[Declaration, ...] = (),
    model: Model = BUILT_IN_MODEL,
    scenario: Scenario | None = None,
    measures: tuple[Measure, ...] = (),
) -> type[Settings]:
    """The settings, with these methods, scenario and measures beside the built-in ones, and this model.

    What they have as settings of their own is added.

    Raises:
        SettingsError: if a name is taken; it names both that have it.
    """
    if not (own or scenario or measures) and model is BUILT_IN_MODEL:
        return Settings
    scenarios = (scenario,) if scenario is not None else ()
    _check_names(own, BUILT_IN)
    _check_names(scenarios, BUILT_IN_SCENARIOS)
    _check_names(measures, BUILT_IN_MEASURES)
    is_taken = model is not BUILT_IN_MODEL and model.name == BUILT_IN_MODEL.name
    model.require(not is_taken, "has the name of the built-in model")
    adding: tuple[Declared, ...] = (
        *own,
        *(() if model is BUILT_IN_MODEL else (model,)),
        *scenarios,
        *measures,
    )
    owner: dict[str, Declared] = {}
    for one in adding:
        for name in one.own:
            if hasattr(Settings, name):
                one.require(False, f"its setting {name} has the name of {flag(name)}")
            if name in owner and owner[name].settings is not one.settings:
                one.require(False, f"its setting {name} is one of {owner[name].name} too")
            owner[name] = one
    known = {one.name for one in fields(Settings)} | owner.keys()
    for each in own:
        for name in (*each.uses, *each.ignores, *each.fixed):
            each.require(name in known, f"names {name}, but there is no such setting")
    bases = dict.fromkeys(one.settings for one in adding if one.settings)
    added = {
        "methods": {**Settings.methods, **{one.name: one for one in own}},
        "model": model,
        "scenarios": {**Settings.scenarios, **{one.name: one for one in scenarios}},
        "measures": {**Settings.measures, **{one.name: one for one in measures}},
    }
    return make_dataclass("Settings", [], bases=(*bases, Settings), frozen=True, namespace=added)


def _check_names(own: Sequence[Declared], built_in: Collection[str]) -> None:
    taken: dict[str, Declared] = {}
    for one in own:
        if one.name in built_in:
            what = f"{one.what} {one.reference}"
            raise SettingsError(f"{what}: has the name of the built-in {one.what} {one.name}")
        if one.name in taken:
            other = taken[one.name].reference
            raise SettingsError(f"{one.what} {one.name}: is the name of both {other} and {one.reference}")
        taken[one.name] = one
