"""Arrays from an .npz file that anybody may have written."""

import zipfile
from pathlib import Path

import numpy as np


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
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise NotArraysError(error.strerror or str(error)) from error
    except (EOFError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise NotArraysError("is not an .npz file of plain arrays") from error
