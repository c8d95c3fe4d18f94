"""The command lines of the benchmarks."""

import importlib
import json
from pathlib import Path
from typing import get_args

import pytest

import benchmarks
from benchmarks import baselines, gpu, lengths, memory
from benchmarks.__main__ import WITH_DATA, WITHOUT

FOLDER = Path(benchmarks.__file__).parent
NAMES = [path.stem for path in FOLDER.glob("*.py") if "arguments: Sequence" in path.read_text()]


def test_every_benchmark_is_run_by_the_one_command_or_by_itself():
    assert {*WITH_DATA, *WITHOUT} | {"averages", "baselines", "gpu", "lengths", "schedules"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_what_it_can_be_asked(name, capsys):
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m benchmarks.{name}" in shown
    assert "--out" in shown


def test_every_part_of_what_a_gpu_is_asked_can_be_asked_alone():
    assert get_args(gpu.Section) == tuple(section.__name__ for section in gpu.SECTIONS)


def test_tables_are_printed_and_written(tmp_path, capsys):
    memory.main(["--size=1e3", f"--out={tmp_path}"])
    (table,) = json.loads((tmp_path / "memory.json").read_text())["tables"]
    state = {name: held for name, held, _ in table["rows"]}
    assert state["K=5, float32"] == pytest.approx(8 + 4 * 4, abs=0.2)  # Adam's moments, four hidden beakers
    assert "| K=5, float32 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (baselines.main, ["--n-seeds=1"], "--n-seeds 1: must be at least 2, for a standard error"),
        (
            lengths.main,
            ["--iters=500"],
            "--iters 500: must be at least 2 numbers; settings are chosen at the second",
        ),
    ],
)
def test_wrong_options_are_one_line(main, arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"
