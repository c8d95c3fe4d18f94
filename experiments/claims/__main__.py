"""The published claims about the complex synapse, measured: ``python -m experiments.claims --help``."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.claims import CLAIMS, measure
from experiments.lab.command.guard import guarded
from experiments.lab.command.parsing import parse
from experiments.lab.options.validation import LARGEST_SEED
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.folders import check_folders
from experiments.lab.system.packages import check_package
from experiments.lab.system.tables import markdown
from experiments.lab.system.terminal import plain_console

if TYPE_CHECKING:
    from experiments.claims.outcome import Outcome, Row

NARROWEST = 80  # columns of the table; in fewer rich would cut its numbers
HEAD = ("claim", "target", "measured", "pass")
PASSED = {True: "yes", False: "NO", None: "–"}


@dataclass(frozen=True)
class ClaimsOptions:
    """Measure what is claimed about the memory of complex synapses, and say whether it holds.

    Prints a table claim · target · measured · pass, draws the figures, and writes every number.
    The exit status is 1 if something that has a target misses it.

    Attributes:
        claims: What to measure; see --list.
        all: Measure everything; about a quarter of an hour on two cores.
        list: Say what there is, and do nothing.
        seed: Seed of everything random; power-law, lifetime, comparison and integrators have nothing random.
        results_dir: Folder for the numbers (claims/NAME.json) and tables (claims/NAME.md).
        plot_dir: Folder for the figures (claims-NAME.pdf and .png).
    """

    claims: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[CLAIM …]", help_behavior_hint=""),
    ] = ()
    all: bool = False
    list: bool = False
    seed: int = 0
    results_dir: Path = Path("results")
    plot_dir: Path = Path("plots")

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        yield "results_dir", self.results_dir / "claims"
        yield "plot_dir", self.plot_dir


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, command = parse(ClaimsOptions, "experiments.claims", arguments)
    missed: list[str] = []
    interrupted = "interrupted: the claims that were measured are kept"
    return guarded(lambda: missed.extend(claims(options, command)), interrupted) or int(bool(missed))


def claims(options: ClaimsOptions, command: str) -> list[str]:
    """Measure the claims that are asked for, one after another; each is kept as soon as it is there.

    Returns:
        The claims that miss their targets.

    Raises:
        SettingsError: if the options cannot be meant.
    """
    if options.list:
        if options.claims or options.all:
            raise SettingsError("--list: must be given alone")
        width = max(map(len, CLAIMS))
        print("\n".join(f"{name:<{width}}  {words}" for name, words in CLAIMS.items()))
        return []
    names = _chosen(options)
    for package in ("matplotlib", "rich", "scipy"):
        check_package(package, "the claims", "experiments")
    check_folders(options.folders())
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from experiments.lab.options.pinned import pinned

    outcomes: dict[str, Outcome] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=plain_console(stderr=True),
    ) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            began = time.perf_counter()
            with pinned():
                outcomes[name] = measure(name, options.seed)
            seconds = time.perf_counter() - began
            keep(name, outcomes[name], options, command, seconds)
            progress.update(task, advance=1)
    show(outcomes)
    print(f"\nnumbers and tables: {options.results_dir / 'claims'}\nfigures: {options.plot_dir}")
    rows = [row for outcome in outcomes.values() for row in outcome.rows]
    missed = [row.claim for row in rows if row.passed is False]
    if missed:
        print(f"{len(missed)} of {len(rows)} miss their targets:", *missed, sep="\n  ", file=sys.stderr)
    return missed


def keep(name: str, outcome: "Outcome", options: ClaimsOptions, command: str, seconds: float) -> None:
    """Write the numbers, tables and figures of one claim, each file whole or not at all."""
    from experiments.lab.figures import save
    from experiments.lab.results.store import current_environment
    from experiments.lab.system.files import write_atomically, write_json

    folder = options.results_dir / "claims"
    content = {
        "command": command,
        "claim": name,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "environment": current_environment(),
        "rows": [asdict(row) for row in outcome.rows],
        "numbers": outcome.numbers,
    }
    write_json(folder / f"{name}.json", content, indent=1)
    text = "\n\n".join([table_of(outcome.rows), *(table.markdown() for table in outcome.tables.values())])
    write_atomically(folder / f"{name}.md", (text + "\n").encode())
    for figure_name, figure in outcome.figures.items():
        save(figure, options.plot_dir, f"claims-{figure_name}")


def table_of(rows: "Sequence[Row]") -> str:
    """The table claim · target · measured · pass, in Markdown."""
    return markdown(HEAD, [(row.claim, row.target, row.measured, PASSED[row.passed]) for row in rows])


def show(outcomes: "Mapping[str, Outcome]") -> None:
    """Print the table of everything that was measured."""
    from rich.table import Table
    from rich.text import Text

    console = plain_console()
    console.width = max(console.width, NARROWEST)
    for name, outcome in outcomes.items():
        table = Table(*HEAD, box=None, pad_edge=False)
        for row in outcome.rows:
            style = "red" if row.passed is False else None
            table.add_row(row.claim, row.target, row.measured, PASSED[row.passed], style=style)
        console.print(Text.assemble("\n", (name, "bold"), f": {CLAIMS[name]}\n"))
        console.print(table)


def _chosen(options: ClaimsOptions) -> list[str]:
    unknown = [name for name in options.claims if name not in CLAIMS]
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is no claim: must be one of {', '.join(CLAIMS)}")
    if bool(options.claims) == options.all:
        raise SettingsError("name what to measure, or --all; --list says what there is")
    if not 0 <= options.seed <= LARGEST_SEED:
        raise SettingsError(f"--seed: must be from 0 to {LARGEST_SEED}, not {options.seed}")
    return list(CLAIMS) if options.all else list(dict.fromkeys(options.claims))


if __name__ == "__main__":
    sys.exit(main())
