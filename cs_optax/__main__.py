"""The command ``cs-optax``: hands over to the experiments, where the library is installed from a checkout."""

import importlib
import os
import sys
from pathlib import Path

COMMANDS = {
    "run": "one method, one seed",
    "compare": "complex synapses and other methods, many seeds, paired",
    "sweep": "every method at its best: settings chosen on validation data, then compared",
    "figures": "the figures of results that are there, again",
    "claims": "the published claims about the synapse, each measured",
    "rl": "deep reinforcement learning with two tasks that take turns",
    "submit": "comparisons and sweeps as jobs of a cluster",
    "sharded": "one large network over many devices",
}
USAGE = "\n".join(
    [
        "usage: cs-optax COMMAND [OPTIONS]   (cs-optax COMMAND --help says which)",
        "",
        *(f"  {name:<9}{words}" for name, words in COMMANDS.items()),
    ]
)
INSTALL = 'pip install -e ".[experiments]", in a checkout of the source'
CHECKOUT = Path(__file__).parent.parent


def main() -> int:
    """Run the command that the first argument names, and return its exit status."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name not in COMMANDS:
        return _fail(f"{name}: must be one of {', '.join(COMMANDS)}", status=2)
    if not (CHECKOUT / "experiments" / "lab" / "options" / "settings.py").is_file():
        return _fail(f"{name}: the library is installed here without its experiments: {INSTALL}", status=1)
    _look_here_first()
    try:
        command = importlib.import_module(f"experiments.{name}")
        if hasattr(command, "__path__"):  # a package, which its __main__ starts
            command = importlib.import_module(f"experiments.{name}.__main__")
    except ModuleNotFoundError as error:
        return _fail(f"{name}: needs the package {error.name}: {INSTALL}", status=1)
    status: int = command.main(arguments)
    return status


def _look_here_first() -> None:
    """Let no folder named experiments hide the one beside the library, here or in the processes of a job.

    The working directory comes last: it may hold the module of an ``--experiment module:function``.
    """
    here = os.getcwd()
    sys.path = [str(CHECKOUT), *sys.path, here]
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ.update(PYTHONPATH=os.pathsep.join([str(CHECKOUT), *given, here]), PYTHONSAFEPATH="1")


def _fail(message: str, status: int) -> int:
    print(f"cs-optax: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
