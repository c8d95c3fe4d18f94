"""Visdom: two windows for each run, sent to a server as its client would.

The package is not needed where the training runs: the server takes JSON, and its own client has no timeouts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import accuracy_so_far
from experiments.lab.system.names import file_part
from experiments.lab.training.progress import Progress

SERVER = "http://localhost:8097"
TIMEOUT = 2.0  # seconds

Curve = dict[int, float]  # value by iteration


class VisdomWindows:
    """Shows the accuracies and the loss of each run of a group, in windows named after the run.

    A training that begins anew replaces the windows of one before it; one that goes on at iteration n keeps
    what they show up to there.
    """

    flag = "--visdom"

    def __init__(self, settings: Settings, runs: Sequence[str], server: str = SERVER) -> None:
        """Describe the group.

        Args:
            settings: its settings.
            runs: name of each seed's run.
            server: address of the server.
        """
        self._server = server
        protocol = f"{file_part(settings.name)}{settings.tasks}-{settings.scenario}-{settings.stream}"
        self._environment = protocol  # what Visdom calls a pane full of windows
        self._windows = [
            {window: dict[str, Curve]() for window in (f"{run}-accuracy", f"{run}-loss")} for run in runs
        ]
        self._begun = False

    def record(self, progress: Progress) -> None:
        """Take a report in."""
        if not self._begun:
            self._begun = True
            if progress.iteration > 0:
                self._take_up(progress.iteration)
        seen = None if progress.accuracy is None else accuracy_so_far(progress.accuracy, progress.seen)
        for place, windows in enumerate(self._windows):
            accuracy, loss = windows.values()
            if progress.iteration > 0:
                loss.setdefault("loss", {})[progress.iteration] = float(progress.losses[place])
            if progress.accuracy is None or seen is None:
                continue
            for task, value in enumerate(progress.accuracy[place]):
                accuracy.setdefault(f"task {task + 1}", {})[progress.iteration] = float(value)
            accuracy.setdefault("all tasks", {})[progress.iteration] = float(progress.accuracy[place].mean())
            accuracy.setdefault("tasks seen", {})[progress.iteration] = float(seen[place])

    def update(self) -> None:
        """Send every window as a whole.

        Raises:
            OSError: if no server answers in time, or it answers with an error.
        """
        for windows in self._windows:
            for window, curves in windows.items():
                if curves:
                    self._post("events", self._plot(window, curves))

    def close(self) -> None:
        """Nothing is held."""

    def _plot(self, window: str, curves: dict[str, Curve]) -> dict[str, Any]:
        def trace(name: str, curve: Curve) -> dict[str, Any]:
            average = name in ("all tasks", "loss")
            line = {"width": 3 if average else 1.5, "dash": "dash" if name == "tasks seen" else "solid"}
            if average:
                line["color"] = "#000000"
            values = [value if math.isfinite(value) else None for value in curve.values()]
            mode = "lines" if len(values) > 1 else "markers"
            return {
                "type": "scatter",
                "mode": mode,
                "name": name,
                "x": list(curve),
                "y": values,
                "line": line,
            }

        run, _, measure = window.rpartition("-")
        layout = {
            "showlegend": measure == "accuracy",
            "xaxis": {"title": {"text": "iteration"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": measure}},
            "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
        }
        options = {"title": f"{run}: {measure}", "width": 520, "height": 360}
        data = [trace(name, curve) for name, curve in curves.items()]
        return {"win": window, "eid": self._environment, "data": data, "layout": layout, "opts": options}

    def _take_up(self, first: int) -> None:
        """Read what the server still shows of the iterations before ``first``."""
        for windows in self._windows:
            for window, curves in windows.items():
                try:
                    answer = self._post("win_data", {"win": window, "eid": self._environment})
                except HTTPError as error:  # it knows no such window
                    error.close()
                    continue
                for trace in json.loads(answer)["content"]["data"]:
                    pairs = zip(trace["x"], trace["y"], strict=True)
                    curves[trace["name"]] = {x: math.nan if y is None else y for x, y in pairs if x < first}

    def _post(self, endpoint: str, message: dict[str, Any]) -> bytes:
        body = json.dumps(message, allow_nan=False).encode()
        request = Request(f"{self._server}/{endpoint}", body, {"Content-Type": "application/json"})
        # Not through a proxy: it would look for the server on a machine of its own.
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT) as answer:
                return bytes(answer.read())
        except HTTPError:
            raise
        except (URLError, TimeoutError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise ConnectionError(f"no Visdom server answers at {self._server}: {reason}") from error
