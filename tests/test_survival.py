"""Runs that survive: a training that is stopped, however, goes on to the same bits."""

import dataclasses
import errno
import json
import random
import shutil
import signal
import time
import warnings

import jax
import numpy as np
import pytest
import small_runs
from forked import Command, wait_until
from tiers import few
from trainings import trained

from experiments import compare, run
from experiments.lab.data.dataset import load
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.results import sources, stamps
from experiments.lab.results.runs import Run, Seconds
from experiments.lab.training.checkpoints import Checkpoints, interrupted_groups
from experiments.lab.training.train import train

SMALL = dataclasses.replace(small_runs.SMALL, loss_log=3, beakers=4, ewc_samples=20, class_order="shuffled")


def stopping_at(iteration):
    def observe(progress):
        if progress.iteration == iteration:
            raise KeyboardInterrupt

    return observe


def assert_same(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        for field in dataclasses.fields(Run):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


STOPS = {"cs": (0, 15, 18), "ewc": (18,), "er": (18,)}


@pytest.mark.parametrize(("method", "stops"), few(STOPS.items(), lambda method, _: method == "cs"))
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path, method, stops):
    """Stopped at the end of a task; and at the start, and inside a task."""
    data, expected = load("Digits"), trained(SMALL, method, [3, 4])
    for iteration in stops:
        checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
        with pytest.raises(KeyboardInterrupt):
            train([SMALL], method, [3, 4], data, stopping_at(iteration), checkpoints)
        assert checkpoints.path.exists()
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    (runs,), _ = train([SMALL], method, [3, 4], data, lambda progress: None, checkpoints)
    assert checkpoints.resumed_at == 18
    assert_same(runs, expected)


@pytest.mark.parametrize("method", few(sorted(BUILT_IN.keys() - STOPS.keys()), ["si"]))
def test_every_other_method_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path, method):
    """From one that a training which went on has left behind at the end of a task."""
    data, keeper = load("Digits"), Checkpoints(tmp_path, "one", every=0, resume=True)

    def copy_the_one_before(progress):
        if progress.iteration == 20:
            shutil.copy(keeper.path, tmp_path / "kept.npz")

    (expected,), _ = train([SMALL], method, [3, 4], data, copy_the_one_before, keeper)
    shutil.move(tmp_path / "kept.npz", keeper.path)
    (runs,), _ = train([SMALL], method, [3, 4], data, lambda progress: None, keeper)
    assert keeper.resumed_at == 18
    assert_same(runs, expected)


@pytest.mark.slow
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
    with pytest.warns(UserWarning, match="which --resume would continue"):
        assert train_once(stopped, lambda progress: None, resume=False) is None


@pytest.mark.parametrize("damage", few([b"", b"nonsense", "half", "other arrays"], ["half"]))
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
    with pytest.warns(UserWarning, match=r"one.npz is damaged \(.*\): that training starts over"):
        assert train_once(stopped, lambda progress: None) is None


def test_a_checkpoint_of_other_software_is_used_with_a_warning(stopped, monkeypatch):
    from experiments.lab.training import checkpoints

    monkeypatch.setattr(checkpoints, "current_environment", lambda: {"jax": "0.0.0"})
    with pytest.warns(UserWarning, match="was made with another jax: resuming"):
        assert train_once(stopped, lambda progress: None) == 15


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_training(tmp_path, monkeypatch):
    from experiments.lab.training import checkpoints

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    expected = trained(SMALL, "standard", [3])
    monkeypatch.setattr(checkpoints, "write_atomically", full)
    keeper = Checkpoints(tmp_path, "one", every=0, resume=False)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        (runs,), _ = train([SMALL], "standard", [3], load("Digits"), lambda progress: None, keeper)
    assert str(warned[0].message).endswith("one.npz: no checkpoint at iteration 0: No space left on device")
    assert_same(runs, expected)


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


ARGUMENTS = [
    *("--experiment=splitDigits", "--method=cs", "--seed=3", "--alpha=10", "--beta=1000", "--iters=200"),
    *(
        "--batch=16",
        "--fc-layers=1",
        "--tasks=2",
        "--eval-log=5",
        "--eval-n=10",
        "--loss-log=5",
        "--checkpoint-every=0",
    ),
]


def command(folder, cache, *more):
    """In a process of its own: the real command."""
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    folders = [f"--results-dir={folder / 'results'}", f"--plot-dir={folder / 'plots'}"]
    return run.main([*ARGUMENTS, *folders, *more])


@pytest.fixture
def start(tmp_path):
    """Start the command in a folder, with a cache of compiled programs in common."""

    def start(folder, *more):
        folder.mkdir(exist_ok=True)
        return Command(folder / "said", command, folder, tmp_path / "cache", *more, folder=folder)

    return start


def finished_runs(folder):
    return [json.loads(path.read_text())["run"] for path in sorted(folder.glob("results/runs/*.json"))]


@pytest.mark.parametrize("n_kills", few([3, 30], [3]))
def test_a_run_killed_at_any_moment_and_resumed_ends_with_the_same_bits(n_kills, tmp_path, start):
    """Killed over and over, at random moments of its start, its training and its end."""
    for name in ("whole", "again"):  # the second finds all programs compiled
        began = time.monotonic()
        process = start(tmp_path / name)
        assert process.wait() == 0
        took = time.monotonic() - began
    (expected,) = finished_runs(tmp_path / "whole")
    killed, dice, kills = tmp_path / "killed", random.Random(0), 0
    while kills < n_kills:
        process = start(killed, "--resume")
        status = process.wait(dice.uniform(0.2, 0.9) * took)  # what goes on from a checkpoint takes less
        if status is None:
            process.kill()
            kills += 1
        else:  # finished before it could be killed; that counts too, and all begins anew
            assert status == 0
            assert finished_runs(killed) == [expected]
            shutil.rmtree(killed / "results")
    process = start(killed, "--resume")
    status, said = process.wait(), (killed / "said").read_text()
    assert status == 0, said
    assert "damaged" not in said
    assert finished_runs(killed) == [expected]
    assert not list(killed.glob("results/checkpoints/*.npz"))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_group_that_was_partly_kept_is_made_again_to_the_same_bits(tmp_path, capsys, monkeypatch):
    """Killed between keeping one run and the next: the other one trains in the same company."""
    arguments = [
        "--experiment=splitDigits",
        "--iters=6",
        "--batch=16",
        "--fc-units=8",
        "--checkpoint-every=0",
    ]
    arguments += ["--methods", "standard", "--n-seeds=2", f"--plot-dir={tmp_path / 'plots'}"]

    def compared(name, *more):
        assert compare.main([*arguments, f"--results-dir={tmp_path / name}", *more]) == 0
        return capsys.readouterr().out

    def runs(name):
        return [json.loads(path.read_text())["run"] for path in sorted(tmp_path.glob(f"{name}/runs/*.json"))]

    monkeypatch.setattr(Checkpoints, "discard", lambda self: None)
    for name in ("whole", "part"):
        compared(name)
    next(tmp_path.glob("part/runs/*.json")).unlink()
    monkeypatch.undo()
    assert "1 of 2 runs found again" in compared("part", "--resume")
    assert runs("part") == runs("whole")
    assert not list(tmp_path.glob("part/checkpoints/*"))


def test_seconds_before_a_stop_are_kept_with_the_runs_and_not_counted_again(stopped):
    (path,) = stopped.rglob("*.npz")
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    about["seconds"] = {"compile": 100.0, "train": 200.0, "evaluate": 300.0}
    np.savez(path, **{**arrays, "about": json.dumps(about)})
    checkpoints = Checkpoints(stopped, "one", every=1e9, resume=True)
    _, seconds = train([SMALL], "standard", [3], load("Digits"), lambda progress: None, checkpoints)
    assert seconds.train < 100
    assert (checkpoints.seconds_before + seconds).evaluate > 300


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path, start):
    process = start(tmp_path / "one", "--iters=100000", "--checkpoint-every=1e6")
    said = tmp_path / "one" / "said"
    wait_until(lambda: said.exists() and "iterations" in said.read_text(), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    last = said.read_text().splitlines()[-1]
    assert last.startswith("interrupted: ")
    assert "--resume" in last
    (path,) = (tmp_path / "one" / "results" / "checkpoints").iterdir()
    with np.load(path) as file:
        assert json.loads(str(file["about"]))["iteration"] > 0


@pytest.mark.slow
def test_two_processes_on_one_folder_do_not_disturb_each_other(tmp_path, start):
    processes = [start(tmp_path / "one") for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    (run,) = finished_runs(tmp_path / "one")
    assert run["seed"] == 3
    left = (tmp_path / "one" / "results").rglob("*")
    assert not [path for path in left if path.suffix in (".tmp", ".npz")]


def test_where_there_is_nothing_to_resume_it_says_so(tmp_path, capsys):
    def found(settings, method="cs", seeds=(0,), resume=True):
        identities = [stamps.identity(settings, method, seed, "abc") for seed in seeds]
        stamp = stamps.comparison_stamp(identities)
        return Checkpoints(tmp_path, stamp, 0, resume, identities, title="mine")

    def said(*arguments, **more):
        assert found(*arguments, **more).find({"w": np.zeros(2)}) is None
        return capsys.readouterr().err

    nothing = (
        f"note: mine: --resume finds no checkpoint of it in {tmp_path / 'checkpoints'}: starts from iter"
    )
    assert said(SMALL).startswith(nothing)
    assert said(SMALL, resume=False) == ""
    kept = found(SMALL)
    kept.keep(3, {"w": np.zeros(2)}, {}, Seconds(0, 0, 0))
    begin = f"note: mine: --resume does not continue {kept.path}, which is of a training with "
    end = ": starts from iteration 0\n"
    assert said(dataclasses.replace(SMALL, batch=64)) == f"{begin}--batch 16{end}"
    assert said(dataclasses.replace(SMALL, batch=64, lr=0.5)) == f"{begin}--batch 16, --lr 0.001{end}"
    assert said(SMALL, seeds=(0, 1)) == f"{begin}seeds 0{end}"
    assert said(SMALL, method="standard").startswith(nothing)
    with pytest.MonkeyPatch.context() as patch:
        changed = {**sources.current().files, "experiments/lab/models/mlp.py": "edited"}
        patch.setattr(sources, "current", lambda: sources.Code("edited", changed))
        assert said(SMALL) == f"{begin}other code (experiments/lab/models/mlp.py){end}"
    assert found(SMALL).find({"w": np.zeros(2)}).iteration == 3


def test_strays_among_the_checkpoints_are_no_ones(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    np.save(folder / "array.npy", np.ones(3))
    (folder / "array.npy").rename(folder / "stray.npz")
    (folder / "text.npz").write_text("nothing of ours")
    assert interrupted_groups(tmp_path, {"a"}, {"a"}) == []


def test_what_a_killed_process_was_writing_is_removed_in_the_end(tmp_path):
    checkpoints = Checkpoints(tmp_path, "one", every=0, resume=False)
    checkpoints.path.parent.mkdir()
    unfinished = checkpoints.path.with_name(f".{checkpoints.path.name}.0123abcd.tmp")
    unfinished.write_bytes(b"half")
    checkpoints.discard()
    assert not unfinished.exists()
