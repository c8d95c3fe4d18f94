"""``cs_optax.memory``: lifetimes, comparison models, and what the optimizer itself remembers."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from tiers import few

from cs_optax import BeakerChain, complex_synapse, memory

pytestmark = pytest.mark.usefixtures("optimized")

CHAIN = BeakerChain.benna_fusi(5)


def descent(tx):
    return optax.chain(optax.sgd(1.0), tx)


class TestLifetime:
    @pytest.mark.parametrize("n_synapses", [1000, 1_000_000])
    def test_it_is_the_root_of_the_snr(self, n_synapses):
        root = scipy.optimize.brentq(lambda t: CHAIN.snr(t, n_synapses, dt=1.0) - 1, 0, 1e6)
        assert memory.lifetime(CHAIN, n_synapses) == pytest.approx(root, rel=1e-4)

    @pytest.mark.parametrize("timescale", [30.0, 5000.0])
    def test_of_one_beaker_it_has_a_closed_form(self, timescale):
        chain = BeakerChain.from_timescales(1, timescale, timescale)
        first = 1e4 * -math.expm1(-2 / timescale)  # the square of the SNR at age 0
        assert memory.lifetime(chain, 10_000) == pytest.approx(timescale / 2 * math.log(first))

    def test_of_a_bistable_synapse_it_has_a_closed_form(self):
        expected = math.log(100 * 0.1) / -math.log1p(-0.1)
        assert memory.lifetime(memory.bistable(0.1), 10_000) == pytest.approx(expected)

    def test_what_is_below_the_threshold_at_once_has_none(self):
        assert memory.lifetime(CHAIN, 4, threshold=3.0) == 0

    def test_what_vanishes_at_once_lives_until_then(self):
        assert memory.lifetime(memory.bistable(1.0), 100) == 0.0
        assert memory.lifetime(memory.bistable(1.0), 100, threshold=10.0) == 0.0

    def test_a_higher_threshold_shortens_it(self):
        lifetimes = [memory.lifetime(CHAIN, 10_000, threshold) for threshold in (0.5, 1.0, 2.0)]
        assert lifetimes == sorted(lifetimes, reverse=True)

    @pytest.mark.parametrize("n_synapses", [10, 1000, 10_000_000])
    def test_the_best_number_of_beakers_is_that_of_brute_force(self, n_synapses):
        lifetimes = {K: memory.lifetime(BeakerChain.benna_fusi(K), n_synapses) for K in range(1, 20)}
        best = max(lifetimes, key=lifetimes.get)
        assert memory.optimal_n_beakers(n_synapses) == (best, lifetimes[best])

    def test_slope_is_that_of_a_power_law_where_it_is_asked_for(self):
        times = np.geomspace(1, 1e6, 50)
        response = np.where(times < 1e3, times**-0.5, 1.0)
        assert memory.slope(times, response, between=(1, 900)) == pytest.approx(-0.5)


class TestModels:
    @pytest.mark.parametrize("model", [memory.cascade(4), memory.multistate(5, 0.3)], ids=["cascade", "row"])
    def test_snr_is_that_of_a_population_stepped_one_by_one(self, model):
        """Many synapses in NumPy: their overlap with one memory, read again after each later one."""
        random = np.random.default_rng(0)
        n, ages = 400_000, np.arange(6)
        states = random.choice(model.n_states, n, p=model.stationary())
        cumulated = {
            sign: matrix.cumsum(axis=1) for sign, matrix in ((1, model.potentiation), (-1, model.depression))
        }

        def store(states, pattern):
            draws = random.random(n)
            after = np.empty_like(states)
            for sign, rows in cumulated.items():
                chosen = pattern == sign
                after[chosen] = (draws[chosen, None] > rows[states[chosen]]).sum(axis=1)
            return after

        first = random.choice([-1, 1], n)
        overlaps = []
        for age in ages:
            states = store(states, first if age == 0 else random.choice([-1, 1], n))
            weights = model.weights[states]
            overlaps.append((first @ weights) / math.sqrt(n) / weights.std())
        np.testing.assert_allclose(overlaps, model.snr(ages, n), atol=4)  # of about 600; its own sd is 1

    def test_snr_is_that_of_matrix_powers(self):
        model, ages = memory.cascade(5), np.array([[0, 1], [37, 100]])
        p, w = model.stationary(), model.weights
        M = (model.potentiation + model.depression) / 2
        signal = [
            p @ (model.potentiation - model.depression) / 2 @ np.linalg.matrix_power(M, age) @ w
            for age in ages.ravel()
        ]
        np.testing.assert_allclose(model.snr(ages, 100), 10 * np.reshape(signal, (2, 2)), rtol=1e-8)

    @pytest.mark.parametrize("n_levels", [1, 2, 7])
    def test_all_states_of_a_cascade_are_equally_likely(self, n_levels):
        np.testing.assert_allclose(memory.cascade(n_levels).stationary(), 1 / (2 * n_levels), atol=1e-12)

    def test_a_cascade_of_one_level_is_bistable(self):
        ages = np.arange(4)
        np.testing.assert_allclose(
            memory.cascade(1).snr(ages, 9), memory.bistable(1.0).snr(ages, 9), atol=1e-12
        )

    @pytest.mark.parametrize("t", few([0, 1, 5, 300], [0, 5]))
    def test_the_envelope_is_the_best_of_all_exponentials(self, t):
        timescales = np.geomspace(1e-2, 1e5, 4000)
        best = max(BeakerChain.from_timescales(1, s, s).snr(t, 1, dt=1.0) for s in timescales)
        assert memory.exponential_envelope(t, 1) == pytest.approx(best, rel=1e-5)

    def test_no_random_synapse_of_two_weights_surpasses_the_frontier(self):
        random, ages = np.random.default_rng(0), np.arange(60)
        for _ in range(50):
            half = int(random.integers(1, 5))
            up = random.dirichlet(np.full(2 * half, 0.3), size=2 * half)
            weights = np.repeat([-1.0, 1.0], half)
            model = memory.MarkovSynapse(up, up[::-1, ::-1], weights)
            assert np.all(model.snr(ages, 1) <= memory.memory_frontier(ages, 1, 2 * half) + 1e-9)

    def test_a_shift_register_is_above_the_frontier_of_memories_at_random_moments(self):
        """Here memories come at regular ones; the docstring says so."""
        bits, states = 3, np.arange(8)  # a memory shifts in a 1 or a 0, and the oldest bit is the weight
        up, down = np.zeros((8, 8)), np.zeros((8, 8))
        up[states, 2 * states % 8 + 1] = down[states, 2 * states % 8] = 1
        register = memory.MarkovSynapse(up, down, 2.0 * (states >> (bits - 1)) - 1)
        np.testing.assert_allclose(register.snr([0, 1, 2, 3], 1), [0, 0, 1, 0], atol=1e-12)
        assert memory.memory_frontier(2, 1, 8) < 1

    def test_what_a_model_was_made_of_can_change_afterwards(self):
        up = np.array([[0.5, 0.5], [0.0, 1.0]])
        model = memory.MarkovSynapse(up, up[::-1, ::-1], [-1, 1])
        before = model.snr(0, 100)
        up[:] = np.eye(2)
        assert model.snr(0, 100) == before

    def test_the_lifetime_of_a_cascade_is_where_it_falls_for_good(self):
        """Its SNR rises from age 1 to 2."""
        model = memory.cascade(3)
        assert model.snr(1, 1000) < 6 < model.snr(2, 1000)
        assert 2 < memory.lifetime(model, 1000, threshold=6.0) < 3

    @pytest.mark.parametrize("n_synapses", [1e3, 1e4])
    def test_a_balanced_row_of_states_lives_longest_with_as_many_as_the_root_of_the_synapses(
        self, n_synapses
    ):
        best = round(1.7 * n_synapses**0.5)
        lives = [memory.lifetime(memory.multistate(n), n_synapses) for n in (best // 2, best, 2 * best)]
        assert max(lives) == lives[1] == pytest.approx(0.29 * n_synapses, rel=0.03)

    def test_the_frontier_is_touched_by_the_serial_model_at_its_age(self):
        """A long row whose first half is weak: the slowest there is; it comes near where the bound bends."""
        row = memory.multistate(12)
        model = memory.MarkovSynapse(row.potentiation, row.depression, np.sign(row.weights))
        ages = np.arange(200)
        share = model.snr(ages, 1) / memory.memory_frontier(ages, 1, 12)
        assert 0.4 < share.max() <= 1


class TestSimulation:
    @pytest.mark.parametrize(("method", "late"), [("exchange", 0), ("sequential_euler", 1)])
    def test_impulse_response_of_the_optimizer_is_that_of_the_chain(self, method, late, x64):
        chain = BeakerChain.from_timescales(4, 64.0, 4096.0)
        times = np.array([[1, 10], [1000, 100]])
        left = memory.impulse_response(descent(complex_synapse(chain=chain, method=method)), times)
        np.testing.assert_allclose(left, chain.impulse_response(times - late), rtol=5e-3)

    def test_without_beakers_nothing_fades(self):
        left = memory.impulse_response(descent(complex_synapse(n_beakers=0)), [1, 50])
        np.testing.assert_array_equal(left, 1.0)

    def test_snr_of_one_beaker_is_that_of_an_exponential(self):
        chain = BeakerChain.from_timescales(1, 20.0, 20.0)
        recall = memory.simulate(
            descent(complex_synapse(chain=chain)), 2000, [1, 5, 40], n_memories=1500, n_trials=4, burn_in=100
        )
        theory = math.sqrt(2000 / (chain.variance(1.0) - 1)) * chain.impulse_response(recall.ages)
        np.testing.assert_allclose(recall.snr.mean(axis=0), theory, rtol=0.05)

    def test_snr_is_the_same_for_sparse_memories(self):
        tx = descent(complex_synapse(n_beakers=1, beta=20.0))
        options = {"n_memories": 1500, "n_trials": 4, "burn_in": 100}
        dense, sparse = (
            memory.simulate(tx, 2000, [1, 20], coding_level=level, **options).snr.mean(axis=0)
            for level in (1.0, 0.2)
        )
        np.testing.assert_allclose(sparse, dense, rtol=0.06)

    def test_a_trial_does_not_depend_on_the_others(self):
        tx = descent(complex_synapse(chain=CHAIN))
        one, three = (memory.simulate(tx, 50, [1, 7], n_memories=60, n_trials=n, seed=3) for n in (1, 3))
        np.testing.assert_allclose(three.signal[:1], one.signal, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(three.noise[:1], one.noise, rtol=1e-5)

    def test_other_seeds_are_other_memories(self):
        tx = descent(complex_synapse(chain=CHAIN))
        first, second = (memory.simulate(tx, 50, [1], n_memories=20, seed=seed) for seed in (0, 1))
        assert not np.allclose(first.signal, second.signal)

    def test_every_number_of_things_may_be_a_whole_float(self):
        tx, exact = descent(complex_synapse(chain=CHAIN)), [50, 60, 2, 10, 3]
        first, second = (
            memory.simulate(
                tx, pattern_size, [1], n_memories=n, n_trials=trials, burn_in=burn_in, read_every=every
            )
            for pattern_size, n, trials, burn_in, every in (exact, map(float, exact))
        )
        np.testing.assert_array_equal(first.signal, second.signal)

    def test_equal_chains_in_a_partition_are_one_population(self):
        one = memory.simulate(descent(complex_synapse(chain=CHAIN)), 60, [1, 9], n_memories=100)
        parts = {"a": complex_synapse(chain=CHAIN), "b": complex_synapse(chain=CHAIN)}
        both = memory.simulate(
            descent(optax.partition(parts, {"a": "a", "b": "b"})),
            60,
            [1, 9],
            n_memories=100,
            rule=lambda pattern: {"a": pattern[:25], "b": pattern[25:]},
        )
        np.testing.assert_allclose(both.signal, one.signal, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(both.noise, one.noise, rtol=1e-4)

    def test_the_last_memory_of_all_weights_is_recalled_whole(self):
        """Plain descent keeps everything: the overlap with a memory is the number of synapses, and noise."""
        recall = memory.simulate(optax.sgd(1.0), 4000, [1, 50], n_memories=400, burn_in=50)
        np.testing.assert_allclose(recall.signal, 4000, rtol=0.05)

    def test_hebbian_is_the_upper_triangle_of_the_outer_product(self):
        pattern = jnp.array([1.0, -1.0, -1.0, 1.0])
        outer = np.outer(pattern, pattern)
        np.testing.assert_array_equal(memory.hebbian(pattern), outer[np.triu_indices(4, 1)])


class TestLevels:
    def run(self, tx, inputs, n=4000):
        """Contents ``[K, n]`` after the same inputs for all."""
        params = jnp.zeros(n)

        def step(carry, delta):
            params, state = carry
            updates, state = tx.update(jnp.full(n, delta), state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, state), _ = jax.lax.scan(step, (params, tx.init(params)), jnp.asarray(inputs))
        return np.stack([params, *state.beakers])

    def euler(self, inputs):
        """The same in continuous variables: all links at once, in NumPy."""
        u = np.zeros(CHAIN.n_beakers)
        for delta in inputs:
            u[0] += delta
            u = u + CHAIN.generator() @ u
        return u

    inputs = np.random.default_rng(0).choice([-1.0, 1.0], 40)

    @pytest.mark.parametrize("n_levels", [32, 33, (9, 8, 7, 3, 2)])
    def test_variables_stay_on_their_levels(self, n_levels):
        contents = self.run(memory.discrete_synapse(CHAIN, n_levels, spacing=0.5), self.inputs)
        levels = np.broadcast_to(n_levels, 5)
        for u, m in zip(contents, levels, strict=True):
            assert set(np.unique(u)) <= set(0.5 * (np.arange(m) - (m - 1) / 2))

    def test_on_average_they_flow_as_continuous_ones(self):
        contents = self.run(memory.discrete_synapse(CHAIN, 101), self.inputs)
        errors = contents.std(axis=1) / math.sqrt(contents.shape[1])
        np.testing.assert_allclose(contents.mean(axis=1), self.euler(self.inputs), atol=4 * errors.max())

    def test_many_near_levels_are_continuous(self):
        contents = self.run(memory.discrete_synapse(CHAIN, 1_000_001, spacing=1e-4), self.inputs, n=3)
        np.testing.assert_allclose(contents, np.tile(self.euler(self.inputs)[:, None], 3), atol=5e-3)

    def test_synapses_make_transitions_of_their_own(self):
        first, second = (
            self.run(memory.discrete_synapse(CHAIN, 33, seed=seed), self.inputs, n=50) for seed in (0, 1)
        )
        assert np.ptp(first[0]) > 0
        assert not np.array_equal(first, second)

    def test_leaves_make_transitions_of_their_own(self):
        tx = memory.discrete_synapse(CHAIN, 33)
        params = {"a": jnp.zeros(200), "b": jnp.zeros(200)}
        updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
        assert not np.array_equal(updates["a"], updates["b"])

    def test_the_state_keeps_its_shapes_and_types(self):
        tx = memory.discrete_synapse(CHAIN, 33)
        params = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(())}
        state = tx.init(params)
        _, after = tx.update(params, state, params)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
        assert jax.tree.map(jnp.result_type, after) == jax.tree.map(jnp.result_type, state)


SGD = optax.sgd(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: memory.lifetime(CHAIN, 0), "n_synapses must be an integer of at least 1, got 0"),
        (lambda: memory.lifetime(CHAIN, 10, -1.0), "threshold must be finite and greater than 0, got -1.0"),
        (lambda: memory.lifetime(CHAIN.closed(), 10), "model must leak"),
        (lambda: memory.optimal_n_beakers(10, ratio=1.0), "ratio must be finite and greater than 1, got 1.0"),
        (lambda: memory.slope([1, 2], [1, 2], (5, 9)), "t must hold at least two times in between=(5, 9)"),
        (lambda: memory.slope([0, 2], [1, 2]), "t must be greater than 0, got 0"),
        (lambda: memory.slope([1, 2], [1, np.inf]), "response must hold finite real numbers, got [1, inf]"),
        (lambda: memory.slope([1, 2], "ab"), "response must hold finite real numbers, got 'ab'"),
        (lambda: memory.slope([1, 2], [1, 2], 2), "between must be two times, the earlier one first, got 2"),
        (lambda: memory.lifetime(SGD, 10), "model must be a BeakerChain or a MarkovSynapse, got"),
        (lambda: memory.lifetime(CHAIN, 10.5), "n_synapses must be an integer of at least 1, got 10.5"),
        (lambda: memory.simulate(CHAIN, 5, [1], n_memories=9), "tx must be an optax.GradientTransformation"),
        (lambda: memory.impulse_response(CHAIN, 5), "tx must be an optax.GradientTransformation, got"),
        (
            lambda: memory.simulate(SGD, 5, [1], n_memories=9, seed=1.5),
            "seed must be an integer of at least 0",
        ),
        (lambda: memory.simulate(SGD, 5, [[1]], n_memories=9), "ages must be a list, got the shape (1, 1)"),
        (lambda: memory.simulate(SGD, 5, [1], n_memories=9, rule=lambda p: None), "rule must return what"),
        (lambda: memory.hebbian(np.ones((3, 2))), "pattern must be [n] with at least two neurons"),
        (lambda: memory.simulate(SGD, 1, [1], n_memories=9, rule=memory.hebbian), "pattern must be [n]"),
        (lambda: memory.bistable(0.5).snr("a", 10), "t must hold finite numbers of at least 0, got 'a'"),
        (lambda: memory.MarkovSynapse(np.eye(2), np.eye(2), [np.nan, 1]), "weights must hold finite real"),
        (
            lambda: memory.MarkovSynapse(np.full((2, 2), np.nan), np.eye(2), [0, 1]),
            "potentiation must hold finite probabilities",
        ),
        (
            lambda: memory.MarkovSynapse(np.eye(2), np.eye(2), [0, 1]),
            "potentiation and depression must lead to one stationary distribution",
        ),
        (
            lambda: memory.MarkovSynapse(*[[[1, 0], [1, 0]]] * 2, [0, 1]),
            "weights must differ between the states that are ever reached",
        ),
        (lambda: memory.bistable(1.5), "probability must be greater than 0 and at most 1, got 1.5"),
        (lambda: memory.multistate(1), "n_states must be an integer of at least 2, got 1"),
        (lambda: memory.cascade(3, 0.7), "ratio must be greater than 0 and at most 0.5, got 0.7"),
        (lambda: memory.bistable(0.5).snr(0.5, 10), "t must hold whole numbers of at least 0, got 0.5"),
        (lambda: memory.exponential_envelope(-1, 10), "t must be finite and at least 0, got -1"),
        (lambda: memory.memory_frontier(1, 10, 1), "n_states must be an integer of at least 2, got 1"),
        (
            lambda: memory.MarkovSynapse(np.eye(3), np.eye(2), [0, 1]),
            "potentiation must have the shape (2, 2), as there are 2 weights, got (3, 3)",
        ),
        (
            lambda: memory.MarkovSynapse(np.eye(2), np.ones((2, 2)), [0, 1]),
            "depression must have rows of probabilities that sum to 1, got [1. 1.] in row 0",
        ),
        (
            lambda: memory.impulse_response(SGD, [0, 1]),
            "n_updates must hold whole numbers of at least 1, got [0, 1]",
        ),
        (
            lambda: memory.simulate(SGD, 5, [], n_memories=9),
            "ages must hold whole numbers of at least 1, got []",
        ),
        (
            lambda: memory.simulate(SGD, 5, [8], n_memories=20, burn_in=5),
            "burn_in must be at least the largest of ages, 8, got 5",
        ),
        (
            lambda: memory.simulate(SGD, 5, [8], n_memories=8),
            "n_memories must be at least burn_in + read_every, 9, got 8",
        ),
        (
            lambda: memory.simulate(SGD, 5, [1], n_memories=8, coding_level=1.5),
            "coding_level must be greater than 0 and at most 1, got 1.5",
        ),
        (lambda: memory.discrete_synapse(CHAIN, 1), "n_levels must be an integer of at least 2, got 1"),
        (
            lambda: memory.discrete_synapse(CHAIN, [3, 4]),
            "n_levels must be one number or 5, one for each beaker, got [3, 4]",
        ),
        (
            lambda: memory.discrete_synapse(BeakerChain.from_timescales(3, 0.5, 8.0), 9),
            "chain must be slower than one unit of time",
        ),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        call()


def test_levels_need_the_parameters():
    tx = memory.discrete_synapse(CHAIN, 9)
    with pytest.raises(ValueError, match="with params"):
        tx.update(jnp.zeros(2), tx.init(jnp.zeros(2)))
