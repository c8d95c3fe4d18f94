"""Time without input, and chains that change their length."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_training import PARAMS, some_steps
from tiers import few

from cs_optax import BeakerChain, complex_synapse, get_beakers, relax, resize_beakers


@pytest.mark.parametrize("leak", few(["zero", "none", "initial"], ["zero", "initial"]))
@pytest.mark.parametrize("duration", few([0.0, 37.0, 1e6], [37.0]))
def test_relax_is_many_fine_steps_without_input(leak, duration, x64):
    chain = BeakerChain.benna_fusi(4)
    tx = complex_synapse(chain=chain, leak=leak)
    params, state = some_steps(tx, jnp.array([1.0, -2.0]), steps=23)
    relaxed, after = relax(state, params, duration)
    fine = complex_synapse(
        chain=chain, leak=leak, resolution=0.0, time_step=min(duration, 20_000.0) / 4000 or 1.0
    )

    @jax.jit
    def let_pass(params, state):
        def step(_, carry):
            updates, state = fine.update(jnp.zeros(2), carry[1], carry[0])
            return carry[0] + updates, state

        return jax.lax.fori_loop(0, 4000 if duration else 0, step, (params, state))

    settled, settled_state = relax(state, params, 0.0)
    stepped, stepped_state = let_pass(settled, settled_state)
    np.testing.assert_allclose(relaxed, stepped, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(get_beakers(after), get_beakers(stepped_state), rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_relax_first_settles_what_links_owe(x64):
    """An impulse, steps with resting links, then relaxing: as if the chain had been exact all along."""
    chain = BeakerChain.from_timescales(5, 500.0, 500.0 * 4**4)
    tx = complex_synapse(chain=chain)
    params, state = jnp.array(1.0), complex_synapse(chain=chain, init="zero").init(jnp.array(1.0))
    for _ in range(50):
        updates, state = tx.update(jnp.array(0.0), state, params)
        params = params + updates
    relaxed, after = relax(state, params, duration=450.0)
    exact = chain.propagator(500.0)[:, 0]
    np.testing.assert_allclose([relaxed, *get_beakers(after)], exact, rtol=0.015, atol=1e-5)
    assert np.all(np.asarray(after.clocks)[0, 1:] == 0)
    assert after.clocks[0, 0] == 500.0


def test_relax_keeps_dtypes_and_composition():
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    tx = optax.chain(optax.adam(0.1), complex_synapse(3, 8.0, 128.0))
    state = tx.init(params)
    relaxed, after = relax(state, params, 10.0)
    assert relaxed["w"].dtype == jnp.bfloat16
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert [a.dtype for a in jax.tree.leaves(after)] == [a.dtype for a in jax.tree.leaves(state)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, p: relax(s, p, -1.0), "duration must be .* got -1.0"),
        (lambda s, p: relax(optax.EmptyState(), p, 1.0), "must hold a complex synapse, it holds none"),
        (lambda s, p: jax.jit(lambda s: relax(s, p, 1.0))(s), "opt_state must be known, not traced"),
    ],
)
def test_relax_names_what_is_wrong(call, message):
    params = jnp.ones(2)
    with pytest.raises(ValueError, match=message):
        call(complex_synapse(chain=BeakerChain.benna_fusi(3)).init(params), params)


FIVE, EIGHT = BeakerChain.benna_fusi(5), BeakerChain.benna_fusi(8)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), a, b)


def test_a_longer_chain_keeps_the_beakers_it_had_and_copies_the_last():
    params, state = some_steps(optax.chain(optax.sgd(1.0), complex_synapse(chain=FIVE)), steps=150)
    settled, settled_state = relax(state, params, 0.0)
    longer, longer_state = resize_beakers(state, params, EIGHT)
    before, after = get_beakers(settled_state), get_beakers(longer_state)
    assert len(after) == 7
    assert_close((longer, *after[:4]), (settled, *before))
    for beaker in after[4:]:
        assert_close(beaker, before[-1])


def test_a_shorter_chain_loses_the_slow_beakers():
    params, state = some_steps(complex_synapse(chain=EIGHT), steps=150)
    _, shorter = resize_beakers(state, params, FIVE)
    settled = get_beakers(relax(state, params, 0.0)[1])
    assert_close(get_beakers(shorter), settled[:4])


def test_a_resized_chain_of_the_same_length_is_the_settled_one():
    params, state = some_steps(complex_synapse(chain=FIVE, leak="initial"), steps=37)
    same, same_state = resize_beakers(state, params, FIVE)
    settled, settled_state = relax(state, params, 0.0)
    assert jax.tree.structure(same_state) == jax.tree.structure(settled_state)
    assert_close((same, same_state), (settled, settled_state))


def test_contents_are_interpolated_over_the_logarithm_of_the_timescale():
    """A chain of twice as many beakers for the same timescales: between two old beakers, in between."""
    coarse = BeakerChain.from_timescales(4, 10.0, 10.0 * 3.0**6)
    fine = BeakerChain.from_timescales(7, 10.0, 10.0 * 3.0**6)
    params, state = some_steps(complex_synapse(chain=coarse), jnp.array([0.5, -1.0]), steps=400)
    params, fine_state = resize_beakers(state, params, fine)
    old = np.stack([params, *get_beakers(relax(state, params, 0.0)[1])])
    new = np.stack([params, *get_beakers(fine_state)])
    assert np.all(np.diff(np.abs(new - new[-1]).sum(axis=1)) <= 1e-6)
    assert new.min(axis=0) == pytest.approx(old.min(axis=0))
    assert new.max(axis=0) == pytest.approx(old.max(axis=0))


def test_a_resized_state_is_one_of_the_new_transformation():
    """Structure, dtypes, and the time since initialisation, which times of backflow are compared with."""
    tx = optax.chain(optax.adam(0.1), complex_synapse(chain=FIVE, beaker_dtype="bfloat16"))
    longer = optax.chain(optax.adam(0.1), complex_synapse(chain=EIGHT, beaker_dtype="bfloat16"))
    params, state = some_steps(tx)
    params, state = resize_beakers(state, params, EIGHT)
    fresh = longer.init(params)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), fresh
    )
    assert float(optax.tree.get(state, "clocks")[0, 0]) == 20.0
    updates, _ = jax.jit(longer.update)(PARAMS, state, params)
    assert jax.tree.all(jax.tree.map(lambda u: bool(jnp.all(jnp.isfinite(u))), updates))


def test_an_optimizer_of_flax_goes_on_with_more_beakers():
    from flax import nnx

    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    five, eight = (optax.chain(optax.sgd(0.1), complex_synapse(chain=chain)) for chain in (FIVE, EIGHT))
    optimizer = nnx.Optimizer(model, five, wrt=nnx.Param)
    grads = nnx.grad(lambda m: m(jnp.ones((4, 3))).sum())(model)
    optimizer.update(model, grads)
    params = nnx.state(model, nnx.Param)
    longer, state = resize_beakers(optimizer.opt_state, params, EIGHT)
    nnx.update(model, longer)
    optimizer = nnx.Optimizer(model, eight, wrt=nnx.Param)
    optimizer.opt_state = state
    optimizer.update(model, grads)
    assert len(get_beakers(optimizer.opt_state)) == 7


def test_the_groups_of_a_partition_relax_one_by_one():
    tx = optax.partition(
        {"a": complex_synapse(chain=FIVE), "b": complex_synapse(chain=EIGHT)}, {"a": "a", "b": "b"}
    )
    params, state = some_steps(tx)
    rested, _ = relax(state.inner_states["a"], params, 50.0)
    np.testing.assert_array_equal(rested["b"], params["b"])
    assert np.all(rested["a"] < params["a"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (FIVE, "longer", "new_chain must be a BeakerChain, got str"),
        (FIVE, BeakerChain.benna_fusi(1), "new_chain must have hidden beakers"),
        (BeakerChain.benna_fusi(1), FIVE, "opt_state must have hidden beakers"),
    ],
)
def test_resizing_names_what_is_wrong(old, new, message):
    params = jnp.ones(2)
    with pytest.raises(ValueError, match=message):
        resize_beakers(complex_synapse(chain=old).init(params), params, new)


def test_masked_leaves_stay_masked_in_a_resized_state():
    tx = optax.masked(complex_synapse(chain=FIVE), {"a": True, "b": False})
    params, state = some_steps(tx)
    params, state = resize_beakers(state, params, EIGHT)
    assert [beaker["b"] for beaker in get_beakers(state)] == [None] * 7
    assert len(jax.tree.leaves(get_beakers(state))) == 7
