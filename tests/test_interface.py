"""A comparison from Python: the runs, numbers and files of the command."""

import json
from dataclasses import dataclass, replace

import matplotlib.figure
import numpy as np
import optax
import pytest
import small_runs

from experiments import compare, lab
from experiments.lab.results import store

SMALL = replace(small_runs.SMALL, tasks=2)
FLAGS = ["--experiment=splitDigits", "--tasks=2", "--iters=6", "--batch=16", "--fc-units=8"]
FLAGS += ["--eval-log=4", "--eval-n=20", "--alpha=4", "--beta=64"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return lab.compare(SMALL, ["standard", "cs"], seeds=3, results_dir=tmp_path_factory.mktemp("results"))


def test_arrays_have_a_seed_in_front(results):
    assert results.methods == ["standard", "cs"]
    assert results.seeds == [0, 1, 2]
    n = len(results.evaluated_at)
    for method in results.methods:
        assert results.final_accuracy[method].shape == (3,)
        assert results.accuracy_matrix[method].shape == (3, 2, 2)
        assert results.accuracy_per_task[method].shape == (3, n, 2)
        assert results.accuracy_so_far[method].shape == (3, n)
        assert results.loss[method].shape == (3, len(results.logged_at))
        np.testing.assert_allclose(
            results.final_accuracy[method], results.accuracy_matrix[method][:, -1].mean(axis=-1)
        )


def test_statistics_and_records_are_those_of_the_summary(results):
    summary = json.loads(results.path.read_text())
    for method, estimate in results.estimates.items():
        assert summary["methods"][method]["final_accuracy"]["mean"] == estimate.mean
    paired = summary["paired"]["cs - standard"]
    assert results.differences["cs - standard"].mean == paired["mean"]
    records = results.records()
    assert [(one["method"], one["seed"]) for one in records] == [
        (method, seed) for method in results.methods for seed in results.seeds
    ]
    assert records[4]["final_accuracy_task_1"] == results.accuracy_matrix["cs"][1, -1, 0]


def test_figures_are_made_and_none_is_written(results):
    figures = results.figures()
    assert {"accuracy", "tasks", "seeds", "matrices"} <= figures.keys()
    assert all(isinstance(figure, matplotlib.figure.Figure) for figure in figures.values())
    assert sorted(path.name for path in results.path.parent.iterdir()) == ["runs.csv", "summary.json"]


def test_the_command_finds_the_same_runs_under_the_same_name(results, tmp_path):
    folder = results.path.parent.parent
    kept = {path: path.read_bytes() for path in (folder / store.RUNS).iterdir()}
    before = results.path.stat().st_mtime_ns
    assert compare.main([*FLAGS, "--n-seeds=3", f"--results-dir={folder}", f"--plot-dir={tmp_path}"]) == 0
    assert {path: path.read_bytes() for path in (folder / store.RUNS).iterdir()} == kept
    assert results.path.stat().st_mtime_ns > before  # it is the same summary


def test_results_of_a_command_are_read(results):
    for path in (results.path, results.path.parent, str(results.path)):
        again = lab.read_results(path)
        assert again.methods == results.methods
        for method in results.methods:
            np.testing.assert_array_equal(again.accuracy_so_far[method], results.accuracy_so_far[method])


def test_a_method_of_a_notebook_with_a_setting_of_its_own(tmp_path):
    @dataclass(frozen=True)
    class Mine:
        """How long the steps are.

        Attributes:
            stretch: Factor on the learning rate.
        """

        stretch: float = 1.0

    @lab.method("mine", settings=Mine)
    def mine(settings):
        return optax.adam(settings.lr * settings.stretch)

    def plain(settings):
        return optax.adam(settings.lr)

    given = {"experiment": "splitDigits", "tasks": 2, "iters": 6, "batch": 16, "fc_units": 8, "stretch": 1}
    results = lab.compare(given, ["standard", mine, plain], seeds=range(4, 6), results_dir=tmp_path)
    assert results.seeds == [4, 5]
    assert results.settings.stretch == 1.0
    for own in ("mine", "plain"):
        np.testing.assert_array_equal(results.final_accuracy[own], results.final_accuracy["standard"])
    longer = lab.compare({**given, "stretch": 50}, [mine], seeds=range(4, 6), results_dir=tmp_path)
    assert (longer.loss["mine"] != results.loss["mine"]).all()


def test_a_model_of_a_notebook(tmp_path):
    from flax import nnx

    class Wide(nnx.Module):
        def __init__(self, input_shape, n_outputs, rngs):
            self.layer = nnx.Linear(int(np.prod(input_shape)), n_outputs, rngs=rngs)

        def __call__(self, x):
            return self.layer(x.reshape(len(x), -1))

    results = lab.compare(SMALL, ["standard"], seeds=1, model=Wide, results_dir=tmp_path)
    assert results.settings.model.name == "Wide"
    assert np.isfinite(results.loss["standard"]).all()


def test_a_scenario_and_a_measure_of_a_notebook(tmp_path):
    from examples import own_scenario

    def doubled(run, settings):
        return 2 * run.final_accuracy

    results = lab.compare(
        SMALL,
        ["standard"],
        seeds=2,
        scenario=own_scenario.inferred,
        measures=[doubled, "examples/own_scenario.py:first_task"],
        results_dir=tmp_path,
    )
    for record, accuracy in zip(results.records(), results.final_accuracy["standard"], strict=True):
        assert record["doubled"] == 2 * accuracy
        assert record["first-task"] == record["final_accuracy_task_1"]
    assert results.settings.scenario == "inferred"
    again = lab.read_results(results.path)
    assert again.records() == results.records()
    domain = lab.compare(SMALL, ["standard"], seeds=2, scenario="domain", results_dir=tmp_path)
    assert domain.settings.scenario == "domain"


def test_figures_are_written_on_request(tmp_path):
    lab.compare(SMALL, ["standard"], seeds=1, draw=True, results_dir=tmp_path, plot_dir=tmp_path / "plots")
    assert list((tmp_path / "plots").glob("compare-*-accuracy.pdf"))


def test_quiet_prints_nothing(tmp_path, capsys):
    lab.compare(SMALL, ["standard"], seeds=1, results_dir=tmp_path)
    assert capsys.readouterr().out == ""
    lab.compare(SMALL, ["standard"], seeds=1, results_dir=tmp_path, quiet=False)
    assert "summary: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"settings": {"iter": 3}}, "iter: there is no such setting or option; did you mean iters?"),
        (
            {"settings": {"learning_rate": 0.1}},
            "setting or option; they are the flags of the command, such as lr",
        ),
        ({"settings": {"iters": "3"}}, "iters '3': must be of the type int"),
        ({"settings": {"iters": 2.5}}, "iters 2.5: must be a whole number"),
        ({"settings": {"singlehead": 1}}, "singlehead 1: must be of the type bool"),
        ({"settings": {"lr": -1.0}}, "--lr -1: must be positive"),
        ({"methods": ["standart"]}, "method standart"),
        ({"methods": ["cs-readuot"]}, "one of your own; did you mean cs-readout?"),
        ({"scenario": "domian"}, "one of your own; did you mean domain?"),
        ({"result_dir": "here"}, "result_dir: there is no such setting or option; did you mean results_dir?"),
        ({"methods": []}, "--methods: must name at least one"),
        ({"methods": [3]}, "must be a function"),
        ({"seeds": [0, 2]}, "seeds [0, 2]: must be how many, or consecutive numbers"),
        ({"seeds": []}, "seeds []: must be"),
        ({"seeds": 0}, "--n-seeds 0: must be 1 to"),
        ({"seeds": True}, "seeds True: must be how many"),
        ({"seeds": 2.5}, "seeds 2.5: must be how many"),
        ({"methods": "cs"}, "methods 'cs': must be a list"),
        ({"methods": optax.sgd}, "methods <function sgd"),
        ({"measures": "mine.py:one"}, "measures 'mine.py:one': must be a list"),
        ({"timescales": "guessed"}, "--timescales guessed: must be one of given, suggested"),
        ({"timescales": "suggested"}, "suggested: must be left out with --alpha, --beta"),
        (
            {"settings": {"beakers": 5}, "timescales": "suggested"},
            "--timescales suggested: must be left out with --beakers",
        ),
        ({"pdf": True}, "pdf: there is no such setting"),
        ({"get_stamp": True}, "get_stamp: there is no such setting"),
        ({"model": 3}, "must be a class of modules"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_written(what, said, tmp_path):
    with pytest.raises(lab.SettingsError) as error:
        lab.compare(**{"settings": SMALL, "results_dir": tmp_path, **what})
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_number_of_seeds_may_be_one_of_numpy(results):
    folder = results.path.parent.parent
    again = lab.compare(SMALL, ["standard", "cs"], np.int64(3), results_dir=folder)
    assert again.path == results.path


def test_they_are_shown_in_a_line(results):
    shown = repr(results)
    assert shown.startswith(f"Results({results.name}; standard: ")
    assert "\n" not in shown
    assert len(shown) < 200


def test_a_method_that_fails_late_names_the_folder_of_the_others(tmp_path, capsys):
    def failing(settings):
        def reading(iteration):
            if iteration > 2:
                raise FloatingPointError("late")
            return np.zeros(2)

        weights = lambda params, memory, opt_state, zeros: params  # noqa: E731
        return lab.Method(optax.sgd(0.1), weights=weights, reading=reading)

    with pytest.raises(lab.MethodsFailedError, match="1 of 2 methods failed: failing; the results") as error:
        lab.compare(SMALL, [failing, "standard"], seeds=1, results_dir=tmp_path)
    assert (
        "reading after 4 iterations: FloatingPointError: late (test_interface.py, " in capsys.readouterr().err
    )
    assert lab.read_results(str(error.value).rpartition(" ")[2]).methods == ["standard"]
    with pytest.raises(lab.SettingsError, match="method failing: its reading after 4 iterations"):
        lab.compare(SMALL, [failing], seeds=1, results_dir=tmp_path)


def test_a_folder_for_figures_that_are_not_drawn_is_noted(tmp_path, capsys):
    lab.compare(SMALL, ["standard"], seeds=1, results_dir=tmp_path, plot_dir=tmp_path / "plots")
    assert "note: --plot-dir has no effect without draw=True" in capsys.readouterr().err


def test_names(results):
    assert set(lab.__all__) <= set(dir(lab))
    assert all(hasattr(lab, name) for name in lab.__all__)
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        lab.other  # noqa: B018
    assert isinstance(results, lab.Results)
