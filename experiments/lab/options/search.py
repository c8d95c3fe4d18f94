"""What to try of each method's settings, and how: quasi-random points, as many for every method.

A search space maps settings to ranges. Its points fill it evenly, whatever its dimension (a scrambled Halton
sequence), so that a method with one setting is searched more finely than one with four, at the same
cost. The settings as they were given are the first of the points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from scipy.stats import qmc

from experiments.lab.options.declaration import DEPTH, SHAPES, SPACING, SPAN, Declaration, Range
from experiments.lab.options.model import Model
from experiments.lab.options.scenario import Scenario
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate, validate_methods
from experiments.lab.system.errors import SettingsError, flag

SEED = 0  # of the scrambling: the points of a method are always the same


Searched = Declaration | Model | Scenario
LEARNING_RATES = {"adam": Range(3e-7, 1e-2), "sgd": Range(3e-5, 1.0)}


def search_space(settings: Settings, method: str, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """What is searched for a method: the learning rate, and what it, the model and the scenario declare.

    Args:
        settings: those that are not searched.
        method: the method's name.
        ranges: ranges of the user's own, by the name of what is searched.
    """
    rate, of_method = LEARNING_RATES[settings.optimizer], settings.methods[method].search
    space = {"lr": rate, **of_method, **settings.model.search, **settings.asked.search}
    return {name: ranges.get(name, usual) for name, usual in space.items()}


def searched_of(given: Sequence[str], declared: Sequence[Searched]) -> list[str]:
    """Those of the ranges, written as for `read_ranges`, whose settings are searched for a method.

    Args:
        given: the ranges.
        declared: the method, and the model and the scenario of one's own, if there are any.

    >>> searched_of(["lr=1e-4:1e-2", "si-strength=1:9"], [Settings.methods["cs"]])
    ['lr=1e-4:1e-2']
    """
    known = {"lr", *(name for one in declared for name in one.search)}
    return [text for text in given if text.partition("=")[0].replace("-", "_") in known]


def read_ranges(given: Sequence[str], declared: Sequence[Searched]) -> dict[str, Range]:
    """Read ranges written as ``name=low:high``.

    Args:
        given: the ranges.
        declared: the methods, the model and the scenario whose settings are searched.

    Raises:
        SettingsError: one line that says what is wrong with one of them.

    >>> read_ranges(["lr=1e-4:1e-2"], [Settings.methods["standard"]])
    {'lr': Range(low=0.0001, high=0.01)}
    """
    known = {"lr", *(name for one in declared for name in one.search)}
    ranges, names = {}, [one.name for one in declared]
    for text in given:
        name, _, bounds = text.partition("=")
        name = name.replace("-", "_")
        if name not in known:
            raise SettingsError(
                f"--ranges {text}: {name or 'that'} is not searched for {', '.join(names)}; "
                f"{', '.join(sorted(known))} are"
            )
        try:
            low, high = map(float, bounds.split(":"))
        except ValueError:
            raise SettingsError(f"--ranges {text}: must be {name}=LOW:HIGH, two numbers") from None
        try:
            given_range = Range(low, high)
        except ValueError:
            raise SettingsError(
                f"--ranges {text}: must be positive, finite, and the lower bound first"
            ) from None
        if (name == SPAN and low < 1) or (name == SPACING and low < 1.1) or (name == DEPTH and high > 1):
            raise SettingsError(
                f"--ranges {text}: {SPAN} must be at least 1, {SPACING} at least 1.1, {DEPTH} at most 1"
            )
        if name in ranges:
            raise SettingsError(f"--ranges {text}: {name} must be named once")
        ranges[name] = given_range
    return ranges


def configurations(settings: Settings, space: Mapping[str, Range], budget: int) -> list[Settings]:
    """The settings as they are, and points that fill the space, ``budget`` in all.

    Args:
        settings: those that are not searched, and the first point.
        space: see `search_space`.
        budget: number of configurations.

    Examples:
        >>> points = configurations(Settings(), {"lr": Range(1e-4, 1e-2)}, budget=4)
        >>> [point.lr for point in points]
        [0.001, 0.0026, 0.00026, 0.00821]
    """
    halton = qmc.Halton(len(space), rng=np.random.default_rng(SEED))
    points = halton.random(budget - 1)
    return [settings, *(_configured(settings, space, point) for point in points)]


def varied(configuration: Settings, space: Mapping[str, Range]) -> dict[str, float]:
    """What a configuration has of what is searched, as settings of the command line."""
    names = [name for name in space if name not in SHAPES]
    if SPAN in space:
        names += ["beta", "beakers"]
    if DEPTH in space:
        names.append("readout")
    return {name: getattr(configuration, name) for name in names}


def evaluations(configuration: Settings, method: str) -> list[Settings]:
    """A configuration with every value of what the method's weights are evaluated by, the given ones first.

    Values that do not go with its other settings are left out, and so are those that mean the same as others.

    >>> len(evaluations(Settings(), "cs"))
    1
    >>> [one.profile for one in evaluations(Settings(profile="mean:1"), "record")[:3]]
    ['mean:1', 'moment:0', 'mean:0.5']
    """
    tried = configuration.methods[method].evaluated_by
    values = [(getattr(configuration, name), *others) for name, others in tried.items()]
    found: dict[Settings, Settings] = {}
    for chosen_values in itertools.product(*values):
        one = replace(configuration, **dict(zip(tried, chosen_values, strict=True)))
        with suppress(SettingsError):
            validate(one)
            validate_methods(one, [method])
            found.setdefault(one.as_read(method), one)
    return [*found.values()]


def chosen(configuration: Settings, method: str, space: Mapping[str, Range]) -> dict[str, Any]:
    """What a configuration has of what is tried, with what its weights are evaluated by."""
    read, tried = configuration.as_read(method), configuration.methods[method].evaluated_by
    return {**varied(configuration, space), **{name: getattr(read, name) for name in tried}}


def as_flags(settings: Mapping[str, object]) -> str:
    """Settings as one would type them.

    >>> as_flags({"lr": 0.001, "beakers": 7})
    '--lr 0.001 --beakers 7'
    """
    return " ".join(f"{flag(name)} {value!r}" for name, value in settings.items())


def at_the_edge(
    configuration: Settings,
    space: Mapping[str, Range],
    tried: Sequence[Settings] = (),
    near: float = 0.05,
) -> list[str]:
    """The settings that lie at an edge of their range or of what was tried: something better may lie beyond.

    Args:
        configuration: the one that did best.
        space: what was searched.
        tried: all configurations.
        near: as near to an end of a range, as a part of it, as counts as its edge.
    """

    def is_at_edge(name: str, usual: Range) -> bool:
        value, values = _searched(configuration, name), {_searched(one, name) for one in tried}
        is_extreme = len(values) > 2 and value in (min(values), max(values))
        return is_extreme or not near <= usual.place(value) <= 1 - near

    return [name for name, usual in space.items() if is_at_edge(name, usual)]


def check(configuration: Settings, method: str, space: Mapping[str, Range]) -> None:
    """Reject a configuration that cannot be trained.

    Raises:
        SettingsError: one line that names the method, and what is wrong.
    """
    try:
        validate(configuration)
    except SettingsError as error:
        tried = as_flags(varied(configuration, space))
        raise SettingsError(f"method {method} cannot be tried with {tried}: {error}") from error


def _searched(configuration: Settings, name: str) -> float:
    """What a configuration has of something that is searched."""
    span = configuration.beta / configuration.alpha
    match name:
        case "span":
            return span
        case "spacing":
            return span ** (1 / (2 * max(1, configuration.beakers - 1)))
        case "depth":
            return configuration.beaker_to_read / configuration.beakers
        case _:
            return float(getattr(configuration, name))


def _configured(settings: Settings, space: Mapping[str, Range], point: np.ndarray) -> Settings:
    chosen = {name: usual.at(place) for (name, usual), place in zip(space.items(), point, strict=True)}
    span, spacing, depth = (chosen.pop(name, None) for name in SHAPES)
    derived: dict[str, Any] = {
        name: round(value) if isinstance(getattr(settings, name), int) else value
        for name, value in chosen.items()
    }
    if span is not None and spacing is not None:
        derived["beta"] = float(f"{chosen['alpha'] * span:.3g}")
        derived["beakers"] = 1 + max(1, round(math.log(span) / (2 * math.log(spacing))))
        # Without a depth the method reads none, and a given one may be beyond these beakers.
        derived["readout"] = 0 if depth is None else max(1, round(depth * derived["beakers"]))
    return replace(settings, **derived)


def together(configurations: Sequence[Settings], at_once: int, may_differ: Sequence[str]) -> list[list[int]]:
    """Groups of configurations that can train at once: they differ only in numbers that change no shape.

    Args:
        configurations: the configurations.
        at_once: at most so many in a group.
        may_differ: names of those numbers.

    Returns:
        The groups, each the places of its members in ``configurations``.
    """
    by_shape: dict[tuple[object, ...], list[int]] = {}
    for place, one in enumerate(configurations):
        shape = tuple(value for name, value in asdict(one).items() if name not in may_differ)
        by_shape.setdefault(shape, []).append(place)
    return [
        members[first : first + at_once]
        for members in by_shape.values()
        for first in range(0, len(members), at_once)
    ]
