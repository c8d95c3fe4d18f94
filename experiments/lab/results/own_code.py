"""The code of methods, models and scenarios of the user's own: files, and the values they were made with.

Of a file its content counts, and that of every file of the user's own that it imports. A function also counts
with what it was made with: the variables of the function around it, the arguments of a `functools.partial`,
the constants that it takes from its module. In a notebook, which has no file, the text of the function
counts, and that of every function and class that it refers to.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from experiments.lab.options.declaring import Declared
from experiments.lab.results.own_files import file_of, files_of
from experiments.lab.results.sources import digest_of, is_own, text_of

PLAIN = (int, float, complex, str, bytes, bool, type(None), type(...))


def of_own(*declared: Declared) -> dict[str, str]:
    """The code of methods, models and scenarios of the user's own; nothing of those that are built in.

    Returns:
        Digests, by the names of files, of modules without one, and of what has values beside its file's.

    Raises:
        SettingsError: if a file is not what was imported from it.
    """
    found: dict[str, str] = {}
    for one in declared:
        for name, digest in _of_one(one).items():
            both = sorted({found.get(name, digest), digest})  # of two files of one name
            found[name] = both[0] if len(both) == 1 else digest_of("".join(both).encode())
    return found


def _of_one(declared: Declared) -> dict[str, str]:
    module = declared.defined_in
    if not module:
        return {}
    walk = _Walk()
    parts = b"".join(walk.parts(declared.make))
    files = files_of({module, *walk.modules})
    if file_of(module) is None:
        return {**files, module: digest_of(parts)}
    return {**files, f"values in {declared.name}": digest_of(parts)} if walk.has_values else files


class _Walk:
    """What a function is made of, from one object to the next.

    Attributes:
        modules: the names of the modules that were met on the way.
        has_values: whether a value was met, beside the code.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.has_values = False
        self._seen: dict[int, tuple[int, Any]] = {}  # the objects too, so that no other gets the same id

    def parts(self, value: Any) -> Iterator[bytes]:
        """Bytes that differ where the objects do."""
        if isinstance(value, PLAIN):
            self.has_values = True
            yield f"{value!r};".encode()
            return
        if id(value) in self._seen:
            yield f"#{self._seen[id(value)][0]};".encode()
            return
        self._seen[id(value)] = len(self._seen), value
        match value:
            case ModuleType():
                yield from self._named(value.__name__, value.__name__)
            case functools.partial():
                yield from self._all((value.func, value.args, value.keywords))
            case MethodType():
                yield from self._all((value.__func__, value.__self__))
            case FunctionType():
                yield from self._of_function(value)
            case type():
                yield from self._of_class(value)
            case BuiltinFunctionType():
                yield f"{value.__module__}.{value.__qualname__};".encode()
            case Declared():
                yield from self.parts(value.make)
            case _ if hasattr(value, "__wrapped__"):  # what jax.jit and the like make of a function
                yield from self.parts(value.__wrapped__)
            case _:
                yield from self._of_data(value)

    def _all(self, values: Iterable[Any]) -> Iterator[bytes]:
        for value in values:
            yield from self.parts(value)

    def _named(self, module: str, name: str) -> Iterator[bytes]:
        """Something by its name, in a module that counts with all its content."""
        if is_own(module):
            self.modules.add(module)
        yield f"{name};".encode()

    def _of_function(self, function: FunctionType) -> Iterator[bytes]:
        yield from self._named(function.__module__, function.__qualname__)
        if _is_of_a_notebook(function.__module__):
            yield text_of(function, function.__module__)
        yield from self._all(_contents(function))
        if not is_own(function.__module__):
            return
        for part in (function.__defaults__, function.__kwdefaults__):
            if part and _is_of_a_notebook(function.__module__):  # of a file they are in the content
                yield from self.parts(part)
        for name in _names_in(function.__code__):
            if name in function.__globals__:
                value = function.__globals__[name]
                yield f"{name}=".encode()
                yield from self.parts(value)

    def _of_class(self, kind: type) -> Iterator[bytes]:
        yield from self._named(kind.__module__, kind.__qualname__)
        if not is_own(kind.__module__):
            return
        if _is_of_a_notebook(kind.__module__):
            yield text_of(kind, kind.__module__)
        yield from self._all(kind.__bases__)
        for inner in vars(kind).values():
            if isinstance(inner, FunctionType) and inner.__module__ == kind.__module__:
                yield from self.parts(inner)

    def _of_data(self, value: Any) -> Iterator[bytes]:
        kind = type(value)
        yield from self.parts(kind)
        if isinstance(value, Mapping):
            for key in sorted(value, key=repr):
                yield from self.parts(key)
                yield from self.parts(value[key])
        elif isinstance(value, list | tuple):
            yield from self._all(value)
        elif isinstance(value, set | frozenset):
            yield from self._all(sorted(value, key=repr))
        elif isinstance(value, np.ndarray | np.generic) or kind.__module__.startswith("jax"):
            with suppress(Exception):  # what is no array of JAX has its name alone
                yield from self._of_array(np.asarray(value))
        elif is_dataclass(value):
            yield from self._all(getattr(value, one.name) for one in fields(value))
        elif is_own(kind.__module__):
            yield from self.parts(dict(getattr(value, "__dict__", {})))
        else:
            with suppress(Exception):  # of what cannot be pickled, the type
                yield pickle.dumps(value)
                self.has_values = True

    def _of_array(self, array: np.ndarray) -> Iterator[bytes]:
        if array.dtype != object:
            self.has_values = True
            yield f"{array.dtype}{array.shape};".encode() + np.ascontiguousarray(array).tobytes()


def _is_of_a_notebook(module: str) -> bool:
    return is_own(module) and file_of(module) is None


def _contents(function: FunctionType) -> Iterator[Any]:
    """What a function has of the function around it."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # it is empty where a function refers to itself before it is there
            yield cell.cell_contents


def _names_in(code: CodeType) -> list[str]:
    """The names that a function looks up, and those that functions in it do."""
    inside = (name for inner in code.co_consts if isinstance(inner, CodeType) for name in _names_in(inner))
    return sorted({*code.co_names, *inside})
