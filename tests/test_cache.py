"""Compiled programs are kept where the user's cache is, unless the user says otherwise."""

import json
import os
import subprocess
import sys

import jax
import platformdirs
import pytest

from experiments.lab.system.cache import keep_compiled_programs

CODE = """
import json
import jax
from experiments.lab.system.cache import keep_compiled_programs
folder = keep_compiled_programs()
jax.jit(lambda x: jax.numpy.linalg.svd(x @ x.T))(jax.numpy.ones((30, 30)))
print(json.dumps([str(folder), jax.config.jax_compilation_cache_dir]))
"""
SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is another one elsewhere")
def test_programs_are_kept_in_the_users_cache(tmp_path):
    """By a process that JAX is new to, as every command is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**kept, "XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, used = json.loads(done.stdout)
    assert folder == used == str(tmp_path / "cs_optax" / "compiled")
    assert any(path.name.startswith("jit_") for path in (tmp_path / "cs_optax" / "compiled").iterdir())


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """``kept(setting=value) -> (folder, JAX's folder)``, as JAX is set up, with a home for the test alone."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    def keep(directory=None, enabled=True):
        jax.config.update("jax_compilation_cache_dir", directory)
        jax.config.update("jax_enable_compilation_cache", enabled)
        return keep_compiled_programs(), jax.config.jax_compilation_cache_dir

    yield keep
    for name, value in before.items():
        jax.config.update(name, value)


def test_a_folder_that_the_user_names_is_used(kept, tmp_path):
    assert kept(directory=str(tmp_path / "mine")) == (None, str(tmp_path / "mine"))


def test_the_user_can_do_without(kept, tmp_path):
    assert kept(enabled=False) == (None, None)
    assert not (tmp_path / "cs_optax").exists()


def test_a_folder_that_cannot_be_written_in_is_no_error(kept, tmp_path):
    (tmp_path / "cs_optax").write_text("in the way")
    assert kept() == (None, None)


def test_a_user_without_a_home_is_no_error(kept, monkeypatch):
    def homeless(*_, **__):
        raise RuntimeError("no home")

    monkeypatch.setattr(platformdirs, "user_cache_path", homeless)
    assert kept() == (None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
@pytest.mark.parametrize("who", ["the user's cache", "JAX"])
def test_a_folder_whose_name_jax_does_not_take_is_no_error(kept, tmp_path, who, monkeypatch):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/donn\xe9es")
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    assert kept(directory=folder if who == "JAX" else None) == (None, None)
