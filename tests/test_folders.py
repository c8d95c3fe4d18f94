"""Every folder that a command writes in is tried before anything is computed."""

import errno
import os
from pathlib import Path

import pytest

from experiments import figures, rl, run, sharded, submit, sweep
from experiments.claims import __main__ as claims
from experiments.lab.command import options, parsing
from experiments.lab.command.comparing import CompareOptions
from experiments.lab.system import folders
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.folders import check_folders, check_writable

COMMAND = [
    "compare",
    "--experiment=splitDigits",
    "--tasks=2",
    "--iters=4",
    "--methods",
    "standard",
    "--n-seeds=1",
]


def test_checking_a_folder_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "new" / "results")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fails_its_trial_leaves_no_trace(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        check_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        check_writable(tmp_path / "file" / "results")


@pytest.mark.parametrize("below", [".", "runs"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path, below):
    (tmp_path / "results").symlink_to(tmp_path / "nowhere" / "yet")
    with pytest.raises(OSError, match=f"a link to {tmp_path}/nowhere/yet, which does not exist"):
        check_writable(tmp_path / "results" / below)


def test_a_link_to_a_folder_is_as_good_as_the_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "results").symlink_to("real")
    check_writable(tmp_path / "results" / "runs")


def test_a_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "results").symlink_to("results")
    with pytest.raises(SettingsError, match=r"--results-dir .*: cannot be written in: "):
        check_folders([("results_dir", tmp_path / "results")])


def test_a_name_that_the_file_system_does_not_take_is_an_error(tmp_path):
    with pytest.raises(SettingsError, match="cannot be written in: File name too long"):
        check_folders([("results_dir", tmp_path / ("x" * 300))])


def test_a_drive_that_never_renames_is_an_error(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(SettingsError, match="cross-device"):
        check_folders([("results_dir", tmp_path)])


def test_a_disk_that_has_room_for_an_empty_file_alone_is_an_error(tmp_path, monkeypatch):
    def full(_, content):
        if content:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "write_atomically", full)
    with pytest.raises(SettingsError, match="No space left"):
        check_folders([("results_dir", tmp_path)])


def below(options):
    return {(name, str(folder)) for name, folder in options.folders()}


def test_all_commands_name_what_they_write():
    results_of = {("results_dir", name) for name in ("results", "results/runs", "results/checkpoints")}
    live = options.EvaluationAndOutput(live=True, tensorboard=True)
    plots = ("plot_dir", "plots")
    assert below(run.RunOptions()) == results_of
    assert below(run.RunOptions(output=options.EvaluationAndOutput(pdf=True))) == results_of | {plots}
    for kind in (CompareOptions, sweep.SweepOptions):
        assert below(kind()) == results_of | {plots}
    assert below(CompareOptions(output=live)) == results_of | {
        plots,
        ("results_dir", "results/live"),
        ("results_dir", "results/tensorboard"),
    }
    assert below(claims.ClaimsOptions()) == {("results_dir", "results/claims"), plots}
    assert below(figures.FigureOptions(())) == {plots}
    assert below(submit.SubmitOptions()) == {("logs", "logs"), ("logs", "logs/plots")}
    assert below(rl.RlOptions()) == {("results_dir", "results/rl"), ("results_dir", "results/rl/runs"), plots}
    assert below(sharded.ShardedOptions()) == set()
    assert below(sharded.ShardedOptions(checkpoint=Path("c"))) == {("checkpoint", "c")}


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (lambda folder: claims.main([folder, "power-law"]), "--results-dir"),
        (lambda folder: claims.main([folder, "power-law"]), "--plot-dir"),
        (lambda folder: sharded.main([folder, "--devices=2"]), "--checkpoint"),
        (lambda folder: submit.main(["--cluster=local", folder, *COMMAND]), "--logs"),
        (lambda folder: submit.main(["--cluster=local", *COMMAND, folder]), "--results-dir"),
        (lambda folder: submit.main(["--cluster=local", *COMMAND, folder]), "--plot-dir"),
    ],
)
def test_a_command_tries_its_folders_first(command, flag, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    assert command(f"{flag}={link}") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {flag} {link}")
    assert error.endswith("cannot be written in: it is a link to nowhere, which does not exist")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


@pytest.mark.parametrize(
    ("parse_as", "given", "path_of"),
    [
        (run.RunOptions, "--results-dir", lambda options: options.output.results_dir),
        (run.RunOptions, "--plot-dir", lambda options: options.output.plot_dir),
        (run.RunOptions, "--data-dir", lambda options: options.output.data_dir),
        (run.RunOptions, "--stream-file", lambda options: options.data.stream_file),
        (claims.ClaimsOptions, "--results-dir", lambda options: options.results_dir),
        (claims.ClaimsOptions, "--plot-dir", lambda options: options.plot_dir),
        (submit.SubmitOptions, "--logs", lambda options: options.logs),
        (sharded.ShardedOptions, "--checkpoint", lambda options: options.checkpoint),
        (figures.FigureOptions, "--plot-dir", lambda options: options.plot_dir),
    ],
)
def test_a_tilde_is_the_home_folder_in_every_command(parse_as, given, path_of, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    rest = ["x"] if parse_as is figures.FigureOptions else []
    options, _ = parsing.parse(parse_as, "experiments.some", [*rest, f"{given}=~/mine"])
    assert path_of(options) == tmp_path / "mine"
    with pytest.raises(SystemExit, match="2"):
        parsing.parse(parse_as, "experiments.some", [*rest, f"{given}=~no-such-user/mine"])
    assert capsys.readouterr().err == (
        f"error: {given} ~no-such-user/mine: the home folder ~no-such-user is not known\n"
    )


def test_positional_paths_have_tildes_too(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    options, _ = parsing.parse(figures.FigureOptions, "experiments.some", ["~/a", "b"])
    assert options.results == (tmp_path / "a", Path("b"))


@pytest.mark.parametrize("name", ["100%", "two\nlines", os.fsdecode(b"donn\xe9es")])
def test_a_folder_of_logs_that_slurm_would_read_otherwise_is_an_error(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert submit.main([f"--logs={name}", *COMMAND]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: --logs ")
    assert list(tmp_path.iterdir()) == []
