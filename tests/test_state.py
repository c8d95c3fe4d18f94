"""Looking into the beakers, and acting on them, inside composed states."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_training import PARAMS, some_steps

from cs_optax import (
    BeakerChain,
    complex_synapse,
    diagnose,
    get_beakers,
    readout,
    relax,
    reset_beakers,
    settle_beakers,
)

LABELS = {"a": "short", "b": "long"}


def partitioned():
    return optax.partition(
        {"short": complex_synapse(2, 8.0, 32.0), "long": complex_synapse(4, 8.0, 512.0)}, LABELS
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: tx,
        lambda tx: optax.chain(optax.adam(0.1), tx),
        lambda tx: optax.MultiSteps(optax.chain(optax.sgd(0.1), tx), every_k_schedule=2),
        lambda tx: optax.apply_if_finite(tx, 3),
        lambda tx: optax.chain(optax.chain(optax.identity(), optax.chain(tx))),
    ],
)
def test_beakers_are_found_anywhere(wrap):
    beakers = get_beakers(wrap(complex_synapse(4, 8.0, 512.0)).init(PARAMS))
    assert len(beakers) == 3
    assert all(jax.tree.structure(beaker) == jax.tree.structure(PARAMS) for beaker in beakers)


def test_chains_without_hidden_beakers_have_none():
    assert get_beakers(complex_synapse(0).init(PARAMS)) == ()
    assert get_beakers(complex_synapse(1, beta=10.0).init(PARAMS)) == ()


def test_a_checkpoint_restored_without_a_target_says_what_is_wrong():
    """Restored so, named tuples are dictionaries or lists."""
    state = complex_synapse(3, 8.0, 128.0).init(PARAMS)
    for look in (get_beakers, lambda s: diagnose(s, PARAMS)):
        with pytest.raises(ValueError, match=r"plain containers.*restore it into jax\.eval_shape"):
            look([{}, state._asdict()])


def test_partitioned_beakers_are_merged_leaf_by_leaf():
    beakers = get_beakers(partitioned().init(PARAMS))
    assert len(beakers) == 3
    assert beakers[0].keys() == PARAMS.keys()
    np.testing.assert_array_equal(beakers[0]["a"], PARAMS["a"])
    assert beakers[1]["a"] is None
    np.testing.assert_array_equal(beakers[2]["b"], PARAMS["b"])


def test_a_masked_leaf_has_no_beakers():
    tx = optax.masked(complex_synapse(3, 8.0, 128.0), {"a": True, "b": False})
    assert [beaker["b"] for beaker in get_beakers(tx.init(PARAMS))] == [None, None]


def test_two_synapses_on_one_parameter_are_an_error():
    tx = optax.chain(complex_synapse(2, 8.0, 32.0), complex_synapse(2, 8.0, 32.0))
    with pytest.raises(ValueError, match="one complex synapse for each parameter"):
        get_beakers(tx.init(PARAMS))


def test_readout_of_the_visible_beaker_is_the_parameters():
    params, state = some_steps(optax.chain(optax.sgd(1.0), complex_synapse(3, 8.0, 128.0)))
    jax.tree.map(np.testing.assert_array_equal, readout(state, params, [1.0, 0.0, 0.0]), params)
    hidden = readout(state, params, [0.0, 0.5, 0.5])
    expected = jax.tree.map(lambda u, v: (u + v) / 2, *get_beakers(state))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), hidden, expected)


def test_readout_needs_a_weight_for_each_beaker_that_is_there():
    params, state = some_steps(partitioned())
    with pytest.raises(ValueError, match="finite, one for each of the 4 beakers, got"):
        readout(state, params, [1.0, 0.0])
    with pytest.raises(ValueError, match="must be 0 for beaker 3"):
        readout(state, params, [1.0, 0.0, 0.5, 0.0])
    readout(state, params, [0.5, 0.5, 0.0, 0.0])


@pytest.mark.parametrize("make", [partitioned, lambda: complex_synapse(4, 8.0, 512.0, leak="initial")])
def test_reset_makes_a_state_as_new_but_for_its_count(make):
    tx = make()
    params, state = some_steps(tx)
    new = jax.tree.map(lambda p: p + 1, params)
    reset, fresh = reset_beakers(state, new), tx.init(new)
    jax.tree.map(np.testing.assert_array_equal, get_beakers(reset), get_beakers(fresh))
    assert jax.tree.structure(reset) == jax.tree.structure(fresh)
    assert jax.tree.map(jnp.shape, reset) == jax.tree.map(jnp.shape, fresh)
    total = sum(abs(np.asarray(a, float)).sum() for a in jax.tree.leaves(reset))
    assert total == sum(abs(np.asarray(a, float)).sum() for a in jax.tree.leaves(fresh)) + 20 * (
        2 if make is partitioned else 1
    )


def test_containers_of_parameters_and_state_may_differ():
    """As in Flax NNX, whose optimizer keeps its state in variables of another type than the model's."""
    from flax import nnx

    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    chain = BeakerChain.benna_fusi(3)
    optimizer = nnx.Optimizer(model, optax.chain(optax.sgd(0.1), complex_synapse(chain=chain)), wrt=nnx.Param)
    grads = nnx.grad(lambda m: m(jnp.ones((4, 3))).sum())(model)
    optimizer.update(model, grads)
    params = nnx.state(model, nnx.Param)
    mixed = readout(optimizer.opt_state, params, [0.0, 1.0, 0.0])
    assert jax.tree.structure(mixed) == jax.tree.structure(params)
    np.testing.assert_array_equal(
        jax.tree.leaves(mixed)[0], jax.tree.leaves(get_beakers(optimizer.opt_state)[0])[0]
    )
    reset = reset_beakers(optimizer.opt_state, params)
    assert jax.tree.structure(reset) == jax.tree.structure(optimizer.opt_state)
    relaxed, after = relax(optimizer.opt_state, params, 3.0)
    assert jax.tree.structure(relaxed) == jax.tree.structure(params)
    assert jax.tree.structure(after) == jax.tree.structure(optimizer.opt_state)


def test_parameters_of_other_shapes_are_an_error():
    state = complex_synapse(3, 8.0, 128.0).init(PARAMS)
    for wrong in ({"a": jnp.ones(2)}, {"a": jnp.ones(3), "b": jnp.ones((1, 1))}):
        with pytest.raises(ValueError, match="params must have the same leaves and shapes as the beakers"):
            reset_beakers(state, wrong)
        with pytest.raises(ValueError, match="params must have the same leaves and shapes as the beakers"):
            readout(state, wrong, [1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    "call",
    [
        get_beakers,
        lambda s: readout(s, 1.0, [1.0]),
        lambda s: reset_beakers(s, 1.0),
        lambda s: settle_beakers(s, 1.0),
    ],
)
def test_a_state_without_a_synapse_is_an_error(call):
    with pytest.raises(ValueError, match="must hold a complex synapse, it holds none"):
        call(optax.adam(0.1).init(jnp.ones(2)))


NESTED = {"x": {"w": jnp.ones(2), "b": jnp.ones(1)}, "y": {"w": jnp.ones(3)}}


def test_labels_of_whole_subtrees_are_understood():
    """optax.partition takes labels that are a prefix of the parameters."""
    tx = optax.partition(
        {"s": complex_synapse(2, 8.0, 32.0), "l": complex_synapse(4, 8.0, 512.0)}, {"x": "s", "y": "l"}
    )
    params, state = some_steps(tx, NESTED)
    beakers = get_beakers(state)
    assert len(beakers) == 3
    assert jax.tree.structure(beakers[0]) == jax.tree.structure(NESTED)
    assert jax.tree.leaves(beakers[1]["x"]) == []
    mixed = readout(state, params, [0.5, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(mixed["x"]["w"], (params["x"]["w"] + beakers[0]["x"]["w"]) / 2)
    reset = get_beakers(reset_beakers(state, params))
    np.testing.assert_array_equal(reset[2]["y"]["w"], params["y"]["w"])


def test_a_masked_subtree_is_left_alone():
    tx = optax.masked(complex_synapse(3, 8.0, 128.0), {"x": False, "y": True})
    params, state = some_steps(tx, NESTED)
    relaxed, _ = relax(state, params, 50.0)
    np.testing.assert_array_equal(relaxed["x"]["w"], params["x"]["w"])
    assert np.all(relaxed["y"]["w"] < params["y"]["w"])
    jax.tree.map(np.testing.assert_array_equal, readout(state, params, [1.0, 0.0, 0.0]), params)


def test_leaves_are_paired_by_name():
    from collections import OrderedDict

    state = complex_synapse(2, 8.0, 32.0).init({"a": jnp.zeros(2), "b": jnp.ones(2)})
    swapped = OrderedDict(b=5 * jnp.ones(2), a=jnp.zeros(2))
    (beaker,) = get_beakers(reset_beakers(state, swapped))
    np.testing.assert_array_equal(beaker["b"], [5.0, 5.0])
    for foreign in (
        {"b": jnp.ones(2), "c": jnp.ones(2)},
        {"a": jnp.ones(2), "b": jnp.ones(2), "c": jnp.ones(2)},
    ):
        with pytest.raises(ValueError, match="params must have the same leaves and shapes as the beakers"):
            readout(state, foreign, [0.0, 1.0])
