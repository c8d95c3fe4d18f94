"""What complex synapses and a slow average gain over plain training, in every protocol that was measured.

``python docs/figures/protocols.py`` draws it beside this file, for light and for dark pages, from the results
that are kept in ``experiments/results``.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from methods import SCENARIOS, SEARCHES, half_width, read
from pages import PAGES, Colours, settings

HERE = Path(__file__).parent
PROTOCOLS = {  # what they are called, and the ends of their folders' names
    "split MNIST,\nin sequence": ("split", [f"-task-based{search}" for search in SEARCHES]),
    "the same with SGD": ("split", ["-task-based-sgd"]),
    "split MNIST,\nmixed": ("split", ["-random"]),
    "permuted MNIST,\nin sequence": ("perm", ["-task-based"]),
    "permuted MNIST,\nmixed": ("perm", ["-random"]),
}
METHODS = {
    "cs": ("complex synapses: the weights", "weight", "o"),
    "cs-readout": ("complex synapses: a slow beaker", "weight", "D"),
    "average": ("a slow average of the weights", "hidden", "s"),
}
ROW, APART = 1.0, 0.24  # distances between protocols and between methods


def differences(protocol: str, scenario: str) -> dict[str, np.ndarray]:
    """Final accuracy minus that of plain training, in points, of every seed, by method."""
    data, ends = PROTOCOLS[protocol]
    found = read(f"{data}-{scenario}{end}" for end in ends)
    return {method: found[method] - found["standard"] for method in METHODS}


def draw(ax: Axes, scenario: str, colours: Colours) -> None:
    """One scenario: the mean difference and its 95 % interval."""
    ax.axvline(0, color=colours.faint, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    for row, protocol in enumerate(PROTOCOLS):
        for place, (method, values) in enumerate(differences(protocol, scenario).items()):
            label, kind, marker = METHODS[method]
            color = getattr(colours, kind)
            ax.errorbar(
                values.mean(),
                ROW * row + APART * (place - 1),
                xerr=half_width(values),
                fmt=marker,
                color=color,
                markerfacecolor=colours.paper if marker == "D" else color,
                markersize=6,
                elinewidth=2,
                label=label if row == 0 else None,
            )
    ax.set_title(f"{scenario} scenario", loc="left", color=colours.ink, weight="bold")
    ax.set_ylim(ROW * len(PROTOCOLS) - 0.5, -0.5)
    ax.set_yticks(ROW * np.arange(len(PROTOCOLS)), list(PROTOCOLS))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    for border in range(1, len(PROTOCOLS)):
        ax.axhline(ROW * border - 0.5, color=colours.faint, alpha=0.25, linewidth=0.8)


def draw_figure(colours: Colours, path: Path) -> None:
    """All scenarios."""
    with plt.rc_context(settings(colours)):
        figure, axes = plt.subplots(1, 3, figsize=(11.4, 4.6), sharey=True)
        for ax, scenario in zip(axes, SCENARIOS, strict=True):
            draw(ax, scenario, colours)
        axes[1].set_xlabel("difference to plain training, percentage points")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False)
        figure.subplots_adjust(left=0.16, right=0.985, top=0.92, bottom=0.22, wspace=0.08)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    matplotlib.use("Agg")
    for name, colours in PAGES.items():
        draw_figure(colours, HERE / f"protocols-{name}.svg")
