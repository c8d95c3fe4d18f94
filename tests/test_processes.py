"""Several processes for one command: the same results as of one, and none is lost with a process."""

import functools
import json
import re
import signal
import socket
import time

import numpy as np
import pytest
from drawings import undraw
from forked import Command, wait_until
from tiers import few

from experiments import compare
from experiments.lab.results import store
from experiments.lab.system import processes
from experiments.lab.training.groups import parts_of, products

SHORT = [
    *("--experiment=splitDigits", "--batch=16", "--fc-units=20", "--eval-log=20", "--eval-n=20"),
    *("--methods", "cs", "--n-seeds=5", "--tasks=2", "--beakers=3", "--alpha=4", "--beta=64"),
]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def command(options, patience, alive):
    """In a process of its own: the real command."""
    processes.CONNECTING, processes.PATIENCE = patience, alive
    undraw(pytest.MonkeyPatch())  # until the process ends
    return compare.main(options)


def start(folder, n, *more, of_each=None, which=None, patience=300, alive=processes.PATIENCE):
    """All processes of one command, or those that are named; what each says is in a file."""
    folder.mkdir(exist_ok=True)
    coordinator = f"127.0.0.1:{free_port()}"
    started = []
    for i in range(n) if which is None else which:
        who = ["--distributed", "--coordinator", coordinator, f"--n-processes={n}", f"--process-id={i}"]
        folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
        options = [*SHORT, *who, *folders, *more, *(of_each[i] if of_each else [])]
        started.append(Command(folder / f"said-{i}", command, options, patience, alive, folder=folder))
    return started


def said(folder, i):
    return (folder / f"said-{i}").read_text()


def runs_in(folder):
    found = sorted((folder / "results" / store.RUNS).glob("*.json"))
    return {path.stem: store.read_run(folder / "results", path.stem) for path in found}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of what one process finds."""
    folder = tmp_path_factory.mktemp("alone")
    folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
    with pytest.MonkeyPatch.context() as patch:
        undraw(patch)
        assert compare.main([*SHORT, "--iters=20", *folders]) == 0
    return folder


def accuracies(folder):
    """Of each method, from the summary."""
    (path,) = folder.glob("results/*/summary.json")
    methods = json.loads(path.read_text())["methods"]
    return {name: of["final_accuracy"]["per_seed"] for name, of in methods.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "devices"), [(2, 2), (4, 1)])
def test_processes_find_what_one_finds_and_the_first_one_writes_it(n, devices, tmp_path, alone):
    statuses = [one.wait(timeout=200) for one in start(tmp_path, n, "--iters=20", f"--devices={devices}")]
    assert statuses == [0] * n, said(tmp_path, 0)
    together, expected = runs_in(tmp_path), runs_in(alone)
    assert together.keys() == expected.keys()
    for stamp, one in together.items():
        np.testing.assert_allclose(one.run.loss, expected[stamp].run.loss, rtol=2e-3)
        # Of 360 samples one may be seen differently.
        np.testing.assert_allclose(one.run.accuracy_matrix, expected[stamp].run.accuracy_matrix, atol=0.006)
        assert one.environment["seeds_together"] <= -(-5 // n)
        assert one.environment["processes"] == n
        assert one.environment["devices"] == devices
        assert one.environment["devices_used"] <= devices
    of_one, of_all = accuracies(alone), accuracies(tmp_path)
    assert of_one.keys() == of_all.keys() == {"cs"}
    np.testing.assert_allclose(of_all["cs"], of_one["cs"], atol=0.006)
    assert "summary: " in said(tmp_path, 0)
    assert [said(tmp_path, i).count("splitDigits") for i in range(1, n)] == [0] * (n - 1)
    assert not list(tmp_path.glob("results/checkpoints/*"))


def wait_for_checkpoints(folder, n):
    wait_until(lambda: len([*folder.glob("results/checkpoints/*.npz")]) == n, 120, lambda: said(folder, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "by"), [(0, signal.SIGKILL), (1, signal.SIGTERM)])
def test_where_one_is_killed_the_others_say_so_and_all_go_on_later(killed, by, tmp_path):
    """Within a minute, though they are in the middle of a training."""
    long = ["--iters=3000", "--checkpoint-every=0", "--eval-log=500", "--loss-log=500"]
    several = start(tmp_path, 2, *long, alive=8)
    wait_for_checkpoints(tmp_path, 2)
    several[killed].send_signal(by)
    assert several[killed].wait(timeout=20) == -by
    began = time.monotonic()
    status = several[1 - killed].wait(timeout=100)
    assert time.monotonic() - began < 60
    assert status != 0
    time.sleep(0.5)  # for the last word, of another program
    assert re.search(r"^error: .* with --resume all of them", said(tmp_path, 1 - killed), re.MULTILINE)
    assert not runs_in(tmp_path)
    several = start(tmp_path, 2, *long, "--resume")
    assert [one.wait(timeout=200) for one in several] == [0, 0], said(tmp_path, 0)
    assert all("resuming from iteration" in said(tmp_path, i) for i in (0, 1))
    found = runs_in(tmp_path)
    assert len(found) == 5
    assert all(one.environment["resumed_at"] is not None for one in found.values())


def test_processes_of_different_commands_are_refused(tmp_path):
    several = start(tmp_path, 2, "--iters=20", of_each=[[], ["--alpha=5"]])
    assert [one.wait(timeout=100) for one in several] == [2, 2]
    for i in (0, 1):
        assert "--alpha is 4.0 in process 0, and 5.0 in process 1" in said(tmp_path, i)
    assert not runs_in(tmp_path)


@pytest.mark.parametrize("alone_is", few([0, 1], [0]))
def test_where_the_others_do_not_come_that_is_said(alone_is, tmp_path):
    (waiting,) = start(tmp_path, 2, which=[alone_is], patience=1)
    assert waiting.wait(timeout=60) != 0
    time.sleep(0.5)
    assert re.search(r"^error: --distributed: not all .* within 1 s", said(tmp_path, alone_is), re.MULTILINE)


@pytest.mark.parametrize("alone_is", few([0, 1], [1]))
def test_ctrl_c_ends_a_process_that_waits(alone_is, tmp_path):
    (waiting,) = start(tmp_path, 2, which=[alone_is])
    wait_until(lambda: "waiting for all processes" in said(tmp_path, alone_is), 60)
    time.sleep(1)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(timeout=10) == 130
    assert "interrupted" in said(tmp_path, alone_is)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
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
    from experiments.lab.training import train as module

    iterations = []
    train = module.train

    @functools.wraps(train)  # and so no other code
    def watched(configurations, method, seeds, dataset, observe, checkpoints, *rest, **more):
        def note(progress):
            iterations.append(progress.iteration)
            observe(progress)

        return train(configurations, method, seeds, dataset, note, checkpoints, *rest, **more)

    monkeypatch.setattr(module, "train", watched)
    assert compare.main([*arguments(tmp_path), "--iters=20", "--resume"]) == 0
    assert iterations == []
    expected = runs_in(alone)
    for stamp, one in runs_in(tmp_path).items():
        np.testing.assert_allclose(one.run.loss, expected[stamp].run.loss, rtol=2e-3)


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
        (["--devices=0"], "--devices 0: must be 1 to 1024"),
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
    assert parts_of(group, n) == parts


def test_configurations_that_lack_the_same_seeds_train_together():
    assert products([(0, 1), (1, 1), (1, 2), (2, 1)]) == [([0, 2], [1]), ([1], [1, 2])]
