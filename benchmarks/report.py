"""Tables and figures of the benchmarks: printed, and written beside each other in one folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.lab.figures import STYLE, save
from experiments.lab.system.standard_streams import lasting_streams
from experiments.lab.system.tables import Table

# From the palette of Okabe & Ito (2008), with a mark each.
CURVES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#56B4E9", "v"),
    ("#E69F00", "P"),
)


@dataclass(frozen=True)
class Options:
    """What all benchmarks can be asked.

    Attributes:
        repeats: Rounds that medians are taken of.
        out: Folder for the table (Markdown and JSON) and the figures.
    """

    repeats: int = 9
    out: Path | None = None


def where() -> dict[str, Any]:
    """The hardware and the versions that figures are from."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "platform": device.platform,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def publish(name: str, out: Path | None, tables: Sequence[Table], figure: Figure | None = None) -> None:
    """Write the tables and the figure into a folder, where one is given, and print the tables."""
    place = where()
    header = "{device}, {cores} cores, jax {jax}, Python {python}".format(**place)
    text = "\n\n".join([header, *(table.markdown() for table in tables)])
    if out is not None:
        _write(name, out, place, text, tables, figure)
    with lasting_streams() as streams:  # or a benchmark whose files are whole would count as failed
        print(text)
        streams.out.flush()


def _write(
    name: str, out: Path, place: dict[str, Any], text: str, tables: Sequence[Table], figure: Figure | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text(text + "\n")
    content = {"where": place, "tables": [asdict(table) for table in tables]}
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    if figure is not None:
        save(figure, out, name)


def curves(panel: Axes, x: Sequence[float], lines: Mapping[str, Sequence[float]]) -> None:
    """Lines with marks, each named in the legend."""
    with matplotlib.rc_context(STYLE):
        for (color, mark), (name, y) in zip(CURVES, lines.items(), strict=False):
            panel.plot(x, y, color=color, marker=mark, markersize=3.5, label=name)
        panel.legend()
