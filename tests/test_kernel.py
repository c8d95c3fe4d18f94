"""The kernel for GPUs: interpreted, it gives the numbers of the loops; and the programs that have it."""

import importlib
import re
import sys
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tiers import few, pairs

from benchmarks.lowering import a_gpu
from cs_optax import _kernel, _platforms, complex_synapse, get_beakers, offload_beakers

RNG = np.random.default_rng(0)
SHAPES = {"matrix": (7, 5), "vector": (1100,), "number": (), "empty": (0, 3), "even": (2, 16)}
CASES = {
    "default": {},
    "initial": {"leak": "initial"},
    "closed": {"leak": "none"},
    "zero": {"init": "zero"},
    "never": {"backflow": "never"},
    "never, initial": {"backflow": "never", "leak": "initial"},
    "kaplanis": {"backflow": "kaplanis"},
    "times": {"backflow": [30.0, 0.0, 50.0, 10.0]},
    "recall": {"recall": 0.5, "leak": "initial"},
    "resting": {"visible_resolution": 0.25},
    "resting, initial": {"visible_resolution": 0.25, "leak": "initial", "recall": 0.5},
    "resting, never": {"visible_resolution": 0.25, "backflow": "never"},
    "bfloat16": {"beaker_dtype": "bfloat16"},
    "float16, resting": {"beaker_dtype": "float16", "visible_resolution": 0.25, "leak": "initial"},
    "float64": {"beaker_dtype": "float64"},
    "coarse": {"resolution": 0.5},
    "scheduled": {"time_step": lambda n: 1.0 + n % 3},
}
COLLECTIVE = re.compile("all-reduce|all-gather|all-to-all|collective|reduce-scatter")


def numbers(shape, dtype=np.float32):
    return jnp.asarray(RNG.standard_normal(shape), dtype)


def synapse(kernel, n_beakers=5, alpha=2.0, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coarse parameters
        return complex_synapse(n_beakers, alpha, 2.0 * 4.0 ** (n_beakers - 1), kernel=kernel, **options)


def train(tx, params, inputs):
    """Parameters and state after as many updates as there are inputs."""

    def step(carry, delta):
        params, state = carry
        updates, state = tx.update(delta, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), inputs)[0]


def both(run, **options):
    """What the loops give, and what the kernel does."""
    return tuple(run(synapse(kernel, **options)) for kernel in ("never", "interpret"))


def assert_near(one, other, tolerance=1e-6):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype
        wide = np.complex128 if np.iscomplexobj(x) else np.float64
        np.testing.assert_allclose(x.astype(wide), y.astype(wide), rtol=tolerance, atol=tolerance)


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def lowered(tx, params, platform="cuda"):
    """The program of one donated update."""

    def step(params, state, deltas):
        updates, state = tx.update(deltas, state, params)
        return optax.apply_updates(params, updates), state

    with a_gpu():
        traced = jax.jit(step, donate_argnums=(0, 1)).trace(params, jax.eval_shape(tx.init, params), params)
        return traced.lower(lowering_platforms=(platform,)).as_text()


def n_kernels(program):
    """How many kernels a program launches, each time that it calls a function with one."""
    functions = re.split(r"(?=func\.func )", program)
    name = next((re.match(r"func\.func \w+ @(\w+)", f)[1] for f in functions if "gpu.triton" in f), None)
    return 0 if name is None else program.count(f"call @{name}(")


@pytest.fixture
def fresh():
    """Kernels traced and warnings given before do not count, nor do those of this test afterwards."""

    def forget():
        _kernel._move_shards.clear_cache()
        _platforms._warn_once.cache_clear()

    forget()
    yield
    forget()


@pytest.mark.parametrize("name", few(list(CASES), ["default", "never", "resting, initial", "bfloat16"]))
def test_the_kernel_gives_the_numbers_of_the_loops(name, x64):
    """And the bits of beakers that are rounded, by the same rule with the same random numbers."""
    shapes = SHAPES if name in ("default", "resting, initial") else {"vector": (1100,), "number": ()}
    leaves = pairs(shapes.values(), ["float32", "bfloat16"])
    params = [numbers(shape, dtype) for shape, dtype in leaves]
    inputs = [numbers((40, *shape), dtype) for shape, dtype in leaves]
    assert_near(*both(lambda tx: jax.jit(partial(train, tx))(params, inputs), **CASES[name]))


@pytest.mark.parametrize("n_beakers", few([1, 2, 3, 9], [1, 2]))
@pytest.mark.parametrize("options", [{}, {"leak": "initial", "visible_resolution": 0.25}])
def test_it_does_with_any_number_of_beakers(n_beakers, options):
    params, inputs = numbers(30), numbers((60, 30))
    assert_near(*both(lambda tx: jax.jit(partial(train, tx))(params, inputs), n_beakers=n_beakers, **options))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"visible_resolution": 0.25}])
def test_it_does_after_a_thousand_steps(options):
    params, inputs = numbers(20), 0.1 * numbers((1000, 20))
    one, other = both(lambda tx: jax.jit(partial(train, tx))(params, inputs), n_beakers=7, **options)
    assert_near(one, other, tolerance=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"beaker_dtype": "bfloat16"}])
def test_it_does_where_programs_take_many_blocks_of_many_leaves(options, monkeypatch, fresh):
    """With blocks and numbers of programs so small that all that divides an array does."""
    monkeypatch.setattr(_kernel, "BLOCK", 8)
    monkeypatch.setattr(_kernel, "PROGRAMS", 6)
    monkeypatch.setattr(_kernel, "LARGE", 200)
    shapes = [(100,), (9,), (3, 3), (16,), (400,), (7, 7), (1,)]
    params, inputs = [numbers(shape) for shape in shapes], [numbers((30, *shape)) for shape in shapes]
    assert_near(*both(lambda tx: jax.jit(partial(train, tx))(params, inputs), **options))


@pytest.mark.parametrize("what", few(["from_left", "from_right", "round_by"], ["from_left", "round_by"]))
def test_it_is_the_kernel_that_computes(what, monkeypatch, fresh):
    """The tests above can fail."""
    function = getattr(_kernel, what)

    def wrong(*operands):
        right = function(*operands)
        return (1.25 * right).astype(right.dtype)

    monkeypatch.setattr(_kernel, what, wrong)
    params, inputs = numbers(30), numbers((30, 30))
    options = {"beaker_dtype": "bfloat16"} if what == "round_by" else {}
    one, other = both(lambda tx: jax.jit(partial(train, tx))(params, inputs), **options)
    assert np.abs(np.asarray(one[0] - other[0])).max() > 1e-3


def test_weights_that_nothing_flows_back_to_are_left_alone_bit_for_bit(optimized):
    params, inputs = numbers(50), numbers((40, 50))
    tx = optax.chain(optax.adam(0.1), synapse("interpret", backflow="never"))
    ours, alone = (jax.jit(partial(train, each))(params, inputs)[0] for each in (tx, optax.adam(0.1)))
    np.testing.assert_array_equal(ours, alone)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["never", "interpret"])
def test_a_training_goes_on_the_other_way(first):
    second = {"never": "interpret", "interpret": "never"}[first]
    params, inputs = numbers(30), numbers((40, 30))
    whole = jax.jit(partial(train, synapse("never")))(params, inputs)
    half = jax.jit(partial(train, synapse(first)))(params, inputs[:20])
    for delta in inputs[20:]:
        updates, state = jax.jit(synapse(second).update)(delta, half[1], half[0])
        half = optax.apply_updates(half[0], updates), state
    assert jax.tree.structure(half) == jax.tree.structure(whole)
    assert_near(half, whole)


VMAPS = {
    "states": lambda tx, params, inputs: jax.vmap(partial(train, tx()))(params, inputs),
    "timescales": lambda tx, params, inputs: jax.vmap(
        lambda alpha: train(tx(alpha=alpha), params[0], inputs[0])
    )(jnp.array([2.0, 3.0, 9.0])),
    "seeds": lambda tx, params, inputs: jax.vmap(lambda seed: train(tx(seed=seed), params[0], inputs[0]))(
        jnp.arange(3)
    ),
    "both": lambda tx, params, inputs: jax.vmap(
        lambda alpha: jax.vmap(lambda p: train(tx(alpha=alpha, seed=1), p, inputs[0]), 1)(params.T)
    )(jnp.array([2.0, 5.0])),
}


@pytest.mark.parametrize(
    ("over", "low"),
    few(pairs(VMAPS, [False, True]), [("timescales", True)]),
)
def test_members_of_a_vmap_decide_for_themselves(over, low):
    options = {"beaker_dtype": "bfloat16", "leak": "initial"} if low else {}
    params, inputs = numbers((3, 20)), numbers((3, 30, 20))
    one, other = (
        jax.jit(partial(VMAPS[over], partial(synapse, kernel, **options)))(params, inputs)
        for kernel in ("never", "interpret")
    )
    assert_near(one, other)


DERIVATIVES = {
    "grad": lambda loss: jax.grad(loss)(2.5),
    "jvp": lambda loss: jax.jvp(loss, (2.5,), (1.0,)),
    "vmap": lambda loss: jax.vmap(jax.grad(loss))(jnp.array([2.0, 3.0])),
}


@pytest.mark.parametrize("derivative", few(DERIVATIVES, ["jvp"]))
def test_derivatives_are_those_of_the_loops(derivative):
    params, inputs = numbers(6), numbers((12, 6))
    found = [
        DERIVATIVES[derivative](
            lambda alpha, kernel=kernel: jnp.sum(train(synapse(kernel, alpha=alpha), params, inputs)[0] ** 2)
        )
        for kernel in ("never", "interpret")
    ]
    assert_near(*found)


def wrapped_in(tx):
    """As a client has it: of several steps, of some leaves, or only sometimes."""
    return {
        "MultiSteps": optax.MultiSteps(tx, 2).gradient_transformation(),
        "partition": optax.partition({"a": tx, "b": optax.sgd(0.1)}, {"w": "a", "v": "b"}),
        "cond": optax.conditionally_transform(tx, lambda step: step % 3 > 0),
        "masked": optax.masked(tx, {"w": True, "v": False}),
    }


@pytest.mark.parametrize("client", few(["MultiSteps", "partition", "cond", "masked"], ["partition", "cond"]))
def test_clients_have_the_same(client):
    params = {"w": numbers((4, 3)), "v": numbers(5)}
    inputs = {"w": numbers((20, 4, 3)), "v": numbers((20, 5))}
    assert_near(*both(lambda tx: jax.jit(partial(train, wrapped_in(tx)[client]))(params, inputs)))


@pytest.mark.parametrize(
    ("name", "kind"),
    few(
        [
            (name, kind)
            for name in ("default", "resting, initial", "bfloat16")
            for kind in AxisType.__members__
        ],
        [("bfloat16", "Auto")],
    ),
)
def test_each_shard_is_moved_where_it_is(name, kind, optimized):
    """No array travels; beakers of low precision are rounded as on one device, to the bit."""
    if kind == "Manual":
        pytest.skip("by jax.shard_map, below")
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType[kind],) * 2)
    shapes = {"both": (8, 6), "rows": (8, 3), "one": (4,), "whole": (3,)}
    specs = {"both": ("x", "y"), "rows": ("x",), "one": ("y",), "whole": ()}
    shardings = {leaf: NamedSharding(mesh, PartitionSpec(*spec)) for leaf, spec in specs.items()}
    params = {leaf: numbers(shape) for leaf, shape in shapes.items()}
    alone = jax.jit(lambda p: steps(synapse("never", **CASES[name]), p))(params)
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, shardings)
        program = jax.jit(lambda p: steps(synapse("interpret", **CASES[name]), p)).lower(placed).compile()
        ours = program(placed)
    assert not COLLECTIVE.search(program.as_text())
    for tree in (ours[0], *get_beakers(ours[1])):
        for leaf, sharding in shardings.items():
            assert tree[leaf].sharding.is_equivalent_to(sharding, tree[leaf].ndim)
    assert_near(ours, alone)
    if name == "bfloat16":
        assert_equal(get_beakers(ours[1]), get_beakers(alone[1]))


def steps(tx, params, number=12):
    """Updates with gradients that are elementwise."""

    def step(_, carry):
        params, state = carry
        updates, state = tx.update(jax.tree.map(lambda p: 0.2 * jnp.sin(3 * p), params), state, params)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, number, step, (params, tx.init(params)))


@pytest.mark.parametrize("over", few(["xy", "x"], ["xy"]))
def test_it_runs_inside_of_shard_map(over):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    params, spec = numbers((8, 6)), PartitionSpec(*over)

    def run(tx):
        local = jax.shard_map(
            lambda p: steps(tx, p)[0], mesh=mesh, in_specs=spec, out_specs=spec, axis_names=set(over)
        )
        return jax.jit(local)(params)

    assert_near(*both(run))


def test_stacked_networks_on_many_devices_are_moved_there(optimized):
    """Under ``jax.vmap``, with its members divided among the devices."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    params = numbers((8, 20))
    alone = jax.jit(jax.vmap(partial(steps, synapse("never", beaker_dtype="bfloat16"))))(params)
    ours = jax.jit(jax.vmap(partial(steps, synapse("interpret", beaker_dtype="bfloat16"))))
    placed = jax.device_put(params, sharding)
    assert not COLLECTIVE.search(ours.lower(placed).compile().as_text())
    found = ours(placed)
    assert found[0].sharding.is_equivalent_to(sharding, 2)
    assert_near(found, alone)


ONE = {"w": jax.ShapeDtypeStruct((40, 50), np.float32)}


@pytest.mark.parametrize("platform", ["cuda", "rocm"])
def test_gpus_get_the_kernel_and_other_platforms_the_loops(platform, fresh):
    """Whatever the process's own platform is."""
    tx = synapse("auto")
    assert n_kernels(lowered(tx, ONE, platform)) == 1
    for other in ("cpu", "tpu"):
        assert n_kernels(lowered(tx, ONE, other)) == 0
    assert n_kernels(lowered(synapse("never"), ONE, platform)) == 0


@pytest.mark.parametrize("platform", ["cpu", "tpu", "cuda"])
def test_a_step_can_be_exported(platform, fresh):
    tx = synapse("auto")
    state = jax.eval_shape(tx.init, ONE)
    check = jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")
    with a_gpu():
        exported = jax.export.export(jax.jit(tx.update), platforms=[platform], disabled_checks=[check])
        program = exported(ONE, state, ONE)
    assert ("gpu.triton" in program.mlir_module()) == (platform == "cuda")
    assert program.out_avals[0].shape == ONE["w"].shape


def test_the_kernel_writes_in_place_of_the_beakers(fresh):
    program = lowered(synapse("auto"), ONE)
    (call,) = [line for line in program.splitlines() if "@__gpu$xla.gpu.triton" in line]
    assert call.count("output_operand_alias<") == 4
    assert call.count("tensor<2000xf32>") == 8  # four beakers, as operands and as results, and nothing else


@pytest.mark.parametrize(
    ("tx", "dtype"),
    [
        (synapse("auto", method="sequential_euler"), "float32"),
        (synapse("auto", resolution=0.0), "float32"),
        (synapse("auto", n_beakers=2), "float32"),
        (synapse("auto"), "complex64"),
        (synapse("auto"), "float8_e4m3fn"),
    ],
)
def test_the_others_do_without(tx, dtype, fresh):
    params = {"w": jax.ShapeDtypeStruct((40, 50), dtype)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coarse parameters
        assert n_kernels(lowered(tx, params)) == 0


def test_leaves_that_do_without_do_not_keep_others_from_it(fresh):
    params = {**ONE, "complex": jax.ShapeDtypeStruct((3,), np.complex64)}
    assert n_kernels(lowered(synapse("auto"), params)) == 1
    values = {"w": numbers((4, 5)), "complex": numbers(3).astype(np.complex64), "v": numbers(2)}
    assert_near(*both(lambda tx: jax.jit(partial(steps, tx))(values)))


def test_offloaded_beakers_do_without(fresh):
    tx = synapse("interpret")
    state = offload_beakers(tx.init(jnp.ones(3)), 4)
    assert "synapse_on_gpu" not in str(jax.make_jaxpr(tx.update)(jnp.ones(3), state, jnp.ones(3)))
    assert "synapse_on_gpu" in str(jax.make_jaxpr(tx.update)(jnp.ones(3), tx.init(jnp.ones(3)), jnp.ones(3)))


def test_derivatives_do_without(fresh):
    tx, params = synapse("auto"), jnp.ones(3)
    loss = jax.jit(jax.grad(lambda p: jnp.sum(train(tx, p, jnp.ones((4, 3)))[0])))
    with a_gpu():
        assert "gpu.triton" not in loss.trace(params).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize(
    ("n_beakers", "n_leaves", "expected"),
    few([(5, 30, 4), (10, 6, 2), (10, 30, 8), (30, 3, 3)], [(5, 30, 4)]),
)
def test_small_leaves_share_kernels_that_are_the_same(n_beakers, n_leaves, expected, fresh):
    """The second is what XLA goes by to compile each kernel once."""
    params = {f"w{n}": jax.ShapeDtypeStruct((16, 25), np.float32) for n in range(n_leaves)}
    program = lowered(synapse("auto", n_beakers=n_beakers), params)
    n_groups = sum(
        program.count(f"call @{name}(") for name in set(re.findall(r"call @(_move_shards\w*)\(", program))
    )
    assert n_groups == expected
    kernels = re.findall(r'ir = "(.*?)"', program)
    assert len(set(kernels)) <= 2  # the last may have fewer leaves


def test_leaves_of_other_shapes_have_the_same_kernel(fresh):
    programs = [
        lowered(synapse("auto"), {"w": jax.ShapeDtypeStruct(shape, np.float32)})
        for shape in ((16, 50), (800,), (4, 25, 8))
    ]
    assert len({re.search(r'ir = "(.*?)"', program)[1] for program in programs}) == 1


@pytest.mark.parametrize("missing", ["jax.experimental.pallas", "jax.experimental.pallas.triton"])
def test_without_pallas_the_loops_are_taken_with_one_warning(missing, monkeypatch, fresh):
    package, name = missing.rsplit(".", 1)
    monkeypatch.delattr(importlib.import_module(package), name, raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.warns(UserWarning, match=r"without the kernel for GPUs.*refused \(ModuleNotFound") as found:
        programs = [lowered(synapse("auto"), ONE) for _ in range(2)]
    assert len(found) == 1
    assert not any("gpu.triton" in program for program in programs)


def test_a_kernel_that_is_refused_leaves_a_whole_program(monkeypatch, fresh):
    monkeypatch.setattr(_kernel, "from_right", lambda u, operands: jnp.sort(u))  # unknown to Triton
    with pytest.warns(UserWarning, match="without the kernel for GPUs"):
        program = lowered(synapse("auto"), ONE)
    assert "gpu.triton" not in program
    assert "stablehlo.while" in program


def test_an_export_for_several_gpus_takes_the_loops(fresh):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    tx, params = synapse("auto"), jax.ShapeDtypeStruct((16,), np.float32)
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    state = jax.eval_shape(tx.init, params)
    update = jax.jit(tx.update, in_shardings=(sharding, None, sharding))
    with a_gpu(), pytest.warns(UserWarning, match="several devices share the arrays, but are not available"):
        program = jax.export.export(update, platforms=["cuda"])(params, state, params)
    assert program.nr_devices == 8
    assert "gpu.triton" not in program.mlir_module()
