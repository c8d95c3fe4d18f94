"""Every method, in the limits in which it is plain training, and against slow twins."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods_twin import Twin
from tiers import few, pairs
from trainings import trained

from cs_optax import BeakerChain, complex_synapse, get_beakers, published
from experiments.lab.data.dataset import load
from experiments.lab.methods import Declaration, Method, interface, record
from experiments.lab.methods.interface import make_method
from experiments.lab.options.declared import BUILT_IN, Baselines
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate, validate_methods
from experiments.lab.system.errors import SettingsError
from experiments.lab.tasks.answers import distillation
from experiments.lab.tasks.problems import make_problem
from experiments.lab.tasks.samples import fisher_samples
from experiments.lab.tasks.streams import replay_stream, training_stream
from experiments.lab.training.fisher import fisher_information
from experiments.lab.training.train import train

NAMES = tuple(BUILT_IN)
NEED_TASKS = ("ewc", "si", "lwf", "er")
SMALL = Settings(
    experiment="splitDigits",
    iters=12,
    batch=16,
    fc_units=8,
    eval_log=12,
    loss_log=1,
    eval_n=20,
    lr=0.01,
    alpha=5.0,
    beta=50.0,
    beakers=3,
    ewc_samples=30,
)


def quietly(progress):
    pass


def runs_of(method, settings=SMALL, seeds=(0, 1)):
    return trained(settings, method, seeds)


def runs_made_for_this(method, settings, seeds):
    """Where a part of the laboratory, or of JAX's configuration, is another one."""
    (runs,), _ = train([settings], method, list(seeds), load("Digits"), quietly)
    return runs


def test_every_setting_of_a_method_is_a_setting_and_every_baseline_has_a_method():
    of_methods = [name for declared in BUILT_IN.values() for name in declared.own]
    assert sorted(of_methods) == sorted(field.name for field in dataclasses.fields(Baselines))
    known = {field.name for field in dataclasses.fields(Settings)}
    for declared in BUILT_IN.values():
        assert {*declared.used, *declared.ignores, *declared.fixed} <= known
    assert [name for name, declared in BUILT_IN.items() if declared.needs_task_ends] == list(NEED_TASKS)


@pytest.mark.parametrize(
    ("method", "scenario"),
    few(
        pairs(NAMES, ["task", "domain", "class"]),
        [("cs", "class"), ("ewc", "class"), ("er", "class"), ("lwf", "task")],
    ),
)
def test_every_method_learns_in_every_scenario(method, scenario):
    settings = dataclasses.replace(SMALL, scenario=scenario, iters=40, eval_log=40, fc_units=32)
    settings = dataclasses.replace(settings, average_time=10.0)
    for run in runs_of(method, settings):
        assert np.isfinite(run.loss).all()
        # Each task at its end, on average; before any training it is chance.
        assert run.accuracy_matrix.diagonal().mean() > 1.4 * settings.chance
        assert run.initial_accuracy.mean() < 1.1 * settings.chance
        assert run.accuracy_matrix.shape == (5, 5)


PLAIN = {
    "ewc": {"ewc_strength": 0.0},
    "si": {"si_strength": 0.0},
    "l2": {"l2_strength": 0.0},
    "average": {"average_time": 1.0},
    "cs": {"beakers": 0},
    "cs-published": {"beakers": 0, "optimizer": "sgd"},
}


@pytest.mark.parametrize("method", few(PLAIN, ["si", "l2", "average", "cs"]))
def test_without_strength_it_is_plain_training(method):
    settings = dataclasses.replace(SMALL, **PLAIN[method])
    for plain, run in zip(runs_of("standard", settings), runs_of(method, settings), strict=True):
        np.testing.assert_allclose(run.loss, plain.loss, rtol=1e-4)
        np.testing.assert_allclose(run.accuracy_matrix, plain.accuracy_matrix, atol=0.02)


def some_iterations(method, seeds):
    """Parameters, and those to evaluate, after two tasks of three iterations; stacked over these of five."""
    random = np.random.default_rng(0)
    shapes = {"b": (3,), "w": (4, 3)}
    numbers = [{k: random.normal(size=(5, *shape)) for k, shape in shapes.items()} for _ in range(8)]
    of_seeds = [{k: jnp.asarray(v[seeds], jnp.float32) for k, v in one.items()} for one in numbers]

    @jax.jit
    def step(params, memory, state, grad):
        pulled = grad
        if method.pull is not None:
            pulled = jax.tree.map(jnp.add, grad, method.pull(params, memory))
        updates, state = method.optimizer.update(pulled, state, params)
        new = optax.apply_updates(params, updates)
        if method.remember is not None:
            memory = method.remember(memory, params, new, grad)
        return new, memory, state

    params, *grads, fisher = of_seeds
    memory, state = jax.jit(lambda params: (method.start(params), method.optimizer.init(params)))(params)
    for iteration, grad in enumerate(grads, start=1):
        params, memory, state = step(params, memory, state, grad)
        if iteration == 3 and method.consolidate is not None:
            memory = jax.jit(method.consolidate)(memory, params, jax.tree.map(jnp.abs, fisher))
    reading = () if method.reading is None else (method.reading(iteration),)
    return params, jax.jit(method.weights)(params, memory, state, *reading)


def of_all(settings):
    """An optimizer that is not element-wise."""
    return optax.chain(optax.clip_by_global_norm(0.05), optax.adam(settings.lr))


def assert_alone_as_in_company(method):
    together, alone = some_iterations(method, [0, 1, 2, 3, 4]), some_iterations(method, [2])
    for one, five in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(five[2], one[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", few(NAMES, ["standard", "ewc", "si", "lwf", "cs", "cs-readout"]))
@pytest.mark.parametrize(
    ("decay", "base"),
    few(
        pairs([0.0, 0.1], ["as it is", "with a norm over all parameters"]),
        [(0.1, "as it is")],
    ),
)
def test_a_seed_learns_alone_as_among_five(name, decay, base, monkeypatch):
    if base != "as it is":
        monkeypatch.setattr(interface, "_plain", of_all)
    assert_alone_as_in_company(make_method(dataclasses.replace(SMALL, decay=decay), name))


@pytest.mark.slow
def test_a_training_with_a_norm_over_all_parameters_is_the_same_alone_and_among_five(monkeypatch):
    monkeypatch.setattr(interface, "_plain", of_all)
    together, (alone,) = (runs_made_for_this("cs", SMALL, seeds) for seeds in (range(5), [2]))
    np.testing.assert_allclose(together[2].loss, alone.loss, rtol=1e-4)


def project(params, memory):
    """A pull with a sum over all parameters."""
    scale = sum(jnp.vdot(p, p) for p in jax.tree.leaves(params))
    return jax.tree.map(lambda p: p / scale, params)


@pytest.mark.parametrize("elementwise", [False, True])
def test_a_method_is_mapped_over_seeds_unless_it_says_that_it_need_not_be(elementwise, monkeypatch):
    def mine(settings):
        return Method(optax.lamb(settings.lr), pull=project, elementwise=elementwise)

    monkeypatch.setitem(Settings.methods, "mine", Declaration(name="mine", make=mine))
    if elementwise:
        with pytest.raises(AssertionError):
            assert_alone_as_in_company(make_method(SMALL, "mine"))
    else:
        assert_alone_as_in_company(make_method(SMALL, "mine"))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", NAMES)
def test_the_methods_there_are_act_on_the_stacked_trees_as_they_are(name, optimizer):
    """Nothing is mapped: their counters are single numbers, and their programs those of plain Optax."""
    plain = getattr(optax, optimizer)(SMALL.lr)
    expected = {
        "cs": optax.chain(plain, complex_synapse(SMALL.beakers, SMALL.alpha, SMALL.beta)),
        "cs-published": getattr(published, optimizer)(
            SMALL.lr, n_beakers=SMALL.beakers, alpha=SMALL.alpha, beta=SMALL.beta
        ),
    }
    expected["cs-readout"] = expected["cs"]
    listening = complex_synapse(chain=BeakerChain.from_timescales(*record.TIMES), **record.LISTENING)
    expected["record"] = optax.chain(plain, listening)
    ours = make_method(dataclasses.replace(SMALL, optimizer=optimizer), name).optimizer
    theirs = expected.get(name, plain)
    params = {"w": jnp.ones((5, 4, 3))}
    state = theirs.init(params)
    assert jax.tree.structure(ours.init(params)) == jax.tree.structure(state)
    programs = [str(jax.make_jaxpr(tx.update)(params, state, params)) for tx in (ours, theirs)]
    assert programs[0] == programs[1]


TINY = dataclasses.replace(
    SMALL, tasks=2, iters=2, eval_log=2, fc_layers=1, decay=0.1, ewc_samples=5, replay_budget=2
)


@pytest.mark.parametrize("name", few(NAMES, ["cs-readout", "er"]))
def test_every_method_gives_the_same_with_64_bit_types_and_other_random_numbers_configured(name):
    (without,) = runs_of(name, TINY, seeds=[0])
    with jax.enable_x64(True), jax.default_prng_impl("rbg"):
        (run,) = runs_made_for_this(name, TINY, seeds=[0])
    np.testing.assert_array_equal(run.loss, without.loss)
    np.testing.assert_array_equal(run.accuracy, without.accuracy)


def test_the_fisher_information_has_the_dtype_of_its_parameters(x64):
    params = {"w": jnp.ones((1, 4, 3), jnp.float32)}
    x, tasks = jnp.ones((1, 6, 4), jnp.float32), jnp.zeros((1, 6), jnp.int32)
    estimated = fisher_information(
        lambda p, s, x, t: x @ p["w"], params, (), x, tasks, jax.random.key(0)[None]
    )
    assert estimated["w"].dtype == jnp.float32


@pytest.mark.parametrize("method", few(["ewc", "si", "lwf", "er"], ["lwf"]))
def test_what_protects_old_tasks_does_nothing_in_the_first(method):
    settings = dataclasses.replace(SMALL, si_strength=1e3, ewc_strength=1e6)
    for plain, run in zip(runs_of("standard", settings), runs_of(method, settings), strict=True):
        np.testing.assert_allclose(run.loss[:12], plain.loss[:12], rtol=1e-4)
        assert not np.allclose(run.loss[13:], plain.loss[13:], rtol=1e-3)


FORGETFUL = dataclasses.replace(
    SMALL, scenario="domain", iters=40, batch=32, fc_units=32, eval_log=200, loss_log=200, ewc_samples=100
)


def change_of_the_first_task(runs):
    """By how much its accuracy is another one at the end than right after it, mean over the seeds."""
    return np.mean([abs(run.accuracy_matrix[-1, 0] - run.accuracy_matrix[0, 0]) for run in runs])


@pytest.mark.parametrize(("method", "strength"), few([("ewc", 1e7), ("si", 1e3), ("l2", 1e3)], [("si", 1e3)]))
def test_a_strong_pull_holds_the_first_task(method, strength):
    """L2 holds it where it was before any training: there is then little to forget."""
    change_without_a_pull = change_of_the_first_task(runs_of("standard", FORGETFUL))
    settings = dataclasses.replace(FORGETFUL, **{f"{method}_strength": strength})
    assert change_without_a_pull > 0.3
    assert change_of_the_first_task(runs_of(method, settings)) < change_without_a_pull / 2


@pytest.mark.parametrize("method", few(["ewc", "si", "lwf", "er"], ["si", "lwf", "er"]))
def test_training_with_a_memory_is_its_slow_twin(method):
    settings = dataclasses.replace(SMALL, optimizer="sgd", lr=1.0, iters=10, eval_log=100, ewc_decay=0.5)
    settings = dataclasses.replace(settings, ewc_strength=10.0, si_strength=0.3, replay_budget=4)
    twin = Twin(settings, method, load("Digits"), seed=3)
    (run,) = runs_of(method, settings, [3])
    assert np.isfinite(run.loss).all()
    np.testing.assert_allclose(run.loss, twin.losses(), rtol=1e-3)


def test_the_average_is_the_mean_at_first_and_exponential_then():
    method = make_method(dataclasses.replace(SMALL, average_time=4.0), "average")
    trajectory = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    memory, expected = method.start(jnp.asarray(trajectory[0])), None
    for n, (old, new) in enumerate(itertools.pairwise(trajectory), start=1):
        memory = method.remember(memory, jnp.asarray(old), jnp.asarray(new), None)
        expected = trajectory[1 : n + 1].mean(axis=0) if n <= 4 else 0.75 * expected + 0.25 * new
        np.testing.assert_allclose(method.weights(new, memory, None), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_loss_that_is_recorded_is_that_of_the_new_samples_alone():
    """So that it can be compared: in the first iteration of the second task, methods alike so far agree."""
    settings = dataclasses.replace(SMALL, iters=1, eval_log=1, ewc_strength=0.0)
    losses = [runs_of(method, settings)[0].loss[:2] for method in ("standard", "ewc", "lwf", "er", "average")]
    for loss in losses[1:]:
        np.testing.assert_allclose(loss, losses[0], rtol=1e-5)


def test_the_pull_of_l2_is_the_gradient_of_its_penalty():
    method = make_method(dataclasses.replace(SMALL, l2_strength=3.0), "l2")
    first, now = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 4)), jnp.float32)
    penalty = jax.grad(lambda params: 1.5 * ((params - first) ** 2).sum())
    np.testing.assert_allclose(method.pull(now, method.start(first)), penalty(now), rtol=1e-5)


def test_the_pull_of_ewc_is_the_gradient_of_its_penalty():
    settings = dataclasses.replace(SMALL, ewc_strength=3.0, ewc_decay=0.5)
    method = make_method(settings, "ewc")
    random = np.random.default_rng(0)
    first, second, now, f1, f2 = (jnp.asarray(random.random((2, 4)), jnp.float32) for _ in range(5))
    memory = method.consolidate(method.start(first), first, f1)
    memory = method.consolidate(memory, second, f2)

    def penalty(params):
        return 1.5 * ((0.5 * f1 + f2) * (params - second) ** 2).sum()

    np.testing.assert_allclose(method.pull(now, memory), jax.grad(penalty)(now), rtol=1e-5)


def test_si_is_its_slow_twin():
    settings = dataclasses.replace(SMALL, si_strength=2.0, si_damping=0.3)
    method = make_method(settings, "si")
    random = np.random.default_rng(1)
    path = random.normal(size=(7, 5))
    grads = random.normal(size=(6, 5))
    memory = method.start(jnp.asarray(path[0]))
    importance, anchor = np.zeros(5), path[0]
    for part in (range(0, 3), range(3, 6)):
        gained = np.zeros(5)
        for i in part:
            memory = method.remember(memory, *map(jnp.asarray, (path[i], path[i + 1], grads[i])))
            gained -= grads[i] * (path[i + 1] - path[i])
        end = path[part[-1] + 1]
        memory = method.consolidate(memory, jnp.asarray(end), None)
        importance = np.maximum(importance + gained / ((end - anchor) ** 2 + 0.3), 0)
        anchor = end
    now = random.normal(size=5)
    expected = 2 * 2.0 * importance * (now - anchor)
    np.testing.assert_allclose(method.pull(jnp.asarray(now), memory), expected, rtol=1e-4)


def test_the_fisher_information_is_its_slow_twin():
    """Sample by sample, seed by seed, with the same labels; a number of samples that no block divides."""
    random = np.random.default_rng(0)
    params = {
        "w": jnp.asarray(random.normal(size=(2, 4, 3)), jnp.float32),
        "b": jnp.asarray(random.normal(size=(2, 3)), jnp.float32),
    }
    x = jnp.asarray(random.normal(size=(2, 28, 4)), jnp.float32)
    tasks = jnp.zeros((2, 28), jnp.int32)
    keys = jnp.stack([jax.random.key(5), jax.random.key(6)])

    def scores(params, state, x, tasks):
        return x @ params["w"] + params["b"]

    estimated = fisher_information(scores, params, (), x, tasks, keys)
    for seed in range(2):
        w, b = params["w"][seed], params["b"][seed]
        labels = jax.random.categorical(keys[seed], x[seed] @ w + b)
        of_w, of_b = np.zeros((4, 3)), np.zeros(3)
        for one, label in zip(x[seed], labels, strict=True):
            wrong = np.eye(3)[int(label)] - np.asarray(jax.nn.softmax(one @ w + b))
            of_w += np.outer(one, wrong) ** 2 / 28
            of_b += wrong**2 / 28
        np.testing.assert_allclose(estimated["w"][seed], of_w, rtol=1e-4)
        np.testing.assert_allclose(estimated["b"][seed], of_b, rtol=1e-4)


def test_the_fisher_information_is_right_on_average():
    """Its labels follow the prediction: over many samples it nears the sum over all labels."""
    w = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 2)), jnp.float32)
    x = jnp.ones((1, 20_000, 3))
    estimated = fisher_information(
        lambda params, state, x, tasks: x @ params,
        w,
        (),
        x,
        jnp.zeros((1, 20_000), jnp.int32),
        jax.random.key(0)[None],
    )[0]
    p = np.asarray(jax.nn.softmax(x[0, 0] @ w[0]))
    np.testing.assert_allclose(estimated, np.tile(p * (1 - p), (3, 1)), rtol=0.05)


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("n_done", [1, 3])
def test_distillation_is_its_slow_twin(scenario, n_done):
    problem = make_problem(dataclasses.replace(SMALL, scenario=scenario), load("Digits"))
    random = np.random.default_rng(n_done)
    new, old = random.normal(size=(2, 6, problem.n_outputs))
    temperature, expected = 1.7, 0.0
    for p, q in zip(new / temperature, old / temperature, strict=True):
        if scenario == "task":
            heads = [slice(2 * task, 2 * task + 2) for task in range(n_done)]
            parts = [-softmax(q[head]) @ np.log(softmax(p[head])) for head in heads]
            expected += np.mean(parts) / 6
        elif scenario == "domain":
            expected += -softmax(q) @ np.log(softmax(p)) / 6
        else:
            known = softmax(p[: 2 * n_done + 2])[: 2 * n_done]
            expected += -softmax(q[: 2 * n_done]) @ np.log(known) / 6
    found = distillation(problem, jnp.asarray(new), jnp.asarray(old), n_done, temperature)
    np.testing.assert_allclose(found, temperature**2 * expected, rtol=1e-5)
    assert np.isfinite(jax.grad(lambda o: distillation(problem, o, jnp.asarray(old), n_done, 2.0))(new)).all()


def test_distillation_of_nothing_is_nothing():
    problem = make_problem(SMALL, load("Digits"))
    assert distillation(problem, jnp.ones((3, 10)), jnp.ones((3, 10)), 0, 2.0) == 0


@pytest.mark.parametrize("scenario", ["task", "class"])
@pytest.mark.parametrize("experiment", ["splitDigits", "permDigits"])
def test_replay_shows_stored_samples_of_earlier_tasks(experiment, scenario):
    settings = dataclasses.replace(SMALL, experiment=experiment, scenario=scenario, replay_budget=3)
    problem = make_problem(settings, load("Digits"))
    samples = make_method(settings, "er").stream(settings, problem, 4)
    new = training_stream(settings, problem, seed=4)
    np.testing.assert_array_equal(samples.rows[:, :16], new.rows)
    np.testing.assert_allclose(samples.weights.sum(axis=1), 1, rtol=1e-6)
    for task in range(5):
        part = slice(12 * task, 12 * task + 12)
        np.testing.assert_allclose(samples.weights[part, :16].sum(axis=1), 1 / (task + 1), rtol=1e-6)
        if task:
            assert set(np.unique(samples.tasks[part, 16:])) == set(range(task))
    again, other = (replay_stream(settings, problem, seed) for seed in (4, 5))
    np.testing.assert_array_equal(samples.rows, again.rows)
    # The same three of each class whenever they are replayed, another three for another seed.
    stored, others = (np.unique(each.rows[12:, 16:][each.tasks[12:, 16:] == 0]) for each in (samples, other))
    assert set(stored) <= set(problem.train.members(0))
    assert np.bincount(problem.train.within[stored]).tolist() == [3] * problem.classes_per_task
    assert set(stored) != set(others)


@pytest.mark.parametrize("scenario", ["task", "class"])
def test_the_joint_stream_mixes_all_tasks_for_as_long(scenario):
    settings = dataclasses.replace(SMALL, scenario=scenario)
    problem = make_problem(settings, load("Digits"))
    samples = make_method(settings, "joint").stream(settings, problem, 0)
    assert samples.rows.shape == (60, 16)
    assert set(np.unique(samples.tasks[:5])) == set(range(5))
    for task in range(5):
        rows = samples.rows[samples.tasks == task]
        assert set(rows) <= set(problem.train.members(task))


def test_fisher_samples_are_of_their_task():
    problem = make_problem(SMALL, load("Digits"))
    samples = fisher_samples(SMALL, problem, seed=0)
    assert samples.rows.shape == (5, 30)
    for task, rows in enumerate(samples.rows):
        assert set(rows) <= set(problem.train.members(task))
        assert len(set(rows)) == 30
    assert not np.array_equal(samples.rows, fisher_samples(SMALL, problem, seed=1).rows)


@pytest.mark.parametrize("plain", [optax.adam, optax.sgd])
def test_complex_synapses_come_after_the_optimizer_and_without_weight_decay(plain):
    settings = dataclasses.replace(SMALL, optimizer=plain.__name__, decay=0.1)
    expected = optax.chain(plain(settings.lr), complex_synapse(3, alpha=5.0, beta=50.0))
    params, states = jnp.array([2.0, -1.0]), []
    for tx in (make_method(settings, "cs").optimizer, expected):
        now, state = params, tx.init(params)
        for step in range(5):
            updates, state = tx.update(jnp.sin(now + step), state, now)
            now = optax.apply_updates(now, updates)
        states.append((now, get_beakers(state)))
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_as_published_whatever_the_time_step_says():
    by_name = runs_of("cs-published")
    by_time_step = runs_of("cs", dataclasses.replace(SMALL, time_step="learning-rate"))
    for a, b in zip(by_name, by_time_step, strict=True):
        np.testing.assert_array_equal(a.loss, b.loss)


def test_a_slow_beaker_is_read_of_the_same_training():
    """The visible one is the network, and another one's accuracies are those that probes find."""
    cs, first, second = (
        runs_of(method, dataclasses.replace(SMALL, readout=readout))[0]
        for method, readout in (("cs", 0), ("cs-readout", 1), ("cs-readout", 2))
    )
    for run in (first, second):
        np.testing.assert_array_equal(run.loss, cs.loss)
    np.testing.assert_array_equal(first.accuracy, cs.accuracy)
    probed, _ = trained(SMALL, "cs", [0, 1], probed=True)
    np.testing.assert_allclose(probed.probes.accuracy[:, 1], second.accuracy, rtol=1e-6)
    assert not np.array_equal(second.accuracy, cs.accuracy)
    assert dataclasses.replace(SMALL, beakers=8).beaker_to_read == 5


@pytest.mark.parametrize("method", NEED_TASKS)
def test_a_stream_without_tasks_is_refused(method):
    random = dataclasses.replace(SMALL, stream="random")
    with pytest.raises(SettingsError, match=f"method {method}: must be told when a task ends"):
        validate_methods(random, ["standard", method])
    validate_methods(SMALL, ["standard", method])


@pytest.mark.parametrize(
    ("names", "message"),
    [(["standard", "magic"], "method magic: must be one of standard, cs"), (["cs", "cs"], "named once")],
)
def test_methods_that_cannot_be_meant_are_refused(names, message):
    with pytest.raises(SettingsError, match=message):
        validate_methods(SMALL, names)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ewc_strength", -1.0),
        ("ewc_decay", float("nan")),
        ("ewc_samples", 0),
        ("si_strength", float("inf")),
        ("si_damping", 0.0),
        ("lwf_temperature", 0.0),
        ("replay_budget", 0),
        ("l2_strength", -0.1),
        ("average_time", 0.5),
    ],
)
def test_strengths_that_cannot_be_meant_are_refused(name, value):
    with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')}"):
        validate(dataclasses.replace(SMALL, **{name: value}))
