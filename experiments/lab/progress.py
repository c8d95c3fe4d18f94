"""How far a training is: a bar on a terminal, a line every tenth of the way elsewhere."""

import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

SHORTEST_BAR, LONGEST_BAR = 6, 40  # columns


@dataclass(frozen=True)
class Progress:
    """Where a group of seeds that train together stands.

    Attributes:
        iteration: iterations done.
        total: iterations of the whole run.
        loss: training loss since the last report, mean over seeds.
        accuracy: last test accuracy over all tasks (fraction), mean over seeds; None before the first.
    """

    iteration: int
    total: int
    loss: float
    accuracy: float | None


class ProgressDisplay:
    """Shows the reports of one training; a context manager, and itself the function to report to.

    On a terminal it is a bar that stays, with the last numbers, when the training is done. Elsewhere
    it is a plain line at about every tenth of the way. Both go to the standard error, so that what is
    piped onwards is the results alone.
    """

    def __init__(self, method: str, n_seeds: int, total: int, console: Console | None = None) -> None:
        """Describe the training.

        Args:
            method: the method's name.
            n_seeds: number of seeds that train together.
            total: iterations of the whole run.
            console: where to show it; the standard error by default.
        """
        self._title = f"{method}, {n_seeds} seed{'s' if n_seeds > 1 else ''}"
        self._console = console if console is not None else Console(stderr=True)
        needed = len(f"{self._title} {total}/{total} loss 10.000, accuracy 100.0 % 0:00:00 ")
        room = min(LONGEST_BAR, self._console.width - needed)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            *([BarColumn(room)] if room >= SHORTEST_BAR else []),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(self._title, total=total, numbers="compiling")
        self._tenths_shown = 0
        self._began = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one report."""
        if self._console.is_terminal:
            self._bar.update(
                self._task,
                completed=progress.iteration,
                total=progress.total,
                numbers=_numbers(progress),
            )
        else:
            self._print_each_tenth(progress)

    def _print_each_tenth(self, progress: Progress) -> None:
        tenths = 10 * progress.iteration // progress.total
        if tenths == self._tenths_shown:
            return
        self._tenths_shown = tenths
        seconds = time.monotonic() - self._began
        self._console.print(
            f"{self._title}: {progress.iteration}/{progress.total} iterations, "
            f"{_numbers(progress)}, {seconds:.0f} s",
            soft_wrap=True,
            highlight=False,
        )


def _numbers(progress: Progress) -> str:
    accuracy = "" if progress.accuracy is None else f", accuracy {100 * progress.accuracy:.1f} %"
    return f"loss {progress.loss:.3f}{accuracy}"
