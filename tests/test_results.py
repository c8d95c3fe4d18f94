import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import cs_optax
from experiments.lab.options.settings import Baselines, Settings
from experiments.lab.results import runs, stamps, store, summaries
from experiments.lab.results.runs import Run
from experiments.lab.system import files
from experiments.lab.tasks.streams import forget_streams

SETTINGS = Settings(tasks=2, iters=4, eval_log=3, loss_log=2)
IDENTITY = stamps.identity(SETTINGS, "cs", 3, "abc")
ENVIRONMENT = {"jax": "1.2.3", "platform": "cpu"}


def make_run(method="cs", seed=3, **changes):
    random = np.random.default_rng([seed, len(method)])
    matrix = random.random((2, 2))
    run = Run(
        method=method,
        seed=seed,
        evaluated_at=np.array([3, 6, 8]),
        accuracy=random.random((3, 2)),
        seen=np.array([[True, False], [True, True], [True, True]]),
        logged_at=np.array([2, 4, 6, 8]),
        loss=random.random(4),
        initial_accuracy=random.random(2),
        accuracy_matrix=matrix,
        matrix_at=np.array([4, 8]),
        final_accuracy=float(matrix[-1].mean()),
    )
    return dataclasses.replace(run, **changes)


def same(first, second):
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name), equal_nan=True)
        if isinstance(getattr(first, field.name), np.ndarray)
        else getattr(first, field.name) == getattr(second, field.name)
        for field in dataclasses.fields(Run)
    )


def other_value(field):
    """Some other value that this setting could have."""
    value = getattr(SETTINGS, field.name)
    if isinstance(value, bool):
        return not value
    if field.name == "experiment":
        return "permMNIST"
    if field.name == "scenario":
        return next(name for name in Settings.scenarios if name != value)
    if field.name == "profile":
        return "power:0.1"
    if isinstance(value, str):
        return next(choice for choice in get_args(field.type) if choice != value)
    return value + 1


@pytest.fixture
def kept(tmp_path):
    """A results folder with one finished run, and the path of its file."""
    store.save_run(tmp_path, IDENTITY, make_run(), ENVIRONMENT)
    (path,) = (tmp_path / "runs").iterdir()
    return tmp_path, path


def assert_damaged(folder, path):
    with pytest.warns(UserWarning, match="is damaged: the run is trained again") as warned:
        assert store.find_run(folder, IDENTITY) is None
    (warning,) = warned
    assert str(warning.message).startswith(str(path))


def test_accuracy_is_averaged_over_all_tasks_and_over_those_seen():
    run = make_run(accuracy=np.array([[0.9, 0.5], [0.8, 0.6], [0.7, 0.7]]))
    np.testing.assert_allclose(run.accuracy_overall, [0.7, 0.7, 0.7])
    np.testing.assert_allclose(run.accuracy_so_far, [0.9, 0.7, 0.7])


SYNAPSE = {"beakers", "alpha", "beta", "time_step", "readout", "profile"}
OF_THE_DATA = {"classes", "labelled"}  # told apart by their checksum
STRENGTHS = {field.name for field in dataclasses.fields(Baselines)}
WITHOUT_EFFECT = {
    "standard": SYNAPSE | STRENGTHS,
    "cs": {"decay", "readout", "profile"} | STRENGTHS,
    "cs-readout": {"decay"} | STRENGTHS,
    "cs-published": {"decay", "time_step", "readout", "profile"} | STRENGTHS,
    "joint": SYNAPSE | STRENGTHS,
    "ewc": SYNAPSE | STRENGTHS - {"ewc_strength", "ewc_decay", "ewc_samples"},
    "si": SYNAPSE | STRENGTHS - {"si_strength", "si_damping"},
    "lwf": SYNAPSE | STRENGTHS - {"lwf_temperature"},
    "er": SYNAPSE | STRENGTHS - {"replay_budget"},
    "l2": SYNAPSE | STRENGTHS - {"l2_strength"},
    "average": SYNAPSE | STRENGTHS - {"average_time"},
    "record": (SYNAPSE - {"profile"}) | STRENGTHS,
}


@pytest.mark.parametrize("method", WITHOUT_EFFECT)
def test_the_stamp_changes_with_every_setting_that_the_method_uses(method):
    def stamp(**changed):
        return stamps.run_stamp(stamps.identity(dataclasses.replace(SETTINGS, **changed), method, 3, "abc"))

    below = "overlap", "stream", "stream_file"
    fields = [field for field in dataclasses.fields(Settings) if field.name not in below]
    values = {field.name: other_value(field) for field in fields}
    before = stamp()
    without_effect = {name for name, value in values.items() if stamp(**{name: value}) == before}
    assert without_effect == values.keys() & (WITHOUT_EFFECT[method] | OF_THE_DATA)


def test_the_overlap_of_a_gradual_stream_is_part_of_the_stamp():
    gradual = dataclasses.replace(SETTINGS, stream="gradual")
    made = [
        stamps.run_stamp(stamps.identity(one, "standard", 3, "abc"))
        for one in (gradual, dataclasses.replace(gradual, overlap=0.5))
    ]
    assert made[0] != made[1]


def test_a_stream_from_a_file_is_known_by_its_content(tmp_path):
    def stamp(name, tasks):
        np.savez(tmp_path / name, tasks=np.array(tasks))
        forget_streams()
        changed = dataclasses.replace(SETTINGS, stream="file", stream_file=tmp_path / name, iters=len(tasks))
        return stamps.run_stamp(stamps.identity(changed, "standard", 3, "abc"))

    assert stamp("a.npz", [0, 1, 0]) == stamp("b.npz", [0, 1, 0])
    assert stamp("a.npz", [0, 1, 0]) != stamp("a.npz", [0, 1, 1])


def test_the_stamp_changes_with_method_seed_data_version_and_format(monkeypatch):
    def stamp(method="cs", seed=3, sha="abc"):
        return stamps.run_stamp(stamps.identity(SETTINGS, method, seed, sha))

    made = [stamp(), stamp(method="standard"), stamp(seed=4), stamp(sha="abd")]
    monkeypatch.setattr(cs_optax, "__version__", "0.0.0")
    made.append(stamp())
    monkeypatch.setattr(stamps, "FORMAT", 0)
    made.append(stamp())
    assert len(set(made)) == len(made)


def test_the_stamp_depends_on_values_not_on_their_python_types():
    typed = dataclasses.replace(SETTINGS, alpha=500, batch=np.int64(128), lr=np.float64(0.001))
    assert stamps.run_stamp(stamps.identity(typed, "cs", np.int64(3), "abc")) == stamps.run_stamp(IDENTITY)


def test_the_stamp_can_be_read():
    assert stamps.run_stamp(IDENTITY).startswith("splitMNIST2-task-task-based-cs-K5-a500-b2500-s3-")
    published = dataclasses.replace(SETTINGS, alpha=0.5, beta=1e9, time_step="learning-rate")
    made = [stamps.run_stamp(stamps.identity(published, m, 3, "abc")) for m in ("standard", "cs")]
    assert made[0].startswith("splitMNIST2-task-task-based-standard-s3-")
    assert made[1].startswith("splitMNIST2-task-task-based-cs-K5-a0.5-b1e09-published-s3-")


def test_a_comparison_is_named_after_its_runs_and_its_first_method():
    identities = [
        stamps.identity(SETTINGS, method, seed, "abc") for method in ("standard", "cs") for seed in (0, 1, 2)
    ]
    stamp = stamps.comparison_stamp(identities)
    assert stamp.startswith("splitMNIST2-task-task-based-K5-a500-b2500-s0to2-")
    assert stamps.comparison_stamp(identities[3:] + identities[:3]) != stamp  # other differences
    assert stamps.comparison_stamp(list(identities)) == stamp
    assert stamps.comparison_stamp(identities[:-1]) != stamp


def test_a_run_that_an_editor_of_windows_saved_again_is_found(tmp_path):
    """With a mark of its encoding at the start, and with its line ends."""
    made = store.save_run(tmp_path, IDENTITY, make_run(), {})
    path = tmp_path / store.RUNS / f"{made.stamp}.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert same(store.find_run(tmp_path, IDENTITY).run, make_run())


def test_a_finished_run_is_found_again_to_the_last_bit(kept):
    folder, _ = kept
    found = store.find_run(folder, IDENTITY)
    assert same(found.run, make_run())
    assert found.environment == ENVIRONMENT
    assert found.found_again


def test_a_run_whose_loss_diverged_is_kept_as_strict_json(tmp_path):
    run = make_run(loss=np.array([1.0, np.nan, np.inf, -np.inf]))
    store.save_run(tmp_path, IDENTITY, run, ENVIRONMENT)
    (path,) = (tmp_path / "runs").iterdir()
    strict = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert strict["run"]["loss"] == [1.0, None, None, None]
    assert np.isnan(store.find_run(tmp_path, IDENTITY).run.loss[1:]).all()


def test_where_a_run_diverged_is_kept(tmp_path):
    store.save_run(tmp_path, IDENTITY, make_run(diverged_at=7), ENVIRONMENT)
    assert store.find_run(tmp_path, IDENTITY).run.diverged_at == 7


def test_what_was_not_run_is_not_found(kept):
    folder, _ = kept
    assert store.find_run(folder, stamps.identity(SETTINGS, "cs", 4, "abc")) is None
    assert store.find_run(folder / "elsewhere", IDENTITY) is None


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_counts_as_not_run_and_is_replaced(kept, part):
    folder, path = kept
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: min(int(part * len(content)), len(content) - 1)])
    assert_damaged(folder, path)
    store.save_run(folder, IDENTITY, make_run(), ENVIRONMENT)
    assert same(store.find_run(folder, IDENTITY).run, make_run())


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"null", b"[]", b'{"identity": 1}', b"[" * 100_000],
    ids=["not text", "null", "list", "incomplete", "too deep"],
)
def test_a_foreign_file_counts_as_not_run(kept, content):
    folder, path = kept
    path.write_bytes(content)
    assert_damaged(folder, path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"accuracy": [[0.5]]},
        {"seen": [True]},
        {"loss": [0.1]},
        {"accuracy_matrix": [0.1, 0.2]},
        {"final_accuracy": None},
        {"evaluated_at": ["three"]},
    ],
    ids=str,
)
def test_a_file_whose_parts_do_not_fit_together_counts_as_not_run(kept, wrong):
    folder, path = kept
    record = json.loads(path.read_text())
    record["run"].update(wrong)
    path.write_text(json.dumps(record))
    assert_damaged(folder, path)


def test_the_file_of_another_run_under_this_name_counts_as_not_run(kept):
    folder, path = kept
    record = json.loads(path.read_text())
    record["identity"]["settings"]["lr"] = 0.5
    path.write_text(json.dumps(record))
    assert_damaged(folder, path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "summary.json"
    files.write_json(path, {"old": True})

    def full(*_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (type(path), "replace")}[failing], full)
    with pytest.raises(OSError, match="no space") as error:
        files.write_json(path, {"old": False})
    assert error.value.filename == str(path)
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("refused", [errno.EACCES, errno.EBUSY, errno.ESTALE])
def test_a_drive_that_refuses_to_rename_for_a_moment_is_asked_again(tmp_path, monkeypatch, refused):
    answers, rename = iter([refused, refused, None]), Path.replace

    def moody(self, target):
        if answer := next(answers):
            raise OSError(answer, os.strerror(answer))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", moody)
    monkeypatch.setattr(files, "PAUSES", (0, 0))
    files.write_json(tmp_path / "summary.json", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_drive_that_cannot_say_when_a_file_is_on_disk_is_written_to(tmp_path, monkeypatch, error):
    def unknown(_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", unknown)
    files.write_json(tmp_path / "summary.json", 1)
    assert (tmp_path / "summary.json").read_text() == "1\n"


def test_file_names_that_are_no_unicode_are_read_back_from_json_as_they_were(tmp_path):
    name = os.fsdecode(b"donn\xe9es.npz")
    files.write_json(tmp_path / "summary.json", {"path": Path(name)})
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == {"path": name}


def test_a_run_that_cannot_be_kept_is_saved_elsewhere(tmp_path, monkeypatch):
    write = files.write_atomically

    def full(path, content):
        if tmp_path / "results" in path.parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(files, "write_atomically", full)
    monkeypatch.setattr(store, "_folder_for_what_is_not_kept", lambda: tmp_path / "elsewhere")
    with pytest.raises(OSError, match=f"it is in {tmp_path}/elsewhere, to be moved") as failed:
        store.save_run(tmp_path / "results", IDENTITY, make_run(), ENVIRONMENT)
    monkeypatch.undo()
    kept = Path(failed.value.filename)
    kept.parent.mkdir(parents=True)
    (tmp_path / "elsewhere" / kept.name).rename(kept)
    assert store.find_run(tmp_path / "results", IDENTITY) is not None


def test_long_names_make_stamps_that_differ_but_are_not_too_long():
    names = ["x" * 200, "x" * 201, "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 60]
    made = [
        stamps.run_stamp(
            stamps.identity(dataclasses.replace(SETTINGS, experiment=f"{name}.npz"), "cs", 3, "abc")
        )
        for name in names
    ]
    assert len(set(made)) == len(names)
    for stamp in made:
        assert len(f".compare-{stamp}-beakers-cs-published.pdf.01234567.tmp".encode()) <= 143


@dataclasses.dataclass
class FakeDataset:
    name: str = "MNIST"
    source: str = "nowhere"
    sha256: str = "abc"


def summarise(tmp_path, methods=("standard", "cs"), seeds=(3, 4)):
    finished = {
        method: [
            store.save_run(
                tmp_path,
                stamps.identity(SETTINGS, method, seed, "abc"),
                make_run(method, seed),
                ENVIRONMENT,
            )
            for seed in seeds
        ]
        for method in methods
    }
    summary = summaries.summary(
        command="python -m experiments.compare",
        config=dataclasses.asdict(SETTINGS),
        settings=SETTINGS,
        environment=ENVIRONMENT,
        dataset=FakeDataset(),
        finished=finished,
        seconds={"standard": runs.Seconds(0.5, 1.0, 1.0), "cs": runs.Seconds(0.5, 1.0, 2.0)},
        total_seconds=7.0,
    )
    files.write_json(tmp_path / "summary.json", summary)
    return json.loads((tmp_path / "summary.json").read_text())


def test_the_summary_has_the_published_keys(tmp_path):
    summary = summarise(tmp_path)
    assert {"command", "config", "environment", "data", "methods", "paired", "seconds"} <= set(summary)
    assert summary["data"] == {"source": "nowhere", "sha256": "abc", "name": "MNIST"}
    assert summary["seeds"] == [3, 4]
    assert summary["seconds"].pop("methods")["cs"] == {"compile": 0.5, "train": 1.0, "evaluate": 2.0}
    assert summary["seconds"] == {"compile": 1.0, "train": 2.0, "evaluate": 3.0, "total": 7.0}
    assert summary["environments_of_runs"] == [ENVIRONMENT]
    assert summary["runs_found_again"] == 0
    assert summary["methods"]["cs"]["diverged"] == []


def test_the_summary_lists_the_seeds_that_diverged():
    finished = [
        runs.FinishedRun("", make_run("cs", seed, diverged_at=at), ENVIRONMENT, found_again=False)
        for seed, at in ((3, None), (4, 2), (5, 1))
    ]
    summary = summaries.summary(
        command="",
        config={},
        settings=SETTINGS,
        environment={},
        dataset=FakeDataset(),
        finished={"cs": finished},
        seconds={},
        total_seconds=0.0,
    )
    assert summary["methods"]["cs"]["diverged"] == [4, 5]


def test_the_summary_averages_over_seeds(tmp_path):
    summary = summarise(tmp_path)
    runs = [make_run("cs", 3), make_run("cs", 4)]
    final = [run.final_accuracy for run in runs]
    cs = summary["methods"]["cs"]
    assert cs["final_accuracy"]["per_seed"] == final
    assert cs["final_accuracy"]["mean"] == pytest.approx(np.mean(final))
    assert cs["final_accuracy"]["sem"] == pytest.approx(abs(final[0] - final[1]) / 2)
    np.testing.assert_allclose(cs["accuracy_matrix"], np.mean([run.accuracy_matrix for run in runs], axis=0))
    curve = cs["curves"]["accuracy_so_far"]
    np.testing.assert_allclose(curve["per_seed"], [run.accuracy_so_far for run in runs])
    np.testing.assert_allclose(curve["mean"], np.mean(curve["per_seed"], axis=0))


def test_the_summary_pairs_the_methods_by_seed(tmp_path):
    paired = summarise(tmp_path)["paired"]["cs - standard"]
    differences = [
        make_run("cs", seed).final_accuracy - make_run("standard", seed).final_accuracy for seed in (3, 4)
    ]
    assert paired["mean"] == pytest.approx(np.mean(differences))
    assert paired["ci95"][0] < paired["mean"] < paired["ci95"][1]
    assert {"p_value", "p_value_sign_flip"} <= set(paired)


def test_a_single_seed_has_null_where_nothing_is_known(tmp_path):
    summary = summarise(tmp_path, seeds=(3,))
    assert summary["methods"]["cs"]["final_accuracy"]["sem"] is None
    assert summary["paired"]["cs - standard"]["ci95"] == [None, None]
    assert summary["paired"]["cs - standard"]["p_value"] is None


def test_the_summary_of_a_single_method_pairs_nothing(tmp_path):
    assert summarise(tmp_path, methods=("cs",))["paired"] == {}
