"""The files of the user's own that a module is made of: its own, and those that it imports.

An import counts wherever in the file it stands, also where it has not been reached yet. What counts is the
content that was imported: a file may have been edited since.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from experiments.lab.results.sources import digest_of, is_own
from experiments.lab.system.errors import SettingsError


def file_of(module: str) -> Path | None:
    """The file of a module, whether it is imported or only could be; None where there is none."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    return _importable(module, tuple(sys.path))


@functools.lru_cache(maxsize=4096)
def _importable(module: str, _folders: tuple[str, ...]) -> Path | None:
    """The file that an import would find, without importing the packages on the way."""
    where, name, spec = None, "", None
    for part in module.split("."):
        if name and where is None:  # no package, so it holds no modules; None would search all folders
            return None
        name = f"{name}.{part}" if name else part
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, where)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        where = spec.submodule_search_locations
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


_CHECKED: set[tuple[Path, str]] = set()  # files whose neighbours are those that they get


def files_of(modules: set[str]) -> dict[str, str]:
    """Digests of the files of these modules, and of the user's own that they import, by the files' names."""
    found: dict[Path, str] = {}
    waiting, seen = sorted(modules), set(modules)
    while waiting:
        name = waiting.pop(0)
        file = file_of(name)
        if file is None or file in found:
            continue
        content, package = _content(file), _package_of(name)
        found[file] = _as_imported(name, content)
        others = {*content.imports(package), *_modules_of_values(name)}
        if not package and (file, content.digest) not in _CHECKED:
            _check_neighbours(file, others)
            _CHECKED.add((file, content.digest))
        for other in sorted(others - seen):
            seen.add(other)
            if not _is_foreign(other):
                waiting.append(other)
    by_name: dict[str, list[str]] = {}
    for file, digest in found.items():
        by_name.setdefault(file.name, []).append(digest)
    return {
        name: digests[0] if len(digests) == 1 else digest_of("".join(sorted(digests)).encode())
        for name, digests in sorted(by_name.items())
    }


def _check_neighbours(file: Path, imported: set[str]) -> None:
    """What lies beside a file and is imported by it must be what it gets.

    Raises:
        SettingsError: if another module of that name was there first.
    """
    for name in sorted(imported - sys.stdlib_module_names):
        beside = [file.parent / f"{name}.py", file.parent / name / "__init__.py"]
        there = file_of(name)
        meant = next((path for path in beside if path.exists()), None)
        if meant is not None and there is not None and there.resolve() != meant.resolve():
            raise SettingsError(
                f"{file}: imports {name}, which is {there}, not {meant}: one of them must have another name"
            )


def _is_foreign(module: str) -> bool:
    """Whether a module that is imported is no code of the user's own."""
    if module.partition(".")[0] == "experiments":  # its commands
        return True
    file = file_of(module)
    installed = file is None or not {"site-packages", "dist-packages"}.isdisjoint(file.parts)
    return installed or not is_own(module)


def _modules_of_values(module: str) -> Iterator[str]:
    """The modules that the things in a module come from, which it may have imported by other means."""
    for value in list(vars(sys.modules[module]).values()) if module in sys.modules else []:
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(name, str) and name in sys.modules:
            yield name


def _package_of(module: str) -> str:
    imported = sys.modules.get(module)
    return (getattr(imported, "__package__", None) if imported else module.rpartition(".")[0]) or ""


class _Content(NamedTuple):
    """A file of Python as it is on the disk now.

    Attributes:
        digest: of its text.
        imported: of each import in it the number of dots, the module and a name.
        codes: what can be told of each function in it; None where it is no Python.
    """

    path: Path
    digest: str
    imported: frozenset[tuple[int, str, str]]
    codes: frozenset[Any] | None

    def imports(self, package: str) -> Iterator[str]:
        """The names of all that may be a module that it imports."""
        for dots, module, name in self.imported:
            absolute = module
            if dots:
                try:
                    absolute = importlib.util.resolve_name("." * dots + module, package)
                except ImportError:
                    continue
            parts = absolute.split(".")
            yield from (".".join(parts[: n + 1]) for n in range(len(parts)))
            if name not in ("", "*"):
                yield f"{absolute}.{name}"


def _content(file: Path) -> _Content:
    state = file.stat()
    return _read(file, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=1024)
def _read(file: Path, _modified: int, _size: int) -> _Content:
    """The content of a file, read once for as long as it is the same."""
    content = file.read_bytes()
    digest = digest_of(content.replace(b"\r\n", b"\n"))
    try:
        tree = ast.parse(content)
        codes = frozenset(_codes(compile(content, str(file), "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return _Content(file, digest, frozenset(), None)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.level, node.module or "", alias.name) for alias in node.names}
    return _Content(file, digest, frozenset(found), codes)


class _Imported(NamedTuple):
    """What a module held, and the digest of its file, when that was first asked for after its import."""

    digest: str
    values: dict[str, Any]


_IMPORTED: dict[str, _Imported] = {}


def _as_imported(module: str, content: _Content) -> str:
    """The digest of a module's file as it was imported, perhaps again: not what has become of it since.

    Raises:
        SettingsError: if it was changed before this could know what was imported.
    """
    imported = sys.modules.get(module)
    if imported is None:
        return content.digest
    before, now = _IMPORTED.get(module), dict(vars(imported))
    if before is not None and before.digest == content.digest:
        return content.digest
    again = f"importlib.reload({module}) or a restart takes the change"
    if before is not None and all(now.get(name) is value for name, value in before.values.items()):
        warnings.warn(
            f"{content.path} was changed after it was imported, and its old code is used: {again}",
            stacklevel=2,
        )
        return before.digest
    if not _is_as_on_disk(imported, content):
        raise SettingsError(f"{content.path} was changed after it was imported: {again}")
    _IMPORTED[module] = _Imported(content.digest, now)
    return content.digest


def _is_as_on_disk(imported: ModuleType, content: _Content) -> bool:
    """Whether the functions of a module are those of its file; as far as it can be told."""
    spec = getattr(imported, "__spec__", None)
    if spec is None or type(spec.loader) is not importlib.machinery.SourceFileLoader:
        return True  # a script, or what another loader, that of pytest say, has made of the file
    held = list(vars(imported).values())
    held += [inner for kind in held if inspect.isclass(kind) for inner in vars(kind).values()]
    here = [one for one in held if isinstance(one, FunctionType) and one.__module__ == imported.__name__]
    codes = {_key(one.__code__) for one in here if one.__code__.co_filename == imported.__file__}
    return content.codes is not None and codes <= content.codes


def _codes(code: CodeType) -> Iterator[Any]:
    yield _key(code)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _key(code: CodeType) -> Any:
    """What tells functions of one file apart."""
    constants = tuple(_of_constant(one) for one in code.co_consts)
    return code.co_qualname, code.co_firstlineno, code.co_code, code.co_names, constants


def _of_constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _key(value)
    told = tuple(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
    return type(value).__name__, told
