"""What every public constructor keeps to, with every option: Optax's own demands and some more."""

import re
from collections import OrderedDict, namedtuple
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import few, pairs
from trials import CHAIN, PARAMS, assert_close, assert_equal, train

import cs_optax
from cs_optax import BeakerChain, complex_synapse, get_beakers, published

CASES = {
    "default": (complex_synapse, {}),
    "no beakers": (complex_synapse, {"n_beakers": 0}),
    "one beaker": (complex_synapse, {"n_beakers": 1}),
    "every link": (complex_synapse, {"resolution": 0.0}),
    "resting": (complex_synapse, {"resolution": 0.5, "visible_resolution": 0.25}),
    "euler": (complex_synapse, {"method": "sequential_euler"}),
    "closed": (complex_synapse, {"leak": "none"}),
    "initial": (complex_synapse, {"leak": "initial", "init": "zero"}),
    "kaplanis": (complex_synapse, {"backflow": "kaplanis"}),
    "never": (complex_synapse, {"backflow": "never"}),
    "bfloat16": (complex_synapse, {"beaker_dtype": "bfloat16"}),
    "chain": (complex_synapse, {"chain": BeakerChain.benna_fusi(3)}),
    "schedules": (
        complex_synapse,
        {"alpha": optax.linear_schedule(4.0, 8.0, 9), "time_step": optax.linear_schedule(0.0, 1.0, 5)},
    ),
    "sgd": (published.sgd, {}),
    "sgd, schedule": (published.sgd, {"learning_rate": optax.linear_schedule(0.0, 0.1, 5)}),
    "adam": (published.adam, {}),
    "adam, schedule": (published.adam, {"learning_rate": optax.linear_schedule(0.0, 0.1, 5)}),
}
every_case = pytest.mark.parametrize("case", CASES)


def keywords(case, **changes):
    factory, options = CASES[case]
    rate = {} if factory is complex_synapse else {"learning_rate": 0.1}
    return (({} if "chain" in options else CHAIN) | rate | options) | changes


def make(case, **changes):
    return CASES[case][0](**keywords(case, **changes))


def optimizer(case, **changes):
    """With gradient descent before what is no optimizer yet."""
    tx = make(case, **changes)
    return optax.chain(optax.sgd(0.1), tx) if CASES[case][0] is complex_synapse else tx


def spec(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), jax.eval_shape(lambda: tree))


def synapse_state(state):
    return optax.tree.get(state, "ComplexSynapseState")


def abstract(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def like(tree, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(dtype), tree)


def gives_a_transformation(function):
    returned = getattr(function, "__annotations__", {}).get("return", "")
    return "GradientTransformation" in str(returned)


def test_every_public_constructor_is_here():
    public = [
        function
        for module in (cs_optax, published)
        for function in map(partial(getattr, module), module.__all__)
        if gives_a_transformation(function)
    ]
    assert set(public) == {factory for factory, _ in CASES.values()}


@every_case
def test_it_is_a_transformation_that_takes_extra_arguments(case):
    tx = make(case)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    state = tx.init(PARAMS)

    def traced(**extra_args):
        jaxpr = jax.make_jaxpr(partial(tx.update, **extra_args))(PARAMS, state, PARAMS)
        return re.sub("0x[0-9a-f]+", "", str(jaxpr))

    assert traced(value=1.0, grad=PARAMS, value_fn=len, unheard_of=None) == traced()


@every_case
def test_init_is_the_same_eagerly_jitted_and_in_the_abstract(case):
    tx = make(case)
    state = tx.init(PARAMS)
    assert_equal(jax.jit(tx.init)(PARAMS), state)
    assert spec(jax.eval_shape(tx.init, abstract(PARAMS))) == spec(state)


DTYPES = ["float8_e4m3fn", "float16", "bfloat16", "float32", "complex64"]


def check_dtypes(tx, params, grads, listens=False):
    """Updates like the parameters, or as they came; a state that stays as it is; beakers at least float32."""
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(tx.update, grads, state, params)
    assert spec(after) == spec(state)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(after))
    like = grads if listens else params
    assert jax.tree.map(lambda u: (u.shape, u.dtype), updates) == jax.tree.map(
        lambda p: (p.shape, jax.dtypes.canonicalize_dtype(p.dtype)), like
    )
    return [leaf.dtype for leaf in jax.tree.leaves(get_beakers(after))]


COARSE = pytest.mark.filterwarnings("ignore:parameters of .* are too coarse")


def of_each_case(dtypes):
    """In every run each case with bfloat16, and each type with one case."""
    return few(pairs(CASES, dtypes), lambda case, dtype: dtype == "bfloat16" or case == "default")


@COARSE
@pytest.mark.parametrize(("case", "dtype"), of_each_case(DTYPES))
def test_dtypes_are_a_fixed_point(case, dtype):
    params = like(PARAMS, dtype)
    # The moments of optax.adam, too, take the dtype of the gradients.
    others = [] if "adam" in case else [like(PARAMS, "float16"), like(PARAMS, "float32")]
    for grads in (params, *others):
        beakers = check_dtypes(make(case), params, grads, listens=case == "never")
        if "beaker_dtype" not in CASES[case][1]:
            assert {beaker.name for beaker in beakers} <= {"complex64" if dtype == "complex64" else "float32"}


@COARSE
@pytest.mark.parametrize(("case", "dtype"), of_each_case([*DTYPES, "float64", "complex128"]))
def test_dtypes_are_a_fixed_point_with_64_bits_enabled(case, dtype, x64):
    params = like(PARAMS, dtype)
    beakers = check_dtypes(make(case), params, params)
    if "beaker_dtype" not in CASES[case][1]:
        assert {beaker.itemsize for beaker in beakers} <= {max(4, params["kernel"].dtype.itemsize)}


def test_beakers_of_64_bits_beside_parameters_of_32(x64):
    tx = cs_optax.complex_synapse(**CHAIN, beaker_dtype="float64")
    assert set(check_dtypes(tx, like(PARAMS, "float32"), like(PARAMS, "float32"))) == {jnp.dtype("float64")}


@every_case
def test_numpy_parameters_of_64_bits_are_of_32_bits_where_those_are_not_enabled(case):
    check_dtypes(make(case), jax.tree.map(np.float64, PARAMS), PARAMS)


@every_case
def test_python_numbers_are_parameters_whose_state_is_strongly_typed(case):
    tx = make(case)
    state = jax.eval_shape(tx.init, 1.0)
    updates, after = jax.eval_shape(tx.update, 1.0, state, 1.0)
    assert (updates.shape, updates.dtype) == ((), jnp.float32)
    held, held_after = synapse_state(state), synapse_state(after)
    assert spec(held_after) == spec(held)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(held))


@every_case
def test_types_and_ranks_are_never_promoted_silently(case):
    tx = make(case)
    mixed = {
        "f32": jnp.ones((2, 3)),
        "bf16": jnp.ones(3, jnp.bfloat16),
        "f16": jnp.ones((1, 3), jnp.float16),
        "c64": jnp.ones((), jnp.complex64),
    }
    if "adam" in case:  # its second moment, as Optax makes it, is of no complex numbers
        del mixed["c64"]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        state = jax.eval_shape(tx.init, mixed)
        updates, after = jax.eval_shape(tx.update, mixed, state, mixed)
    assert spec(after) == spec(state)
    assert jax.tree.map(jnp.result_type, updates) == jax.tree.map(jnp.result_type, mixed)


@pytest.mark.parametrize(
    ("case", "dtype"),
    few(
        pairs(["default", "euler", "never"], ["float8_e4m3fn", "float16", "bfloat16", "complex64"]),
        lambda case, dtype: case == "default" or dtype == "bfloat16",
    ),
)
def test_weights_of_every_dtype_do_what_those_of_float32_do_to_their_precision(case, dtype):
    start = like(PARAMS, dtype)
    real = jax.tree.map(lambda leaf: leaf.real.astype("float32"), start)
    params, state = train(optimizer(case), start, steps=6)
    wide, wide_state = train(optimizer(case), real, steps=6)
    tolerance = max(1e-5, 8 * float(jnp.finfo(dtype).eps))
    for narrow, exact in ((params, wide), (get_beakers(state), get_beakers(wide_state))):
        assert_close(like(narrow, "complex64"), like(exact, "complex64"), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("case", "dtype"),
    few(
        pairs(["every link", "euler"], ["float8_e4m3fn", "float16", "bfloat16"]),
        lambda case, dtype: dtype == "bfloat16" or (case, dtype) == ("every link", "float16"),
    ),
)
def test_weights_of_low_precision_are_rounded_alike_jitted_and_eagerly(case, dtype):
    """XLA may leave out a rounding that the weight itself will not be spared."""
    tx = make(case)
    params = like(PARAMS, dtype)
    state = tx.init(params)
    grads = jax.tree.map(lambda p: 0.01 * p, params)
    eager, jitted = tx.update(grads, state, params), jax.jit(tx.update)(grads, state, params)
    assert_close(like(eager[0], "float32"), like(jitted[0], "float32"), rtol=1e-6, atol=0)
    assert_close(get_beakers(eager[1]), get_beakers(jitted[1]), rtol=1e-6)


Pair = namedtuple("Pair", "left right")
SMALL = np.array([0.5, -1.0], np.float32)
TREES = {
    "bare array": SMALL,
    "Python number": 0.5,
    "NumPy number": np.float32(0.5),
    "nothing": {},
    "None among others": {"a": SMALL, "b": None, "c": {"d": None}},
    "masked": {"a": SMALL, "b": optax.MaskedNode()},
    "no elements": {"a": np.zeros((0, 3), np.float32), "b": SMALL},
    "nested": [({"a": (SMALL,)}, [[]]), SMALL],
    "named tuple": Pair(SMALL, Pair(SMALL, None)),
    "ordered": OrderedDict(b=SMALL, a=2 * SMALL),
    "jax array": jnp.asarray(SMALL),
}


@cache
def compiled(case):
    tx = make(case)
    return tx, jax.jit(tx.update)


@pytest.mark.parametrize(
    ("case", "tree"), few(pairs(["default", "initial", "adam"], TREES), lambda case, tree: case == "default")
)
def test_leaves_are_trained_alike_whatever_holds_them(case, tree):
    params, (tx, step) = TREES[tree], compiled(case)
    state = tx.init(params)
    updates, after = step(params, state, params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    for leaf, update in zip(jax.tree.leaves(params), jax.tree.leaves(updates), strict=True):
        alone, _ = step(leaf, tx.init(leaf), leaf)
        assert_equal(update, alone)


@every_case
def test_leaves_without_an_update_may_be_anything(case):
    """As of an Equinox model given whole: its functions have no gradient."""
    tx = make(case)

    def update(grads, state, params):
        return tx.update({**grads, "f": None, "n": None}, state, {**params, "f": jnp.tanh, "n": 3})

    state = jax.eval_shape(tx.init, {**PARAMS, "f": None, "n": None})
    updates, after = jax.eval_shape(update, PARAMS, state, PARAMS)
    assert (updates.pop("f"), updates.pop("n")) == (None, None)
    assert spec(updates) == spec(PARAMS)
    assert spec(after) == spec(state)


SYNAPSES = [case for case, (factory, _) in CASES.items() if factory is complex_synapse]


@pytest.mark.parametrize(
    "case", few(SYNAPSES, ["default", "no beakers", "resting", "euler", "kaplanis", "never", "bfloat16"])
)
def test_a_closed_chain_converges_to_the_minimum(case):
    params, state = train(optimizer(case, leak="none", time_step=1.0), steps=400)
    half = jax.tree.map(lambda p: np.full_like(p, 0.5), PARAMS)
    assert_close(params, half, atol=0.03)
    if "n_beakers" not in CASES[case][1]:
        assert_close(like(get_beakers(state)[0], "float32"), half, atol=0.08)


@pytest.mark.parametrize(
    ("case", "dtype"), few(pairs(CASES, ["bfloat16", "float32"]), lambda case, dtype: dtype == "bfloat16")
)
def test_gradients_can_be_accumulated(case, dtype):
    check_dtypes(optax.MultiSteps(make(case), every_k_schedule=4), *[like(PARAMS, dtype)] * 2)


@pytest.mark.parametrize("case", few(CASES, ["default", "euler", "kaplanis", "schedules", "sgd", "adam"]))
def test_hyperparameters_can_be_injected(case):
    static = ("n_beakers", "resolution", "visible_resolution")
    static = static if CASES[case][0] is complex_synapse else "n_beakers"
    tx = optax.inject_hyperparams(CASES[case][0], static)(**keywords(case))
    plain = make(case)
    state = tx.init(PARAMS)
    assert spec(synapse_state(state)) == spec(synapse_state(plain.init(PARAMS)))

    @jax.jit
    def both(params, state, plain_state):
        return tx.update(params, state, params), plain.update(params, plain_state, params)

    (updates, after), (expected, expected_after) = both(PARAMS, state, plain.init(PARAMS))
    assert spec(after) == spec(state)
    assert_close((updates, synapse_state(after)), (expected, synapse_state(expected_after)))


@every_case
def test_map_params_reaches_beakers_and_leaves_all_else(case):
    tx = make(case)
    state = tx.init(PARAMS)
    assert_equal(optax.tree.map_params(tx, lambda leaf: leaf, state), state)
    touched = optax.tree.map_params(tx, lambda leaf: leaf * 0 + 7, state)
    assert all(np.all(np.asarray(leaf) == 7) for leaf in jax.tree.leaves(get_beakers(touched)))
    kept = optax.tree.map_params(tx, lambda leaf: None, state)
    assert {leaf.shape for leaf in jax.tree.leaves(kept)} == {
        (),
        synapse_state(state).clocks.shape,
        synapse_state(state).chain.shape,
    }


@pytest.mark.parametrize("params", [1.5, {"a": 1.5, "b": np.array([0.5, -1.0])}], ids=["number", "tree"])
@pytest.mark.parametrize("n_beakers", [1, 4])
def test_tools_take_every_parameter_that_updates_take(params, n_beakers):
    """Python numbers, and NumPy arrays of 64 bits: what arrays of JAX in their place give."""
    chain = BeakerChain.from_timescales(n_beakers, 4.0, 64.0)
    arrays = jax.tree.map(jnp.asarray, params)
    state = cs_optax.complex_synapse(chain=chain, init="zero").init(params)
    weights = [0.5] * n_beakers
    for tool in (
        lambda params: cs_optax.readout(state, params, weights),
        lambda params: cs_optax.relax(state, params, 9.0),
        lambda params: cs_optax.diagnose(state, params),
        lambda params: cs_optax.drift_report(state, params),
        lambda params: cs_optax.reset_beakers(state, params),
    ):
        assert_close(tool(params), tool(arrays))
    relaxed, _ = cs_optax.relax(state, params, 9.0)
    assert np.all(jnp.abs(jax.tree.leaves(relaxed)[0]) < 1.4)
