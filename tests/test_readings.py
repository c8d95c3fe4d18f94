"""One training, evaluated in many ways: averages of past weights, and what a method of one's own declares."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_runs
from drawings import undraw
from tiers import few

from cs_optax import BeakerChain
from experiments import compare, run, sweep
from experiments.lab.data.dataset import load
from experiments.lab.methods import Declaration, Method, averages, record
from experiments.lab.methods.interface import chosen_optimizer, make_method
from experiments.lab.options import profile, search
from experiments.lab.options.description import describe_methods, figure_title
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate, validate_methods, without_effect
from experiments.lab.results import stamps
from experiments.lab.results.runs import FinishedRun, Run, seconds_per_run
from experiments.lab.system.errors import SettingsError
from experiments.lab.training import train as training
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.compiled import CompiledPrograms
from experiments.lab.training.groups import parts_of
from experiments.lab.training.readings import Readings

SMALL = dataclasses.replace(small_runs.SMALL, loss_log=1, lr=0.01, beakers=3, eval_log=5)
SEVERAL = ("mean", "power:0.1", "exponential:5", "moment:0")


def quietly(progress):
    pass


def trained(configurations, method="record", seeds=(0, 1), observe=quietly, **more):
    runs, _ = training.train(configurations, method, list(seeds), load("Digits"), observe, **more)
    return runs


def read_with(profiles, settings=SMALL):
    return [dataclasses.replace(settings, profile=one) for one in profiles]


def assert_same(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        for field in dataclasses.fields(Run):
            if field.name != "method":
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


# the method record


@pytest.mark.parametrize(
    "changed", few([{}, {"optimizer": "sgd", "lr": 1.0, "decay": 0.001}], [{}]), ids=["adam", "sgd"]
)
def test_record_trains_bit_for_bit_as_standard_does(changed, optimized):
    """Without optimizations, some processors round the two programs differently."""
    settings = dataclasses.replace(SMALL, **changed)
    (plain,) = trained([settings], "standard")
    mean, last = trained(read_with(["mean", "moment:0"], settings))
    for one, averaged, other in zip(plain, mean, last, strict=True):
        np.testing.assert_array_equal(averaged.loss, one.loss)
        np.testing.assert_array_equal(averaged.initial_accuracy, one.initial_accuracy)
        np.testing.assert_array_equal(other.accuracy, one.accuracy)  # the last weights are those trained
    assert any(not np.array_equal(a.accuracy, b.accuracy) for a, b in zip(mean, plain, strict=True))


def path_of(method, n=300):
    """The weights after each of some updates of two seeds, and the last state."""
    params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(2, 5)), jnp.float32)}
    state, path = method.optimizer.init(params), []
    update = jax.jit(method.optimizer.update)
    for i in range(n):
        grads = {"w": params["w"] - np.sin(i / 30) + np.random.default_rng(i).normal(size=(2, 5))}
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        path.append(np.asarray(params["w"], np.float64))
    return params, state, np.array(path)


def kept(text, path):
    """The average of weights that were all kept, in a NumPy loop over them; and each one's share of it."""
    n = len(path)
    wanted = averages._profile(profile.read(text), n)
    shares = np.diff(wanted.share(np.arange(n + 1), n))[::-1]
    return sum(share * weights for share, weights in zip(shares, path, strict=True)), shares


OF_CS = dataclasses.replace(SMALL, beakers=8, alpha=2.0, beta=3000.0)


@pytest.mark.parametrize(
    ("name", "settings", "times", "options"),
    [("record", SMALL, record.TIMES, record.LISTENING), ("cs-readout", OF_CS, (8, 2.0, 3000.0), {})],
    ids=["record", "cs-readout"],
)
@pytest.mark.parametrize(
    "text",
    few(
        ["mean", "power:0.2", "exponential:60", "exponential:0.3n", "moment:0"],
        ["power:0.2", "exponential:60"],
    ),
)
def test_what_is_read_is_the_average_of_the_weights_that_were_kept(name, settings, times, options, text):
    """To the misfit, 1 − cosine of the angle between the profiles."""
    method = make_method(dataclasses.replace(settings, profile=text), name)
    params, state, path = path_of(method)
    read = method.weights(params, (), state, jnp.asarray(method.reading(len(path))))["w"]
    expected, shares = kept(text, path)
    wanted = averages._profile(profile.read(text), len(path))
    misfit = BeakerChain.from_timescales(*times).averaging(wanted, len(path), **options).misfit
    assert misfit < 0.005
    bound = np.sqrt(2 * misfit * (shares**2).sum() * ((path - expected) ** 2).sum(axis=0)) + 2e-4
    assert np.all(np.abs(read - expected) < 1.1 * bound)
    for other in {"mean", "moment:0", "power:0.1"} - {text}:
        assert np.abs(read - kept(other, path)[0]).max() > 2 * np.abs(read - expected).max()


def test_before_the_first_iteration_the_weights_are_those_there_are():
    for name in ("record", "cs-readout"):
        method = make_method(dataclasses.replace(SMALL, profile="power:0.1"), name)
        params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(2, 4)), jnp.float32)}
        read = method.weights(params, (), method.optimizer.init(params), jnp.asarray(method.reading(0)))
        np.testing.assert_array_equal(read["w"], params["w"])


@pytest.mark.parametrize("n", [500, 2500, 50_000, 200_000])
def test_one_chain_serves_streams_of_any_length(n):
    chain = BeakerChain.from_timescales(*record.TIMES)
    for text in (
        "mean",
        "power:0.2",
        "power:0.1",
        "exponential:0.5n",
        "exponential:0.1n",
        "exponential:0.02n",
    ):
        average = chain.averaging(averages._profile(profile.read(text), n), n, **record.LISTENING)
        assert average.misfit < 0.002, text


def test_a_moment_before_the_first_iteration_is_the_first():
    early, first = (averages.weights_of((4, 2.0, 90.0), text, 20, {}) for text in ("moment:300", "moment:19"))
    np.testing.assert_array_equal(early, first)
    share = averages.weights_of((4, 2.0, 90.0), "moment:0.95n", 20, {})
    np.testing.assert_array_equal(share, first)


def test_a_time_that_is_a_share_of_few_iterations_may_be_less_than_one():
    weights = averages.weights_of((4, 2.0, 90.0), "exponential:0.02n", 20, {})  # warnings are errors
    assert np.isfinite(weights).all()
    with pytest.warns(UserWarning, match="less than one update"):
        averages.weights_of((4, 2.0, 90.0), "exponential:0.99", 20, {})


def test_a_beaker_that_is_read_alone_is_what_it_is_though_training_diverged():
    method = make_method(dataclasses.replace(SMALL, readout=3), "cs-readout")
    params = {"w": jnp.ones((2, 4))}
    state = method.optimizer.init(params)
    lost = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), params)
    read = method.weights(lost, (), state, jnp.asarray(method.reading(7)))
    np.testing.assert_array_equal(read["w"], params["w"])


# the setting


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mean", "mean"),
        ("mean:1", "mean"),
        ("mean:.50", "mean:0.5"),
        ("power:1e-1", "power:0.1"),
        ("exponential:200.0", "exponential:200"),
        ("exponential:3n", "exponential:3n"),
        ("moment:3e2", "moment:300"),
        ("moment:0.20n", "moment:0.2n"),
    ],
)
def test_one_profile_has_one_name(text, shown):
    assert str(profile.read(text)) == shown
    assert profile.read(shown) == profile.read(text)
    settings = [dataclasses.replace(SMALL, profile=one) for one in (text, shown)]
    assert len({stamps.run_stamp(stamps.identity(one, "record", 0, "abc")) for one in settings}) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("foo", "mean:", "mean:0", "mean:1.1", "mean:0.5n", "mean:-1", "mean:nan", "power", "power:0.3"),
        *("exponential:0", "exponential:1e999", "exponential:n", "moment:1.5", "moment:1.5n", "moment:1..2"),
        *("beaker:3", "mean:0.5 ", "power:0.1n", ":3"),
    ],
)
def test_profiles_that_cannot_be_meant_are_refused(text):
    with pytest.raises(SettingsError, match=re.escape(f"--profile {text}: must be mean, mean:SHARE")):
        validate(dataclasses.replace(SMALL, profile=text))


def test_what_is_tried_is_understood_and_named_once():
    assert [str(profile.read(one)) for one in profile.TRIED] == list(profile.TRIED)
    assert len(set(profile.TRIED)) == len(profile.TRIED)


def stamp_of(method, **changed):
    return stamps.run_stamp(stamps.identity(dataclasses.replace(SMALL, **changed), method, 0, "abc"))


def test_a_beaker_or_an_average_is_read_never_both():
    assert stamp_of("record") == stamp_of("record", profile="mean") == stamp_of("record", readout=2)
    assert stamp_of("cs-readout") == stamp_of("cs-readout", readout=2)  # in the middle of three
    assert stamp_of("cs-readout", profile="mean") == stamp_of("cs-readout", profile="mean", readout=3)
    assert stamp_of("cs-readout") != stamp_of("cs-readout", profile="mean")
    settings = dataclasses.replace(SMALL, profile="mean", readout=2)
    assert "--readout 2 has no effect with --profile mean" in without_effect(settings, ["cs-readout"])
    assert "--profile mean has no effect on cs" in without_effect(settings, ["cs"])


def test_of_the_published_optimizer_no_average_is_known():
    published = dataclasses.replace(SMALL, profile="mean", time_step="learning-rate")
    with pytest.raises(SettingsError, match="method cs-readout: --profile mean needs --time-step iteration"):
        validate_methods(published, ["cs-readout"])
    validate_methods(published, ["record"])  # which has no such time step
    assert len(search.evaluations(dataclasses.replace(published, profile=""), "cs-readout")) == 1


@pytest.mark.parametrize("beakers", few([0, 1], [1]))
def test_without_hidden_beakers_the_weights_are_read(beakers):
    settings = dataclasses.replace(SMALL, beakers=beakers, profile="mean")
    (averaged,), (plain,) = trained([settings], "cs-readout"), trained([settings], "cs")
    assert_same(averaged, plain)


# one training for several


@pytest.mark.slow
def test_what_is_measured_does_not_depend_on_what_else_is_evaluated():
    """Whole runs, of a training with a fixed number of seeds."""
    together = trained(read_with(SEVERAL))
    for one, runs in zip(read_with(SEVERAL), together, strict=True):
        (alone,) = trained([one])
        assert_same(runs, alone)
    assert len({run.final_accuracy for (run, _) in together}) > 1


def test_at_the_start_where_all_averages_are_the_same_one_evaluation_is_enough(monkeypatch):
    counted, count = [], CompiledPrograms.count_on_subset

    def counting(self, carries, reading):
        counted.append(reading)
        return count(self, carries, reading)

    monkeypatch.setattr(CompiledPrograms, "count_on_subset", counting)
    runs = trained(read_with(SEVERAL))
    assert len(counted) == 1 + len(SEVERAL) * (len(runs[0][0].evaluated_at) - 1)


@pytest.mark.slow
def test_several_trainings_at_once_may_be_evaluated_in_different_ways():
    """Two learning rates, in one program, of which one has fewer averages."""
    fast, slow = SMALL, dataclasses.replace(SMALL, lr=0.002)
    asked = [*read_with(["mean", "power:0.1"], fast), *read_with(["mean"], slow)]
    runs = trained(asked, "cs-readout")
    for places in ((0, 2), (1, 2), (2, 0)):  # which is first does not matter either
        for place, of_one in zip(places, trained([asked[i] for i in places], "cs-readout"), strict=True):
            assert_same(of_one, runs[place])
    readings = Readings([one.of_method("cs-readout") for one in asked], "cs-readout")
    assert [one.lr for one in readings.trainings] == [0.01, 0.002]
    assert readings.training_of.tolist() == [0, 0, 1]


@pytest.mark.slow
def test_devices_divide_what_is_trained_and_not_what_is_evaluated():
    for seeds, lrs in (
        ((3, 4, 5), (0.01,)),
        ((3,), (0.01, 0.002, 0.005)),
    ):  # the one and the other is divided
        asked = [one for lr in lrs for one in read_with(SEVERAL[:2], dataclasses.replace(SMALL, lr=lr))]
        alone, divided = (trained(asked, seeds=seeds, devices=n) for n in (1, 2))
        for of_one, of_other in zip(alone, divided, strict=True):
            for one, other in zip(of_one, of_other, strict=True):
                np.testing.assert_allclose(other.loss, one.loss, rtol=2e-3)
                np.testing.assert_allclose(other.accuracy_matrix, one.accuracy_matrix, atol=0.03)


@pytest.mark.slow
def test_a_shared_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    def stopping(progress):
        if progress.iteration == 18:
            raise KeyboardInterrupt

    expected = trained(read_with(SEVERAL))
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    with pytest.raises(KeyboardInterrupt):
        trained(read_with(SEVERAL), observe=stopping, checkpoints=checkpoints)
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    runs = trained(read_with(SEVERAL), checkpoints=checkpoints)
    assert checkpoints.resumed_at == 18
    for of_one, of_other in zip(runs, expected, strict=True):
        assert_same(of_one, of_other)


def test_reports_have_all_runs_those_of_one_configuration_after_those_of_another():
    seen = []
    runs = trained(read_with(SEVERAL), observe=seen.append)
    last = seen[-1]
    assert last.losses.shape == (8,)
    np.testing.assert_array_equal(last.losses[:2], last.losses[2:4])
    np.testing.assert_array_equal(last.accuracy, [run.accuracy[-1] for of_one in runs for run in of_one])
    assert last.seen.all()


def test_processes_share_trainings_and_each_evaluates_all_of_its_own():
    trainings = ["a", "a", "b", "b", "b"]
    assert parts_of(([0, 1, 2, 3, 4], [7]), 2, trainings) == [([0, 1], [7]), ([2, 3, 4], [7])]
    assert parts_of(([0, 1], [7, 8]), 2, trainings) == [([0, 1], [7]), ([0, 1], [8])]


def test_every_evaluation_has_its_share_of_the_evaluating_and_the_whole_training():
    environment = {
        "seconds": {"compile": 6.0, "train": 60.0, "evaluate": 60.0},
        "seeds_together": 2,
        "configurations_together": 3,
        "evaluated_together": 15,
    }
    shares = seconds_per_run([FinishedRun("a", None, environment, False)])
    assert (shares.compile, shares.train, shares.evaluate) == (1.0, 10.0, 2.0)


# the commands

SHORT = (
    *("--experiment=splitDigits", "--iters=4", "--batch=16", "--fc-units=8", "--eval-log=8", "--eval-n=10"),
    *("--tasks=2", "--scenario=domain"),
)


def folders_in(path):
    return [f"--results-dir={path / 'results'}", f"--plot-dir={path / 'plots'}"]


def summary_of(out):
    return json.loads(Path(out.splitlines()[-1].removeprefix("summary: ")).read_text())


@pytest.fixture
def trainings(monkeypatch):
    """How many trainings were made, with few averages to try: method, trainings, evaluations, seeds."""
    for method in ("record", "cs-readout"):
        declared = Settings.methods[method]
        short = {**declared.evaluated_by, "profile": SEVERAL}
        monkeypatch.setitem(Settings.methods, method, dataclasses.replace(declared, evaluated_by=short))
    undraw(monkeypatch)
    made, train = [], training.train

    def counting(configurations, method, seeds, *arguments, **more):
        readings = Readings(configurations, method)
        made.append((method, len(readings.trainings), len(configurations), len(seeds)))
        return train(configurations, method, seeds, *arguments, **more)

    monkeypatch.setattr(training, "train", counting)
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:alpha=25.5 and beta=19500 are far apart")
def test_a_search_trains_as_often_for_every_method_and_evaluates_all_that_is_to_be_tried(
    tmp_path, capsys, trainings
):
    n = len(SEVERAL)
    few = ["--budget=2", "--n-tuning-seeds=2", "--n-seeds=1", "--methods", "standard", "record", "cs-readout"]
    assert sweep.main([*SHORT, *few, *folders_in(tmp_path)]) == 0
    assert [(m, t, e) for m, t, e, _ in trainings] == [
        *[("standard", 1, 1)] * 2,
        *[("record", 1, n)] * 2,
        *[("cs-readout", 1, n + 1)] * 2,  # and the beaker
        *((method, 1, 1) for method in ("standard", "record", "cs-readout")),
    ]
    out = capsys.readouterr().out
    assert f"best of 2 configurations with {2 * n} evaluations, record: --lr " in out
    searches = summary_of(out)["searches"]
    assert {name: (one["trainings"], one["evaluations"]) for name, one in searches.items()} == {
        "standard": (4, 4),
        "record": (4, 4 * n),
        "cs-readout": (4, 4 * (n + 1)),
    }
    (table,) = tmp_path.glob("results/*/searches.csv")
    rows = [row for row in csv.DictReader(table.read_text().splitlines()) if row["method"] == "record"]
    assert len(rows) == 4 * n
    assert {row["profile"] for row in rows} == set(SEVERAL)
    assert {row["training"] for row in rows} == {"0", "1"}
    best = searches["record"]["best"]
    chosen = [float(row["validation_accuracy"]) for row in rows if row["profile"] == best["profile"]]
    score = max(one["validation_accuracy"] for one in searches["record"]["candidates"])
    assert score == pytest.approx(max(np.mean(chosen[i : i + 2]) for i in (0, 2)))
    assert f"--profile '{best['profile']}'" in searches["record"]["flags_of_best"]
    trainings.clear()
    assert sweep.main([*SHORT, *few, *folders_in(tmp_path)]) == 0
    assert trainings == []
    # What it tried are runs like any other, with their own settings and stamps.
    names = ["--methods", "record", "--profile", "power:0.1", "--evaluate-on=validation", "--full-eval=end"]
    assert compare.main([*SHORT, *names, "--seed=1000", "--n-seeds=2", *folders_in(tmp_path)]) == 0
    assert trainings == []
    found = summary_of(capsys.readouterr().out)["methods"]["record"]["final_accuracy"]
    of_file = [
        float(r["validation_accuracy"]) for r in rows if (r["training"], r["profile"]) == ("0", "power:0.1")
    ]
    assert found["per_seed"] == of_file
    elsewhere = folders_in(tmp_path / "elsewhere")
    assert compare.main([*SHORT, *names, "--seed=1000", "--n-seeds=2", *elsewhere]) == 0
    assert trainings == [("record", 1, 1, 2)]
    made, again = (
        [json.loads(p.read_text()) for p in sorted((folder / "results" / "runs").glob("*-s100[01]-*"))]
        for folder in (tmp_path, tmp_path / "elsewhere")
    )
    shared = {
        one["identity"]["seed"]: one for one in made if one["identity"] in [o["identity"] for o in again]
    }
    assert [shared[one["identity"]["seed"]]["run"] for one in again] == [one["run"] for one in again]


@pytest.mark.slow
def test_an_average_of_ones_own_is_tried_first(tmp_path, capsys, trainings):
    few = ["--budget=1", "--n-tuning-seeds=1", "--n-seeds=1", "--methods", "record", "--profile=mean:0.9"]
    assert sweep.main([*SHORT, *few, *folders_in(tmp_path)]) == 0
    assert trainings[0] == ("record", 1, len(SEVERAL) + 1, 1)
    (table,) = tmp_path.glob("results/*/searches.csv")
    assert next(csv.DictReader(table.read_text().splitlines()))["profile"] == "mean:0.9"


@pytest.mark.slow  # above, without the command
def test_configurations_that_train_at_once_are_counted_as_trainings(tmp_path, trainings):
    few = ["--budget=3", "--together=2", "--n-tuning-seeds=1", "--n-seeds=1", "--methods", "record"]
    assert sweep.main([*SHORT, *few, *folders_in(tmp_path)]) == 0
    n = len(SEVERAL)
    assert trainings[:2] == [("record", 2, 2 * n, 1), ("record", 1, n, 1)]


@pytest.mark.parametrize(
    ("method", "text", "said"),
    [
        ("record", "", "; record: average mean read"),
        ("record", "exponential:0.2n", "; record: average exponential:0.2n read"),
        ("cs-readout", "mean:0.5", "5 beakers, 500 to 2500 iterations, average mean:0.5 read"),
        ("cs-readout", "", "5 beakers, 500 to 2500 iterations, beaker 3 read"),
    ],
)
def test_the_title_says_what_is_read(method, text, said):
    assert describe_methods(Settings(profile=text), [method]).endswith(said)
    _, _, average = said.partition("average ")
    title = figure_title(Settings(profile=text), method, 0)
    assert title.endswith(f", average {average.removesuffix(' read')}") == bool(average)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--method=record", "--profile=foo"], "error: --profile foo: must be mean, mean:SHARE"),
        (
            ["--method=cs-readout", "--profile=mean", "--time-step=learning-rate"],
            "needs --time-step iteration",
        ),
        (["--method=record", "--probes"], "error: --probes: needs one of the methods cs,"),
    ],
)
def test_what_cannot_be_meant_is_one_line_before_anything_is_done(tmp_path, capsys, wrong, message):
    assert run.main([*SHORT, *wrong, *folders_in(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# methods of one's own


@dataclasses.dataclass(frozen=True)
class Mixed:
    """How much of the initial weights is left.

    Attributes:
        mix_share: Share of the initial weights in those that are evaluated.
    """

    mix_share: float = 0.0


def mixed(settings):
    """Evaluated with a share of the initial weights."""

    def weights(params, memory, opt_state, share):
        return jax.tree.map(lambda p, p0: (1 - share) * p + share * p0, params, memory)

    return Method(
        chosen_optimizer(settings),
        start=lambda params: params,
        reading=lambda iteration: np.float32(settings.mix_share),
        weights=weights,
    )


def settings_of(own, **changed):
    from experiments.lab.options.own import settings_with

    known = {one.name: getattr(SMALL, one.name) for one in dataclasses.fields(SMALL)}
    return settings_with((own,))(**{**known, **changed})


def own(make=mixed, **more):
    declared = {"settings": Mixed, "evaluated_by": {"mix_share": (0.5, 1.0)}, **more}
    return Declaration(name="mixed", make=make, **declared)


def test_a_method_of_ones_own_is_evaluated_in_the_ways_it_declares():
    settings = settings_of(own())
    tried = search.evaluations(settings, "mixed")
    assert [one.mix_share for one in tried] == [0.0, 0.5, 1.0]
    plain, _, initial = trained(tried, "mixed")
    (standard,) = trained([settings], "standard")
    for one, untrained, other in zip(plain, initial, standard, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)
        np.testing.assert_array_equal(one.accuracy, other.accuracy)
        np.testing.assert_array_equal(untrained.accuracy[-1], untrained.accuracy[0])
    assert Readings(tried, "mixed").trainings == [settings.of_method("mixed")]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"evaluated_by": {"lr": (1.0,)}}, "its evaluated_by names lr, which must be a setting of its own"),
        ({"evaluated_by": {"mix_share": 0.5}}, "its evaluated_by must give the values to try of mix_share"),
        (
            {"together": ("lr", "mix_share")},
            "its evaluated_by names mix_share, which must be a setting of its own, not searched",
        ),
    ],
)
def test_what_a_method_is_evaluated_by_is_checked(declared, message):
    with pytest.raises(SettingsError, match=f"method mixed: {message}"):
        own(**declared)


def without_a_reading(settings):
    return optax.adam(settings.lr)


def failing(settings):
    return dataclasses.replace(mixed(settings), reading=lambda iteration: 1 / iteration)


def growing(settings):
    return dataclasses.replace(mixed(settings), reading=lambda iteration: np.ones(8 if iteration else 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (without_a_reading, "method mixed: is evaluated by mix_share, so its Method must have a reading"),
        (failing, "method mixed: its reading after 0 iterations: ZeroDivisionError"),
        (growing, "method mixed: its reading must have the same shapes after all iterations"),
    ],
)
def test_a_reading_that_cannot_be_used_is_told_in_a_line(make, message):
    settings = settings_of(own(make))
    with pytest.raises(SettingsError, match=message):
        trained([settings], "mixed")


def test_settings_have_no_other_evaluations_where_nothing_is_declared():
    assert search.evaluations(Settings(), "standard") == [Settings()]
