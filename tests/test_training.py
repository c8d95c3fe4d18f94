"""Training: every combination runs, pairs are pairs, and looking does not disturb."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_runs
from scipy import stats
from small_networks import mlp
from tiers import few
from trainings import trained

from experiments.lab.data.dataset import Dataset, load
from experiments.lab.methods.interface import make_method
from experiments.lab.models.making import network_of
from experiments.lab.training import programs
from experiments.lab.training.devices import Spread
from experiments.lab.training.train import train as train_together

SMALL = dataclasses.replace(small_runs.SMALL, loss_log=3)


def quietly(_):
    pass


def train(settings, *arguments):
    (runs,), seconds = train_together([settings], *arguments)
    return runs, seconds


def one_seed(init, seed):
    """Initial weights of a single network."""
    return jax.tree.map(lambda leaf: leaf[0], init(jax.random.key(seed)[None]))


def learnable_dataset(name):
    """Two noisy copies of ten random pictures for each class, in the size of the real data."""
    random = np.random.default_rng(0)
    side, top = (8, 16) if name == "Digits" else (28, 255)
    pictures = random.integers(0, top, (10, side, side))

    def half(per_class):
        y = random.permutation(np.repeat(np.arange(10), per_class)).astype(np.uint8)
        noise = random.integers(-top // 8, top // 8, (len(y), side, side))
        return np.clip(pictures[y] + noise, 0, top).astype(np.uint8), y

    return Dataset(name, *half(20), *half(5), top, "made up", "0" * 64)


# Each value of one choice with each of every other.
@pytest.mark.parametrize(
    ("data", "kind", "scenario", "stream"),
    few(
        [
            ("MNIST", "split", "task", "task-based"),
            ("FashionMNIST", "perm", "domain", "task-based"),
            ("Digits", "perm", "class", "task-based"),
            ("FashionMNIST", "perm", "task", "random"),
            ("Digits", "split", "domain", "random"),
            ("MNIST", "split", "class", "random"),
            ("Digits", "perm", "task", "gradual"),
            ("MNIST", "perm", "domain", "gradual"),
            ("FashionMNIST", "split", "class", "gradual"),
        ],
        [("Digits", "perm", "class", "task-based"), ("Digits", "split", "domain", "random")],
    ),
)
def test_every_pair_of_choices_runs(data, kind, scenario, stream):
    settings = dataclasses.replace(SMALL, experiment=f"{kind}{data}", scenario=scenario, stream=stream)
    runs, seconds = train(settings, "cs", [0, 1], learnable_dataset(data), quietly)
    total, rows = (6, 1) if stream == "random" else (30, 5)
    for run in runs:
        at_task_ends = range(6, total, 6)
        assert run.evaluated_at.tolist() == sorted({*range(0, total, 4), *at_task_ends, total})
        assert run.logged_at.tolist() == list(range(3, total + 1, 3))
        assert run.accuracy.shape == (len(run.evaluated_at), 5)
        assert run.accuracy_matrix.shape == (rows, 5)
        assert run.initial_accuracy.shape == (5,)
        assert run.matrix_at[-1] == total
        assert np.isfinite(run.loss).all()
        assert run.diverged_at is None
        assert np.all((run.accuracy >= 0) & (run.accuracy <= 1))
        assert run.final_accuracy == pytest.approx(run.accuracy_matrix[-1].mean())
    assert not np.array_equal(runs[0].loss, runs[1].loss)
    assert seconds.compile > 0
    assert seconds.train > 0


@pytest.mark.parametrize("scenario", few(["task", "domain", "class"], ["domain"]))
def test_what_is_shown_is_learned(scenario):
    """One task at a time, each is known right after it was trained, and in a random stream all are."""
    settings = dataclasses.replace(SMALL, scenario=scenario, iters=150, fc_units=50, batch=32, eval_log=50)
    data = load("Digits")
    (run,), _ = train(settings, "standard", [0], data, quietly)
    assert np.diag(run.accuracy_matrix).min() > 0.9
    mixed = dataclasses.replace(settings, stream="random", iters=600)
    (run,), _ = train(mixed, "standard", [0], data, quietly)
    assert run.accuracy_matrix[-1].min() > (0.8 if scenario == "domain" else 0.9)


@pytest.mark.parametrize("method", few(["standard", "cs"], ["cs"]))
def test_an_evaluation_at_another_interval_leaves_the_training_bit_identical(method):
    settings = dataclasses.replace(SMALL, loss_log=1)
    (often,) = trained(dataclasses.replace(settings, eval_log=1), method, [4])
    (seldom,) = trained(dataclasses.replace(settings, eval_log=30), method, [4])
    np.testing.assert_array_equal(often.loss, seldom.loss)
    np.testing.assert_array_equal(often.accuracy_matrix, seldom.accuracy_matrix)
    np.testing.assert_array_equal(often.accuracy[-1], seldom.accuracy[-1])


def test_a_subset_that_is_the_whole_test_set_leaves_no_empty_evaluation(monkeypatch):
    shown = []

    def watched(*what):
        network = network_of(*what)

        def answer(params, state, x):
            shown.append(x.shape)
            return network.answer(params, state, x)

        return network._replace(answer=answer)

    monkeypatch.setattr("experiments.lab.training.compiled.network_of", watched)
    (run,), _ = train(dataclasses.replace(SMALL, eval_n=1024), "standard", [0], load("Digits"), quietly)
    assert shown
    assert all(min(shape) > 0 for shape in shown)
    ends = np.isin(run.evaluated_at, run.matrix_at)
    np.testing.assert_array_equal(run.accuracy[ends], run.accuracy_matrix)


def test_methods_start_from_the_same_weights_and_see_the_same_batches():
    """Before the first update the losses agree, and without any flow they always do."""
    settings = dataclasses.replace(SMALL, loss_log=1, beakers=1, beta=1e30)
    data = load("Digits")
    with pytest.warns(UserWarning, match="hardly anything"):
        still, _ = train(dataclasses.replace(settings, alpha=1e30), "cs", [0, 1], data, quietly)
    standard, _ = train(settings, "standard", [0, 1], data, quietly)
    moving, _ = train(dataclasses.replace(settings, beakers=4, beta=100.0), "cs", [0, 1], data, quietly)
    for a, b, c in zip(standard, still, moving, strict=True):
        np.testing.assert_allclose(b.loss, a.loss, rtol=1e-4)
        assert c.loss[0] == a.loss[0]
        assert not np.allclose(c.loss[10:], a.loss[10:], rtol=1e-4)


def test_a_seed_trains_the_same_alone_and_in_company():
    """Up to the rounding of differently batched products."""
    together, (alone,) = trained(SMALL, "cs", [7, 8, 9]), trained(SMALL, "cs", [8])
    np.testing.assert_allclose(together[1].loss, alone.loss, rtol=1e-3)


def test_training_is_its_slow_twin():
    """A plain loop, one seed, one batch at a time, through the data as a human would write it."""
    from experiments.lab.tasks.problems import make_problem
    from experiments.lab.tasks.streams import training_stream

    settings = dataclasses.replace(SMALL, experiment="permDigits", scenario="class", loss_log=1)
    data, seed = load("Digits"), 2
    (run,), _ = train(settings, "cs", [seed], data, quietly)
    problem = make_problem(settings, data)
    stream, orders = training_stream(settings, problem, seed), problem.permutations(seed)
    init, apply = mlp(64, 8, 8, 50)
    params = one_seed(init, seed)
    tx = make_method(settings, "cs").optimizer
    state, losses = tx.init(params), []

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    for rows, tasks in zip(stream.rows, stream.tasks, strict=True):
        images = [data.x_train[row].ravel()[orders[task]] / 16 for row, task in zip(rows, tasks, strict=True)]
        labels = [10 * task + data.y_train[row] for row, task in zip(rows, tasks, strict=True)]
        params, state, value = step(params, state, jnp.asarray(images, jnp.float32), jnp.asarray(labels))
        losses.append(value)
    np.testing.assert_allclose(run.loss, losses, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "name", "values"),
    few(
        [
            ("standard", "lr", (0.001, 0.01)),
            ("cs", "alpha", (4.0, 16.0)),
            ("ewc", "ewc_strength", (0.0, 1e4)),
            ("lwf", "lwf_temperature", (1.0, 4.0)),
            ("average", "average_time", (2.0, 20.0)),
        ],
        lambda method, *_: method == "cs",
    ),
)
def test_configurations_train_the_same_alone_and_together(method, name, values):
    data = load("Digits")
    base = dataclasses.replace(SMALL, ewc_samples=20, lr=0.01)
    configurations = [dataclasses.replace(base, **{name: value}) for value in values]
    together, _ = train_together(configurations, method, [3, 4], data, quietly)
    for one, runs in zip(configurations, together, strict=True):
        alone, _ = train(one, method, [3, 4], data, quietly)
        for run, expected in zip(runs, alone, strict=True):
            assert run.seed == expected.seed
            np.testing.assert_allclose(run.loss, expected.loss, rtol=2e-3)
            np.testing.assert_allclose(run.accuracy_matrix, expected.accuracy_matrix, atol=0.03)
    one, other = (runs[0].loss for runs in together)
    assert np.array_equal(one, other) == (method == "average")  # which does not change the training


def test_a_number_that_is_an_argument_changes_nothing():
    data = load("Digits")
    (named,), _ = train_together([SMALL], "cs", [3], data, quietly, None, ("alpha", "beta", "lr"))
    (constant,), _ = train_together([SMALL], "cs", [3], data, quietly)
    np.testing.assert_allclose(named[0].loss, constant[0].loss, rtol=1e-3)


def test_what_changes_shapes_cannot_train_together():
    configurations = [SMALL, dataclasses.replace(SMALL, beakers=4)]
    with pytest.raises(AssertionError, match="beakers"):
        train_together(configurations, "cs", [0], load("Digits"), quietly)


def test_a_shuffled_class_order_is_the_canonical_one_of_renamed_classes():
    """Training on data whose classes have been renamed by hand is the same to the last bit."""
    from experiments.lab.tasks.problems import make_problem

    data, seed = load("Digits"), 5
    shuffled = dataclasses.replace(SMALL, class_order="shuffled", scenario="class")
    places = make_problem(shuffled, data).places(seed)
    renamed = dataclasses.replace(
        data, y_train=places[data.y_train].astype(np.uint8), y_test=places[data.y_test].astype(np.uint8)
    )
    (run,), _ = train(shuffled, "cs", [seed], data, quietly)
    (expected,), _ = train(dataclasses.replace(SMALL, scenario="class"), "cs", [seed], renamed, quietly)
    np.testing.assert_array_equal(run.loss, expected.loss)
    np.testing.assert_array_equal(run.accuracy_matrix, expected.accuracy_matrix)
    assert not np.array_equal(places, np.arange(10))


def test_the_test_data_are_not_looked_at_when_validating():
    data = load("Digits")
    spoilt = dataclasses.replace(data, x_test=np.zeros_like(data.x_test), y_test=data.y_test[::-1].copy())
    settings = dataclasses.replace(SMALL, evaluate_on="validation")
    (run,), _ = train(settings, "standard", [0], data, quietly)
    (expected,), _ = train(settings, "standard", [0], spoilt, quietly)
    np.testing.assert_array_equal(run.accuracy_matrix, expected.accuracy_matrix)


def test_the_initial_accuracy_is_that_of_the_initial_weights():
    """A step that is too small to move anything leaves it as it was."""
    still = dataclasses.replace(SMALL, optimizer="sgd", lr=1e-30)
    (run,) = trained(still, "standard", [0])
    np.testing.assert_array_equal(run.accuracy_matrix, np.tile(run.initial_accuracy, (5, 1)))


@pytest.mark.parametrize("method", few(["standard", "ewc"], ["ewc"]))
def test_the_full_evaluation_at_the_end_alone_leaves_out_the_rows_before(method):
    (often,) = trained(SMALL, method, [0])
    (once,) = trained(dataclasses.replace(SMALL, full_eval="end"), method, [0])
    np.testing.assert_array_equal(once.accuracy_matrix, often.accuracy_matrix[-1:])
    np.testing.assert_array_equal(once.matrix_at, often.matrix_at[-1:])
    for name in ("loss", "accuracy", "evaluated_at", "initial_accuracy", "final_accuracy"):
        np.testing.assert_array_equal(getattr(once, name), getattr(often, name))


def test_accuracy_of_many_blocks_is_that_of_one(monkeypatch):
    (one_block,) = trained(SMALL, "standard", [0])
    monkeypatch.setattr(programs, "EVALUATION_BLOCK", 7)
    (many,), _ = train(SMALL, "standard", [0], load("Digits"), quietly)
    np.testing.assert_array_equal(one_block.accuracy_matrix, many.accuracy_matrix)
    np.testing.assert_array_equal(one_block.accuracy, many.accuracy)


@pytest.mark.slow
def test_the_accuracy_matrix_does_not_depend_on_the_subset():
    """Nor on how large it is for each seed: 71 samples are more than some tasks have, not than all."""
    matrices = []
    for eval_n in (7, 71, 1024):
        settings = dataclasses.replace(SMALL, class_order="shuffled", eval_n=eval_n, ewc_samples=10**6)
        runs = trained(settings, "ewc", [0, 1, 2])
        matrices.append([run.accuracy_matrix for run in runs])
    for run in runs:  # the subset of 1024 samples of each task is the test set
        at_ends = np.isin(run.evaluated_at, run.matrix_at)
        np.testing.assert_array_equal(run.accuracy[at_ends], run.accuracy_matrix)
    np.testing.assert_array_equal(matrices[0], matrices[1])
    np.testing.assert_array_equal(matrices[0], matrices[2])


def test_tasks_seen_begin_with_the_first_and_end_with_all():
    (run,) = trained(SMALL, "standard", [0])
    assert run.evaluated_at.tolist() == [0, 4, 6, 8, 12, 16, 18, 20, 24, 28, 30]
    assert run.seen.sum(axis=1).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    np.testing.assert_array_equal(np.sort(run.seen, axis=1)[:, ::-1], run.seen)


@pytest.mark.parametrize(("stream", "total"), few([("task-based", 30), ("random", 6)], [("random", 6)]))
def test_intervals_longer_than_the_run_mean_at_its_start_and_end_only(stream, total):
    settings = dataclasses.replace(SMALL, stream=stream, loss_log=1000, eval_log=1000)
    often = dataclasses.replace(settings, loss_log=1)
    (run,) = trained(settings, "standard", [0])
    (every,) = trained(often, "standard", [0])
    assert run.evaluated_at.tolist() == [0, *run.matrix_at]
    assert run.logged_at.tolist() == [total]
    assert run.loss == pytest.approx([every.loss.mean()])


@pytest.mark.parametrize("stream", ["task-based", "random"])
def test_accuracies_are_exact_fractions(stream):
    data = load("Digits")
    settings = dataclasses.replace(SMALL, stream=stream)
    (run,) = trained(settings, "standard", [0])
    shown = np.bincount(data.y_test // 2)
    right = np.rint(run.accuracy_matrix * shown)
    np.testing.assert_array_equal(run.accuracy_matrix, right / shown)
    np.testing.assert_array_equal(run.accuracy, np.rint(run.accuracy * 20) / 20)
    assert run.accuracy.dtype == np.float64


def test_a_training_that_diverges_says_since_when_and_is_never_right():
    settings = dataclasses.replace(SMALL, optimizer="sgd", lr=1e30, loss_log=1)
    runs = trained(settings, "standard", [0, 1])
    for run in runs:
        assert run.diverged_at == run.logged_at[~np.isfinite(run.loss)][0] > 1
        assert run.final_accuracy == 0
        assert not run.accuracy[run.evaluated_at > run.diverged_at].any()


def test_a_training_that_diverges_after_the_last_record_of_its_loss_says_so():
    settings = dataclasses.replace(SMALL, optimizer="sgd", lr=1e11, stream="random", iters=3, loss_log=2)
    (run,) = trained(settings, "standard", [0])
    assert run.logged_at.tolist() == [2]
    assert np.isfinite(run.loss).all()
    assert run.diverged_at == 3


def test_reports_come_at_every_log_point():
    reports = []
    train(SMALL, "standard", [0, 1], load("Digits"), reports.append)
    expected = sorted({0, *range(3, 31, 3), *range(4, 31, 4), *range(6, 31, 6), 30})
    assert [report.iteration for report in reports] == expected
    assert all(report.total == 30 and report.losses.shape == (2,) for report in reports)
    assert np.isnan(reports[0].losses).all()
    assert all(np.isfinite(report.losses).all() for report in reports[1:])


@pytest.mark.parametrize("stream", ["task-based", "random"])
def test_reports_tell_the_accuracy_over_the_tasks_seen_so_far(stream):
    reports = []
    settings = dataclasses.replace(SMALL, stream=stream, loss_log=1)
    runs, _ = train(settings, "standard", [0, 1], load("Digits"), reports.append)
    first, *evaluations = zip(*(run.accuracy_so_far for run in runs), strict=True)
    assert np.isnan(first).all()
    assert reports[0].mean_so_far is None
    for report in reports[1:]:
        evaluated = report.iteration in runs[0].evaluated_at
        expected = pytest.approx(np.mean(evaluations.pop(0))) if evaluated else None
        assert report.mean_so_far == expected
    assert not evaluations


def test_initial_weights_are_uniform_within_the_inverse_root_of_the_fan_in():
    init, _ = mlp(100, 400, 10)
    params = one_seed(init, 0)
    leaves = jax.tree.leaves(params)
    assert sorted(leaf.shape for leaf in leaves) == [(10,), (100, 400), (400,), (400, 10)]
    for leaf in leaves:
        bound = {(100, 400): 0.1, (400,): 0.1, (400, 10): 0.05, (10,): 0.05}[leaf.shape]
        assert np.abs(leaf).max() <= bound
        assert stats.kstest(np.ravel(leaf), "uniform", (-bound, 2 * bound)).pvalue > 1e-4


def test_the_network_is_linear_layers_with_relu_in_between():
    init, apply = mlp(4, 6, 3)
    params = one_seed(init, 0)
    of_shape = {leaf.shape: np.asarray(leaf) for leaf in jax.tree.leaves(params)}
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    hidden = np.maximum(x @ of_shape[4, 6] + of_shape[6,], 0)
    np.testing.assert_allclose(apply(params, x), hidden @ of_shape[6, 3] + of_shape[3,], rtol=1e-5, atol=1e-6)


def test_weight_decay_is_added_to_the_gradient_of_the_standard_method():
    params = jnp.array([2.0])
    settings = dataclasses.replace(SMALL, optimizer="sgd", lr=0.1, decay=0.5)
    tx = make_method(settings, "standard").optimizer
    updates, _ = tx.update(jnp.array([1.0]), tx.init(params), params)
    np.testing.assert_allclose(updates, [-0.1 * (1.0 + 0.5 * 2.0)])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_learning_rate_time_step_is_the_published_optimizer(optimizer):
    from cs_optax import published

    settings = dataclasses.replace(SMALL, optimizer=optimizer, time_step="learning-rate", lr=0.5)
    published = {"adam": published.adam, "sgd": published.sgd}[optimizer]
    expected = published(0.5, n_beakers=5, alpha=4.0, beta=64.0)
    params = jnp.array([2.0, -1.0])
    ours = make_method(settings, "cs").optimizer
    states = ours.init(params), expected.init(params)
    for step in range(5):
        grads = jnp.sin(params + step)
        (mine, one), (theirs, two) = (
            tx.update(grads, state, params) for tx, state in zip((ours, expected), states, strict=True)
        )
        states = one, two
        np.testing.assert_array_equal(mine, theirs)


def test_the_end_of_a_task_takes_no_memory_but_that_of_what_it_replaces(monkeypatch):
    made, compiled = [], Spread.compile
    monkeypatch.setattr(
        Spread, "compile", lambda *given, **how: made.append(compiled(*given, **how)) or made[-1]
    )
    train(dataclasses.replace(SMALL, tasks=2, ewc_samples=20), "ewc", [0, 1], load("Digits"), quietly)
    memory = made[-1].memory_analysis()
    counters = (
        64 + memory.output_size_in_bytes // 100
    )  # what the compiled program makes anew, such as its tuple
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < counters
