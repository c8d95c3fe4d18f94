"""How far a training is: a bar on a terminal, a line now and then elsewhere.

And the way to stop it: Ctrl-C is obeyed between two stretches of the training.
"""

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from experiments.lab.results.runs import accuracy_so_far

SHORTEST_BAR, LONGEST_BAR = 6, 40  # columns
PAUSE, LONG_PAUSE = 10.0, 60.0  # seconds between two lines of one training, at least; of one of many


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a group of runs that train together stands.

    Attributes:
        iteration: iterations done; the first report comes before any.
        total: iterations of the whole run.
        losses: [runs], mean training loss of each since the last report; NaN in the first one.
        accuracy: [runs, tasks], test accuracy (fraction), if it was taken at this iteration; else None.
        seen: bool [runs, tasks], the tasks shown by the time of the last evaluation.
    """

    iteration: int
    total: int
    losses: np.ndarray
    accuracy: np.ndarray | None
    seen: np.ndarray

    @property
    def mean_so_far(self) -> float | None:
        """Accuracy over the tasks seen so far, mean over all runs; None where there is none yet."""
        if self.accuracy is None or not self.seen.any():
            return None
        return float(accuracy_so_far(self.accuracy.ravel(), self.seen.ravel()))


Observe = Callable[[Progress], None]


class ProgressDisplay:
    """Shows the reports of one training; a context manager, and itself the function to report to.

    On a terminal it is a bar that stays, with the last numbers, when the training is done. Elsewhere
    it is a plain line at the end, and in a long training at about every tenth of the way. Both go to the
    standard error, so that what is piped onwards is the results alone.

    Inside the context, Ctrl-C takes effect at the next report, which raises `KeyboardInterrupt`; a second
    one raises it at once. (Raised just anywhere, it may hit a callback of JAX on garbage collection, and
    be swallowed.) The last report does not raise, so that what is finished can be kept: the end of the
    context does.
    """

    def __init__(
        self, title: str, total: int, console: Console | None = None, *, one_of_many: bool = False
    ) -> None:
        """Describe the training.

        Args:
            title: what trains: the method's name, and how many seeds.
            total: iterations of the whole run.
            console: where to show it; the standard error by default.
            one_of_many: whether it is one of many trainings, of which the command itself says what came out:
                then neither the bar nor a line is left of it.
        """
        self._title, self._one_of_many = title, one_of_many
        self._console = console if console is not None else Console(stderr=True)
        needed = len(f"{self._title} {total}/{total} loss 0.00012, accuracy so far 100.0 % 0:00:00 ")
        room = min(LONGEST_BAR, self._console.width - needed)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            *([BarColumn(room)] if room >= SHORTEST_BAR else []),
            *([MofNCompleteColumn()] if room >= 0 else []),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=one_of_many,
            speed_estimate_period=math.inf,  # of 30 s, the default, there may be a single report: no estimate
        )
        self._task = self._bar.add_task(self._title, total=total, numbers="compiling")
        self._tenths_shown = 0
        self._accuracy: float | None = None
        self._began = self._last_line = time.monotonic()
        self._asked_to_stop = False
        self._handler_before: Any = None

    def __enter__(self) -> "ProgressDisplay":
        if threading.current_thread() is threading.main_thread():  # others may not
            self._handler_before = signal.signal(signal.SIGINT, self._on_interrupt)
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._handler_before is not None:
            signal.signal(signal.SIGINT, self._handler_before)
        if self._asked_to_stop and kind is None:
            raise KeyboardInterrupt

    def __call__(self, progress: Progress) -> None:
        """Show one report.

        Raises:
            KeyboardInterrupt: if the user has asked to stop, and the training is not done yet.
        """
        if progress.mean_so_far is not None:
            self._accuracy = progress.mean_so_far
        numbers = self._numbers(progress)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=progress.iteration, total=progress.total, numbers=numbers)
        else:
            self._print_now_and_then(progress, numbers)
        if self._asked_to_stop and progress.iteration < progress.total:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._asked_to_stop:
            raise KeyboardInterrupt
        self._asked_to_stop = True
        self._console.print("stopping at the next log point; once more to stop at once", soft_wrap=True)

    def _numbers(self, progress: Progress) -> str:
        if progress.iteration == 0:
            return "training"
        accuracy = "" if self._accuracy is None else f", accuracy so far {100 * self._accuracy:.1f} %"
        return f"loss {progress.losses.mean():.2g}{accuracy}"

    def _print_now_and_then(self, progress: Progress, numbers: str) -> None:
        now, tenths = time.monotonic(), 10 * progress.iteration // progress.total
        is_last = progress.iteration == progress.total
        is_due = now - self._last_line >= (LONG_PAUSE if self._one_of_many else PAUSE)
        if (self._one_of_many if is_last else not is_due) or tenths == self._tenths_shown:
            return
        self._tenths_shown, self._last_line = tenths, now
        self._console.print(
            f"{self._title}: {progress.iteration}/{progress.total} iterations, {numbers}, "
            f"{now - self._began:.0f} s",
            soft_wrap=True,
            highlight=False,
        )
