"""Data of one's own: arrays from an .npz file, or from a Python function.

Either gives arrays by these names: ``x`` [n, …] and ``y`` [n], integers from 0, the samples and their
labels; ``task`` [n], integers from 0, if each sample is to name its task (its label is then one within that
task); and ``x_test``, ``y_test``, ``task_test`` for testing. Without those, every fifth sample of each class
(of each task) is for testing. ``x_train`` is another name for ``x``, and so on. Samples may have any shape;
uint8 means 0 … 255 and becomes 0 … 1, and so do whole numbers from 0 to 255 in another type. Other numbers
are used as they are, in float32. Labels and tasks may be whole numbers of any type, a column, or one-hot.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab.data.dataset import DataError, Dataset, every_nth
from experiments.lab.system import modules
from experiments.lab.system.digests import digest_of_arrays
from experiments.lab.system.npz import NotArraysError, as_integers, read_arrays
from experiments.lab.system.processes import note

Refuse = Callable[[str], DataError]

TESTED = 5  # every fifth sample of a kind, where none are named for testing
NAMES = ("x", "y", "task", "x_test", "y_test", "task_test")
LARGE = 16.0  # of inputs to a network, which learns best from numbers about 1


def load_own(experiment: str, data_dir: Path | None) -> Dataset:
    """Load an .npz file, or call a function.

    Args:
        experiment: the file's path, which ends in ``.npz``; or ``module:function``, a function of
            ``data_dir`` that returns a mapping of arrays.
        data_dir: handed to the function.

    Raises:
        DataError: one line that names the file or function, the array, and what is wrong with it.
    """
    if experiment.endswith(".npz"):
        arrays = _read(Path(os.path.expanduser(experiment)), experiment)
    else:
        arrays = _call(experiment, data_dir)
    return _dataset(experiment, arrays)


def _read(path: Path, shown: str) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except NotArraysError as error:
        raise DataError(f"--experiment {shown}: {error}") from error


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one argument, as far as can be known beforehand."""
    try:
        inspect.signature(function).bind(None)
    except ValueError:
        pass  # some built-in functions do not tell
    except TypeError:
        return False
    return True


def _call(name: str, data_dir: Path | None) -> dict[str, np.ndarray]:
    try:
        module, make = modules.load(name)
    except modules.NotThereError as error:
        what = str(error).replace("must be", "must be a file that ends in .npz, or", 1)
        raise DataError(f"--experiment {name}: {what}") from error
    if not callable(make):
        raise DataError(f"--experiment {name}: {module.__name__} has no function {name.rpartition(':')[2]}")
    if not _takes_one(make):
        raise DataError(f"--experiment {name}: must take one argument, the --data-dir")
    made = make(data_dir)
    if not isinstance(made, Mapping):
        raise DataError(f"--experiment {name}: must return a mapping of arrays, not {type(made).__name__}")
    arrays = {}
    for key, value in made.items():
        try:
            arrays[str(key)] = np.asarray(value)
        except ValueError as error:
            raise DataError(f"--experiment {name}: {key} is no array: {error}") from error
    return arrays


def _dataset(experiment: str, arrays: Mapping[str, np.ndarray]) -> Dataset:
    def refuse(what: str) -> DataError:
        return DataError(f"--experiment {experiment}: {what}")

    arrays = _named(refuse, arrays)
    testing = "x_test" in arrays
    for half in ("", "_test") if testing else ("",):
        _check_samples(refuse, arrays[f"x{half}"], half)
        for name in (f"y{half}", f"task{half}"):
            if name in arrays:
                arrays[name] = _numbered(refuse, name, arrays[name], arrays[f"x{half}"])
    if testing and arrays["x"].shape[1:] != arrays["x_test"].shape[1:]:
        raise refuse(
            f"x_test has samples of shape {arrays['x_test'].shape[1:]}, but x of {arrays['x'].shape[1:]}"
        )
    arrays |= _brightness(refuse, {name: arrays[name] for name in ("x", "x_test") if name in arrays})
    train, test = _halves(arrays, testing)
    _check_kinds(refuse, train, test)
    x_train, max_value = _samples(train["x"])
    x_test, _ = _samples(test["x"])
    dataset = Dataset(
        name=experiment,
        x_train=x_train,
        y_train=train["y"].astype(np.int32),
        x_test=x_test,
        y_test=test["y"].astype(np.int32),
        max_value=max_value,
        source=f"own data: {experiment}",
        sha256=_digest([train, test]),
        task_train=train["task"].astype(np.int32) if "task" in train else None,
        task_test=test["task"].astype(np.int32) if "task" in test else None,
    )
    return dataset


def _named(refuse: Refuse, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by their names among `NAMES`."""
    arrays = {name.removesuffix("_train"): array for name, array in given.items()}
    unknown = set(arrays) - set(NAMES)
    if unknown:
        raise refuse(f"holds {', '.join(sorted(unknown))}; known are {', '.join(NAMES)}")
    if len(arrays) < len(given):
        raise refuse(f"holds {', '.join(sorted(given))}; x_train is another name for x, and so on")
    for name in ("x", "y"):
        if name not in arrays:
            raise refuse(f"lacks {name}; must hold x and y")
    testing = [name for name in ("x_test", "y_test") if name in arrays]
    if len(testing) == 1 or ("task_test" in arrays) != bool(testing and "task" in arrays):
        raise refuse("must hold x_test and y_test, and with task also task_test, or none of them")
    return arrays


def _check_samples(refuse: Refuse, x: np.ndarray, half: str) -> None:
    if x.ndim < 2 or not x.size:
        raise refuse(
            f"x{half} has the shape {x.shape}; must be [samples, …] with at least one number in each"
        )
    if not any(np.issubdtype(x.dtype, kind) for kind in (np.floating, np.integer, np.bool)):
        raise refuse(f"x{half} must be real numbers, not {x.dtype}")
    with np.errstate(over="ignore"):
        if not np.isfinite(x.astype(np.float32)).all():
            raise refuse(f"x{half} holds numbers that are not finite in float32")
    if (x == x[0]).all():
        note(f"note: all samples of x{half} are the same, so there is nothing to tell them apart by")


def _numbered(refuse: Refuse, name: str, given: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Labels or tasks as integers, one for each sample."""
    array = as_integers(given)
    if array is None:
        how = "" if np.issubdtype(given.dtype, np.number) else f": np.unique({name}, return_inverse=True)[1]"
        raise refuse(f"{name} must be integers, not {given.dtype}{how}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 2 and array.max(initial=0) == 1 and (np.sort(array)[:, :-1] == 0).all():
        array = array.argmax(axis=1)  # one-hot
    if array.shape != (len(x),):
        last = array.shape == x.shape[-1:]
        raise refuse(
            f"{name} has the shape {array.shape}; must be ({len(x)},), one for each of x"
            f"{'_test' if name.endswith('_test') else ''}"
            f"{'; samples come first: np.moveaxis(x, -1, 0)' if last else ''}"
        )
    if array.min() < 0:
        raise refuse(f"{name} holds {array.min()}; must count from 0")
    if array.max() > np.iinfo(np.int32).max:
        raise refuse(f"{name} holds {array.max()}; labels and tasks count from 0, and each has a sample")
    return array


def _brightness(refuse: Refuse, samples: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The samples; as uint8 where they hold the brightness of pixels, 0 to 255, in another type."""
    x = samples["x"]
    bytes_alone = [one.dtype == np.uint8 for one in samples.values()]
    if not all(bytes_alone) and x.max() == 255 and all(map(_like_bytes, samples.values())):
        note("note: x holds whole numbers from 0 to 255: read as uint8, so that 255 becomes 1")
        return {name: one.astype(np.uint8) for name, one in samples.items()}
    if len(set(bytes_alone)) > 1:
        raise refuse(f"x is {x.dtype} and x_test {samples['x_test'].dtype}; both must be uint8, or neither")
    largest = {name: max(-float(one.min()), float(one.max())) for name, one in samples.items()}
    low, high = min(largest.values()), max(largest.values())
    if low <= 1 and high > 100:
        raise refuse(f"x goes up to {largest['x']:g}, but x_test to {largest['x_test']:g}")
    if x.dtype == np.uint8 and high <= LARGE:
        note(
            f"note: x is uint8, which means 0 to 255, but goes up to {high:g}: other scales need other types"
        )
    if x.dtype != np.uint8 and high > LARGE:
        note(f"note: x goes up to {high:g} and is used as it is; pixels should be uint8, or lie in 0 to 1")
    return samples


def _like_bytes(x: np.ndarray) -> bool:
    return x.min() >= 0 and x.max() <= 255 and as_integers(x) is not None


def _halves(
    arrays: Mapping[str, np.ndarray], testing: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    names = [name for name in ("x", "y", "task") if name in arrays]
    if testing:
        return {name: arrays[name] for name in names}, {name: arrays[f"{name}_test"] for name in names}
    test = every_nth(_kinds(arrays), TESTED)
    return {name: arrays[name][~test] for name in names}, {name: arrays[name][test] for name in names}


def _kinds(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """A number for each class of each task, ``[samples]``."""
    labels = arrays["y"].astype(np.int64)
    if "task" not in arrays:
        return labels
    return labels + (labels.max() + 1) * arrays["task"].astype(np.int64)


def _check_kinds(refuse: Refuse, train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> None:
    """Every class of every task is there, in both halves."""
    n_classes = int(train["y"].max()) + 1
    n_tasks = int(train["task"].max()) + 1 if "task" in train else 1
    if n_classes * n_tasks < 2:
        raise refuse("has a single class; there is nothing to tell apart")
    for half, arrays in (("training", train), ("test", test)):
        if not len(arrays["y"]):
            raise refuse(f"leaves no {half} data: of each class, every {TESTED}th sample is for testing")
        labels = arrays["y"].astype(np.int64)
        tasks = arrays.get("task", np.zeros(len(labels))).astype(np.int64)
        if labels.max() >= n_classes or tasks.max() >= n_tasks:
            raise refuse(
                f"the {half} data have class {labels.max()} and task {tasks.max()}, "
                f"the training data {n_classes} classes and {n_tasks} tasks"
            )
        if n_classes * n_tasks > len(labels):
            raise refuse(
                f"labels up to {n_classes - 1} and tasks up to {n_tasks - 1} are more classes than the "
                f"{len(labels)} {half} samples; labels and tasks count from 0, and each has a sample"
            )
        counts = np.bincount(n_classes * tasks + labels, minlength=n_classes * n_tasks)
        if not counts.all():
            task, label = divmod(int(np.argmin(counts)), n_classes)
            where = f" of task {task}" if "task" in train else ""
            hint = "; labels count from 0" + (" within each task" if "task" in train else "")
            raise refuse(f"the {half} data have no sample of class {label}{where}{hint}")


def _samples(x: np.ndarray) -> tuple[np.ndarray, int]:
    return (x, 255) if x.dtype == np.uint8 else (x.astype(np.float32), 1)


def _digest(halves: list[dict[str, np.ndarray]]) -> str:
    named = (item for half in halves for item in sorted(half.items()))
    return digest_of_arrays((f"{name} {array.shape} {array.dtype.str}", array) for name, array in named)
