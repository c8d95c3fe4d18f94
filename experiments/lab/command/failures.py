"""Methods whose training failed, which is no reason not to train the other methods of a command."""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.lab.system import processes
from experiments.lab.system.errors import MethodError, SettingsError

# These concern the command, not the method: the next one would fail as well.
OF_THE_COMMAND = (SettingsError, OSError, processes.LostError)


class MethodsFailedError(Exception):
    """Some methods of a command failed, and the others are finished; the message is one line for the user."""


class MeasuresFailedError(Exception):
    """Measures of the user's own failed, and all else is finished; the message is one line for the user."""


class Failures:
    """The methods of one command that failed.

    Args:
        methods: all methods of the command.

    Attributes:
        errors: of each method that failed, its error in one line.
    """

    def __init__(self, methods: Sequence[str]) -> None:
        self._methods = methods
        self.errors: dict[str, str] = {}

    @contextmanager
    def of(self, method: str) -> Iterator[None]:
        """Note an error in training a method, so that the others can be trained.

        An error that concerns the whole command is raised, as is any where there is no other method, or
        where there are other processes, which would wait for this one.
        """
        try:
            yield
        except Exception as error:
            of_the_command = isinstance(error, OF_THE_COMMAND) and not isinstance(error, MethodError)
            if of_the_command or len(self._methods) == 1 or processes.joined():
                raise
            traceback.print_exc()
            self.errors[method] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"error: {method} failed: {self.errors[method]}", file=sys.stderr)

    def raise_if_all(self) -> None:
        """Raise where no method is left.

        Raises:
            MethodsFailedError: if all of them failed.
        """
        if len(self.errors) == len(self._methods):
            self.raise_if_any()

    def raise_if_any(self, folder: Path | None = None) -> None:
        """Raise at the end of a command, when all that could be finished is.

        Args:
            folder: where the results of the other methods are; None where there are none.

        Raises:
            MethodsFailedError: if a method failed.
        """
        if self.errors:
            names = ", ".join(self.errors)
            others = "" if folder is None else f"; the results of the others are in {folder}"
            failed = f"{len(self.errors)} of {len(self._methods)} methods failed: {names}"
            raise MethodsFailedError(failed + others)


def raise_if_measures_failed(methods: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise where a measure failed.

    Args:
        methods: what the summary says of each method.

    Raises:
        MeasuresFailedError: one line that names the measures that failed, and what is wrong with the first.
    """
    failed: dict[str, str] = {}
    for method, of_method in methods.items():
        for name, measured in of_method["measures"].items():
            if measured.get("failed"):
                failed.setdefault(name, f"of {method}: {measured['undefined']}")
    if failed:
        name, why = next(iter(failed.items()))
        more = f" (and {', '.join(list(failed)[1:])})" if len(failed) > 1 else ""
        raise MeasuresFailedError(f"measure {name}{more} failed; the runs and all else are kept: {why}")
