"""The published optimizers, step by step: see tests/goldens/README.md."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cs_optax import get_beakers, published

GOLDENS = Path(__file__).parent / "goldens"
CASES = json.loads((GOLDENS / "manifest.json").read_text())
TRAININGS = json.loads((GOLDENS / "train_manifest.json").read_text())


def published_optimizer(case):
    chain = {name: case[name] for name in ("n_beakers", "alpha", "beta", "init")}
    if case["optimizer"] == "sgd":
        return published.sgd(case["lr"], **chain)
    return published.adam(case["lr"], case["b1"], case["b2"], case["eps"], **chain)


@pytest.mark.filterwarnings("ignore:alpha=.* are far apart", "ignore:the shortest timescale, 500")
@pytest.mark.parametrize("name", CASES)
def test_every_step_of_the_published_trajectories(name, x64):
    case = CASES[name]
    data = np.load(GOLDENS / f"{name}.npz")
    names = [key.removeprefix("params0/") for key in data if key.startswith("params0/")]
    params = {n: jnp.asarray(data[f"params0/{n}"]) for n in names}
    grads = {n: jnp.asarray(data[f"grads/{n}"]) for n in names}
    tx = published_optimizer(case)

    def step(carry, grad):
        params, state = carry
        updates, state = tx.update(grad, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, get_beakers(state))

    _, (trajectory, beakers) = jax.jit(lambda p, g: jax.lax.scan(step, (p, tx.init(p)), g))(params, grads)
    tolerance = 5e-6 if case["dtype"] == "float32" else 1e-12
    assert len(beakers) == max(case["n_beakers"] - 1, 0)
    for n in names:
        assert trajectory[n].dtype == case["dtype"]
        np.testing.assert_allclose(trajectory[n], data[f"params/{n}"], rtol=tolerance, atol=tolerance)
        for k, beaker in enumerate(beakers):
            np.testing.assert_allclose(beaker[n], data[f"beakers/{n}"][:, k], rtol=tolerance, atol=tolerance)


def test_every_golden_file_is_used():
    files = {path.stem for path in GOLDENS.glob("*.npz")}
    assert files == set(CASES) | set(TRAININGS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_whole_trainings_on_split_mnist(name, mnist_dir):
    from experiments.lab.data.dataset import load

    case = TRAININGS[name]
    golden = np.load(GOLDENS / f"{name}.npz")
    data = load("MNIST", mnist_dir)
    x_train, x_test = (x.reshape(len(x), -1) / np.float32(255) for x in (data.x_train, data.x_test))
    tx = published_optimizer(case)
    in_task = case["scenario"] == "task"

    def logits(params, x):
        for layer in (1, 2):
            x = jax.nn.relu(x @ params[f"w{layer}"] + params[f"b{layer}"])
        return x @ params["w3"] + params["b3"]

    def task_logits(params, x, task):
        return jax.lax.dynamic_slice_in_dim(logits(params, x), 2 * task, 2, axis=1)

    def loss(params, x, y, task):
        scores, y = (task_logits(params, x, task), y % 2) if in_task else (logits(params, x), y)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()

    samples = jnp.asarray(x_train), jnp.asarray(data.y_train, jnp.int32)

    @jax.jit
    def train(params, state, samples, indices, task):
        def step(carry, index):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, *(half[index] for half in samples), task)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, state), indices)

    def accuracy(params, task):
        chosen = data.y_test // 2 == task
        y = data.y_test[chosen]
        scores = task_logits(params, x_test[chosen], task) if in_task else logits(params, x_test[chosen])
        return float(np.mean(np.argmax(scores, axis=1) == (y % 2 if in_task else y)))

    params = {n: jnp.asarray(golden[f"init/{n}"]) for n in ("w1", "b1", "w2", "b2", "w3", "b3")}
    carry = params, tx.init(params)
    losses, matrix = [], []
    for task, indices in enumerate(np.split(golden["indices"], case["tasks"])):
        carry, values = train(*carry, samples, jnp.asarray(indices), task)
        losses.append(values)
        matrix.append([accuracy(carry[0], other) for other in range(case["tasks"])])
    np.testing.assert_allclose(np.concatenate(losses)[:50], golden["loss"][:50], rtol=1e-3)
    np.testing.assert_allclose(matrix, golden["accuracy"], atol=0.05)
