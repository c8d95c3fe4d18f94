"""Fair tuning: validation data to choose, other seeds and the test data once, for the winner."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiers import few

from experiments import sweep
from experiments.lab import figures
from experiments.lab.data import dataset as data
from experiments.lab.data.dataset import load
from experiments.lab.results import sources
from experiments.lab.results.runs import Run, Seconds
from experiments.lab.training import train as training

SHORT = [
    *(
        "--experiment=splitDigits",
        "--iters=20",
        "--batch=16",
        "--fc-units=20",
        "--eval-log=20",
        "--eval-n=20",
    ),
    *("--budget=3", "--n-tuning-seeds=2", "--n-seeds=3"),
]


class Laboratory:
    """Stands in for the training: the accuracy is highest where the learning rate is nearest 0.0005."""

    def __init__(self, folder):
        self.folder, self.trained = folder, []
        self.failing = ()  # a method, and what its settings are evaluated on
        self.diverging_above = np.inf  # a learning rate

    def train(self, configurations, method, seeds, dataset, observe, checkpoints, arguments, probed, devices):
        self.trained.append((method, list(configurations), list(seeds)))
        if self.failing == (method, configurations[0].evaluate_on):
            raise TypeError("a dtype")
        runs = [[self.run_of(one, method, seed) for seed in seeds] for one in configurations]
        return runs, Seconds(1.0, 2.0, 3.0)

    def run_of(self, settings, method, seed):
        lost = settings.lr > self.diverging_above
        return replace(run_of(settings, method, seed), diverged_at=1 if lost else None)

    def sweep(self, *more):
        folders = [f"--results-dir={self.folder / 'results'}", f"--plot-dir={self.folder / 'plots'}"]
        return sweep.main([*SHORT, *folders, *more])


def run_of(settings, method, seed):
    accuracy = 1 / (1 + abs(np.log(settings.lr / 5e-4))) - 0.001 * (seed % 7)
    matrix = np.full((settings.tasks, settings.tasks), accuracy)
    at = np.array([0, settings.total_iterations])
    return Run(
        method=method,
        seed=seed,
        evaluated_at=at,
        accuracy=matrix[:2],
        seen=np.array([[False] * settings.tasks, [True] * settings.tasks]),
        logged_at=at[1:],
        loss=np.array([0.5]),
        initial_accuracy=matrix[0],
        accuracy_matrix=matrix,
        matrix_at=settings.iters * np.arange(1, settings.tasks + 1),
        final_accuracy=float(accuracy),
    )


@pytest.fixture
def lab(tmp_path, monkeypatch):
    laboratory = Laboratory(tmp_path)
    monkeypatch.setattr(training, "train", laboratory.train)
    monkeypatch.setattr(figures, "save", lambda *_: [])
    return laboratory


def summary_of(out):
    return json.loads(Path(out.splitlines()[-1].removeprefix("summary: ")).read_text())


def test_choosing_never_sees_the_test_data_or_the_seeds_of_the_comparison(lab):
    assert lab.sweep() == 0
    choosing = [call for call in lab.trained if call[1][0].evaluate_on == "validation"]
    testing = [call for call in lab.trained if call[1][0].evaluate_on == "test"]
    assert len(choosing) + len(testing) == len(lab.trained)
    assert {tuple(seeds) for _, _, seeds in choosing} == {(1000, 1001)}
    assert [(method, len(group), seeds) for method, group, seeds in testing] == [
        ("standard", 1, [0, 1, 2]),
        ("cs", 1, [0, 1, 2]),
    ]
    for method in ("standard", "cs"):
        assert sum(len(group) for name, group, _ in choosing if name == method) == 3


def test_the_winner_is_the_best_on_validation_data(lab, capsys):
    lab.sweep("--budget=8")
    summary = summary_of(capsys.readouterr().out)
    for method in ("standard", "cs"):
        search = summary["searches"][method]
        best = max(search["candidates"], key=lambda one: one["validation_accuracy"])
        assert search["best"]["lr"] == best["lr"]
        assert abs(np.log(best["lr"] / 5e-4)) == min(
            abs(np.log(c["lr"] / 5e-4)) for c in search["candidates"]
        )
        (tested,) = [
            group[0] for name, group, _ in lab.trained if name == method and group[0].evaluate_on == "test"
        ]
        assert tested.lr == best["lr"]
        assert f"--lr {best['lr']:g}" in search["flags_of_best"]
    assert summary["methods"]["cs"]["final_accuracy"]["n"] == 3


@pytest.mark.parametrize("lowest", few([0.0001, 0.0], [0.0001]), ids=["some", "all"])
def test_configurations_that_diverged_are_marked_and_none_of_them_is_called_the_best(lab, capsys, lowest):
    lab.diverging_above = lowest
    lab.sweep("--methods", "standard", "--budget=5")
    printed = capsys.readouterr()
    summary = summary_of(printed.out)
    candidates = summary["searches"]["standard"]["candidates"]
    lost = [[1000, 1001] if one["lr"] > lowest else [] for one in candidates]
    assert [one["diverged"] for one in candidates] == lost
    said = re.findall(r"^standard: --lr \S+ \S+ %(.*)$", printed.out, re.MULTILINE)
    assert said == [" (2 of 2 diverged)" if one else "" for one in lost]
    never = [one["lr"] for one in candidates if not one["diverged"]]
    assert summary["searches"]["standard"]["best"]["lr"] in (never or [one["lr"] for one in candidates])
    (table,) = lab.folder.glob("results/*/searches.csv")
    with table.open() as file:
        assert [row["diverged"] for row in csv.DictReader(file)] == [
            "yes" if any(one) else "" for one in lost for _ in range(2)
        ]
    warning = (
        "warning: standard: every training of 5 configurations diverged, so that none of them is the best"
    )
    assert (warning in printed.err) == (lowest == 0)


def test_what_is_finished_is_found_again(lab, capsys):
    lab.sweep()
    first = summary_of(capsys.readouterr().out)
    lab.trained.clear()
    lab.sweep()
    out = capsys.readouterr().out
    again, lines = summary_of(out), out.splitlines()
    assert len([line for line in lines if line.endswith(", found again")]) == 6
    assert len([line for line in lines if "runs found again" in line]) == 2  # of the comparison
    assert lab.trained == []
    assert again["searches"] == first["searches"]
    lab.sweep("--budget=4")
    assert [(method, len(group)) for method, group, _ in lab.trained][:1] == [("standard", 1)]
    assert all(group[0].evaluate_on == "validation" for _, group, _ in lab.trained[:1])


def test_the_order_of_the_methods_is_part_of_the_name(lab, capsys):
    stamps = []
    for methods in (("standard", "ewc"), ("ewc", "standard")):
        lab.sweep("--get-stamp", "--methods", *methods)
        stamps.append(capsys.readouterr().out)
    assert stamps[0] != stamps[1]


def test_configurations_of_one_shape_train_together(lab):
    lab.sweep("--methods", "ewc", "--budget=5", "--together=4")
    assert [len(group) for _, group, _ in lab.trained] == [4, 1, 1]


def test_the_table_has_every_configuration_and_seed(lab, capsys):
    lab.sweep()
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("table of configurations: ")]
    text = Path(line.removeprefix("table of configurations: ")).read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["method"] for row in rows] == ["standard"] * 6 + ["cs"] * 6
    assert {row["seed"] for row in rows} == {"1000", "1001"}
    assert all(row["alpha"] == "" for row in rows[:6])
    assert all(float(row["validation_accuracy"]) > 0 for row in rows)


def test_a_search_that_takes_runs_of_other_code_is_kept_apart(lab, capsys, monkeypatch):
    lab.sweep("--methods", "standard")
    assert "-other-code" not in capsys.readouterr().out
    edited = {**sources._of_the_project(), "experiments/lab/methods/interface.py": "edited"}
    monkeypatch.setattr(sources, "_of_the_project", lambda: edited)
    lab.trained.clear()
    lab.sweep("--methods", "standard", "--accept-other-code", "--n-seeds=1", "--seed=7")
    assert [seeds for _, _, seeds in lab.trained] == [[7]]
    out = capsys.readouterr().out
    assert out.splitlines()[-1].endswith("-other-code/summary.json")
    assert "experiments/lab/methods/interface.py" in summary_of(out)["searches"]["standard"]["other_code"]


@pytest.mark.parametrize("evaluate_on", few(["validation", "test"], ["validation"]))
def test_a_method_that_fails_keeps_no_other_from_being_searched_and_compared(lab, capsys, evaluate_on):
    lab.failing = "cs", evaluate_on
    assert lab.sweep("--methods", "standard", "cs", "l2") == 1
    printed = capsys.readouterr()
    folder = Path(printed.out.splitlines()[-1].removeprefix("summary: ")).parent
    said = f"error: 1 of 3 methods failed: cs; the results of the others are in {folder}"
    assert printed.err.splitlines()[-1] == said
    assert "l2 - standard" in printed.out
    summary = summary_of(printed.out)
    assert summary["failed"] == {"cs": "TypeError: a dtype"}
    assert list(summary["methods"]) == list(summary["searches"]) == ["standard", "l2"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--budget=0"], "--budget 0: must be at least 1"),
        (["--together=0"], "--together 0: must be at least 1"),
        (["--n-tuning-seeds=0"], "--n-tuning-seeds 0: must be 1 to "),
        (["--tuning-seed=-1"], "--tuning-seed -1: must be 0 to "),
        (
            ["--tuning-seed=2"],
            "--tuning-seed 2: the tuning seeds must be others than those of the comparison",
        ),
        (["--evaluate-on=validation"], "--evaluate-on: must be left out"),
        (["--probes"], "--probes: must be left out"),
        (["--methods", "average", "--ranges", "average-time=0.01:0.1"], "method average cannot be tried"),
        (["--ranges", "lr=1"], "--ranges lr=1: must be lr=LOW:HIGH"),
        (["--ranges", "lr=1:2", "lr=1:3"], "--ranges lr=1:3: lr must be named once"),
        (["--methods", "standard", "standard"], "method standard: must be named once"),
        (["--alpha=0"], "--alpha 0: must be positive"),
    ],
)
def test_what_cannot_be_meant_is_one_line_before_anything_is_done(lab, capsys, wrong, message):
    assert lab.sweep(*wrong) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not lab.trained
    assert not list(lab.folder.iterdir())


def test_the_stamp_is_printed_and_nothing_is_done(lab, capsys):
    assert lab.sweep("--get-stamp") == 0
    assert capsys.readouterr().out.startswith("splitDigits5-task-task-based-")
    assert not lab.trained


@pytest.mark.slow
@pytest.mark.usefixtures("sketched")
def test_a_real_sweep_finds_a_better_learning_rate(tmp_path, capsys, monkeypatch):
    """The given one learns next to nothing."""
    monkeypatch.setattr(data, "load", lambda *_: load("Digits"))
    folders = [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]
    few = ["--lr=1e-9", "--methods", "standard", "--n-tuning-seeds=1", "--n-seeds=2"]
    assert sweep.main([*SHORT, *few, *folders]) == 0
    summary = summary_of(capsys.readouterr().out)
    search = summary["searches"]["standard"]
    assert search["best"]["lr"] > 1e-5
    assert summary["methods"]["standard"]["final_accuracy"]["mean"] > 0.6
    assert search["candidates"][0]["validation_accuracy"] < 0.6
    assert len(list((tmp_path / "plots").glob("sweep-*-search.png"))) == 1


def test_a_summary_in_whose_way_something_is_is_an_error_before_training(lab, capsys):
    assert lab.sweep("--get-stamp") == 0
    folder = lab.folder / "results" / f"sweep-{capsys.readouterr().out.strip()}"
    folder.parent.mkdir()
    folder.symlink_to("nowhere")
    assert lab.sweep() == 2
    assert f"error: --results-dir {folder}: cannot be written in: it is a link" in capsys.readouterr().err
    assert lab.trained == []
