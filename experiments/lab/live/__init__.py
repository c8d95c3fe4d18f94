"""Live figures of a running training: TensorBoard, Visdom, and a page of its own.

`Live` belongs to one command. It makes the observers that the training reports to; each has a thread of its
own, so that a slow disk or server never slows the training, and one that fails is silent after one warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from experiments.lab.live.observer import Destination, Observer
from experiments.lab.options.settings import Settings
from experiments.lab.system.processes import note

if TYPE_CHECKING:
    from experiments.lab.live.page import Page
    from experiments.lab.results.runs import Run

__all__ = ["Live", "Observer"]


class OutputOptions(Protocol):
    """What is asked for, and where the results are."""

    @property
    def tensorboard(self) -> bool: ...
    @property
    def visdom(self) -> bool: ...
    @property
    def live(self) -> bool: ...
    @property
    def results_dir(self) -> Path: ...


class Live:
    """The live figures of one command; a context manager around all its trainings.

    Attributes:
        page: the page of ``--live``; None without.
    """

    def __init__(self, output: OutputOptions, settings: Settings, methods: Sequence[str], name: str) -> None:
        """Describe the command.

        Args:
            output: where figures are asked for.
            settings: the settings of all trainings.
            methods: all methods that the command will train, or find again, in their order.
            name: name of the page's file, without its ending.
        """
        self._output, self._settings = output, settings
        self._failed: set[str] = set()
        self.page: Page | None = None
        if output.live:
            from experiments.lab.live.page import Page

            self.page = Page(output.results_dir / "live" / f"{name}.html", settings, methods)

    def __enter__(self) -> Live:
        self._draw_page()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.page is not None:
            self.page.end(interrupted=kind is not None)
            self._draw_page()

    def found(self, method: str, runs: Sequence[Run]) -> None:
        """Take account of runs that need no training: the page shows them among the others, and it alone."""
        for name in ("tensorboard", "visdom"):
            if runs and getattr(self._output, name):
                note(f"note: --{name} shows trainings alone, and these runs are found again")
        if self.page is not None and runs:
            self.page.found(method, runs)

    def observers(self, method: str, stamps: Mapping[int, str]) -> list[Observer]:
        """Make an observer for each destination that was asked for and has not failed.

        Args:
            method: the method that is going to be trained.
            stamps: name of the run of each seed, in the order of the seeds in the reports.
        """
        output, runs = self._output, list(stamps.values())
        destinations: list[Destination] = []
        if output.tensorboard:
            try:
                from experiments.lab.live.event_files import EventFiles

                destinations.append(EventFiles(output.results_dir / "tensorboard", runs))
            except ImportError as error:  # a damaged installation, or one in conflict with other packages
                self._fail("--tensorboard", error)
        if output.visdom:
            from experiments.lab.live.visdom_windows import VisdomWindows

            destinations.append(VisdomWindows(self._settings, runs))
        if self.page is not None:
            destinations.append(self.page.group(method, list(stamps)))
        return [Observer(one, self._fail) for one in destinations if one.flag not in self._failed]

    def _draw_page(self) -> None:
        """In the thread of the command: before and after its trainings there is nothing to slow down."""
        if self.page is not None and self.page.flag not in self._failed:
            try:
                self.page.update()
            except Exception as error:
                self._fail(self.page.flag, error)

    def _fail(self, flag: str, error: BaseException) -> None:
        if flag not in self._failed:
            self._failed.add(flag)
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(f"{flag}: no live figures from here on: {reason}", stacklevel=2)
