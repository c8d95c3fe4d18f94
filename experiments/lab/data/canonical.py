"""Whether arrays are those of MNIST or FashionMNIST: recognised by content, whatever file they come from."""

import hashlib
import struct
from collections.abc import Sequence

import numpy as np

from experiments.lab.data.idx import FILES, Arrays, DataError, magic_number

_COUNTS = (60_000, 60_000, 10_000, 10_000)

# Digests of the uncompressed idx files. For FashionMNIST only MD5 is published, which is as good as
# SHA-256 against damage and mix-ups.
_CANONICAL: dict[str, tuple[str, tuple[str, ...]]] = {
    "MNIST": (
        "SHA-256",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "FashionMNIST": (
        "MD5",
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    ),
}


def verify(name: str, arrays: Arrays, places: Sequence[str]) -> bool:
    """Checks that four arrays belong together and are not another data set in disguise.

    Args:
        name: ``"MNIST"`` or ``"FashionMNIST"``.
        arrays: x_train, y_train, x_test, y_test.
        places: For each array what to call its origin in an error, such as the path of a file.

    Returns:
        True if all four are the canonical ones. False for smaller sets, which are somebody's own.

    Raises:
        DataError: The arrays do not fit together, are those of another data set, or have the
            canonical number of samples (or more) without the canonical content.
    """
    _check_consistent(arrays, places)
    parts = [
        _is_canonical(name, part, array, place)
        for part, (array, place) in enumerate(zip(arrays, places, strict=True))
    ]
    return all(parts)


def verdict(name: str, canonical: bool) -> str:
    """What `verify` has found, in words."""
    return f"content verified by {_CANONICAL[name][0]}" if canonical else "not the canonical files"


def _check_consistent(arrays: Arrays, places: Sequence[str]) -> None:
    for part in (0, 2):
        images, labels = arrays[part], arrays[part + 1]
        if images.shape[1] != images.shape[2]:
            size = "x".join(map(str, images.shape[1:]))
            raise DataError(f"{places[part]} holds images of {size} pixels, which are not square")
        if len(images) != len(labels):
            raise DataError(
                f"{places[part]} has {len(images)} images, but {places[part + 1]} has {len(labels)} labels"
            )
        if labels.max() > 9:
            raise DataError(f"{places[part + 1]} holds the label {labels.max()}: they go from 0 to 9")
    if arrays[0].shape[1:] != arrays[2].shape[1:]:
        sides = [arrays[part].shape[1] for part in (0, 2)]
        raise DataError(
            f"{places[0]} has images of {sides[0]}x{sides[0]} pixels, but {places[2]} of "
            f"{sides[1]}x{sides[1]}"
        )


def _is_canonical(name: str, part: int, array: np.ndarray, place: str) -> bool:
    found = _identify(array)
    if found == (name, part):
        return True
    if found is not None:
        other, other_part = found
        raise DataError(
            f"{place} is {other}'s {FILES[other_part]} by its content, not {name}'s {FILES[part]}"
        )
    if len(array) >= _COUNTS[part]:
        raise DataError(
            f"{place} is not {name}'s {FILES[part]}: it has {len(array)} samples, but not the "
            f"content of the {_COUNTS[part]} canonical ones; it is corrupt or another data set"
        )
    return False


def _identify(array: np.ndarray) -> tuple[str, int] | None:
    """Finds the data set and the part whose canonical idx file holds exactly this array."""
    header = struct.pack(f">{1 + array.ndim}I", magic_number(array.ndim), *array.shape)
    for name, (algorithm, digests) in _CANONICAL.items():
        digest = hashlib.new(algorithm.replace("-", ""), header, usedforsecurity=False)
        digest.update(np.ascontiguousarray(array).data)
        if digest.hexdigest() in digests:
            return name, digests.index(digest.hexdigest())
    return None
