"""After a command has trained: files and figures, and where they are."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.lab.command.failures import raise_if_measures_failed
from experiments.lab.command.options import CommonOptions
from experiments.lab.command.report import show_measures
from experiments.lab.options.settings import Settings

if TYPE_CHECKING:
    from experiments.lab.data.dataset import Dataset
    from experiments.lab.live import Live
    from experiments.lab.results.runs import FinishedRun, Seconds


@dataclass(frozen=True)
class CommandResults:
    """What came of a command.

    Attributes:
        folder: name of the summary's folder in the results; the names of the figures begin with it.
        command: the command line.
        config: its options.
        settings: what its runs have in common of their settings.
        dataset: what was learned.
        finished: the runs of each method, in the same order of seeds.
        seconds: spent on training each.
        began: when the command began, by `time.perf_counter`.
        more: what else belongs in the summary.
    """

    folder: str
    command: str
    config: Mapping[str, Any]
    settings: Settings
    dataset: "Dataset"
    finished: "Mapping[str, Sequence[FinishedRun]]"
    seconds: "Mapping[str, Seconds]"
    began: float
    more: Mapping[str, Any]


def finish(options: CommonOptions, results: CommandResults) -> None:
    """Write the summary, a table of all runs and the figures, and say where; the last lines of a command.

    Figures come after the rest, which is there if they cannot be drawn.

    Args:
        options: they say where to, and whether to draw.
        results: what is to be summed up.

    Raises:
        OSError: if it cannot be written.
        MeasuresFailedError: if a measure of the user's own failed; all else is written.
    """
    from experiments.lab.results import store, summaries
    from experiments.lab.system import files

    output = options.output
    environment = store.current_environment()
    total_seconds = time.perf_counter() - results.began
    path = output.results_dir / results.folder / "summary.json"
    summary = summaries.summary(
        command=results.command,
        config=results.config,
        settings=results.settings,
        environment=environment,
        dataset=results.dataset,
        finished=results.finished,
        seconds=results.seconds,
        total_seconds=total_seconds,
    )
    files.write_json(path, {**summary, **results.more}, indent=1)
    table = path.with_name("runs.csv")
    files.write_atomically(table, summaries.table_of_runs(results.finished, results.settings).encode())
    if output.dump_stream:
        for seed, content in _streams(results.settings, results.dataset, summary["seeds"]):
            stream = path.with_name(f"stream-s{seed}.npz")
            files.write_atomically(stream, content)
            print(f"stream: {stream}")
    show_measures(summary["methods"], results.settings)
    try:
        if options.draws:
            searches = results.more.get("searches")
            draw(results.finished, results.settings, output.plot_dir, results.folder, searches=searches)
    finally:
        if output.time:
            _show_seconds(results.seconds, total_seconds)
        print(f"table of runs: {table}")
        print(f"summary: {path}")
    raise_if_measures_failed(summary["methods"])


def _streams(settings: Settings, dataset: "Dataset", seeds: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """The training samples of each seed, as a file that --stream-file understands."""
    import io

    import numpy as np

    from experiments.lab.tasks.problems import make_problem
    from experiments.lab.tasks.streams import training_stream

    problem = make_problem(settings, dataset)
    for seed in seeds:
        stream = training_stream(settings, problem.seen_by(seed), seed)
        content = io.BytesIO()
        np.savez_compressed(content, tasks=stream.tasks, rows=stream.rows)
        yield seed, content.getvalue()


def _show_seconds(seconds: Mapping[str, "Seconds"], total: float) -> None:
    """A line for each method, and one for the whole command."""
    rest = total
    for method, spent in seconds.items():
        parts = asdict(spent)
        rest -= sum(parts.values())
        print(f"seconds, {method}: {', '.join(f'{name} {value:.1f}' for name, value in parts.items())}")
    print(f"seconds: total {total:.1f}, of which {rest:.1f} for all else (start, data, files)")


def show_page(live: "Live") -> None:
    """Say where the page with live figures is, if there is one."""
    if live.page is not None:
        print(f"live page: {live.page.path}", flush=True)


def draw(
    finished: Mapping[str, Sequence["FinishedRun"]],
    settings: Settings,
    plot_dir: Path,
    name: str,
    *,
    searches: Mapping[str, Mapping[str, Any]] | None = None,
    formats: Sequence[str] | None = None,
    talk: bool = False,
) -> None:
    """Write every figure that these results have something for, and say where.

    Args:
        finished: the runs of each method, in the same order of seeds.
        settings: the settings they share.
        plot_dir: where to.
        name: what the files' names begin with.
        searches: see `experiments.lab.figures.all_figures`.
        formats: of the files; all by default.
        talk: whether as slides, in files with names that end in -talk.

    Raises:
        OSError: if they cannot be written.
    """
    from experiments.lab import figures

    for kind, figure in figures.all_figures(finished, settings, searches, talk=talk):
        if isinstance(figure, str):
            print(f"not drawn: {figure}")
            continue
        file = f"{name}-{kind}-talk" if talk else f"{name}-{kind}"
        paths = figures.save(figure, plot_dir, file, formats or figures.FORMATS)
        print(f"figure: {', '.join([*map(str, paths[:1]), *(path.suffix for path in paths[1:])])}")
