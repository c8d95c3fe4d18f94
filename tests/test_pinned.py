"""What the environment says to JAX changes no run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lab.options.pinned import PINNED, compiler_flags, not_heeded, pinned
from experiments.lab.options.settings import Settings
from experiments.lab.results import stamps

CHANGED = {
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 7,
    "jax_high_dynamic_range_gumbel": True,
    "jax_enable_x64": True,
}
OTHERS = {
    "jax_default_matmul_precision": "bfloat16",
    "jax_softmax_custom_jvp": True,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_legacy_prng_key": "error",
    "jax_transfer_guard": "disallow",
    "jax_disable_jit": True,
    "jax_error_checking_behavior_divide": "raise",
    "jax_error_checking_behavior_nan": "raise",
    "jax_error_checking_behavior_oob": "raise",
}


@pytest.fixture
def configured():
    """Sets the configuration as a variable of the environment does."""
    before = {name: getattr(jax.config, name) for name in PINNED}
    yield jax.config.update
    for name, value in before.items():
        jax.config.update(name, value)


def drawn():
    """Random numbers, labels, and the sum of numbers that have no dtype of their own."""
    uniform = jax.random.uniform(jax.random.key(3), (5,))
    labels = jax.random.categorical(jax.random.key(4), jnp.zeros(5), shape=(20,))
    return [np.asarray(one) for one in (uniform, labels, jnp.asarray([0.1, 0.2]).sum())]


def same(some, others):
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def test_all_that_is_pinned_is_tried():
    assert set(PINNED) == CHANGED.keys() | OTHERS.keys()


@pytest.mark.parametrize("name", CHANGED)
def test_numbers_are_the_same_whatever_is_configured(name, configured):
    with pinned():
        expected = drawn()
    configured(name, CHANGED[name])
    assert not same(drawn(), expected)  # so that it has to be pinned
    with pinned():
        assert same(drawn(), expected)
    assert getattr(jax.config, name) == CHANGED[name]


@pytest.mark.parametrize("name", PINNED)
def test_what_is_pinned_is_as_said_and_as_before_afterwards(name, configured):
    value = {**CHANGED, **OTHERS}[name]
    configured(name, value)
    with pinned():
        assert getattr(jax.config, name) == PINNED[name]
    assert getattr(jax.config, name) == value
    assert not_heeded() == {name: value}


def test_a_context_around_it_changes_nothing():
    with jax.enable_x64(True), jax.default_prng_impl("rbg"), pinned():
        assert not jax.config.jax_enable_x64
        assert jax.random.key(0).dtype == jax.random.key(0, impl="threefry2x32").dtype


def test_nothing_is_not_heeded_where_nothing_is_said():
    assert not_heeded() == {}


def test_flags_of_the_compiler_are_part_of_the_identity_but_for_harmless_ones(monkeypatch):
    def stamp():
        return stamps.run_stamp(stamps.identity(Settings(), "cs", 0, "abc"))

    monkeypatch.setenv("XLA_FLAGS", "")
    before = stamp()
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x  --xla_force_host_platform_device_count=8")
    assert (compiler_flags(), stamp()) == ({}, before)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x --xla_cpu_enable_fast_math=true")
    assert compiler_flags() == {"XLA_FLAGS": ["--xla_cpu_enable_fast_math=true"]}
    assert stamp() != before
