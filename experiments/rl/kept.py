"""Groups of agents that train together, kept when they are finished, and found again."""

import errno
import hashlib
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import cs_optax
from experiments.lab.results.store import current_environment
from experiments.lab.system.files import write_json
from experiments.rl.settings import Settings

FOLDER = "runs"
# Of this folder, what decides results; the same is true of all of cs_optax.
DECIDING = (
    "acting",
    "alternation",
    "dqn",
    "learner",
    "methods",
    "network",
    "pqn",
    "replay",
    "settings",
    "tasks",
)


@dataclass(frozen=True, eq=False)
class Group:
    """Agents that differ in their seed alone.

    Attributes:
        method: the name of one of `METHODS`.
        settings: what they share.
        numbers: the learning rate, and the method's own.
        seeds: one of each agent.
    """

    method: str
    settings: Settings
    numbers: dict[str, float]
    seeds: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Kept:
    """What a group gave.

    Attributes:
        scores: see `alternation.Record`.
        trained: likewise.
        losses: likewise.
        seconds: that the training took, its compilation included.
    """

    scores: np.ndarray
    trained: np.ndarray
    losses: np.ndarray
    seconds: float


@dataclass(eq=False)
class Store:
    """Where groups are kept, and what was taken from there.

    Attributes:
        folder: of the results.
        accept_other_code: whether a group that other code trained is taken where there is no other.
        noted: whether the user was told that other code trained groups that are not taken.
        trained: number of groups that were trained now.
        found: number of groups that were trained before, by the digest of the code that trained them.
        seconds: that all of these took to train.
    """

    folder: Path
    accept_other_code: bool = False
    noted: bool = False
    trained: int = 0
    found: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def of_other_code(self) -> dict[str, int]:
        """The groups that other code trained, by its digest."""
        return {digest: n for digest, n in self.found.items() if digest != code()}


def identity(group: Group) -> dict[str, Any]:
    """Everything that decides the result of a group, but for rounding."""
    return {
        "code": code(),
        "method": group.method,
        "settings": asdict(group.settings) | {"hidden": list(group.settings.hidden)},
        "numbers": group.numbers,
        "seeds": list(group.seeds),
    }


def path_of(folder: Path, group: Group) -> Path:
    """Where a group is kept."""
    canonical = json.dumps(identity(group), sort_keys=True)
    return folder / FOLDER / f"{_name(group)}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}.json"


def find(folder: Path, group: Group) -> Kept | None:
    """A group that was trained before; None where there is none, or (with a warning) none that is whole."""
    path = path_of(folder, group)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["identity"] != identity(group):
            raise ValueError
        return _read(record, group)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        warnings.warn(f"{path} is damaged: these agents are trained again", stacklevel=2)
        return None


def find_other_code(folder: Path, group: Group) -> tuple[Kept, str] | None:
    """The group as other code trained it, the last one to be kept, and the digest of that code."""
    wanted, found = _without_code(identity(group)), []
    for path in (folder / FOLDER).glob(f"{_name(group)}-*.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if _without_code(record["identity"]) == wanted:
                found.append((path.stat().st_mtime, record["identity"]["code"], _read(record, group)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # not whole, and so not there
    if not found:
        return None
    _, digest, kept = max(found, key=lambda one: one[0])
    return kept, digest


def _name(group: Group) -> str:
    return f"{group.settings.agent}-{group.method}-s{group.seeds[0]}to{group.seeds[-1]}"


def _without_code(of_group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in of_group.items() if name != "code"}


def _read(record: Mapping[str, Any], group: Group) -> Kept:
    arrays = [np.array(record[name], dtype=float) for name in ("scores", "trained", "losses")]
    if arrays[0].shape != (len(group.seeds), group.settings.phases * group.settings.looks, 2):
        raise ValueError
    return Kept(arrays[0], arrays[1], arrays[2], float(record["seconds"]))


def keep(folder: Path, group: Group, kept: Kept) -> None:
    """Write a group, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    digits = {"scores": 4, "trained": 4, "losses": 7}
    arrays = {name: np.round(getattr(kept, name).astype(float), n) for name, n in digits.items()}
    record = {"identity": identity(group), "environment": current_environment(), "seconds": kept.seconds}
    write_json(path_of(folder, group), record | arrays)


def train_and_keep(store: Store, groups: Sequence[Group], progress: Any) -> list[Kept]:
    """Train groups that differ in their numbers alone, several in one program; what is there is found again.

    Args:
        store: where they are kept.
        groups: with the same method, settings and seeds.
        progress: called after each phase.
    """
    there = [_found(store, group) for group in groups]
    missing = [group for group, kept in zip(groups, there, strict=True) if kept is None]
    if missing:
        _train(store.folder, missing, progress)
        store.trained += len(missing)
    # Read back, so that what was kept is what is reported.
    all_ = [kept or _again(store.folder, group) for group, kept in zip(groups, there, strict=True)]
    store.seconds += sum(kept.seconds for kept in all_)
    return all_


def _found(store: Store, group: Group) -> Kept | None:
    kept = find(store.folder, group)
    if kept is not None:
        store.found[code()] += 1
        return kept
    other = find_other_code(store.folder, group)
    if other is None:
        return None
    kept, digest = other
    if store.accept_other_code:
        store.found[digest] += 1
        return kept
    if not store.noted:
        where = f"{store.folder / FOLDER} has groups that other code trained (digest {digest}, now {code()})"
        what = "they are trained again; --accept-other-code would take what is there"
        print(f"note: {where}: {what}", file=sys.stderr)
        store.noted = True
    return None


def _train(folder: Path, missing: Sequence[Group], progress: Any) -> None:
    from experiments.lab.options.pinned import pinned
    from experiments.rl.alternation import train

    first, alone = missing[0], len(missing) == 1
    numbers = {
        name: first.numbers[name] if alone else np.array([group.numbers[name] for group in missing])
        for name in first.numbers
    }
    began = time.perf_counter()
    with pinned():
        record = train(first.method, first.settings, numbers, first.seeds, progress)
    seconds = (time.perf_counter() - began) / len(missing)
    for place, group in enumerate(missing):
        scores, trained, losses = (part if alone else part[place] for part in record)
        keep(folder, group, Kept(scores, trained, losses, seconds))


def _again(folder: Path, group: Group) -> Kept:
    kept = find(folder, group)
    if kept is None:
        raise OSError(errno.ENOENT, "was there a moment ago", str(path_of(folder, group)))
    return kept


@cache
def code() -> str:
    """A digest of the files that decide results."""
    return digest_beside_library(Path(__file__).with_name(f"{name}.py") for name in DECIDING)


def digest_beside_library(paths: Iterable[Path]) -> str:
    """A digest of all files of cs_optax and of these."""
    library = sorted(Path(str(cs_optax.__file__)).parent.glob("*.py"))
    total = hashlib.sha256()
    for path in (*library, *paths):
        total.update(path.name.encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()[:12]
