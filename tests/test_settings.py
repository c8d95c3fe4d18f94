import dataclasses
import itertools
import math
from pathlib import Path
from typing import get_args

import pytest

from experiments.lab.options.scenario import BUILT_IN as BUILT_IN_SCENARIOS
from experiments.lab.options.settings import Baselines, Experiment, Settings, Stream
from experiments.lab.options.validation import LARGEST_SEED, validate, validate_seeds
from experiments.lab.system.errors import SettingsError, flag

NUMBERS = [field.name for field in dataclasses.fields(Settings) if field.type in (int, float)]


def test_defaults_are_those_of_the_published_comparison():
    strengths = {field.name for field in dataclasses.fields(Baselines)}
    given = {name: value for name, value in dataclasses.asdict(Settings()).items() if name not in strengths}
    assert given == {
        "experiment": "splitMNIST",
        "scenario": "task",
        "stream": "task-based",
        "overlap": 1.0,
        "stream_file": None,
        "class_order": "canonical",
        "tasks": 5,
        "iters": 500,
        "batch": 128,
        "fc_layers": 3,
        "fc_units": 400,
        "singlehead": False,
        "lr": 0.001,
        "optimizer": "adam",
        "decay": 0.0,
        "beakers": 5,
        "alpha": 500.0,
        "beta": 2500.0,
        "time_step": "iteration",
        "readout": 0,
        "profile": "",
        "loss_log": 100,
        "eval_log": 100,
        "eval_n": 1024,
        "evaluate_on": "test",
        "full_eval": "tasks",
        "classes": 10,
        "labelled": False,
    }


@pytest.mark.parametrize(
    ("experiment", "scenario", "stream"),
    list(itertools.product(get_args(Experiment), BUILT_IN_SCENARIOS, get_args(Stream))),
)
def test_every_combination_is_allowed(experiment, scenario, stream):
    path = Path("sequence.npz") if stream == "file" else None
    validate(Settings(experiment=experiment, scenario=scenario, stream=stream, stream_file=path))


@pytest.mark.parametrize(
    "allowed",
    [
        {"beakers": 0},
        {"beakers": 1, "alpha": 10.0, "beta": 5.0},  # a single beaker has no alpha
        {"beakers": 2, "alpha": 10.0, "beta": 10.0},
        {"iters": 10**6, "batch": 1000, "stream": "random"},  # a billion samples in all
        {"tasks": 1},
        {"tasks": 2},
        {"tasks": 10, "scenario": "class"},
        {"tasks": 7, "experiment": "permMNIST"},
        {"singlehead": True},
        {"fc_layers": 1},
        {"eval_log": 2501, "loss_log": 10**9},  # at the end only
        {"iters": 50, "stream": "random"},  # shorter than the intervals' defaults
    ],
)
def test_unusual_settings_that_make_sense_are_allowed(allowed):
    validate(Settings(**allowed))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"experiment": "splitCIFAR"}, "--experiment splitCIFAR"),
        ({"stream": "sideways"}, "--stream sideways"),
        ({"overlap": 1.5}, "--overlap 1.5"),
        ({"overlap": math.nan}, "--overlap nan"),
        ({"class_order": "shuffled", "experiment": "permMNIST"}, "--class-order shuffled"),
        ({"evaluate_on": "training"}, "--evaluate-on training"),
        ({"tasks": 3}, "--tasks 3"),  # drops a class
        ({"tasks": 11}, "--tasks 11"),
        ({"tasks": 10}, "--tasks 10"),  # one class per task
        ({"tasks": 10, "scenario": "domain"}, "--tasks 10"),
        ({"iters": 0}, "--iters 0"),
        ({"batch": -1}, "--batch -1"),
        ({"fc_layers": 0}, "--fc-layers 0"),
        ({"fc_layers": 101}, "--fc-layers 101"),
        ({"fc_units": 10**10}, "--fc-units 10000000000"),
        ({"lr": 1e39}, "--lr 1e+39"),
        ({"ewc_strength": 1e300}, "--ewc-strength 1e+300"),
        ({"lr": 0.0}, "--lr 0"),
        ({"lr": math.inf}, "--lr inf"),
        ({"alpha": math.nan}, "--alpha nan"),
        ({"beta": -2.0}, "--beta -2"),
        ({"beta": 499.0}, "--beta 499"),
        ({"beakers": -1}, "--beakers -1"),
        ({"beakers": 100_000}, "--beakers 100000"),
        ({"iters": 10**12}, "--iters 1000000000000"),
        ({"readout": 6}, "--readout 6"),
        ({"decay": -0.1}, "--decay -0.1"),
        ({"decay": math.nan}, "--decay nan"),
        ({"singlehead": True, "scenario": "domain"}, "--singlehead"),
        ({"eval_n": 0}, "--eval-n 0"),
        ({"eval_log": 0}, "--eval-log 0"),
        ({"loss_log": 0}, "--loss-log 0"),
    ],
)
def test_what_cannot_be_meant_is_rejected_in_one_line_that_names_flag_and_value(wrong, named):
    with pytest.raises(SettingsError) as error:
        validate(Settings(**wrong))
    message = str(error.value)
    assert message.startswith(f"{named}: must be ")
    assert "\n" not in message


def test_a_stream_from_a_file_needs_one_and_no_other_stream_has_one():
    with pytest.raises(SettingsError, match=r"^--stream file: needs a --stream-file$"):
        validate(Settings(stream="file"))
    with pytest.raises(SettingsError, match=r"^--stream-file a\.npz: is for --stream file, not random$"):
        validate(Settings(stream="random", stream_file=Path("a.npz")))


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_may_be_negative(name):
    with pytest.raises(SettingsError, match=f"^{flag(name)} -1: "):
        validate(dataclasses.replace(Settings(), **{name: -1}))


@pytest.mark.parametrize(("seed", "n_seeds"), [(0, 1), (7, 10), (LARGEST_SEED, 1), (0, 1000)])
def test_seeds_that_exist_are_allowed(seed, n_seeds):
    validate_seeds(seed, n_seeds)


@pytest.mark.parametrize(
    ("seed", "n_seeds", "named"),
    [
        (-1, 1, "--seed -1"),
        (LARGEST_SEED, 2, f"--seed {LARGEST_SEED}"),
        (0, 0, "--n-seeds 0"),
        (0, 1001, "--n-seeds 1001: must be 1 to 1000"),
    ],
)
def test_seeds_that_do_not_exist_are_rejected(seed, n_seeds, named):
    with pytest.raises(SettingsError, match=f"^{named}"):
        validate_seeds(seed, n_seeds)


@pytest.mark.parametrize(
    ("experiment", "dataset", "permuted"),
    [
        ("splitMNIST", "MNIST", False),
        ("permFashionMNIST", "FashionMNIST", True),
        ("splitDigits", "Digits", False),
    ],
)
def test_an_experiment_is_a_data_set_and_a_protocol(experiment, dataset, permuted):
    settings = Settings(experiment=experiment)
    assert (settings.dataset, settings.permuted) == (dataset, permuted)


def test_iterations_count_per_task_or_in_total():
    assert Settings(tasks=5, iters=30).total_iterations == 150
    assert Settings(tasks=5, iters=30, stream="random").total_iterations == 30


@pytest.mark.parametrize(
    ("experiment", "scenario", "tasks", "chance"),
    [
        ("splitMNIST", "task", 5, 1 / 2),
        ("splitMNIST", "domain", 2, 1 / 5),
        ("splitMNIST", "class", 5, 1 / 10),
        ("permMNIST", "task", 4, 1 / 10),
        ("permMNIST", "class", 4, 1 / 40),
    ],
)
def test_chance_is_a_guess_among_the_classes_told_apart(experiment, scenario, tasks, chance):
    settings = Settings(experiment=experiment, scenario=scenario, tasks=tasks)
    assert settings.chance == pytest.approx(chance)
