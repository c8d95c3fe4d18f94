"""Around a command: mistakes become one line and an exit status."""

import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from experiments.lab.command.failures import MeasuresFailedError, MethodsFailedError
from experiments.lab.system import processes
from experiments.lab.system.errors import SettingsError
from experiments.lab.system.names import printable
from experiments.lab.system.standard_streams import lasting_streams
from experiments.lab.system.terminal import suit_the_terminal

RUNS_ARE_KEPT = (
    "interrupted: finished runs are kept, and found again next time; --resume continues the others"
)


def guarded(command: Callable[[], object], interrupted: str = RUNS_ARE_KEPT) -> int:
    """Run a command; turn what the user can mend into one line and an exit status.

    A command whose output cannot be written finishes its work all the same, and then returns another status
    than 0.
    """
    with lasting_streams() as streams:
        try:
            status = _status_of(command, interrupted)
        except BaseException:
            if processes.joined():  # which must not wait for this one
                traceback.print_exc()
                processes.leave(1)
            raise
        processes.leave(status)
        return streams.status(status)


def _status_of(command: Callable[[], object], interrupted: str) -> int:
    suit_the_terminal()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command()
    except SettingsError as error:
        return fail(f"error: {error}", status=2)
    except OSError as error:
        known = error.filename and error.strerror
        return fail(f"error: {error.filename}: {error.strerror}" if known else f"error: {error}", status=1)
    except (MethodsFailedError, MeasuresFailedError) as error:
        return fail(f"error: {error}", status=1)
    except processes.LostError as error:
        return fail(f"error: {error}", status=1)
    except MemoryError as error:
        return fail(f"error: not enough memory: {error}", status=1)
    except RuntimeError as error:  # JAX's own class, which would load JAX to be named
        if "RESOURCE_EXHAUSTED" not in str(error) and "Out of memory" not in str(error):
            raise
        return fail(f"error: not enough memory: {str(error).splitlines()[0]}", status=1)
    except KeyboardInterrupt:
        return fail(interrupted, status=130)
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning; where it comes from does not matter to the user."""
    print(f"warning: {processes.name()}{message}", file=sys.stderr)


def fail(message: str, status: int) -> int:
    """Say what is wrong, and return the status to end with."""
    print(printable(message), file=sys.stderr)
    return status
