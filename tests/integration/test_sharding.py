"""Parameters over eight devices: every beaker lies where its parameter lies, and none has to travel."""

import re
from contextlib import contextmanager
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tiers import few
from trials import CHAIN, assert_close, assert_equal

from cs_optax import (
    BeakerChain,
    complex_synapse,
    get_beakers,
    published,
    readout,
    relax,
    reset_beakers,
    resize_beakers,
)

PARAMS = {
    "both": np.linspace(-1, 2, 64, dtype=np.float32).reshape(8, 8),
    "rows": np.linspace(0, 1, 24, dtype=np.float32).reshape(8, 3),
    "one axis": np.ones(4, np.float32),
    "replicated": np.full(3, 0.3, np.float32),
}
SPECS = {
    "both": PartitionSpec("x", "y"),
    "rows": PartitionSpec("x"),
    "one axis": PartitionSpec("y"),
    "replicated": PartitionSpec(),
}
OPTIONS = {
    "exchange": {},
    "zero": {"init": "zero"},
    "initial": {"leak": "initial", "visible_resolution": 0.25},
    "kaplanis": {"backflow": "kaplanis"},
    "never": {"backflow": "never"},
    "euler": {"method": "sequential_euler"},
    "bfloat16": {"beaker_dtype": "bfloat16", "init": "zero"},
}
COLLECTIVE = re.compile("all-reduce|all-gather|all-to-all|collective|reduce-scatter")
MESHES = ["explicit", "auto", "no mesh set"]
every_mesh = pytest.mark.parametrize("kind", MESHES)
every_case = pytest.mark.parametrize(
    ("name", "kind"),
    few(
        [
            *((name, kind) for name in OPTIONS for kind in ("explicit", "auto")),
            *((name, "no mesh set") for name in ("exchange", "zero")),
        ],
        [("exchange", "auto"), ("bfloat16", "explicit"), ("zero", "no mesh set")],
    ),
)


@contextmanager
def sharded(kind):
    """The parameters on a mesh of 4 by 2 devices, with that mesh in force or not."""
    axis_type = AxisType.Explicit if kind == "explicit" else AxisType.Auto
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(axis_type,) * 2)
    params = jax.tree.map(lambda p, spec: jax.device_put(p, NamedSharding(mesh, spec)), PARAMS, SPECS)
    if kind == "no mesh set":
        yield params
    else:
        with jax.set_mesh(mesh):
            yield params


def assert_like_parameters(trees, params):
    for tree in trees:
        for leaf, param in zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True):
            assert leaf.sharding.is_equivalent_to(param.sharding, param.ndim), leaf.sharding


def held(state):
    """All trees like the parameters in the state of a synapse."""
    return [*state.beakers, *([] if state.initial is None else [state.initial])]


def steps(tx, params, number=5):
    """Compiled updates with gradients that are elementwise; also what was compiled."""
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.tree.map(lambda p: 0.2 * jnp.sin(3 * p), params), state, params)
        return optax.apply_updates(params, updates), state

    compiled = step.lower(params, state).compile()
    for _ in range(number):
        params, state = compiled(params, state)
    return params, state, compiled.as_text()


@cache
def on_one_device(name):
    return steps(complex_synapse(**CHAIN, **OPTIONS[name]), PARAMS)[:2]


def test_there_are_eight_devices():
    assert jax.device_count() == 8


@every_case
def test_a_new_state_is_sharded_like_the_parameters_eagerly_and_jitted(name, kind):
    tx = complex_synapse(**CHAIN, **OPTIONS[name])
    with sharded(kind) as params:
        for init in (tx.init, jax.jit(tx.init)):
            assert_like_parameters(held(init(params)), params)


@every_case
def test_updates_need_no_communication_and_stay_where_they_are(name, kind, optimized):
    """And give what one device gives: with beakers of low precision, rounded to the same bits."""
    tx = complex_synapse(**CHAIN, **OPTIONS[name])
    with sharded(kind) as params:
        trained, state, compiled = steps(tx, params)
        assert_like_parameters([trained, *held(state)], params)
    assert not COLLECTIVE.search(compiled)
    alone, alone_state = on_one_device(name)
    assert_close((trained, state), (alone, alone_state), rtol=1e-6)
    if name == "bfloat16":
        assert_equal(get_beakers(state), get_beakers(alone_state))


@every_mesh
def test_optimizer_and_synapse_in_one_need_no_communication(kind, optimized):
    with sharded(kind) as params:
        trained, state, compiled = steps(published.adam(0.1, **CHAIN), params)
        assert_like_parameters([trained, *get_beakers(state)], params)
    assert not COLLECTIVE.search(compiled)


def test_a_collective_would_be_found(optimized):
    with sharded("auto") as params:
        compiled = jax.jit(lambda tree: sum(map(jnp.sum, jax.tree.leaves(tree)))).lower(params).compile()
    assert COLLECTIVE.search(compiled.as_text())


def test_beakers_of_low_precision_are_not_all_rounded_to_the_nearest():
    """So that the same bits, sharded and not, are more than a coincidence."""
    tx = complex_synapse(**CHAIN, beaker_dtype="bfloat16", resolution=0.0)
    exact = complex_synapse(**CHAIN, resolution=0.0)
    (_, state, _), (_, exact_state, _) = (steps(each, PARAMS, number=1) for each in (tx, exact))
    nearest = jax.tree.map(lambda u: u.astype(jnp.bfloat16), get_beakers(exact_state))
    different = jax.tree.map(lambda a, b: (a != b).sum(), get_beakers(state), nearest)
    assert sum(jax.tree.leaves(different)) > 10


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, "bfloat16"])
@every_mesh
def test_tools_keep_the_sharding(kind, dtype):
    five, eight = (BeakerChain.from_timescales(K, 4.0, 64.0) for K in (5, 8))
    tx = complex_synapse(chain=five, beaker_dtype=dtype)
    with sharded(kind) as params:
        state = tx.init(params)
        relaxed, after = relax(state, params, 10.0)
        same, longer = resize_beakers(state, params, eight)
        trees = [
            relaxed,
            *get_beakers(after),
            readout(state, params, [0.2] * 5),
            *get_beakers(reset_beakers(state, params)),
            same,
            *get_beakers(longer),
        ]
        assert len(trees) == 1 + 4 + 1 + 4 + 1 + 7
        assert_like_parameters(trees, params)
    alone, _ = relax(tx.init(PARAMS), jax.tree.map(jnp.asarray, PARAMS), 10.0)
    assert_close(relaxed, alone)


@pytest.mark.parametrize("kind", ["explicit", "auto"])
def test_tools_need_no_communication(kind, optimized):
    tx = complex_synapse(**CHAIN)
    with sharded(kind) as params:
        state = tx.init(params)
        tools = {
            "init": lambda state, params: tx.init(params),
            "readout": lambda state, params: readout(
                state, params, [1 / CHAIN["n_beakers"]] * CHAIN["n_beakers"]
            ),
            "reset": lambda state, params: reset_beakers(state, params),
        }
        for name, tool in tools.items():
            assert not COLLECTIVE.search(jax.jit(tool).lower(state, params).compile().as_text()), name


def partition_specs(tx, state):
    """As for ``jax.shard_map`` or ``jax.jit``: those of the parameters, and nothing sharded besides."""
    return optax.tree.map_params(
        tx, lambda _, spec: spec, state, SPECS, transform_non_params=lambda _: PartitionSpec()
    )


@pytest.mark.parametrize("name", ["exchange", "initial", "euler"])
def test_an_update_of_each_shard_is_the_update_of_the_whole(name):
    tx = optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, **OPTIONS[name]))
    with sharded("explicit") as params:
        state = tx.init(params)
        specs = partition_specs(tx, state)
        update = jax.shard_map(tx.update, in_specs=(SPECS, specs, SPECS), out_specs=(SPECS, specs))
        by_shards = jax.jit(update)(params, state, params)
    start = jax.tree.map(jnp.asarray, PARAMS)
    assert_close(by_shards, jax.jit(tx.update)(start, tx.init(start), start), rtol=1e-6)


def test_partition_specs_by_map_params_shard_a_state_made_elsewhere():
    """As in placing a checkpoint on a mesh."""
    tx = optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, leak="initial"))
    state = tx.init(PARAMS)
    with sharded("auto") as params:
        mesh = params["both"].sharding.mesh
        places = jax.tree.map(lambda spec: NamedSharding(mesh, spec), partition_specs(tx, state))
        placed = jax.device_put(state, places)
        assert_like_parameters(held(placed[1]), params)
        assert_equal(jax.device_get(placed), jax.device_get(state))


@pytest.mark.parametrize("kind", ["explicit", "auto"])
@pytest.mark.parametrize("init", few(["same", "zero"], ["same"]))
def test_nnx_beakers_carry_the_partitioning_of_their_parameters(kind, init):
    def create():
        kernel_init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("x", "y"))
        bias_init = nnx.with_partitioning(nnx.initializers.zeros_init(), ("y",))
        model = nnx.Linear(8, 8, rngs=nnx.Rngs(0), kernel_init=kernel_init, bias_init=bias_init)
        tx = optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, init=init, leak="initial"))
        return model, nnx.Optimizer(model, tx, wrt=nnx.Param)

    with sharded(kind):
        model, optimizer = nnx.jit(create)()
        params, synapse = nnx.state(model, nnx.Param), optimizer.opt_state[1]
        spec = nnx.get_partition_spec(params)
        assert [spec.kernel.get_value(), spec.bias.get_value()] == [
            PartitionSpec("x", "y"),
            PartitionSpec("y"),
        ]
        trees = held(synapse)
        assert (len(trees), len(jax.tree.leaves(spec))) == (4, 2)
        for tree in trees:
            assert jax.tree.leaves(nnx.get_partition_spec(tree)) == jax.tree.leaves(spec)
        assert_like_parameters(trees, params)
        grads = nnx.grad(lambda model: jnp.sum(model(jnp.ones((2, 8))) ** 2))(model)
        nnx.jit(lambda model, optimizer, grads: optimizer.update(model, grads))(model, optimizer, grads)
        assert_like_parameters(held(optimizer.opt_state[1]), params)
