"""A page for the browser: one file of HTML and SVG, that loads itself again while trainings run."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from experiments.lab.figures.style import MOST_TASKS_NAMED, Look, looks
from experiments.lab.live.charts import Chart, Line, legible_on_dark
from experiments.lab.live.observer import accuracy_so_far
from experiments.lab.options.description import counted, describe, describe_methods
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import Run
from experiments.lab.results.statistics import standard_error
from experiments.lab.system.files import write_atomically
from experiments.lab.training.progress import Progress

REFRESH = 2  # seconds


@dataclass(frozen=True)
class Averages:
    """What is drawn of one evaluation, over the seeds; in percent.

    Attributes:
        tasks: [tasks], mean accuracy on each task.
        overall: mean and standard error of the average over all tasks.
        so_far: the same of the average over the tasks seen so far.
    """

    tasks: np.ndarray
    overall: tuple[float, float]
    so_far: tuple[float, float]


@dataclass
class MethodState:
    """What is known of one method. Times are those of `time.monotonic`."""

    method: str
    state: str = "waiting"  # "training", "finished", "stopped"
    n_found: int = 0
    n_training: int = 0
    iteration: int = 0
    total: int = 0
    began: float = 0.0
    first_report: tuple[float, int] | None = None  # time, iteration
    last_report: float = 0.0
    accuracy: dict[int, Averages] = field(default_factory=dict)
    loss: dict[int, tuple[float, float]] = field(default_factory=dict)  # mean and standard error
    found: dict[int, Progress] = field(default_factory=dict)

    def add(self, progress: Progress) -> None:
        """Take in a report; runs found again count where the others have got to."""
        self.iteration, self.total = progress.iteration, progress.total
        losses, accuracy, seen = progress.losses, progress.accuracy, progress.seen
        other = self.found.get(progress.iteration)
        if other is not None:
            losses = np.concatenate([losses, other.losses])
            if accuracy is not None and other.accuracy is not None:
                accuracy = np.concatenate([accuracy, other.accuracy])
                seen = np.concatenate([seen, other.seen])
        if progress.iteration > 0:
            self.loss[progress.iteration] = _mean_and_error(losses)
        if accuracy is not None:
            so_far = accuracy_so_far(Progress(progress.iteration, progress.total, losses, accuracy, seen))
            self.accuracy[progress.iteration] = Averages(
                tasks=100 * accuracy.mean(axis=0),
                overall=_mean_and_error(100 * accuracy.mean(axis=1)),
                so_far=_mean_and_error(100 * so_far),
            )

    @property
    def seconds(self) -> float:
        """Seconds of the training, compilation included, until its last report."""
        return max(0.0, self.last_report - self.began)

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the iterations between the first report and the last; None before there are two."""
        if self.first_report is None:
            return None
        time_of_first, first = self.first_report
        if self.iteration <= first:
            return None
        return (self.last_report - time_of_first) * (self.total - self.iteration) / (self.iteration - first)


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
        done = sum(_fraction(shown) for shown in methods) / len(methods)
        refresh = f'<meta http-equiv="refresh" content="{REFRESH}">' if running else ""
        heading = f"{100 * done:.0f} %" if running else self._state
        colors = _palette(self._looks, settings.tasks)
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
            f"<span>{_swatch(_ink(one.method), _dashes(self._looks[one.method]))} {self._name(one)}</span>"
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
            f"<div class=bar><i style='width:{100 * _fraction(shown):.1f}%;"
            f"background:{_ink(shown.method)}'></i></div>",
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
        label, dashes = self._settings.methods[shown.method].label, _dashes(self._looks[shown.method])
        return Line(label, _ink(shown.method), list(points), list(values), list(errors), dashes, 2.2)

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
        key = [f"<span>{_swatch(f'var(--task{task})')} task {task + 1}</span>" for task in named]
        if tasks > MOST_TASKS_NAMED:
            key.insert(1, "<span>…</span>")
        key.append(f"<span>{_swatch('var(--ink)', width=4)} average</span>")
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


def replayed(runs: Sequence[Run]) -> list[Progress]:
    """The reports that the training of some finished runs would have made.

    Args:
        runs: runs of one method with the same settings.
    """
    first = runs[0]
    evaluated = {int(at): place for place, at in enumerate(first.evaluated_at)}
    logged = {int(at): place for place, at in enumerate(first.logged_at)}
    iterations = sorted(evaluated | logged)
    reports = []
    for iteration in iterations:
        losses, accuracy = np.full(len(runs), np.nan), None
        seen = np.zeros((len(runs), first.accuracy.shape[1]), bool)
        if iteration in logged:
            losses = np.array([run.loss[logged[iteration]] for run in runs])
        if iteration in evaluated:
            place = evaluated[iteration]
            accuracy = np.array([run.accuracy[place] for run in runs])
            seen = np.array([run.seen[place] for run in runs])
        reports.append(Progress(iteration, iterations[-1], losses, accuracy, seen))
    return reports


def _mean_and_error(values: np.ndarray) -> tuple[float, float]:
    error = float(standard_error(values[:, None])[0]) if len(values) > 1 else 0.0
    return float(values.mean()), error


def _ink(method: str) -> str:
    return f"var(--of-{method})"


def _dashes(look: Look) -> str:
    """The line style of the figures, in the units of the charts."""
    return "" if look.line == "solid" else " ".join(f"{2 * length:g}" for length in look.line[1])


def _swatch(color: str, dashes: str = "", width: float = 2.5) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    line = f'<path d="M0 5H24" style="stroke:{color}" stroke-width="{width}"{dashed}/>'
    return f'<svg class=swatch width="24" height="10" aria-hidden="true">{line}</svg>'


def _fraction(shown: MethodState) -> float:
    if shown.state == "finished":
        return 1.0
    return shown.iteration / shown.total if shown.total else 0.0


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


def _palette(look_of: Mapping[str, Look], n_tasks: int) -> str:
    """The colours of the methods and the tasks, as variables for a light and a dark page."""
    steps = np.linspace(0, 1, n_tasks) if n_tasks > 1 else np.array([0.4])
    viridis = matplotlib.colormaps["viridis"]
    light = {f"of-{method}": look.color for method, look in look_of.items()}
    light |= {f"task{task}": to_hex(viridis(0.85 * step)) for task, step in enumerate(steps)}
    dark = {f"of-{method}": legible_on_dark(look.color) for method, look in look_of.items()}
    dark |= {f"task{task}": to_hex(viridis(0.3 + 0.7 * step)) for task, step in enumerate(steps)}
    one, other = (";".join(f"--{name}:{color}" for name, color in colors.items()) for colors in (light, dark))
    return f":root{{{one}}}@media(prefers-color-scheme:dark){{:root{{{other}}}}}"


STYLE = """
:root{--paper:#fff;--card:#f7f7f8;--ink:#1a1a1a;--quiet:#5c5c5c;--rule:#d4d4d8;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#131417;--card:#1c1e22;--ink:#ececec;--quiet:#a3a3a8;--rule:#3d4047}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1240px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.2rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:20px 0 8px}h3{font-size:1rem;margin:0 0 6px}
p{margin:4px 0}.quiet{color:var(--quiet);font-size:.86rem}.state{margin-top:10px}
.bar{height:6px;border-radius:3px;background:var(--rule);overflow:hidden;margin:4px 0 8px}
.bar i{display:block;height:100%;background:var(--ink)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:14px;margin-top:12px}
.grid>*{max-width:620px}
section,figure{margin:0;padding:12px;background:var(--card);border-radius:8px;min-width:0}
small{font-weight:400;color:var(--quiet)}small.training{color:var(--ink);font-weight:600}
.key{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.82rem}
.key span{white-space:nowrap}.swatch{vertical-align:middle;fill:none}
svg.chart{display:block;width:100%;height:auto;font-size:12px;fill:var(--ink)}
svg.chart .grid-line{stroke:var(--rule);stroke-width:1}svg.chart .tick{fill:var(--quiet)}
svg.chart .line{fill:none;stroke-linejoin:round}svg.chart .band{stroke:none;fill-opacity:.2}
svg.chart .title{font-weight:600;font-size:13px}
"""
