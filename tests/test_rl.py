"""Two tasks that take turns: environments, agents, methods and the study that compares them."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few

from cs_optax import complex_synapse, get_beakers
from experiments.claims.outcome import Outcome
from experiments.rl import alternation, command, kept, measures, output, replay, study, tables, tabular, tasks
from experiments.rl.acting import act, begin
from experiments.rl.learner import acting_weights, improve, start, target_weights
from experiments.rl.methods import AGES, FASTEST, LISTENERS, LISTENING, METHODS, USUAL
from experiments.rl.network import initial
from experiments.rl.pqn import traced_returns
from experiments.rl.settings import OF_PQN, Settings, settings_of
from experiments.rl.study import Plan, configurations, names_of

TINY = Settings(phases=4, steps=160, looks=2, episodes=2, hidden=(8,), batch=8, buffer=64)


@pytest.fixture(scope="module")
def gymnax():
    return pytest.importorskip("gymnax")


# The environments


def cartpole_twin(state, action):
    """CartPole-v1's equations, with a force of −10, 0 or 10."""
    x, v, angle, spin = (np.float64(one) for one in state)
    push = (10.0 * (action - 1) + 0.05 * spin**2 * np.sin(angle)) / 1.1
    twist = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    pull = push - 0.05 * twist * np.cos(angle) / 1.1
    after = x + 0.02 * v, v + 0.02 * pull, angle + 0.02 * spin, spin + 0.02 * twist
    return after, abs(after[0]) > 2.4 or abs(after[2]) > np.radians(12)


@pytest.mark.parametrize("cue", [True, False])
def test_the_cart_pole_is_its_slow_twin_with_no_force_as_the_middle_action(gymnax, cue):
    step = jax.jit(lambda *given: tasks.step(*given, cue=cue))
    states, ended = tasks.reset(jax.random.key(0)), 0
    for number in range(120):
        one = states.cartpole
        before, action = (one.x, one.x_dot, one.theta, one.theta_dot), [0, 1, 2, 1, 2][number % 5]
        states, after = step(jax.random.key(number), states, jnp.int32(action), jnp.int32(0))
        expected, over = cartpole_twin(before, action)
        shown = [*np.array(expected) / tasks.CARTPOLE_SCALES, *([1.0, 0.0] if cue else [0.0, 0.0])]
        np.testing.assert_allclose(after.observation, shown, rtol=1e-4, atol=1e-5)
        assert (bool(after.terminated), bool(after.finished), float(after.reward)) == (over, over, 1.0)
        ended += over
        if over:  # the next episode has begun, near the middle
            assert (
                np.abs(
                    tasks.observe(states, jnp.int32(0), cue=cue)[:4] * jnp.array(tasks.CARTPOLE_SCALES)
                ).max()
                <= 0.05
            )
    assert ended > 1


def test_catch_is_its_slow_twin(gymnax):
    step = jax.jit(lambda *given: tasks.step(*given, cue=True))
    states, caught = tasks.reset(jax.random.key(1)), []
    paddle, ball, height = 2, int(states.catch.ball_x), 0
    for number in range(90):
        action = int(np.random.default_rng(number).integers(3))
        states, after = step(jax.random.key(number), states, jnp.int32(action), jnp.int32(1))
        paddle, height = min(max(paddle + action - 1, 0), 4), height + 1
        shown = [(paddle - 2) / 2**0.5, 0, (ball - 2) / 2**0.5, (height - 4.5) / 8.25**0.5, 0, 1]
        np.testing.assert_allclose(after.observation, shown, rtol=1e-5, atol=1e-6)
        over = height == 9
        assert bool(after.terminated) == bool(after.finished) == over
        assert float(after.reward) == (0 if not over else 1 if paddle == ball else -1)
        if over:
            caught.append(paddle == ball)
            paddle, ball, height = 2, int(states.catch.ball_x), 0
    assert 0 < sum(caught) < len(caught) == 10


def test_a_cart_pole_that_stands_is_truncated_after_500_steps_and_not_terminated(gymnax):
    states = tasks.reset(jax.random.key(0))
    late = states._replace(cartpole=states.cartpole.replace(time=jnp.int32(499)))
    after, now = tasks.step(jax.random.key(1), late, jnp.int32(1), jnp.int32(0), cue=True)
    assert (bool(now.terminated), bool(now.finished), int(after.cartpole.time)) == (False, True, 0)


def test_returns_are_summed_episode_by_episode(gymnax):
    settings, task = replace(TINY, epsilon=1.0, envs=3), jnp.int32(1)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    weights = jax.vmap(lambda key: initial(key, settings.sizes, normalized=False))(keys)
    step = jax.jit(lambda actors, keys: act(weights, actors, keys, task, settings))
    actors, going_on, ended = begin(keys, 3), np.zeros((2, 3)), [[], []]
    for number in range(30):
        now = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys)
        actors, (batch, finished) = step(actors, now)
        going_on += np.asarray(batch.reward)
        for agent, env in zip(*np.nonzero(finished), strict=True):
            ended[agent].append(going_on[agent, env])
            going_on[agent, env] = 0
    assert actors.counts.tolist() == [len(one) for one in ended] == [9, 9]
    assert actors.sums.tolist() == [sum(one) for one in ended]


# What agents learn from


def test_the_ring_holds_the_last_transitions_and_gives_those_that_are_there_alone():
    ring = replay.empty(2, 6, 1)
    for number in range(4):  # the fourth is written over the first
        at = jnp.full((2, 2), float(number))
        batch = replay.Batch(at[..., None], at, 10 * at, at[..., None] + 0.5, at > 2)
        ring = replay.write(ring, jnp.int32(number), batch)
        keys = jax.random.split(jax.random.key(number), 2)
        drawn = replay.sample(ring, keys, jnp.minimum(2 * number + 2, 6), 64)
        there = {float(n) for n in range(max(0, number - 2), number + 1)}
        assert set(np.unique(drawn.action)) == there
        np.testing.assert_array_equal(drawn.reward, 10.0 * drawn.action)
        np.testing.assert_array_equal(drawn.following - 0.5, drawn.seen)
        np.testing.assert_array_equal(drawn.terminated, drawn.action > 2)


@pytest.mark.parametrize("trace", [0.0, 0.6, 1.0])
def test_traced_returns_are_their_slow_twin(trace):
    random = np.random.default_rng(0)
    rewards, values = random.normal(size=(2, 12, 3))
    terminated = random.random((12, 3)) < 0.2
    finished = terminated | (random.random((12, 3)) < 0.2)
    settings = replace(TINY, trace=trace, gamma=0.9)
    given = (jnp.asarray(one) for one in (rewards, values, terminated, finished))
    found = traced_returns(*given, settings)
    for env in range(3):
        later = values[-1, env]
        for t in range(11, -1, -1):
            mixed = values[t, env] if finished[t, env] else (1 - trace) * values[t, env] + trace * later
            later = rewards[t, env] + (0 if terminated[t, env] else 0.9 * mixed)
            assert float(found[t, env]) == pytest.approx(later, rel=1e-5)


# The methods


def weights_after(method, numbers=USUAL, settings=TINY, updates=5):
    """Weights, target's and acting ones after some updates with fixed gradients."""
    keys = jax.random.split(jax.random.key(0), 2)
    params = jax.vmap(lambda key: initial(key, settings.sizes, normalized=False))(keys)
    learner = start(params, method, settings, numbers)
    step = jax.jit(lambda learner, grads: improve(learner, grads, method, settings, numbers))
    random = np.random.default_rng(0)
    for _ in range(updates):
        learner = step(learner, jax.tree.map(lambda p: random.normal(size=p.shape).astype("f4"), params))
    return learner.params, target_weights(learner, method, numbers), acting_weights(learner, method, numbers)


def acts_on_weights(method):
    """Others only read them."""
    return method.anchored or (method.synapse is not None and not method.listens)


def same(first, second, **how):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **(how or {"rtol": 0})), first, second)


@pytest.mark.parametrize(
    ("method", "numbers"),
    [
        (replace(METHODS["listen-target"], target="usual"), {}),
        (METHODS["average-act"], {"time": 1.0}),
        (METHODS["l2-anchor"], {"strength": 0.0}),
        (METHODS["replay"], {}),
        (METHODS["cs"], {"alpha": 1e20}),  # a flow below the last bit of every weight
        (METHODS["cs-kaplanis"], {"alpha": 1e20}),
    ],
    ids=lambda one: getattr(one, "label", ""),
)
@pytest.mark.filterwarnings("ignore:the shortest timescale:UserWarning")
def test_a_method_that_is_set_to_nothing_is_adam_bit_for_bit(method, numbers):
    # What adds nothing to the weights all the same adds: fused with Adam, it may be rounded in another place.
    with jax.disable_jit(acts_on_weights(method)):
        same(weights_after(method, USUAL | numbers), weights_after(METHODS["adam"]))


def test_an_average_with_the_usual_rate_is_the_usual_target_up_to_rounding():
    found = weights_after(METHODS["average-target"], USUAL | {"time": 1 / TINY.target_rate})
    same(found, weights_after(METHODS["adam"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", few(sorted(METHODS), ["cs", "listen-act", "average-target", "l2-anchor"]))
def test_every_method_that_does_something_differs_from_adam(name):
    if name not in ("adam", "replay"):
        adam = weights_after(METHODS["adam"], updates=15)  # their backflow begins with the tenth
        differ = [
            not all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
            for pair in zip(weights_after(METHODS[name], updates=15), adam, strict=True)
        ]
        method = METHODS[name]
        weights = acts_on_weights(method)
        # The usual target follows the weights.
        assert differ == [weights, weights or method.target == "slow", weights or method.acts == "slow"]


def test_what_a_listening_beaker_holds_is_as_old_as_the_table_says():
    """Weights that rise by one in each update show the age of what is read."""
    tx = complex_synapse(LISTENERS, FASTEST, FASTEST * 4.0 ** (LISTENERS - 1), **LISTENING)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jnp.ones(()), state, w)
        return (w + updates, state), None

    w = jnp.zeros(())
    (w, state), _ = jax.jit(lambda: jax.lax.scan(step, (w, tx.init(w)), length=6000))()
    ages = [float(w - beaker) for beaker in get_beakers(state)[:4]]
    np.testing.assert_allclose(ages, AGES[:4], rtol=0.05, atol=1.5)


def test_the_beaker_nearest_to_the_time_is_read():
    for place, age in enumerate(AGES):
        learner = start([jnp.zeros(1)], METHODS["listen-act"], TINY, USUAL)
        synapse = learner.opt[1]
        beakers = tuple([jnp.full(1, float(k))] for k in range(1, LISTENERS))
        learner = learner._replace(opt=(learner.opt[0], synapse._replace(beakers=beakers)))
        (read,) = acting_weights(learner, METHODS["listen-act"], {"time": 1.3 * age})
        assert read.tolist() == [place + 1]


# The training


@pytest.mark.parametrize(("agent", "steps"), [("dqn", 8000), ("pqn", 16_000)])
def test_a_small_agent_learns_catch(gymnax, agent, steps):
    """A policy that chooses at random catches one ball in five: its column is drawn evenly from five."""
    usual = OF_PQN if agent == "pqn" else {}
    small = {"phases": 1, "steps": steps, "looks": 2, "hidden": (32, 32), "only": "catch", "batch": 32}
    settings = replace(Settings(), **usual | small, episodes=20)
    record = alternation.train("adam", settings, USUAL, [0, 1])
    assert record.scores.shape == (2, 2, 2)
    assert record.scores[:, -1, 1].min() > 0.7
    assert record.trained[:, -1].min() > 0.5
    assert np.isfinite(record.losses).all()


@pytest.mark.slow
def test_a_chain_that_only_listens_leaves_a_whole_training_as_it_is(gymnax, monkeypatch):
    listens = replace(METHODS["listen-act"], acts="weights")
    monkeypatch.setitem(METHODS, "listens", listens)
    both = (alternation.train(name, TINY, USUAL, [1]) for name in ("listens", "adam"))
    for listening, alone in zip(*both, strict=True):
        np.testing.assert_array_equal(listening, alone)


@pytest.fixture(scope="module")
def trained(gymnax):
    return alternation.train("listen-act", TINY, USUAL, [1, 3, 5])


def test_a_seed_alone_is_that_seed_among_several(trained):
    alone = alternation.train("listen-act", TINY, USUAL, [3])
    np.testing.assert_allclose(alone.scores[0], trained.scores[1], atol=1e-6)
    np.testing.assert_allclose(alone.trained[0], trained.trained[1], atol=1e-6)
    np.testing.assert_allclose(alone.losses[0], trained.losses[1], rtol=1e-4)
    assert not np.array_equal(trained.losses[0], trained.losses[1])


@pytest.mark.slow
def test_configurations_that_train_together_are_those_alone(gymnax, trained):
    numbers = {"lr": np.array([1e-3, 1e-2]), "time": np.array([500.0, 30.0])}
    together = alternation.train("listen-act", TINY, numbers, [1, 3, 5])
    for part, alone in zip(together, trained, strict=True):
        np.testing.assert_allclose(part[0], alone, rtol=1e-4, atol=1e-6)
        assert not np.array_equal(part[1], alone)


def test_agents_whose_weights_are_not_finite_have_diverged(trained):
    """They act all the same, and have a score."""
    record = alternation.train("listen-act", TINY, {"lr": 1e38, "time": 500.0}, [1, 3, 5])
    assert np.isfinite(record.scores).all()
    assert measures.measured(*record, TINY).diverged.tolist() == [True] * 3
    assert measures.measured(*trained, TINY).diverged.tolist() == [False] * 3


def test_the_tasks_take_turns(trained):
    """What is seen in training: a ball's return is −1 or 1, a pole's at least eight steps."""
    by_phase = measures.by_phase(trained.trained, TINY)
    assert (by_phase[:, ::2] < 0.2).all()  # of 500 steps
    assert trained.scores.min() >= 0
    assert trained.scores.max() <= 1


# What is made of it


def test_measures_of_a_record_are_those_counted_by_hand():
    settings = Settings(phases=4, steps=100, looks=2)
    cartpole = [0.1, 0.5, 0.4, 0.3, 0.5, 0.7, 0.1, 0.2]  # two looks a phase; trained in the first and third
    catch = [0.0, 0.0, 0.1, 0.95, 0.6, 0.5, 0.5, 0.7]
    scores, trained = np.array([cartpole, catch]).T[None], np.arange(8.0)[None]
    times = measures.relearning(scores, settings)
    assert times.tolist() == [[100.0, 100.0, 50.0, np.inf]]
    losses = np.zeros((1, 8))
    found = measures.measured(scores, trained, losses, settings)
    assert found.area == pytest.approx((0.5 + 0.7 + 0.5 + 0.7) / 4)
    assert found.relearned == pytest.approx((50 + 100) / 2)
    assert (found.missed, found.at_once) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.kept == pytest.approx((0.5 + 0.2) / 2)
    assert found.forgotten == pytest.approx((0.95 - 0.5 + 0.7 - 0.2) / 2)
    assert found.trained == pytest.approx(5.5)
    assert found.diverged.tolist() == [False]
    assert measures.measured(scores, trained, np.where(trained == 6, np.nan, 0), settings).diverged.all()
    none_ended = measures.measured(scores, np.full((1, 8), np.nan), losses, settings)
    assert np.isnan(none_ended.trained).all()


def test_nothing_is_forgotten_between_phases_of_one_task():
    settings = replace(TINY, only="catch")
    scores = np.random.default_rng(0).random((2, 8, 2))
    found = measures.measured(scores, scores[..., 1], scores[..., 1], settings)
    np.testing.assert_allclose(found.area, scores[:, 4:, 1].mean(axis=1))
    assert np.isnan([found.forgotten, found.kept]).all()


def test_every_method_is_tried_as_often_and_within_its_ranges():
    for name, method in METHODS.items():
        points = configurations(name, 9)
        assert len(points) == 9
        assert len({tuple(point.values()) for point in points}) == 9
        for point in points[1:]:
            assert set(point) == {"lr", *method.search}
            assert all(one.low <= point[key] <= one.high for key, one in method.search.items())
    assert "replay" not in names_of("pqn")


def fake_record(method, settings, numbers, seeds, progress=lambda phase: None):
    """Scores that rise in each phase, those of complex synapses faster; the usual learning rate is worst."""
    rates = np.atleast_1d(numbers["lr"])
    looks = np.arange(settings.phases * settings.looks) % settings.looks + 1
    rise = np.minimum(1, looks / settings.looks * (2 if "cs" in method else 1))
    random = np.random.default_rng(sum(seeds))
    scores = rise[None, :, None] - 0.05 * random.random((len(seeds), len(looks), 2))
    parts = np.clip(scores, 0, 1), scores[..., 0], scores[..., 1]
    progress(settings.phases)
    each = [[part * (0.9 if lr == 1e-3 else 1) for part in parts] for lr in rates]
    several = np.ndim(numbers["lr"]) > 0
    return alternation.Record(*(map(np.stack, zip(*each, strict=True)) if several else each[0]))


@pytest.fixture
def in_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(alternation, "train", fake_record)
    monkeypatch.setattr(command, "check_package", lambda *given: None)
    monkeypatch.setattr(
        tabular,
        "tabular_result",
        lambda folder, seed: {
            "command": f"python -m experiments.claims q-learning --seed {seed}",
            "code": "0123",
            "ratios": {
                "steps to a good policy, plain over complex synapses": {"ratio": 1.5, "ci95": [1.2, 1.8]}
            },
        },
    )
    return tmp_path


SMALL = ["--phases=8", "--steps=400", "--looks=5", "--budget=3", "--n-tuning-seeds=2", "--n-seeds=4"]


@pytest.mark.parametrize("together", few([1, 2], [2]))
def test_the_command_keeps_tables_numbers_and_figures(in_folders, capsys, together):
    assert command.main([*SMALL, f"--together={together}"]) == 0
    found = json.loads((in_folders / "results/rl/dqn.json").read_text())
    assert set(found["methods"]) == set(METHODS)
    assert all(one["numbers"]["lr"] != 1e-3 and len(one["tried"]) == 3 for one in found["methods"].values())
    assert found["seeds"] == {"tuning": [10_000, 10_001], "comparison": [0, 1, 2, 3]}
    assert set(found["beakers"]) == {str(n) for n in study.BEAKERS}
    assert set(found["cart-pole alone"]) == set(found["cart-pole without replay"]) == set(study.ALONE)
    text = (in_folders / "results/rl/dqn.md").read_text()
    assert "| claim | paper | ours: mean, 95 % interval | holds |" in text
    assert (
        "| tabular Q(λ): steps to a good policy, plain over complex synapses | sooner | 1.50 (1.20 to 1.80) "
        in text
    )
    assert "The rows on tabular Q(λ) are those of `python -m experiments.claims q-learning --seed 0`" in text
    assert "Each method: the best of 3 configurations on 2 seeds, compared on 4 others." in text
    n_groups = len(list((in_folders / "results/rl/runs").iterdir()))
    assert f"{n_groups} groups of agents took " in text
    names = {path.name for path in (in_folders / "plots").iterdir()}
    assert names == {
        f"rl-dqn-{kind}.{end}" for kind in ("scores", "returns", "comparison") for end in ("pdf", "png")
    }
    assert "Every method at its best" in capsys.readouterr().out


def test_groups_that_are_finished_are_found_again_after_an_interruption(in_folders, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(output, "FIGURES", {})

    def train(method, *given):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(method)
        return fake_record(method, *given)

    monkeypatch.setattr(alternation, "train", train)
    given = [*SMALL, "--methods-only", "--methods", "adam", "cs"]
    assert command.main(given) == 130
    assert "finished groups of runs are kept" in capsys.readouterr().err
    assert len(list((in_folders / "results/rl/runs").iterdir())) == 5
    made.clear()
    assert command.main(given) == 0
    assert made == ["cs"] * 3
    first = (in_folders / "results/rl/dqn.md").read_bytes()
    made.clear()
    assert command.main(given) == 0
    assert made == []
    assert (in_folders / "results/rl/dqn.md").read_bytes() == first


def test_a_damaged_group_is_trained_again_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(alternation, "train", fake_record)
    group = kept.Group("adam", TINY, {"lr": 2e-3}, (0, 1))
    store = kept.Store(tmp_path)
    (first,) = kept.train_and_keep(store, [group], lambda phase: None)
    kept.path_of(tmp_path, group).write_text("{")
    with pytest.warns(UserWarning, match="is damaged: these agents are trained again"):
        (again,) = kept.train_and_keep(store, [group], lambda phase: None)
    assert (store.trained, store.found) == (2, {})
    np.testing.assert_array_equal(first.scores, again.scores)
    kept.train_and_keep(store, [group], lambda phase: None)
    assert (store.trained, store.found) == (2, {kept.code(): 1})


def test_groups_of_other_code_are_trained_again_or_taken_and_named(in_folders, monkeypatch, capsys):
    given = [*SMALL, "--methods-only", "--methods", "adam", "cs"]
    monkeypatch.setattr(output, "FIGURES", {})
    monkeypatch.setattr(kept, "code", lambda: "older")
    assert command.main(given) == 0
    first = (in_folders / "results/rl/dqn.md").read_text()
    assert "older" not in first
    monkeypatch.setattr(kept, "code", lambda: "newer")
    monkeypatch.setattr(output, "code", lambda: "newer")
    made = []
    with monkeypatch.context() as patched:
        patched.setattr(alternation, "train", None)
        assert command.main([*given, "--accept-other-code"]) == 0
    taken = (in_folders / "results/rl/dqn.md").read_text()
    assert "**Other code trained 8 of these groups: digest older, now newer.**" in taken
    assert taken.split("Made by")[0] == first.split("Made by")[0]
    assert "Other code trained 8 of these groups" in capsys.readouterr().out
    monkeypatch.setattr(
        alternation, "train", lambda method, *rest: made.append(method) or fake_record(method, *rest)
    )
    assert command.main(given) == 0
    assert len(made) == 8
    assert "older" not in (in_folders / "results/rl/dqn.md").read_text()
    noted = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(noted) == 1
    assert "(digest older, now newer): they are trained again; --accept-other-code would take" in noted[0]


def test_agents_that_diverged_choose_nothing_and_are_marked(in_folders, monkeypatch):
    """The usual numbers are worst, and all others diverge in one seed; of the comparison, one agent too."""

    def train(method, settings, numbers, seeds, progress):
        record = fake_record(method, settings, numbers, seeds, progress)
        bad = method == "cs" and (0 in seeds or numbers["lr"] != 1e-3)
        if bad:
            record.losses[0, -1] = np.nan
        return record

    monkeypatch.setattr(alternation, "train", train)
    assert command.main([*SMALL, "--methods-only", "--methods", "adam", "cs"]) == 0
    found = json.loads((in_folders / "results/rl/dqn.json").read_text())["methods"]
    assert [one["diverged"] for one in found["cs"]["tried"]] == [0, 1, 1]
    assert (found["cs"]["numbers"]["lr"], found["adam"]["numbers"]["lr"] != 1e-3) == (1e-3, True)
    assert found["cs"]["diverged"] == [True, False, False, False]
    (row,) = [
        line
        for line in (in_folders / "results/rl/dqn.md").read_text().splitlines()
        if line.startswith("| complex synapses (") and "−" not in line.split("|")[1]
    ]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[0] == "complex synapses (1 of 4 agents diverged)"
    assert not any(" to " in cell for cell in cells)  # no interval
    assert cells[4] == "–"


@pytest.mark.parametrize("more", few([["--phases=3"], ["--only=catch"], ["--n-seeds=1"]], [["--n-seeds=1"]]))
def test_a_single_method_without_adam_has_its_tables_and_figures(in_folders, more):
    assert command.main([*SMALL, "--methods", "cs", *more]) == 0
    text = (in_folders / "results/rl/dqn.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| complex synapses |")]
    assert row.split("|")[4:6] == ["  ", "  "]  # nothing to be compared with
    assert len(list((in_folders / "plots").iterdir())) == 6


@pytest.mark.parametrize(
    ("three", "holds"),
    [
        ((1.5, 1.2, 1.8), "yes"),
        ((0.8, 0.7, 0.9), "NO"),
        ((1.1, 0.9, 1.3), "not shown"),
        ((1.5, np.nan, np.nan), "–"),
    ],
)
def test_a_claim_holds_where_its_interval_says_so(three, holds):
    assert tables.verdict(three, 1) == holds


def test_a_single_seed_has_no_intervals_and_no_verdicts(in_folders, monkeypatch):
    monkeypatch.setattr(output, "FIGURES", {})
    assert command.main([*SMALL, "--n-seeds=1"]) == 0
    text = (in_folders / "results/rl/dqn.md").read_text()
    assert "nan" not in text
    claims = [line for line in text.split("**Every")[0].splitlines() if line.startswith("| complex")]
    assert len(claims) == 2
    assert all(line.endswith("| – |") for line in claims)


def test_the_tabular_result_is_found_again_and_a_damaged_one_is_measured_again(tmp_path, monkeypatch):
    measured = []
    ratios = {"steps to a good policy": {"ratio": 1.5, "ci95": [1.2, 1.8]}}

    def measure(name, seed):
        measured.append((name, seed))
        return Outcome([], {"ratios": ratios}, {})

    monkeypatch.setattr("experiments.claims.measure", measure)
    first = tabular.tabular_result(tmp_path, 3)
    assert first["command"] == "python -m experiments.claims q-learning --seed 3"
    assert first["ratios"] == ratios
    assert tabular.tabular_result(tmp_path, 3) == first
    assert measured == [("q-learning", 3)]
    (tmp_path / tabular.FILE).write_text("{")
    assert tabular.tabular_result(tmp_path, 3) == first
    tabular.tabular_result(tmp_path, 4)
    assert measured == [("q-learning", 3), ("q-learning", 3), ("q-learning", 4)]


def test_other_numbers_settings_and_seeds_are_other_groups(tmp_path):
    group = kept.Group("adam", TINY, {"lr": 1e-3}, (0, 1))
    others = [
        replace(group, method="cs"),
        replace(group, settings=replace(TINY, gamma=0.5)),
        replace(group, numbers={"lr": 2e-3}),
        replace(group, seeds=(0, 2)),
    ]
    assert len({kept.path_of(tmp_path, one) for one in (group, *others)}) == 5


def test_a_winner_at_the_edge_of_what_was_tried_is_named():
    tried = [{"lr": lr, "alpha": 5.0} for lr in (1e-3, 1e-2, 1e-4)]
    assert study.at_the_edge(tried[1], tried) == ["lr"]
    assert study.at_the_edge(tried[0], tried) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--phases=2"], "--phases 2: must be at least 3"),
        (
            ["--steps=1000", "--looks=3"],
            "--steps 1000: must be a multiple of 12, such as 996: 3 looks times 4",
        ),
        (
            ["--agent=pqn", "--steps=100"],
            "--steps 100: must be a multiple of 8000, such as 8000: 20 looks times 400",
        ),
        (["--hidden", "64", "0"], "--hidden 64 0: must be at least 1 unit each"),
        (["--epsilon=1.5"], "--epsilon 1.5: must be from 0 to 1"),
        (["--gamma=1"], "--gamma 1: must be from 0 and below 1"),
        (["--hidden"], "--hidden: must be given the units of at least one layer"),
        (["--hidden", "64", "200000"], "--hidden 64 200000: must be from 1 to 100000"),
        (["--steps=4000000000000"], "--steps 4000000000000: must be from 1 to 1000000000"),
        (["--beakers=400"], "--beakers 400: must be from 1 to 50"),
        (["--beakers=1"], "--beakers 1: must be at least 2"),
        (["--buffer=3"], "--buffer 3: must be at least 4"),
        (
            ["--agent=pqn", "--buffer=500"],
            "--buffer 500: must not be given with --agent pqn",
        ),
        (["--methods", "sgd"], "--methods sgd: must be one of adam, cs, cs-kaplanis"),
        (["--agent=pqn", "--methods", "replay"], "--methods replay: must be one of adam"),
        (["--methods", "cs", "cs"], "--methods cs cs: each must be named once"),
        (["--budget=0"], "--budget 0: must be from 1 to 1000"),
        (["--n-seeds=0"], "--n-seeds 0: must be from 1 to 1000"),
        (["--seed=9985"], "--seed 9985: seeds from 10000 on choose the numbers"),
        (["--seed=-1"], "--seed: must be from 0 to 2147483627, not -1"),
        (["--plot-dir=/proc/none"], "--plot-dir /proc/none: cannot be written in: "),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_trained(
    in_folders, wrong, message, capsys, monkeypatch
):
    monkeypatch.setattr(alternation, "train", None)
    assert command.main(wrong) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert list(in_folders.iterdir()) == []


def test_without_gymnax_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.lab.system.packages.find_spec", lambda name: None)
    assert command.main([]) == 2
    assert (
        'needs the package gymnax, which is not installed: pip install -e ".[rl]"' in capsys.readouterr().err
    )


def test_sizes_are_whole_phases_and_the_papers_has_its_network():
    for agent in ("dqn", "pqn"):
        for size in ("small", "paper"):
            settings = settings_of(agent, size)
            assert settings.iterations * settings.looks * settings.steps_of_an_iteration == settings.steps
    paper = settings_of("dqn", "paper")
    assert (paper.hidden, paper.buffer, paper.batch, paper.phases) == ((400, 200), 2000, 64, 20)
    assert paper.steps // paper.steps_of_an_iteration == 20_000


def test_the_bar_has_as_many_phases_as_are_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(alternation, "train", fake_record)
    plan = Plan(TINY, ("adam", "cs-kaplanis", "replay"), 3, (7, 8), (0, 1), together=2)
    done = []
    study.study(plan, kept.Store(tmp_path), lambda name, phase: done.append((name, phase)))
    assert sum(phase == TINY.phases for _, phase in done) >= study.phases_to_train(plan) / TINY.phases


def test_ppo_with_a_chain_that_only_listens_is_ppo(gymnax):
    """The example, whole but small: the learning rate is that of its first updates."""
    from examples import ppo

    both = {name: ppo.OPTIMIZERS[name](1000) for name in ("Adam", 'synapse, backflow="never"')}
    returns = [jax.jit(lambda key, tx=tx: ppo.train(key, tx, 3))(jax.random.key(0)) for tx in both.values()]
    np.testing.assert_allclose(*returns, rtol=1e-6)
    assert returns[0].shape == (3,)
    assert float(returns[0][0]) > 8  # a pole does not fall sooner


def test_adam_is_optax_adam():
    """The slow twin of a step: the optimizer acts on all agents at once, element by element."""
    params = [jnp.arange(6.0).reshape(2, 3)]
    learner = improve(
        start(params, METHODS["adam"], TINY, USUAL), [jnp.ones((2, 3))], METHODS["adam"], TINY, USUAL
    )
    tx = optax.adam(1e-3)
    updates, _ = tx.update([jnp.ones(3)], tx.init([params[0][1]]))
    np.testing.assert_array_equal(learner.params[0][1], params[0][1] + updates[0])
