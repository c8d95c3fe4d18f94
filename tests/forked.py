"""Commands in processes of their own, forked of one that has imported what takes long."""

import atexit
import multiprocessing
import os
import signal
import sys
import time

import jax

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["experiments.run", "experiments.compare", "experiments.lab.training.train", "sklearn.datasets"]
)


class Command:
    """A function of a module, in a process.

    Args:
        said: the file of what it says, errors included.
        function: with an exit status, or None, which is success.
        arguments: of the function.
        folder: where it runs.
    """

    def __init__(self, said, function, *arguments, folder):
        said.touch()
        self._process = _context.Process(target=_run, args=(said, folder, function, arguments), daemon=True)
        self._process.start()
        self.send_signal = lambda number: os.kill(self._process.pid, number)

    def wait(self, timeout=None):
        """The exit status, negative for a signal; None where it has not ended in time."""
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self):
        """By SIGKILL, and wait for its end."""
        self._process.kill()
        self._process.join()


def _run(said, folder, function, arguments):
    with said.open("w") as file:
        for number in (1, 2):  # those of other programs and languages too
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    jax.config.update("jax_platforms", "cpu")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where a shell in the background ignores it
    try:
        status = function(*arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    # What a forked process would leave out at its end:
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()
    atexit._run_exitfuncs()
    sys.exit(status)


def wait_until(condition, seconds, said=lambda: ""):
    """Wait until a function says so."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, said()
        time.sleep(0.05)
