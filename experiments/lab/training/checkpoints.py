"""The state of a training that is under way, kept so that it can go on after anything.

A checkpoint is one file, ``<results-dir>/checkpoints/<stamp>.npz``, replaced as a whole. It holds every
array that the loop hands on, the iteration, all that has been recorded, and the seconds spent. Streams
and random numbers follow from the seeds and the iteration, so a training that goes on from it ends with
the same bits as one that was never stopped.
"""

from __future__ import annotations

import io
import json
import sys
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab.options.description import listed
from experiments.lab.results.runs import Seconds
from experiments.lab.results.stamps import code_of, run_stamp, without_code
from experiments.lab.results.store import CHECKPOINTS, current_environment
from experiments.lab.system.errors import flag
from experiments.lab.system.files import temporaries, write_atomically
from experiments.lab.system.npz import DAMAGE, NotArraysError, read_arrays


class Kept(NamedTuple):
    """What a checkpoint holds."""

    iteration: int
    carry: Any
    records: dict[str, np.ndarray]
    seconds: Seconds


class Checkpoints:
    """The checkpoint of one group of runs that train together.

    Args:
        results_dir: the folder of the results.
        stamp: names the group: all its runs, with all that decides their results.
        every: seconds between two checkpoints; 0 means at every log point.
        resume: whether to go on from one that is there.
        identities: those of its runs, in their order.
        at_the_end: whether to make one of a training that is done, for one that has to wait until its runs
            are kept.
        title: what the user is told that the training is.

    Attributes:
        path: of the file.
        resumed_at: the iteration that the training went on from; None where it began anew.
        seconds_before: those that the training had taken until then.
    """

    def __init__(
        self,
        results_dir: Path,
        stamp: str,
        every: float,
        resume: bool,
        identities: Sequence[Mapping[str, Any]] = (),
        at_the_end: bool = False,
        title: str = "a training",
    ) -> None:
        self.path = results_dir / CHECKPOINTS / f"{stamp}.npz"
        self._every, self._resume, self._identities = every, resume, list(identities)
        self.at_the_end, self._title = at_the_end, title
        self._last = time.monotonic()
        self._environment = current_environment()
        self.resumed_at: int | None = None
        self.seconds_before = Seconds(0.0, 0.0, 0.0)

    @property
    def due(self) -> bool:
        """Whether the last one is old enough to be replaced."""
        return time.monotonic() - self._last >= self._every

    def keep(
        self,
        iteration: int,
        carry: Any,
        records: Mapping[str, np.ndarray],
        seconds: Seconds,
    ) -> None:
        """Replace the checkpoint.

        Where it cannot be written, the one before stays, and a warning says so: that is no reason to stop.
        """
        about = {
            "iteration": iteration,
            "seconds": asdict(self.seconds_before + seconds),
            "environment": self._environment,
            "group": [run_stamp(identity) for identity in self._identities],
            "identities": self._identities,
            "files": code_of(self._identities[0] if self._identities else {}).files,
        }
        arrays = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(carry))}
        content = io.BytesIO()
        np.savez(content, about=json.dumps(about), **records, **arrays)  # type: ignore[arg-type]
        self._last = time.monotonic()
        try:
            write_atomically(self.path, content.getbuffer())
        except OSError as error:
            warnings.warn(
                f"{self.path}: no checkpoint at iteration {iteration}: {error.strerror}", stacklevel=2
            )

    def find(self, like: Any) -> Kept | None:
        """The checkpoint, if there is one and it is to be used.

        Warns where one is damaged or made with other software (whose rounding may differ), where one is
        there but not wanted, and where one is wanted but not there.

        Args:
            like: a tree with the structure, shapes and dtypes that its arrays must have.
        """
        if not self.path.exists():
            if self._resume:
                print(f"note: {self._title}: {self._why_none()}: starts from iteration 0", file=sys.stderr)
            return None
        if not self._resume:
            warnings.warn(
                f"{self.path}: an unfinished training is kept there, which --resume would continue; "
                "without it, this one starts over and replaces it",
                stacklevel=2,
            )
            return None
        try:
            kept, environment = self._read(like)
        except (NotArraysError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self.path} is damaged ({error}): that training starts over", stacklevel=2)
            return None
        if environment != self._environment:
            changed = [name for name, value in self._environment.items() if environment.get(name) != value]
            warnings.warn(
                f"{self.path} was made with another {', '.join(changed)}: resuming from it, "
                "but rounding may differ",
                stacklevel=2,
            )
        self.resumed_at, self.seconds_before = kept.iteration, kept.seconds
        print(f"{self._title}: resuming from iteration {kept.iteration}", file=sys.stderr)
        return kept

    def discard(self) -> None:
        """Remove it, and what a process that was killed while writing it has left: its runs are kept."""
        self.path.unlink(missing_ok=True)
        for unfinished in temporaries(self.path):
            unfinished.unlink(missing_ok=True)

    def _why_none(self) -> str:
        """What there is in the place of a checkpoint: the one that is most like it, of its method."""
        folder, others = self.path.parent, []
        for path, about in _all_checkpoints(folder):
            with suppress(KeyError, TypeError, AttributeError, IndexError):
                if self._identities and about["identities"][0]["method"] == self._identities[0]["method"]:
                    others.append((_differences(about, self._identities), path))
        if not others:
            return f"--resume finds no checkpoint of it in {folder}"
        differences, path = min(others, key=lambda other: len(other[0]))
        return f"--resume does not continue {path}, which is of a training with {listed(differences)}"

    def _read(self, like: Any) -> tuple[Kept, dict[str, Any]]:
        arrays = read_arrays(self.path)
        about = json.loads(str(arrays.pop("about")))
        leaves, structure = jax.tree.flatten(like)
        found = [arrays.pop(f"leaf_{i}") for i in range(len(leaves))]
        for leaf, array in zip(leaves, found, strict=True):
            if (leaf.shape, leaf.dtype) != (array.shape, array.dtype):
                raise ValueError(f"holds an array {array.shape}, where {leaf.shape} is needed")
        carry = jax.tree.unflatten(structure, found)
        seconds = Seconds(**about["seconds"])
        return Kept(about["iteration"], carry, arrays, seconds), about["environment"]


def interrupted_groups(
    results_dir: Path, missing: Collection[str], wanted: Collection[str]
) -> list[list[str]]:
    """The groups of stopped trainings that would make runs that are missing, and no unwanted ones.

    Args:
        results_dir: the folder of the results.
        missing: stamps of the runs that are missing.
        wanted: stamps of all runs that are asked for.

    Returns:
        The stamps of the runs of each, in their order; no run is in two of them, and of two that share one it
        is the training that was further.
    """
    found = []
    for _, about in _all_checkpoints(results_dir / CHECKPOINTS):
        with suppress(KeyError, TypeError):  # whatever it is, it is none of ours
            found.append((about["iteration"], about["group"]))
    groups: list[list[str]] = []
    for _, group in sorted(found, key=lambda one: -one[0]):
        taken = {stamp for other in groups for stamp in other}
        if set(group) & set(missing) and set(group) <= set(wanted) and not set(group) & taken:
            groups.append(group)
    return groups


def _all_checkpoints(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Those in a folder that can be read, each with what it says about itself."""
    for path in sorted(folder.glob("*.npz")):
        with (
            suppress(OSError, KeyError, TypeError, AttributeError, IndexError, *DAMAGE),
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            yield path, json.loads(str(archive["about"]))


def _differences(about: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a checkpoint has that a training with these identities has not, as the user knows it."""
    kept = about["identities"]
    first, ours = without_code(kept[0]), without_code(wanted[0])
    there, here = first.pop("settings"), ours.pop("settings")
    seeds = [sorted({one["seed"] for one in group}) for group in (kept, wanted)]
    found = [f"seeds {', '.join(map(str, seeds[0]))}"] if seeds[0] != seeds[1] else []
    found += [f"{flag(name)} {there[name]}" for name in there if there[name] != here.get(name)]
    found += [f"another {name}" for name in first if name != "seed" and first[name] != ours.get(name)]
    if kept[0]["code"] != wanted[0]["code"]:
        found.append(f"other code ({listed(code_of(wanted[0]).changed(about['files']))})")
    return found or ["other configurations"]
