"""Compiled programs are kept where the user's cache is, unless the user says otherwise."""

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json
import jax
from experiments.lab.system.cache import keep_compiled_programs
folder = keep_compiled_programs()
jax.jit(lambda x: jax.numpy.linalg.svd(x @ x.T))(jax.numpy.ones((30, 30)))
print(json.dumps([str(folder), jax.config.jax_compilation_cache_dir]))
"""


def in_a_process(tmp_path, code=CODE, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is another one elsewhere")
def test_programs_are_kept_in_the_users_cache(tmp_path):
    folder, used = in_a_process(tmp_path, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
    assert folder == used == str(tmp_path / "cs_optax" / "compiled")
    assert any(path.name.startswith("jit_") for path in (tmp_path / "cs_optax" / "compiled").iterdir())


def test_a_folder_that_the_user_names_is_used(tmp_path):
    assert in_a_process(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine")) == [
        "None",
        str(tmp_path / "mine"),
    ]


def test_the_user_can_do_without(tmp_path):
    assert in_a_process(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false") == ["None", None]
    assert not (tmp_path / "cs_optax").exists()


def test_a_folder_that_cannot_be_written_in_is_no_error(tmp_path):
    (tmp_path / "cs_optax").write_text("in the way")
    assert in_a_process(tmp_path) == ["None", None]


def test_a_user_without_a_home_is_no_error(tmp_path):
    code = "import platformdirs\n\ndef homeless(*_, **__):\n    raise RuntimeError('no home')\n\n"
    code += f"platformdirs.user_cache_path = homeless\n{CODE}"
    assert in_a_process(tmp_path, code) == ["None", None]


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"])
def test_a_folder_whose_name_jax_does_not_take_is_no_error(tmp_path, variable):
    folder = os.fsencode(tmp_path) + b"/donn\xe9es"
    assert in_a_process(tmp_path, **{variable: os.fsdecode(folder)}) == ["None", None]
