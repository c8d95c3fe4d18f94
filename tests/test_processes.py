"""Several processes for one command: the same results as of one, and none is lost with a process."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import compare
from experiments.lab import processes, results
from experiments.lab.runs import _parts, _products

ROOT = Path(__file__).parent.parent
SHORT = [
    *("--experiment=splitDigits", "--batch=16", "--fc-units=20", "--eval-log=20", "--eval-n=20"),
    *("--methods", "cs", "--n-seeds=5", "--tasks=2", "--beakers=3", "--alpha=4", "--beta=64"),
]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(folder, n, *more):
    """All processes of one command; what each says is in a file."""
    folder.mkdir(exist_ok=True)
    coordinator = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    started = []
    for i in range(n):
        who = ["--distributed", "--coordinator", coordinator, f"--n-processes={n}", f"--process-id={i}"]
        folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
        with (folder / f"said-{i}").open("w") as said:
            command = [sys.executable, "-m", "experiments.compare", *SHORT, *who, *folders, *more]
            started.append(subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder))
    return started


def said(folder, i):
    return (folder / f"said-{i}").read_text()


def runs_in(folder):
    found = sorted((folder / "results" / results.RUNS).glob("*.json"))
    return {path.stem: results.read_run(folder / "results", path.stem) for path in found}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
    assert compare.main([*SHORT, "--iters=20", *folders]) == 0
    return runs_in(folder)


@pytest.mark.parametrize(("n", "devices"), [(2, 2), (4, 1)])
def test_processes_find_what_one_finds_and_the_first_one_writes_it(n, devices, tmp_path, alone):
    statuses = [one.wait(timeout=200) for one in start(tmp_path, n, "--iters=20", f"--devices={devices}")]
    assert statuses == [0] * n, said(tmp_path, 0)
    together = runs_in(tmp_path)
    assert together.keys() == alone.keys()
    for stamp, one in together.items():
        np.testing.assert_allclose(one.run.loss, alone[stamp].run.loss, rtol=2e-3)
        np.testing.assert_allclose(one.run.accuracy_matrix, alone[stamp].run.accuracy_matrix, atol=0.05)
        assert one.environment["seeds_together"] <= -(-5 // n)
        assert one.environment["processes"] == n
        assert one.environment["devices"] == devices
        assert one.environment["devices_used"] <= devices
    assert "summary: " in said(tmp_path, 0)
    assert [said(tmp_path, i).count("splitDigits") for i in range(1, n)] == [0] * (n - 1)
    assert not list(tmp_path.glob("results/checkpoints/*"))


def wait_for_checkpoints(folder, n):
    began = time.monotonic()
    while len(list(folder.glob("results/checkpoints/*.npz"))) < n:
        assert time.monotonic() - began < 120, said(folder, 0)
        time.sleep(0.1)


@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_is_killed_the_others_say_so_and_all_go_on_later(killed, tmp_path):
    """Within a minute, though they are in the middle of a training."""
    long = ["--iters=100000", "--checkpoint-every=0", "--eval-log=2000", "--loss-log=2000"]
    several = start(tmp_path, 2, *long)
    wait_for_checkpoints(tmp_path, 2)
    several[killed].kill()
    several[killed].wait()
    began = time.monotonic()
    status = several[1 - killed].wait(timeout=100)
    assert time.monotonic() - began < 60
    assert status != 0
    time.sleep(0.5)  # for the last word, of another program
    assert re.search(r"^error: .* with --resume all of them", said(tmp_path, 1 - killed), re.MULTILINE)
    if killed == 1:
        return
    several = start(tmp_path, 2, *long, "--resume")
    wait_for_checkpoints(tmp_path, 2)
    while not all("going on from iteration" in said(tmp_path, i) for i in (0, 1)):
        assert all(one.poll() is None for one in several), said(tmp_path, 0)
        time.sleep(0.1)
    for one in several:
        one.kill()
        one.wait()


def test_what_was_finished_is_not_made_again(tmp_path, alone, monkeypatch):
    """All shares are done when the first process is lost, before it has written a run."""
    with monkeypatch.context() as patch:
        patch.setattr(processes, "joined", lambda: True)
        patch.setattr(processes, "count", lambda: 2)
        patch.setattr(processes, "is_first", lambda: True)

        def lost(value):
            if (
                isinstance(value, tuple)
                and isinstance(value[0], dict)
                and value[0]
                and "train" in repr(value[1])
            ):
                raise processes.LostError(processes.LOST)
            return [value]

        patch.setattr(processes, "exchange", lost)
        for index in (0, 1):
            patch.setattr(processes, "share", lambda parts, index=index: parts[index])
            assert compare.main([*arguments(tmp_path), "--iters=20"]) == 1
    assert len(list(tmp_path.glob("results/checkpoints/*.npz"))) == 2
    from experiments.lab import training

    iterations = []
    train = training.train

    def watched(configurations, method, seeds, dataset, observe, checkpoints, *rest, **more):
        def note(progress):
            iterations.append(progress.iteration)
            observe(progress)

        return train(configurations, method, seeds, dataset, note, checkpoints, *rest, **more)

    monkeypatch.setattr(training, "train", watched)
    assert compare.main([*arguments(tmp_path), "--iters=20", "--resume"]) == 0
    assert iterations == []
    for stamp, one in runs_in(tmp_path).items():
        np.testing.assert_allclose(one.run.loss, alone[stamp].run.loss, rtol=2e-3)


def arguments(folder):
    return [*SHORT, f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--coordinator=a:1"], "--coordinator: goes with --distributed"),
        (["--process-id=0"], "--process-id: goes with --distributed"),
        (["--distributed", "--process-id=0"], "must be given together, or left out"),
        (["--distributed", "--live"], "--live: must be left out with --distributed"),
        (
            ["--distributed", "--coordinator=a", "--n-processes=2", "--process-id=0"],
            "--coordinator a: must be HOST:PORT",
        ),
        (
            ["--distributed", "--coordinator=:4000", "--n-processes=2", "--process-id=1"],
            "--coordinator :4000: must be HOST:PORT",
        ),
        (
            ["--distributed", "--coordinator=localhost:99999", "--n-processes=2", "--process-id=1"],
            "--coordinator localhost:99999: must be HOST:PORT",
        ),
        (
            ["--distributed", "--coordinator=no.such.host.invalid:4000", "--n-processes=2", "--process-id=1"],
            "--coordinator no.such.host.invalid:4000: ",
        ),
        (
            ["--distributed", "--coordinator=a:1", "--n-processes=2", "--process-id=2"],
            "--process-id 2: must be 0 to 1",
        ),
        (
            ["--distributed", "--coordinator=a:1", "--n-processes=0", "--process-id=0"],
            "--n-processes 0: must be at least 1",
        ),
        (["--devices=0"], "--devices 0: must be at least 1"),
        (["--devices=100"], "--devices 100: must be 1 to"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_done(wrong, message, tmp_path, capsys):
    assert compare.main([*arguments(tmp_path), *wrong]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_said(tmp_path, capsys):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        coordinator = f"localhost:{other.getsockname()[1]}"
        who = ["--distributed", "--coordinator", coordinator, "--n-processes=2", "--process-id=0"]
        assert compare.main([*arguments(tmp_path), *who]) == 2
    assert f"error: --coordinator {coordinator}: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("group", "n", "parts"),
    [
        (([0], [1, 2, 3, 4, 5]), 2, [([0], [1, 2]), ([0], [3, 4, 5])]),
        (([0, 1, 2], [7, 8]), 2, [([0], [7, 8]), ([1, 2], [7, 8])]),
        (([0, 1], [7, 8, 9]), 4, [([0], [7]), ([0], [8, 9]), ([1], [7]), ([1], [8, 9])]),
        (([0], [7]), 4, [([0], [7])]),
    ],
)
def test_a_group_is_divided_by_configurations_and_then_by_seeds(group, n, parts):
    assert _parts(group, n) == parts


def test_configurations_that_lack_the_same_seeds_train_together():
    assert _products([(0, 1), (1, 1), (1, 2), (2, 1)]) == [([0, 2], [1]), ([1], [1, 2])]
