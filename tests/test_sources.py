"""Runs know the code that made them."""

import builtins
import json
import shutil
import subprocess
from pathlib import Path

import flax.nnx
import optax
import pytest

from experiments.lab.methods import Declaration, Method
from experiments.lab.models import mlp as model
from experiments.lab.options.settings import Settings
from experiments.lab.results import sources, stamps, store
from experiments.lab.training import compiled

DECIDING = (
    "cs_optax/_step.py",
    "experiments/lab/methods/interface.py",
    "experiments/lab/models/mlp.py",
    "experiments/lab/options/pinned.py",
    "experiments/lab/tasks/problems.py",
    "experiments/lab/tasks/streams.py",
    "experiments/lab/training/train.py",
)


def test_the_files_that_decide_results_count_and_those_that_show_them_do_not():
    names = set(sources.deciding_files())
    assert names >= set(DECIDING)
    assert not [name for name in names if "/figures/" in name or "/live/" in name or "progress" in name]
    lab = Path(sources.experiments.lab.__file__).parent
    assert [name for name in sources.WITHOUT_EFFECT if not (lab / name).exists()] == []


@pytest.fixture
def one_file(tmp_path, monkeypatch):
    """The only file of a project."""
    path = tmp_path / "methods.py"
    path.write_bytes(b"lr = 1\n")
    monkeypatch.setattr(sources, "deciding_files", lambda: {"lab/methods.py": path})
    sources._of_the_project.cache_clear()
    yield path
    sources._of_the_project.cache_clear()


def test_an_edit_is_other_code_and_the_end_of_a_line_is_not(one_file):
    def now():
        sources._of_the_project.cache_clear()
        return sources.current()

    before = now()
    one_file.write_bytes(b"lr = 1\r\n")
    assert now() == before
    one_file.write_bytes(b"lr = 100\n")
    assert now().digest != before.digest
    assert now().changed(before.files) == ["lab/methods.py"]


def test_an_edit_while_a_command_runs_is_not_what_it_runs_with(one_file):
    before = sources.current()
    one_file.write_bytes(b"lr = 100\n")
    assert sources.current() == before


class OtherNetwork(flax.nnx.Module):
    pass


def other_method(settings):
    return Method(optax.sgd(settings.lr))


def test_what_a_program_puts_into_the_modules_is_other_code(monkeypatch):
    before = sources.current()
    monkeypatch.setattr(model, "MLP", OtherNetwork)
    after = sources.current()
    assert after.digest != before.digest
    assert after.changed(before.files) == [f"{__name__}.OtherNetwork"]
    monkeypatch.undo()
    monkeypatch.setattr(compiled, "network_of", optax.sgd)  # of a library: the environment has its version
    monkeypatch.setattr(builtins, "mine", other_method, raising=False)  # which all modules see
    assert sources.current() == before


def test_a_method_that_a_program_puts_in_is_other_code_for_its_runs_alone(monkeypatch):
    before = stamps.identity(Settings(), "standard", 0, "abc"), stamps.identity(Settings(), "l2", 0, "abc")
    monkeypatch.setitem(Settings.methods, "standard", Declaration(name="standard", make=other_method))
    after = stamps.identity(Settings(), "standard", 0, "abc")
    assert after["code"] != before[0]["code"]
    assert Path(__file__).name in stamps.code_of(after).changed(sources.current().files)
    assert stamps.identity(Settings(), "l2", 0, "abc") == before[1]


def test_the_code_is_part_of_the_identity_and_of_the_record(tmp_path, monkeypatch):
    identity = stamps.identity(Settings(tasks=2), "cs", 3, "abc")
    monkeypatch.setattr(sources, "current", lambda: sources.Code("other", {}))
    other = stamps.identity(Settings(tasks=2), "cs", 3, "abc")
    assert stamps.run_stamp(other).rpartition("-")[0] == stamps.run_stamp(identity).rpartition("-")[0]
    assert stamps.run_stamp(other) != stamps.run_stamp(identity)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_project_alone(tmp_path, monkeypatch):
    """Not that of a repository around it, which does not hold these files."""

    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)

    def commit():
        sources.commit.cache_clear()
        return sources.commit()

    package = tmp_path / "lab"
    (package / "results").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(sources.experiments.lab, "__file__", str(package / "__init__.py"))
    assert commit() is None
    git("init")
    (package / "results" / "sources.py").write_text("1")
    git("add", "lab/__init__.py")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "one")
    assert commit() is None
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "two")
    first = commit()
    assert len(first) == 40
    (package / "results" / "sources.py").write_text("2")
    assert commit() == f"{first}-dirty"
    sources.commit.cache_clear()


def test_a_record_names_every_file(tmp_path):
    from test_results import ENVIRONMENT, IDENTITY, make_run

    store.save_run(tmp_path, IDENTITY, make_run(), ENVIRONMENT)
    (path,) = (tmp_path / "runs").iterdir()
    record = json.loads(path.read_text())
    assert set(DECIDING) <= set(record["code"]["files"])
    assert record["identity"]["code"].startswith(path.stem.rpartition("-")[2])
