"""What XLA makes of an update: nothing is copied, and hardly any memory is needed beside the state."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import optax
import pytest
from tiers import few, pairs

from cs_optax import complex_synapse

pytestmark = pytest.mark.usefixtures("optimized")

SHAPES = {"w1": (784, 400), "b1": (400,), "w2": (400, 400), "b2": (400,), "w3": (400, 10), "b3": (10,)}
TREES = {"mlp": SHAPES, "one array": {"w": (20_000,)}}
CHAINS = {
    "K=5, alpha=500": (5, 500.0, 128e3, {}),
    "K=10, alpha=10": (10, 10.0, 10 * 4.0**9, {}),
    "resting": (10, 500.0, 500 * 4.0**9, {"visible_resolution": 1 / 16}),
    "every link": (6, 10.0, 10 * 4.0**5, {"resolution": 0.0}),
    "initial": (4, 10.0, 640.0, {"leak": "initial"}),
    "kaplanis": (4, 10.0, 640.0, {"backflow": "kaplanis"}),
    "never": (4, 10.0, 640.0, {"backflow": "never"}),
    "bfloat16": (5, 10.0, 2560.0, {"beaker_dtype": "bfloat16"}),
    "sequential_euler": (6, 500.0, 512e3, {"method": "sequential_euler"}),
}


def compiled(tx, shapes, n_steps):
    """One donated update, or a donated scan of several, and the bytes of the parameters."""
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def steps(params, state, grads):
        return jax.lax.scan(lambda carry, _: (step(*carry, grads), None), (params, state), length=n_steps)[0]

    function = jax.jit(steps if n_steps > 1 else step, donate_argnums=(0, 1))
    program = function.lower(params, jax.eval_shape(tx.init, params), params).compile()
    return program, sum(4 * leaf.size for leaf in jax.tree.leaves(params))


@cache
def adam_alone(tree, n_steps):
    return compiled(optax.adam(1e-3), TREES[tree], n_steps)


def full_size_copies(program, shapes):
    """Copies of whole arrays in the compiled program."""
    sizes = {",".join(map(str, shape)) for shape in shapes.values() if len(shape) > 1 or shape[0] > 1000}
    found = re.findall(r"= \w+\[([\d,]*)\]\S* copy\(", program.as_text())
    return [shape for shape in found if shape in sizes]


@pytest.mark.parametrize("n_steps", few([1, 20], [1]), ids=["single", "scan"])
@pytest.mark.parametrize(
    ("chain", "tree"),
    few(
        pairs(CHAINS, TREES),
        lambda chain, tree: tree == "one array" and chain not in ("K=10, alpha=10", "every link"),
    ),
)
def test_a_donated_update_copies_no_array_and_needs_no_memory(chain, tree, n_steps):
    *numbers, options = CHAINS[chain]
    shapes = TREES[tree]
    adam, size = adam_alone(tree, n_steps)
    ours, _ = compiled(optax.chain(optax.adam(1e-3), complex_synapse(*numbers, **options)), shapes, n_steps)
    assert full_size_copies(ours, shapes) == []
    extra = ours.memory_analysis().temp_size_in_bytes - adam.memory_analysis().temp_size_in_bytes
    largest = 4 * max(jnp.prod(jnp.array(shape)).item() for shape in shapes.values())
    assert extra <= largest + 0.1 * size + 20_000


def test_without_donation_it_would_copy():
    """The test above can fail."""
    shapes = TREES["mlp"]
    params = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    tx = complex_synapse(5, 10.0, 2560.0)

    @jax.jit
    def kept(params, state):
        updates, new = tx.update(params, state, params)
        return updates, new, state

    program = kept.lower(params, tx.init(params)).compile()
    assert full_size_copies(program, shapes)
