"""A page for the browser: one file of HTML with the figures, which loads itself again while trainings run."""

from __future__ import annotations

import html
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from experiments.lab.figures.curves import (
    accuracy_of_one_run,
    accuracy_over_iterations,
    accuracy_per_task,
    loss_over_iterations,
)
from experiments.lab.figures.style import STYLE
from experiments.lab.live.states import MethodState, Reported
from experiments.lab.options.description import counted, describe, describe_methods
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run
from experiments.lab.system.files import write_atomically
from experiments.lab.training.progress import Progress

REFRESH = 2  # seconds
PIXELS_PER_INCH = 110  # of a figure on the page: larger than in print, and three columns on a usual screen
LOOK = """
:root{--paper:#fff;--card:#f7f7f8;--ink:#1a1a1a;--quiet:#5c5c5c;--rule:#d4d4d8;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#131417;--card:#1c1e22;--ink:#ececec;--quiet:#a3a3a8;--rule:#3d4047}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1290px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.2rem;margin:0;overflow-wrap:anywhere}h2{font-size:1rem;margin:0 0 6px}
p{margin:4px 0}.quiet{color:var(--quiet);font-size:.86rem}.state{margin-top:10px}
.bar{height:6px;border-radius:3px;background:var(--rule);overflow:hidden;margin:4px 0 8px}
.bar i{display:block;height:100%;background:var(--ink)}
.row{display:flex;flex-wrap:wrap;align-items:flex-start;gap:14px;margin-top:14px}
section{flex:1 1 300px;max-width:620px;padding:12px;background:var(--card);border-radius:8px}
figure{margin:0;padding:10px;background:#fff;border-radius:8px}svg{display:block;max-width:100%;height:auto}
small{font-weight:400;color:var(--quiet)}small.training{color:var(--ink);font-weight:600}
"""


class Page:
    """The page of one command: all its methods, those to come included.

    Attributes:
        path: the file.
        flag: the flag that asks for it.
    """

    flag = "--live"

    def __init__(self, path: Path, settings: Settings, methods: Sequence[str]) -> None:
        """Describe the command.

        Args:
            path: where the page goes; its folder is made if missing.
            settings: the settings of all trainings.
            methods: all methods that will be trained, or found again, in their order.
        """
        self.path = path
        self._settings = settings
        self._methods = {method: MethodState(method) for method in methods}
        self._state = "running"

    def found(self, method: str, runs: Sequence[Run]) -> None:
        """Take in runs of a method that are finished already, all with the same settings."""
        shown = self._methods[method]
        shown.found, shown.state = list(runs), "finished"

    def group(self, method: str, seeds: Sequence[int]) -> GroupOnPage:
        """Announce the training of some seeds of a method.

        Returns:
            What takes in its reports.
        """
        shown = self._methods[method]
        shown.groups.append(Reported(method, seeds))
        shown.state, shown.began, shown.first_report = "training", time.monotonic(), None
        shown.iteration, shown.last_report, shown.total = 0, shown.began, self._settings.total_iterations
        return GroupOnPage(self, shown)

    def end(self, interrupted: bool) -> None:
        """Note that the command has done with its trainings: the next `update` is the last."""
        self._state = "stopped" if interrupted else "finished"
        for shown in self._methods.values():
            if shown.state == "training":
                shown.state = "stopped"

    def update(self) -> None:
        """Write the page.

        Raises:
            OSError: if it cannot be written.
        """
        write_atomically(self.path, self.text().encode())

    def text(self) -> str:
        """The page as it is now."""
        settings, methods = self._settings, list(self._methods.values())
        running = self._state == "running"
        done = sum(shown.fraction for shown in methods) / len(methods)
        refresh = f'<meta http-equiv="refresh" content="{REFRESH}">' if running else ""
        heading = f"{100 * done:.0f} %" if running else self._state
        runs = {shown.method: shown.runs() for shown in methods}
        figures = self._figures({method: group for method, group in runs.items() if group})
        parts = [
            f"<h1>{html.escape(describe(settings))}</h1>",
            f"<p class=quiet>{html.escape(describe_methods(settings, list(runs)))}</p>",
            f"<p class=state><b>{heading}</b> <span class=quiet>{time.strftime('%F %T %z')}</span></p>",
            _bar(done),
            "<div class=row>",
            *(self._card(shown, runs[shown.method]) for shown in methods),
            "</div><div class=row>",
            *(f"<figure>{svg(figure, title)}</figure>" for title, figure in figures.items()),
            "</div>",
        ]
        return (
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
            '<meta name=viewport content="width=device-width, initial-scale=1">'
            f"{refresh}<title>{heading} · {html.escape(settings.name)}</title>"
            f"<style>{LOOK}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
        )

    def _figures(self, runs: Mapping[str, Sequence[Run]]) -> dict[str, Figure]:
        """Those of the finished command that curves are in, as far as they have got, by their titles."""
        if not runs:
            return {}
        settings = self._settings
        first, *others = (run for group in runs.values() for run in group)
        figures = {}
        if others:
            figures["Accuracy"] = accuracy_over_iterations(runs, settings, "Accuracy, mean over tasks")
        else:
            figures["Accuracy"] = accuracy_of_one_run(first, settings)
        figures["Training loss"] = loss_over_iterations(runs, settings, "Training loss")
        if others and settings.tasks > 1:
            figures["Accuracy on each task"] = accuracy_per_task(runs, settings, "Accuracy on each task")
        return figures

    def _card(self, shown: MethodState, runs: Sequence[Run]) -> str:
        facts = []
        if shown.state != "waiting":
            facts.append(counted(len(shown.found) + shown.n_training, "seed"))
        if shown.found:
            facts.append(f"{len(shown.found)} found again")
        if shown.n_training:
            facts.append(f"{shown.iteration}/{shown.total} iterations")
            facts.append(_duration(shown.seconds))
        if shown.state == "training" and shown.first_report is None:
            facts.append("compiling")
        elif shown.state == "training" and shown.seconds_left is not None:
            facts.append(f"about {_duration(shown.seconds_left)} left")
        if runs and len(runs[0].loss):
            facts.append(f"loss {sum(run.loss[-1] for run in runs) / len(runs):.2g}")
        if runs and runs[0].evaluated_at[-1] > 0:
            accuracy = 100 * sum(run.accuracy_overall[-1] for run in runs) / len(runs)
            facts.append(f"accuracy on all tasks {accuracy:.1f} %")
        name = html.escape(self._settings.methods[shown.method].label)
        return (
            f"<section><h2>{name} <small class={shown.state}>{shown.state}</small></h2>"
            f"{_bar(shown.fraction)}<p class=quiet>{' · '.join(facts)}</p></section>"
        )


class GroupOnPage:
    """Seeds of one method that train together, as a destination of their reports."""

    flag = Page.flag

    def __init__(self, page: Page, shown: MethodState) -> None:
        """Describe the group: the page, and what it knows of the method."""
        self._page, self._shown = page, shown

    def record(self, progress: Progress) -> None:
        """Take a report in."""
        self._shown.add(progress, time.monotonic())

    def update(self) -> None:
        """Write the page."""
        self._page.update()

    def close(self) -> None:
        """Nothing is held."""


def svg(figure: Figure, title: str) -> str:
    """A figure as an element of the page, which a screen reader calls by its title."""
    content = io.BytesIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):  # names in it are of one figure alone
        figure.savefig(content, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = content.getvalue().decode()
    width = PIXELS_PER_INCH * figure.get_size_inches()[0]
    return text[text.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{html.escape(title)}" style="width:{width:.0f}px"', 1
    )


def _bar(fraction: float) -> str:
    return f"<div class=bar><i style='width:{100 * fraction:.1f}%'></i></div>"


def _duration(seconds: float) -> str:
    """Write seconds to be read at a glance.

    >>> _duration(8.2), _duration(75), _duration(4000)
    ('8 s', '1 min 15 s', '1 h 06 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
