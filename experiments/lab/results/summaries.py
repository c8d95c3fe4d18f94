"""What a command sums up of its runs."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.lab.options import scenario as scenarios
from experiments.lab.options.declaration import as_record
from experiments.lab.options.model import recorded
from experiments.lab.options.settings import Settings
from experiments.lab.results import sources, statistics
from experiments.lab.results.measured import measures
from experiments.lab.results.runs import FinishedRun, Run, Seconds
from experiments.lab.results.stamps import files_of_other_code

if TYPE_CHECKING:
    from experiments.lab.data.dataset import Dataset


def summary(
    *,
    command: str,
    config: Mapping[str, Any],
    settings: Settings,
    environment: Mapping[str, Any],
    dataset: "Dataset",
    finished: Mapping[str, Sequence[FinishedRun]],
    seconds: Mapping[str, Seconds],
    total_seconds: float,
) -> dict[str, Any]:
    """Sum up a command's runs, with the numbers behind its table and its figures.

    Args:
        command: the command line.
        config: its options.
        settings: what all runs have in common of their settings: at least the tasks and the stream.
        environment: the environment of this command; those of its runs are listed beside it.
        dataset: what it learned.
        finished: the runs of each method, in the same order of seeds.
        seconds: spent by this command on each method; what runs found again took stands with their
            environments.
        total_seconds: of the whole command, but for its figures.
    """
    runs = [one for group in finished.values() for one in group]
    return {
        "command": command,
        "config": config,
        "environment": environment,
        "code": {"digest": sources.current().digest, "commit": sources.commit()},
        "data": {"source": dataset.source, "sha256": dataset.sha256, "name": dataset.name},
        "seeds": [one.run.seed for one in next(iter(finished.values()))],
        "methods": {
            method: {
                **_summary_of_method(group, settings),
                **(
                    {"declared": as_record(settings.methods[method])}
                    if settings.methods[method].origin
                    else {}
                ),
            }
            for method, group in finished.items()
        },
        **({"model": recorded(settings.model)} if settings.model.origin else {}),
        **({"scenario": recorded_scenario(settings)} if settings.asked.origin else {}),
        "paired": compared(finished)[1],
        "seconds": {
            **asdict(sum(seconds.values(), Seconds(0.0, 0.0, 0.0))),
            "total": total_seconds,
            "methods": {method: asdict(spent) for method, spent in seconds.items()},
        },
        "runs_found_again": sum(one.found_again for one in runs),
        "environments_of_runs": _distinct([one.environment for one in runs]),
    }


def compared(
    finished: Mapping[str, Sequence[FinishedRun]],
) -> tuple[dict[str, statistics.Estimate], dict[str, statistics.PairedDifference]]:
    """The final accuracy of each method, and how much it differs from the first one's, paired by seed.

    Args:
        finished: the runs of each method, in the same order of seeds.
    """
    final = {method: [one.run.final_accuracy for one in group] for method, group in finished.items()}
    diverged = {method: [one.run.diverged for one in group] for method, group in finished.items()}
    estimates = {method: statistics.estimate(final[method], diverged[method]) for method in finished}
    return estimates, statistics.differences(final, diverged)


def _summary_of_method(finished: Sequence[FinishedRun], settings: Settings) -> dict[str, Any]:
    runs = [one.run for one in finished]
    accuracies, diverged = [run.final_accuracy for run in runs], [run.diverged for run in runs]
    matrices = np.array([run.accuracy_matrix for run in runs])
    return {
        "final_accuracy": {**asdict(statistics.estimate(accuracies, diverged)), "per_seed": accuracies},
        "measures": _measures(runs, settings),
        "probes": _mean_of_probes(runs),
        "accuracy_matrix": matrices.mean(axis=0),
        "accuracy_matrix_per_seed": matrices,
        "accuracy_matrix_at": runs[0].matrix_at,
        "initial_accuracy_per_seed": np.array([run.initial_accuracy for run in runs]),
        "curves": {
            "evaluated_at": runs[0].evaluated_at,
            "accuracy_so_far": _curve([run.accuracy_so_far for run in runs], diverged),
            "accuracy_overall": _curve([run.accuracy_overall for run in runs], diverged),
            "accuracy_per_task": np.mean([run.accuracy for run in runs], axis=0),
            "logged_at": runs[0].logged_at,
            "loss": _curve([run.loss for run in runs], diverged),
        },
        "diverged": [run.seed for run in runs if run.diverged],
        "stamps": [one.stamp for one in finished],
        "found_again": [one.found_again for one in finished],
        "other_code": files_of_other_code(finished),
    }


def _mean_of_probes(runs: Sequence[Run]) -> dict[str, Any] | None:
    """What the beakers held, mean over seeds; None unless all runs were probed."""
    probes = [run.probes for run in runs if run.probes is not None]
    if len(probes) < len(runs):
        return None
    names = ("distance", "flow", "accuracy")
    means = {name: np.mean([getattr(one, name) for one in probes], axis=0) for name in names}
    return {"layers": probes[0].layers, **means}


def _measures(runs: Sequence[Run], settings: Settings) -> dict[str, Any]:
    """Every measure: its mean over seeds and each seed's value, or why there is none."""
    of_runs = [measures(run, settings) for run in runs]
    summed: dict[str, Any] = {}
    for name, declared in settings.measures.items():
        measured = [of_run[name] for of_run in of_runs]
        values = [one.value for one in measured]
        estimate = statistics.estimate(values, [run.diverged for run in runs])
        reasons = [one.reason for one in measured if one.reason is not None]
        summed[name] = {
            **asdict(estimate),
            "per_seed": values,
            "undefined": reasons[0] if reasons else None,
            **({"label": declared.label, "origin": declared.origin} if declared.origin else {}),
            **({"failed": True} if any(one.failed for one in measured) else {}),
        }
    return summed


def records_of_runs(
    finished: Mapping[str, Sequence[FinishedRun]], settings: Settings
) -> Iterator[dict[str, Any]]:
    """Each run's numbers: its measures and its final accuracy per task; NaN where a measure is undefined."""
    for method, group in finished.items():
        for one in group:
            of_run = {name: measure.value for name, measure in measures(one.run, settings).items()}
            last = enumerate(one.run.accuracy_matrix[-1].tolist(), start=1)
            tasks = {f"final_accuracy_task_{task}": accuracy for task, accuracy in last}
            yield {
                "method": method,
                "seed": one.run.seed,
                **of_run,
                **tasks,
                "diverged_at": one.run.diverged_at,
                "stamp": one.stamp,
            }


def table_of_runs(finished: Mapping[str, Sequence[FinishedRun]], settings: Settings) -> str:
    """The records of all runs as CSV. What is undefined is empty."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    for number, record in enumerate(records_of_runs(finished, settings)):
        if number == 0:
            writer.writerow(record)
        writer.writerow(value if _is_known(value) else "" for value in record.values())
    return content.getvalue()


def recorded_scenario(settings: Settings) -> dict[str, Any]:
    """What is kept of a scenario of the user's own beside the settings."""
    return scenarios.recorded(settings.asked, settings.tasks, settings.classes_per_task)


def _is_known(value: Any) -> bool:
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def _curve(per_seed: Sequence[np.ndarray], diverged: Sequence[bool]) -> dict[str, Any]:
    samples = np.array(per_seed)
    return {
        "mean": samples.mean(axis=0),
        "sem": statistics.standard_error(samples, diverged),
        "per_seed": samples,
    }


def _distinct(values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [value for i, value in enumerate(values) if value not in values[:i]]
