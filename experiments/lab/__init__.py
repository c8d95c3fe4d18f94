"""What the experiment commands share, one room for each purpose; and the comparison from Python.

`compare` trains methods, one's own too, and gives their results; `read_results` reads what a command left.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Imported when they are asked for: the commands answer --help without JAX.
_FROM = {
    "Method": "experiments.lab.methods",
    "MethodsFailedError": "experiments.lab.command.failures",
    "Results": "experiments.lab.command.results",
    "Settings": "experiments.lab.options.settings",
    "SettingsError": "experiments.lab.system.errors",
    "compare": "experiments.lab.command.interface",
    "method": "experiments.lab.methods",
    "model": "experiments.lab.models",
    "read_results": "experiments.lab.command.results",
}
__all__ = sorted(_FROM)


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
