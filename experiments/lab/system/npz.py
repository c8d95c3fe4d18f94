"""Arrays from an .npz file that anybody may have written."""

import errno
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

_ZIP = b"PK\x03\x04"  # what an .npz file starts with

# All that NumPy and zipfile raise on a file that is damaged, encrypted, or something else.
DAMAGE = (
    EOFError,
    ValueError,
    SyntaxError,
    RuntimeError,  # NotImplementedError among them
    OverflowError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class NotArraysError(Exception):
    """The file cannot be read, or is not an .npz file of plain arrays; the message says which."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name.

    Raises:
        NotArraysError: if there are none to be had.
    """
    start = b""
    try:
        # Opened here, since NumPy leaves the file open when it is no archive.
        with path.open("rb") as file:
            start = file.read(len(_ZIP))
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        sought = error.errno == errno.EINVAL  # a place before the beginning, which a damaged file names
        raise NotArraysError(_reason(start, error) if sought else error.strerror or str(error)) from error
    except (*DAMAGE, AttributeError, TypeError) as error:  # those of a file with a single array, or none
        raise NotArraysError(_reason(start, error)) from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise NotArraysError("is not an .npz file of plain arrays")
    return arrays


def _reason(start: bytes, error: Exception) -> str:
    if start != _ZIP:
        return "is not an .npz file of plain arrays"
    if isinstance(error, ValueError) and "allow_pickle" in str(error):
        # Pickles run code as they are read.
        return "is not an .npz file of plain arrays: it holds Python objects, which are not read"
    return "is damaged, or not complete"


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
    if array.size and not max(abs(float(array.min())), abs(float(array.max()))) < 2**53:
        return None  # NaN, infinity, or so large that it need not be the integer that was meant
    return array.astype(np.int64) if (array == np.rint(array)).all() else None
