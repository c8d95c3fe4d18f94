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
