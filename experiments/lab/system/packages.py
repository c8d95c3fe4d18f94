"""The packages that a command needs, beside those that the library itself is installed with."""

from importlib.util import find_spec

from experiments.lab.system.errors import SettingsError


def check_package(package: str, needed_by: str, extra: str) -> None:
    """Make sure that a package is installed.

    Args:
        package: its name in an import.
        needed_by: the flag, or whatever else needs it.
        extra: the optional dependencies that it is one of.

    Raises:
        SettingsError: one line that names what needs the package, and the command that installs it.
    """
    found = find_spec(package)
    # Any folder of that name, beside the commands say, is found too, but is no package and has no origin.
    if found is None or found.origin is None:
        raise SettingsError(
            f'{needed_by}: needs the package {package}, which is not installed: pip install -e ".[{extra}]"'
        )
