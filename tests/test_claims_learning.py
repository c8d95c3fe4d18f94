"""Q(λ) with a moving goal, and following a drifting target: against slow twins and closed forms."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few

from cs_optax import complex_synapse
from experiments.claims import drift, grid, q_learning, targets

FOUR = targets.WORLDS[0]


class TestQLearning:
    def test_moves_lead_to_neighbours_and_not_through_walls(self):
        following = grid.transitions(3)
        assert following[4].tolist() == [1, 7, 3, 5]
        assert following[0].tolist() == [0, 3, 0, 1]
        assert following[8].tolist() == [5, 8, 7, 8]

    def test_a_table_of_distances_leads_everywhere_and_an_empty_one_hardly_anywhere(self):
        side, goal = 5, 24
        following = grid.transitions(side)
        row, column = np.divmod(np.arange(25), side)
        distance = (side - 1 - row) + (side - 1 - column)
        table = jnp.asarray(-distance[following], jnp.float32)
        assert grid.leads_to(table, goal, jnp.asarray(following)) == 1
        # Up is the first of equal moves: only the goal itself is at the goal.
        assert grid.leads_to(jnp.zeros((25, 4)), goal, jnp.asarray(following)) == pytest.approx(1 / 25)

    def test_steps_are_counted_to_the_first_good_policy_of_each_phase(self):
        good = np.array([[0.2], [0.97], [0.5], [0.1], [0.2], [0.3]])
        assert q_learning.steps_to_good(good, n_phases=2, every=10).tolist() == [[20], [30]]

    @pytest.mark.parametrize("rate", few([0.1, 1.0], [0.1]))
    def test_gradients_of_a_step_are_those_of_a_slow_twin(self, rate):
        """Naive Q(λ) with replacing traces, cell by cell in NumPy, along the walk that JAX made."""
        side, goal, n_steps = 4, 15, 300
        following = grid.transitions(side)
        table, trace, cell = np.zeros((16, 4)), np.zeros((16, 4)), 5
        fast_table, fast_trace, fast_cell = (jnp.asarray(one) for one in (table, trace, cell))
        step = jax.jit(grid.one_step)
        n_reached = 0
        for i in range(n_steps):
            key = jax.random.key(i)
            before = int(fast_cell)
            gradient, fast_trace, fast_cell, reached = step(
                key, fast_table, fast_trace, fast_cell, jnp.array(goal), jnp.asarray(following)
            )
            fast_table = fast_table - rate * gradient
            move = int(grid.act(jax.random.split(key)[0], jnp.asarray(table), jnp.array(before)))
            after = following[before, move]
            best = 0.0 if after == goal else max(table[after])
            error = float(after == goal) + 0.9 * best - table[before, move]
            for s in range(16):
                for a in range(4):
                    trace[s, a] *= 0.9 * 0.9
            trace[before, move] = 1.0
            for s in range(16):
                for a in range(4):
                    table[s, a] += rate * error * trace[s, a]
            if after == goal:
                trace[:] = 0.0
                n_reached += 1
                assert int(fast_cell) != goal
            else:
                assert int(fast_cell) == after
            assert bool(reached) == (after == goal)
            np.testing.assert_allclose(fast_table, table, atol=1e-5)
            table = np.array(fast_table, float)  # so that ties are broken alike
        assert n_reached > 2

    def test_without_beakers_it_is_plain_descent(self):
        sizes = {"n_seeds": 2, "n_phases": 3, "phase": 400, "side": 4, "every": 100}
        plain = q_learning.run(optax.sgd(0.3), 0, **sizes)
        none = q_learning.run(optax.chain(optax.sgd(0.3), complex_synapse(n_beakers=0)), 0, **sizes)
        np.testing.assert_array_equal(none.good, plain.good)
        np.testing.assert_array_equal(none.goals, plain.goals)
        assert plain.goals.sum() > 0

    def test_a_small_job_has_rows_numbers_and_a_figure(self):
        outcome = q_learning.measure(0, n_seeds=2, n_phases=3, phase=1000, side=4, every=100)
        assert len(outcome.rows) == 10
        json.dumps(outcome.numbers, allow_nan=False)
        assert list(outcome.figures) == ["q-learning"]


def sgd_error(world, rate):
    """In closed form: the weight is ``rate Σ_j (1 - rate)^j y_(t-j)``."""
    left = 1 - rate
    crossed = rate / (1 - left * world.kept)
    own = rate / (2 - rate) * (1 + left * world.kept) / (1 - left * world.kept)
    return world.variance * np.sum(1 - 2 * crossed + own) + targets.NOISE * rate / (2 - rate)


class TestDrift:
    @pytest.mark.parametrize("world", targets.WORLDS, ids=lambda world: world.name)
    def test_targets_have_unit_variance_and_the_correlations_of_their_processes(self, world):
        run = targets.drifting(world, [0], 3000, 30)
        for lag in (0, 1, 10):
            products = run.target[5, 0] * run.target[5 + lag, 0]
            expected = world.variance * np.sum(world.kept**lag)
            assert products.mean() == pytest.approx(expected, abs=4 * products.std() / np.sqrt(3000))
        assert np.var(run.seen - run.target) == pytest.approx(targets.NOISE, rel=0.05)

    def test_the_riccati_equation_is_the_end_of_its_iteration(self):
        kept, P = np.diag(FOUR.kept), np.eye(4)
        for _ in range(60_000):
            P = kept @ P @ kept + np.diag(FOUR.variance * (1 - FOUR.kept**2))
            gain = P.sum(axis=1) / (P.sum() + targets.NOISE)
            P = P - np.outer(gain, P.sum(axis=0))
        assert targets.kalman_variance(FOUR) == pytest.approx(P.sum(), rel=1e-6)

    @pytest.mark.parametrize("world", targets.WORLDS, ids=lambda world: world.name)
    def test_no_rate_of_sgd_is_below_the_kalman_filter(self, world):
        errors = [sgd_error(world, rate) for rate in np.geomspace(1e-3, 1.5, 200)]
        assert min(errors) > targets.kalman_variance(world)

    def test_sgd_has_the_error_of_its_closed_form(self):
        world = targets.WORLDS[1]
        run = targets.drifting(world, [1], 64, 4000)
        rates = (0.05, 0.3)
        of_rates = drift.moments(optax.sgd, rates, run)[:, 0]
        found = [moment[0, 0] - 2 * moment[0, 1] + moment[1, 1] for moment in of_rates]
        np.testing.assert_allclose(found, [sgd_error(world, rate) for rate in rates], rtol=0.05)

    def test_moments_are_those_of_contents_that_are_kept(self):
        """Rates together, summed on the way, against one after the other, kept whole."""
        run = targets.drifting(FOUR, [2, 3], 3, 60)
        synapse = complex_synapse(3, 4.0, 64.0)
        fast = drift.moments(lambda rates: optax.chain(optax.sgd(rates), synapse), (0.1, 0.4), run)
        for rate, moment in zip((0.1, 0.4), fast[:, 1], strict=True):
            tx = optax.chain(optax.sgd(rate), synapse)
            weights = jnp.zeros(3)
            state, total = tx.init(weights), np.zeros((4, 4))
            for t, (y, x) in enumerate(zip(run.seen[:, 1], run.target[:, 1], strict=True)):
                updates, state = tx.update(weights - y, state, weights)
                weights = optax.apply_updates(weights, updates)
                if t >= 30:
                    held = np.stack([weights, *state[1].beakers, x])
                    total += held @ held.T / (30 * 3)
            np.testing.assert_allclose(moment, total, atol=1e-4)

    @pytest.mark.slow
    def test_a_small_job_has_rows_numbers_and_a_figure(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = drift.measure(0, n_seeds=2, n_targets=4, n_iterations=2000, alphas=(8.0,))
        assert len(outcome.rows) == 18
        json.dumps(outcome.numbers, allow_nan=False)
        assert list(outcome.figures) == ["drift-4-timescales", "drift-1-timescales"]
