"""The stream of samples and the tasks they belong to."""

import dataclasses

import numpy as np
import pytest

from experiments import run
from experiments.lab.command import preparation
from experiments.lab.command.options import DataAndTasksToShow, EvaluationAndOutput
from experiments.lab.data.dataset import Dataset, load
from experiments.lab.options.settings import Settings
from experiments.lab.results.stamps import identity
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.npz import read_arrays
from experiments.lab.tasks import problems, stream_files, streams
from experiments.lab.tasks.problems import generator, make_problem
from experiments.lab.tasks.samples import Samples, evaluation_samples, fisher_samples, of_one_length
from experiments.lab.tasks.streams import (
    forget_streams,
    replay_stream,
    task_probabilities,
    tasks_seen,
    training_stream,
)


def tiny_dataset(name="MNIST", per_class=30, side=28):
    """Images whose pixels all hold ten times their class; classes in mixed order."""
    random = np.random.default_rng(0)

    def half(n):
        y = random.permutation(np.repeat(np.arange(10), n)).astype(np.uint8)
        return np.repeat(10 * y, side * side).reshape(-1, side, side), y

    return Dataset(name, *half(per_class), *half(per_class // 2), 255, "made up", "0" * 64)


DATA = tiny_dataset()
SMALL = Settings(iters=40, batch=8)


def stream_and_problem(**changes):
    settings = dataclasses.replace(SMALL, **changes)
    problem = make_problem(settings, DATA)
    return training_stream(settings, problem, seed=3), problem


@pytest.mark.parametrize("experiment", ["splitMNIST", "permMNIST"])
@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_task_based_streams_have_exactly_the_asked_batches_of_each_task(experiment, scenario):
    stream, _ = stream_and_problem(experiment=experiment, scenario=scenario)
    assert stream.rows.shape == stream.tasks.shape == (5 * 40, 8)
    np.testing.assert_array_equal(stream.tasks, np.repeat(np.arange(5), 40)[:, None] * np.ones((1, 8)))


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("kind", ["task-based", "random"])
def test_samples_of_a_split_task_have_its_digits(scenario, kind):
    stream, problem = stream_and_problem(scenario=scenario, stream=kind)
    np.testing.assert_array_equal(problem.train.y[stream.rows] // 2, stream.tasks)


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("kind", ["task-based", "random", "gradual"])
def test_all_classes_are_shown_alike_and_every_sample_at_some_time(scenario, kind):
    stream, problem = stream_and_problem(
        scenario=scenario, stream=kind, iters=1000 if kind == "random" else 200
    )
    shares = np.bincount(problem.train.y[stream.rows].ravel(), minlength=10) / stream.rows.size
    np.testing.assert_allclose(shares, 0.1, atol=0.02)
    assert len(np.unique(stream.rows)) == len(DATA.y_train)


def test_epochs_show_every_sample_once_but_for_the_last_partial_batch():
    stream, _ = stream_and_problem(iters=14)  # 60 samples of a task: 7 batches of 8 in an epoch
    for epoch in np.split(stream.rows, 10):
        assert len(np.unique(epoch)) == 7 * 8
    first, second = stream.rows[:7], stream.rows[7:14]
    assert not np.array_equal(first, second)


def test_class_incremental_batches_draw_the_classes_of_a_task_alike():
    stream, problem = stream_and_problem(scenario="class", iters=1000)
    labels, counts = np.unique(problem.train.y[stream.rows[:1000]], return_counts=True)
    assert labels.tolist() == [0, 1]
    assert abs(counts[0] / 8000 - 0.5) < 0.03


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_random_streams_draw_tasks_alike_and_last_iters_in_total(scenario):
    stream, _ = stream_and_problem(scenario=scenario, stream="random", iters=1000)
    assert stream.rows.shape == (1000, 8)
    counts = np.bincount(stream.tasks.ravel(), minlength=5)
    np.testing.assert_allclose(counts / counts.sum(), 0.2, atol=0.02)


def test_random_class_streams_draw_the_classes_of_permuted_tasks_alike():
    stream, problem = stream_and_problem(
        experiment="permMNIST", scenario="class", stream="random", iters=2000
    )
    classes = stream.tasks * 10 + problem.train.y[stream.rows]
    counts = np.bincount(classes.ravel(), minlength=50)
    np.testing.assert_allclose(counts / counts.sum(), 0.02, atol=0.006)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("experiment", ["splitMNIST", "permMNIST"])
def test_gradual_streams_have_the_tasks_they_say(experiment, scenario):
    changes = {"experiment": experiment, "scenario": scenario, "stream": "gradual", "overlap": 0.5}
    stream, problem = stream_and_problem(iters=100, batch=48, **changes)
    settings = dataclasses.replace(SMALL, iters=100, batch=48, **changes)
    expected = task_probabilities(settings)
    shares = np.stack([(stream.tasks == task).mean(axis=1) for task in range(5)], axis=1)
    assert stream.rows.shape == stream.tasks.shape == (500, 48)
    shares_of_10, expected_of_10 = (of.reshape(50, 10, 5).mean(axis=1) for of in (shares, expected))
    np.testing.assert_allclose(shares_of_10, expected_of_10, atol=5 * 0.5 / np.sqrt(480))
    np.testing.assert_allclose(shares.mean(axis=0), expected.mean(axis=0), atol=0.01)
    if experiment == "splitMNIST":
        np.testing.assert_array_equal(problem.train.y[stream.rows] // 2, stream.tasks)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 1.0])
def test_neighbours_overlap_linearly_and_no_others(overlap):
    settings = dataclasses.replace(SMALL, stream="gradual", overlap=overlap, iters=50)
    shares = task_probabilities(settings)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares >= 0).all()
    assert ((shares > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(shares.mean(axis=0), 0.2)
    steps = np.diff(shares[:, 0])
    falling = steps[steps < 0]
    if overlap:
        np.testing.assert_allclose(falling[1:-1], -1 / (overlap * 50), rtol=1e-9)
    else:
        assert falling.tolist() == [-1]


def saved(tmp_path, **arrays):
    path = tmp_path / "stream.npz"
    np.savez(path, **arrays)
    return path


def test_a_sequence_from_a_file_is_followed(tmp_path):
    sequence = np.repeat([0, 1, 0, 4], 5)
    path = saved(tmp_path, tasks=sequence)
    stream, problem = stream_and_problem(stream="file", stream_file=path)
    np.testing.assert_array_equal(stream.tasks, np.repeat(sequence[:, None], 8, axis=1))
    np.testing.assert_array_equal(problem.train.y[stream.rows] // 2, stream.tasks)


@pytest.mark.parametrize("kind", ["task-based", "random", "gradual"])
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_a_stream_that_was_written_down_is_the_same_when_read(tmp_path, kind, scenario):
    stream, _ = stream_and_problem(stream=kind, scenario=scenario)
    path = saved(tmp_path, tasks=stream.tasks, rows=stream.rows)
    again, _ = stream_and_problem(stream="file", stream_file=path, scenario=scenario)
    np.testing.assert_array_equal(again.tasks, stream.tasks)
    np.testing.assert_array_equal(again.rows, stream.rows)


TWO_BATCHES = np.zeros((2, 8), int)


@pytest.mark.parametrize(
    ("arrays", "changes", "message"),
    [
        ({"rows": TWO_BATCHES}, {}, "holds rows; must hold tasks"),
        ({"tasks": TWO_BATCHES, "extra": TWO_BATCHES}, {}, "holds extra, tasks"),
        ({"tasks": TWO_BATCHES + 0.5}, {}, "tasks must be integers, not float64"),
        ({"tasks": TWO_BATCHES + 5}, {}, "names the tasks 5 to 5; with --tasks 5 they are 0 to 4"),
        ({"tasks": TWO_BATCHES - 1}, {}, "names the tasks -1 to -1"),
        ({"tasks": TWO_BATCHES, "rows": TWO_BATCHES + 2**32}, {}, "names the rows 4294967296 to"),
        ({"tasks": TWO_BATCHES[:, :3]}, {}, "has batches of 3, but --batch is 8"),
        ({"tasks": TWO_BATCHES[None]}, {}, r"tasks has the shape \(1, 2, 8\)"),
        ({"tasks": TWO_BATCHES[:0]}, {}, r"tasks has the shape \(0, 8\)"),
        (
            {"tasks": TWO_BATCHES, "rows": TWO_BATCHES[:1]},
            {},
            r"rows has the shape \(1, 8\); must be \(2, 8\)",
        ),
        ({"tasks": TWO_BATCHES, "rows": TWO_BATCHES + 1000}, {}, "names the samples 1000 to 1000 of 300"),
        ({"tasks": TWO_BATCHES, "rows": TWO_BATCHES}, {"evaluate_on": "validation"}, "holds out"),
        (
            {"tasks": TWO_BATCHES[:, 0]},
            {"batch": 10**9},
            "has 2 iterations; with --batch 1000000000 they must be at most 1: 1e[+]09 samples in all",
        ),
    ],
)
def test_a_file_that_is_no_sequence_is_refused(tmp_path, arrays, changes, message):
    path = saved(tmp_path, **arrays)
    with pytest.raises(SettingsError, match=f"^--stream-file .*stream.npz: .*{message}"):
        stream_and_problem(stream="file", stream_file=path, **changes)


def test_whole_numbers_in_another_type_are_the_same_sequence(tmp_path):
    """As numpy.loadtxt reads them, say."""
    sequence = np.repeat([0, 1, 0, 4], 5)
    as_integers, _ = stream_and_problem(stream="file", stream_file=saved(tmp_path, tasks=sequence))
    forget_streams()
    as_floats, _ = stream_and_problem(stream="file", stream_file=saved(tmp_path, tasks=sequence * 1.0))
    np.testing.assert_array_equal(as_floats.tasks, as_integers.tasks)
    np.testing.assert_array_equal(as_floats.rows, as_integers.rows)


def test_a_file_is_read_once_for_all_runs_of_a_command_and_anew_for_the_next(tmp_path, monkeypatch):
    path = saved(tmp_path, tasks=np.repeat([0, 1], 3))
    options = run.RunOptions(
        data=DataAndTasksToShow(experiment="splitDigits", stream_file=path, batch=8),
        output=EvaluationAndOutput(get_stamp=True),
    )
    reads = []
    monkeypatch.setattr(stream_files, "read_arrays", lambda path: reads.append(path) or read_arrays(path))
    settings, dataset = preparation.prepare(options, ["standard", "cs"], 0, 3)
    assert settings.iters == 6
    problem = make_problem(settings, dataset)
    path.unlink()  # what becomes of the file no longer matters
    for seed in range(3):
        training_stream(settings, problem, seed)
        identity(dataclasses.replace(settings, lr=0.1), "cs", seed, dataset.sha256)
    assert len(reads) == 1
    saved(tmp_path, tasks=np.repeat([0, 1], 4))
    settings, _ = preparation.prepare(options, ["standard"], 0)
    assert settings.iters == 8


@pytest.fixture
def drawn(monkeypatch):
    """The seeds of the streams that are made, one after the other."""
    seeds = []
    draw = streams._drawn

    def watched(settings, problem, seed):
        seeds.append(seed)
        return draw(settings, problem, seed)

    monkeypatch.setattr(streams, "_drawn", watched)
    forget_streams()
    return seeds


@pytest.mark.parametrize("class_order", ["canonical", "shuffled"])
def test_a_stream_is_made_once_for_all_methods_and_configurations(class_order, drawn):
    for lr in (0.1, 0.2):
        settings = dataclasses.replace(SMALL, class_order=class_order, lr=lr)
        problem = make_problem(settings, DATA)
        for seed in (0, 1):
            stream = training_stream(settings, problem.seen_by(seed), seed)
            replayed = replay_stream(settings, problem.seen_by(seed), seed)
            np.testing.assert_array_equal(replayed.rows[:, : settings.batch], stream.rows)
            with pytest.raises(ValueError, match="read-only"):
                stream.rows[0] = 0
    assert drawn == [0, 1]


@pytest.mark.parametrize("other", [{"iters": 20}, {"scenario": "class"}, {"stream": "gradual"}, {"tasks": 2}])
def test_another_stream_is_made_for_other_settings(other, drawn):
    ours, theirs = (
        training_stream(settings, make_problem(settings, DATA), 0)
        for settings in (SMALL, dataclasses.replace(SMALL, **other))
    )
    assert drawn == [0, 0]
    assert ours.rows.shape != theirs.rows.shape or (ours.rows != theirs.rows).any()


def test_streams_that_are_too_large_to_be_kept_are_made_again(drawn, monkeypatch):
    size = 2 * 4 * SMALL.total_iterations * SMALL.batch
    monkeypatch.setattr(streams, "MOST_KEPT", 2 * size)
    for seed in (0, 1, 2, 0, 1, 2):
        training_stream(SMALL, make_problem(SMALL, DATA), seed)
    assert drawn == [0, 1, 2, 2]


def test_a_sample_of_another_task_is_refused(tmp_path):
    of_task_1 = np.flatnonzero(DATA.y_train // 2 == 1)[:16].reshape(2, 8)
    path = saved(tmp_path, tasks=TWO_BATCHES, rows=of_task_1)
    with pytest.raises(SettingsError, match="in task 0, but it is of another one"):
        stream_and_problem(stream="file", stream_file=path)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "stream.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        SettingsError, match=r"^--stream-file .*stream.npz: (is not an .npz file|No such file)"
    ):
        stream_and_problem(stream="file", stream_file=path)


def test_tasks_are_seen_from_the_iteration_that_shows_them(tmp_path):
    path = saved(tmp_path, tasks=np.array([0, 0, 2, 1]))
    stream, _ = stream_and_problem(stream="file", stream_file=path)
    seen = tasks_seen(stream, 4, [0, 1, 2, 3, 4])
    assert seen.astype(int).tolist() == [[0] * 4, [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]]


def test_shuffled_classes_are_another_order_for_each_seed():
    settings = dataclasses.replace(SMALL, class_order="shuffled")
    problem = make_problem(settings, DATA)
    orders = [problem.places(seed).tolist() for seed in range(5)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(map(tuple, orders))) == 5
    assert make_problem(SMALL, DATA).places(3).tolist() == list(range(10))


@pytest.mark.parametrize("kind", ["task-based", "random", "gradual"])
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_with_shuffled_classes_a_task_has_the_classes_at_its_places(kind, scenario):
    settings = dataclasses.replace(SMALL, class_order="shuffled", stream=kind, scenario=scenario)
    problem = make_problem(settings, DATA)
    stream = training_stream(settings, problem.seen_by(7), 7)
    np.testing.assert_array_equal(problem.places(7)[DATA.y_train[stream.rows]] // 2, stream.tasks)


def test_validation_images_are_every_sixth_of_each_class_and_not_trained_on():
    validating = make_problem(dataclasses.replace(SMALL, evaluate_on="validation"), DATA)
    whole = make_problem(SMALL, DATA)
    assert np.bincount(validating.test.y).tolist() == [5] * 10
    assert np.bincount(validating.train.y).tolist() == [25] * 10
    marked = dataclasses.replace(DATA, x_train=np.arange(300).reshape(300, 1, 1) * np.ones((1, 28, 28), int))
    parts = make_problem(dataclasses.replace(SMALL, evaluate_on="validation"), marked)
    ours = np.concatenate([parts.train.x[:, 0], parts.test.x[:, 0]])
    np.testing.assert_array_equal(np.sort(ours), np.arange(300))
    for label in range(10):
        of_class = np.flatnonzero(whole.train.y == label)
        np.testing.assert_array_equal(parts.test.x[parts.test.y == label, 0], of_class[5::6])


def test_streams_follow_from_the_seed_alone():
    problem = make_problem(SMALL, DATA)
    one, same, other = (training_stream(SMALL, problem, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_every_purpose_has_random_numbers_of_its_own():
    drawn = {tuple(generator(5, purpose).integers(0, 1000, 8)) for purpose in problems._PURPOSES}
    assert len(drawn) == len(problems._PURPOSES)


def test_evaluation_subsets_have_the_asked_size_without_repetition():
    for scenario, expected in [("task", 7), ("class", 14)]:  # per task; per class, of which a task has two
        settings = dataclasses.replace(SMALL, scenario=scenario, eval_n=7)
        subset, _ = evaluation_samples(settings, make_problem(settings, DATA), seed=0)
        assert np.bincount(subset.tasks).tolist() == [expected] * 5
        assert len(np.unique(subset.rows)) == len(subset.rows)
        other, _ = evaluation_samples(settings, make_problem(settings, DATA), seed=1)
        assert not np.array_equal(np.sort(subset.rows), np.sort(other.rows))


@pytest.mark.parametrize("eval_n", [7, 1024])
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_the_subset_and_the_rest_are_the_test_set(scenario, eval_n):
    settings = dataclasses.replace(SMALL, scenario=scenario, eval_n=eval_n)
    problem = make_problem(settings, DATA)
    subset, rest = evaluation_samples(settings, problem, seed=0)
    assert (len(rest.rows) == 0) == (eval_n == 1024)
    rows, tasks = (np.concatenate([getattr(subset, of), getattr(rest, of)]) for of in ("rows", "tasks"))
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(DATA.y_test)))
    np.testing.assert_array_equal(problem.test.task[rows], tasks)


def test_permuted_tasks_show_the_whole_test_set_in_each():
    settings = dataclasses.replace(SMALL, experiment="permMNIST", eval_n=7)
    problem = make_problem(settings, DATA)
    subset, rest = evaluation_samples(settings, problem, seed=0)
    for task in range(5):
        rows = np.concatenate([subset.rows[subset.tasks == task], rest.rows[rest.tasks == task]])
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(DATA.y_test)))


def test_tasks_of_another_size_for_each_seed_are_filled_up_with_no_task():
    short, long = Samples(np.array([3]), np.array([1])), Samples(np.array([4, 5]), np.array([0, 2]))
    filled, same = of_one_length([short, long])
    assert filled.tasks.tolist() == [1, -1]
    assert filled.rows[0] == 3
    np.testing.assert_array_equal(same.rows, long.rows)


def test_all_seeds_have_as_many_samples_for_the_fisher_information():
    settings = dataclasses.replace(SMALL, experiment="splitDigits", class_order="shuffled", ewc_samples=10**6)
    problem = make_problem(settings, load("Digits"))
    numbers = {fisher_samples(settings, problem.seen_by(seed), seed).rows.shape for seed in range(8)}
    assert len(numbers) == 1


@pytest.mark.parametrize(
    ("experiment", "scenario", "singlehead", "outputs"),
    [
        ("splitMNIST", "task", False, 10),
        ("splitMNIST", "task", True, 2),
        ("splitMNIST", "domain", False, 2),
        ("splitMNIST", "class", False, 10),
        ("permMNIST", "task", False, 50),
        ("permMNIST", "domain", False, 10),
        ("permMNIST", "class", False, 50),
    ],
)
def test_number_of_outputs(experiment, scenario, singlehead, outputs):
    settings = dataclasses.replace(SMALL, experiment=experiment, scenario=scenario, singlehead=singlehead)
    assert make_problem(settings, DATA).n_outputs == outputs


def test_permuted_images_are_padded_to_32_and_digits_are_not():
    permuted = dataclasses.replace(SMALL, experiment="permMNIST")
    padded = make_problem(permuted, DATA)
    assert padded.n_pixels == 32 * 32
    np.testing.assert_array_equal(padded.train.x.reshape(-1, 32, 32)[:, 2:-2, 2:-2], DATA.x_train)
    assert padded.train.x.sum() == DATA.x_train.sum()  # the margin is black
    assert make_problem(SMALL, DATA).n_pixels == 28 * 28
    digits = dataclasses.replace(SMALL, experiment="permDigits")
    assert make_problem(digits, tiny_dataset("Digits", side=8)).n_pixels == 64


def test_permutations_differ_between_tasks_and_seeds_and_keep_all_pixels():
    problem = make_problem(dataclasses.replace(SMALL, experiment="permMNIST"), DATA)
    orders = np.concatenate([problem.permutations(0), problem.permutations(1)])
    assert len(np.unique(orders, axis=0)) == 10
    np.testing.assert_array_equal(np.sort(orders, axis=1), [np.arange(1024)] * 10)


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("kind", ["task-based", "random"])
def test_batches_larger_than_a_task_are_an_error(scenario, kind):
    with pytest.raises(SettingsError, match="--batch 61: must be at most 60, the training samples of task 1"):
        stream_and_problem(scenario=scenario, stream=kind, batch=61)


def test_a_class_without_samples_is_an_error():
    few = dataclasses.replace(DATA, y_train=np.where(DATA.y_train == 3, 2, DATA.y_train))
    settings = dataclasses.replace(SMALL, scenario="class")
    with pytest.raises(SettingsError, match="no sample of class 1 of task 2"):
        training_stream(settings, make_problem(settings, few), seed=0)
