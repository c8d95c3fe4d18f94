"""Jobs of a cluster: the same results as without, and mistakes are found before anything is queued."""

import json
import os
import stat
from pathlib import Path

import pytest

from experiments import compare, submit
from experiments.submit import Shard, shards_of

ROOT = Path(__file__).parent.parent
TINY = [
    *("--experiment=splitDigits", "--iters=10", "--tasks=2", "--batch=16", "--fc-units=8"),
    *("--eval-log=10", "--eval-n=20", "--beakers=3", "--alpha=4", "--beta=64"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return tmp_path


def test_shards_are_methods_and_of_a_comparison_groups_of_seeds():
    whole = Shard("compare", ("--methods", "standard", "ewc", "--seed", "7", "--n-seeds", "3"))
    tails = [shard.arguments[len(whole.arguments) :] for shard in shards_of(whole, 2)]
    assert tails == [
        ("--methods", method, "--seed", seed, "--n-seeds", n)
        for method in ("standard", "ewc")
        for seed, n in (("7", "2"), ("9", "1"))
    ]
    assert len(shards_of(whole, 0)) == 2
    probing = shards_of(Shard("compare", ("--probes", "--methods", "standard", "cs")), 0)
    assert ["--probes" in shard.arguments for shard in probing] == [False, True]
    ranged = Shard("sweep", ("--methods", "standard", "cs", "--ranges", "alpha=1:100", "lr=1e-4:1e-2"))
    assert [shard.arguments[-3:] for shard in shards_of(ranged, 0)] == [
        ("standard", "--ranges", "lr=1e-4:1e-2"),
        ("--ranges", "alpha=1:100", "lr=1e-4:1e-2"),
    ]
    sweep = Shard("sweep", ("--methods", "standard", "cs", "l2"))
    assert [shard.arguments[-1] for shard in shards_of(sweep, 0)] == ["standard", "cs", "l2"]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (["--partition", "sweep", "compare", "--seed", "1"], 2),
        (["--account", "compare", "--logs", "sweep", "--gpus=1", "sweep"], 5),
        (["--partition=sweep", "compare"], 1),
        (["compare", "--methods", "cs", "--results-dir", "sweep"], 0),
        (["--partition", "sweep"], 2),
        (["--help"], 1),
        ([], 0),
    ],
)
def test_the_value_of_an_option_is_not_taken_for_the_command(given, place):
    assert submit.place_of_command(given) == place


@pytest.mark.slow
def test_jobs_on_this_computer_find_what_the_command_finds(here, capsys):
    command = ["compare", *TINY, "--methods", "cs", "--n-seeds", "3"]
    assert submit.main(["--cluster", "local", "--at-once", "2", "--seeds-per-job", "2", *command]) == 0
    out = capsys.readouterr().out
    assert "2 shards; logs: " in out
    assert "cs: 3 of 3 runs found again" in out
    summary = json.loads(Path(out.splitlines()[-1].removeprefix("summary: ")).read_text())
    assert compare.main([*command[1:], "--results-dir", "alone", "--plot-dir", "alone"]) == 0
    alone = json.loads(Path(capsys.readouterr().out.splitlines()[-1].removeprefix("summary: ")).read_text())
    for one in (summary, alone):
        assert one["seeds"] == [0, 1, 2]
    ours, theirs = (one["methods"]["cs"] for one in (summary, alone))
    assert ours["stamps"] == theirs["stamps"]
    assert ours["final_accuracy"]["mean"] == pytest.approx(theirs["final_accuracy"]["mean"], abs=0.01)
    logs = sorted(path.name for path in (here / "logs").glob("*_log.out"))
    assert len(logs) == 2
    assert not list((here / "plots").glob("*s0to1*"))  # those of the parts are beside the logs


@pytest.mark.slow
def test_a_job_that_fails_is_named_with_its_log_when_all_have_run(here, capsys, monkeypatch):
    monkeypatch.setattr(submit, "check_folders", lambda folders: None)  # the job finds it
    (here / "results").mkdir()
    (here / "results" / "runs").write_text("in the way")
    command = ["compare", *TINY, "--methods", "cs", "l2", "--n-seeds", "1"]
    assert submit.main(["--cluster", "local", *command]) == 2
    error = capsys.readouterr().err
    assert error.count("has failed: see ") == 2
    log = Path(error.split("has failed: see ")[1].split(";")[0])
    assert "results/runs: cannot be written in" in log.read_text()
    assert len(list((here / "logs").glob("*_log.err"))) == 2


FAILS_IN_A_JOB = """
import os
import optax

def rule(settings):
    if "SUBMITIT_EXECUTOR" in os.environ:
        raise TypeError("not in a job")
    return optax.sgd(settings.lr)
"""


@pytest.mark.slow
def test_the_whole_tries_again_what_a_job_failed_at(here, capsys):
    (here / "mine.py").write_text(FAILS_IN_A_JOB)
    command = ["compare", *TINY, "--methods", "standard", "mine.py:rule", "--n-seeds", "1"]
    assert submit.main(["--cluster", "local", *command]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("has failed: see ") == 1
    assert "standard: 1 of 1 runs found again" in printed.out
    summary = json.loads(Path(printed.out.splitlines()[-1].removeprefix("summary: ")).read_text())
    assert list(summary["methods"]) == ["standard", "rule"]


def fake_slurm(folder):
    """Commands that keep what they are given, and say what Slurm's say."""
    for name, words in (("srun", ""), ("squeue", ""), ("scancel", ""), ("sbatch", "Submitted batch job")):
        path = folder / name
        number = f"$(ls {folder}/*.sbatch | wc -l)"
        keep = f'n={number}; cp "$1" {folder}/$n.sbatch; echo "{words} 4$n"' if words else "true"
        path.write_text(f"#!/bin/sh\n{keep}\n")
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    (folder / "0.sbatch").touch()


def test_slurm_gets_an_array_and_the_whole_after_it(here, capsys, monkeypatch):
    commands = here / "commands"
    commands.mkdir()
    fake_slurm(commands)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    options = ["--gpus=1", "--cpus=8", "--memory=32", "--hours=2.5", "--partition=gpu", "--at-once=2"]
    sweep = ["sweep", *TINY, "--methods", "standard", "cs", "l2", "--n-seeds", "2", "--ranges", "alpha=1:9"]
    assert submit.main([*options, *sweep]) == 0
    out = capsys.readouterr().out
    array, last = ((commands / f"{n}.sbatch").read_text() for n in (1, 2))
    for line in (
        "--array=0-2%2",
        "--cpus-per-task=8",
        "--gpus-per-node=1",
        "--mem=32GB",
        "--time=150",
        "--partition=gpu",
        "--job-name=cs_optax",
    ):
        assert f"#SBATCH {line}" in array
    assert "#SBATCH --dependency=afterany:41" in last
    assert "--array" not in last
    assert "job 41_0: sweep" in out
    assert "job 42: the whole" in out
    assert not (here / "results").exists()


def test_a_job_that_is_stopped_is_queued_again():
    shard = Shard("compare", ("--iters=1",))
    again = shard.checkpoint()
    assert again.function == shard
    assert again.args == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "name the command to submit: compare or sweep"),
        (["--gpus=1", "comparison"], "name the command to submit: compare or sweep, found none in: --gpus=1"),
        (["--cpus=0", "compare"], "--cpus 0: must be at least 1"),
        (["--hours=0", "compare"], "--hours 0: must be positive and finite"),
        (
            ["--cluster=local", "--account=mine", "compare"],
            "--account: must be left out with --cluster local",
        ),
        (["--seeds-per-job=2", "sweep"], "--seeds-per-job: goes with compare"),
        (["compare", "--distributed"], "--distributed: must be left out"),
        (["--cluster=local", "compare", "--alpha=0"], "--alpha 0: must be positive and at most 1e+38"),
        (["--cluster=local", "compare", "--methods", "cs", "cs"], "method cs: must be named once"),
        (["compare", "--experiment=splitDigits"], "--cluster slurm: "),
    ],
)
def test_mistakes_are_found_before_anything_is_queued(wrong, message, here, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no Slurm
    assert submit.main(wrong) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not [path for path in here.rglob("*") if path.is_file()]
