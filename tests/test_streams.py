"""The stream of samples and the tasks they belong to."""

import dataclasses

import numpy as np
import pytest

from experiments.lab.data import Dataset
from experiments.lab.problems import generator, make_problem
from experiments.lab.settings import Settings, SettingsError
from experiments.lab.streams import evaluation_subset, full_test_set, training_stream


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
    np.testing.assert_array_equal(problem.y_train[stream.rows] // 2, stream.tasks)


def test_epochs_show_every_sample_once_but_for_the_last_partial_batch():
    stream, _ = stream_and_problem(iters=14)  # 60 samples of a task: 7 batches of 8 in an epoch
    for epoch in np.split(stream.rows, 10):
        assert len(np.unique(epoch)) == 7 * 8
    first, second = stream.rows[:7], stream.rows[7:14]
    assert not np.array_equal(first, second)


def test_class_incremental_batches_draw_the_classes_of_a_task_alike():
    stream, problem = stream_and_problem(scenario="class", iters=1000)
    labels, counts = np.unique(problem.y_train[stream.rows[:1000]], return_counts=True)
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
    classes = stream.tasks * 10 + problem.y_train[stream.rows]
    counts = np.bincount(classes.ravel(), minlength=50)
    np.testing.assert_allclose(counts / counts.sum(), 0.02, atol=0.006)


def test_streams_follow_from_the_seed_alone():
    problem = make_problem(SMALL, DATA)
    one, same, other = (training_stream(SMALL, problem, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_the_evaluation_has_random_numbers_of_its_own():
    purposes = ("permutations", "stream", "evaluation")
    drawn = {tuple(generator(5, purpose).integers(0, 1000, 8)) for purpose in purposes}
    assert len(drawn) == len(purposes)


def test_evaluation_subsets_have_the_asked_size_without_repetition():
    for scenario, expected in [("task", 7), ("class", 14)]:  # per task; per class, of which a task has two
        settings = dataclasses.replace(SMALL, scenario=scenario, eval_n=7)
        subset = evaluation_subset(settings, make_problem(settings, DATA), seed=0)
        assert np.bincount(subset.tasks).tolist() == [expected] * 5
        assert len(np.unique(subset.rows)) == len(subset.rows)


def test_evaluation_subsets_are_the_test_set_where_it_is_small():
    problem = make_problem(SMALL, DATA)
    subset, whole = evaluation_subset(SMALL, problem, seed=0), full_test_set(problem)
    np.testing.assert_array_equal(np.sort(subset.rows), np.sort(whole.rows))
    np.testing.assert_array_equal(np.sort(whole.rows), np.arange(len(DATA.y_test)))


def test_the_full_test_set_shows_permuted_tasks_everything():
    settings = dataclasses.replace(SMALL, experiment="permMNIST")
    whole = full_test_set(make_problem(settings, DATA))
    assert np.bincount(whole.tasks).tolist() == [len(DATA.y_test)] * 5


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
    assert make_problem(permuted, DATA).n_pixels == 32 * 32
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
