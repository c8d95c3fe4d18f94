"""Optax's combinators and wrappers around the synapse, and the synapse after them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from tiers import few
from trials import (
    CHAIN,
    PARAMS,
    assert_close,
    assert_equal,
    content,
    fresh,
    infinitely_slow,
    loss,
    stepper,
    train,
)

from cs_optax import BeakerChain, ComplexSynapseState, complex_synapse, diagnose, get_beakers, readout

CAPACITIES = BeakerChain.from_timescales(**CHAIN).capacities
MASK = {"kernel": True, "rest": False}
ZEROS = jax.tree.map(jnp.zeros_like, PARAMS)
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def synapse(**options):
    return complex_synapse(**CHAIN, **options)


def synapse_state(state):
    """The one synapse state inside."""
    return optax.tree.get(state, "ComplexSynapseState")


def update(tx, updates, state, params):
    """New parameters and state, compiled."""
    updates, state = jax.jit(tx.update)(updates, state, params)
    return optax.apply_updates(params, updates), state


def test_named_and_nested_chains_are_chains():
    base, ours = optax.adam(0.1), synapse()
    params, state = train(optax.chain(base, ours))
    named_params, named_state = train(optax.named_chain(("base", base), ("synapse", ours)))
    nested_params, nested_state = train(optax.chain(optax.chain(base), optax.chain(optax.identity(), ours)))
    assert isinstance(named_state["synapse"], ComplexSynapseState)
    assert_equal((named_params, named_state["synapse"]), (params, state[1]))
    assert_equal((nested_params, nested_state[1][1]), (params, state[1]))


def test_a_transformation_after_it_changes_the_weights_but_not_what_the_beakers_got():
    tx = optax.chain(synapse(init="zero", leak="none"), optax.scale(0.5))
    plain = synapse(init="zero", leak="none")
    params, state = update(tx, ZEROS, tx.init(PARAMS), PARAMS)
    plain_params, plain_state = update(plain, ZEROS, plain.init(PARAMS), PARAMS)
    assert_equal(get_beakers(state), get_beakers(plain_state))
    assert_close(
        jax.tree.map(lambda p, new: p - new, PARAMS, params),
        jax.tree.map(lambda p, new: (p - new) / 2, PARAMS, plain_params),
    )


def test_weights_are_not_kept_nonnegative_from_before_it_but_are_from_after_it():
    rule, ours = optax.keep_params_nonnegative(), synapse(init="zero", leak="none")
    outcomes = []
    for tx in (optax.chain(rule, ours), optax.chain(ours, rule)):
        params, state = jnp.array(0.1), tx.init(jnp.array(0.1))
        state = optax.tree.set(state, beakers=tuple(jnp.array(-1.0) for _ in range(3)))
        outcomes.append(update(tx, jnp.array(0.0), state, params)[0])
    assert outcomes[0] < 0
    assert outcomes[1] == 0


@pytest.mark.parametrize(
    "mask",
    [MASK, {"kernel": True, "rest": [False]}, lambda tree: jax.tree.map(lambda p: p.ndim > 1, tree)],
    ids=["prefix", "tree", "callable"],
)
def test_masked_leaves_are_bit_identical_to_the_plain_optimizer(mask):
    params, state = train(optax.chain(optax.adam(0.1), optax.masked(synapse(), mask)))
    plain, _ = train(optax.adam(0.1))
    everywhere, _ = train(optax.chain(optax.adam(0.1), synapse()))
    assert_equal(params["rest"], plain["rest"])
    assert_close(params["kernel"], everywhere["kernel"])
    assert np.all(params["kernel"] != plain["kernel"])
    assert all(jax.tree.leaves(beaker["rest"]) == [] for beaker in get_beakers(state))


def test_zero_gradients_still_move_weights_but_not_masked_ones():
    tx = optax.chain(optax.sgd(0.1), optax.masked(synapse(init="zero"), MASK))
    params, _ = update(tx, ZEROS, tx.init(PARAMS), PARAMS)
    assert np.all(params["kernel"] != PARAMS["kernel"])
    assert_equal(params["rest"], fresh()["rest"])


@pytest.mark.parametrize("options", [{"leak": "none"}, {"leak": "initial"}])
def test_zero_gradients_move_nothing_where_all_beakers_are_alike_and_nothing_leaks_to_zero(options):
    tx = optax.chain(optax.adam(0.1), synapse(**options))
    params, state = fresh(), tx.init(fresh())
    for _ in range(8):
        params, state = update(tx, ZEROS, state, params)
    assert_equal(params, fresh())


@pytest.mark.parametrize("combine", [optax.partition, optax.multi_transform])
def test_groups_of_a_partition_are_trainings_of_their_own(combine):
    groups = {
        "long": optax.chain(optax.adam(0.1), synapse()),
        "short": optax.chain(optax.sgd(0.1), complex_synapse(2, 8.0, 32.0, leak="initial")),
        "plain": optax.adam(0.1),
    }
    params = {"a": PARAMS["kernel"], "b": {"c": PARAMS["rest"][0], "d": -PARAMS["kernel"]}}
    tx = combine(groups, {"a": "long", "b": {"c": "short", "d": "plain"}})
    together, state = train(tx, params)
    for name, leaf in (("long", ("a",)), ("short", ("b", "c")), ("plain", ("b", "d"))):
        start, end = params, together
        for key in leaf:
            start, end = start[key], end[key]
        assert_close(end, train(groups[name], start)[0])
    assert [jax.tree.leaves(beaker["b"]) != [] for beaker in get_beakers(state)] == [True, False, False]


def test_weights_frozen_after_it_stand_still_while_their_beakers_go_on():
    frozen = {"kernel": False, "rest": True}
    params, state = train(optax.chain(optax.adam(0.1), synapse(), optax.freeze(frozen)))
    free, free_state = train(optax.chain(optax.adam(0.1), synapse()))
    assert_equal(params["rest"], fresh()["rest"])
    assert_close(params["kernel"], free["kernel"])  # of another program
    assert_close(get_beakers(state)[0]["kernel"], get_beakers(free_state)[0]["kernel"])
    assert np.all(get_beakers(state)[0]["rest"][0] != PARAMS["rest"][0])


def test_selective_transform_has_no_beakers_for_frozen_weights():
    tx = optax.selective_transform(
        optax.chain(optax.adam(0.1), synapse()), freeze_mask={"kernel": False, "rest": True}
    )
    params, state = train(tx)
    free, _ = train(optax.chain(optax.adam(0.1), synapse()))
    assert_equal(params["rest"], fresh()["rest"])
    assert_close(params["kernel"], free["kernel"])
    assert all(jax.tree.leaves(beaker["rest"]) == [] for beaker in get_beakers(state))


def test_accumulated_steps_leave_the_beakers_alone_and_are_one_step_of_a_large_batch():
    inner = optax.chain(optax.sgd(0.1, momentum=0.9), synapse(leak="initial"))
    tx = optax.MultiSteps(inner, every_k_schedule=3)
    batches = [jax.tree.map(lambda p, i=i: np.sin(p + i), PARAMS) for i in range(6)]
    params, state = fresh(), tx.init(fresh())
    large, large_state = fresh(), inner.init(fresh())
    for number, batch in enumerate(batches):
        new, new_state = update(tx, batch, state, params)
        if number % 3 == 2:
            mean = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *batches[number - 2 : number + 1])
            large, large_state = update(inner, mean, large_state, large)
        else:
            assert_equal((new, new_state.inner_opt_state), (params, state.inner_opt_state))
        params, state = new, new_state
    assert_close((params, state.inner_opt_state), (large, large_state))


@pytest.mark.parametrize("value", few([np.nan, np.inf], np.isnan))
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.MultiSteps(tx, 1, should_skip_update_fn=optax.skip_not_finite),
    ],
    ids=["apply_if_finite", "skip_not_finite"],
)
def test_steps_that_are_not_finite_leave_weights_and_beakers_alone(wrap, value):
    tx = wrap(optax.chain(optax.adam(0.1), synapse()))
    params, state = train(tx, steps=4)
    bad = jax.tree.map(lambda p: np.full_like(p, value), PARAMS)
    after, after_state = update(tx, bad, state, params)
    assert_equal((after, synapse_state(after_state)), (params, synapse_state(state)))
    alone = optax.chain(optax.adam(0.1), synapse())
    assert_close(train(tx, after, 4, after_state)[0], train(alone, steps=8)[0])


def test_one_gradient_that_is_not_a_number_reaches_the_weight_and_no_beaker():
    tx = optax.chain(optax.adam(0.1), synapse(resolution=0.0))
    params, state = train(tx, steps=4)
    bad = dict(ONES, kernel=np.full((2, 3), np.nan, np.float32))
    params, state = update(tx, bad, state, params)
    assert np.all(np.isnan(params["kernel"]))
    assert np.all(np.isfinite(params["rest"][0]))
    for beaker in get_beakers(state):
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(beaker))


def every_other(step):
    return step % 2 == 1


def test_conditionally_masked_steps_stop_the_chain_and_the_time():
    inner = optax.chain(optax.sgd(0.1), synapse())
    tx = optax.conditionally_mask(inner, every_other)
    params, state = train(tx, steps=8)
    assert_close((params, state.inner_state), train(inner, steps=4))


def test_conditional_transformation_stops_time_in_the_chain_while_the_weights_go_on():
    """A time step as long as the pause makes up for it, but for the error of exchanging less often."""
    chain = {"n_beakers": 4, "alpha": 128.0, "beta": 2048.0}
    plain = optax.chain(optax.sgd(0.1), complex_synapse(**chain))
    sparse = optax.conditionally_transform(complex_synapse(**chain, time_step=2.0), every_other)
    params, state = train(optax.chain(optax.sgd(0.1), sparse), steps=8)
    exact, exact_state = train(plain, steps=8)
    assert synapse_state(state).n_updates == 4
    np.testing.assert_allclose(synapse_state(state).clocks[:, 0].sum(), 8.0)
    assert_close(params, exact, rtol=0.01, atol=0.01)
    assert_close(get_beakers(state), get_beakers(exact_state), rtol=0.01, atol=0.01)
    off, off_state = update(optax.chain(optax.sgd(0.1), sparse), ONES, state, params)
    assert_equal(off, optax.apply_updates(params, optax.tree.scale(-0.1, ONES)))
    assert_equal(synapse_state(off_state), synapse_state(state))


@pytest.mark.parametrize("options", [{}, {"leak": "initial"}, {"method": "sequential_euler"}])
def test_flattened_parameters_train_as_trees_do(options):
    flat = optax.flatten(optax.chain(optax.adam(0.1), synapse(**options)))
    params, state = train(flat)
    plain, plain_state = train(optax.chain(optax.adam(0.1), synapse(**options)))
    assert_close(params, plain)
    for beaker, tree in zip(get_beakers(state), get_beakers(plain_state), strict=True):
        assert_close(beaker, jax.flatten_util.ravel_pytree(tree)[0])


def test_flattened_beakers_are_read_beside_flattened_parameters():
    tx = optax.flatten(optax.chain(optax.sgd(0.1), synapse()))
    params, state = train(tx)
    vector, unflatten = jax.flatten_util.ravel_pytree(params)
    plain, plain_state = train(optax.chain(optax.sgd(0.1), synapse()))
    mixed = unflatten(readout(state, vector, [0.5, 0.5, 0.0, 0.0]))
    assert_close(mixed, readout(plain_state, plain, [0.5, 0.5, 0.0, 0.0]))
    np.testing.assert_allclose(
        diagnose(state, vector).distances, diagnose(plain_state, plain).distances, rtol=1e-5
    )
    with pytest.raises(ValueError, match="params must have the same leaves and shapes as the beakers"):
        readout(state, params, [0.5, 0.5, 0.0, 0.0])


def lookahead_training(tx, steps):
    def step(params, state):
        updates, state = tx.update(jax.grad(loss)(params.fast), state, params)
        return optax.apply_updates(params, updates), state

    params = optax.LookaheadParams.init_synced(fresh())
    state = tx.init(params)
    for _ in range(steps):
        params, state = jax.jit(step)(params, state)
    return params, state


def test_lookahead_moves_the_fast_weights_from_outside_and_leaves_their_beakers():
    inner = optax.chain(optax.sgd(0.1), synapse())
    params, state = lookahead_training(optax.lookahead(inner, 3, 0.5), steps=7)
    fast = slow = fresh()
    inner_state = inner.init(fast)
    for number in range(1, 8):
        fast, inner_state = jax.jit(stepper(inner))(fast, inner_state)
        if number % 3 == 0:
            fast = slow = jax.tree.map(lambda f, s: s + 0.5 * (f - s), fast, slow)
    assert_close((params.fast, params.slow, state.fast_state), (fast, slow, inner_state))
    assert_close(readout(state, params.fast, [1.0, 0.0, 0.0, 0.0]), params.fast)


def test_lookahead_that_resets_its_state_empties_the_memory():
    tx = optax.lookahead(optax.chain(optax.sgd(0.1), synapse()), 3, 0.5, reset_state=True)
    before, _ = lookahead_training(tx, steps=2)
    _, state = lookahead_training(tx, steps=3)
    for beaker in get_beakers(state):
        assert_equal(beaker, before.fast)
    assert np.all(synapse_state(state).clocks == 0)


def test_split_real_and_imaginary_parts_train_as_complex_weights_do():
    params = {"w": np.array([1 + 2j, -0.5j], np.complex64)}
    plain, _ = train(optax.chain(optax.sgd(0.1), synapse()), params)
    split, _ = train(contrib.split_real_and_imaginary(optax.chain(optax.sgd(0.1), synapse())), params)
    assert_close(plain, split)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: contrib.schedule_free(tx, 0.1),
        contrib.mechanize,
        lambda tx: contrib.sam(tx, optax.chain(contrib.normalize(), optax.sgd(0.05))),
    ],
    ids=["schedule_free", "mechanize", "sam"],
)
@pytest.mark.parametrize("place", few(["inside", "after"], ["after"]))
def test_infinitely_slow_chains_change_nothing_inside_or_after_a_wrapper(wrap, place):
    slow = infinitely_slow()
    tx = (
        wrap(optax.chain(optax.sgd(0.1), slow))
        if place == "inside"
        else optax.chain(wrap(optax.sgd(0.1)), slow)
    )
    assert_close(train(tx)[0], train(wrap(optax.sgd(0.1)))[0])


WRAPPERS = {"schedule_free": lambda tx: contrib.schedule_free(tx, 0.1), "mechanize": contrib.mechanize}


def gains(name, place):
    """After some steps, in one without gradients: what a closed chain gains, and what the wrapper puts in."""
    wrap, ours = WRAPPERS[name], synapse(leak="none", init="zero")
    plain = wrap(optax.sgd(0.1))
    tx = wrap(optax.chain(optax.sgd(0.1), ours)) if place == "inside" else optax.chain(plain, ours)
    params, state = train(tx, steps=10)
    new, new_state = update(tx, ZEROS, state, params)
    before = state if place == "inside" else state[0]
    before = before._replace(base_optimizer_state=plain.init(params).base_optimizer_state)
    put, _ = plain.update(ZEROS, before, params)
    hidden = content(ZEROS, new_state, CAPACITIES), content(ZEROS, state, CAPACITIES)
    whole = content(new, new_state, CAPACITIES), content(params, state, CAPACITIES)
    flow, gained = (jax.tree.map(np.subtract, *pair)["kernel"] for pair in (hidden, whole))
    return flow, gained, np.asarray(put["kernel"])


@pytest.mark.parametrize("name", WRAPPERS)
def test_after_a_wrapper_a_closed_chain_gains_exactly_what_the_wrapper_put_in(name):
    flow, gained, put = gains(name, "after")
    assert np.all(np.abs(flow) > 1e-3)
    np.testing.assert_allclose(gained, put, rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("name", WRAPPERS)
def test_inside_a_wrapper_the_weights_do_not_lose_what_the_beakers_gain(name):
    """The wrapper scales what flows out of the weights, as it scales every update."""
    flow, gained, put = gains(name, "inside")
    kept = (gained - put) / flow
    if name == "schedule_free":
        np.testing.assert_allclose(kept, 1 - (0.1 + 0.9 / 11), rtol=1e-3)
    assert np.all(kept > 0.5)


def test_weights_for_evaluation_of_schedule_free_are_those_without_the_synapse_where_it_is_slow():
    wrapped = contrib.schedule_free(optax.sgd(0.1), 0.1)
    params, state = train(optax.chain(wrapped, infinitely_slow()))
    plain, plain_state = train(wrapped)
    assert_close(
        contrib.schedule_free_eval_params(state[0], params),
        contrib.schedule_free_eval_params(plain_state, plain),
    )


def test_sharpness_aware_steps_away_from_the_weights_are_no_steps_of_the_chain():
    adversary = optax.chain(contrib.normalize(), optax.sgd(0.05))
    inner = optax.chain(optax.sgd(0.1), synapse())
    tx = contrib.sam(inner, adversary)
    params, state = fresh(), tx.init(fresh())
    for number in range(6):
        new, new_state = jax.jit(stepper(tx))(params, state)
        moved = synapse_state(new_state).n_updates != synapse_state(state).n_updates
        assert moved == (number % 2 == 1)
        if not moved:
            assert_equal(synapse_state(new_state), synapse_state(state))
        params, state = new, new_state
    opaque = contrib.sam(inner, adversary, opaque_mode=True)
    end, end_state = train_with(opaque, 3, grad_fn=jax.grad(lambda params, _: loss(params)))
    assert_close((params, synapse_state(state)), (end, synapse_state(end_state)))


def train_with(tx, steps, params=PARAMS, **extra_args):
    params, state = fresh(params), tx.init(fresh(params))
    for _ in range(steps):
        params, state = jax.jit(stepper(tx, **extra_args))(params, state)
    return params, state


def test_a_plateau_before_it_scales_the_input_and_not_the_flow():
    tx = optax.chain(optax.sgd(0.1), contrib.reduce_on_plateau(factor=0.5, patience=1), synapse())
    halved = optax.chain(optax.sgd(lambda count: 0.1 * 0.5**count), synapse())
    params, state = train_with(tx, 6, value=1.0)
    expected, expected_state = train(halved, steps=6)
    assert_close((params, get_beakers(state)), (expected, get_beakers(expected_state)))


def test_adamw_beside_the_leak_takes_its_decay_from_the_weight_alone_and_the_chain_refills_it():
    """What a closed chain holds falls by lr · decay · weight in each step, and by nothing else."""
    tx = optax.chain(optax.adamw(0.1, weight_decay=0.5), synapse(leak="none"))
    params, state = fresh(), tx.init(fresh())
    for _ in range(5):
        new, new_state = update(tx, ZEROS, state, params)
        expected = jax.tree.map(
            lambda held, p: held - 0.1 * 0.5 * p, content(params, state, CAPACITIES), params
        )
        assert_close(content(new, new_state, CAPACITIES), expected)
        params, state = new, new_state
    plain, _ = train(optax.adamw(0.1, weight_decay=0.5), steps=5, loss=lambda params: 0.0 * loss(params))
    assert np.all(np.abs(params["kernel"]) > np.abs(plain["kernel"]))


def test_the_leak_of_a_lone_beaker_is_weight_decay_of_the_updated_weight():
    beta = 20.0
    ours, _ = train(optax.chain(optax.sgd(0.1), complex_synapse(1, beta=beta)), steps=5)
    params = fresh()
    for _ in range(5):
        params = jax.tree.map(lambda p, g: (p - 0.1 * g) * np.exp(-1 / beta), params, jax.grad(loss)(params))
    assert_close(ours, params)


@pytest.mark.parametrize(
    "tx",
    [
        synapse(),
        synapse(leak="initial", init="zero", beaker_dtype="bfloat16"),
        optax.chain(optax.adam(0.1), synapse(leak="initial")),
        optax.masked(synapse(), MASK),
        optax.partition({True: synapse(), False: optax.sgd(0.1)}, MASK),
        optax.MultiSteps(synapse(), 2),
        optax.apply_if_finite(optax.chain(optax.adam(0.1), synapse()), 2),
        optax.inject_hyperparams(complex_synapse, static_args="n_beakers")(**CHAIN),
    ],
    ids=["alone", "initial", "chain", "masked", "partition", "MultiSteps", "apply_if_finite", "injected"],
)
def test_map_params_reaches_every_beaker_and_nothing_else(tx):
    """As in making partition specs: with a second tree like the parameters."""
    specs = jax.tree.map(lambda p: f"spec of {p.shape}", PARAMS)
    state = tx.init(PARAMS)
    mapped = optax.tree.map_params(
        tx,
        lambda leaf, spec: leaf if isinstance(leaf, optax.MaskedNode) else spec,
        state,
        specs,
        transform_non_params=lambda leaf: "no parameter",
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
    assert jax.tree.structure(mapped) == jax.tree.structure(state)
    inner = synapse_state(mapped)
    assert {inner.n_updates, inner.clocks, inner.chain} == {"no parameter"}
    for tree in (*inner.beakers, *([] if inner.initial is None else [inner.initial])):
        for spec, wanted in zip(jax.tree.leaves(tree), jax.tree.leaves(specs), strict=False):
            assert spec == wanted


def test_what_a_state_holds_can_be_got_and_set_by_name():
    tx = optax.chain(optax.adam(0.1), synapse(leak="initial"))
    params, state = train(tx)
    inner = synapse_state(state)
    assert_equal(optax.tree.get(state, "clocks"), inner.clocks)
    assert_equal(optax.tree.get(state, "beakers"), inner.beakers)
    assert_equal(optax.tree.get(state, "initial"), inner.initial)

    assert optax.tree.get(state, "count") == 20  # Adam's alone
    assert optax.tree.get(state, "n_updates") == 20
    beakers = jax.tree.map(jnp.ones_like, inner.beakers)
    changed = optax.tree.set(state, beakers=beakers)
    assert_equal(get_beakers(changed), beakers)
    assert_equal(changed[0], state[0])
    update(tx, ZEROS, changed, params)
