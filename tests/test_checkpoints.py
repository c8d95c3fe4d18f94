"""Runs that survive: a training that is stopped, however, goes on to the same bits."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from experiments.lab.checkpoints import Checkpoints
from experiments.lab.data import load
from experiments.lab.results import Run
from experiments.lab.settings import Method, Settings
from experiments.lab.training import train

SMALL = Settings(
    experiment="splitDigits",
    iters=6,
    batch=16,
    fc_units=8,
    eval_log=4,
    loss_log=3,
    eval_n=20,
    beakers=4,
    alpha=4.0,
    beta=64.0,
    ewc_samples=20,
    class_order="shuffled",
)
KILLS = 30


def stopping_at(iteration):
    def observe(progress):
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return observe


def assert_same(ours, expected):
    for run, other in zip(ours, expected, strict=True):
        for field in dataclasses.fields(Run):
            np.testing.assert_array_equal(getattr(run, field.name), getattr(other, field.name))


@pytest.mark.parametrize("method", get_args(Method))
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path, method):
    """Stopped at the start, inside a task, and at the end of one."""
    data = load("Digits")
    (expected,), _ = train([SMALL], method, [3, 4], data, lambda progress: None)
    for iteration in (0, 15, 18):
        checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
        with pytest.raises(KeyboardInterrupt):
            train([SMALL], method, [3, 4], data, stopping_at(iteration), checkpoints)
        assert checkpoints.path.exists()
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    (runs,), _ = train([SMALL], method, [3, 4], data, lambda progress: None, checkpoints)
    assert checkpoints.resumed_at == 18
    assert_same(runs, expected)


def test_several_configurations_go_on_too(tmp_path):
    data = load("Digits")
    configurations = [dataclasses.replace(SMALL, lr=lr) for lr in (0.001, 0.01)]
    expected, _ = train(configurations, "cs", [3, 4], data, lambda progress: None)
    checkpoints = Checkpoints(tmp_path, "two", every=1e9, resume=True)
    with pytest.raises(KeyboardInterrupt):
        train(configurations, "cs", [3, 4], data, stopping_at(15), checkpoints)
    groups, _ = train(configurations, "cs", [3, 4], data, lambda progress: None, checkpoints)
    for runs, others in zip(groups, expected, strict=True):
        assert_same(runs, others)


@pytest.fixture
def stopped(tmp_path):
    """A folder with the checkpoint of a training that was stopped."""
    with pytest.raises(KeyboardInterrupt):
        train_once(tmp_path, stopping_at(15))
    return tmp_path


def train_once(folder, observe, resume=True):
    checkpoints = Checkpoints(folder, "one", every=1e9, resume=resume)
    train([SMALL], "standard", [3], load("Digits"), observe, checkpoints)
    return checkpoints.resumed_at


def test_without_resume_a_training_starts_anew_and_says_so(stopped):
    with pytest.warns(UserWarning, match="--resume would go on with it"):
        assert train_once(stopped, lambda progress: None, resume=False) is None


@pytest.mark.parametrize("damage", [b"", b"nonsense", "half", "other arrays"])
def test_a_damaged_checkpoint_is_said_to_be_and_not_used(stopped, damage):
    (path,) = stopped.rglob("*.npz")
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "other arrays":
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "leaf_0": np.zeros(3)})
    else:
        path.write_bytes(damage)
    with pytest.warns(UserWarning, match=r"one.npz is damaged \(.*\): that training starts anew"):
        assert train_once(stopped, lambda progress: None) is None


def test_a_checkpoint_of_other_software_is_used_with_a_warning(stopped, monkeypatch):
    from experiments.lab import checkpoints

    monkeypatch.setattr(checkpoints, "current_environment", lambda: {"jax": "0.0.0"})
    with pytest.warns(UserWarning, match="was made with another jax: going on"):
        assert train_once(stopped, lambda progress: None) == 15


def test_checkpoints_are_made_as_often_as_asked(tmp_path):
    kept = []

    def recording(checkpoints):
        keep = checkpoints.keep
        checkpoints.keep = lambda iteration, *rest: (kept.append(iteration), keep(iteration, *rest))
        return checkpoints

    for every in (0.0, 1e9):
        checkpoints = recording(Checkpoints(tmp_path, "one", every=every, resume=True))
        train([SMALL], "standard", [3], load("Digits"), lambda progress: None, checkpoints)
        checkpoints.discard()
    assert kept == sorted({*range(0, 31, 3), *range(0, 31, 4), *range(0, 31, 6), 30})
    assert not list(tmp_path.rglob("*.npz"))


COMMAND = [
    *(sys.executable, "-m", "experiments.run", "--experiment=splitDigits", "--method=cs", "--seed=3"),
    *(
        "--alpha=10",
        "--beta=1000",
        "--iters=100",
        "--batch=16",
        "--fc-units=20",
        "--eval-log=2",
        "--eval-n=10",
    ),
    *("--loss-log=1", "--resume", "--checkpoint-every=0"),
]


def start(folder, cache, *more):
    # One CPU device and no cache of compiled programs but its own, whatever the tests around it use.
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PLATFORMS": "cpu"}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
    return subprocess.Popen(
        [*COMMAND, *folders, *more],
        env=environment,
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished_runs(folder):
    return [json.loads(path.read_text())["run"] for path in sorted(folder.glob("results/runs/*.json"))]


def test_a_run_killed_at_any_moment_and_resumed_ends_with_the_same_bits(tmp_path):
    """Killed over and over, at random moments of its start, its training and its end."""
    cache, dice = tmp_path / "cache", random.Random(0)
    began = time.monotonic()
    whole = start(tmp_path / "whole", cache)
    assert whole.communicate()[1] is not None
    assert whole.returncode == 0
    again = time.monotonic()
    start(tmp_path / "again", cache).communicate()
    took = time.monotonic() - again  # now that all is compiled
    assert took < 2 * (again - began)
    (expected,) = finished_runs(tmp_path / "whole")
    kills, results = 0, tmp_path / "killed"
    while kills < KILLS:
        process = start(results, cache)
        try:
            process.communicate(timeout=dice.uniform(0.3, 1.0) * took)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
            process.communicate()
        else:  # finished before it could be killed: that one counts, and all begins anew
            assert process.returncode == 0
            assert finished_runs(results) == [expected]
            for path in results.rglob("*.json"):
                path.unlink()
    process = start(results, cache)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert "damaged" not in error
    assert finished_runs(results) == [expected]
    assert not list(results.glob("results/checkpoints/*.npz"))


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path, tmp_path / "cache", "--iters=5000", "--checkpoint-every=1e6", "--eval-log=10")
    for line in process.stderr:
        if "iterations" in line:
            break
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert error.splitlines()[-1].startswith("interrupted: ")
    assert "--resume" in error
    (path,) = (tmp_path / "results" / "checkpoints").iterdir()
    with np.load(path) as file:
        assert json.loads(str(file["about"]))["iteration"] > 0


def test_two_processes_on_one_folder_do_not_disturb_each_other(tmp_path):
    cache = tmp_path / "cache"
    processes = [start(tmp_path, cache) for _ in range(2)]
    for process in processes:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        assert "damaged" not in error
        assert "final average accuracy" in out
    (run,) = finished_runs(tmp_path)
    assert run["seed"] == 3
    left = [path for path in tmp_path.joinpath("results").rglob("*") if path.suffix in (".tmp", ".npz")]
    assert not left
