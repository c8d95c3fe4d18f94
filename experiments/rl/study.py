"""Every method at its best: numbers chosen on some seeds, compared on others; all runs kept on the way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import qmc

from experiments.rl.kept import Group, Kept, Store, train_and_keep
from experiments.rl.measures import Measured, measured
from experiments.rl.methods import LEARNING_RATE, METHODS, OF_DQN_ALONE, USUAL
from experiments.rl.settings import Settings

FIRST_TUNING_SEED = 10_000  # far from those of the comparison
BEAKERS = (2, 4, 6, 8)  # beside the usual number
ALONE = ("adam", "cs", "cs-kaplanis", "listen-target")  # trained on the cart-pole alone too

Report = Callable[[str, int], object]  # what is trained, and the phases that are done


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        settings: what all share.
        methods: the names of the methods.
        budget: configurations of each.
        tuning: seeds that choose.
        seeds: seeds that compare.
        together: configurations of one method in one program.
        claims: whether other numbers of beakers and the cart-pole alone are trained too.
    """

    settings: Settings
    methods: tuple[str, ...]
    budget: int
    tuning: tuple[int, ...]
    seeds: tuple[int, ...]
    together: int = 1
    claims: bool = True


class Tried(NamedTuple):
    """A configuration of a method, and what it did with the tuning seeds: mean area, agents that diverged."""

    numbers: dict[str, float]
    area: float
    diverged: int


@dataclass(frozen=True, eq=False)
class Compared:
    """A method at its best.

    Attributes:
        numbers: those that did best.
        tried: each configuration, and what it did with the tuning seeds.
        kept: the runs of the comparison.
        measured: what they say.
        edges: the numbers that lie at an edge of what was tried.
    """

    numbers: dict[str, float]
    tried: list[Tried]
    kept: Kept
    measured: Measured
    edges: list[str]


@dataclass(frozen=True, eq=False)
class Studied:
    """All that a study gave; the last three are empty without claims.

    Attributes:
        methods: by name.
        beakers: complex synapses with other numbers of beakers, by number.
        alone: by method, with the cart-pole in every phase.
        unreplayed: likewise, with a replay buffer of one batch.
    """

    methods: dict[str, Compared]
    beakers: dict[int, Measured]
    alone: dict[str, Measured]
    unreplayed: dict[str, Measured]


def configurations(method: str, budget: int) -> list[dict[str, float]]:
    """The usual numbers of a method, and points that fill its ranges evenly, ``budget`` in all.

    >>> [point["lr"] for point in configurations("adam", 3)]
    [0.001, 0.0026, 0.00026]
    """
    space = {"lr": LEARNING_RATE, **METHODS[method].search}
    halton = qmc.Halton(len(space), rng=np.random.default_rng(0)).random(budget - 1)
    points = [{name: one.at(x) for (name, one), x in zip(space.items(), row, strict=True)} for row in halton]
    return [{name: USUAL[name] for name in space}, *points]


def phases_to_train(plan: Plan) -> int:
    """Phases in all, for the progress bar."""
    tuned = plan.budget if plan.budget > 1 else 0
    each = len(plan.methods) * (-(-tuned // plan.together) + 1)
    return plan.settings.phases * (each + (len(_extra(plan)) if plan.claims else 0))


def study(plan: Plan, store: Store, report: Report) -> Studied:
    """Choose, compare, and train what the claims need."""
    methods = {name: _compare(name, plan, store, report) for name in plan.methods}
    beakers: dict[int, Measured] = {}
    alone: dict[str, Measured] = {}
    unreplayed: dict[str, Measured] = {}
    for kind, key, method, settings in _extra(plan) if plan.claims else []:
        numbers = methods[method].numbers
        kept = _trained([Group(method, settings, numbers, plan.seeds)], store, f"{kind} {key}", report)[0]
        found = _said_by(kept, settings)
        if kind == "beakers":
            beakers[int(key)] = found
        else:
            (alone if kind == "alone" else unreplayed)[key] = found
    return Studied(methods, beakers, alone, unreplayed)


def _extra(plan: Plan) -> list[tuple[str, str, str, Settings]]:
    """What the claims need beside the methods: its kind and name, the method, and the settings."""
    found, usual = [], plan.settings
    if "cs-kaplanis" in plan.methods:
        numbers = [n for n in BEAKERS if n != usual.beakers]
        found += [("beakers", str(n), "cs-kaplanis", replace(usual, beakers=n)) for n in numbers]
    single = replace(usual, only="cart-pole")
    for name in ALONE:
        if name in plan.methods:
            found.append(("alone", name, name, single))
            if usual.agent == "dqn":
                found.append(("unreplayed", name, name, replace(single, buffer=usual.batch)))
    return found


def _compare(method: str, plan: Plan, store: Store, report: Report) -> Compared:
    tried = []
    configured = configurations(method, plan.budget)
    if plan.budget > 1:
        groups = [Group(method, plan.settings, numbers, plan.tuning) for numbers in configured]
        for some in _in_parts(groups, plan.together):
            for group, kept in zip(some, _trained(some, store, f"tuning {method}", report), strict=True):
                found = _said_by(kept, plan.settings)
                tried.append(Tried(group.numbers, float(found.area.mean()), int(found.diverged.sum())))
    best = best_of(tried) if tried else configured[0]
    kept = _trained([Group(method, plan.settings, best, plan.seeds)], store, method, report)[0]
    edges = at_the_edge(best, [one.numbers for one in tried])
    return Compared(best, tried, kept, _said_by(kept, plan.settings), edges)


def best_of(tried: Sequence[Tried]) -> dict[str, float]:
    """The numbers with the largest area among those with the fewest agents that diverged.

    >>> best_of([Tried({"lr": 1e-3}, 0.5, 0), Tried({"lr": 1e-2}, 0.9, 1)])
    {'lr': 0.001}
    """
    return min(tried, key=lambda one: (one.diverged, -one.area)).numbers


def _said_by(kept: Kept, settings: Settings) -> Measured:
    return measured(kept.scores, kept.trained, kept.losses, settings)


def at_the_edge(best: Mapping[str, float], tried: Sequence[Mapping[str, float]]) -> list[str]:
    """The numbers that are the lowest or highest of three or more: something better may lie beyond."""
    values = {name: {one[name] for one in tried} for name in best}
    return [name for name, all_ in values.items() if len(all_) > 2 and best[name] in (min(all_), max(all_))]


def names_of(agent: str) -> tuple[str, ...]:
    """The methods that an agent can have."""
    return tuple(name for name in METHODS if agent == "dqn" or name not in OF_DQN_ALONE)


def _trained(groups: Sequence[Group], store: Store, name: str, report: Report) -> list[Kept]:
    report(name, 0)
    found = train_and_keep(store, groups, lambda phase: report(name, phase))
    report(name, groups[0].settings.phases)
    return found


def _in_parts(groups: Sequence[Group], n: int) -> Iterator[Sequence[Group]]:
    for first in range(0, len(groups), n):
        yield groups[first : first + n]
