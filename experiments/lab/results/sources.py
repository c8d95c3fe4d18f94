"""The code that decides results, so that every run knows what made it.

Other code is any file of `cs_optax` or `experiments.lab` whose content differs, a comment included; of the
latter, only those that show, sum up or keep results are left out. Functions and classes that a program of the
user's own has put into these modules count as well. For a method or a model of the user's own its file
counts, and every file that it imports from which belongs to no library.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import marshal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import cs_optax
import experiments.lab
from experiments.lab.options.declaring import Declared

# What decides no result, of experiments/lab. Data and streams of tasks have checksums of their own in a run's
# identity, and the layout of its file has FORMAT. All other files count, so that none is forgotten.
WITHOUT_EFFECT = {
    "command",
    "data/canonical.py",
    "data/idx.py",
    "data/own.py",
    "data/tfds.py",
    "figures",
    "live",
    "options/description.py",
    "options/measure.py",
    "options/search.py",
    "results",
    "system",
    "training/groups.py",
    "training/jobs.py",
    "training/progress.py",
}
PACKAGES: tuple[ModuleType, ...] = (cs_optax, experiments.lab)


class Code(NamedTuple):
    """The code that decides results.

    Attributes:
        digest: of all of it.
        files: the digest of each file, by its name, and the version of `cs_optax`.
    """

    digest: str
    files: dict[str, str]

    def changed(self, files: Mapping[str, str]) -> list[str]:
        """The names of the files that are not the same in another code, or not in both."""
        return sorted(name for name in {*self.files, *files} if self.files.get(name) != files.get(name))

    def beside(self, own: Mapping[str, str]) -> Code:
        """This code together with files of the user's own."""
        if not own:
            return self
        files = {**self.files, **own}
        return Code(_digest(repr(sorted(files.items())).encode()), files)


def current() -> Code:
    """The code of this process: as it was when this was first asked for, and what has been put in since."""
    files = {**_of_the_project(), "the version": cs_optax.__version__, **_put_in()}
    return Code(_digest(repr(sorted(files.items())).encode()), files)


def of_own(declared: Declared) -> dict[str, str]:
    """The code of a method or model of the user's own: each file's digest; empty for what is built in."""
    module = declared.defined_in
    if not module:
        return {}
    if getattr(sys.modules.get(module), "__file__", None):
        return _own_files(module)
    return {module: _digest(b"".join(_own_parts(declared.make)))}  # a notebook, in which cells may change


@functools.cache
def _own_files(module: str) -> dict[str, str]:
    """The file of a module, and those of modules of the user's own that it takes something from."""
    found: dict[str, str] = {}
    names, seen = [module], {module}
    while names:
        here = sys.modules[names.pop()]
        file = getattr(here, "__file__", None)
        if file is None:
            continue
        label, digest = Path(file).name, _digest(Path(file).read_bytes().replace(b"\r\n", b"\n"))
        found[label] = digest if label not in found else _digest((found[label] + digest).encode())
        for value in list(vars(here).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(name, str) and name in sys.modules and name not in seen and not _known(name):
                seen.add(name)
                names.append(name)
    return dict(sorted(found.items()))


def _own_parts(function: Any) -> Iterator[bytes]:
    """The text of a function or class without a file, and of what it refers to in its module."""
    waiting, seen = [function], {id(function)}
    while waiting:
        value = waiting.pop()
        yield _source(value, value.__module__)
        for inner in _functions_of(value):
            yield _source(inner, inner.__module__)
            for name in _names_in(inner.__code__):
                other = inner.__globals__.get(name)
                if isinstance(other, int | float | str | bool):
                    yield f"{name}={other!r}".encode()
                elif getattr(other, "__module__", None) == value.__module__ and id(other) not in seen:
                    seen.add(id(other))
                    waiting.append(other)


def _functions_of(value: Any) -> list[FunctionType]:
    """A function; of a class its own, and those of the classes in its module that it inherits from."""
    if not isinstance(value, type):
        return [value] if isinstance(value, FunctionType) else []
    kinds = [kind for kind in value.__mro__ if kind.__module__ == value.__module__]
    return [inner for kind in kinds for inner in vars(kind).values() if isinstance(inner, FunctionType)]


def _names_in(code: CodeType) -> list[str]:
    """The names that a function looks up, and those that functions in it do."""
    inside = (name for inner in code.co_consts if isinstance(inner, CodeType) for name in _names_in(inner))
    return sorted({*code.co_names, *inside})


def _known(module: str) -> bool:
    """Whether a module is of this project, or of a library."""
    ours = tuple(f"{package.__name__}." for package in PACKAGES)
    return f"{module}.".startswith(ours) or _of_a_library(module)


@functools.cache
def commit() -> str | None:
    """The commit that the project's folder is at, with ``-dirty`` where files differ; None if it has none."""
    folder = Path(experiments.lab.__file__).parent
    try:
        _git(
            folder, "ls-files", "--error-unmatch", "results/sources.py"
        )  # not that of a project around this one
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def deciding_files() -> dict[str, Path]:
    """The files whose content decides results, by their names from the folder that holds the packages."""
    found = {}
    for package in PACKAGES:
        folder = Path(str(package.__file__)).parent
        for path in folder.rglob("*.py"):
            inside = path.relative_to(folder)
            if package is cs_optax or WITHOUT_EFFECT.isdisjoint({inside.parts[0], inside.as_posix()}):
                found["/".join((*package.__name__.split("."), *inside.parts))] = path
    return found


@functools.cache
def _of_the_project() -> dict[str, str]:
    # A line's end may be another one in another checkout.
    return {
        name: _digest(path.read_bytes().replace(b"\r\n", b"\n")) for name, path in deciding_files().items()
    }


def _put_in() -> dict[str, str]:
    """Functions and classes in the deciding modules that neither the project nor a library has defined.

    By what they say of themselves: one that `functools.wraps` has made counts as what it wraps.
    """
    found = {}
    for name in deciding_files():
        module = sys.modules.get(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for value in _values(module):
            origin = getattr(value, "__module__", None)
            if isinstance(origin, str) and not _known(origin):
                label = f"{origin}.{getattr(value, '__qualname__', type(value).__qualname__)}"
                found[label] = _digest(_source(value, origin))
    return found


def _values(module: ModuleType | None) -> Iterator[Any]:
    """What a module holds, and what its own tables hold."""
    for value in list(vars(module).values()) if module is not None else []:
        yield value
        if isinstance(value, dict) and "__builtins__" not in value:
            yield from list(value.values())


@functools.cache
def _of_a_library(module: str) -> bool:
    if module.partition(".")[0] in {*sys.stdlib_module_names, *sys.builtin_module_names} - {"__main__"}:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _source(value: Any, module: str) -> bytes:
    """The file that defines it, which may hold more that it needs; without a file, its own text or code."""
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return Path(file).read_bytes() if file else inspect.getsource(value).encode()
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return marshal.dumps(code) if code is not None else str(value).encode()


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
