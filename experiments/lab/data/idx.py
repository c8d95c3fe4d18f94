"""The idx files that MNIST and data sets like it come in."""

import gzip
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""x_train, y_train, x_test, y_test: the order of everything below that comes in fours."""

FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


_GZIP = b"\x1f\x8b"

# What downloads leave in the place of the file.
_OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"<": "a web page, not an idx file: download it again",
    b"version https://git-lfs": "a pointer to a file in Git LFS: fetch it with git lfs pull",
}


class DataError(ValueError):
    """The data cannot be had or are not what they should be; the message is meant for the user."""


def find_files(folder: Path) -> dict[str, list[Path]]:
    """Finds the four files in a folder, under all the names that the usual sites give them.

    With `-` or `.` before `idx`, packed or not, and perhaps in a folder that is called like the file.

    Args:
        folder: The folder.

    Returns:
        For each of `FILES` that is there, all the files that claim to be it.
    """
    found = {}
    for stem in FILES:
        names = [stem.replace("-idx", f"{mark}idx") + end for end in (".gz", "") for mark in "-."]
        paths = [folder / name for name in names]
        inside = [path / name for path in paths if os.path.isdir(path) for name in names]
        # A dangling link counts as present: reading it then says what is wrong with it.
        present = [path for path in (*paths, *inside) if os.path.lexists(path)]
        files = [path for path in present if not os.path.isdir(path)]
        if present:
            found[stem] = files or present[:1]
    return found


def read_images(*paths: Path) -> np.ndarray:
    """Reads an idx file of images, gzip-compressed or not.

    Args:
        *paths: The file, and others with the same content.

    Returns:
        uint8 [n, rows, columns], n > 0.

    Raises:
        DataError: The file cannot be read, is not an intact idx file of images, or another one differs.
    """
    return _parse_idx(_same_content(paths), 3, paths[0])


def read_labels(*paths: Path) -> np.ndarray:
    """Reads an idx file of labels, gzip-compressed or not.

    Args:
        *paths: The file, and others with the same content.

    Returns:
        uint8 [n], n > 0.

    Raises:
        DataError: The file cannot be read, is not an intact idx file of labels, or another one differs.
    """
    return _parse_idx(_same_content(paths), 1, paths[0])


def _same_content(paths: Sequence[Path]) -> bytes:
    first, *others = paths
    content = _content(first)
    for other in others:
        if _content(other) != content:
            raise DataError(f"{first} and {other} differ: delete the one that is not meant")
    return content


def _content(path: Path) -> bytes:
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder without {path.name} in it, but should be a file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    # Browsers and tools unpack without changing the name, or the other way round: the content tells.
    try:
        while content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not an intact gzip file ({error}): it is corrupt or incomplete"
        ) from error
    for start, kind in _OTHER_KINDS.items():
        if content[:64].lstrip().startswith(start):
            raise DataError(f"{path} is {kind}")
    return content


def _parse_idx(content: bytes, dimensions: int, path: Path) -> np.ndarray:
    kinds = {3: "images", 1: "labels"}
    header = struct.Struct(f">{1 + dimensions}I")
    if len(content) < header.size:
        state = "is empty" if not content else f"ends after {len(content)} bytes"
        raise DataError(f"{path} {state}: it should be an idx file of {kinds[dimensions]}")
    magic, *shape = header.unpack_from(content)
    if magic != magic_number(dimensions):
        raise DataError(
            f"{path} is not an idx file of {kinds[dimensions]}: it starts with the magic number "
            f"{magic} and not with {magic_number(dimensions)}{_hint(magic)}"
        )
    expected = header.size + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise DataError(
            f"{path} holds {len(content)} bytes where its header announces {expected}: "
            "it is truncated or corrupt"
        )
    if 0 in shape:
        raise DataError(f"{path} holds no {kinds[dimensions]}")
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape)


def _hint(magic: int) -> str:
    if magic in (0x0801, 0x0803):
        return f"; these are {'labels' if magic == 0x0801 else 'images'}, so two files may be swapped"
    return ": it is another kind of file, or corrupt; download it again"


def magic_number(dimensions: int) -> int:
    """What an idx file of unsigned bytes (0x08) with so many dimensions starts with."""
    return 0x0800 + dimensions
