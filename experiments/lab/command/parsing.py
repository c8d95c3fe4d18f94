"""From a command line to options."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.lab.command.guard import fail
from experiments.lab.command.options import CommonOptions
from experiments.lab.command.own_methods import by_name, with_own
from experiments.lab.command.timescales import check_timescales
from experiments.lab.system.errors import SettingsError, flag
from experiments.lab.system.numbers import whole_number
from experiments.lab.system.standard_streams import lasting_streams, readable_columns
from experiments.lab.system.terminal import suit_the_terminal

Options = TypeVar("Options")

_READERS = tyro.constructors.ConstructorRegistry()


@_READERS.primitive_rule
def _whole_numbers(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> "tyro.constructors.PrimitiveConstructorSpec[int] | None":
    """All flags for integers take what is a whole number however it is written, such as 1e3."""
    if info.type is not int:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def parse(kind: type[Options], module: str, arguments: Sequence[str] | None) -> tuple[Options, str]:
    """Read the command line; a mistake in it ends the program with status 2.

    Returns:
        The options, and the command to type to have the same again.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    by_script = Path(sys.argv[0]).stem == "cs-optax"  # see cs_optax/__main__.py
    program = module.replace("experiments.", "cs-optax ") if by_script else f"python -m {module}"
    with lasting_streams() as streams, readable_columns():
        suit_the_terminal()
        try:
            kind = with_own(kind, given)
        except SettingsError as error:
            sys.exit(fail(f"error: {error}", status=2))
        try:
            options = tyro.cli(
                kind,
                prog=program,
                args=given,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
                registry=_READERS,
            )
        except SystemExit as stop:  # after the help too
            raise SystemExit(streams.status(int(stop.code or 0))) from None
    try:
        options = expanded(by_name(options))
        if isinstance(options, CommonOptions):
            check_timescales(options, _named(given))
    except SettingsError as error:
        sys.exit(fail(f"error: {error}", status=2))
    return options, f"{program} {shlex.join(given)}".rstrip()


def _named(given: Sequence[str]) -> set[str]:
    """The names of the fields that these words give a value to."""
    flags = (word.partition("=")[0] for word in given if word.startswith("--"))
    return {one[2:].replace("-", "_") for one in flags}


def expanded(value: Any, name: str = "") -> Any:
    """Options with the tilde of all paths replaced: in --results-dir=~/results the shell leaves it.

    Args:
        value: the options, or one of them.
        name: of the field that it is the value of.

    Raises:
        SettingsError: if there is no such home.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{one.name: expanded(getattr(value, one.name), one.name) for one in fields(value)}
        )
    if isinstance(value, tuple):
        return tuple(expanded(one, name) for one in value)
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError as error:
        raise SettingsError(f"{flag(name)} {value}: the home folder {value.parts[0]} is not known") from error
