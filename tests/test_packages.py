"""Packages that are not installed are asked for before anything is trained."""

import ast
import sys
import types
from pathlib import Path

import pytest

from experiments import compare, figures, run, submit, sweep
from experiments.claims import __main__ as claims
from experiments.lab.command import options, preparation
from experiments.lab.system import packages
from experiments.lab.system.errors import SettingsError

EXPERIMENTS = Path(run.__file__).parent
OF_THE_LIBRARY = {"cs_optax", "experiments", "jax", "numpy", "optax"}
FOR_THE_COMMAND_LINE = {"tyro"}
NEEDED_BY_FLAX = {"orbax"}
WHERE_THE_DATA_ARE_LOADED = {"PIL", "array_record", "importlib_resources", "sklearn", "tensorflow_datasets"}


def without(package):
    """What `find_spec` answers where this package is not installed."""
    return lambda name: None if name == package else types.SimpleNamespace(origin="somewhere")


@pytest.mark.parametrize(
    ("package", "command", "flags", "needed_by"),
    [
        ("tensorboard", run, "--tensorboard", "--tensorboard"),
        ("tensorboard", compare, "--tensorboard", "--tensorboard"),
        ("matplotlib", run, "--pdf", "--pdf"),
        ("matplotlib", run, "--live", "--live"),
        ("matplotlib", compare, "", "the figures"),
        ("matplotlib", sweep, "", "the figures"),
        ("flax", run, "", "the experiments"),
        ("scipy", run, "", "the experiments"),
        ("rich", compare, "", "the experiments"),
        ("platformdirs", sweep, "", "the experiments"),
    ],
)
def test_a_missing_package_is_one_line_before_anything_is_written(
    tmp_path, capsys, monkeypatch, package, command, flags, needed_by
):
    monkeypatch.setattr(packages, "find_spec", without(package))
    folders = [f"--results-dir={tmp_path / 'r'}", f"--plot-dir={tmp_path / 'p'}"]
    assert command.main(["--experiment=splitDigits", *flags.split(), *folders]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {needed_by}: needs the package {package}, which is not installed: pip ")
    assert list(tmp_path.iterdir()) == []


def test_jobs_figures_and_claims_name_what_they_need(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", without("submitit"))
    assert submit.main([f"--logs={tmp_path / 'l'}", "compare"]) == 2
    assert "needs the package submitit" in capsys.readouterr().err
    monkeypatch.setattr(packages, "find_spec", without("matplotlib"))
    assert figures.main([str(tmp_path)]) == 2
    assert "needs the package matplotlib" in capsys.readouterr().err
    for package in ("matplotlib", "rich", "scipy"):
        monkeypatch.setattr(packages, "find_spec", without(package))
        assert (
            claims.main(["lifetime", f"--plot-dir={tmp_path / 'p'}", f"--results-dir={tmp_path / 'r'}"]) == 2
        )
        assert f"error: the claims: needs the package {package}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_no_option_needs_may_be_missing(monkeypatch):
    for package in "tensorboard", "matplotlib", "submitit":
        monkeypatch.setattr(packages, "find_spec", without(package))
        preparation._check_packages(run.RunOptions())


def test_a_folder_of_its_name_is_not_taken_for_a_package(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: types.SimpleNamespace(origin=None))
    with pytest.raises(SettingsError, match=r"^--tensorboard: needs the package tensorboard"):
        packages.check_package("tensorboard", "--tensorboard", "live")


def imported(path):
    """The packages that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.partition(".")[0]


def test_every_package_that_training_imports_is_asked_for(monkeypatch):
    asked_for = set()
    monkeypatch.setattr(packages, "check_package", lambda package, *_: asked_for.add(package))
    everything = options.EvaluationAndOutput(live=True, pdf=True, tensorboard=True, visdom=True)
    preparation._check_packages(run.RunOptions(output=everything))
    files = [
        *EXPERIMENTS.glob("lab/**/*.py"),
        *(EXPERIMENTS / f"{c}.py" for c in ("run", "compare", "sweep")),
    ]
    found = set().union(*map(imported, files)) - set(sys.stdlib_module_names)
    known = OF_THE_LIBRARY | FOR_THE_COMMAND_LINE | NEEDED_BY_FLAX | WHERE_THE_DATA_ARE_LOADED
    assert found - known == asked_for
