"""The images that the experiments learn from: MNIST, FashionMNIST and scikit-learn's digits.

Every route (idx files in a folder, Keras's file, a copy prepared by TensorFlow Datasets, its download)
ends in the same arrays in the same order, so one checksum names the data wherever they came from. MNIST
and FashionMNIST are recognised by content: neither a corrupt file nor another data set passes for them.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from experiments.lab.data import tfds as _tfds
from experiments.lab.data.canonical import verdict, verify
from experiments.lab.data.idx import FILES, Arrays, DataError, find_files, read_images, read_labels
from experiments.lab.data.tfds import TFDS_NAMES, quiet_import
from experiments.lab.system.digests import digest_of_arrays
from experiments.lab.system.npz import NotArraysError, read_arrays

KERAS_FILE: Final = "mnist.npz"

NAMES: Final = ("MNIST", "FashionMNIST", "Digits")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with labels 0, 1, 2 …, in memory. The arrays are read-only.

    Attributes:
        name: ``"MNIST"``, ``"FashionMNIST"``, ``"Digits"``, or what `experiments.lab.data.own` was given.
        x_train: Training images, uint8 [n, side, side], 0 … `max_value`; data of one's own may have any
            shape [n, …], and be float32.
        y_train: Training labels, integers [n].
        x_test: Test images, like `x_train`, [m, …].
        y_test: Test labels, integers [m].
        max_value: The value that means 1.0: 255, 16 for Digits, or 1 for float32.
        source: One line on where the data came from and what was verified.
        sha256: Checksum of the arrays (shape, dtype, content), whatever their source.
        task_train: The task of each training sample, int32 [n]; None where class or pixels decide it.
        task_test: The task of each test sample, int32 [m], or None.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    max_value: int
    source: str
    sha256: str
    task_train: np.ndarray | None = None
    task_test: np.ndarray | None = None

    @property
    def classes(self) -> int:
        """Number of classes (of a task, where the samples name their task)."""
        return int(self.y_train.max()) + 1

    @property
    def tasks(self) -> int | None:
        """Number of tasks, where the samples name theirs."""
        return None if self.task_train is None else int(self.task_train.max()) + 1


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """Loads a data set, verified, in the order of its canonical files.

    With `data_dir`, MNIST and FashionMNIST come from there or not at all: from the four idx files
    (see `find_idx_folder`), else from Keras's ``mnist.npz``, else from the copy that TensorFlow Datasets
    prepared under that folder.
    Without it they come from TensorFlow Datasets in its own folder (``TFDS_DATA_DIR``, or
    ``~/tensorflow_datasets``), downloaded and prepared there if need be. TensorFlow is not needed.

    Args:
        name: ``"MNIST"``, ``"FashionMNIST"`` or ``"Digits"`` (scikit-learn's, see `_load_digits`).
        data_dir: Folder with the data. Ignored for Digits, which needs neither files nor a network.

    Returns:
        The data set. Sets smaller than the canonical ones are accepted from files, and `source`
        then says that they are not canonical.

    Raises:
        DataError: Unknown name; no data where they should be, or no network to fetch them; a file
            that is missing, unreadable, corrupt, at odds with the others, or another data set's.

    Examples:
        >>> digits = load("Digits")
        >>> digits.x_train.shape, digits.x_test.shape, digits.max_value
        ((1442, 8, 8), (355, 8, 8), 16)
    """
    if name not in NAMES:
        raise DataError(f"unknown data set {name!r}: choose one of {', '.join(NAMES)}")
    if name == "Digits":
        return _load_digits()
    if data_dir is None:
        return _load_tfds(name, None)
    root = _existing_folder(data_dir)
    folder = find_idx_folder(name, root)
    if folder is None and os.path.isfile(root / KERAS_FILE):
        return _load_keras(name, root / KERAS_FILE, shown=Path(data_dir) / KERAS_FILE)
    if folder is None:
        return _load_tfds(name, data_dir)
    return _load_idx(name, folder, shown=Path(data_dir) / folder.relative_to(root))


def find_idx_folder(name: str, root: Path) -> Path | None:
    """Finds the idx files of a data set in a folder or below it.

    Looks, for MNIST, in ``root/MNIST/raw`` (torchvision's layout), ``root/MNIST``,
    ``root/mnist/MNIST/raw`` (the published scripts' layout), ``root/mnist``, ``root/raw`` and
    ``root``; for FashionMNIST likewise, with ``fashion_mnist`` for ``mnist``.

    Args:
        name: ``"MNIST"`` or ``"FashionMNIST"``.
        root: An existing folder.

    Returns:
        The first of these folders that holds any of the four files, None if none does.
    """
    return next((root / path for path in _sub_folders(name) if find_files(root / path)), None)


def _sub_folders(name: str) -> tuple[str, ...]:
    """Returns where to look for idx files, the folders that name the data set before the others."""
    lower = TFDS_NAMES[name]
    return f"{name}/raw", name, f"{lower}/{name}/raw", lower, "raw", ""


def _existing_folder(data_dir: str | Path) -> Path:
    # os.path answers no where pathlib raises: for an unknown ~user, or a parent that may not be read.
    root = Path(os.path.expanduser(data_dir))
    if not os.path.exists(root):
        raise DataError(f"--data-dir {data_dir}: does not exist or is out of reach")
    if not os.path.isdir(root):
        raise DataError(
            f"--data-dir {data_dir}: is not a folder; name the one that holds the files, unpacked"
        )
    return root


def _load_idx(name: str, folder: Path, shown: Path) -> Dataset:
    found = find_files(folder)
    missing = [f"{stem}(.gz)" for stem in FILES if stem not in found]
    if missing:
        raise DataError(
            f"{folder} lacks {', '.join(missing)}: all four files of {name} are needed; it holds "
            f"{_listing(folder)}"
        )
    readers = read_images, read_labels, read_images, read_labels
    x_train, y_train, x_test, y_test = (read(*found[stem]) for read, stem in zip(readers, FILES, strict=True))
    arrays = x_train, y_train, x_test, y_test
    canonical = verify(name, arrays, [str(found[stem][0]) for stem in FILES])
    return _dataset(name, arrays, 255, f"idx files in {shown}, {verdict(name, canonical)}")


def _load_keras(name: str, path: Path, shown: Path) -> Dataset:
    """Loads the file that Keras downloads."""
    try:
        stored = read_arrays(path)
    except NotArraysError as error:
        raise DataError(f"{path}: {error}") from error
    parts = ["x_train", "y_train", "x_test", "y_test"]
    for part, dimensions in zip(parts, (3, 1, 3, 1), strict=True):
        array = stored.get(part, np.empty(0))
        if array.dtype != np.uint8 or array.ndim != dimensions or not array.size:
            raise DataError(
                f"{path} is not Keras's {KERAS_FILE}: {part} must be uint8 in {dimensions} dimensions"
            )
    arrays = stored["x_train"], stored["y_train"], stored["x_test"], stored["y_test"]
    canonical = verify(name, arrays, [f"{part} in {path}" for part in parts])
    return _dataset(name, arrays, 255, f"{shown}, {verdict(name, canonical)}")


def _load_tfds(name: str, data_dir: str | Path | None) -> Dataset:
    """Loads a copy prepared by TensorFlow Datasets; downloads only if no folder was asked for."""
    root = _tfds.default_root() if data_dir is None else _existing_folder(data_dir)
    folder = _tfds.prepared_folder(name, root)
    if not _tfds.is_prepared(folder):
        if data_dir is not None:
            raise DataError(_nothing_there(name, data_dir))
        _tfds.prepare(name, root)
    arrays = _tfds.read(folder)
    canonical = verify(name, arrays, [f"{stem} as prepared in {folder}" for stem in FILES])
    title = f"TensorFlow Datasets {TFDS_NAMES[name]}/{_tfds.VERSION}"
    where = "" if data_dir is None else f" in {data_dir}"
    return _dataset(name, arrays, 255, f"{title}{where}, {verdict(name, canonical)}")


def _load_digits() -> Dataset:
    """Loads the 1797 digits of 8x8 pixels, 0 … 16, that come with scikit-learn.

    The split is ours, as there is no official one: within each class, in scikit-learn's order,
    every fifth image (the 5th, 10th, …) is a test image. It depends on no random generator.
    """
    with quiet_import("scikit-learn"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    test = every_nth(y, 5)
    source = "scikit-learn's digits, every 5th of each class for testing"
    return _dataset("Digits", (x[~test], y[~test], x[test], y[test]), 16, source)


def every_nth(kinds: np.ndarray, n: int) -> np.ndarray:
    """Choose every nth sample of each kind, in their order: bool, like ``kinds``.

    >>> every_nth(np.array([0, 0, 7, 0, 7, 0]), 2).tolist()
    [False, True, False, False, True, True]
    """
    chosen = np.zeros(len(kinds), bool)
    for kind in np.unique(kinds):
        chosen[np.flatnonzero(kinds == kind)[n - 1 :: n]] = True
    return chosen


def _nothing_there(name: str, data_dir: str | Path) -> str:
    root = _existing_folder(data_dir)
    folders = ", ".join(path for path in _sub_folders(name) if path)
    there = sorted(path.name for path in _entries(root) if os.path.isdir(path) and find_files(path))
    hint = f"; there are such files in {there[0]!r}: name that folder" if there else ""
    return (
        f"--data-dir {data_dir}: holds no {name}, but {_listing(root)}{hint}; looked there and in its "
        f"sub-folders {folders} for {', '.join(FILES)} (packed as .gz or not), for {KERAS_FILE}, and in "
        f"{TFDS_NAMES[name]} for a copy prepared by TensorFlow Datasets"
    )


def _listing(folder: Path, most: int = 8) -> str:
    """What a folder holds, in a few words."""
    names = sorted(path.name for path in _entries(folder))
    shown = ", ".join(map(repr, names[:most])) or "nothing"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _entries(folder: Path) -> list[Path]:
    """What a folder holds; nothing where that may not be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _dataset(name: str, arrays: Arrays, max_value: int, source: str) -> Dataset:
    for array in arrays:
        array.setflags(write=False)
    return Dataset(
        name,
        *arrays,
        max_value,
        source,
        digest_of_arrays((f"{one.shape} {one.dtype.str}", one) for one in arrays),
    )
