"""The search of one method's settings: which trainings, what is evaluated in each, and what came of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from experiments.lab.command.preparation import check_own_methods
from experiments.lab.options import search
from experiments.lab.options.declaration import Range
from experiments.lab.options.description import counted
from experiments.lab.options.settings import Settings
from experiments.lab.system import processes

if TYPE_CHECKING:
    from experiments.lab.results.runs import FinishedRun, Seconds
    from experiments.lab.results.searches import Candidate, Search
    from experiments.lab.training.jobs import Job


class Plan(NamedTuple):
    """What is tried of a method.

    Attributes:
        method: its name.
        space: what is searched.
        trainings: the settings of each training; where several ways of evaluating it are tried, all of them.
    """

    method: str
    space: Mapping[str, Range]
    trainings: Sequence[Sequence[Settings]]

    @property
    def configurations(self) -> list[Settings]:
        """All that is tried."""
        return [*itertools.chain(*self.trainings)]

    @property
    def numbers(self) -> list[str]:
        """What is searched that a compiled program takes as an argument."""
        first = self.trainings[0][0]
        together = first.methods[self.method].together
        return [name for name in search.varied(first, self.space) if name in together]


def plan_of(settings: Settings, method: str, ranges: Mapping[str, Range], budget: int) -> Plan:
    """What to try of a method, in as many trainings as every other one has.

    Raises:
        SettingsError: if a configuration cannot be meant.
    """
    space = search.search_space(settings, method, ranges)
    planned = search.configurations(replace(settings, evaluate_on="validation"), space, budget)
    for one in planned:
        search.check(one, method, space)
    plan = Plan(method, space, [search.evaluations(one, method) for one in planned])
    for one in planned:
        check_own_methods(one, [method], plan.numbers)
    return plan


def searched(
    plan: Plan, seeds: Sequence[int], at_once: int, job: Callable[..., Job]
) -> tuple[Search, Seconds]:
    """Try what is planned, a training for each configuration and seed.

    Args:
        plan: what to try.
        seeds: the seeds to train with.
        at_once: configurations that train together, where their shapes allow it.
        job: makes a job of configurations and what they are trained with.
    """
    from experiments.lab.results.runs import Seconds
    from experiments.lab.results.searches import Search

    tried: dict[int, list[Candidate]] = {}
    kept: list[FinishedRun] = []
    seconds, method = Seconds(0.0, 0.0, 0.0), plan.method
    firsts = [each[0] for each in plan.trainings]
    for places in search.together(firsts, at_once * processes.count(), plan.numbers):
        group = [one for place in places for one in plan.trainings[place]]
        title = f"{method}, {len(tried) + len(places)} of {len(firsts)}"
        runs, spent = job(
            configurations=group,
            method=method,
            seeds=seeds,
            title=title,
            arguments=plan.numbers,
            one_of_many=True,
        ).finish()
        seconds += spent
        kept += itertools.chain(*runs)
        of_each = iter(runs)
        for place in places:
            evaluated = [(one, next(of_each)) for one in plan.trainings[place]]
            tried[place] = [_candidate(*each) for each in evaluated]
            _show(plan, tried[place], again=all(one.found_again for _, each in evaluated for one in each))
    return Search(
        method, plan.space, tuple(tuple(tried[i]) for i in range(len(firsts))), tuple(kept)
    ), seconds


def _candidate(settings: Settings, finished: Sequence[FinishedRun]) -> Candidate:
    from experiments.lab.results.searches import Candidate

    runs = [one.run for one in finished]
    return Candidate(
        settings,
        tuple(run.final_accuracy for run in runs),
        tuple(run.seed for run in runs if run.diverged),
    )


def _show(plan: Plan, tried: Sequence[Candidate], again: bool) -> None:
    """A line for each training, with the best of what was evaluated, and whether it was found again."""
    from experiments.lab.results.searches import best_of

    best = best_of(tried)
    flags = search.as_flags(search.chosen(best.settings, plan.method, plan.space))
    of_several = f" (best of {counted(len(tried), 'evaluation')})" if len(tried) > 1 else ""
    found = ", found again" if again else ""
    print(f"{plan.method}: {flags}: {best.shown}{of_several}{found}", flush=True)
