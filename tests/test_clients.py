"""What programs that carry such a chain need: gates, learned chains, initial beakers, listening, masks."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few

from cs_optax import (
    BeakerChain,
    complex_synapse,
    drift_report,
    get_beakers,
    published,
    readout,
    relax,
    reset_beakers,
    settle_beakers,
)

CHAIN = BeakerChain.from_timescales(4, 4.0, 256.0)
PARAMS = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(3)}
GRADS = {"w": jnp.ones((2, 3)), "b": jnp.arange(3.0)}


def steps(tx, n_steps, params=PARAMS, grads=GRADS, state=None, **extra):
    """The parameters and the state after some steps with the same gradient."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(grads, state, params, **extra)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda *carry: jax.lax.scan(step, carry, length=n_steps)[0])
    return run(params, tx.init(params) if state is None else state)


def assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


def assert_identical(a, b):
    """Bit for bit, the sign of zero included."""
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(np.asarray(x).view("u1"), np.asarray(y).view("u1")), a, b
    )


# A chain that listens


@pytest.mark.parametrize(
    ("base", "method", "dtype"),
    few(
        [
            (optax.sgd(0.1, momentum=0.9), "exchange", "float32"),
            (optax.sgd(0.1, momentum=0.9), "sequential_euler", "bfloat16"),
            (optax.adamw(0.01), "exchange", "float32"),
            (optax.adamw(0.01), "sequential_euler", "float32"),
            (optax.adamw(0.01), "exchange", "bfloat16"),
            (optax.adamw(0.01), "exchange", "float16"),
            (optax.lion(0.01), "exchange", "bfloat16"),
            (optax.contrib.muon(0.01), "exchange", "float32"),
        ],
        lambda base, method, dtype: (method == "exchange") == (dtype == "float32"),
    ),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_chain_that_listens_leaves_weights_and_updates_alone_bit_for_bit(base, method, dtype):
    # A compiler may keep digits of float16 that a rounding is to drop, in one program and not in another:
    # float16 goes operation by operation, of which there are fewer here.
    eager = dtype == "float16"
    params, grads = (
        {name: leaf.astype(dtype) for name, leaf in tree.items() if name == "w" or not eager}
        for tree in (PARAMS, GRADS)
    )
    listening = optax.chain(base, complex_synapse(4, 4.0, 256.0, backflow="never", method=method))
    with jax.disable_jit(eager):
        alone, _ = steps(base, 2 if eager else 20, params, grads)
        watched, state = steps(listening, 2 if eager else 20, params, grads)
    assert_identical(watched, alone)
    assert_identical(listening.update(grads, state, watched)[0], base.update(grads, state[0], watched)[0])
    assert all(
        np.any(np.asarray(u["w"]) != np.asarray(PARAMS["w"], u["w"].dtype)) for u in get_beakers(state)[:2]
    )


def test_one_beaker_that_listens_is_the_identity():
    tx = complex_synapse(1, beta=5.0, backflow="never")
    assert_identical(steps(tx, 10)[0], steps(optax.identity(), 10)[0])


# Modulation


def test_one_factor_for_all_is_another_time_step():
    tx, faster = complex_synapse(chain=CHAIN), complex_synapse(chain=CHAIN, time_step=0.5)
    assert_same(steps(tx, 50, modulation=0.5), steps(faster, 50), rtol=1e-6)


@pytest.mark.parametrize("method", ["exchange", "sequential_euler"])
@pytest.mark.parametrize("backflow", few(["always", "never", [3.0, 6.0, 9.0]], lambda b: b != "never"))
def test_factors_of_one_are_no_factors(method, backflow):
    tx = complex_synapse(chain=CHAIN, resolution=0.0, method=method, backflow=backflow, leak="initial")
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    assert_same(steps(tx, 20, modulation=ones), steps(tx, 20), rtol=1e-5, atol=1e-6)


def test_each_element_has_the_time_that_its_factor_gives():
    """A weight that is visited every step beside one that is never: two trainings of their own."""
    tx = complex_synapse(chain=CHAIN, resolution=0.0)
    factors = {"w": jnp.array([[0.0, 1.0, 2.5]]), "b": jnp.float32(0.5)}
    params, state = steps(tx, 15, modulation=factors)
    for column, factor in enumerate([0.0, 1.0, 2.5]):
        alone, alone_state = steps(complex_synapse(chain=CHAIN, resolution=0.0, time_step=factor), 15)
        np.testing.assert_allclose(params["w"][:, column], alone["w"][:, column], rtol=1e-5)
        for u, v in zip(get_beakers(state), get_beakers(alone_state), strict=True):
            np.testing.assert_allclose(u["w"][:, column], v["w"][:, column], rtol=1e-5, atol=1e-6)
    half, _ = steps(complex_synapse(chain=CHAIN, resolution=0.0, time_step=0.5), 15)
    np.testing.assert_allclose(params["b"], half["b"], rtol=1e-5)


def test_a_factor_of_zero_leaves_a_parameter_and_its_beakers_alone_bit_for_bit():
    tx = optax.chain(optax.sgd(0.1), complex_synapse(chain=CHAIN, init="zero", beaker_dtype="bfloat16"))
    params, state = steps(tx, 5, modulation={"w": 0.0, "b": 1.0})
    assert_identical(params["w"], steps(optax.sgd(0.1), 5)[0]["w"])
    assert all(not np.any(np.asarray(u["w"], float)) for u in get_beakers(state))
    assert np.any(np.asarray(get_beakers(state)[0]["b"], float))


def test_modulated_steps_settle_what_is_owed_and_multirate_steps_go_on():
    """A mixture of both stays near the exact solution."""
    tx, state, params = complex_synapse(chain=CHAIN), None, jnp.array([1.0])
    exact = np.ones(4)
    for n, factor in enumerate([None, jnp.array([0.5]), None, jnp.array([2.0])]):
        extra = {} if factor is None else {"modulation": factor}
        params, state = steps(tx, 7 + n, params, jnp.zeros(1), state, **extra)
        exact = CHAIN.propagator((7 + n) * (1.0 if factor is None else float(factor[0]))) @ exact
    np.testing.assert_allclose(params, exact[:1], rtol=2e-2)


def test_modulation_passes_through_chains_and_partitions():
    tx = optax.partition(
        {"w": optax.chain(optax.sgd(0.1), complex_synapse(chain=CHAIN)), "b": optax.sgd(0.1)},
        {"w": "w", "b": "b"},
    )
    params, _ = steps(tx, 5, modulation={"w": 0.0, "b": 0.0})
    assert_identical(params, steps(optax.sgd(0.1), 5)[0])


@pytest.mark.parametrize("wrong", [{"w": 1.0}, {"w": jnp.ones(2), "b": 1.0}, [1.0, 2.0]])
def test_wrong_modulation_is_an_error_that_names_it(wrong):
    tx = complex_synapse(chain=CHAIN)
    with pytest.raises(ValueError, match="modulation must"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, modulation=wrong)


@pytest.mark.parametrize("factor", [-1.0, jnp.full(3, -1.0)])
def test_no_factor_lets_time_run_backwards(factor):
    tx, params = complex_synapse(chain=CHAIN, resolution=0.0), jnp.arange(3.0)
    step = jax.jit(
        lambda s, p: tx.update(
            jnp.zeros(3), s, p, modulation=factor if jnp.ndim(factor) else jnp.asarray(factor)
        )
    )
    assert_identical(step(tx.init(params), params)[0], jnp.zeros(3))
    with pytest.raises(ValueError, match=r"modulation must be finite and at least 0, got -1\.0"):
        tx.update(jnp.zeros(3), tx.init(params), params, modulation=-1.0)


def test_groups_without_parameters_take_a_modulation_too():
    tx = optax.partition(
        {"a": complex_synapse(chain=CHAIN), "b": complex_synapse(chain=CHAIN)}, {"w": "a", "b": "a"}
    )
    steps(tx, 2, modulation={"w": 0.5, "b": 1.0})


# Chains that are learned, traced, or one for each leaf


def outcome(chain):
    """What is left of a unit after ten steps."""
    tx = complex_synapse(chain=chain, resolution=0.0, init="zero")
    return steps(tx, 10, jnp.array(1.0), jnp.array(0.0))[0]


def test_capacities_and_conductances_have_derivatives(x64):
    slopes = jax.grad(outcome)(CHAIN)
    assert isinstance(slopes, BeakerChain)
    for name in ("capacities", "conductances"):
        for k in range(2):
            high, low = (
                BeakerChain(
                    **{
                        **vars(CHAIN),
                        name: [v * (1 + h * (j == k)) for j, v in enumerate(getattr(CHAIN, name))],
                    }
                )
                for h in (1e-5, -1e-5)
            )
            finite = (outcome(high) - outcome(low)) / (2e-5 * getattr(CHAIN, name)[k])
            np.testing.assert_allclose(getattr(slopes, name)[k], finite, rtol=1e-4)


def test_chains_can_be_mapped_over():
    chains = [BeakerChain.from_timescales(3, alpha, 100.0) for alpha in (4.0, 8.0, 16.0)]
    stacked = jax.tree.map(lambda *numbers: jnp.stack(jnp.asarray(numbers)), *chains)
    np.testing.assert_allclose(jax.vmap(outcome)(stacked), [outcome(chain) for chain in chains], rtol=1e-6)


def test_a_traced_chain_is_the_chain():
    with_arrays = jax.jit(lambda C, g: outcome(BeakerChain(C, g)))
    C, g = jnp.asarray(CHAIN.capacities), jnp.asarray(CHAIN.conductances)
    np.testing.assert_allclose(with_arrays(C, g), outcome(CHAIN), rtol=1e-6)


def test_a_traced_chain_has_no_numbers_on_the_host():
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(lambda chain: chain.timescales())(CHAIN)


def test_a_tree_of_chains_gives_each_parameter_its_own():
    chains = {"w": CHAIN, "b": BeakerChain.benna_fusi(2)}
    params, state = steps(optax.chain(optax.sgd(0.1), complex_synapse(chain=chains)), 20)
    for name, chain in chains.items():
        alone, _ = steps(optax.chain(optax.sgd(0.1), complex_synapse(chain=chain)), 20)
        assert_identical(params[name], alone[name])
    assert get_beakers(state)[2]["b"] is None


@pytest.mark.parametrize("wrong", [{"w": 3}, [], {"w": CHAIN, "b": "slow"}])
def test_a_tree_of_anything_else_is_an_error(wrong):
    with pytest.raises(ValueError, match="chain must be a BeakerChain or a tree of them"):
        complex_synapse(chain=wrong)


def test_a_chain_is_injected_without_static_arguments():
    tx = optax.inject_hyperparams(complex_synapse)(chain=CHAIN, time_step=2.0)
    assert_same(steps(tx, 20)[0], steps(complex_synapse(chain=CHAIN, time_step=2.0), 20)[0], rtol=1e-5)


# Initial beakers


def test_beakers_start_as_a_tree():
    pretrained = jax.tree.map(lambda p: 3 * p, PARAMS)
    for beaker in get_beakers(complex_synapse(chain=CHAIN, init=pretrained).init(PARAMS)):
        assert_identical(beaker, pretrained)


def test_beakers_start_as_a_tree_in_a_tree_of_chains():
    pretrained = jax.tree.map(lambda p: 3 * p, PARAMS)
    state = complex_synapse(chain={"w": CHAIN, "b": CHAIN}, init=pretrained).init(PARAMS)
    assert_identical(get_beakers(state)[0], pretrained)


@pytest.mark.parametrize("beta", [lambda count: 5.0, jnp.float32(5.0)])
def test_one_beaker_needs_no_alpha_whatever_beta_is(beta):
    params, _ = steps(complex_synapse(1, beta=beta), 10)
    assert_same(params, steps(complex_synapse(1, beta=5.0), 10)[0], rtol=1e-6)


def test_beakers_start_as_a_function_says():
    def init(k, params):
        return jax.tree.map(lambda p: jax.random.normal(jax.random.key(k), p.shape), params)

    beakers = get_beakers(jax.jit(complex_synapse(chain=CHAIN, init=init).init)(PARAMS))
    for k, beaker in enumerate(beakers, start=2):
        assert_same(beaker, init(k, PARAMS), rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"w": jnp.ones((2, 3))}, "init must have the structure of params"),
        ({**PARAMS, "b": jnp.ones(2)}, "init must have"),
    ],
)
def test_beakers_of_other_shapes_are_an_error(wrong, message):
    with pytest.raises(ValueError, match=message):
        complex_synapse(chain=CHAIN, init=wrong).init(PARAMS)


def test_abstract_parameters_have_an_abstract_state():
    abstract = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), PARAMS)
    tx = complex_synapse(chain=CHAIN, leak="initial", beaker_dtype="bfloat16")
    state, known = tx.init(abstract), jax.eval_shape(tx.init, PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)), state, known)


def test_the_count_of_a_chain_is_that_of_adam():
    """optax.tree.get refuses names that occur twice."""
    tx = optax.chain(optax.scale_by_adam(), optax.scale(-0.1), complex_synapse(chain=CHAIN))
    assert optax.tree.get(steps(tx, 3)[1], "count") == 3


# Rounding


def test_members_with_seeds_of_their_own_round_independently():
    params = jnp.full(4000, 0.37)

    def rounded(seed):
        tx = complex_synapse(3, 500.0, 8000.0, beaker_dtype="bfloat16", seed=seed)
        return get_beakers(steps(tx, 3, params, 0.01 * jnp.ones(4000))[1])[0].astype(jnp.float32)

    one, other = jax.vmap(rounded)(jnp.arange(2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    np.testing.assert_array_equal(one, rounded(0))


# What links still owe


@pytest.mark.parametrize("leak", few(["zero", "none", "initial"], ["zero", "initial"]))
def test_settled_beakers_are_those_of_no_time(leak):
    tx = complex_synapse(5, 20.0, 5120.0, leak=leak, visible_resolution=0.2, init="zero")
    params, state = steps(tx, 50)
    settled, after = jax.jit(settle_beakers)(state, params)
    expected, expected_state = relax(state, params, 0.0)
    assert_same((settled, get_beakers(after)), (expected, get_beakers(expected_state)), rtol=1e-5, atol=1e-6)
    assert np.all(np.asarray(after.clocks[:, 1:]) == 0)
    fresh = jax.jit(lambda s, p: get_beakers(s, params=p))(state, params)
    assert_same(fresh, get_beakers(after), rtol=1e-6)
    weights = [0.1, 0.2, 0.3, 0.2, 0.2]
    assert_same(readout(state, params, weights, settle=True), readout(after, settled, weights), rtol=1e-6)


@pytest.mark.parametrize("backflow", ["always", "never", [10.0, 40.0, 1e9]])
def test_settling_is_a_step_without_time_in_which_every_link_exchanges(backflow):
    options = {"chain": CHAIN, "backflow": backflow, "init": "zero"}
    params, state = steps(complex_synapse(**options, visible_resolution=1.5, resolution=2.0), 41)
    assert np.all(np.asarray(state.clocks[0, 2:]) > 0)  # all hidden links owe something
    settled, after = settle_beakers(state, params)
    none = jax.tree.map(jnp.zeros_like, params)
    expected = complex_synapse(**options, time_step=0.0, resolution=0.0).update(none, state, params)
    assert_same(settled, optax.apply_updates(params, expected[0]), rtol=1e-6)
    assert_same(get_beakers(after), get_beakers(expected[1]), rtol=1e-5, atol=1e-7)


def test_the_groups_of_a_partition_settle_each_with_their_chain():
    tx = complex_synapse(chain={"w": BeakerChain.benna_fusi(5), "b": BeakerChain.benna_fusi(3)}, init="zero")
    params, state = steps(tx, 7)
    fresh = get_beakers(state, params=params)
    for name, n_beakers in (("w", 5), ("b", 3)):
        alone, alone_state = steps(complex_synapse(chain=BeakerChain.benna_fusi(n_beakers), init="zero"), 7)
        expected = get_beakers(alone_state, params=alone)
        assert_same([u[name] for u in fresh[: n_beakers - 1]], [u[name] for u in expected], rtol=1e-6)


# Infinite and broken weights


@pytest.mark.parametrize(
    "options", [{}, {"resolution": 0.0}, {"method": "sequential_euler"}, {"leak": "none"}, {"init": "zero"}]
)
@pytest.mark.parametrize("dtype", few(["float32", "bfloat16"], ["float32"]))
def test_a_mask_of_minus_infinity_stays_as_adam_leaves_it(options, dtype):
    params = {"mask": jnp.array([0.0, -jnp.inf, jnp.inf], dtype), "w": jnp.ones(3, dtype)}
    grads = {"mask": jnp.zeros(3, dtype), "w": jnp.ones(3, dtype)}
    after, state = steps(
        optax.chain(optax.adam(0.1), complex_synapse(4, 4.0, 256.0, **options)), 20, params, grads
    )
    np.testing.assert_array_equal(np.asarray(after["mask"], float), [0.0, -np.inf, np.inf])
    assert np.all(np.isfinite(np.asarray(after["w"], float)))
    relaxed, _ = relax(state[1], after, 10.0)
    np.testing.assert_array_equal(np.asarray(relaxed["mask"], float)[1:], [-np.inf, np.inf])


def test_a_readout_leaves_a_mask_as_it_is():
    params = jnp.array([-jnp.inf, 1.0])
    state = complex_synapse(chain=CHAIN).init(params)
    for weights in ([1.0, 0.0, 0.0, 0.0], [0.0, 2.0, -1.0, 0.0]):
        np.testing.assert_array_equal(readout(state, params, weights), params)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_rounding_takes_from_a_weight_stays_small_however_small_the_recall(dtype):
    """A recall that ends with the learning rate amplified it, to a thousand times the weights."""
    schedule = optax.cosine_decay_schedule(1e-2, 1000)
    tx = optax.chain(
        optax.adam(schedule), complex_synapse(4, 8.0, 512.0, recall=lambda n: (100 * schedule(n)) ** 2)
    )
    _, state = steps(tx, 999, jnp.linspace(0.5, 1.0, 50, dtype=dtype), jnp.zeros(50, dtype))
    assert np.abs(np.asarray(get_beakers(state)[0])).max() < 1.1


def test_a_weight_that_is_no_number_does_not_poison_its_beakers():
    params, grads = jnp.ones(2), jnp.array([jnp.nan, 0.0])
    after, state = steps(optax.chain(optax.sgd(0.1), complex_synapse(chain=CHAIN)), 20, params, grads)
    assert np.isnan(after).tolist() == [True, False]
    assert np.all(np.isfinite(np.stack(get_beakers(state))))


# Timescales that change


def test_shorter_timescales_act_on_the_time_to_come(x64):
    """Shortened by 100 in the middle: each step as where every link exchanges in every step."""

    def follow(**options):
        alpha = lambda count: jnp.where(count < 100, 800.0, 8.0)  # noqa: E731
        tx = complex_synapse(5, alpha, lambda count: 256 * alpha(count), init="zero", **options)
        params, state, u_2 = jnp.array(2.0), tx.init(jnp.array(2.0)), []
        step = jax.jit(lambda params, state: tx.update(jnp.array(0.0), state, params))
        for _ in range(110):
            updates, state = step(params, state)
            params = params + updates
            u_2.append(get_beakers(state)[0])
        return np.array(u_2)

    multirate, every = follow(), follow(resolution=0.0)
    np.testing.assert_allclose(multirate[99:], every[99:], rtol=0.05)


@pytest.mark.parametrize("jit", [jax.jit, lambda f: f])
def test_time_never_runs_backwards(jit):
    tx = complex_synapse(chain=CHAIN, time_step=lambda count: -1.0, init="zero")
    updates, state = jit(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
    assert_identical(updates, PARAMS)
    assert np.all(np.asarray(state.clocks) == 0)


# Weights that change from outside


def test_a_mask_says_which_entries_are_reset():
    params, state = steps(complex_synapse(chain=CHAIN), 20)
    pruned = params["w"] > 0
    params = {**params, "w": jnp.where(pruned, 0.0, params["w"])}
    reset = reset_beakers(state, params, mask={"w": pruned, "b": False})
    for new, old in zip(get_beakers(reset), get_beakers(state), strict=True):
        np.testing.assert_array_equal(new["w"], np.where(pruned, 0.0, old["w"]))
        assert_identical(new["b"], old["b"])
    assert_identical(reset.clocks, state.clocks)


@pytest.mark.parametrize("mask", [{"w": True}, {"w": jnp.ones(5, bool), "b": True}, "all"])
def test_wrong_masks_are_errors_that_name_them(mask):
    with pytest.raises(ValueError, match="mask must"):
        reset_beakers(complex_synapse(chain=CHAIN).init(PARAMS), PARAMS, mask=mask)


def test_a_closed_chain_with_recall_ends_where_the_report_says():
    tx = complex_synapse(chain=BeakerChain.benna_fusi(3), leak="none", recall=0.25, resolution=0.0)
    params, state = steps(tx, 5, jnp.array([1.0]), jnp.array([0.1]))
    report = drift_report(state, params)
    end, _ = relax(state, params, 1e5)
    distance = float(jnp.abs(params - end)[0])
    np.testing.assert_allclose(report.memory_timescale * report.drift, distance, rtol=1e-3)


def test_groups_without_hidden_beakers_hide_no_others():
    tx = complex_synapse(chain={"w": CHAIN, "b": BeakerChain.benna_fusi(1)})
    assert get_beakers(tx.init(PARAMS))[0]["b"] is None


@pytest.mark.parametrize("seed", ["a", None, 1.5, jnp.sin])
def test_seeds_that_are_no_integers_are_errors(seed):
    with pytest.raises(ValueError, match="seed must be an integer"):
        complex_synapse(chain=CHAIN, seed=seed)


# Warnings


def test_parameters_too_coarse_for_their_chain_are_warned_of():
    tx = complex_synapse(8, 500.0, 500.0 * 4**7)
    with pytest.warns(UserWarning, match=r"parameters of bfloat16 are too coarse for this chain"):
        tx.init({"w": jnp.ones(3, jnp.bfloat16)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tx.init({"w": jnp.ones(3)})
        complex_synapse(4, 8.0, 512.0).init(jnp.ones(3, jnp.bfloat16))


@pytest.mark.parametrize("factory", [published.sgd, published.adam])
def test_published_optimizers_have_no_arguments_of_other_conventions(factory):
    with pytest.raises(TypeError):
        factory(0.1, time_step=1.0)
