import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from drawings import undraw
from test_commands import laboratory_in
from tiers import few

from experiments import compare, figures, run, sweep
from experiments.lab.command.results import read_results
from experiments.lab.figures import style
from experiments.lab.results import store

SHORT = ["--tasks=2", "--iters=16", "--eval-log=1", "--loss-log=16"]


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Figures of few pixels, which are written sooner."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(style, "PNG_DPI", 40)
        yield


def make(which, laboratory):
    """What a command leaves behind."""
    common = [*SHORT, *laboratory.folders()]
    if which == "compare":
        assert compare.main([*common, "--n-seeds=2"]) == 0
    elif which == "sweep":
        assert sweep.main([*common, "--n-seeds=2", "--budget=3", "--methods", "standard", "ewc"]) == 0
    else:
        assert run.main([*common, "--cs", "--seed=5", "--pdf"]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What a comparison, a sweep and a single run leave behind, without their figures."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as monkeypatch:
        undraw(monkeypatch)
        laboratory = laboratory_in(folder, monkeypatch)
        for which in ("compare", "sweep", "run"):
            make(which, laboratory)
    return folder


@pytest.fixture
def kept(made, tmp_path):
    """A copy of these results to do damage to."""
    return shutil.copytree(made / "results", tmp_path / "results")


def summary_of(folder, kind):
    (path,) = folder.glob(f"{kind}-*/summary.json")
    return path


def draw(*arguments):
    return figures.main([str(argument) for argument in arguments])


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_refused(capsys, line):
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"error: {line}"]
    assert captured.out == ""


OF_ONE = {"accuracy.png", "gap.png", "matrices.png"}
OF_SEVERAL = {*OF_ONE, "seconds.png", "seeds.png", "tasks.png"}
KINDS = {"run": OF_ONE, "compare": OF_SEVERAL, "sweep": {*OF_SEVERAL, "search.png"}}


@pytest.mark.parametrize("which", few(KINDS, ["run"]))
def test_the_same_files_are_made_again_from_the_results_alone(which, tmp_path, monkeypatch, capsys):
    make(which, laboratory_in(tmp_path, monkeypatch))
    capsys.readouterr()
    assert draw(tmp_path / "results", "--plot-dir", tmp_path / "again") == 0
    again, before = files_in(tmp_path / "again"), files_in(tmp_path / "plots")
    assert again.keys() == before.keys()
    assert [name for name in again if again[name] != before[name]] == []
    printed = capsys.readouterr().out
    pdfs = [name for name in again if name.endswith(".pdf")]
    assert len(again) == 2 * len(pdfs)
    assert all(f"figure: {tmp_path / 'again' / name}, .png\n" in printed for name in pdfs)
    drawn = {(name.split("-")[0], name.split("-")[-1]) for name in again if name.endswith(".png")}
    assert drawn == {(which, kind) for kind in KINDS[which]}


def test_all_results_of_a_folder_are_drawn(made, tmp_path, monkeypatch):
    drawn = []

    def draw_nothing(finished, settings, plot_dir, name, **_):
        drawn.append((name.partition("-")[0], plot_dir, sorted(finished)))

    monkeypatch.setattr(figures, "draw", draw_nothing)
    assert draw(made / "results", "--plot-dir", tmp_path) == 0
    assert drawn == [
        ("compare", tmp_path, ["cs", "standard"]),
        ("run", tmp_path, ["cs"]),
        ("sweep", tmp_path, ["ewc", "standard"]),
    ]


def test_slides_have_files_of_their_own(made, tmp_path):
    path = summary_of(made / "results", "run")
    assert draw(path, "--plot-dir", tmp_path, "--formats", "png") == 0
    figures_of_a_page = set(files_in(tmp_path))
    assert draw(path, "--plot-dir", tmp_path, "--formats", "png", "--talk") == 0
    slides = set(files_in(tmp_path)) - figures_of_a_page
    assert slides == {name.replace(".png", "-talk.png") for name in figures_of_a_page}


def test_a_folder_and_its_summary_are_the_same_results(made, tmp_path, capsys):
    path = summary_of(made / "results", "run")
    assert draw(path, path.parent, "--plot-dir", tmp_path, "--formats", "png") == 0
    assert {name.removeprefix(f"{path.parent.name}-") for name in files_in(tmp_path)} == OF_ONE
    assert capsys.readouterr().out.count("accuracy.png") == 1


def test_a_run_costs_its_share_of_what_its_group_took(made, tmp_path, capsys):
    assert draw(summary_of(made / "results", "compare"), "--plot-dir", tmp_path, "--formats", "png") == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    # The laboratory takes 1, 2 and 3 seconds for all seeds together.
    assert ["cs", "0.50", "1.00", "1.50", "3.00", "2", "2"] in rows


def test_a_gap_that_was_not_watched_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    laboratory = laboratory_in(tmp_path, monkeypatch)
    laboratory.run("--cs")
    capsys.readouterr()
    assert draw(tmp_path / "results", "--plot-dir", tmp_path / "plots", "--formats", "png") == 0
    few = "not drawn: stability gap: too few evaluations at the same distance from every task switch, 0 "
    assert few in capsys.readouterr().out
    assert not list((tmp_path / "plots").glob("*gap*"))


def test_neither_data_nor_jax_are_needed(made, tmp_path):
    code = f"""
import sys
from experiments import figures
status = figures.main([{str(summary_of(made / "results", "run"))!r}, "--plot-dir={tmp_path}"])
print(status, sorted({{"jax", "flax", "tensorflow_datasets"}} & set(sys.modules)))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "0 []"


def test_a_missing_run_is_named_and_nothing_drawn(kept, tmp_path, capsys):
    summary = summary_of(kept, "compare")
    stamp = json.loads(summary.read_text())["methods"]["cs"]["stamps"][1]
    missing = kept / store.RUNS / f"{stamp}.json"
    missing.unlink()
    assert draw(kept, "--plot-dir", tmp_path / "plots") == 2
    assert_refused(capsys, f"{missing}: this run, of {summary}, is missing")
    assert not (tmp_path / "plots").exists()


def test_a_summary_that_an_editor_of_windows_saved_again_is_read(kept):
    path = summary_of(kept, "run")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_results(path).finished


def test_a_file_that_is_no_summary_is_said_to_be_none(tmp_path, capsys):
    (tmp_path / "x.pdf").touch()
    assert draw(tmp_path / "x.pdf") == 2
    what = "must be a summary.json, its folder, or a folder of results"
    assert_refused(capsys, f"RESULTS {tmp_path / 'x.pdf'}: {what}")


def test_a_damaged_run_is_named(kept, capsys):
    stamp = json.loads(summary_of(kept, "run").read_text())["methods"]["cs"]["stamps"][0]
    damaged = kept / store.RUNS / f"{stamp}.json"
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert draw(kept) == 2
    assert_refused(capsys, f"{damaged} is damaged")


def changed(**changes):
    def change(summary):
        summary.update(changes)

    return change


def without(name):
    def change(summary):
        del summary[name]

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("config"),
        without("methods"),
        changed(methods={}),
        changed(methods={"cs": {"stamps": []}}),
        changed(methods=["cs"]),
        changed(config={"tasks": "five"}),
        changed(config={"tasks": 3}),
        changed(searches={"cs": {}}),
        changed(searches={"cs": {"space": {"lr": [1, 2]}, "candidates": [{"lr": 1}]}}),
    ],
)
def test_a_file_that_is_no_summary_is_named(kept, capsys, change):
    path = summary_of(kept, "run")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert draw(path) == 2
    assert_refused(capsys, f"{path} is damaged, or no summary")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_summary_is_named(kept, capsys, content):
    path = summary_of(kept, "run")
    path.write_bytes(content)
    assert draw(path.parent) == 2
    assert_refused(capsys, f"{path} is damaged, or no summary")


def test_runs_of_other_tasks_than_the_summary_says_are_refused(kept, capsys):
    path = summary_of(kept, "run")
    content = json.loads(path.read_text())
    content["config"]["tasks"] = 5
    path.write_text(json.dumps(content))
    assert draw(path) == 2
    assert_refused(capsys, f"{path}: its runs and its settings do not belong together")


def test_results_that_are_not_there_are_named(tmp_path, capsys):
    assert draw(tmp_path / "nowhere") == 2
    assert_refused(capsys, f"{tmp_path / 'nowhere'}: no such file or folder")
    assert draw(tmp_path) == 2
    assert_refused(capsys, f"{tmp_path}: no summary.json in it, nor in a folder in it")


def test_two_results_of_the_same_name_do_not_overwrite_each_other(made, kept, capsys):
    first, second = summary_of(made / "results", "run"), summary_of(kept, "run")
    assert draw(first, second) == 2
    assert_refused(
        capsys,
        f"{first.parent}: another of these results has the same name: draw them one by one, each with a "
        "--plot-dir of its own",
    )


def test_a_plot_folder_that_is_a_file_is_an_error(made, tmp_path, capsys):
    (tmp_path / "plots").write_text("")
    assert draw(summary_of(made / "results", "run"), "--plot-dir", tmp_path / "plots") == 2
    assert_refused(capsys, f"--plot-dir {tmp_path / 'plots'}: cannot be written in: Not a directory")


def test_a_tilde_is_the_home_folder(made, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    os.symlink(made / "results", tmp_path / "mine")
    run_of_it = summary_of(tmp_path / "mine", "run").parent.name
    assert draw(f"~/mine/{run_of_it}", "--plot-dir=~/drawn", "--formats", "png") == 0
    assert (tmp_path / "drawn").is_dir()


def test_it_says_what_to_give(capsys):
    with pytest.raises(SystemExit) as stop:
        draw("--help")
    assert stop.value.code == 0
    assert "RESULTS" in capsys.readouterr().out
    assert draw() == 2
    assert_refused(capsys, "RESULTS: must name at least one")
