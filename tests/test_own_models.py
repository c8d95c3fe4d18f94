"""A network of the user's own: what it is given, what of it is carried, and that every command takes it."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawings import assert_drawn_again, undraw
from flax import nnx
from models_twin import Twin
from tiers import few

from experiments import compare, run, submit, sweep
from experiments.lab.data.dataset import load
from experiments.lab.data.own import load_own
from experiments.lab.models import Model, Range, model
from experiments.lab.models.making import make_network, network_of
from experiments.lab.options import search
from experiments.lab.options.description import describe_methods, figure_title
from experiments.lab.options.own import declared, settings_with
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import without_effect
from experiments.lab.results import own_code, stamps
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.answers import Data, View, show
from experiments.lab.tasks.problems import make_problem
from experiments.lab.tasks.streams import training_stream
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.train import train

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_model.py"
CNN, TRANSFORMER = (f"{EXAMPLE}:{name}" for name in ("CNN", "Transformer"))
TINY = ["--experiment=splitDigits", "--tasks=2", "--iters=8", "--batch=16", "--eval-log=4", "--eval-n=20"]
TINY += ["--loss-log=4", "--alpha=4", "--beta=64", "--beakers=3", "--ewc-samples=10", "--replay-budget=4"]
GIVEN = {
    "experiment": "splitDigits",
    "scenario": "domain",
    "tasks": 2,
    "iters": 8,
    "batch": 16,
    "eval_log": 4,
    "eval_n": 20,
    "loss_log": 1,
    "alpha": 4.0,
    "beta": 64.0,
    "beakers": 3,
    "ewc_samples": 10,
    "ewc_strength": 10.0,
    "replay_budget": 4,
    "lr": 0.01,
}


def of_cnn(**given):
    return settings_with((), declared(Model, CNN))(**{**GIVEN, "channels": 2, "dropout": 0.5, **given})


SMALL = of_cnn()


def quietly(progress):
    pass


def runs_of(method, settings=SMALL, seeds=(0, 1), **more):
    (runs,), _ = train([settings], method, list(seeds), load("Digits"), quietly, **more)
    return runs


def folders(tmp_path):
    return [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]


def summary_of(out):
    return json.loads(Path(out.splitlines()[-1].removeprefix("summary: ")).read_text())


# What it is given


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 4), (6, 4, 1)), ((6, 4, 3), (6, 4, 3)), ((5,), (5,)), ((2, 3, 4, 5), (2, 3, 4, 5))],
)
def test_samples_keep_their_shape_and_images_get_a_channel(tmp_path, shape, expected):
    x = np.random.default_rng(0).random((40, *shape)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x, y=np.arange(40) % 4)
    data = load_own(str(tmp_path / "mine.npz"), None)
    settings = Settings(experiment=str(tmp_path / "mine.npz"), classes=4, tasks=2)
    problem = make_problem(settings, data)
    assert problem.input_shape == expected
    view = View(problem.permutations(0)[None], problem.places(0)[None])
    stream = training_stream(dataclasses.replace(settings, iters=2, batch=4), problem, 0)
    batch = jax.tree.map(lambda a: a[:1], stream)
    shown, _ = show(problem, Data(jnp.asarray(problem.train.x), jnp.asarray(problem.train.y)), batch, view)
    np.testing.assert_array_equal(shown[0], data.x_train[batch.rows[0]].reshape(4, *expected))


def test_permuted_images_are_images_of_permuted_pixels():
    settings = dataclasses.replace(SMALL, experiment="permDigits")
    data = load("Digits")
    problem = make_problem(settings, data)
    order = problem.permutations(3)
    view = View(order[None], problem.places(3)[None])
    batch = jax.tree.map(lambda a: a[-1:], training_stream(settings, problem, 3))
    shown, _ = show(problem, Data(jnp.asarray(problem.train.x), jnp.asarray(problem.train.y)), batch, view)
    assert shown.shape == (1, 16, 8, 8, 1)
    for image, row, task in zip(shown[0], batch.rows[0], batch.tasks[0], strict=True):
        expected = data.x_train[row].ravel()[order[task]].reshape(8, 8, 1) / 16
        np.testing.assert_allclose(image, expected, rtol=1e-6)


def test_a_function_is_given_what_it_names():
    def wide(*, rngs, n_outputs, input_shape):
        return nnx.Sequential(lambda x: x.reshape(len(x), -1), nnx.Linear(6, n_outputs, rngs=rngs))

    def constant(n_outputs, **others):
        assert sorted(others) == ["input_shape", "rngs"]
        return nnx.Linear(6, n_outputs, rngs=others["rngs"])

    for make in (wide, constant):
        network = make_network(make, (6,), 3)
        params, state = network.init(jax.random.key(0)[None])
        assert network.answer(*jax.tree.map(lambda a: a[0], (params, state)), jnp.ones((2, 6))).shape == (
            2,
            3,
        )


# What of it is carried


def test_seeds_have_weights_statistics_and_dropout_of_their_own():
    problem = make_problem(SMALL, load("Digits"))
    network = network_of(SMALL, problem)
    params, state = network.init(jax.random.split(jax.random.key(0), 2))
    assert all(np.issubdtype(leaf.dtype, np.number) for leaf in jax.tree.leaves(state))
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0], leaf[0]]), params)
    x = jnp.ones((2, 16, *problem.input_shape))
    outputs, after = jax.vmap(network.learn)(same, state, x)
    assert not np.allclose(outputs[0], outputs[1])  # the same weights and samples, other units left out
    again, later = jax.vmap(network.learn)(same, after, x)
    assert not np.allclose(again[0], outputs[0])  # and others in the next batch
    assert jax.tree.structure(later) == jax.tree.structure(state)
    means = [leaf for leaf in jax.tree.leaves(after) if leaf.dtype == jnp.float32]
    assert any(np.asarray(leaf[0]).any() for leaf in means)


def test_answers_are_those_of_evaluation_mode_and_change_nothing():
    problem = make_problem(SMALL, load("Digits"))
    network = network_of(SMALL, problem)
    params, state = jax.tree.map(lambda a: a[0], network.init(jax.random.key(0)[None]))
    x = jax.random.uniform(jax.random.key(1), (16, *problem.input_shape))
    _, state = network.learn(params, state, x)
    whole = network.answer(params, state, x)
    one_by_one = jnp.concatenate([network.answer(params, state, one[None]) for one in x])
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(network.answer(params, state, x), whole)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["standard", "average", "lwf", "ewc"])
def test_training_with_statistics_and_dropout_is_its_slow_twin(method):
    """LwF keeps the network as it was, statistics included; Fisher information is that without dropout."""
    settings = of_cnn(lr=0.003, average_time=1e6)
    twin = Twin(settings, method, load("Digits"), seed=3)
    (one,) = runs_of(method, settings, seeds=[3])
    np.testing.assert_allclose(one.loss, twin.losses(), rtol=3e-3)
    # The weights that are evaluated come with the statistics of those that are trained.
    expected = twin.accuracies(twin.average if method == "average" else None)
    np.testing.assert_allclose(one.accuracy_matrix[-1], expected, atol=0.02)


@pytest.mark.slow
def test_a_seed_trains_the_same_alone_and_in_company():
    together, (alone,) = runs_of("cs", seeds=[7, 8, 9]), runs_of("cs", seeds=[8])
    np.testing.assert_allclose(together[1].loss, alone.loss, rtol=2e-3)
    assert not np.allclose(together[0].loss, alone.loss, rtol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cs-readout", "lwf"])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path, method):
    def stopping(progress):
        if progress.iteration == 12:
            raise KeyboardInterrupt

    expected = runs_of(method, seeds=[3, 4])
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    with pytest.raises(KeyboardInterrupt):
        train([SMALL], method, [3, 4], load("Digits"), stopping, checkpoints)
    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    runs = runs_of(method, seeds=[3, 4], checkpoints=checkpoints)
    assert checkpoints.resumed_at == 12
    for one, other in zip(runs, expected, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)
        np.testing.assert_array_equal(one.accuracy, other.accuracy)
        np.testing.assert_array_equal(one.accuracy_matrix, other.accuracy_matrix)


@pytest.mark.slow
def test_on_two_devices_it_is_the_same():
    for one, other in zip(runs_of("ewc", devices=2), runs_of("ewc"), strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ewc", "lwf"])
def test_configurations_that_train_together_are_as_alone(method):
    pair = [dataclasses.replace(SMALL, lr=lr, lwf_temperature=1000 * lr) for lr in (0.001, 0.003)]
    together, _ = train(pair, method, [0, 1], load("Digits"), quietly)
    for one, other in zip(together[1], runs_of(method, pair[1]), strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=2e-3)


def test_other_random_numbers_and_types_configured_change_nothing():
    expected = runs_of("standard")
    with jax.enable_x64(True), jax.default_prng_impl("rbg"):
        runs = runs_of("standard")
    for one, other in zip(runs, expected, strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)


@pytest.mark.slow
def test_each_layer_is_probed_by_its_name():
    (one,) = runs_of("cs", seeds=[0], probed=True)
    assert one.probes.layers == ["first", "first_norm", "output", "second", "second_norm"]
    np.testing.assert_allclose(one.probes.accuracy[:, 0], one.accuracy, rtol=1e-6)
    settings = settings_with((), declared(Model, TRANSFORMER))(**GIVEN)
    (one,) = runs_of("cs", settings, seeds=[0], probed=True)
    attention = [f"blocks.0.attention.{part}" for part in ("key", "out", "query", "value")]
    assert one.probes.layers[:4] == attention
    assert "position" in one.probes.layers


# In every command


@pytest.mark.parametrize(
    ("methods", "drawn"),
    few(
        [(["cs"], False), (["standard", "cs", "ewc", "lwf", "er", "average"], True)],
        lambda methods, drawn: not drawn,
    ),
    ids=["one", "several, drawn"],
)
@pytest.mark.usefixtures("sketched")
def test_the_cnn_is_compared_and_found_again(methods, drawn, tmp_path, capsys, monkeypatch):
    given = [*TINY, "--model", CNN, "--channels=2", "--scenario=domain", "--n-seeds=2", "--methods", *methods]
    with monkeypatch.context() as patch:
        undraw(patch)
        assert compare.main([*given, "--probes", "--live", *folders(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "network cnn (channels 2, dropout 0.1)" in out
    summary = summary_of(out)
    assert summary["model"] == {"name": "cnn", "origin": "own_model.py:CNN"}
    assert summary["config"]["channels"] == 2
    assert "-task-based-cnn-" in out.splitlines()[-1]
    assert summary["methods"]["cs"]["probes"]["layers"][0] == "first"
    if not drawn:
        undraw(monkeypatch)
    assert compare.main([*given, *folders(tmp_path)]) == 0
    assert capsys.readouterr().out.count("2 of 2 runs found again") == len(methods)
    if drawn:  # and again from the results alone
        assert set(assert_drawn_again(tmp_path)) >= {"accuracy.png", "matrices.png"}


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_the_transformer_learns_with_two_devices(tmp_path, capsys):
    given = [*TINY, "--model", TRANSFORMER, "--scenario=class", "--n-seeds=2", "--devices=2"]
    assert compare.main([*given, "--methods", "cs", "ewc", *folders(tmp_path)]) == 0
    assert "network transformer" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_it_is_searched_and_run(tmp_path, capsys):
    budget = ["--methods", "standard", "--budget=2", "--n-tuning-seeds=1", "--n-seeds=1", "--together=2"]
    assert sweep.main([*TINY, "--model", CNN, "--channels=2", *budget, *folders(tmp_path)]) == 0
    assert summary_of(capsys.readouterr().out)["model"]["name"] == "cnn"
    assert run.main([*TINY, "--model", CNN, "--channels=2", *folders(tmp_path)]) == 0
    assert "standard, seed 0: final average accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["standard", "ewc"])
def test_what_it_declares_is_searched_for_every_method_alike(method):
    own = settings_with((), declared(Model, CNN))()
    given = [*own.methods.values(), own.model]
    ranges = search.read_ranges(["channels=8:32"], given)
    space = search.search_space(own, method, ranges)
    assert list(space)[-2:] == ["channels", "dropout"]
    first, *others = search.configurations(own, space, 9)
    assert (first.channels, first.dropout) == (16, 0.1)
    assert len({one.channels for one in others}) > 4
    assert all(isinstance(one.channels, int) and 8 <= one.channels <= 32 for one in others)
    assert all(0.03 <= one.dropout <= 0.5 for one in others)
    assert "--channels" in search.as_flags(search.varied(others[0], space))


def test_ranges_of_another_model_are_refused():
    with pytest.raises(SettingsError, match=r"--ranges channels=1:2: channels is not searched for standard"):
        search.read_ranges(["channels=1:2"], [Settings.methods["standard"]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": Range(1, 2)}, "its search names lr, which is no setting of its own"),
        ({"channels": (1, 2)}, "its search must give a Range for channels"),
    ],
)
def test_only_its_own_settings_can_be_searched(wrong, message):
    cnn = declared(Model, CNN)
    with pytest.raises(SettingsError, match=f"model cnn: {message}"):
        dataclasses.replace(cnn, search=wrong)


def test_shards_of_a_sweep_keep_the_ranges_of_the_model():
    words = ("--methods", "standard", "ewc", f"--model={CNN}", "--ranges", "channels=2:4", "ewc-strength=1:9")
    of_standard, of_ewc = submit.shards_of(submit.Shard("sweep", words), 0)
    assert of_standard.arguments[-2:] == ("--ranges", "channels=2:4")
    assert of_ewc.arguments[-3:] == ("--ranges", "channels=2:4", "ewc-strength=1:9")


def test_jobs_are_given_the_model_as_the_command_was():
    words = ("--methods", "standard", "cs", f"--model={CNN}", "--channels=3", "--n-seeds", "1")
    for shard in submit.shards_of(submit.Shard("compare", words), 0):
        assert shard.arguments[: len(words)] == words


def test_its_settings_are_flags_with_their_help(capsys):
    with pytest.raises(SystemExit) as stop:
        compare.main(["--model", CNN, "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "model cnn options" in shown
    assert "--channels INT Channels of the first convolution; the second has twice as many." in shown


# Its name and its code


def test_the_built_in_network_leaves_names_as_they_are():
    identity = stamps.identity(Settings(), "standard", 0, "abc")
    assert not {"own_model", "own_code"} & set(identity)
    assert "model" not in identity["settings"]
    assert identity["settings"]["fc_units"] == 400
    assert "network" not in describe_methods(Settings(), ["standard"])


def test_an_identity_names_the_model_its_settings_and_its_code():
    identity = stamps.identity(SMALL, "standard", 0, "abc")
    assert (identity["own_model"], list(identity["own_code"])) == ("own_model.py:CNN", ["own_model.py"])
    settings = identity["settings"]
    assert (settings["model"], settings["channels"], settings["dropout"]) == ("cnn", 2, 0.5)
    assert not {"fc_layers", "fc_units"} & set(settings)
    assert "domain-task-based-cnn-standard" in stamps.run_stamp(identity)
    other = stamps.identity(dataclasses.replace(SMALL, channels=3), "standard", 0, "abc")
    assert stamps.run_stamp(other) != stamps.run_stamp(identity)
    plain = stamps.identity(Settings(**GIVEN), "standard", 0, "abc")
    assert plain["code"] != identity["code"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_an_edited_model_is_trained_again(tmp_path, capsys):
    path, text = tmp_path / "mine.py", EXAMPLE.read_text()
    path.write_text(text)
    given = [*TINY, f"--model={path}:CNN", "--channels=2", *folders(tmp_path)]
    assert run.main(given) == 0
    path.write_text(text + "\n\nX = 1\n")
    capsys.readouterr()
    assert run.main(given) == 0
    output = capsys.readouterr()
    assert "training 1 run again, made by other code" in output.err
    assert "changed since: mine.py" in output.err


NOTEBOOK = """
from flax import nnx

class Base(nnx.Module):
    def width(self):
        return WIDTH

class Part(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(64, 8, rngs=rngs)

class Net(Base):
    def __init__(self, n_outputs, rngs):
        self.part = Part(rngs)
        self.output = nnx.Linear(8, n_outputs, rngs=rngs)

WIDTH = 8
"""


@pytest.mark.parametrize(
    ("before", "after"), [("64, 8", "64, 9"), ("WIDTH = 8", "WIDTH = 9"), ("self.part", "self.p")]
)
def test_the_code_of_a_model_without_a_file_is_all_that_it_refers_to(before, after):
    def digest(text):
        module = {"__name__": "a_notebook"}
        exec(text, module)
        return own_code.of_own(Model(name="net", make=module["Net"]))

    assert digest(NOTEBOOK) == digest(NOTEBOOK)
    assert digest(NOTEBOOK) != digest(NOTEBOOK.replace(before, after))


def test_settings_of_the_built_in_network_have_no_effect_on_it():
    given = dataclasses.replace(SMALL, fc_units=7)
    name = SMALL.model.reference
    assert f"--fc-units 7 has no effect with --model {name}" in without_effect(given, ["ewc"])
    identities = [stamps.identity(one, "ewc", 0, "abc") for one in (given, SMALL)]
    assert identities[0] == identities[1]


def test_titles_name_the_network():
    assert "\ncnn, adam 0.01, batch 16" in figure_title(SMALL)
    assert "network cnn (channels 2, dropout 0.5)" in describe_methods(SMALL, ["standard"])


# What cannot be meant


class Plain(nnx.Module):
    def __init__(self, input_shape, n_outputs, rngs):
        self.layer = nnx.Linear(int(np.prod(input_shape)), n_outputs, rngs=rngs)

    def __call__(self, x):
        return self.layer(x.reshape(len(x), -1))


class TooWide(Plain):
    def __call__(self, x):
        return jnp.concatenate([super().__call__(x)] * 2, axis=-1)


class OfIntegers(Plain):
    def __call__(self, x):
        return super().__call__(x).astype(jnp.int32)


class InATuple(Plain):
    def __call__(self, x):
        return super().__call__(x), x


class Failing(Plain):
    def __call__(self, x):
        return self.layer(x)


class Growing(Plain):
    def __init__(self, input_shape, n_outputs, rngs):
        super().__init__(input_shape, n_outputs, rngs)
        self.seen = nnx.Variable(jnp.zeros(1))

    def __call__(self, x):
        self.seen.set_value(jnp.concatenate([self.seen.get_value(), jnp.ones(1)]))
        return super().__call__(x)


class WithoutParameters(nnx.Module):
    def __init__(self, n_outputs):
        self.n = n_outputs

    def __call__(self, x):
        return jnp.zeros((len(x), self.n))


def no_module(n_outputs):
    return lambda x: x


def of_more(input_shape, n_outputs, width):
    return None


def of_settings(n_outputs, settings):
    return None


def raising(n_outputs):
    raise RuntimeError("no luck\ntoday")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (TooWide, "must return an array (16, 5) for a batch (16, 8, 8, 1), not (16, 10), in training mode"),
        (OfIntegers, "must return floating-point numbers, not int32"),
        (InATuple, "must return an array (16, 5) for a batch (16, 8, 8, 1), not a tuple"),
        (Failing, "fails on samples of shape (8, 8, 1): "),
        (Growing, "seen has the shape (1,), and after a batch (2,)"),
        (WithoutParameters, "has no parameters (nnx.Param) to train"),
        (no_module, "must make a flax.nnx.Module, not function"),
        (of_more, "must take input_shape, n_outputs, rngs, settings, by these names, or some of them, not "),
        (of_settings, "takes settings, but declares none: @model(settings=…)"),
        (
            raising,
            "fails on samples of shape (8, 8, 1): RuntimeError: no luck today (test_own_models.py",
        ),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_in_a_line(make, told):
    settings = settings_with((), Model(name="mine", make=make))(**GIVEN)
    with pytest.raises(SettingsError) as refused:
        network_of(settings, make_problem(settings, load("Digits")))
    assert str(refused.value).startswith(f"model mine: {told}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("no_such_module:net", "model no_such_module:net: there is no module no_such_module"),
        (f"{EXAMPLE}:Transfomer", "no function or class Transfomer; did you mean Transformer?"),
        (f"{EXAMPLE}:net", f"model {EXAMPLE}:net: {EXAMPLE} has no function or class net"),
        ("cnn", "--model cnn: must be mlp, or MODULE:FUNCTION, one of your own"),
        (f"{EXAMPLE.with_name('own_method.py')}:slow_anchor", "is a method"),
        (
            "test_own_models:GIVEN",
            "model test_own_models:GIVEN: must be a class of modules, or a function that makes one, not {",
        ),
    ],
)
def test_what_is_no_model_is_refused_before_anything_is_written(tmp_path, capsys, given, told):
    status = None
    try:
        status = run.main([*TINY, f"--model={given}", *folders(tmp_path)])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@dataclasses.dataclass(frozen=True)
class Clashing:
    lr: float = 1.0


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"name": "mlp"}, "model mlp: has the name of the built-in model"),
        ({"settings": Clashing}, "model mine: its setting lr has the name of --lr"),
    ],
)
def test_taken_names_are_refused(declared, told):
    with pytest.raises(SettingsError, match=told):
        settings_with((), Model(**{"name": "mine", "make": Plain, **declared}))


def test_a_decorated_model_is_called_as_its_function_is():
    declared = model("plain")(Plain)
    assert isinstance(declared((4,), 2, nnx.Rngs(0)), Plain)
    assert declared.name == "plain"
