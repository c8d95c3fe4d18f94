"""The compiled programs that runs of the tests have in common: most of the suite's time is compiling."""

import os
import time
import zlib
from contextlib import suppress

import jax

LARGEST = 2**30  # bytes
# What JAX warns of when another process has written half of a file, or none can be written: it then compiles.
HARMLESS = [f"Error {what} persistent compilation cache entry" for what in ("reading", "writing")]


def keep_in(cache):
    """Keep them in pytest's own cache, here and in the commands that tests start; None keeps none."""
    settings = {"jax_enable_compilation_cache": False}
    with suppress(OSError):
        if cache is not None:
            settings = {
                "jax_compilation_cache_dir": str(cache.mkdir("compiled")),
                "jax_persistent_cache_min_compile_time_secs": 0,
                "jax_persistent_cache_min_entry_size_bytes": 0,
            }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    os.environ["PYTHONWARNINGS"] = ",".join(f"ignore:{message}" for message in HARMLESS)


def tidy(cache):
    """Remove files that were cut off, and the oldest where all take too much room. For one process alone."""
    now, last = time.time(), cache.get("compiled/tidied", 0.0)
    with suppress(OSError):
        folder = cache.mkdir("compiled")
        forget_what_was_cut_off(folder, since=last)
        forget_the_oldest(folder)
        cache.set("compiled/tidied", now)


def forget_what_was_cut_off(folder, since=0.0):
    """Remove what a process that was killed had half written: JAX never replaces it, and compiles every time.

    Args:
        folder: of the files.
        since: the time, in seconds, before which all were whole.
    """
    for file in folder.iterdir():
        if file.stat().st_mtime >= since and is_cut_off(file.read_bytes()):
            file.unlink()


def is_cut_off(content):
    """Whether it is no more than the beginning of what zlib compressed, as JAX does without zstandard."""
    stream = zlib.decompressobj()
    with suppress(zlib.error):
        stream.decompress(content)
        return not stream.eof
    return False


def forget_the_oldest(folder, largest=LARGEST):
    """Keep a folder of compiled programs from growing with every edit of the code."""
    sizes = {file: file.stat().st_size for file in folder.iterdir()}
    excess = sum(sizes.values()) - largest
    for file in sorted(sizes, key=os.path.getmtime):
        if excess <= 0:
            break
        file.unlink()
        excess -= sizes[file]


def compile_quickly():
    """Let the compiler do less, before JAX is used: no part that takes long, and no optimization.

    Versions of JAX before 0.11 take twice as long as later ones to compile the tests' small programs, unless
    a part of the compiler is left out; later ones do not know the flag. Nor do small programs gain from
    being divided among threads.
    """
    disable_optimizations(True)
    if jax.__version_info__ < (0, 11):
        flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"


def disable_optimizations(disable):
    """Whether the compiler leaves most of them out, here and in the commands that tests start."""
    jax.config.update("jax_disable_most_optimizations", disable)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(disable)
