"""Digests of arrays."""

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_of_arrays(headed: Iterable[tuple[str, np.ndarray]]) -> str:
    """SHA-256 of arrays in a row, each after a head: what else tells it from others, its shape say."""
    total = hashlib.sha256()
    for head, array in headed:
        total.update(f"{head};".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
