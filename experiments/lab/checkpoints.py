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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.lab._npz import DAMAGE, NotArraysError, read_arrays
from experiments.lab.results import CHECKPOINTS, Seconds, current_environment, temporaries, write_atomically


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
        group: the stamps of its runs, in their order.
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
        group: Sequence[str] = (),
        at_the_end: bool = False,
        title: str = "a training",
    ) -> None:
        self.path = results_dir / CHECKPOINTS / f"{stamp}.npz"
        self._every, self._resume, self._group = every, resume, list(group)
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
            "group": self._group,
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

        Warns where one is damaged or made with other software (whose rounding may differ), and where one is
        there but not wanted.

        Args:
            like: a tree with the structure, shapes and dtypes that its arrays must have.
        """
        if not self.path.exists():
            return None
        if not self._resume:
            warnings.warn(
                f"{self.path}: an unfinished training is kept there; --resume would go on with it, "
                "without it this one starts anew and takes its place",
                stacklevel=2,
            )
            return None
        try:
            kept, environment = self._read(like)
        except (NotArraysError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self.path} is damaged ({error}): that training starts anew", stacklevel=2)
            return None
        if environment != self._environment:
            changed = [name for name, value in self._environment.items() if environment.get(name) != value]
            warnings.warn(
                f"{self.path} was made with another {', '.join(changed)}: going on from it, "
                "with rounding that may differ",
                stacklevel=2,
            )
        self.resumed_at, self.seconds_before = kept.iteration, kept.seconds
        print(f"{self._title}: going on from iteration {kept.iteration}", file=sys.stderr)
        return kept

    def discard(self) -> None:
        """Remove it, and what a process that was killed while writing it has left: its runs are kept."""
        self.path.unlink(missing_ok=True)
        for unfinished in temporaries(self.path):
            unfinished.unlink(missing_ok=True)

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
    for path in sorted((results_dir / CHECKPOINTS).glob("*.npz")):
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                found.append((about["iteration"], about["group"]))
        except (OSError, KeyError, TypeError, AttributeError, IndexError, *DAMAGE):
            continue  # whatever it is, it is none of ours
    groups: list[list[str]] = []
    for _, group in sorted(found, key=lambda one: -one[0]):
        taken = {stamp for other in groups for stamp in other}
        if set(group) & set(missing) and set(group) <= set(wanted) and not set(group) & taken:
            groups.append(group)
    return groups
