"""Arrays from an .npz file that anybody may have written."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

DAMAGE = EOFError, ValueError, SyntaxError, zipfile.BadZipFile, zlib.error


class NotArraysError(Exception):
    """The file cannot be read, or is not an .npz file of plain arrays; the message says which."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name.

    Raises:
        NotArraysError: if there are none to be had.
    """
    try:
        # Opened here, since NumPy leaves the file open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise NotArraysError(error.strerror or str(error)) from error
    except (*DAMAGE, AttributeError, TypeError) as error:  # those of a file with a single array, or none
        raise NotArraysError("is not an .npz file of plain arrays") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise NotArraysError("is not an .npz file of plain arrays")
    return arrays


def as_integers(array: np.ndarray) -> np.ndarray | None:
    """An array of integers, or of whole numbers in another type, as integers; None if it holds anything else.

    >>> as_integers(np.array([1.0, 2.0]))
    array([1, 2])
    >>> as_integers(np.array([1.5, np.nan])) is None
    True
    """
    if np.issubdtype(array.dtype, np.integer):
        return array
    if array.dtype == bool:
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        return None
    wide = array.astype(np.float64)
    # From 2**53 on, these need not be the integers that were meant.
    whole = (abs(wide) < 2**53).all() and (wide % 1 == 0).all()
    return wide.astype(np.int64) if whole else None
