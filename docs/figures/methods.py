"""Every method at its best on split MNIST, from the results that are kept in ``experiments/results``.

``python docs/figures/methods.py`` draws it beside this file, for light and for dark pages. The winners of the
searches were tested in several commands. Of a method that is in more than one, the first of `SEARCHES` has
the best validation accuracy (``experiments/README.md``, "Every method tuned").
"""

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from pages import PAGES, Colours, settings
from scipy import stats

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "experiments" / "results"
SCENARIOS = ("task", "domain", "class")
SEARCHES = ("-low-rates", "-20-seeds", "")
METHODS = {  # what they are called, and which kind they are
    "standard": ("plain training", "ink"),
    "cs": ("complex synapses: the weights", "weight"),
    "cs-readout": ("complex synapses: a slow beaker", "weight"),
    "average": ("a slow average of the weights", "hidden"),
    "ewc": ("online EWC", "alone"),
    "si": ("SI", "alone"),
    "lwf": ("LwF", "alone"),
    "er": ("replay, 100 images a class", "stored"),
}


def read(folders: Iterable[str]) -> dict[str, np.ndarray]:
    """Final accuracy of every seed in %, by method; of a method in several folders, that of the first."""
    found: dict[str, np.ndarray] = {}
    for path in (RESULTS / folder / "runs.csv" for folder in folders):
        if not path.exists():
            continue
        runs = defaultdict(list)
        with path.open() as file:
            for run in csv.DictReader(file):
                runs[run["method"]].append(100 * float(run["final_accuracy"]))
        found = {**{method: np.array(values) for method, values in runs.items()}, **found}
    return found


def accuracies(scenario: str) -> dict[str, np.ndarray]:
    """Final accuracy of every seed in %, by method, of split MNIST in sequence."""
    return read(f"split-{scenario}-task-based{search}" for search in SEARCHES)


def half_width(values: np.ndarray) -> float:
    """Of the 95 % interval of the mean, by Student's t."""
    return float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))


def draw(ax: Axes, scenario: str, colours: Colours) -> None:
    """One scenario: every seed, and the mean with its 95 % interval."""
    found = accuracies(scenario)
    ax.axvline(found["standard"].mean(), color=colours.faint, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    for row, (method, (_, kind)) in enumerate(METHODS.items()):
        values, colour = found[method], getattr(colours, kind)
        spread = np.linspace(-0.25, 0.25, len(values))
        ax.plot(values, row + spread, ".", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
        ax.errorbar(
            values.mean(), row, xerr=half_width(values), fmt="o", color=colour, markersize=6, elinewidth=2.2
        )
    ax.set_title(f"{scenario} scenario", loc="left", color=colours.ink, weight="bold")
    ax.set(ylim=(len(METHODS) - 0.5, -0.5), yticks=range(len(METHODS)))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color=colours.faint, alpha=0.25)


def draw_figure(colours: Colours, path: Path) -> None:
    """All scenarios."""
    with plt.rc_context(settings(colours)):
        figure, axes = plt.subplots(1, 3, figsize=(11.4, 3.9), sharey=True)
        for ax, scenario in zip(axes, SCENARIOS, strict=True):
            draw(ax, scenario, colours)
        labels = axes[0].set_yticklabels([label for label, _ in METHODS.values()])
        for label, (_, kind) in zip(labels, METHODS.values(), strict=True):
            label.set_color(getattr(colours, kind))
        axes[1].set_xlabel("final accuracy on all tasks, %")
        figure.subplots_adjust(left=0.245, right=0.985, top=0.9, bottom=0.15, wspace=0.08)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    matplotlib.use("Agg")
    for name, colours in PAGES.items():
        draw_figure(colours, HERE / f"methods-{name}.svg")
