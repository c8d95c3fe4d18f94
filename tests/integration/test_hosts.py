"""Parameters over the devices of two processes, as over two hosts: everything works, and is the same."""

import socket

import jax.numpy as jnp
import numpy as np
import pytest
from forked import Command
from two_hosts import compute, results


@pytest.mark.slow
def test_two_processes_compute_what_one_does(tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{one.getsockname()[1]}"
    path = tmp_path / "found.npz"
    both = [Command(tmp_path / f"said-{i}", compute, coordinator, i, path, folder=tmp_path) for i in (0, 1)]
    try:
        assert [one.wait(timeout=120) for one in both] == [0, 0], (tmp_path / "said-0").read_text()
    finally:
        for one in both:
            one.kill()
    found, expected = np.load(tmp_path / "found.npz"), results(jnp.asarray)
    assert set(found) == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
