"""Functions of the user's own, named ``module:function``; the module is a dotted name, or a file.py.

A file is run as it is read, never from Python's cache of compiled files, and again when its content has
changed. What lies beside it can be imported by it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.lab.system.errors import meant

LAB = Path(__file__).parent.parent


class NotThereError(ValueError):
    """There is no such function; the message says what is missing, or must be."""


def is_reference(text: str) -> bool:
    """Whether a word is to name a function of the user's own.

    >>> is_reference("rules.py:mine"), is_reference("cs")
    (True, False)
    """
    return ":" in text.strip(":")


def load(reference: str) -> tuple[ModuleType, Any]:
    """Import a module and look a name up in it.

    Args:
        reference: ``module:function`` or ``folder/file.py:function``.

    Returns:
        The module, and what it holds under that name.

    Raises:
        NotThereError: if there is no such module, file or name.
        Exception: whatever the module itself raises.
    """
    where, _, name = reference.rpartition(":")
    if where.endswith(".py") and name.isidentifier():
        module = _from_file(Path(where).expanduser())
    elif all(part.isidentifier() for part in (*where.split("."), name)):
        module = _by_name(where)
    else:
        raise NotThereError("must be module:function")
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise NotThereError(f"{where} has no function or class {name}{meant(name, functions)}")
    return module, getattr(module, name)


def told(error: BaseException) -> str:
    """An error in one line: what it is and, as far as known, in which line of the user's own files."""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    not_own = (str(LAB), *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")), "<")
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if not frame.filename.startswith(not_own)]
    return f"{what} ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else what


def _by_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise NotThereError(f"there is no module {name}") from error


def _from_file(path: Path) -> ModuleType:
    try:
        path = path.resolve()
        content = path.read_bytes()
    except OSError as error:
        raise NotThereError(f"{path} cannot be read: {error.strerror}") from error
    name = f"{path.stem}-{hashlib.sha256(str(path).encode() + content).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module  # which dataclasses look up while it runs
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
