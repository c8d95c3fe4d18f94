"""Data of one's own: an .npz file, a function, and what is wrong with either."""

import dataclasses
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import rotated_mnist, run
from experiments.lab.data.dataset import DataError, Dataset, load
from experiments.lab.data.own import load_own
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate, validate_tasks
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.problems import make_problem
from experiments.lab.tasks.streams import training_stream


def some_arrays(per_kind=10, classes=3, tasks=2):
    """Samples that hold the number of their kind, in mixed order."""
    task, y, _ = np.indices((tasks, classes, per_kind)).reshape(3, -1)
    order = np.random.default_rng(0).permutation(len(y))
    x = (10 * task + y)[order, None, None] * np.ones((1, 2, 3))
    return {"x": x, "y": y[order], "task": task[order]}


def saved(folder, name="mine.npz", **arrays):
    np.savez(folder / name, **arrays)
    return str(folder / name)


def without(arrays, *names):
    return {name: array for name, array in arrays.items() if name not in names}


GOOD = some_arrays()
GRAY = np.linspace(0, 1, GOOD["x"].size).reshape(GOOD["x"].shape)


def test_every_fifth_of_a_kind_is_for_testing(tmp_path):
    data = load_own(saved(tmp_path, **some_arrays()), None)
    assert (data.classes, data.tasks, data.max_value) == (3, 2, 1)
    assert data.x_train.dtype == np.float32
    assert len(data.y_train) == 48
    for half in "train", "test":
        x, y, task = (getattr(data, f"{name}_{half}") for name in ("x", "y", "task"))
        np.testing.assert_array_equal(x, (10 * task + y)[:, None, None] * np.ones((1, 2, 3)))
        np.testing.assert_array_equal(np.bincount(3 * task + y), 8 if half == "train" else 2)


def test_test_samples_that_are_given_are_used(tmp_path):
    arrays = some_arrays()
    testing = {f"{name}_test": array[::2] for name, array in arrays.items()}
    data = load_own(saved(tmp_path, **arrays, **testing), None)
    np.testing.assert_array_equal(data.x_train, arrays["x"])
    np.testing.assert_array_equal(data.task_test, arrays["task"][::2])


def test_without_tasks_the_classes_decide(tmp_path):
    arrays = without(some_arrays(classes=4, tasks=1), "task")
    data = load_own(saved(tmp_path, **arrays), None)
    assert (data.classes, data.tasks) == (4, None)
    settings = Settings(experiment="mine.npz", classes=4, tasks=2, batch=4, iters=3)
    validate_tasks(settings)
    problem = make_problem(settings, data)
    stream = training_stream(settings, problem, 0)
    np.testing.assert_array_equal(data.y_train[stream.rows] // 2, stream.tasks)
    assert problem.n_pixels == 6


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("stream", ["task-based", "random", "gradual"])
def test_samples_are_shown_in_the_task_they_name(tmp_path, scenario, stream):
    data = load_own(saved(tmp_path, **some_arrays()), None)
    settings = Settings(
        experiment="mine.npz",
        scenario=scenario,
        stream=stream,
        classes=3,
        labelled=True,
        tasks=2,
        batch=4,
        iters=9,
    )
    problem = make_problem(settings, data)
    samples = training_stream(settings, problem, 0)
    np.testing.assert_array_equal(data.task_train[samples.rows], samples.tasks)
    assert problem.n_outputs == (3 if scenario == "domain" else 6)
    assert settings.chance == pytest.approx(1 / 6 if scenario == "class" else 1 / 3)


def test_bytes_are_brightness_and_other_numbers_are_themselves(tmp_path):
    arrays = some_arrays()
    as_bytes = load_own(saved(tmp_path, **{**arrays, "x": arrays["x"].astype(np.uint8)}), None)
    assert (as_bytes.x_train.dtype, as_bytes.max_value) == (np.uint8, 255)
    as_integers = load_own(saved(tmp_path, **{**arrays, "x": arrays["x"].astype(np.int64)}), None)
    assert (as_integers.x_train.dtype, as_integers.max_value) == (np.float32, 1)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64])
@pytest.mark.parametrize("half", ["both", "x", "x_test"])
def test_whole_numbers_to_255_are_the_bytes_that_they_stand_for(tmp_path, capsys, kind, half):
    arrays = some_arrays()
    x = np.arange(arrays["x"].size).reshape(arrays["x"].shape) % 256
    arrays = {**arrays, **{f"{name}_test": array for name, array in arrays.items()}}
    x = {"x": x.astype(np.uint8), "x_test": x[::-1].astype(np.uint8)}
    as_bytes = load_own(saved(tmp_path, **{**arrays, **x}), None)
    assert capsys.readouterr().err == ""
    others = {name: array.astype(kind) for name, array in x.items() if half in (name, "both")}
    data = load_own(saved(tmp_path, **{**arrays, **x, **others}), None)
    assert (data.sha256, data.max_value, data.x_test.dtype) == (as_bytes.sha256, 255, np.uint8)
    assert capsys.readouterr().err.startswith("note: x holds whole numbers from 0 to 255: read as uint8")


@pytest.mark.parametrize(
    ("x", "noted"),
    [
        (GRAY * 254.7, "x goes up to 254.7 and is used as it is"),
        (GRAY - 300, "x goes up to 300 and is used as it is"),
        ((GRAY > 0.5).astype(np.uint8), "x is uint8, which means 0 to 255, but goes up to 1"),
        (0 * GRAY + 0.5, "all samples of x are the same"),
        (GRAY, None),
        (GRAY > 0.5, None),
        ((255 * GRAY).astype(np.uint8), None),
        (8 * GRAY - 4, None),
    ],
    ids=["floats", "negative", "binary bytes", "constant", "fractions", "booleans", "bytes", "standardised"],
)
def test_samples_that_can_hardly_be_meant_are_noted(tmp_path, capsys, x, noted):
    data = load_own(saved(tmp_path, **{**GOOD, "x": x}), None)
    assert np.isin(data.x_train, x if x.dtype == np.uint8 else x.astype(np.float32)).all()
    err = capsys.readouterr().err
    assert err.startswith(f"note: {noted}") if noted else not err


@pytest.mark.parametrize(
    "same",
    [
        lambda labels: labels.astype(float),
        lambda labels: labels[:, None],
        lambda labels: np.eye(3, dtype=np.float32)[labels],
        lambda labels: np.eye(3, dtype=bool)[labels],
    ],
    ids=["floats", "a column", "one-hot", "one-hot booleans"],
)
def test_labels_are_read_in_every_form_that_leaves_no_doubt(tmp_path, same):
    expected = load_own(saved(tmp_path, **GOOD), None)
    data = load_own(saved(tmp_path, **{**GOOD, "y": same(GOOD["y"])}), None)
    np.testing.assert_array_equal(data.y_train, expected.y_train)
    np.testing.assert_array_equal(data.y_test, expected.y_test)


def test_arrays_called_train_are_those_without_the_word(tmp_path):
    testing = {f"{name}_test": array for name, array in GOOD.items()}
    expected = load_own(saved(tmp_path, **GOOD, **testing), None)
    called = {f"{name}_train": array for name, array in GOOD.items()}
    assert load_own(saved(tmp_path, **called, **testing), None).sha256 == expected.sha256


def test_tasks_of_one_class_are_those_of_the_built_in_data(tmp_path):
    digits = load("Digits")
    arrays = {"x": digits.x_train, "y": 0 * digits.y_train, "task": digits.y_train}
    testing = {"x_test": digits.x_test, "y_test": 0 * digits.y_test, "task_test": digits.y_test}
    own = load_own(saved(tmp_path, **arrays, **testing), None)
    common = {"tasks": 10, "scenario": "class", "batch": 4, "iters": 5}
    built_in = Settings(experiment="splitDigits", **common)
    settings = Settings(experiment="mine.npz", labelled=True, classes=own.classes, **common)
    validate(settings)
    validate_tasks(settings)
    assert (settings.classes_per_task, settings.chance) == (built_in.classes_per_task, built_in.chance)
    problem, expected = make_problem(settings, own), make_problem(built_in, digits)
    assert problem.n_outputs == expected.n_outputs
    np.testing.assert_array_equal(problem.train.within, expected.train.within)
    for samples, same in zip(
        training_stream(settings, problem, 0)[:2], training_stream(built_in, expected, 0)[:2], strict=True
    ):
        np.testing.assert_array_equal(samples, same)
    for scenario in "task", "domain":
        with pytest.raises(SettingsError, match=rf"^--scenario {scenario}: must be class: each task of mine"):
            validate_tasks(dataclasses.replace(settings, scenario=scenario))


def test_many_kinds_in_bytes_are_told_apart(tmp_path):
    arrays = some_arrays(classes=10, tasks=30, per_kind=5)
    small = {name: arrays[name].astype(np.uint8) for name in ("y", "task")}
    data = load_own(saved(tmp_path, **{**arrays, **small}), None)
    assert (data.classes, data.tasks) == (10, 30)


def test_too_few_samples_to_validate_are_refused(tmp_path):
    data = load_own(saved(tmp_path, **some_arrays(per_kind=6)), None)
    settings = Settings(experiment="mine.npz", classes=3, labelled=True, tasks=2, evaluate_on="validation")
    with pytest.raises(SettingsError, match=r"^--evaluate-on validation: needs 6 training samples or more"):
        make_problem(settings, data)


def test_validation_samples_are_taken_of_every_kind(tmp_path):
    data = load_own(saved(tmp_path, **some_arrays()), None)
    settings = Settings(experiment="mine.npz", classes=3, labelled=True, tasks=2, evaluate_on="validation")
    problem = make_problem(settings, data)
    np.testing.assert_array_equal(np.bincount(3 * problem.test.task + problem.test.y), 1)
    assert len(problem.train.y) == 42


WRONG = {
    "lacks y": (without(GOOD, "y"), "lacks y; must hold x and y"),
    "extra": ({**GOOD, "z": GOOD["y"]}, "holds z; known are x, y, task"),
    "flat x": ({**GOOD, "x": GOOD["y"]}, r"x has the shape \(60,\); must be \[samples, …\]"),
    "short y": (
        {**GOOD, "y": GOOD["y"][:-1]},
        r"y has the shape \(59,\); must be \(60,\), one for each of x",
    ),
    "fractions": ({**GOOD, "y": GOOD["y"] + 0.5}, "y must be integers, not float64"),
    "words": ({**GOOD, "x": GOOD["x"].astype(str)}, "x must be real numbers, not <U"),
    "complex": ({**GOOD, "x": GOOD["x"] + 1j}, "x must be real numbers, not complex128"),
    "infinite": ({**GOOD, "x": np.full_like(GOOD["x"], np.inf)}, "x holds numbers that are not finite"),
    "negative": ({**GOOD, "task": GOOD["task"] - 1}, "task holds -1; must count from 0"),
    "gap in classes": ({**GOOD, "y": 2 * GOOD["y"]}, "no sample of class 1 of task 0"),
    "absurd class": (
        {**GOOD, "y": np.where(GOOD["y"] == 1, 10**13, GOOD["y"])},
        "labels and tasks count from 0",
    ),
    "gap in tasks": ({**GOOD, "task": 2 * GOOD["task"]}, "no sample of class 0 of task 1"),
    "bytes and fractions": (
        {**GOOD, **{f"{name}_test": GOOD[name] for name in GOOD}, "x": GOOD["x"].astype(np.uint8)},
        "x is uint8 and x_test float64; both must be uint8, or neither",
    ),
    "too large": ({**GOOD, "x": 1e300 * (1 + GOOD["x"])}, "x holds numbers that are not finite in float32"),
    "one class": ({**GOOD, "y": 0 * GOOD["y"], "task": 0 * GOOD["y"]}, "has a single class"),
    "words for labels": (
        {**GOOD, "y": GOOD["y"].astype(str)},
        r"y must be integers, not <U.*: np.unique\(y, return_inverse=True\)\[1\]",
    ),
    "not a number for a label": (
        {**GOOD, "y": np.where(GOOD["y"] == 1, np.nan, GOOD["y"])},
        "y must be integers",
    ),
    "labels from 1": ({**GOOD, "y": GOOD["y"] + 1}, "no sample of class 0 of task 0; labels count from 0"),
    "two hot": ({**GOOD, "y": np.ones((60, 3))}, r"y has the shape \(60, 3\)"),
    "samples last": (
        {**GOOD, "x": np.moveaxis(GOOD["x"], 0, -1)},
        r"must be \(2,\), one for each of x; samples come first: np.moveaxis\(x, -1, 0\)",
    ),
    "two names": ({**GOOD, "x_train": GOOD["x"]}, "x_train is another name for x"),
    "objects": ({**GOOD, "y": GOOD["y"].astype(object)}, "it holds Python objects, which are not read"),
    "half of it scaled": (
        {
            **GOOD,
            **{f"{name}_test": GOOD[name] for name in GOOD},
            "x": GOOD["x"] / 12,
            "x_test": GOOD["x"] * 20,
        },
        "x goes up to 1, but x_test to 240",
    ),
    "unsigned": (
        {**GOOD, "y": np.where(GOOD["y"] == 1, np.uint64(2**63), 0)},
        "labels and tasks count from 0",
    ),
    "half a test": (
        {**GOOD, "x_test": GOOD["x"]},
        "must hold x_test and y_test, and with task also task_test",
    ),
    "test without tasks": (
        {**GOOD, "x_test": GOOD["x"], "y_test": GOOD["y"]},
        "must hold x_test and y_test, and with task also task_test",
    ),
    "other shapes": (
        {**GOOD, **{f"{name}_test": GOOD[name] for name in GOOD}, "x_test": GOOD["x"][:, :1]},
        r"x_test has samples of shape \(1, 3\), but x of \(2, 3\)",
    ),
    "other classes": (
        {**GOOD, **{f"{name}_test": GOOD[name] for name in GOOD}, "y_test": GOOD["y"] + 1},
        "the test data have class 3 and task 1, the training data 3 classes and 2 tasks",
    ),
    "too few": (some_arrays(per_kind=4), "leaves no test data: of each class, every 5th sample"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_arrays_that_do_not_fit_are_one_line_that_names_them(tmp_path, wrong):
    arrays, message = WRONG[wrong]
    path = saved(tmp_path, **arrays)
    with pytest.raises(DataError, match=f"^--experiment {path}: .*{message}"):
        load_own(path, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda good: b"", "is not an .npz file of plain arrays$"),
        (lambda good: b"no archive", "is not an .npz file of plain arrays$"),
        (lambda good: pickle.dumps({"x": 1}), "is not an .npz file of plain arrays$"),
        (lambda good: good[: len(good) // 2], "is damaged, or not complete$"),
        (lambda good: good[:4], "is damaged, or not complete$"),
        # The compression of the first array, in the list of contents at the end.
        (lambda good: replaced(good, good.rindex(b"PK\x01\x02") + 10, 99), "is damaged, or not complete$"),
        (lambda good: replaced(good, good.rindex(b"PK\x01\x02") + 8, 1), "is damaged, or not complete$"),
        (None, "No such file"),
    ],
    ids=["empty", "text", "pickle", "half", "start", "unknown compression", "encrypted", "missing"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    path = Path(saved(tmp_path, **GOOD))
    good = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content(good))
    with pytest.raises(DataError, match=f"mine.npz: {message}"):
        load_own(str(path), None)


def replaced(content, place, byte):
    return content[:place] + bytes([byte]) + content[place + 1 :]


def test_pickles_are_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    path = saved(tmp_path, x=GOOD["x"], y=np.array([Trap()], object))
    with pytest.raises(DataError, match="it holds Python objects, which are not read"):
        load_own(path, None)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_tasks.py"
    sys.modules.pop("my_tasks", None)


def test_a_function_gives_its_arrays(module, tmp_path):
    saved(tmp_path, **GOOD)
    module.write_text("import numpy as np\ndef make(data_dir):\n    return np.load(data_dir / 'mine.npz')\n")
    data = load_own("my_tasks:make", Path(tmp_path))
    assert data.sha256 == load_own(str(tmp_path / "mine.npz"), None).sha256


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no_such_module:make", "", "there is no module no_such_module"),
        ("my_tasks:other", "def make(data_dir): ...", "my_tasks has no function or class other"),
        ("my_tasks:make", "def make(data_dir): ...", "must return a mapping of arrays, not NoneType"),
        ("my_tasks:make", "make = 3", "my_tasks has no function make"),
        ("my_tasks:make", "def make(): ...", "must take one argument, the --data-dir"),
        ("my_tasks:make", "def make(data_dir): return {'x': [[1], [1, 2]]}", "x is no array: "),
        ("./my_tasks:make", "", "must be a file that ends in .npz, or module:function"),
    ],
)
def test_a_function_that_is_not_there_or_gives_something_else_is_named(module, name, text, message):
    module.write_text(text)
    with pytest.raises(DataError, match=f"^--experiment {name}: {message}"):
        load_own(name, None)


def test_a_mistake_inside_the_function_keeps_its_traceback(module):
    module.write_text("def make(data_dir):\n    return data_dir.no_such_thing\n")
    with pytest.raises(AttributeError, match="no_such_thing"):
        load_own("my_tasks:make", None)


@pytest.mark.usefixtures("undrawn")
def test_the_command_learns_data_of_ones_own(tmp_path, capsys):
    arrays = some_arrays(per_kind=30)
    arrays["x"] = np.eye(6)[3 * arrays["task"] + arrays["y"]].reshape(-1, 2, 3)
    path = saved(tmp_path, **arrays)
    folders = [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]
    short = ["--iters=60", "--batch=16", "--fc-units=20", "--lr=0.01", "--eval-log=30"]
    assert run.main([f"--experiment={path}", "--cs", "--alpha=10", "--beta=100", *short, *folders]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mine, 2 tasks, task scenario")
    summary = json.loads(Path(shown.splitlines()[-1].removeprefix("summary: ")).read_text())
    assert summary["data"]["source"] == f"own data: {path}"
    assert summary["config"]["classes"] == 3
    assert summary["methods"]["cs"]["final_accuracy"]["mean"] > 0.9


def test_what_data_of_ones_own_do_not_allow_is_refused():
    with pytest.raises(SettingsError, match=r"^--experiment MNIST: must be one of splitMNIST"):
        validate(Settings(experiment="MNIST"))
    with pytest.raises(SettingsError, match=r"^--tasks 4: must be 1, 2 or 3: mine divides 6 classes"):
        validate_tasks(Settings(experiment="a/mine.npz", classes=6, tasks=4))
    with pytest.raises(SettingsError, match=r"^--class-order shuffled: must be left out"):
        validate(Settings(experiment="mine.npz", labelled=True, class_order="shuffled"))


def test_rotated_mnist_turns_the_images_of_each_task(monkeypatch):
    """A bar along the top row comes down the left side, and so on."""
    images = np.zeros((50, 28, 28), np.uint8)
    images[:, 4:7, 4:24] = 255
    labels = np.arange(50) % 10
    mnist = Dataset("MNIST", images, labels, images, labels, 255, "", "")
    monkeypatch.setattr(rotated_mnist, "load", lambda *_: mnist)
    monkeypatch.setattr(rotated_mnist, "ANGLES", (0, 90, 180))
    arrays = rotated_mnist.tasks(None)
    pictures = [arrays["x"][arrays["task"] == task][0] for task in range(3)]
    np.testing.assert_array_equal(pictures[0], images[0])
    np.testing.assert_allclose(pictures[1], np.rot90(images[0]), atol=2)
    np.testing.assert_allclose(pictures[2], np.rot90(images[0], 2), atol=2)


def test_the_name_of_a_file_is_its_stem_wherever_it_is():
    names = [Settings(experiment=path).name for path in ("a/mine.npz", "mine.npz")]
    assert names == ["mine", "mine"]
    assert dataclasses.replace(Settings(), experiment="a.b:c").name == "a.b.c"
