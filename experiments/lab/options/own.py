"""Methods of the user's own beside the built-in ones, and the settings that they bring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, make_dataclass, replace
from functools import cache

from experiments.lab.options.declaration import Declaration, first_line
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.options.settings import Settings
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError, flag


def find_method(reference: str) -> Declaration:
    """The method that ``module:function`` names: a declaration, or a function of the settings.

    Raises:
        SettingsError: one line that names it, and what is wrong with it.
    """
    try:
        module, found = modules.load(reference)
    except (modules.NotThereError, SettingsError) as error:
        raise SettingsError(f"method {reference}: {error}") from error
    except Exception as error:
        where = reference.rpartition(":")[0]
        raise SettingsError(
            f"method {reference}: {where} cannot be imported: {modules.told(error)}"
        ) from error
    if isinstance(found, Declaration):
        return replace(found, reference=reference, module=module.__name__)
    if not callable(found):
        raise SettingsError(f"method {reference}: must be a function of the settings, not {found!r}")
    try:
        return Declaration(
            name=getattr(found, "__name__", reference.rpartition(":")[2]),
            make=found,
            summary=first_line(found),
            reference=reference,
            module=module.__name__,
        )
    except SettingsError as error:
        raise SettingsError(f"method {reference}: {error}") from error


@cache
def settings_with(own: tuple[Declaration, ...]) -> type[Settings]:
    """The settings, with these methods known beside the built-in ones, and with their own settings.

    Raises:
        SettingsError: if a name is taken; it names both that have it.
    """
    if not own:
        return Settings
    _check_names_of_methods(own)
    owner: dict[str, Declaration] = {}
    for one in own:
        for name in one.own:
            if hasattr(Settings, name):
                raise SettingsError(f"method {one.name}: its setting {name} has the name of {flag(name)}")
            if name in owner:
                raise SettingsError(f"method {one.name}: its setting {name} is one of {owner[name].name} too")
            owner[name] = one
    known = {one.name for one in fields(Settings)} | owner.keys()
    for one in own:
        for name in (*one.uses, *one.ignores, *one.fixed):
            if name not in known:
                raise SettingsError(f"method {one.name}: names {name}, but there is no such setting")
    bases = dict.fromkeys(one.settings for one in own if one.settings)
    methods = {**Settings.methods, **{one.name: one for one in own}}
    return make_dataclass(
        "Settings", [], bases=(*bases, Settings), frozen=True, namespace={"methods": methods}
    )


def _check_names_of_methods(own: Sequence[Declaration]) -> None:
    taken: dict[str, Declaration] = {}
    for one in own:
        if one.name in BUILT_IN:
            raise SettingsError(f"method {one.reference}: has the name of the built-in method {one.name}")
        if one.name in taken:
            other = taken[one.name].reference
            raise SettingsError(f"method {one.name}: is the name of both {other} and {one.reference}")
        taken[one.name] = one
