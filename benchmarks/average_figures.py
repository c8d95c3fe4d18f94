"""The figures of averages of past weights: profiles, and the accuracy of all of them after one training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.listening import LISTENING, listen, shares, suggested
from cs_optax import complex_synapse, profiles, readout
from experiments.lab.data.dataset import Dataset
from experiments.lab.figures import STYLE
from experiments.lab.system.tables import Table

ORANGE, BLUE, GREEN, WANTED = "#D55E00", "#0072B2", "#009E73", "#B0B0B0"
WIDTH = 400  # of both hidden layers
PARTS = tuple(np.geomspace(0.002, 2, 25))  # of the training: the times of the averages that are read
KEPT = (0.004, 0.016, 0.063, 0.25, 1.0)  # of those that are kept
SHOWN = {
    "mean of all updates": profiles.Mean(),
    r"power function, $\sigma_{rel}$ = 0.15": profiles.Power(0.15),
    "exponential, a tenth of the training": profiles.Exponential(250),
    "mean of the last quarter": profiles.Mean(0.25),
    "the moment a fifth ago": profiles.Moment(500),
}


class Setting(NamedTuple):
    """A training by Adam."""

    title: str
    n: int  # updates
    rate: float
    batch: int
    wrong: float = 0.0  # fraction of the labels
    tasks: int = 1  # one after the other, with classes of their own


SETTINGS = (
    Setting("batches of 8", 5000, 1e-3, 8),
    Setting("four labels in ten are wrong", 5000, 1e-3, 128, wrong=0.4),
    Setting("two digits at a time", 2500, 1e-4, 128, tasks=5),
)


# Wanted profiles and those that are read


@matplotlib.rc_context(STYLE)
def profiles_figure(n: int = 2500) -> Figure:
    """What the beakers hold, and five profiles: wanted, and read."""
    last, state = listen(np.eye(n, dtype=np.float32), np.zeros(n, np.float32), "float32")
    figure = Figure(figsize=(7, 3.9))
    first, *panels = figure.subplots(2, 3).flat
    _draw_beakers(
        first, [np.asarray(readout(state, last, row)) for row in np.eye(suggested(n).n_beakers)[1:]]
    )
    for panel, (title, profile) in zip(panels, SHOWN.items(), strict=True):
        average = suggested(n).averaging(profile, n, **LISTENING)
        read = np.asarray(readout(state, last, average.weights))
        _draw_profile(panel, title, shares(profile, n), read, average.misfit)
    panels[0].legend(loc="lower center")
    return figure


def _draw_beakers(panel: Axes, held: Sequence[np.ndarray]) -> None:
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(held)))
    for k, (weights, color) in enumerate(zip(held, colors, strict=True), start=2):
        ages = np.arange(len(weights))[::-1]
        panel.plot(1 + ages, weights / weights.max(), color=color, label=f"$u_{k}$")
    panel.set(
        xscale="log",
        xlabel="age of the update",
        ylabel="weight over its peak",
        ylim=(0, 1.5),
        yticks=(0, 0.5, 1),
    )
    panel.set_title("what each hidden beaker holds\n8 beakers, 2500 updates")
    panel.legend(ncols=4, loc="upper center", columnspacing=0.8, handlelength=0.8, handletextpad=0.4)


def _draw_profile(panel: Axes, title: str, wanted: np.ndarray, read: np.ndarray, misfit: float) -> None:
    n = len(wanted)
    updates = np.arange(1, n + 1)
    top = 1.15 * n * read.max()
    panel.plot(updates, n * wanted, color=WANTED, linewidth=3.5, label="wanted", drawstyle="steps-mid")
    panel.plot(updates, n * read, color=ORANGE, label="read from the chain")
    panel.set(
        xlabel="update", ylabel="weight × updates", xlim=(0, n), ylim=(min(0, 1.1 * n * read.min()), top)
    )
    panel.set_title(f"{title}\nmisfit {100 * misfit:.2g} %" if misfit > 5e-5 else f"{title}\nmisfit < 0.01 %")


# One training, all averages


class Accuracies(NamedTuple):
    """On the test data, in per cent, ``[seeds, …]``."""

    read: np.ndarray  # [seeds, PARTS]
    kept: np.ndarray  # [seeds, KEPT]
    last: np.ndarray  # [seeds]


def accuracies(data: Dataset, setting: Setting, seeds: int) -> Accuracies:
    """Of the averages that are read after a training, those that were kept in it, and the last weights."""
    chain, n = suggested(setting.n), setting.n
    tx = optax.chain(optax.adam(setting.rate), complex_synapse(chain=chain, **LISTENING))
    matrix = jnp.array(
        [chain.averaging(profiles.Exponential(part * n), n, **LISTENING).weights for part in PARTS]
    )
    x_test, y_test = _inputs(data.x_test, data), jnp.asarray(data.y_test)

    def accuracy(params: Any) -> jax.Array:
        return 100 * jnp.mean(_logits(params, x_test).argmax(axis=1) == y_test)

    @jax.jit
    def evaluate(params: Any, state: Any, kept: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        read = jax.lax.map(lambda weights: accuracy(readout(state, params, weights)), matrix)
        return read, jnp.stack([accuracy(average) for average in kept]), accuracy(params)

    train = _trainer(tx, n)
    found = []
    for seed in range(seeds):
        batches, labels = _stream(data, setting, seed)
        params = _network(data, seed)
        found.append(evaluate(*train(params, _inputs(data.x_train, data), labels, batches)))
    return Accuracies(
        *(np.stack([np.asarray(one, float) for one in column]) for column in zip(*found, strict=True))
    )


def _trainer(tx: Any, n: int) -> Any:
    """A jitted training: the weights, the state, and the kept averages, corrected for their start."""
    times = [part * n for part in KEPT]

    @jax.jit
    def train(params: Any, x: jax.Array, labels: jax.Array, batches: jax.Array) -> Any:
        def loss(params: Any, batch: jax.Array) -> jax.Array:
            logits = _logits(params, x[batch])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[batch]).mean()

        def step(carry: Any, batch: jax.Array) -> tuple[Any, None]:
            params, state, kept = carry
            updates, state = tx.update(jax.grad(loss)(params, batch), state, params)
            params = optax.apply_updates(params, updates)
            kept = tuple(
                optax.incremental_update(params, average, -np.expm1(-1 / time))
                for time, average in zip(times, kept, strict=True)
            )
            return (params, state, kept), None

        empty = jax.tree.map(jnp.zeros_like, params)
        carry = params, tx.init(params), (empty,) * len(times)
        (params, state, kept), _ = jax.lax.scan(step, carry, batches)
        corrected = [
            jax.tree.map(lambda e, time=time: e / -np.expm1(-n / time), average)
            for time, average in zip(times, kept, strict=True)
        ]
        return params, state, corrected

    return train


def _stream(data: Dataset, setting: Setting, seed: int) -> tuple[jax.Array, jax.Array]:
    """Which samples are in each batch, ``[n, batch]``, and the labels that are learned."""
    rng = np.random.default_rng(seed)
    labels = data.y_train.astype(np.int32)
    n_classes = data.classes
    wrong = rng.random(len(labels)) < setting.wrong
    labels = np.where(wrong, (labels + rng.integers(1, n_classes, len(labels))) % n_classes, labels)
    parts = np.array_split(
        rng.permutation(n_classes) if setting.tasks > 1 else np.arange(n_classes), setting.tasks
    )
    batches = []
    for classes in parts:
        of_task = np.flatnonzero(np.isin(data.y_train, classes))
        batches.append(rng.choice(of_task, (setting.n // setting.tasks, setting.batch)))
    return jnp.asarray(np.concatenate(batches)), jnp.asarray(labels)


def _network(data: Dataset, seed: int) -> dict[str, jax.Array]:
    sizes = (int(np.prod(data.x_train.shape[1:])), WIDTH, WIDTH, data.classes)
    keys = jax.random.split(jax.random.key(seed), 3)
    params = {}
    for layer, (key, n_in, n_out) in enumerate(zip(keys, sizes, sizes[1:], strict=False)):
        params[f"w{layer}"] = jax.random.normal(key, (n_in, n_out)) * np.sqrt(2 / n_in)
        params[f"b{layer}"] = jnp.zeros(n_out)
    return params


def _logits(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    hidden = x
    for layer in range(2):
        hidden = jax.nn.relu(hidden @ params[f"w{layer}"] + params[f"b{layer}"])
    return hidden @ params["w2"] + params["b2"]


def _inputs(images: np.ndarray, data: Dataset) -> jax.Array:
    return jnp.asarray(images.reshape(len(images), -1) / np.float32(data.max_value), jnp.float32)


@matplotlib.rc_context(STYLE)
def accuracy_figure(name: str, found: dict[str, Accuracies]) -> Figure:
    """Accuracy over the time of the average, a panel for each training."""
    figure = Figure(figsize=(7, 2.7))
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for panel, (title, one) in zip(panels, found.items(), strict=True):
        mean, sem = _mean_and_error(one.read)
        panel.fill_between(PARTS, mean - sem, mean + sem, color=ORANGE, alpha=0.25, linewidth=0)
        panel.plot(PARTS, mean, color=ORANGE, label="read from the chain afterwards")
        best = mean.argmax()
        panel.plot(PARTS[best], mean[best], "*", color=ORANGE, markersize=9, label="its best", zorder=3)
        mean, sem = _mean_and_error(one.kept)
        panel.errorbar(KEPT, mean, sem, fmt="o", color=BLUE, markersize=4, label="kept during the training")
        panel.axhline(one.last.mean(), color="black", linestyle=":", linewidth=1, label="the last weights")
        panel.set(xscale="log", xlabel="time of the average / training")
        panel.set_title(title)
    panels[0].set_ylabel(f"test accuracy on {name} (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return values.mean(axis=0), spread / np.sqrt(len(values))


def accuracy_table(name: str, found: dict[str, Accuracies]) -> Table:
    """What the figure shows, in figures."""
    rows = []
    for title, one in found.items():
        read = one.read.mean(axis=0)
        best = int(read.argmax())
        at_kept = np.array(
            [[np.interp(np.log(part), np.log(PARTS), row) for part in KEPT] for row in one.read]
        )
        gap = float(np.abs(at_kept - one.kept).max())
        kept = one.kept.mean(axis=0)
        rows.append(
            [title, one.last.mean(), read[best], PARTS[best], kept.max(), KEPT[int(kept.argmax())], gap]
        )
    head = ["training", "last weights", "best that was read", "its time / training"]
    head += ["best that was kept", "its time / training", "read and kept differ by at most"]
    seeds = len(next(iter(found.values())).last)
    title = f"Test accuracy on {name}, %, of one training each; means of {seeds} seeds"
    return Table(title, head, rows, [0, 1, 1, 3, 1, 3, 2])
