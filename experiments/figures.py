"""The figures of results that are there, again: ``python -m experiments.figures --help``."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments.lab.command.guard import guarded
from experiments.lab.command.outcome import draw
from experiments.lab.command.parsing import parse
from experiments.lab.options.declaration import from_record
from experiments.lab.options.model import from_record as model_from_record
from experiments.lab.options.own import settings_with
from experiments.lab.options.scenario import from_record as scenario_from_record
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.packages import check_package
from experiments.lab.system.tables import print_whole

if TYPE_CHECKING:
    from experiments.lab.results.runs import FinishedRun


@dataclass(frozen=True)
class FigureOptions:
    """Draw the figures of finished commands from their results alone: without data, and without training.

    Attributes:
        results: Folders of summaries (compare-…, sweep-…, run-…), summary.json files, or whole folders of
            results, of which every summary is drawn. The runs are read from the folder runs beside them.
        plot_dir: Folder for the figures.
        formats: Formats of the figures.
    """

    results: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RESULTS [RESULTS …]", help_behavior_hint=""),
    ]
    plot_dir: Path = Path("plots")
    formats: tuple[Literal["pdf", "png"], ...] = ("pdf", "png")

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        yield "plot_dir", self.plot_dir


@dataclass(frozen=True)
class Results:
    """What a finished command left behind.

    Attributes:
        name: the name of its folder.
        settings: what its runs have in common of their settings.
        finished: the runs of each method, in the same order of seeds.
        searches: of each method what was tried, where its settings were searched.
    """

    name: str
    settings: Settings
    finished: "Mapping[str, Sequence[FinishedRun]]"
    searches: Mapping[str, Mapping[str, Any]] | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, _ = parse(FigureOptions, "experiments.figures", arguments)
    return guarded(lambda: figures(options))


def figures(options: FigureOptions) -> None:
    """Read all results, then draw them."""
    from experiments.lab.system.folders import check_folders

    if not options.results:
        raise SettingsError("RESULTS: must name at least one")
    if not options.formats:
        raise SettingsError("--formats: must name at least one")
    check_package("matplotlib", "the figures", "experiments")
    paths = list(dict.fromkeys(path for given in options.results for path in _summaries(given)))
    names = [path.parent.name for path in paths]
    for path, name in zip(paths, names, strict=True):
        if names.count(name) > 1:
            raise SettingsError(
                f"{path.parent}: another of these results has the same name: draw them one by one, "
                "each with a --plot-dir of its own"
            )
    check_folders(options.folders())
    for one in [read_results(path) for path in paths]:
        print(one.name)
        draw(
            one.finished,
            one.settings,
            options.plot_dir,
            one.name,
            searches=one.searches,
            formats=options.formats,
        )
        _show_seconds(one.finished)


def read_results(path: Path) -> Results:
    """Read a summary, and the runs it is made of.

    Args:
        path: the summary.

    Raises:
        SettingsError: one line that names the file that is missing or damaged.
    """
    import json

    from experiments.lab.results import store

    try:
        summary = json.loads(path.read_text(encoding="utf-8-sig"))
        config = summary["config"]
        kind = settings_with(
            tuple(
                from_record(method, of_method.get("declared", {}))
                for method, of_method in summary["methods"].items()
                if method not in Settings.methods
            ),
            model_from_record(summary.get("model")),
            scenario_from_record(summary.get("scenario")),
        )
        given = {one.name: config[one.name] for one in fields(Settings) if one.name in config}
        if given.get("stream_file") is not None:
            given["stream_file"] = Path(given["stream_file"])
        settings = kind(**given)
        validate(settings)
        stamps = {method: list(of_method["stamps"]) for method, of_method in summary["methods"].items()}
        searches = summary.get("searches")
        if not stamps or not all(stamps.values()):
            raise ValueError("it names no runs")
        for of_method in (searches or {}).values():
            tried = [{"validation_accuracy", "per_seed"} <= one.keys() for one in of_method["candidates"]]
            if not (of_method["space"] and tried and all(tried)):
                raise ValueError("a search without what it found")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is damaged, or no summary") from error
    folder = path.parent.parent
    try:
        finished = {
            method: [store.read_run(folder, stamp) for stamp in of_method]
            for method, of_method in stamps.items()
        }
    except FileNotFoundError as error:
        raise SettingsError(f"{error.filename}: this run, of {path}, is missing") from error
    except OSError as error:
        raise SettingsError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(str(error)) from error
    runs = [one.run for group in finished.values() for one in group]
    if any(run.accuracy.shape != (len(runs[0].evaluated_at), settings.tasks) for run in runs):
        raise SettingsError(f"{path}: its runs and its settings do not belong together")
    return Results(path.parent.name, settings, finished, searches)


def _summaries(given: Path) -> list[Path]:
    """The summaries that a path stands for."""
    if given.is_file():
        return [given.resolve()]
    if not given.exists():
        raise SettingsError(f"{given}: no such file or folder")
    if (given / "summary.json").exists():
        return [(given / "summary.json").resolve()]
    found = sorted(given.glob("*/summary.json"))
    if not found:
        raise SettingsError(f"{given}: no summary.json in it, nor in a folder in it")
    return [path.resolve() for path in found]


def _show_seconds(finished: "Mapping[str, Sequence[FinishedRun]]") -> None:
    """Print what a run of each method took, and how many trained together."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from experiments.lab.results.runs import seconds_per_run, trained_together
    from experiments.lab.system.terminal import plain_console

    table = Table(box=SIMPLE_HEAD)
    table.add_column("seconds per run")
    for name in ("compile", "train", "evaluate", "in all", "runs", "together"):
        table.add_column(name, justify="right")
    for method, group in finished.items():
        spent = seconds_per_run(group)
        parts = () if spent is None else (spent.compile, spent.train, spent.evaluate)
        shown = [f"{part:.2f}" for part in (*parts, sum(parts))] if parts else ["-"] * 4
        together = sorted({trained_together(one) for one in group})
        table.add_row(method, *shown, str(len(group)), ", ".join(map(str, together)))
    print_whole(plain_console(), table)


if __name__ == "__main__":
    sys.exit(main())
