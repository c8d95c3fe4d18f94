import dataclasses
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from drawings import undraw
from rich.console import Console
from rich.text import Text
from tiers import few

from experiments import compare, rl, run, sharded, submit, sweep
from experiments.claims import __main__ as claims
from experiments.lab import figures
from experiments.lab.command import guard, parsing, report
from experiments.lab.command.timescales import with_timescales
from experiments.lab.data import dataset as data
from experiments.lab.options import settings
from experiments.lab.results import sources, statistics, store
from experiments.lab.results.runs import Run, Seconds
from experiments.lab.system import errors, files
from experiments.lab.system.terminal import plain_console, suit_the_terminal
from experiments.lab.training import progress as progress_of_lab
from experiments.lab.training import train as training
from experiments.lab.training.progress import Progress, ProgressDisplay

DATASET = data.Dataset("MNIST", *np.zeros((4, 1)), max_value=255, source="made up", sha256="abc")
SHORT = ["--tasks=2", "--iters=4", "--eval-log=2", "--loss-log=2"]


def make_run(settings, method, seed):
    random = np.random.default_rng([seed, len(method)])
    at = np.arange(0, settings.total_iterations + 1, settings.eval_log)
    matrix = random.random((settings.tasks, settings.tasks))
    return Run(
        method=method,
        seed=seed,
        evaluated_at=at,
        accuracy=random.random((len(at), settings.tasks)),
        seen=np.arange(settings.tasks) * settings.iters < at[:, None],
        logged_at=at[1:],
        loss=random.random(len(at) - 1),
        initial_accuracy=random.random(settings.tasks),
        accuracy_matrix=matrix,
        matrix_at=settings.iters * np.arange(1, settings.tasks + 1),
        final_accuracy=float(matrix[-1].mean()),
    )


def progress(iteration, total, loss, accuracy=None):
    """A report of a single run with a single task."""
    evaluated = None if accuracy is None else np.array([[accuracy]])
    return Progress(iteration, total, np.array([loss]), evaluated, np.array([[True]]))


class Laboratory:
    """Stands in for the data and the training, and remembers what it was asked to train."""

    def __init__(self, folder):
        self.folder = folder
        self.trained = []
        self.failing = {}  # method: the error it ends in
        self.diverging = {}  # seed: the iteration from which on complex synapses diverge
        self.interrupted_at = []  # iterations with a Ctrl-C

    def load(self, name, data_dir=None):
        return DATASET

    def train(self, configurations, method, seeds, dataset, observe, checkpoints, arguments, probed, devices):
        (settings,) = configurations
        self.trained.append((method, list(seeds)))
        for iteration in range(1, settings.total_iterations + 1):
            if iteration in self.interrupted_at:
                os.kill(os.getpid(), signal.SIGINT)
            observe(progress(iteration, settings.total_iterations, 0.5))
        if method in self.failing:
            raise self.failing[method]
        runs = [make_run(settings, method, seed) for seed in seeds]
        if method == "cs":
            runs = [dataclasses.replace(run, diverged_at=self.diverging.get(run.seed)) for run in runs]
        return [runs], Seconds(1.0, 2.0, 3.0)

    def compare(self, *arguments):
        return compare.main([*SHORT, *self.folders(), *arguments])

    def run(self, *arguments):
        folders = self.folders() if "--pdf" in arguments else self.folders()[:1]
        return run.main([*SHORT, *folders, *arguments])

    def folders(self):
        return [f"--results-dir={self.folder / 'results'}", f"--plot-dir={self.folder / 'plots'}"]

    def written(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


def laboratory_in(folder, monkeypatch):
    """A laboratory in the place of the data and of the training."""
    laboratory = Laboratory(folder)
    monkeypatch.setattr(training, "train", laboratory.train)
    monkeypatch.setattr(data, "load", laboratory.load)
    return laboratory


@pytest.fixture
def drawing_lab(tmp_path, monkeypatch):
    return laboratory_in(tmp_path, monkeypatch)


@pytest.fixture
def lab(drawing_lab, monkeypatch):
    """Without figures, which take the most time."""
    undraw(monkeypatch)
    return drawing_lab


def last_line(capsys):
    return capsys.readouterr().out.splitlines()[-1]


def summary_of(capsys):
    return json.loads(Path(last_line(capsys).removeprefix("summary: ")).read_text())


def test_compare_trains_both_methods_on_the_same_seeds_all_together(lab):
    assert lab.compare("--seed=7", "--n-seeds=3") == 0
    assert lab.trained == [("standard", [7, 8, 9]), ("cs", [7, 8, 9])]


def test_compare_ends_with_the_path_of_its_summary(lab, capsys):
    lab.compare("--n-seeds=2")
    line = last_line(capsys)
    assert line.startswith("summary: ")
    path = Path(line.removeprefix("summary: "))
    assert path.name == "summary.json"
    assert path.parent.name.startswith("compare-splitMNIST2-task-task-based-K5-a500-b2500-s0to1-")
    summary = json.loads(path.read_text())
    assert summary["methods"]["cs"]["final_accuracy"]["per_seed"] == [
        make_run(settings.Settings(tasks=2, iters=4, eval_log=2, loss_log=2), "cs", seed).final_accuracy
        for seed in (0, 1)
    ]
    assert summary["environment"]["jax"] == jax.__version__
    assert summary["config"]["n_seeds"] == 2
    assert summary["seconds"].keys() == {"compile", "train", "evaluate", "total", "methods"}
    assert summary["seconds"]["methods"]["cs"] == {"compile": 1.0, "train": 2.0, "evaluate": 3.0}
    assert summary["seconds"]["train"] == 4.0


def test_the_command_in_the_summary_gives_the_same_results_again(lab, capsys):
    lab.compare("--n-seeds=2", "--lr", "0.01")
    before = summary_of(capsys)
    python, option, module, *arguments = shlex.split(before["command"])
    assert (python, option, module) == ("python", "-m", "experiments.compare")
    compare.main(arguments)
    assert summary_of(capsys)["methods"]["cs"]["stamps"] == before["methods"]["cs"]["stamps"]


@pytest.mark.parametrize("asked", few([[], ["--pdf"]], [["--pdf"]]), ids=["without --pdf", "with --pdf"])
def test_compare_always_writes_its_figures_and_says_where(drawing_lab, capsys, asked):
    drawing_lab.compare("--n-seeds=2", *asked)
    printed = capsys.readouterr().out
    plots = list((drawing_lab.folder / "plots").iterdir())
    kinds = {"accuracy", "matrices", "seconds", "seeds", "tasks"}
    assert {(path.stem.split("-")[-1], path.suffix) for path in plots} == {
        (kind, ending) for kind in kinds for ending in (".pdf", ".png")
    }
    listed = [line for line in printed.splitlines() if line.startswith("figure: ")]
    assert sorted(listed) == sorted(f"figure: {path}, .png" for path in plots if path.suffix == ".pdf")
    assert (
        printed.count(
            "not drawn: stability gap: too few evaluations at the same distance from every task switch, 0 "
        )
        == 1
    )


def test_finished_runs_are_found_again(lab, capsys):
    lab.compare("--n-seeds=2")
    first = summary_of(capsys)
    lab.trained.clear()
    lab.compare("--n-seeds=2")
    assert lab.trained == []
    again = summary_of(capsys)
    assert again["methods"]["cs"]["final_accuracy"] == first["methods"]["cs"]["final_accuracy"]
    assert (first["runs_found_again"], again["runs_found_again"]) == (0, 4)
    assert again["seconds"]["train"] == 0


def test_only_the_missing_seeds_and_methods_are_trained(lab, capsys):
    lab.compare("--n-seeds=2")
    lab.trained.clear()
    lab.compare("--n-seeds=4")
    assert lab.trained == [("standard", [2, 3]), ("cs", [2, 3])]
    lab.trained.clear()
    lab.compare("--n-seeds=4", "--alpha=100")
    assert lab.trained == [("cs", [0, 1, 2, 3])]
    assert "standard: 4 of 4 runs found again" in capsys.readouterr().out


def test_run_and_compare_share_their_runs(lab, capsys):
    lab.run("--cs", "--seed=1")
    assert lab.trained == [("cs", [1])]
    lab.compare("--n-seeds=2")
    assert lab.trained[1:] == [("standard", [0, 1]), ("cs", [0])]
    summary = summary_of(capsys)
    assert summary["methods"]["cs"]["found_again"] == [False, True]
    assert summary["seeds"] == [0, 1]


def test_a_damaged_run_is_trained_again_with_a_warning(lab, capsys):
    lab.run()
    (path,) = (lab.folder / "results" / "runs").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        lab.run()
        assert lines_of_error(capsys, "warning") == [f"warning: {path} is damaged: the run is trained again"]
        lab.run()
        assert lines_of_error(capsys, "warning") == []
    assert lab.trained == [("standard", [0])] * 2


@pytest.fixture
def edited(monkeypatch):
    """Edits a file of the code, in effect."""
    original = sources._of_the_project()

    def edit(content):
        changed = {**original, "experiments/lab/methods/interface.py": content}
        monkeypatch.setattr(sources, "_of_the_project", lambda: changed)

    return edit


def test_runs_of_other_code_are_trained_again_and_the_file_is_named(lab, capsys, edited):
    edited("lr = 1")
    lab.compare("--n-seeds=2")
    first = summary_of(capsys)
    edited("lr = 100")
    lab.compare("--n-seeds=3")
    assert lab.trained[2:] == [("standard", [0, 1, 2]), ("cs", [0, 1, 2])]
    assert lines_of_error(capsys, "note") == [
        f"note: {method}: training 2 runs again, made by other code (changed since: "
        "experiments/lab/methods/interface.py); --accept-other-code would accept those in "
        f"{lab.folder / 'results'}"
        for method in ("standard", "cs")
    ]
    edited("lr = 1")
    lab.trained.clear()
    lab.compare("--n-seeds=2")
    assert lab.trained == []
    assert summary_of(capsys)["methods"] == {
        method: {**of_method, "found_again": [True, True]} for method, of_method in first["methods"].items()
    }


def test_runs_of_other_code_are_accepted_with_a_warning_and_kept_apart(lab, capsys, edited):
    edited("lr = 1")
    lab.compare("--n-seeds=2")
    first = summary_of(capsys)
    edited("lr = 100")
    lab.trained.clear()
    lab.compare("--n-seeds=3", "--accept-other-code")
    assert lab.trained == [("standard", [2]), ("cs", [2])]
    printed = capsys.readouterr()
    for method in ("standard", "cs"):
        assert f"warning: {method}: --accept-other-code accepts 2 runs in {lab.folder}" in printed.err
    path = Path(printed.out.splitlines()[-1].removeprefix("summary: "))
    assert path.parent.name.endswith("-other-code")
    summary = json.loads(path.read_text())
    for method in ("standard", "cs"):
        assert summary["methods"][method]["other_code"] == ["experiments/lab/methods/interface.py"]
        assert summary["methods"][method]["stamps"][:2] == first["methods"][method]["stamps"]


def test_where_no_other_code_made_runs_accepting_them_changes_nothing(lab, capsys):
    lab.compare("--n-seeds=2")
    first = last_line(capsys)
    lab.compare("--n-seeds=2", "--accept-other-code")
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == first
    assert "code" not in printed.err


def test_a_method_that_fails_keeps_no_other_from_being_trained_and_shown(lab, capsys):
    lab.failing["cs"] = TypeError("a dtype\nthat differs")
    assert lab.compare("--n-seeds=2", "--methods", "standard", "cs", "l2") == 1
    printed = capsys.readouterr()
    assert [method for method, _ in lab.trained] == ["standard", "cs", "l2"]
    assert re.search(r"^  cs +failed +- *$", printed.out, re.MULTILINE)
    assert "l2 - standard" in printed.out
    assert "Traceback" in printed.err
    assert "error: cs failed: TypeError: a dtype that differs" in printed.err
    path = Path(printed.out.splitlines()[-1].removeprefix("summary: "))
    said = f"error: 1 of 3 methods failed: cs; the results of the others are in {path.parent}"
    assert printed.err.splitlines()[-1] == said
    summary = json.loads(path.read_text())
    assert summary["failed"] == {"cs": "TypeError: a dtype that differs"}
    assert list(summary["methods"]) == ["standard", "l2"]
    lab.failing.clear()
    assert lab.compare("--n-seeds=2", "--methods", "standard", "cs", "l2") == 0
    assert [method for method, _ in lab.trained[3:]] == ["cs"]


def test_where_all_methods_fail_nothing_is_summed_up(lab, capsys):
    lab.failing = {method: TypeError("a dtype") for method in ("standard", "cs")}
    assert lab.compare() == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "error: 2 of 2 methods failed: standard, cs"
    assert printed.out == ""
    assert lab.written() == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device", "x"), KeyboardInterrupt()])
def test_what_concerns_the_whole_command_ends_it(lab, error):
    lab.failing["standard"] = error
    assert lab.compare() in (1, 130)
    assert [method for method, _ in lab.trained] == ["standard"]


def test_a_configuration_of_jax_that_is_not_heeded_is_noted(lab, capsys):
    with jax.enable_x64(True):
        lab.run()
    assert lines_of_error(capsys, "note") == [
        "note: jax_enable_x64 is True, but runs are computed with False"
    ]


@pytest.mark.parametrize(
    ("diverging", "line"),
    [
        ({1: 100, 2: 100}, "seeds 1, 2: the loss is not finite from iteration 100 on"),
        ({0: 7, 2: 3}, "seeds 0, 2: the loss is not finite from iteration 3 on at the earliest"),
        ({1: 5}, "seed 1: the loss is not finite from iteration 5 on"),
        ({}, None),
    ],
)
def test_a_training_that_diverged_is_warned_of_and_marked_also_when_found_again(lab, capsys, diverging, line):
    lab.diverging = diverging
    for _ in range(2):
        lab.compare("--n-seeds=3")
        printed = capsys.readouterr()
        warned = [text for text in printed.err.splitlines() if text.startswith("warning: ")]
        assert warned == ([f"warning: cs, {line}: the training diverged"] if line else [])
        assert (f" cs ({len(diverging)} of 3 diverged) " in printed.out) == bool(diverging)
        assert " standard  " in printed.out
        path = printed.out.splitlines()[-1].removeprefix("summary: ")
        methods = json.loads(Path(path).read_text())["methods"]
        assert methods["cs"]["diverged"] == sorted(diverging)
        assert methods["standard"]["diverged"] == []


@pytest.mark.parametrize(
    ("diverging", "mean", "points"), [({0: 2}, True, True), ({0: 2, 1: 2}, False, False)], ids=["one", "both"]
)
def test_where_trainings_diverged_the_table_gives_no_interval(lab, capsys, diverging, mean, points):
    lab.diverging = diverging
    lab.compare("--n-seeds=2")
    out = capsys.readouterr().out
    (method,) = re.findall(r"^ +cs \(. of 2 diverged\) +(.+?)  +2 *$", out, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d\d %" if mean else "-", method)
    (difference,) = re.findall(r"^ +cs - standard +(.+?) *$", out, re.MULTILINE)
    number, *others = difference.split()
    assert (number != "-") == points
    assert others == ["-", "-", "-"]
    assert "if a training diverged, no error, interval or p-value is given" in out
    assert "sign flips" not in out
    path = out.splitlines()[-1].removeprefix("summary: ")
    paired = json.loads(Path(path).read_text())["paired"]["cs - standard"]
    assert (paired.pop("mean") is not None) == points
    assert paired == {"sem": None, "n": 2, "ci95": [None] * 2, "p_value": None, "p_value_sign_flip": None}


def test_a_single_run_that_diverged_is_marked(lab, capsys):
    lab.diverging = {0: 2}
    lab.run("--cs")
    assert " % (diverged)\n" in capsys.readouterr().out
    lab.run()
    assert "diverged" not in capsys.readouterr().out


def test_what_a_group_of_runs_took_stands_with_them(lab, capsys):
    lab.compare("--n-seeds=2")
    lab.compare("--n-seeds=3")
    summary = summary_of(capsys)
    spent = {"compile": 1.0, "train": 2.0, "evaluate": 3.0}
    groups = [(one["seeds_together"], one["seconds"]) for one in summary["environments_of_runs"]]
    assert groups == [(2, spent), (1, spent)]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            [],
            "adam, learning rate 0.001, 4 iterations a task, batch 128; "
            "cs: 5 beakers, 500 to 2500 iterations",
        ),
        (
            ["--timescales=suggested"],
            "adam, learning rate 0.001, 4 iterations a task, batch 128; cs: 3 beakers, 8 to 64 iterations",
        ),
        (
            ["--time-step=learning-rate"],
            "adam, learning rate 0.001, 4 iterations a task, batch 128; "
            "cs: 5 beakers, alpha 500 to beta 2500 in the published unit, 1/learning rate: "
            "500000 to 2500000 iterations",
        ),
        (
            [
                "--stream=random",
                "--beakers=1",
                "--optimizer=sgd",
                "--singlehead",
                "--fc-units=20",
                "--decay=0.1",
            ],
            "sgd, learning rate 0.001, 4 iterations, batch 128, 3 layers of 20 units, single head, "
            "weight decay 0.1 (standard); cs: 1 beaker, 2500 iterations",
        ),
    ],
)
def test_the_table_tells_the_settings_that_were_compared(lab, capsys, given, line):
    lab.compare("--n-seeds=2", *given)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("splitMNIST, 2 tasks, task scenario, ")
    assert printed[1] == line


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (7, 10.0, 20_000.0)),
        ({"stream": "random", "iters": 2500}, (6, 50.0, 20_000.0)),  # of all tasks together
        ({"stream": "gradual", "tasks": 2}, (6, 10.0, 8_000.0)),
    ],
)
def test_suggested_timescales_are_those_of_the_length_and_the_tasks(given, expected):
    plain = settings.Settings(**given)
    suggested = with_timescales("suggested", plain, ["standard", "cs"])
    assert (suggested.beakers, suggested.alpha, suggested.beta) == expected
    assert with_timescales("suggested", suggested, ["cs-readout"]) == suggested
    for wanted, methods in (("given", ["cs"]), ("suggested", ["standard", "record"])):
        assert with_timescales(wanted, plain, methods) == plain


def test_suggested_timescales_are_in_the_summary_and_name_the_same_runs(lab, capsys):
    lab.run("--cs", "--timescales=suggested")
    summary = summary_of(capsys)
    assert [summary["config"][name] for name in ("beakers", "alpha", "beta")] == [3, 8, 64]
    lab.run("--cs", "--beakers=3", "--alpha=8", "--beta=64")
    assert len(lab.trained) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--beakers=5"], "must be left out with --beakers"),
        (["--alpha", "500", "--beta", "2500"], "must be left out with --alpha, --beta"),
        (
            ["--time-step=learning-rate"],
            "gives numbers of iterations, but cs has a time step of the learning",
        ),
        (["--methods", "cs-published"], "gives numbers of iterations, but cs-published has a time step"),
    ],
)
def test_timescales_are_suggested_or_given(lab, capsys, given, said):
    try:
        status = lab.compare("--timescales=suggested", *given)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert capsys.readouterr().err.startswith(f"error: --timescales suggested: {said}")


def test_suggested_timescales_that_no_method_uses_are_noted(lab, capsys):
    lab.run("--timescales=suggested")
    assert lines_of_error(capsys, "note") == ["note: --timescales suggested has no effect on standard"]


def test_a_run_tells_its_settings_and_no_others(lab, capsys):
    lab.run("--tasks=1")
    assert capsys.readouterr().out.splitlines()[:2] == [
        "splitMNIST, 1 task, task scenario, task-based stream",
        "adam, learning rate 0.001, 4 iterations a task, batch 128",
    ]


def test_flags_without_effect_are_noted(lab, capsys):
    lab.run("--method=cs", "--overlap=0.5", "--l2-strength=1", "--decay=0.1", "--beakers=2", "--readout=2")
    assert sorted(lines_of_error(capsys, "note")) == [
        "note: --decay 0.1 has no effect on cs",
        "note: --l2-strength 1 has no effect on cs",
        "note: --overlap 0.5 has no effect without --stream gradual",
        "note: --readout 2 has no effect on cs",
    ]
    lab.run("--method=l2", "--overlap=0.5", "--stream=gradual", "--l2-strength=1", "--decay=0.1")
    assert lines_of_error(capsys, "note") == []


def test_timescales_without_effect_are_noted(lab, capsys):
    lab.run("--cs", "--beakers=1", "--alpha=3", "--beta=5")
    assert lines_of_error(capsys, "note") == ["note: --alpha 3 has no effect with --beakers 1"]
    lab.run("--cs", "--beakers=0", "--alpha=3", "--beta=5")
    assert lines_of_error(capsys, "note") == [
        "note: --alpha 3 has no effect with --beakers 0",
        "note: --beta 5 has no effect with --beakers 0",
    ]
    lab.run("--cs", "--beakers=2", "--alpha=3", "--beta=5")
    assert lines_of_error(capsys, "note") == []


def test_a_folder_of_figures_without_figures_is_noted(lab, capsys):
    run.main([*SHORT, *lab.folders()])
    assert lines_of_error(capsys, "note") == ["note: --plot-dir has no effect without --pdf"]
    run.main([*SHORT, *lab.folders(), "--pdf"])
    assert lines_of_error(capsys, "note") == []


@pytest.mark.parametrize("flag", ["tensorboard", "visdom"])
def test_runs_that_are_found_again_are_in_no_live_figures_and_it_is_said(lab, capsys, flag):
    pytest.importorskip("tensorboard")
    lab.run()
    assert lines_of_error(capsys, "note") == []
    lab.run(f"--{flag}")
    assert lines_of_error(capsys, "note") == [
        f"note: --{flag} shows trainings alone, and these runs are found again"
    ]


def test_a_folder_of_data_that_is_not_used_is_noted(lab, capsys):
    lab.run("--experiment=splitDigits", "--data-dir=somewhere")
    expected = "note: --data-dir is not used: the digits come with scikit-learn"
    assert lines_of_error(capsys, "note") == [expected]
    lab.run("--data-dir=somewhere")
    lab.run("--experiment=splitDigits")
    assert lines_of_error(capsys, "note") == []
    np.savez(lab.folder / "mine.npz", x=np.eye(20, 4, dtype=np.float32), y=np.arange(20) % 2)
    lab.run(f"--experiment={lab.folder / 'mine.npz'}", "--tasks=1", "--data-dir=somewhere", "--get-stamp")
    expected = f"note: --data-dir is not used: the data are in {lab.folder / 'mine.npz'}"
    assert lines_of_error(capsys, "note") == [expected]


def test_comparing_without_a_synapse_is_noted(lab, capsys):
    lab.compare("--beakers=0")
    expected = "note: with --beakers 0 there is no synapse: standard and cs are the same"
    assert lines_of_error(capsys, "note") == [expected]
    lab.compare("--beakers=0", "--decay=0.5")
    assert lines_of_error(capsys, "note") == [f"{expected}, but for --decay"]
    lab.compare("--beakers=1")
    assert lines_of_error(capsys, "note") == []


def test_run_writes_a_summary_of_one_method(lab, capsys):
    assert lab.run("--seed=3") == 0
    summary = summary_of(capsys)
    assert list(summary["methods"]) == ["standard"]
    assert summary["seeds"] == [3]
    assert summary["paired"] == {}
    assert summary["methods"]["standard"]["final_accuracy"]["sem"] is None


def test_run_draws_when_asked(drawing_lab, capsys):
    drawing_lab.run()
    assert not (drawing_lab.folder / "plots").exists()
    drawing_lab.run("--pdf")
    assert {path.suffix for path in (drawing_lab.folder / "plots").iterdir()} == {".pdf", ".png"}


@pytest.mark.parametrize("command", ["run", "compare"])
def test_the_stamp_is_printed_alone_and_nothing_is_done(lab, capsys, command):
    assert getattr(lab, command)("--get-stamp") == 0
    stamp = capsys.readouterr().out.strip()
    assert lab.written() == []
    assert lab.trained == []
    getattr(lab, command)()
    assert last_line(capsys).endswith(f"{command}-{stamp}/summary.json")


def test_time_prints_the_seconds(lab, capsys):
    lab.compare("--time", "--n-seeds=1")
    out = capsys.readouterr().out
    for method in ("standard", "cs"):
        assert f"seconds, {method}: compile 1.0, train 2.0, evaluate 3.0\n" in out
    assert "seconds: total " in out


def test_no_gpus_restricts_jax_to_the_cpu(lab, monkeypatch):
    updates = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)
    lab.run()
    assert updates == {}
    lab.run("--no-gpus")
    assert updates == {"jax_platforms": "cpu"}


@pytest.mark.parametrize("command", ["run", "compare"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--tasks=3"], "--tasks 3"),
        (["--alpha=nan"], "--alpha nan"),
        (["--seed=-1"], "--seed -1"),
        (["--eval-log=0"], "--eval-log 0"),
        (["--scenario=domain", "--singlehead"], "--singlehead"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2_before_anything_is_done(
    lab, capsys, monkeypatch, command, wrong, named
):
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("data were loaded"))
    assert getattr(lab, command)(*wrong) == 2
    assert_one_line_error(capsys, named)
    assert lab.written() == []


def test_a_wrong_number_of_seeds_is_an_error(lab, capsys):
    assert lab.compare("--n-seeds=0") == 2
    assert_one_line_error(capsys, "--n-seeds 0")


def test_every_flag_for_whole_numbers_takes_them_as_floats_are_written():
    whole = {one.name for one in dataclasses.fields(settings.Settings) if one.type is int} - {"classes"}
    options, _ = parsing.parse(
        compare.CompareOptions,
        "experiments.compare",
        [f"{errors.flag(name)}=1e2" for name in whole] + ["--n-seeds=1.0e1", "--process-id", "1e0"],
    )
    assert {getattr(options.settings(), name) for name in whole} == {100}
    assert (options.n_seeds, options.machines.process_id) == (10, 1)
    assert isinstance(options.n_seeds, int)


@pytest.mark.parametrize(
    "command", [run, compare, sweep, submit, claims, sharded, rl], ids=lambda m: m.__name__
)
@pytest.mark.parametrize("wrong", ["1.5", "many", "inf", "nan", ""])
def test_what_is_no_whole_number_is_refused_with_the_flag_and_what_is_allowed(capsys, command, wrong):
    flag = {submit: "--cpus", sharded: "--steps"}.get(command, "--seed")
    with pytest.raises(SystemExit) as stop:
        command.main([f"{flag}={wrong}", *(["compare"] if command is submit else [])])
    assert stop.value.code == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert f"Error parsing {flag}: {wrong}: must be a whole number, such as 1000 or 1e3" in said


@pytest.mark.parametrize("wrong", [["--stream=sideways"], ["--iters=many"], ["--no-such-flag"], ["--no-cs"]])
def test_what_the_command_line_does_not_know_ends_with_status_2(lab, capsys, wrong):
    with pytest.raises(SystemExit) as stop:
        lab.run(*wrong)
    assert stop.value.code == 2
    assert wrong[0].split("=")[0] in capsys.readouterr().err
    assert lab.written() == []


def test_settings_that_do_not_fit_the_data_are_one_line_and_status_2(lab, capsys):
    lab.failing["standard"] = errors.SettingsError("--batch 128: more than the 100 samples of task 1")
    assert lab.compare() == 2
    assert_one_line_error(capsys, "--batch 128")
    assert lab.written() == []


def test_a_mistake_in_the_program_keeps_its_traceback(lab):
    lab.failing["standard"] = ValueError("a mistake in the program")
    with pytest.raises(ValueError, match="a mistake"):
        lab.run()


def test_data_that_cannot_be_had_are_one_line_and_status_2(lab, capsys, monkeypatch):
    def missing(*_):
        raise data.DataError("no data: use --data-dir")

    monkeypatch.setattr(data, "load", missing)
    assert lab.run() == 2
    assert_one_line_error(capsys, "no data")
    assert lab.written() == []


def test_figures_that_are_not_asked_for_need_no_folder(lab):
    (lab.folder / "plots").write_text("in the way")
    assert lab.run() == 0


@pytest.mark.parametrize("command", ["run", "compare"])
def test_a_summary_in_whose_way_something_is_is_an_error_before_training(lab, capsys, command):
    ask = getattr(lab, command)
    assert ask("--get-stamp") == 0
    folder = lab.folder / "results" / f"{command}-{capsys.readouterr().out.strip()}"
    folder.parent.mkdir()
    folder.symlink_to("nowhere")
    assert ask() == 2
    assert_one_line_error(capsys, f"--results-dir {folder}: cannot be written in: it is a link to nowhere")
    assert lab.trained == []


def test_names_reach_the_table_as_they_are():
    written = io.StringIO()
    name = "mnist[v2] [bold]:smile:[/]"
    console = plain_console(file=written, width=200)
    report.print_table(console, name, {name: statistics.estimate([0.5])}, {})
    assert written.getvalue().count(name) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_path_that_is_no_text_is_printed_as_its_bytes(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    suit_the_terminal()
    print(os.fsdecode(b"donn\xe9es"), "\N{PLUS-MINUS SIGN}", flush=True)
    assert written.getvalue() == b"donn\xe9es " + "\N{PLUS-MINUS SIGN}".encode(encoding, "replace") + b"\n"


def test_an_error_is_one_line_whatever_the_name(lab, capsys, monkeypatch):
    monkeypatch.undo()
    assert run.main(["--experiment=no\nsuch.npz", *lab.folders()]) == 2
    assert_one_line_error(capsys, r"--experiment no\nsuch.npz: No such file")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_some_characters_shows_the_help(encoding):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", "--help"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--results-dir" in done.stdout


@pytest.mark.parametrize("flag", ["--results-dir", "--plot-dir"])
def test_a_folder_that_cannot_be_written_is_an_error_before_training(lab, capsys, flag):
    blocked = lab.folder / "file"
    blocked.write_text("")
    assert lab.compare(f"{flag}={blocked / 'below'}") == 2
    assert_one_line_error(capsys, f"{flag} {blocked / 'below'}: ")
    assert lab.trained == []
    assert lab.written() == ["file"]


def test_a_file_in_the_way_of_the_runs_is_an_error_before_training(lab, capsys):
    runs = lab.folder / "results" / "runs"
    runs.parent.mkdir()
    runs.write_text("")
    assert lab.compare() == 2
    assert_one_line_error(capsys, f"--results-dir {runs}: cannot be written in: ")
    assert lab.trained == []


def full_for(part, monkeypatch):
    """Let every write to a path with this in it find the disk full."""
    write = files.write_atomically

    def full(path, content):
        if part in str(path):
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(files, "write_atomically", full)


@pytest.mark.parametrize("part", ["results/runs/", "summary.json", "runs.csv"])
def test_a_disk_that_fills_is_one_line_that_names_the_file_and_loses_no_run(lab, capsys, monkeypatch, part):
    with monkeypatch.context() as patch:
        full_for(part, patch)
        patch.setattr(store, "_folder_for_what_is_not_kept", lambda: lab.folder / "elsewhere")
        assert lab.compare("--methods", "standard", "--n-seeds=3") == 1
    assert_one_line_error(capsys, str(lab.folder / "results"))
    if part == "results/runs/":
        (lab.folder / "results").mkdir()
        (lab.folder / "elsewhere").rename(lab.folder / "results" / "runs")
    assert lab.compare("--methods", "standard", "--n-seeds=3") == 0
    assert lab.trained == [("standard", [0, 1, 2])]


def test_a_full_disk_is_one_line_and_status_1(lab, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_atomically", full)
    assert lab.run() == 1
    assert_one_line_error(capsys, "[Errno 28] No space left on device")


def test_figures_that_cannot_be_written_leave_the_summary_whole(drawing_lab, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "save", full)
    assert drawing_lab.compare() == 1
    printed = capsys.readouterr()
    assert "error: [Errno 28] No space left on device" in printed.err
    summary = Path(printed.out.splitlines()[-1].removeprefix("summary: "))
    assert summary.exists()
    assert summary.with_name("runs.csv").exists()


def test_a_tilde_is_the_home_folder_also_after_an_equals_sign(lab, monkeypatch):
    monkeypatch.setenv("HOME", str(lab.folder))
    lab.run("--results-dir=~/mine")
    assert (lab.folder / "mine" / "runs").is_dir()


def test_an_interrupt_keeps_the_runs_that_are_finished(lab, capsys):
    lab.failing["cs"] = KeyboardInterrupt()
    assert lab.compare("--n-seeds=2") == 130
    assert "interrupted" in capsys.readouterr().err
    lab.failing.clear()
    lab.trained.clear()
    assert lab.compare("--n-seeds=2") == 0
    assert lab.trained == [("cs", [0, 1])]


def test_ctrl_c_stops_a_training_at_the_next_report(lab, capsys):
    lab.interrupted_at = [3]
    before = signal.getsignal(signal.SIGINT)
    assert lab.compare("--n-seeds=2") == 130
    assert signal.getsignal(signal.SIGINT) is before
    *_, stopping, last = capsys.readouterr().err.splitlines()
    assert stopping == "stopping at the next log point; once more to stop at once"
    assert last.startswith("interrupted: finished runs are kept, and found again next time; --resume ")
    assert lab.trained == [("standard", [0, 1])]
    assert not (lab.folder / "results").exists()


def test_ctrl_c_in_the_last_stretch_of_a_training_keeps_its_runs(lab, capsys):
    lab.interrupted_at = [8]
    assert lab.compare("--n-seeds=2") == 130
    assert len(list((lab.folder / "results" / "runs").iterdir())) == 2
    lab.interrupted_at = []
    lab.compare("--n-seeds=2")
    assert lab.trained == [("standard", [0, 1]), ("cs", [0, 1])]


def test_ctrl_c_says_that_it_waits_and_a_second_one_does_not():
    console = Console(file=io.StringIO(), force_terminal=False)

    def interrupt_twice():
        with ProgressDisplay("cs, 3 seeds", total=1000, console=console):
            os.kill(os.getpid(), signal.SIGINT)
            assert console.file.getvalue() == "stopping at the next log point; once more to stop at once\n"
            os.kill(os.getpid(), signal.SIGINT)
            pytest.fail("not stopped at once")

    with pytest.raises(KeyboardInterrupt):
        interrupt_twice()


def test_progress_is_shown_outside_the_main_thread_too():
    console = Console(file=io.StringIO(), force_terminal=False)
    before = signal.getsignal(signal.SIGINT)

    def show():
        with ProgressDisplay("cs, 3 seeds", total=10, console=console) as display:
            assert signal.getsignal(signal.SIGINT) is before
            display(progress(10, 10, 0.25))

    thread = threading.Thread(target=show)
    thread.start()
    thread.join()
    assert "10/10 iterations, loss 0.25, " in console.file.getvalue()


@pytest.mark.parametrize("module", [run, compare])
def test_every_setting_has_a_flag_with_its_default(module, capsys):
    with pytest.raises(SystemExit) as stop:
        module.main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    of_the_data = dataclasses.fields(settings.FromTheData)
    for field in dataclasses.fields(settings.Settings):
        if field in of_the_data:
            continue
        # Where it is explained, not where another explanation mentions it.
        described = re.split(f" {errors.flag(field.name)} (?=[A-Z{{]|[a-z|]+MODULE:FUNCTION)", text)[1]
        default = "none" if field.default in (None, "") else field.default
        assert described.split("(default: ", 1)[1].startswith(f"{default})")
    assert "--no-cs" not in text
    assert "--no-singlehead" not in text


def test_published_command_lines_are_understood():
    published = "--scenario=task --iters=500 --alpha=500 --beta=2500 --beakers=5 --n-seeds=10"
    options, _ = parsing.parse(compare.CompareOptions, "experiments.compare", published.split())
    assert options.settings() == settings.Settings()
    assert options.n_seeds == 10
    everything = (
        "--get-stamp --seed 1 --no-gpus --data-dir d --plot-dir p --results-dir r --experiment permMNIST "
        "--scenario class --stream random --tasks 4 --iters 2000 --batch 64 --fc-layers 2 --fc-units 100 "
        "--singlehead --lr 0.1 --optimizer sgd --decay 0.01 --cs --beakers 4 --alpha 1 --beta 2 --time --pdf "
        "--loss-log 10 --eval-log 20 --eval-n 30"
    )
    options, _ = parsing.parse(run.RunOptions, "experiments.run", everything.split())
    assert options.cs
    assert options.machines.no_gpus
    assert options.settings() == settings.Settings(
        experiment="permMNIST",
        scenario="class",
        stream="random",
        tasks=4,
        iters=2000,
        batch=64,
        fc_layers=2,
        fc_units=100,
        singlehead=True,
        lr=0.1,
        optimizer="sgd",
        decay=0.01,
        beakers=4,
        alpha=1.0,
        beta=2.0,
        loss_log=10,
        eval_log=20,
        eval_n=30,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--iters=many"]])
def test_help_and_mistakes_do_not_wait_for_heavy_libraries(arguments):
    code = f"""
import sys
from experiments import compare
try:
    compare.main({arguments})
except SystemExit:
    heavy = {{"jax", "flax", "matplotlib", "scipy", "tensorflow_datasets"}} & set(sys.modules)
    print("imported:", *sorted(heavy))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "imported:"


def lines_of_a_training(monkeypatch, seconds, **how):
    """What is printed of a training of 1000 iterations and so many seconds, where there is no terminal."""
    console, now = Console(file=io.StringIO(), force_terminal=False), [0.0]
    monkeypatch.setattr(progress_of_lab.time, "monotonic", lambda: now[0])
    with ProgressDisplay("cs, 3 seeds", total=1000, console=console, **how) as display:
        for iteration in range(10, 1001, 10):
            now[0] = seconds * iteration / 1000
            display(progress(iteration, 1000, 0.25, 0.5))
    return console.file.getvalue().splitlines()


def test_progress_is_plain_lines_where_there_is_no_terminal(monkeypatch):
    lines = lines_of_a_training(monkeypatch, seconds=1000)
    assert len(lines) == 10
    assert lines[-1] == "cs, 3 seeds: 1000/1000 iterations, loss 0.25, accuracy so far 50.0 %, 1000 s"
    assert all(character.isprintable() for line in lines for character in line)


def test_a_short_training_is_a_single_line_and_of_many_none(monkeypatch):
    (line,) = lines_of_a_training(monkeypatch, seconds=9)
    assert line.endswith(", 9 s")
    assert len(lines_of_a_training(monkeypatch, seconds=45)) == 5
    assert lines_of_a_training(monkeypatch, seconds=59, one_of_many=True) == []
    assert len(lines_of_a_training(monkeypatch, seconds=1000, one_of_many=True)) == 9


def test_a_bar_of_many_is_gone_when_its_training_is_done():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with ProgressDisplay("cs, 1 of 12", total=10, console=console, one_of_many=True) as display:
        display(progress(10, 10, 0.25, 0.5))
    assert console.file.getvalue().endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_progress_is_one_line_on_a_terminal_of_any_width(width):
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    with ProgressDisplay("standard, 5 seeds", total=2500, console=console) as display:
        display(progress(2500, 2500, 0.000123, 0.93))
    shown = Text.from_ansi(console.file.getvalue()).plain.splitlines()
    assert shown[-1].startswith("standard, 5 seeds ")
    assert "loss 0.00012, accuracy so far 93.0 %" in shown[-1]
    assert ("━" in shown[-1]) == (width >= 80)


def test_a_training_with_minutes_between_its_reports_says_how_long_it_will_take():
    now = [0]
    console = Console(file=io.StringIO(), force_terminal=True, width=120, get_time=lambda: now[0])
    with ProgressDisplay("cs, 3 seeds", total=1000, console=console) as display:
        for iteration in (0, 100, 200, 300):
            now[0] = 3 * iteration
            display(progress(iteration, 1000, 0.25, 0.5))
    assert Text.from_ansi(console.file.getvalue()).plain.splitlines()[-1].endswith(" 35:00")


def lines_of_error(capsys, kind):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(f"{kind}: ")]


def assert_one_line_error(capsys, named):
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {named}")
    assert "Traceback" not in captured.err
    assert "summary:" not in captured.out


def test_warnings_are_a_line_without_the_place_they_come_from(capsys):
    def command():
        warnings.warn("timescales far apart", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert guard.guarded(command) == 0
    assert capsys.readouterr().err == "warning: timescales far apart\n"


def test_tasks_that_a_stream_file_never_shows_are_noted(lab, capsys, tmp_path):
    np.savez(tmp_path / "stream.npz", tasks=np.zeros(4, int))
    assert lab.run(f"--stream-file={tmp_path / 'stream.npz'}", "--get-stamp") == 0
    notes = lines_of_error(capsys, "note")
    assert notes[0] == "note: --iters 4 has no effect with --stream-file"
    assert notes[1].startswith("note: --stream-file never shows task 1 (from 0)")
