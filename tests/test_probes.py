"""What the beakers hold, measured without disturbing them."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs
from small_networks import mlp
from tiers import few
from trainings import trained

from cs_optax import diagnose
from experiments import run
from experiments.lab.data.dataset import load
from experiments.lab.methods.interface import make_method
from experiments.lab.results import stamps, store
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.probes import distances_and_flows, layer_names
from experiments.lab.training.train import train

SMALL = dataclasses.replace(small_runs.SMALL, beakers=3)


def probed(method="cs", seeds=(3, 4)):
    return trained(SMALL, method, seeds, probed=True)


@pytest.mark.parametrize("method", few(["cs", "cs-published"], ["cs"]))
def test_probes_leave_the_training_as_it_is(method):
    for one, other in zip(probed(method), trained(SMALL, method, [3, 4]), strict=True):
        np.testing.assert_array_equal(one.loss, other.loss)
        np.testing.assert_array_equal(one.accuracy_matrix, other.accuracy_matrix)
        assert other.probes is None


def test_the_first_beaker_is_the_network():
    for one in probed():
        evaluations = len(one.evaluated_at)
        assert one.probes.layers == ["layers.0", "layers.1", "layers.2"]
        assert one.probes.distance.shape == one.probes.flow.shape == (evaluations, 3, 3)
        np.testing.assert_allclose(one.probes.accuracy[:, 0], one.accuracy, rtol=1e-6)
        assert not one.probes.distance[:, 0].any()


def test_all_beakers_start_as_the_weights_and_then_lag_behind():
    for one in probed():
        assert not one.probes.distance[0].any()
        np.testing.assert_allclose(one.probes.accuracy[0], np.tile(one.accuracy[0], (3, 1)))
        later = one.probes.distance[3:]
        assert (later[:, 2] > later[:, 1]).all()
        assert (later[:, 1] > 0).all()


@pytest.mark.parametrize("method", ["cs", "cs-published"])
def test_they_are_what_the_library_diagnoses(method):
    """Over all layers, one seed at a time, in the unit of the method's time."""
    settings = dataclasses.replace(SMALL, lr=0.01)
    init, _ = mlp(5, 4, 2)
    params = init(jax.random.split(jax.random.key(0), 2))
    tx = make_method(settings, method).optimizer
    state = tx.init(params)

    @jax.jit
    def update(params, state, step):
        grads = jax.tree.map(lambda p: jnp.sin(37 * p + step), params)
        updates, state = tx.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    for step in range(20):
        params, state = update(params, state, step)
    distance, flow = distances_and_flows(settings.of_method(method), params, state)
    expected = diagnose(state, params)
    counts = np.array([5 * 4 + 4, 4 * 2 + 2])[:, None]
    iteration = settings.lr if method == "cs-published" else 1.0
    assert layer_names(params) == ["layers.0", "layers.1"]
    for ours, theirs in ((distance, expected.distances), (flow / iteration, expected.flows)):
        total = np.sqrt((np.square(ours) * counts).sum(axis=(1, 2)))
        np.testing.assert_allclose(total, theirs, rtol=1e-4)


@pytest.mark.slow
def test_they_survive_a_stop(tmp_path):
    def stop(progress):
        if progress.iteration == 12:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    with pytest.raises(KeyboardInterrupt):
        train([SMALL], "cs", [3], load("Digits"), stop, checkpoints, probed=True)
    ((one,),), _ = train([SMALL], "cs", [3], load("Digits"), lambda _: None, checkpoints, probed=True)
    (expected,) = probed(seeds=[3])
    for name in ("distance", "flow", "accuracy"):
        np.testing.assert_array_equal(getattr(one.probes, name), getattr(expected.probes, name))


def test_they_are_kept_with_the_run(tmp_path):
    (one,) = probed(seeds=[3])
    identity = stamps.identity(SMALL, "cs", 3, "abc")
    store.save_run(tmp_path, identity, one, {})
    again = store.find_run(tmp_path, identity).run
    assert again.probes.layers == one.probes.layers
    for name in ("distance", "flow", "accuracy"):
        np.testing.assert_array_equal(getattr(again.probes, name), getattr(one.probes, name))


SHORT = [
    *("--experiment=splitDigits", "--iters=6", "--batch=16", "--fc-units=8"),
    *("--eval-n=20", "--alpha=4", "--beta=64"),
]


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_them_is_trained_again_where_they_are_asked_for(tmp_path, capsys):
    folders = [f"--results-dir={tmp_path / 'results'}", f"--plot-dir={tmp_path / 'plots'}"]

    def probes(*more):
        assert run.main([*SHORT, "--cs", *folders, *more]) == 0
        out = capsys.readouterr().out
        path = out.splitlines()[-1].removeprefix("summary: ")
        return "found again" in out, json.loads(Path(path).read_text())["methods"]["cs"]["probes"]

    assert probes() == (False, None)
    again, measured = probes("--probes")
    assert not again
    assert np.array(measured["accuracy"]).shape == (6, 5, 5)
    assert probes() == (True, measured)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--method=ewc"], "needs one of the methods cs, cs-readout, cs-published"),
        (["--cs", "--beakers=1"], "needs --beakers of 2 or more, not 1"),
    ],
)
def test_what_has_no_beakers_cannot_be_probed(tmp_path, capsys, wrong, message):
    assert run.main([*SHORT, "--probes", *wrong, f"--results-dir={tmp_path / 'results'}"]) == 2
    assert f"error: --probes: {message}\n" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
