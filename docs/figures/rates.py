"""Validation accuracy over the learning rate, in the domain scenario of split MNIST.

``python docs/figures/rates.py`` draws it beside this file, for light and for dark pages, from the search that
is kept in ``experiments/results``.
"""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from methods import RESULTS
from pages import PAGES, Colours, settings

HERE = Path(__file__).parent
SEARCH = RESULTS / "split-domain-task-based" / "searches.csv"
METHODS = {  # those that are neither told when a task ends nor store data: name, colour, mark
    "standard": ("plain training", "ink", "o"),
    "cs": ("complex synapses: the weights", "weight", "o"),
    "cs-readout": ("complex synapses: a slow beaker", "weight", "D"),
    "average": ("a slow average of the weights", "hidden", "s"),
}


def configurations(method: str) -> np.ndarray:
    """Learning rate and validation accuracy in %, mean over tuning seeds: ``[configurations, 2]``."""
    found = defaultdict(list)
    with SEARCH.open() as file:
        for row in csv.DictReader(file):
            if row["method"] == method:
                settings = tuple(
                    value for name, value in row.items() if name not in ("seed", "validation_accuracy")
                )
                found[settings, float(row["lr"])].append(100 * float(row["validation_accuracy"]))
    return np.array(sorted((rate, np.mean(accuracies)) for (_, rate), accuracies in found.items()))


def draw_figure(colours: Colours, path: Path) -> None:
    """All methods."""
    with plt.rc_context(settings(colours)):
        figure, ax = plt.subplots(figsize=(11.4, 4.2))
        for method, (label, kind, marker) in METHODS.items():
            rates, accuracies = configurations(method).T
            color = getattr(colours, kind)
            ax.plot(
                rates,
                accuracies,
                marker=marker,
                linestyle="-" if method == "standard" else "none",
                color=color,
                markerfacecolor=colours.paper if marker == "D" else color,
                label=label,
            )
        best = configurations("standard")[:, 1].max()
        ax.axhline(best, color=colours.faint, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ax.set(xscale="log", xlabel="learning rate of Adam", ylabel="validation accuracy, %")
        ax.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="center right", frameon=False)
        figure.subplots_adjust(left=0.07, right=0.68, top=0.97, bottom=0.15)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    matplotlib.use("Agg")
    for name, colours in PAGES.items():
        draw_figure(colours, HERE / f"rates-{name}.svg")
