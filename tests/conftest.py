import os
from pathlib import Path

import jax
import pytest
import submitit  # noqa: F401  # now: it closes all log handlers, later absl's too, which closes pytest's stderr

jax.config.update("jax_num_cpu_devices", 8)  # for the tests of sharding
jax.devices()  # and from now on there are as many

LARGEST_CACHE = 2**30  # bytes


def pytest_configure(config):
    """Keep compiled programs between runs, in pytest's own cache: most of the suite's time is compiling."""
    if not hasattr(config, "cache"):  # -p no:cacheprovider
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # of the commands that tests start
        jax.config.update("jax_enable_compilation_cache", False)
        return
    folder = config.cache.mkdir("compiled")
    if not hasattr(config, "workerinput"):  # one process alone, before workers start
        forget_the_oldest(folder)
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the commands that tests start
    # JAX writes a file in place: who reads it half-written, or finds one that was left so, compiles anew.
    unread = "Error reading persistent compilation cache entry"
    config.addinivalue_line("filterwarnings", f"ignore:{unread}:UserWarning")
    os.environ["PYTHONWARNINGS"] = f"ignore:{unread}"


def forget_the_oldest(folder):
    """Keep a folder of compiled programs from growing with every edit of the code."""
    sizes = {file: file.stat().st_size for file in folder.iterdir()}
    excess = sum(sizes.values()) - LARGEST_CACHE
    for file in sorted(sizes, key=os.path.getmtime):
        if excess <= 0:
            break
        file.unlink()
        excess -= sizes[file]


@pytest.fixture
def x64():
    """Run a test with 64-bit types."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quick_to_compile():
    """For tests that compile many small trainings, and care for what they compute, not for how."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")  # of the commands that tests start
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """The folder of the four MNIST files, where the environment variable MNIST_DIR names one."""
    folder = os.environ.get("MNIST_DIR")
    if not folder:
        pytest.skip("needs the MNIST files: set MNIST_DIR to their folder")
    return Path(folder)
