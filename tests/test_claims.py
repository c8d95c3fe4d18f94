"""``experiments.claims``: those that are fast hold, and the command keeps what it measures."""

import json
import re
import shutil

import pytest
from tiers import few

from experiments import claims
from experiments.claims import (
    comparison,
    familiarity,
    integrators,
    lifetime,
    monte_carlo,
    power_law,
    precision,
)
from experiments.claims.__main__ import main
from experiments.claims.outcome import Outcome, Row

SHORT_PRECISION = (
    precision.Run("float32", 4, 10.0, 2.0, {}),
    precision.Run("bfloat16", 4, 10.0, 2.0, {}),
    precision.Run("bfloat16", 4, 10.0, 2.0, precision.EULER),
)


@pytest.mark.parametrize(
    ("module", "sizes"),
    few(
        [
            (power_law, {"n_beakers": (4, 6)}),
            (lifetime, {}),
            (comparison, {"largest": 6}),
            (familiarity, {"n_neurons": (64,), "n_readings": 500}),
            (integrators, {"chains": ((8.0, 2.0, 6),), "resolutions": (0.125,), "n_phases": 24}),
            (precision, {"runs": SHORT_PRECISION}),
        ],
        lambda module, sizes: module in (power_law, familiarity),
    ),
    ids=lambda value: value.__name__.rsplit(".", 1)[-1] if hasattr(value, "__name__") else "",
)
def test_fast_claims_hold(module, sizes):
    outcome = module.measure(0, **sizes)
    assert outcome.rows
    assert [row for row in outcome.rows if row.passed is False] == []
    assert outcome.figures
    json.dumps(outcome.numbers, allow_nan=False)


@pytest.mark.slow
def test_populations_are_measured():
    """Too small and too short for the targets, which are statistical: that the rows are there is enough."""
    outcome = monte_carlo.measure(0, n_synapses=64, n_memories=220, n_trials=2, oldest=100)
    assert {row.passed for row in outcome.rows} <= {True, False}
    json.dumps(outcome.numbers, allow_nan=False)


def test_every_module_is_a_claim():
    """A new one cannot be forgotten."""
    from pathlib import Path

    shared = {"__init__", "__main__", "grid", "outcome", "style", "targets"}
    modules = {path.stem for path in Path(claims.__file__).parent.glob("*.py")} - shared
    assert modules == {name.replace("-", "_") for name in claims.CLAIMS}


@pytest.fixture
def in_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_keeps_numbers_tables_and_figures(in_folders, capsys):
    assert main(["lifetime", "--seed", "3"]) == 0
    kept = json.loads((in_folders / "results/claims/lifetime.json").read_text())
    assert kept["seed"] == 3
    assert kept["command"] == "python -m experiments.claims lifetime --seed 3"
    assert all(row["passed"] for row in kept["rows"])
    assert "| claim | target | measured | pass |" in (in_folders / "results/claims/lifetime.md").read_text()
    assert {path.suffix for path in (in_folders / "plots").iterdir()} == {".pdf", ".png"}
    assert "SNR(0)/sqrt(N)" in capsys.readouterr().out


def test_a_missed_target_is_said_and_is_the_exit_status(in_folders, capsys, monkeypatch):
    rows = [Row("two is one", "1", "2", False), Row("only reported", "–", "3")]
    monkeypatch.setattr("experiments.claims.__main__.measure", lambda name, seed: Outcome(rows, {}))
    assert main(["lifetime"]) == 1
    shown = capsys.readouterr()
    assert "1 of 2 miss their targets" in shown.err
    assert re.search(r"two is one\s+1\s+2\s+NO", shown.out)


def test_what_was_measured_before_an_interruption_is_kept(in_folders, capsys, monkeypatch):
    def measure(name, seed):
        if name == "comparison":
            raise KeyboardInterrupt
        return Outcome([Row("holds", "1", "1", True)], {})

    monkeypatch.setattr("experiments.claims.__main__.measure", measure)
    assert main(["lifetime", "comparison"]) == 130
    assert (in_folders / "results/claims/lifetime.json").exists()
    assert "the claims that were measured are kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what to measure, or --all; --list says what there is"),
        (["lifetime", "--all"], "name what to measure, or --all"),
        (["longevity"], "'longevity' is no claim: must be one of power-law, lifetime"),
        (["lifetime", "--seed", "-1"], "--seed: must be from 0 to 2147483647, not -1"),
    ],
)
def test_mistakes_are_said_before_anything_is_measured(arguments, message, in_folders, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(in_folders.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_at_once(in_folders, capsys):
    (in_folders / "file").write_text("")
    assert main(["lifetime", "--plot-dir", "file/plots"]) == 2
    assert "--plot-dir file/plots: cannot be written in: Not a directory" in capsys.readouterr().err
    assert not (in_folders / "results").exists()
    shutil.rmtree(in_folders)


def test_the_list_names_all_claims(capsys):
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(claims.CLAIMS)
