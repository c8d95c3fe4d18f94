"""A command finishes its work whether or not anyone can read its words."""

import os
import re
import subprocess
import sys

import pytest
from test_commands import laboratory_in
from tiers import few

from experiments import run
from experiments.lab import figures
from experiments.lab.system.standard_streams import BROKEN_PIPE, NARROWEST

WITHOUT_A_READER, ON_A_FULL_DISK, CLOSED = "without a reader", "on a full disk", "closed"


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(
        figures, "all_figures", lambda *_, **__: iter([("kind", figures.panels(["title"])[0])])
    )
    return laboratory_in(tmp_path, monkeypatch)


@pytest.fixture
def lose(monkeypatch):
    """Make one of the standard streams such that nothing can be written to it."""
    opened = []

    def lost(name, how):
        if how == CLOSED:
            return monkeypatch.setattr(sys, name, None)
        if how == WITHOUT_A_READER:
            reading, number = os.pipe()
            os.close(reading)
        else:
            number = os.open("/dev/full", os.O_WRONLY)
        opened.append(open(number, "w", buffering=1))  # noqa: SIM115
        monkeypatch.setattr(sys, name, opened[-1])

    yield lost
    monkeypatch.undo()
    for stream in opened:
        stream.close()  # which writes what it still holds: it must hold nothing


@pytest.mark.parametrize("name", few(["stdout", "stderr"], ["stdout"]))
@pytest.mark.parametrize(
    ("how", "status"), [(WITHOUT_A_READER, BROKEN_PIPE), (ON_A_FULL_DISK, 1), (CLOSED, 0)]
)
def test_a_comparison_writes_all_its_files_whatever_becomes_of_its_words(lab, lose, name, how, status):
    if how == ON_A_FULL_DISK and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    lose(name, how)
    assert lab.compare("--n-seeds=2") == status
    endings = {path.rsplit(".", 1)[-1] for path in lab.written() if "." in path}
    assert endings == {"json", "csv", "pdf", "png"}
    assert sum(path.endswith("summary.json") for path in lab.written()) == 1


def test_a_full_disk_under_the_output_is_said(lab, lose, capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    lose("stdout", ON_A_FULL_DISK)
    assert lab.run() == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "error: the output cannot be written: No space left on device"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_an_error_keeps_its_own_status_without_a_reader(lab, lose, name):
    lose(name, WITHOUT_A_READER)
    assert lab.compare("--tasks=3") == 2


def test_the_streams_are_those_of_before_when_a_command_is_done(lab):
    before = sys.stdout, sys.stderr
    lab.run()
    with pytest.raises(SystemExit):
        lab.run("--help")
    assert (sys.stdout, sys.stderr) == before


def test_help_without_a_reader_ends_in_silence(lose):
    lose("stdout", WITHOUT_A_READER)
    with pytest.raises(SystemExit) as stop:
        run.main(["--help"])
    assert stop.value.code == BROKEN_PIPE


def test_a_process_without_a_reader_ends_in_silence():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "experiments.run", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")


@pytest.mark.parametrize("columns", few([1, 20, 200], [20]))
def test_numbers_are_whole_on_a_terminal_of_any_width(lab, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lab.compare("--n-seeds=2", "--methods", "standard", "cs-published")
    out = capsys.readouterr().out
    assert "…" not in out
    assert (
        len(re.findall(r"^ +(standard|cs-published) +\d+\.\d\d ± \d+\.\d\d % +2 *$", out, re.MULTILINE)) == 2
    )
    number = r"[+-]\d+\.\d\d"
    line = rf"^ +cs-published - standard +{number} +{number} to {number} +\d\.\d+ +\d\.\d+ *$"
    assert re.search(line, out, re.MULTILINE)


@pytest.mark.parametrize("columns", ["1", "20"])
def test_help_ends_on_a_terminal_of_any_width_and_leaves_the_width_as_it_was(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        run.main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines()[5:])) == NARROWEST
    assert os.environ["COLUMNS"] == columns
