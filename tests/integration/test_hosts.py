"""Parameters over the devices of two processes, as over two hosts: everything works, and is the same."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from two_hosts import results

ROOT = Path(__file__).parent.parent.parent


def test_two_processes_compute_what_one_does(tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{one.getsockname()[1]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, str(Path(__file__).with_name("two_hosts.py"))]
    both = [
        subprocess.Popen([*program, coordinator, str(i), str(tmp_path / "found.npz")], env=environment)
        for i in (0, 1)
    ]
    try:
        assert [one.wait(timeout=120) for one in both] == [0, 0]
    finally:
        for one in both:
            one.kill()
    found, expected = np.load(tmp_path / "found.npz"), results(jnp.asarray)
    assert set(found) == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
