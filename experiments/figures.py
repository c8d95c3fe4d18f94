"""The figures of results that are there, again: ``python -m experiments.figures --help``."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.lab.command.guard import guarded
from experiments.lab.command.outcome import draw
from experiments.lab.command.parsing import parse
from experiments.lab.command.results import read_results
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.packages import check_package
from experiments.lab.system.tables import print_whole

if TYPE_CHECKING:
    from experiments.lab.results.runs import FinishedRun


@dataclass(frozen=True)
class FigureOptions:
    """Draw the figures of finished commands again from their results, without data and without training.

    Attributes:
        results: Folders of summaries (compare-…, sweep-…, run-…), summary.json files, or whole folders of
            results, of which all summaries are drawn. The runs are read from the folder runs beside them.
        plot_dir: Folder for the figures.
        formats: Formats of the figures.
        talk: Draw slides, 16:9 and with large type, in files of their own.
    """

    results: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RESULTS [RESULTS …]", help_behavior_hint=""),
    ]
    plot_dir: Path = Path("plots")
    formats: tuple[Literal["pdf", "png"], ...] = ("pdf", "png")
    talk: bool = False

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        yield "plot_dir", self.plot_dir


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
            talk=options.talk,
        )
        _show_seconds(one.finished)


def _summaries(given: Path) -> list[Path]:
    """The summaries that a path stands for."""
    if given.is_file():
        if given.suffix != ".json":
            raise SettingsError(
                f"RESULTS {given}: must be a summary.json, its folder, or a folder of results"
            )
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
