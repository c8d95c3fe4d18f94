"""The code that decides results, so that every run knows what made it.

Other code is any file of `cs_optax` or `experiments.lab` whose content differs, a comment included; of the
latter, only those that show, sum up or keep results are left out. Functions and classes that a program of the
user's own has put into these modules count as well. That of the user's own methods, models and scenarios is
told by `experiments.lab.results.own_code`.
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
from types import ModuleType
from typing import Any, NamedTuple

import cs_optax
import experiments.lab

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
        return Code(digest_of(repr(sorted(files.items())).encode()), files)


def current() -> Code:
    """The code of this process: as it was when this was first asked for, and what has been put in since."""
    files = {**_of_the_project(), "the version": cs_optax.__version__, **_put_in()}
    return Code(digest_of(repr(sorted(files.items())).encode()), files)


@functools.cache
def is_own(module: str) -> bool:
    """Whether a module is the user's own: neither of this project nor of a library."""
    ours = tuple(f"{package.__name__}." for package in PACKAGES)
    return not (f"{module}.".startswith(ours) or _of_a_library(module))


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
        name: digest_of(path.read_bytes().replace(b"\r\n", b"\n")) for name, path in deciding_files().items()
    }


def _put_in() -> dict[str, str]:
    """Functions and classes in the deciding modules that neither the project nor a library has defined.

    By what they say of themselves: one that `functools.wraps` has made counts as what it wraps.
    """
    found = {}
    for name in _of_the_project():
        module = sys.modules.get(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for value in _values(module):
            origin = getattr(value, "__module__", None)
            if isinstance(origin, str) and is_own(origin):
                label = f"{origin}.{getattr(value, '__qualname__', type(value).__qualname__)}"
                found[label] = digest_of(text_of(value, origin))
    return found


def _values(module: ModuleType | None) -> Iterator[Any]:
    """What a module holds, and what its own tables hold; ``__builtins__`` is Python's, in all modules."""
    for name, value in list(vars(module).items()) if module is not None else []:
        yield value
        if isinstance(value, dict) and name != "__builtins__" and "__builtins__" not in value:
            yield from list(value.values())


def _of_a_library(module: str) -> bool:
    if module.partition(".")[0] in {*sys.stdlib_module_names, *sys.builtin_module_names} - {"__main__"}:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def text_of(value: Any, module: str) -> bytes:
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


def digest_of(content: bytes) -> str:
    """The first digits of a SHA-256."""
    return hashlib.sha256(content).hexdigest()[:12]
