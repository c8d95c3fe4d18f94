"""A page for the browser: one file of HTML and SVG, that loads itself again while trainings run."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.lab.figures.style import MOST_TASKS_NAMED, looks
from experiments.lab.live.charts import Chart, Line
from experiments.lab.live.look import STYLE, dashes, ink, palette, swatch
from experiments.lab.live.states import MethodState, replayed
from experiments.lab.options.description import counted, describe, describe_methods
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run
from experiments.lab.system.files import write_atomically
from experiments.lab.training.progress import Progress

REFRESH = 2  # seconds


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
        self._looks = looks(methods, settings)
        self._methods = {method: MethodState(method) for method in methods}
        self._state = "running"

    def found(self, method: str, runs: Sequence[Run]) -> None:
        """Take in runs of a method that are finished already, all with the same settings."""
        shown = self._methods[method]
        shown.n_found, shown.state = len(runs), "finished"
        for report in replayed(runs):
            shown.add(report)
            shown.found[report.iteration] = report

    def group(self, method: str, seeds: Sequence[int]) -> GroupOnPage:
        """Announce the training of some seeds of a method.

        Returns:
            What takes in its reports.
        """
        shown = self._methods[method]
        shown.n_training, shown.state, shown.began = len(seeds), "training", time.monotonic()
        shown.last_report, shown.total = shown.began, self._settings.total_iterations
        # What has been found again is drawn as far as the others have got, so that the averages do not leap.
        shown.iteration, shown.accuracy, shown.loss = 0, {}, {}
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
        colors = palette(self._looks, settings.tasks)
        names = [shown.method for shown in methods]
        drawn = [shown for shown in methods if shown.accuracy or shown.loss]
        parts = [
            f"<h1>{html.escape(describe(settings))}</h1>",
            f"<p class=quiet>{html.escape(describe_methods(settings, names))}</p>",
            f"<p class=state><b>{heading}</b> <span class=quiet>{time.strftime('%F %T %z')}</span></p>",
            f"<div class=bar><i style='width:{100 * done:.1f}%'></i></div>",
        ]
        if len(methods) > 1 and drawn:
            parts.append(self._comparison(drawn))
        parts.append("<h2>Each method</h2><div class=grid>" if len(methods) > 1 else "<div class=grid>")
        parts += [self._card(shown, alone=len(methods) == 1) for shown in methods]
        parts.append("</div>")
        return (
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
            '<meta name=viewport content="width=device-width, initial-scale=1">'
            f"{refresh}<title>{heading} · {html.escape(settings.name)}</title>"
            f"<style>{colors}{STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
        )

    def _comparison(self, drawn: Sequence[MethodState]) -> str:
        measures = [("Accuracy on all tasks (%)", "overall")]
        if self._settings.stream == "task-based" and self._settings.tasks > 1:
            measures.insert(0, ("Accuracy on the tasks seen so far (%)", "so_far"))
        charts = [
            self._chart(
                title,
                [
                    self._line(shown, {at: getattr(one, measure) for at, one in shown.accuracy.items()})
                    for shown in drawn
                ],
            )
            for title, measure in measures
        ]
        charts.append(
            self._chart("Training loss", [self._line(shown, shown.loss) for shown in drawn], accuracy=False)
        )
        key = [
            f"<span>{swatch(ink(one.method), dashes(self._looks[one.method]))} {self._name(one)}</span>"
            for one in drawn
        ]
        if any(one.n_found + one.n_training > 1 for one in drawn):
            key.append("<span class=quiet>mean ± SEM over seeds</span>")
        figures = "".join(f"<figure>{chart}</figure>" for chart in charts)
        return f"<div class=grid>{figures}</div><p class=key>{''.join(key)}</p>"

    def _card(self, shown: MethodState, alone: bool) -> str:
        seeds = counted(shown.n_found + shown.n_training, "seed")
        facts = [seeds] if shown.state != "waiting" else []
        if shown.n_found:
            facts.append(f"{shown.n_found} found again")
        if shown.n_training:
            facts.append(f"{shown.iteration}/{shown.total} iterations")
            facts.append(f"{_duration(shown.seconds)}")
        if shown.state == "training":
            left = shown.seconds_left
            facts.append(
                "compiling"
                if shown.first_report is None
                else ""
                if left is None
                else f"about {_duration(left)} left"
            )
        if shown.loss:
            facts.append(f"loss {shown.loss[max(shown.loss)][0]:.2g}")
        if shown.accuracy:
            facts.append(f"accuracy on all tasks {shown.accuracy[max(shown.accuracy)].overall[0]:.1f} %")
        parts = [
            f"<h3>{self._name(shown)} <small class={shown.state}>{shown.state}</small></h3>",
            f"<div class=bar><i style='width:{100 * shown.fraction:.1f}%;"
            f"background:{ink(shown.method)}'></i></div>",
            f"<p class=quiet>{' · '.join(fact for fact in facts if fact)}</p>",
        ]
        if shown.accuracy:
            parts.append(self._chart("Accuracy on each task (%)", self._lines_of_tasks(shown)))
            parts.append(self._key_of_tasks(shown))
        if alone and shown.loss:
            parts.append(self._chart("Training loss", [self._line(shown, shown.loss)], accuracy=False))
        return f"<section>{''.join(parts)}</section>"

    def _name(self, shown: MethodState) -> str:
        return html.escape(self._settings.methods[shown.method].label)

    def _line(self, shown: MethodState, points: dict[int, tuple[float, float]]) -> Line:
        values, errors = zip(*points.values(), strict=True) if points else ((), ())
        label, dashing = self._settings.methods[shown.method].label, dashes(self._looks[shown.method])
        return Line(label, ink(shown.method), list(points), list(values), list(errors), dashing, 2.2)

    def _lines_of_tasks(self, shown: MethodState) -> list[Line]:
        at = list(shown.accuracy)
        tasks = np.array([one.tasks for one in shown.accuracy.values()])
        lines = [
            Line(f"task {task + 1}", f"var(--task{task})", at, list(values))
            for task, values in enumerate(tasks.T)
        ]
        average = self._line(shown, {i: one.overall for i, one in shown.accuracy.items()})
        return [
            *lines,
            Line("average of all tasks", "var(--ink)", at, average.values, average.errors, width=2.6),
        ]

    def _key_of_tasks(self, shown: MethodState) -> str:
        tasks = self._settings.tasks
        named = range(tasks) if tasks <= MOST_TASKS_NAMED else (0, tasks - 1)
        key = [f"<span>{swatch(f'var(--task{task})')} task {task + 1}</span>" for task in named]
        if tasks > MOST_TASKS_NAMED:
            key.insert(1, "<span>…</span>")
        key.append(f"<span>{swatch('var(--ink)', width=4)} average</span>")
        return f"<p class=key>{''.join(key)}</p>"

    def _chart(self, title: str, lines: Sequence[Line], accuracy: bool = True) -> str:
        settings = self._settings
        boundaries: Sequence[int] = ()
        if settings.stream == "task-based" and 1 < settings.tasks <= MOST_TASKS_NAMED:
            boundaries = range(0, settings.total_iterations + 1, settings.iters)
        chart = Chart(
            title,
            lines,
            x_max=settings.total_iterations,
            boundaries=boundaries,
            highest=100.0 if accuracy else math.inf,
            marked=("chance", 100 * settings.chance) if accuracy else None,
        )
        return chart.svg()


class GroupOnPage:
    """Seeds of one method that train together, as a destination of their reports."""

    flag = Page.flag

    def __init__(self, page: Page, shown: MethodState) -> None:
        """Describe the group: the page, and what it knows of the method."""
        self._page, self._shown = page, shown

    def record(self, progress: Progress) -> None:
        """Take a report in."""
        shown = self._shown
        shown.last_report = time.monotonic()
        if shown.first_report is None:
            shown.first_report = shown.last_report, progress.iteration
        shown.add(progress)
        if progress.iteration >= progress.total:
            shown.state = "finished"

    def update(self) -> None:
        """Write the page."""
        self._page.update()

    def close(self) -> None:
        """Nothing is held."""


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
