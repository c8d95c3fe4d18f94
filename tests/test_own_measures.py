"""A measure of the user's own goes wherever a built-in one goes: summaries, tables, old results, errors."""

import csv
import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from drawings import undraw
from test_measures import NAMES, make_run

from experiments import compare, figures, run, sweep
from experiments.lab.options.measure import Measure
from experiments.lab.options.own import declared, settings_with
from experiments.lab.options.settings import Settings
from experiments.lab.results import stamps
from experiments.lab.results.measured import measures
from experiments.lab.results.measures import measure
from experiments.lab.system.errors import SettingsError

TINY = ["--experiment=splitDigits", "--tasks=2", "--iters=4", "--batch=16", "--fc-units=8", "--eval-log=2"]
TINY += ["--eval-n=20", "--loss-log=2"]

TEXT = """
from dataclasses import dataclass

from experiments.lab.results.measures import Measured, measure

@measure(name="first-task", label="first task at the end")
def first_task(run, settings):
    '''Accuracy on the first task at the end.'''
    return run.accuracy_matrix[-1, 0]

@dataclass(frozen=True)
class Own:
    '''Of the measure.

    Attributes:
        level: The accuracy that counts as learned.
    '''
    level: float = 0.5

@measure("above", settings=Own)
def above(run, settings):
    return (run.accuracy_overall > settings.level).mean()

def last_loss(run, settings):
    return run.loss[-1] if run.method == "standard" else None

def why(run, settings):
    return Measured(float("nan"), f"not with {settings.iters} iterations")

def broken(run, settings):
    return run.no_such_record

def table(run, settings):
    return run.accuracy

def spoils(run, settings):
    run.accuracy[:] = 0

@measure(name="forgetting")
def taken(run, settings):
    return 0

number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    return path


def folders(tmp_path):
    return [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]


def summary_of(out):
    return Path(out.splitlines()[-1].removeprefix("summary: "))


@pytest.mark.usefixtures("sketched")
def test_it_stands_beside_the_built_in_ones_and_needs_no_training(tmp_path, file, capsys, monkeypatch):
    given = [*TINY, "--n-seeds=2", "--methods", "standard", "cs", *folders(tmp_path)]
    with monkeypatch.context() as patch:
        undraw(patch)
        assert compare.main(given) == 0
        path = summary_of(capsys.readouterr().out)
        before = json.loads(path.read_text())["methods"]["cs"]["measures"]
        assert list(before) == NAMES
        assert compare.main([*given, "--measures", f"{file}:first_task", f"{file}:last_loss"]) == 0
    out = capsys.readouterr().out
    assert out.count("2 of 2 runs found again") == 2
    assert summary_of(out) == path  # measures are no part of what a run is
    assert "first task at the end" in out
    methods = json.loads(path.read_text())["methods"]
    after = methods["cs"]["measures"]
    assert list(after) == [*NAMES, "first-task", "last_loss"]
    assert {name: after[name] for name in NAMES} == before
    matrices = np.array(methods["cs"]["accuracy_matrix_per_seed"])
    assert after["first-task"]["per_seed"] == matrices[:, -1, 0].tolist()
    assert after["first-task"]["mean"] == pytest.approx(matrices[:, -1, 0].mean())
    assert after["first-task"]["origin"] == "mine.py:first_task"
    assert (after["last_loss"]["mean"], after["last_loss"]["undefined"] is None) == (None, False)
    assert methods["standard"]["measures"]["last_loss"]["undefined"] is None
    rows = list(csv.DictReader((path.parent / "runs.csv").read_text().splitlines()))
    assert [float(row["first-task"]) for row in rows[2:]] == after["first-task"]["per_seed"]
    assert [row["last_loss"] == "" for row in rows] == [False, False, True, True]
    # Figures are drawn of it, and of summaries without it, whatever has become of the file.
    file.unlink()
    assert figures.main([str(path), f"--plot-dir={tmp_path / 'again'}", "--formats=png"]) == 0


@pytest.mark.slow
def test_its_settings_are_flags_that_train_nothing_again(tmp_path, file, capsys):
    given = [*TINY, "--n-seeds=1", "--methods", "standard", f"--measures={file}:above", *folders(tmp_path)]
    for level, share in (("0", 1.0), ("1", 0.0)):
        assert compare.main([*given, f"--level={level}"]) == 0
        printed = capsys.readouterr()
        summary = json.loads(summary_of(printed.out).read_text())
        assert summary["methods"]["standard"]["measures"]["above"]["mean"] == share
        assert summary["config"]["level"] == float(level)
        assert "has no effect" not in printed.err
    assert "1 of 1 runs found again" in printed.out
    with pytest.raises(SystemExit):
        compare.main([f"--measures={file}:above", "--help"])
    assert "The accuracy that counts as learned." in " ".join(capsys.readouterr().out.split())


def test_a_setting_of_a_measure_is_no_part_of_what_a_run_is(file):
    kind = settings_with((), measures=(declared(Measure, f"{file}:above"),))
    named = [stamps.identity(one, "standard", 0, "abc") for one in (kind(), kind(level=0.9), Settings())]
    assert named[0] == named[1] == named[2]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_run_and_a_search_are_measured_too(tmp_path, file, capsys):
    more = ["--measures", f"{file}:first_task", *folders(tmp_path)]
    assert run.main([*TINY, *more]) == 0
    of_run = json.loads(summary_of(capsys.readouterr().out).read_text())
    assert "first-task" in of_run["methods"]["standard"]["measures"]
    budget = ["--methods", "standard", "--budget=1", "--n-tuning-seeds=1", "--n-seeds=1"]
    assert sweep.main([*TINY, *budget, *more]) == 0
    of_search = json.loads(summary_of(capsys.readouterr().out).read_text())
    assert "first-task" in of_search["methods"]["standard"]["measures"]


@pytest.mark.usefixtures("undrawn")
def test_one_that_fails_is_named_in_a_line_when_all_else_is_kept(tmp_path, file, capsys):
    given = [*TINY, "--n-seeds=1", "--methods", "standard", "cs", *folders(tmp_path)]
    assert compare.main([*given, "--measures", f"{file}:broken", f"{file}:first_task"]) == 1
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith("error: measure broken failed; the runs and all else are kept: of standard: Attr")
    assert last.endswith("(mine.py, line 31)")
    measured = json.loads(summary_of(out).read_text())["methods"]["cs"]["measures"]
    assert measured["broken"]["per_seed"] == [None]
    assert measured["first-task"]["mean"] is not None
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "measure {file}:none: {file} has no function or class none"),
        ("number", "measure {file}:number: must be a function of a run and its settings, not 3"),
        ("taken", "measure {file}:taken: has the name of the built-in measure forgetting"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(file, capsys, name, message):
    with pytest.raises(SystemExit) as stop:
        compare.main([*TINY, "--measures", f"{file}:{name}"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {message.format(file=file)}\n"


def test_a_name_alone_is_refused(tmp_path, capsys):
    assert compare.main([*TINY, "--measures", "forgetting", *folders(tmp_path)]) == 2
    assert (
        capsys.readouterr().err == "error: --measures forgetting: must be MODULE:FUNCTION, one of your own\n"
    )


def with_measures(file, *names):
    found = tuple(declared(Measure, f"{file}:{name}") for name in names)
    return settings_with(measures=found)(**vars(make_run()[1]))


def test_what_is_not_defined_has_a_reason_and_what_is_no_number_fails(file):
    made, _ = make_run(method="cs")
    settings = with_measures(file, "last_loss", "why", "table", "spoils")
    before = made.accuracy.copy()
    found = measures(made, settings)
    assert list(found)[:-4] == NAMES
    assert all(math.isnan(found[name].value) for name in ("why", "table", "spoils"))
    assert (found["why"].reason, found["why"].failed) == ("not with 6 iterations", False)
    assert found["table"].failed
    assert "must return a number, not ndarray" in found["table"].reason
    assert found["spoils"].failed  # a measure cannot change what the next one sees
    np.testing.assert_array_equal(made.accuracy, before)


def test_it_is_no_part_of_what_a_run_is(file):
    given = {"experiment": "splitDigits"}
    with_one = settings_with(measures=(declared(Measure, f"{file}:first_task"),))(**given)
    identity = stamps.identity(with_one, "cs", 0, "abc")
    assert identity == stamps.identity(Settings(**given), "cs", 0, "abc")


@dataclasses.dataclass
class Thawed:
    width: int = 3


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"name": "stamp"}, "has the name of another column"),
        ({"name": "final_accuracy_task_3"}, "has the name of another column"),
        ({"name": "a b"}, "its name must be short"),
        ({"label": "a\nb"}, "its label must be printable"),
        ({"settings": Thawed}, "its settings must be a dataclass that is frozen"),
    ],
)
def test_declarations_that_cannot_be_shown_are_refused(declared, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        measure(**declared)(lambda run, settings: 0.0) if "name" in declared else measure("x", **declared)(
            abs
        )
