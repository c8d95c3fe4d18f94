"""Finished results in Python: as arrays, as records and as figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lab.command.report import mean_and_error
from experiments.lab.options.declaration import from_record
from experiments.lab.options.measure import Measure
from experiments.lab.options.measure import from_record as measure_from_record
from experiments.lab.options.model import from_record as model_from_record
from experiments.lab.options.own import settings_with
from experiments.lab.options.scenario import from_record as scenario_from_record
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate
from experiments.lab.results import store
from experiments.lab.results.runs import FinishedRun, Run
from experiments.lab.results.statistics import Estimate, PairedDifference
from experiments.lab.system.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Results:
    """What a finished command left behind. Accuracies are fractions correct; the first axis is the seed.

    Attributes:
        path: its summary.
        settings: what its runs have in common of their settings.
        finished: the runs of each method, in the same order of seeds.
        searches: of each method what was tried, where its settings were searched; None elsewhere.
    """

    path: Path
    settings: Settings
    finished: Mapping[str, Sequence[FinishedRun]]
    searches: Mapping[str, Mapping[str, Any]] | None = None

    def __repr__(self) -> str:
        """Its name, and the final accuracy of each method."""
        shown = (f"{method}: {mean_and_error(one)}" for method, one in self.estimates.items())
        return f"Results({self.name}; {', '.join(shown)})"

    @property
    def name(self) -> str:
        """The name of its folder, with which the names of its figures begin."""
        return self.path.parent.name

    @property
    def methods(self) -> list[str]:
        """The methods' names; differences are to the first."""
        return list(self.finished)

    @property
    def seeds(self) -> list[int]:
        """The seeds."""
        return [one.run.seed for one in next(iter(self.finished.values()))]

    @property
    def final_accuracy(self) -> dict[str, np.ndarray]:
        """Of each method the mean accuracy over tasks in the end, on the whole test set; ``[seeds]``."""
        return self._stacked(lambda run: run.final_accuracy)

    @property
    def accuracy_matrix(self) -> dict[str, np.ndarray]:
        """Accuracy on each task after each task, ``[seeds, rows, tasks]``; a single row for mixed streams."""
        return self._stacked(lambda run: run.accuracy_matrix)

    @property
    def evaluated_at(self) -> np.ndarray:
        """The iterations of the evaluations, ``[L]``."""
        return next(iter(self.finished.values()))[0].run.evaluated_at

    @property
    def accuracy_per_task(self) -> dict[str, np.ndarray]:
        """Accuracy on each task at every evaluation, on a subset; ``[seeds, L, tasks]``."""
        return self._stacked(lambda run: run.accuracy)

    @property
    def accuracy_so_far(self) -> dict[str, np.ndarray]:
        """Mean accuracy over the tasks seen so far at every evaluation; ``[seeds, L]``."""
        return self._stacked(lambda run: run.accuracy_so_far)

    @property
    def logged_at(self) -> np.ndarray:
        """The iterations at which the stretches of `loss` end; ``[M]``."""
        return next(iter(self.finished.values()))[0].run.logged_at

    @property
    def loss(self) -> dict[str, np.ndarray]:
        """Mean training loss of every stretch; ``[seeds, M]``."""
        return self._stacked(lambda run: run.loss)

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Mean and standard error over seeds of each method's final accuracy."""
        from experiments.lab.results.summaries import compared  # which imports JAX

        return compared(self.finished)[0]

    @property
    def differences(self) -> dict[str, PairedDifference]:
        """Each method's final accuracy less that of the first method, paired by seed."""
        from experiments.lab.results.summaries import compared

        return compared(self.finished)[1]

    def records(self) -> list[dict[str, Any]]:
        """A record for each run, with its measures, as for ``pandas.DataFrame``; NaN where undefined."""
        from experiments.lab.results.summaries import records_of_runs

        return list(records_of_runs(self.finished, self.settings))

    def figures(self) -> dict[str, Figure]:
        """Every figure that these results have something for, by its kind."""
        from experiments.lab.figures import all_figures

        drawn = all_figures(self.finished, self.settings, self.searches)
        return {kind: figure for kind, figure in drawn if not isinstance(figure, str)}

    def _stacked(self, of: Callable[[Run], Any]) -> dict[str, np.ndarray]:
        return {method: np.array([of(one.run) for one in group]) for method, group in self.finished.items()}


def read_results(path: Path | str) -> Results:
    """Read a summary, and the runs it is made of.

    Args:
        path: the summary, or its folder.

    Raises:
        SettingsError: one line that names the file that is missing or damaged.
    """
    path = Path(path)
    path = path / "summary.json" if path.is_dir() else path
    try:
        summary = json.loads(path.read_text(encoding="utf-8-sig"))
        config = summary["config"]
        kind = _kind_of_settings(summary)
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
    return Results(path, settings, finished, searches)


def _kind_of_settings(summary: Mapping[str, Any]) -> type[Settings]:
    """The settings, with the user's own methods, model, scenario and measures as far as they are kept."""
    methods = summary["methods"]
    own = [name for name in methods if name not in Settings.methods]
    return settings_with(
        tuple(from_record(name, methods[name].get("declared", {})) for name in own),
        model_from_record(summary.get("model")),
        scenario_from_record(summary.get("scenario")),
        tuple(_measures(methods, summary["seeds"])),
    )


def _measures(methods: Mapping[str, Any], seeds: Sequence[int]) -> Iterator[Measure]:
    """The measures of the user's own, with the values that they have in a summary."""
    of_first: Mapping[str, Any] = next(iter(methods.values()))["measures"] if methods else {}
    for name, about in of_first.items():
        if name not in Settings.measures and "label" in about:
            values = {
                (method, seed): value
                for method, of_method in methods.items()
                for seed, value in zip(seeds, of_method["measures"][name]["per_seed"], strict=True)
            }
            yield measure_from_record(name, about["label"], values)
