"""Averages of past weights: against the derivative of the real training."""

import dataclasses
import inspect
import re
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tiers import few

from benchmarks import kept
from benchmarks.average_figures import KEPT, PARTS, Setting, accuracies
from benchmarks.averages import RARER, SHORT, bytes_of_state, listening, misfits, rounding
from cs_optax import (
    Averaging,
    BeakerChain,
    _record,
    complex_synapse,
    get_beakers,
    profiles,
    readout,
    suggest_timescales,
)
from experiments.lab.data.dataset import load

ROOT = Path(__file__).parent.parent
CHAIN = BeakerChain.from_timescales(5, 6.0, 900.0)
LISTENING = {"backflow": "never", "leak": "none", "resolution": 1 / 32}


# What the beakers hold, by the derivative of the training itself


def held(chain, n_updates, **options):
    """Weights ``[n_updates + 1, K]`` of the path of u_1, from its start on, in u_1 … u_K at the end."""
    tx = complex_synapse(chain=chain, **options)

    def contents(path):
        def step(carry, wanted):
            p, state = carry
            # The input after which the weight is the wanted one: the new weight is linear in it.
            none, one = (p + tx.update(jnp.full_like(p, d), state, p)[0] for d in (0.0, 1.0))
            updates, state = tx.update((wanted - none) / (one - none), state, p)
            return (p + updates, state), None

        (p, state), _ = jax.lax.scan(step, (path[0], tx.init(path[0])), path[1:])
        return jnp.stack([p, *get_beakers(state)])

    return np.asarray(jax.jit(jax.jacrev(contents))(jnp.zeros(n_updates + 1))).T


def seen_together(values, rows):
    """Values ``[n_updates + 1, …]`` summed between exchanges of link 1, over the root of their number."""
    exchanges = 1 + np.flatnonzero(np.abs(rows[1:, 1:]).sum(axis=1) > 1e-12)
    ends = [0, *exchanges, *([len(rows) - 1] if exchanges[-1] < len(rows) - 1 else [])]
    sums = (values[i + 1 : j + 1].sum(axis=0) / np.sqrt(j - i) for i, j in pairwise(ends))
    return np.array([values[0], *sums])


def misfit_of(weights, rows, profile):
    """1 − cosine, from all values; the initial parameters are no part of the wish."""
    wanted, read = seen_together(np.append(0.0, profile), rows), seen_together(rows @ weights, rows)
    return 1 - read @ wanted / np.linalg.norm(read) / np.linalg.norm(wanted)


def best_weights(rows, profile):
    """Of all mixtures that read a constant path as the constant, by Lagrange's multiplier."""
    wanted, seen = seen_together(np.append(0.0, profile), rows), seen_together(rows, rows)
    totals = rows.sum(axis=0)
    matrix = np.block([[seen.T @ seen, totals[:, None]], [totals, np.zeros(1)]])
    return np.linalg.solve(matrix, np.append(seen.T @ wanted, 1.0))[:-1]


TRAININGS = {
    "default": {},
    "every link": {"resolution": 0.0},
    "rests": {"resolution": 0.5, "visible_resolution": 0.25},
    "empty": {"init": "zero"},
    "initial": {"leak": "initial"},
    "closed": {"leak": "none", "init": "zero"},
    "long steps": {"time_step": 2.5, "leak": "initial", "init": "zero"},
    "never": {"backflow": "never"},
    "never closed": {"backflow": "never", "leak": "none", "visible_resolution": 0.5},
    "never initial": {"backflow": "never", "leak": "initial", "init": "zero", "resolution": 1 / 32},
    "kaplanis": {"backflow": "kaplanis"},
    "kaplanis closed": {"backflow": "kaplanis", "leak": "none", "resolution": 0.4, "visible_resolution": 0.3},
    "times": {"backflow": [0.0, 21.3, 140.0, np.inf], "leak": "initial", "time_step": 1.5},
    "times out of order": {"backflow": [90.0, 31.0, 31.0, 7.0], "visible_resolution": 0.4},
    "times at the end": {"backflow": [5.0, 299.0, 12.0, 299.0], "init": "zero"},
}


@pytest.mark.parametrize("name", few(TRAININGS, ["default", "never"]))
def test_weights_and_misfit_are_those_of_the_derivative_of_the_training(name, x64, monkeypatch):
    n_updates, options = 299, TRAININGS[name]
    rows = held(CHAIN, n_updates, **options)
    for shape in (np.ones(n_updates), np.arange(n_updates) ** 3.0, np.arange(n_updates) % 100 == 7.0):
        profile = shape / shape.sum()
        average = CHAIN.averaging(profile, n_updates, **options)
        assert average.misfit == pytest.approx(misfit_of(average.weights, rows, profile), abs=1e-9)
        assert average.misfit == pytest.approx(
            misfit_of(best_weights(rows, profile), rows, profile), abs=1e-5
        )
        assert average.weights @ rows.sum(axis=0) == pytest.approx(1.0, abs=1e-12)
        assert average.amplification == pytest.approx(np.abs(average.weights).sum())
        # As in a training that is too long for every update to be counted by itself.
        with monkeypatch.context() as patch:
            patch.setattr(_record, "MAX_SINGLE", 0)
            _record.record.cache_clear()
            grouped = CHAIN.averaging(profile, n_updates, **options)
        _record.record.cache_clear()
        smooth = shape.dtype == float
        assert grouped.misfit == pytest.approx(average.misfit, abs=1e-5 if smooth else 3e-3)
        assert grouped.weights @ rows.sum(axis=0) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ["default", "never closed"])
def test_what_is_read_is_the_average_of_the_path(name, x64):
    """The readout of a real training with Adam is the sum over its path that the derivative says."""
    n_updates, options = 200, TRAININGS[name]
    tx = optax.chain(optax.adam(0.05), complex_synapse(chain=CHAIN, **options))
    start = {"w": jnp.linspace(-1.0, 2.0, 3)}

    def step(carry, noise):
        params, state = carry
        updates, state = tx.update(jax.tree.map(lambda p: p - 1 + noise, params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["w"]

    noise = np.random.default_rng(0).normal(size=n_updates)
    (params, state), path = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), noise))(start)
    average = CHAIN.averaging(profiles.Power(0.1), n_updates, **options)
    q = held(CHAIN, n_updates, **options) @ average.weights
    np.testing.assert_allclose(
        readout(state, params, average.weights)["w"], q @ np.vstack([start["w"], path]), rtol=1e-10
    )
    share = profiles.Power(0.1).share(np.arange(n_updates + 1), n_updates)
    np.testing.assert_allclose(
        readout(state, params, average.weights)["w"], np.diff(share)[::-1] @ path, rtol=0.02, atol=0.02
    )


# Profiles


N = 2000
BY_NAME = [
    (profiles.Mean(), lambda age: np.ones_like(age)),
    (profiles.Mean(0.25), lambda age: age < 0.25 * N),
    (profiles.Exponential(30.0), lambda age: np.exp(-age / 30)),
    (profiles.Exponential(1e5), lambda age: np.exp(-age / 1e5)),
    (
        profiles.Power(0.2),
        lambda age: (1 - age / N) ** (g := profiles.Power(0.2).exponent + 1) - (1 - (age + 1) / N) ** g,
    ),
    (profiles.Moment(123), lambda age: age == 123),
    (profiles.Moment(0), lambda age: age == 0),
]


@pytest.mark.parametrize(
    ("named", "function"),
    BY_NAME,
    ids=lambda value: str(value) if isinstance(value, profiles.Profile) else "",
)
def test_a_profile_by_name_as_a_function_and_as_an_array_is_the_same(named, function):
    ages = np.arange(N, dtype=float)
    averages = [
        CHAIN.averaging(profile, N, **LISTENING) for profile in (named, function, 3 * function(ages)[::-1])
    ]
    for other in averages[1:]:
        np.testing.assert_allclose(other.weights, averages[0].weights, rtol=1e-6, atol=1e-9)
        assert other.misfit == pytest.approx(averages[0].misfit, abs=1e-9)


@pytest.mark.parametrize("function", [lambda age: np.exp(-age / 1e6), lambda age: 1 / (1000 + age)])
def test_a_function_of_very_many_ages_is_not_asked_at_all_of_them(function, monkeypatch):
    n, asked = 3_000_000, []
    chain = BeakerChain.from_timescales(*suggest_timescales(n, purpose="averages"))
    table = chain.averaging(function(np.arange(n))[::-1], n, **LISTENING)
    some = chain.averaging(lambda age: asked.append(age.size) or function(age), n, **LISTENING)
    assert sum(asked) < 20_000
    np.testing.assert_allclose(some.weights, table.weights, rtol=1e-4, atol=1e-6)
    assert some.misfit == pytest.approx(table.misfit, abs=1e-5)


def test_an_exponential_average_that_was_kept_is_read():
    decay, n = 0.99, 1500
    kept = (1 - decay) * decay ** np.arange(n)[::-1]
    by_name = CHAIN.averaging(profiles.Exponential(-1 / np.log(decay)), n, **LISTENING)
    np.testing.assert_allclose(CHAIN.averaging(kept, n, **LISTENING).weights, by_name.weights, rtol=1e-6)


def test_a_power_function_is_the_recursion_of_karras_et_al():
    """Their eq. 127, and the standard deviation of eq. 123."""
    power, n = profiles.Power(0.1), 500
    shares = np.zeros(n)
    for t in range(1, n + 1):
        beta = (1 - 1 / t) ** (power.exponent + 1)
        shares *= beta
        shares[t - 1] += 1 - beta
    np.testing.assert_allclose(np.diff(power.share(np.arange(n + 1), n)), shares[::-1], atol=1e-15)
    t = (np.arange(n) + 0.5) / n
    assert np.sqrt(shares @ t**2 - (shares @ t) ** 2) == pytest.approx(0.1, rel=1e-3)
    assert profiles.Power(12**-0.5).exponent == pytest.approx(0.0, abs=1e-6)


def test_a_moment_in_the_past_is_a_bump_from_half_to_twice_its_age():
    n, chain = 2000, BeakerChain.from_timescales(8, 5.0, 16_000.0)
    rows = held(chain, n, **LISTENING)
    for age in (50, 200, 500):
        average = chain.averaging(profiles.Moment(age), n, **LISTENING)
        by_age = (rows @ average.weights)[:0:-1]
        assert by_age[age // 2 : 2 * age].sum() == pytest.approx(1.0, abs=0.15)
        assert 0.5 < average.misfit < 1


def test_what_no_mixture_can_give_has_a_large_misfit():
    wave = 1 + np.cos(np.arange(N) / 3)
    assert CHAIN.averaging(wave, N, **LISTENING).misfit > 0.15
    assert CHAIN.averaging(profiles.Mean(), 10**7).misfit > 0.5  # of a chain that has forgotten most of it


def test_every_smooth_profile_of_a_suggested_chain_has_a_misfit_of_at_most_three_in_a_thousand():
    for n in (100, 2500, 50_000, 10**8):
        n_beakers, alpha, beta = suggest_timescales(n, purpose="averages")
        chain = BeakerChain.from_timescales(n_beakers, alpha, beta)
        wanted = [profiles.Mean(), *map(profiles.Power, (0.25, 0.15, 0.1, 0.05))]
        wanted += [profiles.Exponential(time) for time in np.geomspace(2 * alpha, n, 5)]
        for options in (LISTENING, {**LISTENING, "visible_resolution": 1 / 16}):
            averages = [chain.averaging(profile, n, **options) for profile in wanted]
            assert max(average.misfit for average in averages) < 3e-3, n
            if n >= 1000:
                assert max(average.amplification for average in averages) < 6


def test_a_hundred_million_updates_are_averaged():
    chain = BeakerChain.from_timescales(12, 10.0, 1e9)
    for options in ({}, LISTENING, {"backflow": "kaplanis"}, {"resolution": 0.0}):
        average = chain.averaging(profiles.Mean(), 10**8, **options)
        assert average.misfit < 0.03  # twelve beakers for eight decades
        assert average.amplification < 10


@pytest.mark.parametrize(("n_beakers", "n_updates"), [(1, 7), (2, 1), (8, 1), (8, 3)])
def test_short_chains_and_trainings_have_averages_too(n_beakers, n_updates):
    chain = BeakerChain.from_timescales(n_beakers, 8.0, 8.0 * 4 ** (n_beakers - 1))
    for options in ({}, {"backflow": "never"}, {"visible_resolution": 1.0}, {"leak": "none"}):
        average = chain.averaging(profiles.Mean(), n_updates, **options)
        assert isinstance(average, Averaging)
        assert np.all(np.isfinite(average.weights))
        assert average.weights.shape == (n_beakers,)
    if n_beakers == 1:
        assert average.weights.tolist() == [1.0]
        assert average.misfit == pytest.approx(1 - n_updates**-0.5)


def test_rates_that_coincide_are_no_difficulty():
    """A_h of a one-sided chain with equal rates has one eigenvector."""
    chain = BeakerChain([1.0] * 9, [0.02] * 8 + [0.0])
    average = chain.averaging(profiles.Exponential(200.0), 1000, backflow="never", resolution=0.0)
    rows = held(chain, 1000, backflow="never", resolution=0.0)
    wanted = np.diff(profiles.Exponential(200.0).share(np.arange(1001), 1000))[::-1]
    assert average.misfit == pytest.approx(misfit_of(average.weights, rows, wanted), abs=1e-6)
    assert average.misfit < 0.02


def test_low_precision_is_amplified_less():
    """Of a chain in which neighbours hold nearly the same, a sharp edge asks for large differences."""
    n = 4000
    chain = BeakerChain.from_timescales(14, 10.0, 320_000.0)
    exact, coarse = (
        chain.averaging(profiles.Mean(0.1), n, **LISTENING, beaker_dtype=dtype)
        for dtype in (None, "bfloat16")
    )
    assert exact.amplification > 100 * coarse.amplification
    assert coarse.amplification < 10
    assert exact.misfit < coarse.misfit


# The number of updates


def test_the_number_of_updates_may_be_what_any_state_holds():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    tx = optax.chain(optax.adam(0.1), complex_synapse(chain=CHAIN))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for _ in range(7):
        optimizer.update(model, nnx.state(model, nnx.Param))
    wrapped = optax.tree_utils.tree_get(optimizer.opt_state, "n_updates")
    expected = CHAIN.averaging(profiles.Mean(), 7).weights
    for n in (wrapped, int(wrapped), jnp.int32(7), np.array(7), np.int64(7), 7.0):
        np.testing.assert_array_equal(CHAIN.averaging(profiles.Mean(), n).weights, expected)


@pytest.mark.parametrize("wrap", [lambda tx: tx, lambda tx: optax.MultiSteps(tx, 3)], ids=["", "accumulated"])
def test_the_number_of_updates_in_the_state_reads_a_training_that_stopped_early(wrap):
    """Weights that move by one in every update: the average is as far back as the profile."""
    chain = BeakerChain.from_timescales(*suggest_timescales(300, purpose="averages"))
    tx = wrap(optax.chain(optax.sgd(1.0), complex_synapse(chain=chain, **LISTENING)))
    params = jnp.zeros(2)
    state = tx.init(params)
    update = jax.jit(tx.update)
    for _ in range(120):
        updates, state = update(-jnp.ones(2), state, params)
        params = optax.apply_updates(params, updates)
    n = int(optax.tree_utils.tree_get(state, "n_updates"))
    assert n == params[0]
    wanted = np.diff(profiles.Power(0.2).share(np.arange(n + 1), n))[::-1] @ np.arange(1, n + 1)
    right = readout(state, params, chain.averaging(profiles.Power(0.2), n, **LISTENING).weights)
    wrong = readout(state, params, chain.averaging(profiles.Power(0.2), 300, **LISTENING).weights)
    assert right[0] == pytest.approx(wanted, rel=0.01)
    assert wrong[0] != pytest.approx(wanted, rel=0.1)


def test_a_time_of_less_than_one_update_is_taken_with_a_warning():
    for time in (0.01, 0.99, 0.999999):
        with pytest.warns(UserWarning, match="decay d has the time -1/ln d") as caught:
            average = CHAIN.averaging(profiles.Exponential(time), 100, **LISTENING)
        assert caught[0].filename == __file__
        as_function = CHAIN.averaging(lambda age, time=time: np.exp(-age / time), 100, **LISTENING)
        np.testing.assert_allclose(average.weights, as_function.weights, rtol=1e-6)
    CHAIN.averaging(profiles.Exponential(1.0), 100, **LISTENING)  # warnings are errors


# Names


def test_every_profile_is_documented():
    page = (ROOT / "docs" / "api.md").read_text()
    for name in profiles.__all__:
        documented = getattr(profiles, name)
        assert f"`profiles.{name}`" in page
        for field in dataclasses.fields(documented) if dataclasses.is_dataclass(documented) else ():
            assert f"    {field.name}: " in inspect.getdoc(documented)


# Many averages in one call


def test_a_matrix_of_weights_is_read_in_one_compiled_call():
    tx = complex_synapse(chain=CHAIN, init="zero")
    params = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(2)}
    state = tx.init(params)
    for _ in range(20):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
    matrix = np.array([[1.0, 0, 0, 0, 0], [0.5, 0, 1, -1, 0.5], [0.2] * 5])
    traced = []

    @jax.jit
    def read(state, params, matrix):
        traced.append(1)
        return jax.vmap(lambda weights: readout(state, params, weights))(matrix)

    together = read(state, params, jnp.asarray(matrix))
    for number, weights in enumerate(matrix):
        alone = readout(state, params, weights)
        jax.tree.map(lambda x, y, i=number: np.testing.assert_allclose(x[i], y, rtol=1e-5), together, alone)
    read(state, params, 2 * jnp.asarray(matrix))
    assert len(traced) == 1
    one_by_one = jax.lax.map(lambda weights: readout(state, params, weights), jnp.asarray(matrix))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), one_by_one, together)


def test_traced_weights_leave_masks_and_masked_leaves_alone():
    params = {"w": jnp.array([-jnp.inf, 1.0]), "b": jnp.ones(2)}
    state = optax.masked(complex_synapse(chain=CHAIN), {"w": True, "b": False}).init(params)
    read = jax.jit(readout)(state, params, jnp.full(5, 0.2))
    np.testing.assert_array_equal(read["w"], params["w"])
    np.testing.assert_array_equal(read["b"], params["b"])


def test_traced_weights_of_a_wrong_shape_are_an_error():
    params = jnp.ones(2)
    state = complex_synapse(chain=CHAIN).init(params)
    with pytest.raises(
        ValueError, match=r"weights must be finite, one for each of the 5 beakers, got shape \(4,\)"
    ):
        jax.jit(readout)(state, params, jnp.ones(4))


@pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_what_rounding_takes_from_an_average(dtype, error):
    """Of weights that drift and jitter, as in docs/averages.md."""
    n = 2000
    chain = BeakerChain.from_timescales(*suggest_timescales(n, purpose="averages"))
    options = {**LISTENING, "beaker_dtype": dtype}
    rng = np.random.default_rng(0)
    start = rng.uniform(-1, 1, 500).astype(np.float32)
    path = start + np.cumsum(rng.normal(size=(n, 500)) * 0.3 / np.sqrt(n), axis=0)
    path = (path + 0.02 * rng.normal(size=path.shape)).astype(np.float32)
    tx = complex_synapse(chain=chain, **options)

    def step(carry, wanted):
        params, state = carry
        return (wanted, tx.update(wanted - params, state, params)[1]), None

    (params, state), _ = jax.jit(lambda p: jax.lax.scan(step, (start, tx.init(start)), p))(path)
    with jax.enable_x64(True):
        rows = held(chain, n, **LISTENING)
    for profile in (profiles.Mean(), profiles.Power(0.1), profiles.Exponential(n / 10)):
        weights = chain.averaging(profile, n, **options).weights
        exact = rows @ weights @ np.vstack([start, path]).astype(np.float64)
        distance = np.linalg.norm(readout(state, params, weights) - exact)
        assert distance < error * np.linalg.norm(exact)


# Which leak


@pytest.mark.parametrize("leak", few(["zero", "none", "initial"], ["zero", "initial"]))
def test_a_closed_chain_is_the_one_in_which_each_beaker_is_an_average(leak, x64):
    """Its weights are positive and their sum is 1; a leak towards zero takes some."""
    rows = held(CHAIN, 300, **{**LISTENING, "leak": leak})
    totals = rows.sum(axis=0)
    assert np.all(rows > -1e-15)
    if leak == "zero":
        assert totals[-1] < 0.99
    else:
        np.testing.assert_allclose(totals, 1.0, rtol=1e-12)
    taken = rows[0, -1]
    assert (taken > held(CHAIN, 300, **LISTENING)[0, -1] + 0.01) == (leak == "initial")


# The command


@pytest.mark.slow
def test_the_tables_of_the_documentation_are_those_of_the_command():
    """Up to a digit: other machines add in another order, and rounding is at random."""
    page = (ROOT / "docs" / "averages.md").read_text()
    sections = [page.split(f"\n## {heading}\n")[1].split("\n## ")[0] for heading in ("How near", "Rounding")]
    cells = re.findall(r"^\| ([a-z].*?) \| (.*) \|$", "\n".join(sections), re.MULTILINE)
    printed = [(name, [float(cell) for cell in row.split(" | ")]) for name, row in cells if row[0].isdigit()]
    rows = [row for table in (misfits(), rounding()) for row in table.rows]
    assert len(printed) == len(rows) == 20 + 12
    for (name, numbers), (own, *values) in zip(printed, rows, strict=True):
        assert name == own
        np.testing.assert_allclose(numbers, values, rtol=0.15, atol=0.03)


# The benchmark: averages that others keep, and the chain beside them


def walk(n_updates, n_weights=20):
    """A random walk, its start first, ``[n_updates + 1, n_weights]``."""
    steps = np.random.default_rng(0).normal(size=(n_updates + 1, n_weights))
    return np.cumsum(steps, axis=0).astype(np.float32)


def kept_along(tx, path):
    """What is kept after each update of a path: Adam moves nothing where all gradients are zero."""

    def step(state, new):
        state = tx.update({"w": jnp.zeros_like(new)}, state, {"w": new})[1]
        return state, state[1]

    return jax.jit(lambda path: jax.lax.scan(step, tx.init({"w": path[0]}), path[1:])[1])(path)


def test_kept_exponential_averages_hold_what_the_benchmark_says_with_optax_and_with_flax():
    path, times = walk(200), (10.0, 70.0)
    held = kept.held_by_exponentials(200, times)
    for time, average, column in zip(times, kept_along(kept.exponentials(*times), path), held.T, strict=True):
        np.testing.assert_allclose(average["w"][-1], column @ path, rtol=1e-4, atol=1e-3)
        _, flax = kept_along(kept.nnx_exponential(time), path)
        np.testing.assert_allclose(jax.tree.leaves(flax)[0], average["w"], rtol=1e-5, atol=1e-4)
    _, sparse = kept_along(kept.sparse_exponential(10.0, 3), walk(7, 1))
    assert (np.diff(sparse["w"][:, 0]) != 0).tolist() == [False, False, True, False, False, True]


def test_averages_made_of_snapshots_of_power_functions_are_the_wanted_ones_up_to_their_misfit():
    path, n, n_snapshots = walk(240), 240, 12
    _, averages = kept_along(kept.power_functions(*kept.EDM2), path)
    at = kept.snapshot_updates(n, n_snapshots) - 1
    snapshots = np.concatenate([np.asarray(average["w"])[at] for average in averages])
    held = kept.held_by_snapshots(n, kept.EDM2, n_snapshots)
    np.testing.assert_allclose(snapshots, held.T @ path, rtol=1e-3, atol=1e-2)
    wanted = [profiles.Power(0.15), profiles.Power(0.05)]
    mixtures, misfits = kept.fit(held, wanted)
    assert misfits[0] < 1e-3
    assert misfits[1] < 1e-12  # this one is kept itself
    for mixture, profile in zip(mixtures.T, wanted, strict=True):
        exact = np.diff(profile.share(np.arange(n + 1), n))[::-1] @ path[1:]
        np.testing.assert_allclose(mixture @ snapshots, exact, rtol=0.05, atol=0.1)


def test_a_short_training_is_read_as_well_where_the_chain_looks_at_every_fourth_update():
    often, rarely = listening(SHORT), listening(SHORT, **RARER)
    assert max(often.misfits[:12].max(), rarely.misfits[:12].max()) < 0.003
    assert bytes_of_state(often.optimizer) == pytest.approx(8 + 7 * 4, abs=0.01)
    assert bytes_of_state(listening(beaker_dtype="bfloat16").optimizer) == pytest.approx(8 + 7 * 2, abs=0.01)


@pytest.mark.slow
def test_averages_that_are_read_after_a_training_are_as_accurate_as_those_kept_in_it():
    found = accuracies(load("Digits"), Setting("", 500, 1e-3, 16, wrong=0.3), seeds=1)
    assert found.read.max() > found.last.max() + 3  # or there would be nothing to compare
    at_kept = np.interp(np.log(KEPT), np.log(PARTS), found.read[0])
    np.testing.assert_allclose(at_kept, found.kept[0], atol=2.5)
