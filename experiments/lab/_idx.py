"""The idx files that MNIST and data sets like it come in."""

import gzip
import os
import struct
import zlib
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


class DataError(ValueError):
    """The data cannot be had or are not what they should be; the message is meant for the user."""


def read_images(path: Path) -> np.ndarray:
    """Reads an idx file of images, gzip-compressed if its name ends in ``.gz``.

    Args:
        path: The file.

    Returns:
        uint8 [n, rows, columns], n > 0.

    Raises:
        DataError: The file cannot be read or is not an intact idx file of images.
    """
    return _parse_idx(_content(path), 3, path)


def read_labels(path: Path) -> np.ndarray:
    """Reads an idx file of labels, gzip-compressed if its name ends in ``.gz``.

    Args:
        path: The file.

    Returns:
        uint8 [n], n > 0.

    Raises:
        DataError: The file cannot be read or is not an intact idx file of labels.
    """
    return _parse_idx(_content(path), 1, path)


def _content(path: Path) -> bytes:
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder, but should be a file")
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix != ".gz":
        return packed
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is not an intact gzip file ({error}): it is corrupt or incomplete"
        ) from error


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
            f"{magic} and not with {magic_number(dimensions)}"
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


def magic_number(dimensions: int) -> int:
    """What an idx file of unsigned bytes (0x08) with so many dimensions starts with."""
    return 0x0800 + dimensions
