"""Several processes, perhaps on several hosts, that are started with the same command and divide its runs.

Each trains its share on devices of its own, and only what comes of it is exchanged; the first process finds
what is there already, and writes what is new. JAX's own runtime connects them, and ends all others where one
has ended without a word.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from experiments.lab.system.errors import SettingsError

PATIENCE = 20  # seconds without a sign of life after which a process counts as dead
CONNECTING = 300  # seconds to wait for the others to start
WAITING = 365 * 86_400  # seconds to wait for the others to finish: as long as they live
GO_ON = "what is finished is kept, and with --resume all of them together go on from there"
LOST = f"another process of this command has ended, or cannot be reached; {GO_ON}"

# JAX ends the process from within, where Python has no last word; another program has: the last line that it
# has been told, if any.
_WATCH = """
import sys
said = sys.stdin.read().splitlines()
if said[-1]:
    print(said[-1], file=sys.stderr, flush=True)
"""
_watcher: subprocess.Popen[str] | None = None
_joined = False
_meetings = 0


def join(coordinator: str | None, n_processes: int | None, process_id: int | None) -> None:
    """Join the other processes; before anything is computed.

    Args:
        coordinator: host and port of the first process; None where JAX knows the cluster, as it does Slurm.
        n_processes: how many there are; likewise.
        process_id: which one this is, from 0; likewise.

    Raises:
        SettingsError: if that does not say who they are, or they do not come.
    """
    global _watcher, _joined
    given = (coordinator, n_processes, process_id)
    if None in given and any(value is not None for value in given):
        raise SettingsError("--coordinator, --n-processes, --process-id: must be given together, or left out")
    if n_processes is not None and n_processes < 1:
        raise SettingsError(f"--n-processes {n_processes}: must be at least 1")
    if n_processes is not None and process_id is not None and not 0 <= process_id < n_processes:
        raise SettingsError(f"--process-id {process_id}: must be 0 to {n_processes - 1}")
    if coordinator is not None:
        _check(coordinator, is_here=process_id == 0)
    import jax

    # SIGTERM is to end the process, which JAX would take as news about the cluster.
    jax.config.update("jax_enable_preemption_service", False)
    print(f"waiting for all processes, at most {CONNECTING} s", file=sys.stderr)
    _watcher = subprocess.Popen(
        [sys.executable, "-c", _WATCH], stdin=subprocess.PIPE, text=True, start_new_session=True
    )
    _last_word(f"error: --distributed: not all processes came within {CONNECTING} s, or found {coordinator}")

    def initialize() -> None:
        jax.distributed.initialize(
            coordinator,
            n_processes,
            process_id,
            initialization_timeout=CONNECTING,
            heartbeat_timeout_seconds=PATIENCE,
        )

    try:
        _interruptible(initialize)
    except ValueError as error:
        raise SettingsError(
            "--distributed: no cluster that JAX knows was found; "
            "--coordinator, --n-processes and --process-id say who belongs together"
        ) from error
    except RuntimeError as error:
        raise SettingsError(f"--distributed: {str(error).splitlines()[0]}") from error
    if jax.process_count() == 1:
        return _dismiss()
    _joined = True
    _last_word(
        f"error: process {_index()} was ended, from outside, or by JAX because another process of this "
        f"command is lost; {GO_ON}"
    )
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as there is a process


def _check(coordinator: str, is_here: bool) -> None:
    """Find what JAX would wait for in vain, or end at.

    Raises:
        SettingsError: if it is not a host that is known, and a port that is free where it is this one's.
    """
    host, _, port = coordinator.rpartition(":")
    if not (host and port.isdigit() and 0 < int(port) < 2**16):
        raise SettingsError(f"--coordinator {coordinator}: must be HOST:PORT")
    try:
        socket.getaddrinfo(host, int(port))
        if is_here:
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("", int(port)))
    except OSError as error:
        raise SettingsError(f"--coordinator {coordinator}: {error.strerror or error}") from error


def _last_word(line: str) -> None:
    """What is said where this process ends without a word of its own."""
    assert _watcher is not None
    assert _watcher.stdin is not None
    _watcher.stdin.write(f"{line}\n")
    _watcher.stdin.flush()


def _dismiss() -> None:
    """No last word is needed any more."""
    global _watcher, _joined
    _joined = False
    if _watcher is not None:
        _watcher.communicate("\n")
        _watcher = None


def _interruptible(function: Callable[[], Any]) -> None:
    """Call it in a thread of its own: while this one waits in C++, Python would not hear of Ctrl-C."""
    failed: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if failed:
        raise failed[0]


def agree(what: Mapping[str, Any]) -> None:
    """Make sure that all processes have been started with the same: what they exchange would be mixed up.

    Args:
        what: names, and what must be the same everywhere.

    Raises:
        SettingsError: if it is not, in all of them.
    """
    first, *others = exchange(dict(what))
    for index, other in enumerate(others, start=1):
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                raise SettingsError(
                    "--distributed: all processes must be started with the same command and data, but "
                    f"{name} is {first.get(name)} in process 0, and {other.get(name)} in process {index}"
                )


def joined() -> bool:
    """Whether there are other processes."""
    return _joined


def is_first() -> bool:
    """Whether this process is the one that finds, writes and speaks."""
    return not joined() or _index() == 0


def name() -> str:
    """What its warnings begin with; empty where it is alone."""
    return f"process {_index()}: " if joined() else ""


def note(line: str) -> None:
    """Tell the user something that is no result."""
    if is_first():
        print(line, file=sys.stderr)


def count() -> int:
    """The number of processes."""
    if not joined():
        return 1
    import jax

    return jax.process_count()


def share(parts: list[Any]) -> Any | None:
    """What this process is to do, of one part for each; None where there is none for it."""
    index = _index() if joined() else 0
    return parts[index] if index < len(parts) else None


def exchange(value: Any) -> list[Any]:
    """The values of all processes, in their order; all have to call it.

    Raises:
        LostError: if one of them is not there any more.
    """
    if not joined():
        return [value]
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    _wait()
    content = np.frombuffer(pickle.dumps(value), np.uint8)
    try:
        sizes = np.asarray(process_allgather(np.array([len(content)]))).ravel()
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: len(content)] = content
        rows = np.asarray(process_allgather(padded)).reshape(len(sizes), -1)
    except (RuntimeError, ValueError) as error:
        raise LostError(_lost(error)) from error
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


class LostError(RuntimeError):
    """Another process has ended."""


def leave(status: int) -> None:
    """End as this process should: after all others, or at once where it has failed."""
    if _watcher is None:
        return
    if status == 0:
        try:
            _wait()
        except LostError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
    _dismiss()
    if status != 0:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait() -> None:
    """For all others. A collective alone would give up after half an hour on a CPU.

    Raises:
        LostError: if one of them is not there any more.
    """
    global _meetings
    from orbax.checkpoint.multihost import get_barrier_sync_fn  # comes with Flax

    _meetings += 1
    key, wait = f"cs_optax {_meetings}", get_barrier_sync_fn()
    try:
        _interruptible(lambda: wait(key=key, timeout_ms=1000 * WAITING))
    except RuntimeError as error:
        raise LostError(_lost(error)) from error


def _lost(error: Exception) -> str:
    """What happened, with the first line of what JAX says, where it may name the process."""
    said = str(error).strip().splitlines()
    return f"{LOST} (JAX: {said[0][:300]})" if said else LOST


def _index() -> int:
    import jax

    return jax.process_index()
