"""Data of one's own: arrays from an .npz file, or from a Python function.

Either gives arrays by these names: ``x`` [n, …] and ``y`` [n], integers from 0, the samples and their
labels; ``task`` [n], integers from 0, if each sample is to name its task (its label is then one within that
task); and ``x_test``, ``y_test``, ``task_test`` for testing. Without those, every fifth sample of each class
(of each task) is for testing. Samples may have any shape; uint8 means 0 … 255 and becomes 0 … 1, other
numbers are used as they are, in float32.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.lab._npz import NotArraysError, read_arrays
from experiments.lab.data import DataError, Dataset, every_nth

TESTED = 5  # every fifth sample of a kind, where none are named for testing
NAMES = ("x", "y", "task", "x_test", "y_test", "task_test")


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
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise DataError(f"--experiment {name}: must be a file that ends in .npz, or module:function")
    try:
        make = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # something that the module itself imports
        raise DataError(f"--experiment {name}: there is no module {module}") from error
    if not callable(make):
        raise DataError(f"--experiment {name}: {module} has no function {function}")
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

    unknown = set(arrays) - set(NAMES)
    if unknown:
        raise refuse(f"holds {', '.join(sorted(unknown))}; known are {', '.join(NAMES)}")
    for name in ("x", "y"):
        if name not in arrays:
            raise refuse(f"lacks {name}; must hold x and y")
    testing = [name for name in ("x_test", "y_test") if name in arrays]
    if len(testing) == 1 or ("task_test" in arrays) != bool(testing and "task" in arrays):
        raise refuse("must hold x_test and y_test, and with task also task_test, or none of them")
    for half in ("", "_test") if testing else ("",):
        _check_half(refuse, {name: arrays.get(f"{name}{half}") for name in ("x", "y", "task")}, half)
    if testing and arrays["x"].shape[1:] != arrays["x_test"].shape[1:]:
        raise refuse(
            f"x_test has samples of shape {arrays['x_test'].shape[1:]}, but x of {arrays['x'].shape[1:]}"
        )
    if testing and (arrays["x"].dtype == np.uint8) != (arrays["x_test"].dtype == np.uint8):
        raise refuse(
            f"x is {arrays['x'].dtype} and x_test {arrays['x_test'].dtype}; both must be uint8, or neither"
        )
    train, test = _halves(arrays, bool(testing))
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


def _check_half(refuse: Any, arrays: Mapping[str, np.ndarray | None], half: str) -> None:
    """Shapes, dtypes and values of the arrays of one half."""
    x = arrays["x"]
    assert x is not None
    if x.ndim < 2 or not x.size:
        raise refuse(
            f"x{half} has the shape {x.shape}; must be [samples, …] with at least one number in each"
        )
    if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)):
        raise refuse(f"x{half} must be real numbers, not {x.dtype}")
    with np.errstate(over="ignore"):
        if not np.isfinite(x.astype(np.float32)).all():
            raise refuse(f"x{half} holds numbers that are not finite in float32")
    for name in ("y", "task"):
        array = arrays[name]
        if array is None:
            continue
        if array.shape != (len(x),):
            raise refuse(
                f"{name}{half} has the shape {array.shape}; must be ({len(x)},), one for each of x{half}"
            )
        if not np.issubdtype(array.dtype, np.integer):
            raise refuse(f"{name}{half} must be integers, not {array.dtype}")
        if array.min() < 0:
            raise refuse(f"{name}{half} holds {array.min()}; must count from 0")


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


def _check_kinds(refuse: Any, train: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]) -> None:
    """Every class of every task is there, in both halves."""
    n_classes = int(train["y"].max()) + 1
    n_tasks = int(train["task"].max()) + 1 if "task" in train else 1
    if n_classes < 2:
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
            hint = "; labels count from 0" + (", in each task anew" if "task" in train else "")
            raise refuse(f"the {half} data have no sample of class {label}{where}{hint}")


def _samples(x: np.ndarray) -> tuple[np.ndarray, int]:
    return (x, 255) if x.dtype == np.uint8 else (x.astype(np.float32), 1)


def _digest(halves: list[dict[str, np.ndarray]]) -> str:
    total = hashlib.sha256()
    for half in halves:
        for name, array in sorted(half.items()):
            total.update(f"{name} {array.shape} {array.dtype.str};".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
