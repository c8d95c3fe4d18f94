"""Compiled programs that runs of the tests share: what is damaged or cannot be written does no harm."""

import os
import shutil

import compiled_programs
import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture
def folder(tmp_path):
    """A folder that JAX keeps programs in, for this test alone."""
    names = "jax_compilation_cache_dir", "jax_enable_compilation_cache"
    before = {name: getattr(jax.config, name) for name in names}
    for name, value in zip(names, (str(tmp_path / "programs"), True), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield tmp_path / "programs"
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def compile_one(n):
    return jax.jit(lambda x: jnp.sin(x) + n)(1.0)


def test_a_file_that_was_cut_off_is_removed_and_written_again(folder):
    compile_one(1)
    (file,) = [path for path in folder.iterdir() if "lambda" in path.name]
    whole = file.read_bytes()
    compiled_programs.forget_what_was_cut_off(folder)
    assert file.read_bytes() == whole
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        compiled_programs.forget_what_was_cut_off(folder, since=file.stat().st_mtime + 1)  # not looked at
        assert file.exists()
        compiled_programs.forget_what_was_cut_off(folder)
        assert not file.exists()
        compile_one(1)
        assert len(file.read_bytes()) == pytest.approx(len(whole), rel=0.1)


def test_neither_a_damaged_file_nor_a_folder_that_is_gone_fails_a_test(folder):
    """JAX warns, and warnings are errors in tests, but for these."""
    expected = compile_one(2)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:50])
    assert compile_one(2) == expected
    shutil.rmtree(folder)
    assert compile_one(3) == expected + 1


def test_the_oldest_are_removed_where_all_take_too_much_room(tmp_path):
    for age, name in enumerate(("new", "old", "older")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    compiled_programs.forget_the_oldest(tmp_path, largest=25)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "old"}


class Unwritable:
    """A cache of pytest in a folder that cannot be written in."""

    def mkdir(self, name):
        raise PermissionError(name)

    def get(self, key, default):
        return default


@pytest.mark.parametrize("cache", [None, Unwritable()])
def test_without_a_folder_there_is_no_cache(cache, monkeypatch):
    settings = {}
    monkeypatch.setattr(compiled_programs.jax.config, "update", settings.__setitem__)
    monkeypatch.setattr(compiled_programs.os, "environ", {})
    compiled_programs.keep_in(cache)
    assert settings == {"jax_enable_compilation_cache": False}
    if cache is not None:
        compiled_programs.tidy(cache)


def test_files_are_looked_at_once(tmp_path):
    kept = {}

    class Cache:
        def mkdir(self, name):
            return tmp_path

        def get(self, key, default):
            return kept.get(key, default)

        set = kept.__setitem__

    (tmp_path / "first").write_bytes(b"")
    compiled_programs.tidy(Cache())
    assert not list(tmp_path.iterdir())
    (tmp_path / "early").write_bytes(b"")
    os.utime(tmp_path / "early", (1000, 1000))
    (tmp_path / "late").write_bytes(b"")
    compiled_programs.tidy(Cache())
    assert [path.name for path in tmp_path.iterdir()] == ["early"]
