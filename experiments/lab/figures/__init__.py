"""The figures of the commands, in one style: colour-blind safe, to be read at a column's width.

Every function that draws returns a `matplotlib.figure.Figure` made without pyplot, so that no display
is needed and no state is shared. `save` writes it as PDF (in which text stays text) and as PNG. `all_figures`
draws whatever there is to draw of finished runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from experiments.lab.figures.beakers import beakers
from experiments.lab.figures.curves import (
    accuracy_of_one_run,
    accuracy_over_iterations,
    accuracy_per_task,
    loss_over_iterations,
)
from experiments.lab.figures.gap import stability_gap, why_no_gap
from experiments.lab.figures.matrices import accuracy_matrices
from experiments.lab.figures.seeds import paired_seeds
from experiments.lab.figures.style import (
    COLUMN,
    FORMATS,
    PAGE,
    PNG_DPI,
    SLIDE,
    STYLE,
    looks,
    panels,
    save,
)
from experiments.lab.figures.sweeps import sweep_map
from experiments.lab.figures.times import seconds_per_run
from experiments.lab.options.description import figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.results.runs import FinishedRun
from experiments.lab.results.runs import seconds_per_run as mean_seconds

__all__ = [
    "COLUMN",
    "FORMATS",
    "PAGE",
    "PNG_DPI",
    "SLIDE",
    "STYLE",
    "accuracy_matrices",
    "accuracy_of_one_run",
    "accuracy_over_iterations",
    "accuracy_per_task",
    "all_figures",
    "beakers",
    "looks",
    "loss_over_iterations",
    "paired_seeds",
    "panels",
    "save",
    "seconds_per_run",
    "stability_gap",
    "sweep_map",
    "why_no_gap",
]


def all_figures(
    finished: Mapping[str, Sequence[FinishedRun]],
    settings: Settings,
    searches: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    talk: bool = False,
) -> Iterator[tuple[str, Figure | str]]:
    """Draw every figure that these results have something for, one after the other.

    Args:
        finished: the runs of each method, in the same order of seeds.
        settings: the settings they share.
        searches: of each method what was tried, as in a sweep's summary, where its settings were searched.
        talk: whether for slides of 16:9, with large type.

    Yields:
        The kind of the figure, which is to be part of its file's name, and the figure; or, where another
        setting would have given one, why there is none, in one clause.
    """
    runs = {method: [one.run for one in group] for method, group in finished.items()}
    title = figure_title(settings, methods=list(runs), at_their_best=searches is not None)
    mixed = all(settings.methods[method].mixes_tasks for method in runs)
    first, *others = (run for group in runs.values() for run in group)
    if others:
        yield "accuracy", accuracy_over_iterations(runs, settings, title, talk=talk)
        if settings.tasks > 1:
            yield "tasks", accuracy_per_task(runs, settings, title, talk=talk)
    else:
        yield "accuracy", accuracy_of_one_run(first, settings, talk=talk)
    if len(runs) > 1:
        yield "seeds", paired_seeds(runs, settings, title, talk=talk)
    matrices = accuracy_matrices(runs, settings, title, talk=talk)
    if matrices is not None:
        yield "matrices", matrices
    if settings.stream == "task-based" and settings.tasks > 1 and not mixed:
        gap = stability_gap(runs, settings, title, talk=talk)
        yield "gap", gap or f"stability gap: {why_no_gap(runs, settings)}"
    for method, group in runs.items():
        probed = beakers(group, settings, title, talk=talk) if group[0].probes is not None else None
        if probed is not None:
            yield f"beakers-{method}", probed
    if searches is not None:
        yield "search", sweep_map(searches, settings, talk=talk)
    seconds = {method: mean_seconds(group) for method, group in finished.items()}
    known = {method: spent for method, spent in seconds.items() if spent is not None}
    if known and others:
        yield "seconds", seconds_per_run(known, settings, title, talk=talk)
