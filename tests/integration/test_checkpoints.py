"""Saved in the middle of a training, restored against abstract values, continued: as if never stopped."""

import pickle
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from jax.sharding import NamedSharding, PartitionSpec
from tiers import few
from trials import CHAIN, PARAMS, assert_equal, train

from cs_optax import BeakerChain, complex_synapse, get_beakers, published, resize_beakers

TRAININGS = {
    "adam": optax.chain(optax.adam(0.1), complex_synapse(**CHAIN)),
    "initial": optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, leak="initial")),
    "bfloat16": optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, beaker_dtype="bfloat16")),
    "published": published.adam(0.1, **CHAIN),
    "masked": optax.chain(
        optax.adam(0.1), optax.masked(complex_synapse(**CHAIN), {"kernel": True, "rest": False})
    ),
    "injected": optax.chain(
        optax.sgd(0.1, momentum=0.9),
        optax.inject_hyperparams(complex_synapse, ("n_beakers", "resolution", "visible_resolution"))(
            4, optax.linear_schedule(4.0, 8.0, 10), 64.0
        ),
    ),
}


def save_orbax(folder, tree):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "orbax", tree)


def load_orbax(folder, like):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(folder / "orbax", like)


def save_flax(folder, tree):
    (folder / "state.msgpack").write_bytes(serialization.to_bytes(tree))


def load_flax(folder, like):
    return serialization.from_bytes(like, (folder / "state.msgpack").read_bytes())


def save_npz(folder, tree):
    np.savez(folder / "state.npz", *jax.tree.leaves(tree))


def load_npz(folder, like):
    """NumPy does not know bfloat16 again, but for its size."""
    with np.load(folder / "state.npz") as file:
        leaves = [
            file[name].view(leaf.dtype) for name, leaf in zip(file.files, jax.tree.leaves(like), strict=True)
        ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def save_pickle(folder, tree):
    (folder / "state.pickle").write_bytes(pickle.dumps(tree))


def load_pickle(folder, like):
    del like
    return pickle.loads((folder / "state.pickle").read_bytes())


FORMATS = [
    (save_orbax, load_orbax),
    (save_flax, load_flax),
    (save_npz, load_npz),
    (save_pickle, load_pickle),
]


def abstract(params, tx):
    """What a restored checkpoint has to look like; nothing is computed."""
    params = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    return params, jax.eval_shape(tx.init, params)


@pytest.mark.parametrize("name", few(TRAININGS, ["bfloat16", "injected"]))
def test_a_restored_training_goes_on_as_if_never_stopped_in_every_format(name, tmp_path):
    tx = TRAININGS[name]
    params, state = train(tx, steps=7)
    through = train(tx, params, 7, state)
    assert np.any(through[0]["kernel"] != params["kernel"])
    for save, load in FORMATS:
        save(tmp_path, (params, state))
        restored = load(tmp_path, abstract(PARAMS, tx))
        assert_equal(restored, (params, state))
        assert_equal(train(tx, restored[0], 7, restored[1]), through)


def test_orbax_restores_onto_another_sharding(tmp_path):
    tx = optax.chain(optax.adam(0.1), complex_synapse(**CHAIN, leak="initial"))
    params = {"w": np.linspace(-1, 2, 64, dtype=np.float32).reshape(8, 8), "b": np.ones(8, np.float32)}
    meshes = jax.make_mesh((4, 2), ("x", "y")), jax.make_mesh((2, 4), ("x", "y"))
    specs = (
        {"w": PartitionSpec("x", "y"), "b": PartitionSpec("x")},
        {"w": PartitionSpec("y"), "b": PartitionSpec("y")},
    )

    def places(mesh, spec):
        """Of the parameters and of a state."""
        here = jax.tree.map(lambda one: NamedSharding(mesh, one), spec)
        everywhere = NamedSharding(mesh, PartitionSpec())
        state = optax.tree.map_params(
            tx,
            lambda _, place: place,
            jax.eval_shape(tx.init, params),
            here,
            transform_non_params=lambda _: everywhere,
        )
        return here, state

    before, after = (places(mesh, spec) for mesh, spec in zip(meshes, specs, strict=True))
    saved = train(tx, jax.device_put(params, before[0]), steps=7)
    save_orbax(tmp_path, saved)
    like = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        abstract(params, tx),
        after,
    )
    restored = load_orbax(tmp_path, like)
    for leaf, place in zip(jax.tree.leaves(restored), jax.tree.leaves(after), strict=True):
        assert leaf.sharding.is_equivalent_to(place, leaf.ndim)
    assert_equal(jax.device_get(restored), jax.device_get(saved))
    (beaker, *_) = get_beakers(restored[1])
    trained, _ = train(tx, restored[0], 7, restored[1])
    assert beaker["w"].sharding.is_equivalent_to(trained["w"].sharding, 2)


def test_a_checkpoint_of_five_beakers_goes_on_with_eight(tmp_path):
    five, eight = BeakerChain.benna_fusi(5), BeakerChain.benna_fusi(8)
    short, long = (optax.chain(optax.adam(0.1), complex_synapse(chain=chain)) for chain in (five, eight))
    save_orbax(tmp_path, train(short, steps=7))
    params, state = load_orbax(tmp_path, abstract(PARAMS, short))
    with pytest.raises(ValueError, match=r"have 8 beakers.*it has 5.*resize_beakers"):
        train(long, params, 7, state)
    params, longer = resize_beakers(state, params, eight)
    assert len(get_beakers(longer)) == 7
    trained, after = train(long, params, 7, longer)
    assert jax.tree.structure(after) == jax.tree.structure(long.init(params))
    assert np.any(trained["kernel"] != params["kernel"])
    assert optax.tree.get(after, "clocks")[:, 0].sum() == 14.0
    save_orbax(tmp_path / "longer", (trained, after))
    assert_equal(load_orbax(tmp_path / "longer", abstract(PARAMS, long)), (trained, after))


def test_a_checkpoint_of_five_beakers_is_not_restored_into_eight_as_errors_md_says(tmp_path):
    params = {"w": jnp.ones(2)}
    short, long = (optax.chain(optax.adam(0.1), complex_synapse(n, 8.0, 1e4)) for n in (5, 8))
    messages = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    for library, save, load in (("Orbax", save_orbax, load_orbax), ("Flax", save_flax, load_flax)):
        (message,) = re.findall(rf"^\| {library} \| (.+?)(?: …)? \|$", messages, re.MULTILINE)
        save(tmp_path, {"state": short.init(params)})
        with pytest.raises(ValueError, match=re.escape(message)):
            load(tmp_path, {"state": jax.eval_shape(long.init, params)})


def test_a_state_written_to_disk_is_as_large_as_its_beakers(tmp_path):
    """No hidden copies: K - 1 times the parameters, in bfloat16 half of it, and a few numbers."""
    params = {"w": jnp.ones((256, 256))}
    sizes = {}
    for dtype in ("float32", "bfloat16"):
        state = complex_synapse(**CHAIN, beaker_dtype=dtype).init(params)
        save_npz(tmp_path, state)
        sizes[dtype] = (tmp_path / "state.npz").stat().st_size
    assert sizes["float32"] == pytest.approx(3 * 4 * 256**2, rel=0.01)
    assert sizes["bfloat16"] == pytest.approx(3 * 2 * 256**2, rel=0.01)
