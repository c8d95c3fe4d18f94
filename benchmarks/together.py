"""Configurations of one shape trained at once: ``python -m benchmarks.together``.

Time of one iteration of one run in a search of settings (`experiments.sweep --together`), for more and more
configurations at once, with two seeds each; on random images of MNIST's size, since time does not depend
on what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from benchmarks.report import Options, publish
from experiments.lab.command.parsing import parse
from experiments.lab.data.dataset import Dataset
from experiments.lab.options.settings import Settings
from experiments.lab.system.tables import Table
from experiments.lab.training.train import train

SEARCHED = {"standard": "lr", "cs": "alpha", "ewc": "ewc_strength"}
SEEDS = (0, 1)


def random_images(per_class: int = 200) -> Dataset:
    """As many for each class."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10, dtype=np.uint8), per_class)
    images = random.integers(0, 255, (len(labels), 28, 28), dtype=np.uint8)
    return Dataset("MNIST", images, labels, images, labels, 255, "random", "")


def seconds_per_iteration(settings: Settings, method: str, at_once: int, dataset: Dataset) -> float:
    """Of one run, without compilation and evaluation."""
    name = SEARCHED[method]
    values = getattr(settings, name) * np.geomspace(0.5, 2, at_once)
    configurations = [replace(settings, **{name: float(value)}) for value in values]
    _, seconds = train(configurations, method, SEEDS, dataset, lambda progress: None, arguments=(name,))
    return seconds.train / (settings.total_iterations * at_once * len(SEEDS))


@dataclass(frozen=True)
class TogetherOptions(Options):
    """Configurations of one shape trained at once.

    Attributes:
        most: Configurations at once, at most.
    """

    most: int = field(default_factory=lambda: 8 if jax.default_backend() == "cpu" else 64)


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(TogetherOptions, "benchmarks.together", arguments)
    settings = Settings(iters=30, eval_log=10**6, eval_n=10, beakers=7, alpha=10.0, beta=20_000.0)
    settings = replace(settings, ewc_samples=25)
    dataset = random_images()
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= given.most]
    measured: dict[tuple[str, int], list[float]] = {(m, n): [] for n in counts for m in SEARCHED}
    for _ in range(given.repeats):
        for (method, n), seconds in measured.items():
            seconds.append(seconds_per_iteration(settings, method, n, dataset))
    rows = [[n, *(1e3 * float(np.median(measured[method, n])) for method in SEARCHED)] for n in counts]
    table = Table(
        f"Milliseconds of one iteration of one run; medians of {given.repeats}",
        ["configurations at once", *SEARCHED],
        rows,
        [0, 2, 2, 2],
    )
    publish("together", given.out, [table])


if __name__ == "__main__":
    main()
