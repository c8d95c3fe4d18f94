import gc
import os
from pathlib import Path

import compiled_programs
import jax
import pytest
import submitit  # noqa: F401  # now: it closes all log handlers, later absl's too, which closes pytest's stderr
from drawings import undraw

from experiments.lab import figures
from experiments.lab.figures import style


def pytest_configure(config):
    """Set up JAX, before it is used, and the workers' environment."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of each worker: their matrices are small
    if config.option.markexpr in ("not slow", "slow"):  # with all tests, programs compile as for users
        compiled_programs.compile_quickly()
    cache = getattr(config, "cache", None)  # none with -p no:cacheprovider
    if cache is not None and not hasattr(config, "workerinput"):  # before workers start
        compiled_programs.tidy(cache)
    compiled_programs.keep_in(cache)
    for message in compiled_programs.HARMLESS:
        config.addinivalue_line("filterwarnings", f"ignore:{message}:UserWarning")
    jax.config.update("jax_num_cpu_devices", 8)  # for the tests of sharding
    jax.devices()  # and from now on there are as many
    gc.freeze()  # what was imported stays; and tracing makes many objects, of which few are in cycles:
    gc.set_threshold(50_000, 10, 10)  # a tenth less time


LONGEST = ("test_notebooks", "test_processes", "test_survival", "test_site")


def pytest_collection_modifyitems(items):
    """Let the longest tests come first, or one process works on them alone in the end."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture
def x64():
    """Run a test with 64-bit types."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """For tests of commands that care for no figure."""
    undraw(monkeypatch)


@pytest.fixture
def sketched(monkeypatch):
    """For tests of commands that care for the figures that there are, but not for how they look."""
    monkeypatch.setattr(figures, "FORMATS", ("png",))
    monkeypatch.setattr(style, "PNG_DPI", 40)


@pytest.fixture
def optimized():
    """For tests that compute for longer than they compile, or that depend on what the compiler makes."""
    before = jax.config.read("jax_disable_most_optimizations")
    compiled_programs.disable_optimizations(False)
    yield
    compiled_programs.disable_optimizations(before)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder of the four MNIST files, where the environment variable MNIST_DIR names one."""
    folder = os.environ.get("MNIST_DIR")
    if not folder:
        pytest.skip("needs the MNIST files: set MNIST_DIR to their folder")
    return Path(folder)
