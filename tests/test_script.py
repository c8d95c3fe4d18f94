"""The command ``cs-optax``: the experiments by another name, which no other folder hides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cs_optax import __main__ as script
from experiments import compare
from experiments.lab.command import parsing

ROOT = Path(__file__).parent.parent


@pytest.fixture
def started(monkeypatch):
    """Start the script with arguments, in an environment of its own."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def start(*arguments):
        monkeypatch.setattr(sys, "argv", ["bin/cs-optax", *arguments])
        return script.main()

    return start


def test_every_experiment_with_a_command_line_is_a_command_of_the_script():
    folder = ROOT / "experiments"
    files = [*folder.glob("*.py"), *folder.glob("*/__main__.py")]
    with_a_command_line = [path for path in files if "sys.exit(main())" in path.read_text()]
    names = {path.parent.name if path.stem == "__main__" else path.stem for path in with_a_command_line}
    assert set(script.COMMANDS) == names


def test_a_command_may_be_a_package(started, capsys):
    assert started("claims", "--list") == 0
    assert "power-law " in capsys.readouterr().out


def test_the_script_names_its_commands(started, capsys):
    for arguments in ((), ("--help",)):
        assert started(*arguments) == 0
        out = capsys.readouterr().out
        assert all(f"\n  {name} " in out for name in script.COMMANDS)
    assert started("runn") == 2
    assert capsys.readouterr().err == (
        "cs-optax: runn: must be one of run, compare, sweep, figures, claims, rl, submit, sharded\n"
    )


def test_the_library_alone_says_where_the_experiments_are(started, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "CHECKOUT", tmp_path)
    (tmp_path / "experiments").mkdir()  # somebody else's
    (tmp_path / "experiments" / "run.py").write_text("")
    assert started("run", "--help") == 1
    assert capsys.readouterr().err == (
        "cs-optax: run: the library is installed here without its experiments: "
        'pip install -e ".[experiments]", in a checkout of the source\n'
    )


def test_a_package_that_is_missing_is_named(started, capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "experiments.rotated_mnist", raising=False)
    monkeypatch.setitem(script.COMMANDS, "rotated_mnist", "")
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert started("rotated_mnist") == 1
    assert capsys.readouterr().err.startswith("cs-optax: rotated_mnist: needs the package scipy: pip install")


def test_arguments_and_status_are_those_of_the_command(started, capsys):
    assert started("figures") == 2
    assert capsys.readouterr().err == "error: RESULTS: must name at least one\n"


def test_help_and_summary_name_the_command_that_was_typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/cs-optax", "compare"])
    _, command = parsing.parse(compare.CompareOptions, "experiments.compare", ["--iters", "3"])
    assert command == "cs-optax compare --iters 3"


def test_no_folder_of_the_users_own_hides_the_experiments(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise SystemExit('the user’s own')")
    (tmp_path / "mine.py").write_text("def tasks(data_dir):\n    raise SystemExit('found mine')")
    python = [sys.executable, "-m", "cs_optax"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [*python, "run", "--experiment", "mine:tasks", "--get-stamp"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == "found mine\n"


def test_processes_that_a_command_starts_find_the_same_experiments(started, monkeypatch, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    started("figures")
    code = "import experiments; print(experiments.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()) == ROOT / "experiments" / "__init__.py"
