"""The folders that a command writes in: tried before anything is computed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from experiments.lab.system.errors import SettingsError, flag
from experiments.lab.system.files import write_atomically

BLOCK = 4096  # bytes: on a disk that is full an empty file can often still be made


def check_folders(folders: Iterable[tuple[str, Path]]) -> None:
    """Make sure that these folders, each with the option that names it, can be written in.

    Raises:
        SettingsError: if one cannot.
    """
    for name, folder in folders:
        try:
            check_writable(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SettingsError(f"{flag(name)} {folder}: cannot be written in: {reason}") from error


def check_writable(folder: Path) -> None:
    """Make sure that a folder can be made, or written in, and leave no trace of having tried.

    Raises:
        OSError: if it can not.
    """
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not existing.exists():
        reason = f"it is a link to {os.readlink(existing)}, which does not exist"
        raise FileNotFoundError(errno.ENOENT, reason, str(existing))
    # Tried with a real file: permission bits say little to root, or about a file system. What is missing is
    # made in a folder that no other process knows of, so that none relies on what is then removed.
    trial = Path(tempfile.mkdtemp(prefix=".trial-", dir=existing))
    try:
        write_atomically(trial / folder.relative_to(existing) / "trial", bytes(BLOCK))
    finally:
        shutil.rmtree(trial, ignore_errors=True)
