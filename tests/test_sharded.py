"""One network over many devices: what each holds, what they tell each other, and checkpoints between them."""

import shutil

import jax
import numpy as np
import pytest
from tiers import few, pairs

from benchmarks.sharding import bytes_for_each, compiled_on
from cs_optax import get_beakers
from experiments import sharded
from experiments.sharded import ShardedOptions, bytes_on_each, prepare

SMALL = {"width": 32, "layers": 3, "batch": 16, "beakers": 5}


def small(**changes):
    return ShardedOptions(**{**SMALL, **changes})


@pytest.mark.parametrize(("devices", "bfloat16"), few(pairs([1, 2, 8], [False, True]), [(8, True)]))
def test_each_device_holds_its_share_and_the_optimizer_communicates_nothing(devices, bfloat16, optimized):
    compiled = compiled_on(small(devices=devices, bfloat16=bfloat16))
    n = 3 * (32 * 32 + 32)
    assert compiled.counted == n * (4 + 8 + 4 * (2 if bfloat16 else 4)) / devices
    assert compiled.counted <= compiled.held <= compiled.counted + 200  # counters and clocks
    assert compiled.of_update == {}
    assert bool(compiled.of_step) == (devices > 1)


def test_beakers_are_shared_out_evenly():
    """(K - 1)/devices of a copy of the parameters each."""
    _, params, state, _ = prepare(small(devices=8))
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    held = bytes_on_each(get_beakers(state))
    assert len(held) == 8
    assert set(held.values()) == {4 * whole // 8}
    assert bytes_for_each(5, False) == (16.0, 28.0)


def test_the_losses_do_not_depend_on_the_devices():
    one, eight = (sharded.sharded(small(devices=devices, steps=6)) for devices in (1, 8))
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert one[-1] < one[0]


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_goes_on_on_one_two_and_eight(tmp_path, capsys):
    pytest.importorskip("orbax.checkpoint")
    whole = sharded.sharded(small(steps=8))
    first = sharded.sharded(small(devices=8, steps=4, checkpoint=tmp_path / "eight"))
    for devices in (1, 2, 8):
        folder = shutil.copytree(tmp_path / "eight", tmp_path / str(devices))
        rest = sharded.sharded(small(devices=devices, steps=8, checkpoint=folder))
        np.testing.assert_allclose(first + rest, whole, rtol=1e-5)
        assert "going on from step 4" in capsys.readouterr().out


def test_a_checkpoint_of_another_network_is_refused_and_a_folder_without_one_is_none(tmp_path, capsys):
    pytest.importorskip("orbax.checkpoint")
    tiny = ["--width=16", "--layers=2", "--batch=8", "--steps=2", f"--checkpoint={tmp_path}"]
    assert sharded.main(tiny) == 0
    assert sharded.main([*tiny, "--beakers=7"]) == 2
    assert f"error: --beakers 7: the checkpoint in {tmp_path} has 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--devices=3"], "--width 512: must be a multiple of --devices 3"),
        (["--steps=0"], "--steps 0: must be at least 1"),
        (["--alpha=100", "--beta=10"], "--beakers, --alpha, --beta: beta must be at least alpha"),
        (["--checkpoint=/proc/none"], "--checkpoint /proc/none: cannot be written in: "),
        (["--devices=64"], "--devices 64: must be 1 to"),
    ],
)
def test_what_cannot_be_meant_is_said(wrong, message, capsys):
    assert sharded.main(wrong) == 2
    assert f"error: {message}" in capsys.readouterr().err
