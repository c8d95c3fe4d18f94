# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Split MNIST: three scenarios, and the time step
#
# Five tasks show two of the ten digits each, and a network learns them one after the other. How well it does on all of them in
# the end depends on the question (van de Ven & Tolias 2019):
#
# * **task**: it is told which task a digit is from, and has outputs of its own for each;
# * **domain**: it is not told. All tasks share two outputs, and a digit is the first or the second of its pair;
# * **class**: it has to tell all ten digits apart.
#
# This notebook compares methods with four seeds, and draws the results. It needs the checkout:
# `pip install -e ".[experiments,notebooks]"`. Set the environment variable `MNIST_DIR` to a folder with the four MNIST files
# to learn MNIST, as here. Otherwise it learns scikit-learn's digits, which are small and easy. `NOTEBOOK_SIZE=small` makes
# everything shorter.

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.utils.capture import capture_output

from cs_optax import BeakerChain
from experiments import lab

small = os.environ.get("NOTEBOOK_SIZE") == "small"
mnist = os.environ.get("MNIST_DIR")
data = {"experiment": "splitMNIST", "data_dir": mnist} if mnist else {"experiment": "splitDigits"}
iterations, n_seeds = (50, 2) if small else (500, 4)
folder = Path(tempfile.mkdtemp())
print(f"{data['experiment']}, {iterations} iterations a task, {n_seeds} seeds")

COLORS = {"standard": "#0072B2", "cs": "#D55E00", "cs-readout": "#332288", "cs-published": "#E69F00"}
LINES = {"standard": "--", "cs": "-", "cs-readout": "-", "cs-published": "-."}
NAMES = {
    "standard": "Adam",
    "cs": "Adam, complex synapses",
    "cs-readout": "the same, a slow beaker",
    "cs-published": "as published",
}
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})


common = {
    **data,
    "iters": iterations,
    "batch": 64 if small else 128,
    "eval_log": iterations // 10,
    "eval_n": 256,
    "class_order": "shuffled",
}


def compare(methods, **settings):
    """The results of these methods: `python -m experiments.compare` in Python."""
    with capture_output():  # progress
        return lab.compare({**common, **settings}, methods, n_seeds, results_dir=folder)


# %% [markdown]
# ## Three scenarios
#
# Three methods are compared:
#
# * Adam alone;
# * Adam followed by complex synapses, with timescales from 10 iterations to eight times the whole training, as
#   `suggest_timescales` gives them;
# * the same training, evaluated with the weights of a slow beaker.
#
# All share initial weights and batches, seed by seed. Each seed has another order of the classes, so that no order is special.

# %%
methods = ("standard", "cs", "cs-readout")
synapse = {"beakers": 7, "alpha": 10, "beta": 40 * iterations}
scenarios = {
    scenario: compare(methods, scenario=scenario, **synapse) for scenario in ("task", "domain", "class")
}

print(f"{'final average accuracy (%)':<28}{'task':>16}{'domain':>16}{'class':>16}")
for method in methods:
    finals = [results.estimates[method] for results in scenarios.values()]
    cells = "".join(f"{100 * one.mean:>10.1f} ± {100 * one.sem:.1f}" for one in finals)
    print(f"{NAMES[method]:<28}{cells}")

# %% [markdown]
# Accuracy on the tasks seen so far: lines are means over seeds, bands are standard errors. A drop at the beginning of a task is
# forgetting.

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True)
for ax, (scenario, results) in zip(axes, scenarios.items(), strict=True):
    for method in methods:
        at, curves = results.evaluated_at, results.accuracy_so_far[method]
        mean, sem = curves.mean(axis=0), curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
        ax.plot(at, 100 * mean, color=COLORS[method], ls=LINES[method], label=NAMES[method])
        ax.fill_between(at, 100 * (mean - sem), 100 * (mean + sem), color=COLORS[method], alpha=0.2, lw=0)
    for switch in range(1, 5):
        ax.axvline(switch * iterations, color="0.9", zorder=0)
    ax.set(title=f"{scenario} scenario", xlabel="iteration", ylim=(0, 102))
axes[0].set_ylabel("accuracy on tasks so far (%)")
axes[1].legend(loc="lower left")
fig.tight_layout()

# %% [markdown]
# ## What is forgotten, and when
#
# The accuracy matrix of the domain scenario, mean over seeds: after each task (row) the accuracy on each task (column). The last
# row is what is left of each task at the end.

# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True)
for ax, method in zip(axes, methods, strict=True):
    matrix = 100 * scenarios["domain"].accuracy_matrix[method].mean(axis=0)
    image = ax.imshow(matrix, vmin=0, vmax=100, cmap="viridis")
    for (row, column), value in np.ndenumerate(matrix):
        ax.text(
            column,
            row,
            f"{value:.0f}",
            ha="center",
            va="center",
            color="w" if value < 60 else "k",
            fontsize=8,
        )
    ax.set(
        title=NAMES[method].removeprefix("Adam, "), xlabel="task", xticks=range(5), xticklabels=range(1, 6)
    )
axes[0].set(ylabel="after task", yticks=range(5), yticklabels=range(1, 6))
fig.colorbar(image, ax=axes, label="accuracy (%)", shrink=0.8)
plt.show()

# %% [markdown]
# ## What the time step does
#
# In the published code the time that passes in one update is the learning rate, 0.001. So its main setting, timescales from 500
# to 2500, means 500 000 to 2 500 000 iterations. In a training of 2500 iterations nothing has flowed by then. Here the default is
# `time_step=1`, and timescales count iterations. The curves show what is left of an update over the iterations since.

# %%
published = {"scenario": "task", "beakers": 5, "alpha": 500, "beta": 2500}
as_published = compare(("standard", "cs"), **published, time_step="learning-rate")
in_iterations = compare(("standard", "cs"), **published)

total = 5 * iterations
times = np.geomspace(1, 1e7, 300)
long = BeakerChain.from_timescales(5, 500.0, 2500.0)
ours = BeakerChain.from_timescales(7, 10.0, 40.0 * iterations)
fig, ax = plt.subplots(figsize=(6, 3.4))
ax.axvspan(1, total, color="0.95", zorder=0)
ax.text(1.3, 2e-4, "this training", color="0.4")
for label, left, color, line in (
    ("500 to 2500, learning rate", long.impulse_response(times * 1e-3), COLORS["cs-published"], "-."),
    ("500 to 2500, iteration", long.impulse_response(times), COLORS["standard"], "--"),
    (f"10 to {40 * iterations}, iteration", ours.impulse_response(times), COLORS["cs"], "-"),
):
    ax.loglog(times, left, color=color, ls=line, label=label)
ax.set(xlabel="iterations since the update", ylabel="fraction left", xlim=(1, 1e7), ylim=(1e-4, 1.4))
ax.legend(title="timescales, time step", loc="lower left", bbox_to_anchor=(0.0, 0.1))
fig.tight_layout()


def difference(results, method="cs"):
    found = results.differences[f"{method} - standard"]
    low, high = found.ci95
    return f"{100 * found.mean:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"


print("difference to Adam alone, task scenario, paired by seed:")
print("  500 to 2500, learning rate: ", difference(as_published))
print("  500 to 2500, iteration:     ", difference(in_iterations))
print(f"  10 to {40 * iterations}, iteration:    ", difference(scenarios["task"]))

# %% [markdown]
# ## How to read this
#
# Four seeds and untuned settings show what the commands do, and not which method is better: the intervals above are more than
# ten points wide. With every method tuned on validation data ([results](../docs/results.md)):
#
# * the weights of complex synapses end below those of plain training;
# * much of the gain that is seen without tuning is the learning rate's. In the domain scenario no method that neither stores
#   images nor is told when a task ends beats plain training at a very low rate;
# * the weights of a slow beaker are better than plain training in the task and the class scenario;
# * a single slow average of the weights does as well as the slow beaker, and replay of stored images better than all.
#
# `python -m experiments.sweep --help` shows how such a comparison is made. `python -m experiments.compare --help` has all
# protocols.
