"""Runs divided among devices: the same results, and no device hears of another."""

import dataclasses
import re
import types

import jax
import numpy as np
import pytest
import small_runs
import trainings
from tiers import few

from experiments.lab.data.dataset import load
from experiments.lab.system.errors import SettingsError
from experiments.lab.training import devices as lab_devices
from experiments.lab.training.checkpoints import Checkpoints
from experiments.lab.training.devices import Spread, local_devices, team_size
from experiments.lab.training.train import train

SMALL = dataclasses.replace(small_runs.SMALL, eval_log=6, loss_log=3, beakers=3, ewc_samples=20)
COLLECTIVE = re.compile("all-reduce|all-gather|all-to-all|collective|reduce-scatter")


def trained(devices, method="cs", lrs=(0.01,), seeds=(3, 4, 5), observe=lambda progress: None, **more):
    """All that train together, made for this test, whose spread may be another one."""
    configurations = [dataclasses.replace(SMALL, lr=lr) for lr in lrs]
    groups, _ = train(configurations, method, list(seeds), load("Digits"), observe, devices=devices, **more)
    return [run for group in groups for run in group]


def of_one_device(method="cs", seeds=(3, 4, 5)):
    return trainings.trained(dataclasses.replace(SMALL, lr=0.01), method, seeds)


def assert_close(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        assert (one.method, one.seed) == (other.method, other.seed)
        np.testing.assert_allclose(one.loss, other.loss, rtol=2e-3)
        np.testing.assert_allclose(one.accuracy_matrix, other.accuracy_matrix, atol=0.03)
        np.testing.assert_array_equal(one.seen, other.seen)


@pytest.fixture
def programs(monkeypatch):
    """All that are compiled for several devices, as text."""
    texts = []
    compiled = Spread.compile

    def recorded(self, *arguments, **options):
        program = compiled(self, *arguments, **options)
        if self.n_devices > 1:
            texts.append(program.as_text())
        return program

    monkeypatch.setattr(Spread, "compile", recorded)
    return texts


def assert_nothing_is_communicated(programs):
    assert len(programs) >= 4
    for text in programs:
        assert not COLLECTIVE.search(text)


@pytest.mark.parametrize(
    ("method", "lrs", "devices"),
    few(
        [
            ("standard", (0.01,), 3),
            ("cs", (0.01,), 2),  # two seeds on one device, the third and one that fills on the other
            ("cs-published", (0.01,), 8),  # more devices than seeds
            ("ewc", (0.01,), 3),
            ("lwf", (0.01,), 3),
            ("er", (0.01,), 2),
            ("average", (0.01,), 3),
            ("cs", (0.01, 0.02, 0.005, 0.001), 4),  # by configurations
            ("ewc", (0.01, 0.02), 3),  # by seeds
        ],
        [("ewc", (0.01, 0.02), 3)],
    ),
)
def test_the_results_are_the_same_and_nothing_is_communicated(method, lrs, devices, programs):
    ours = trained(devices, method, lrs)
    assert_nothing_is_communicated(programs)
    assert_close(ours, of_one_device(method) if len(lrs) == 1 else trained(1, method, lrs))


@pytest.mark.slow
def test_probes_are_the_same(programs):
    one, many = (trained(devices, probed=True) for devices in (1, 3))
    assert_nothing_is_communicated(programs)
    for a, b in zip(one, many, strict=True):
        for name in ("distance", "flow", "accuracy"):
            np.testing.assert_allclose(getattr(a.probes, name), getattr(b.probes, name), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 3)])
def test_a_training_goes_on_with_another_number_of_devices(before, after, tmp_path):
    def stop(progress):
        if progress.iteration == 12:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    with pytest.raises(KeyboardInterrupt):
        trained(before, observe=stop, checkpoints=checkpoints)
    assert_close(trained(after, checkpoints=checkpoints), of_one_device())
    assert checkpoints.resumed_at == 12


@pytest.mark.slow
@pytest.mark.parametrize(("method", "devices"), [("cs", 1), ("ewc", 1), ("er", 2)])
def test_seeds_that_take_turns_train_the_same_as_together(method, devices, monkeypatch):
    seeds = range(4 * devices)
    ours = trained(devices, method, seeds=seeds)
    monkeypatch.setattr(lab_devices, "FEW", len(seeds))
    assert_close(ours, trained(devices, method, seeds=seeds))


@pytest.mark.slow
def test_probes_of_seeds_that_take_turns_are_theirs(monkeypatch):
    turns = trained(1, probed=True, seeds=range(4))
    monkeypatch.setattr(lab_devices, "FEW", 4)
    for a, b in zip(turns, trained(1, probed=True, seeds=range(4)), strict=True):
        np.testing.assert_allclose(a.probes.distance, b.probes.distance, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(a.probes.flow, b.probes.flow, rtol=1e-2, atol=1e-7)
        np.testing.assert_allclose(a.probes.accuracy, b.probes.accuracy, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "devices"), [(2, 4, 1), (4, 2, 1), (2, 1, 2)])
def test_a_training_goes_on_with_other_teams(before, after, devices, tmp_path, monkeypatch):
    def stop(progress):
        if progress.iteration == 12:
            raise KeyboardInterrupt

    checkpoints = Checkpoints(tmp_path, "one", every=1e9, resume=True)
    monkeypatch.setattr(lab_devices, "FEW", before)
    with pytest.raises(KeyboardInterrupt):
        trained(1, observe=stop, checkpoints=checkpoints, seeds=range(4))
    monkeypatch.setattr(lab_devices, "FEW", after)
    ours = trained(devices, checkpoints=checkpoints, seeds=range(4))
    assert checkpoints.resumed_at == 12
    assert_close(ours, of_one_device(seeds=range(4)))


@pytest.mark.parametrize(
    ("seeds", "devices", "size"), [(10, 1, 2), (10, 2, 10), (20, 2, 4), (3, 8, 3), (9, 1, 3)]
)
def test_teams_are_small_and_fill_the_devices_evenly(seeds, devices, size):
    teams = Spread(1, seeds, jax.devices()[:devices]).teams(range(seeds))
    assert {len(team) for team in teams} == {size}
    assert [seed for team in teams for seed in team] == [*range(seeds)]


def test_neither_configurations_that_train_together_nor_accelerators_take_turns():
    assert Spread(2, 4, jax.devices()[:1]).teams(range(4)) == [[0, 1, 2, 3]]
    assert team_size(4, 1, [types.SimpleNamespace(platform="gpu")]) == 4


@pytest.mark.parametrize(
    ("configurations", "seeds", "devices", "used", "filled"),
    [
        (1, 10, 4, 4, 12),
        (1, 10, 8, 5, 10),
        (1, 1, 8, 1, 1),
        (4, 2, 8, 4, 8),
        (3, 10, 2, 2, 30),
        (5, 3, 2, 2, 18),
    ],
)
def test_work_is_divided_evenly(configurations, seeds, devices, used, filled):
    """With as few that only fill as the busiest device's share allows."""
    spread = Spread(configurations, seeds, jax.devices()[:devices])
    assert spread.n_devices == used
    (team,) = spread.teams(range(seeds))
    whole = [(c, s) for c in spread.configurations(range(configurations)) for s in team]
    assert len(whole) == filled
    assert [whole[i] for i in spread.real] == [(c, s) for c in range(configurations) for s in range(seeds)]


@pytest.mark.parametrize("number", [0, 9])
def test_devices_that_are_not_there_are_refused(number):
    with pytest.raises(SettingsError, match=f"--devices {number}: must be"):
        local_devices(number)
