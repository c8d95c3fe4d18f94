"""The standard output and error of a command that finishes its work whether or not anyone reads them.

The reader may leave early (``… | head -3``), the disk that they are written to may be full, or they may be
closed from the start (``>&-``). None of this is a reason to lose results.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

NARROWEST = 40  # columns for which help is laid out; for fewer than eight, tyro never ends
BROKEN_PIPE = 128 + 13  # the status of a program that SIGPIPE ends, as shells report it


class LastingStream:
    """A text stream that can always be written to.

    Attributes:
        error: what went wrong first; None so far. What is written from then on is dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to a stream for as long as that works."""
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.error = self.error or error
        # What the stream still holds would fail again when Python ends.
        with suppress(OSError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


@dataclass(frozen=True)
class StandardStreams:
    """The two streams of a command."""

    out: LastingStream
    err: LastingStream

    def status(self, status: int) -> int:
        """The exit status of a command that ended with ``status``: another one where its words were lost."""
        self.out.flush()
        self.err.flush()
        lost = self.out.error or self.err.error
        if status != 0 or lost is None:
            return status
        if isinstance(lost, BrokenPipeError):
            return BROKEN_PIPE
        print(f"error: the output cannot be written: {lost.strerror}", file=self.err)
        return 1


@contextmanager
def lasting_streams() -> Iterator[StandardStreams]:
    """Put streams that can always be written to in the place of the standard output and error."""
    before: tuple[TextIO | None, TextIO | None] = sys.stdout, sys.stderr
    with ExitStack() as stack:
        # Where they are closed, these files take their numbers, before one with results does.
        out, err = (
            LastingStream(stack.enter_context(open(os.devnull, "w")) if stream is None else stream)
            for stream in before
        )
        sys.stdout, sys.stderr = out, err
        try:
            yield StandardStreams(out, err)
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def readable_columns() -> Iterator[None]:
    """Lay text out for as many columns as the terminal has, but not for too few to read it."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(max(shutil.get_terminal_size().columns, NARROWEST))
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
