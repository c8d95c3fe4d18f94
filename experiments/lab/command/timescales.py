"""The timescales of complex synapses as they are suggested for the length of a training: --timescales."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import get_args

from experiments.lab.command.options import CommonOptions, Timescales
from experiments.lab.options.settings import Settings
from experiments.lab.system.errors import SettingsError, flag

SUGGESTED = ("beakers", "alpha", "beta")


def check_timescales(options: CommonOptions, named: Collection[str]) -> None:
    """Refuse timescales that are both suggested and given.

    Args:
        options: the options.
        named: the names of the settings that were given, whatever their values.

    Raises:
        SettingsError: if they are both.
    """
    both = [flag(name) for name in SUGGESTED if name in named]
    if options.synapse.timescales == "suggested" and both:
        raise SettingsError(f"--timescales suggested: must be left out with {', '.join(both)}")


def with_timescales(wanted: str, settings: Settings, methods: Sequence[str]) -> Settings:
    """The settings with the timescales that are suggested for them, where these are wanted and used.

    Raises:
        SettingsError: if a method does not count them in iterations.
    """
    allowed = get_args(Timescales)
    if wanted not in allowed:
        raise SettingsError(f"--timescales {wanted}: must be one of {', '.join(allowed)}")
    known = [method for method in methods if method in settings.methods]
    if wanted == "given" or not _using(settings, known):
        return settings
    for method in known:
        if settings.methods[method].has_beakers and settings.of_method(method).time_step != "iteration":
            raise SettingsError(
                f"--timescales suggested: gives numbers of iterations, but {method} has a time step of the "
                "learning rate"
            )
    n_tasks = settings.tasks if settings.one_task_after_the_other else 1
    if not 1 <= n_tasks <= settings.total_iterations:
        return settings  # which are refused as they are
    from cs_optax import suggest_timescales

    beakers, alpha, beta = suggest_timescales(settings.total_iterations, n_tasks)
    return replace(settings, beakers=beakers, alpha=alpha, beta=beta)


def unused(wanted: str, settings: Settings, methods: Sequence[str]) -> list[str]:
    """What there is to note where they are suggested to methods that make no use of them."""
    if wanted == "given" or _using(settings, methods):
        return []
    return [f"--timescales {wanted} has no effect on {', '.join(methods)}"]


def _using(settings: Settings, methods: Sequence[str]) -> bool:
    return any({*SUGGESTED} & settings.methods[method].used for method in methods)
