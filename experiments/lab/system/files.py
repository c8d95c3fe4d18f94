"""Files that appear whole or not at all."""

import errno
import glob
import json
import math
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

PAUSES = (0.05, 0.2, 1.0)  # seconds between attempts to rename a file


def write_json(path: Path, value: Any, indent: int | None = None) -> None:
    """Write strict JSON atomically; numbers that are not finite become null.

    Of file names, what is no Unicode becomes an escape, which `json` reads back as it was.

    Raises:
        OSError: if it cannot be written.
    """
    text = json.dumps(plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode(errors="backslashreplace"))


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file so that it is there whole or not at all, whatever happens meanwhile.

    Missing folders are made.

    Raises:
        OSError: if it cannot be written, with its path; what was there before is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since only a rename within one file system is atomic.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            _synchronize(file.fileno())
        _rename(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # those of write and fsync know no path, the others the temporary one
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def _synchronize(descriptor: int) -> None:
    """Wait until the disk has the content; some network drives do not know how."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise


def _rename(temporary: Path, path: Path) -> None:
    """Rename; network drives, and programs that look through new files, may refuse it for a moment."""
    for pause in PAUSES:
        try:
            temporary.replace(path)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ESTALE, errno.EAGAIN):
                raise
            time.sleep(pause)
    temporary.replace(path)


def temporaries(path: Path) -> list[Path]:
    """What `write_atomically` was writing of this file when it was killed, or is writing now."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))


def plain(value: Any) -> Any:
    """What JSON has a word for."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case list() | tuple():
            return [plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case Path():
            return str(value)
        case _:
            return plain(asdict(value)) if is_dataclass(value) and not isinstance(value, type) else value
