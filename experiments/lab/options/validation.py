"""The limits of the settings: what cannot be meant is refused."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

from experiments.lab.options import profile
from experiments.lab.options.settings import (
    ClassOrder,
    EvaluateOn,
    Experiment,
    FullEval,
    Optimizer,
    Settings,
    Stream,
    TimeStep,
)
from experiments.lab.system.errors import SettingsError, flag, meant

MOST_BEAKERS = 200  # each has to be compiled

MOST_OF = {"fc_layers": 100, "fc_units": 10**5}  # layers have to be compiled too; more units fill any memory

LARGEST = 1e38  # of what is computed with in float32

MOST_SAMPLES = 10**9  # that a run is shown, since they are drawn beforehand

MOST_SEEDS = 1000  # of one comparison, since they are in the device's memory together

LARGEST_SEED = 2**31 - 1  # larger ones would be cut to 32 bits by JAX, and two seeds become one


def validate(settings: Settings) -> None:
    """Reject what cannot be meant.

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    own = settings.experiment.endswith(".npz") or ":" in settings.experiment.strip(":")
    _require(
        settings,
        "experiment",
        settings.built_in or own,
        f"one of {', '.join(get_args(Experiment))}, a file that ends in .npz, or module:function",
    )
    _validate_scenario(settings)
    for name, choices in _CHOICES.items():
        _require(settings, name, getattr(settings, name) in choices, f"one of {', '.join(choices)}")
    for name in _COUNTS:
        most = MOST_OF.get(name, math.inf)
        allowed = "at least 1" if most == math.inf else f"1 to {most}"
        _require(settings, name, 1 <= getattr(settings, name) <= most, allowed)
    for name in ("lr", "alpha", "beta", "si_damping", "lwf_temperature"):
        _require(settings, name, 0 < getattr(settings, name) <= LARGEST, f"positive and at most {LARGEST:g}")
    for name in ("decay", "ewc_strength", "ewc_decay", "si_strength", "l2_strength"):
        _require(settings, name, 0 <= getattr(settings, name) <= LARGEST, f"0 to {LARGEST:g}")
    _require(settings, "overlap", 0 <= settings.overlap <= 1, "0 to 1")
    _require(settings, "average_time", 1 <= settings.average_time <= LARGEST, f"1 to {LARGEST:g}")
    _require(settings, "beakers", 0 <= settings.beakers <= MOST_BEAKERS, f"0 to {MOST_BEAKERS}")
    stretches = settings.tasks if settings.one_task_after_the_other else 1
    most = MOST_SAMPLES // (stretches * settings.batch)
    _require(settings, "iters", settings.iters <= most, f"at most {most}: {MOST_SAMPLES:g} samples in all")
    last = max(settings.beakers, 1)
    _require(settings, "readout", 0 <= settings.readout <= last, f"0 to {last}, the number of --beakers")
    _require(
        settings,
        "beta",
        settings.beakers < 2 or settings.beta >= settings.alpha,
        f"at least --alpha ({settings.alpha:g}), the shortest timescale",
    )
    _validate_profile(settings)
    _validate_own(settings)
    _validate_combinations(settings)
    if settings.built_in:
        validate_tasks(settings)


def _validate_profile(settings: Settings) -> None:
    if settings.profile:
        try:
            profile.read(settings.profile)
        except ValueError as error:
            raise SettingsError(f"{_given(settings, 'profile')}: {error}") from error


def _validate_combinations(settings: Settings) -> None:
    """Reject settings that do not go together."""
    _require(
        settings,
        "class_order",
        settings.class_order == "canonical" or not (settings.permuted or settings.labelled),
        f"left out: in {settings.name} the classes do not decide the task",
    )
    if (settings.stream == "file") != (settings.stream_file is not None):
        raise SettingsError(
            "--stream file: needs a --stream-file"
            if settings.stream_file is None
            else f"--stream-file {settings.stream_file}: is for --stream file, not {settings.stream}"
        )


def validate_tasks(settings: Settings) -> None:
    """Reject tasks that leave a class out, or have nothing to tell apart.

    For data of one's own this can be asked only when they are known (`FromTheData`).

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    if settings.labelled:
        several = settings.classes > 1 or settings.asked.tells_tasks_apart
        _require(settings, "scenario", several, f"class: each task of {settings.name} has a single class")
    if settings.permuted or settings.labelled:
        return
    divisors = [n for n in range(1, settings.classes + 1) if settings.classes % n == 0]
    single = settings.asked.tells_tasks_apart
    allowed = divisors if single else [n for n in divisors if n < settings.classes]
    shown = " or ".join(filter(None, [", ".join(map(str, allowed[:-1])), str(allowed[-1])]))
    why = f"{settings.name} divides {settings.classes} classes evenly among the tasks"
    more = (
        ""
        if single
        else f", and one class per task leaves nothing to learn in the {settings.scenario} scenario"
    )
    _require(settings, "tasks", settings.tasks in allowed, f"{shown}: {why}{more}")


def validate_methods(settings: Settings, methods: Sequence[str]) -> None:
    """Reject methods that are unknown, named twice, or that the stream gives nothing to go by.

    Raises:
        SettingsError: one line that names the method and what is allowed.
    """
    for method in methods:
        if method not in settings.methods:
            known = ", ".join(settings.methods)
            raise SettingsError(
                f"method {method}: must be one of {known}, or MODULE:FUNCTION, one of your own"
                f"{meant(method, settings.methods)}"
            )
        if methods.count(method) > 1:
            raise SettingsError(f"method {method}: must be named once")
        if settings.profile_of(method) and settings.of_method(method).time_step == "learning-rate":
            raise SettingsError(
                f"method {method}: --profile {settings.profile} needs --time-step iteration: averages "
                "cannot be read from the published optimizer"
            )
        if settings.methods[method].needs_task_ends and settings.stream != "task-based":
            raise SettingsError(
                f"method {method}: must be told when a task ends, so it needs --stream task-based"
            )


def without_effect(settings: Settings, methods: Sequence[str]) -> list[str]:
    """The flags that are not as usual and change nothing, each with the reason.

    >>> without_effect(Settings(overlap=0.5, l2_strength=0.1), ["cs"])
    ['--overlap 0.5 has no effect without --stream gradual', '--l2-strength 0.1 has no effect on cs']
    """
    usual, unused = type(settings)(), frozenset.intersection(*map(settings.unused_by, methods))
    unused -= settings.of_measures()
    reasons = {field.name: f"on {', '.join(methods)}" for field in fields(settings) if field.name in unused}
    if settings.beakers < 2 and any(settings.methods[method].has_beakers for method in methods):
        without = ("alpha", "beta", "time_step") if settings.beakers == 0 else ("alpha",)
        reasons |= dict.fromkeys(without, f"with --beakers {settings.beakers}")
    if all(settings.profile_of(method) for method in methods if "readout" in settings.methods[method].used):
        reasons = {"readout": f"with --profile {settings.profile}", **reasons}
    reasons |= dict.fromkeys(
        settings.unused_by_the_model(), f"with --model {settings.model.reference or settings.model.name}"
    )
    if settings.stream != "gradual":
        reasons = {"overlap": "without --stream gradual", **reasons}
    if settings.stream == "file":
        reasons["iters"] = "with --stream-file"
    return [
        f"{_given(settings, name)} has no effect {reason}"
        for name, reason in reasons.items()
        if getattr(settings, name) != getattr(usual, name)
    ]


def validate_seeds(seed: int, n_seeds: int = 1, purpose: str = "") -> None:
    """Reject seeds that are negative or too large, and too many or none at all.

    Args:
        seed: the first seed.
        n_seeds: number of consecutive seeds.
        purpose: what the flags name beside the seeds, such as "tuning-".

    Raises:
        SettingsError: one line that names the flag, its value and what is allowed.
    """
    if not 1 <= n_seeds <= MOST_SEEDS:
        raise SettingsError(f"--n-{purpose}seeds {n_seeds}: must be 1 to {MOST_SEEDS}")
    largest = LARGEST_SEED - (n_seeds - 1)
    if not 0 <= seed <= largest:
        raise SettingsError(f"--{purpose}seed {seed}: must be 0 to {largest}")


def _validate_scenario(settings: Settings) -> None:
    known = settings.scenarios
    allowed = f"one of {', '.join(known)}, or MODULE:FUNCTION, one of your own"
    allowed += meant(settings.scenario, known)
    _require(settings, "scenario", settings.scenario in known, allowed)
    _require(
        settings,
        "singlehead",
        not settings.singlehead or known[settings.scenario].single_head != "",
        f"left out in the {settings.scenario} scenario (it is for --scenario task)",
    )


def _validate_own(settings: Settings) -> None:
    """Of settings of the user's own methods: numbers are finite, and words among their choices."""
    built_in = {field.name for field in fields(Settings)}
    kinds = get_type_hints(type(settings))
    for name in (field.name for field in fields(settings) if field.name not in built_in):
        value = getattr(settings, name)
        if isinstance(value, float):
            _require(settings, name, abs(value) <= LARGEST, f"finite, and at most {LARGEST:g}")
        if get_origin(kinds[name]) is Literal:
            choices = get_args(kinds[name])
            _require(settings, name, value in choices, f"one of {', '.join(map(str, choices))}")


_CHOICES: dict[str, tuple[str, ...]] = {
    "stream": get_args(Stream),
    "class_order": get_args(ClassOrder),
    "evaluate_on": get_args(EvaluateOn),
    "full_eval": get_args(FullEval),
    "optimizer": get_args(Optimizer),
    "time_step": get_args(TimeStep),
}

_COUNTS = tuple(
    f.name for f in fields(Settings) if f.type in (int, "int") and f.name not in ("beakers", "readout")
)


def _require(settings: Settings, name: str, holds: bool, allowed: str) -> None:
    if not holds:
        raise SettingsError(f"{_given(settings, name)}: must be {allowed}")


def _given(settings: Settings, name: str) -> str:
    """A field as it is on the command line."""
    value = getattr(settings, name)
    shown = "" if value is True else f" {value:g}" if isinstance(value, float) else f" {value}"
    return f"{flag(name)}{shown}"
