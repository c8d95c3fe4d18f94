"""Groups of agents that train together, kept when they are finished, and found again."""

import errno
import hashlib
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
        found_again: whether it was made before.
    """

    scores: np.ndarray
    trained: np.ndarray
    losses: np.ndarray
    seconds: float
    found_again: bool = False


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
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
    name = f"{group.settings.agent}-{group.method}-s{group.seeds[0]}to{group.seeds[-1]}-{digest}.json"
    return folder / FOLDER / name


def find(folder: Path, group: Group) -> Kept | None:
    """A group that was made before; None where there is none, or (with a warning) none that is whole."""
    path = path_of(folder, group)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["identity"] != identity(group):
            raise ValueError
        arrays = [np.array(record[name], dtype=float) for name in ("scores", "trained", "losses")]
        if arrays[0].shape != (len(group.seeds), group.settings.phases * group.settings.looks, 2):
            raise ValueError
        return Kept(arrays[0], arrays[1], arrays[2], float(record["seconds"]), found_again=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        warnings.warn(f"{path} is damaged: these agents are trained again", stacklevel=2)
        return None


def keep(folder: Path, group: Group, kept: Kept) -> None:
    """Write a group, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    digits = {"scores": 4, "trained": 4, "losses": 7}
    arrays = {name: np.round(getattr(kept, name).astype(float), n) for name, n in digits.items()}
    record = {"identity": identity(group), "environment": current_environment(), "seconds": kept.seconds}
    write_json(path_of(folder, group), record | arrays)


def train_and_keep(folder: Path, groups: Sequence[Group], progress: Any) -> list[Kept]:
    """Train groups that differ in their numbers alone, several in one program; what is there is found again.

    Args:
        folder: of the results.
        groups: with the same method, settings and seeds.
        progress: called after each phase.
    """
    from experiments.lab.options.pinned import pinned
    from experiments.rl.alternation import train

    there = [find(folder, group) for group in groups]
    missing = [group for group, kept in zip(groups, there, strict=True) if kept is None]
    if missing:
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
    # Read back, so that what was kept is what is reported.
    return [
        kept if kept is not None else replace(_again(folder, group), found_again=False)
        for group, kept in zip(groups, there, strict=True)
    ]


def _again(folder: Path, group: Group) -> Kept:
    kept = find(folder, group)
    if kept is None:
        raise OSError(errno.ENOENT, "was there a moment ago", str(path_of(folder, group)))
    return kept


@cache
def code() -> str:
    """A digest of the files that decide results."""
    library = sorted(Path(str(cs_optax.__file__)).parent.glob("*.py"))
    own = [Path(__file__).with_name(f"{name}.py") for name in DECIDING]
    total = hashlib.sha256()
    for path in (*library, *own):
        total.update(path.name.encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return total.hexdigest()[:12]
