"""Between the training and a live figure: a thread that takes the reports in, and draws now and then."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from experiments.lab.training.progress import Progress

INTERVAL = 2.0  # seconds, at least, between two drawings
SHARE = 0.05  # of the time, at most, that drawings take: they are computed beside the training
LONGEST_WAIT = 10.0  # seconds, at the end of a training, for the last drawing


class Destination(Protocol):
    """Where the figures of one group of seeds go. Everything here is called in one thread, in order.

    Attributes:
        flag: the flag that asks for it, which its warning names.
    """

    flag: str

    def record(self, progress: Progress) -> None:
        """Take a report in; called for each, so it has to be quick."""

    def update(self) -> None:
        """Show what has been recorded."""

    def close(self) -> None:
        """Let go of what is held; after an error too, and maybe before anything was recorded."""


class Observer:
    """Hands the reports of one training to a destination.

    It is a context manager, and itself the function to report to. Reporting only puts the report in a queue.
    What the destination raises becomes one call of ``on_failure``, in the thread that reports, at the next
    report or at the end; reports after it are dropped.
    """

    def __init__(self, destination: Destination, on_failure: Callable[[str, BaseException], None]) -> None:
        """Describe the observer.

        Args:
            destination: where the reports go.
            on_failure: called once, with the destination's flag and the error, if it fails.
        """
        self._destination, self._on_failure = destination, on_failure
        self._reports: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._failure: BaseException | None = None
        self._silent = False

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reports.put(None)
        self._thread.join(LONGEST_WAIT)
        if self._thread.is_alive():
            self._failure = self._failure or TimeoutError(f"not done {LONGEST_WAIT:g} s after the training")
        self._tell_failure()

    def __call__(self, progress: Progress) -> None:
        """Take one report in, at once."""
        self._tell_failure()
        if not self._silent:
            self._reports.put(progress)

    def _tell_failure(self) -> None:
        # In the reporting thread, since warnings and the terminal's bar belong to it.
        if self._failure is not None and not self._silent:
            self._silent = True
            self._on_failure(self._destination.flag, self._failure)

    def _work(self) -> None:
        try:
            try:
                self._draw_reports()
            finally:
                self._destination.close()
        except Exception as error:
            self._failure = error

    def _draw_reports(self) -> None:
        pending, due = False, time.monotonic()
        while True:
            wait = max(0.0, due - time.monotonic()) if pending else None
            if wait == 0.0:
                began = time.monotonic()
                self._destination.update()
                pending, now = False, time.monotonic()
                due = now + max(INTERVAL, (now - began) / SHARE)
                continue
            try:
                progress = self._reports.get(timeout=wait)
            except queue.Empty:
                continue
            if progress is None:
                break
            self._destination.record(progress)
            pending = True
        if pending:
            self._destination.update()
