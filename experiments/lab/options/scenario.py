"""What a scenario says of itself; and those that are built in, as any of the user's own is declared.

A scenario is what is asked and how it is scored. What follows from it before anything is trained, and in
figures of old results, stands here; the functions of JAX are in `experiments.lab.tasks.scenarios`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from experiments.lab.options.declaration import Range, check_search
from experiments.lab.options.declaring import Declared, declaring
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError


def one_of_the_task(tasks: int, classes: int) -> float:
    """Fraction correct of a guess among the classes of one task."""
    return 1 / classes


def one_of_all(tasks: int, classes: int) -> float:
    """Fraction correct of a guess among the classes of all tasks."""
    return 1 / (classes * tasks)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scenario(Declared):
    """What is asked of the network, and how its answers are scored. Called, it gives the questions.

    Attributes:
        name: on the command line of a built-in scenario, in texts and in the names of files.
        make: ``(tasks, classes) -> questions``, of the number of tasks and that of classes in each: an
            `experiments.lab.tasks.scenarios.Questions`. It takes ``settings`` by name too if it has some of
            its own. Or ``module:function``, imported when it is first called.
        summary: a line for the help.
        settings: a frozen dataclass of its own settings, as `Declared` says.
        search: the ranges of its own settings that experiments.sweep searches, for every method alike.
        chance: ``(tasks, classes) -> fraction`` correct of a guess: the line in figures. Without JAX.
        by_class: whether the streams draw each sample's class uniformly, and ``--eval-n`` counts samples of a
            class; else the classes of a task are shown as often as the data have them.
        single_head: the name of the scenario that it is with ``--singlehead``; empty where there is none.
        module: the name of the module that it was found in; that of ``make`` by default.
        reference: what names it on the command line, ``module:function``; empty for what is built in.

    Raises:
        SettingsError: one line that names the scenario and what is wrong with what it says.
    """

    what: ClassVar[str] = "scenario"
    made_by: ClassVar[str] = "a function of the numbers of tasks and of classes"

    chance: Callable[[int, int], float] = one_of_the_task
    by_class: bool = False
    single_head: str = ""
    search: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_search(self, self.search, self.own)

    @property
    def tells_tasks_apart(self) -> bool:
        """Whether there is something to tell apart where each task has a single class."""
        return self.chance_of(2, 1) < 1

    def chance_of(self, tasks: int, classes: int) -> float:
        """Fraction correct of a guess.

        Raises:
            SettingsError: one line that names the scenario, if that is no fraction.
        """
        try:
            chance = float(self.chance(tasks, classes))
        except Exception as error:
            raise SettingsError(f"scenario {self.name}: its chance: {modules.told(error)}") from error
        self.require(0 <= chance <= 1, f"its chance must be a fraction, not {chance:g}")
        return chance


def scenario(name: str | None = None, **declared: Any) -> Callable[[Callable[..., Any]], Scenario]:
    """Declare a scenario of one's own: a decorator of the function that gives its questions.

    Args:
        name: the scenario's name; the function's by default.
        declared: whatever else there is to say (`Scenario`). The first line of the docstring is its summary.

    Examples:
        >>> @scenario("inferred", chance=one_of_all)
        ... def task_is_inferred(tasks, classes):
        ...     '''The task is not told.'''
        >>> task_is_inferred.name, task_is_inferred.chance_of(5, 2)
        ('inferred', 0.1)
    """
    return declaring(Scenario, name, declared)


def recorded(scenario: Scenario, tasks: int, classes: int) -> dict[str, Any]:
    """What is kept of a scenario of the user's own beside the settings."""
    return {
        "name": scenario.name,
        "origin": scenario.origin,
        "chance": scenario.chance_of(tasks, classes),
        "by_class": scenario.by_class,
        "tells_tasks_apart": scenario.tells_tasks_apart,
    }


def from_record(record: Mapping[str, Any] | None) -> Scenario | None:
    """A scenario that can be named in figures, but not asked; None without a record.

    Raises:
        SettingsError: if it cannot be meant.
    """
    if record is None:
        return None
    chance, apart = float(record["chance"]), bool(record["tells_tasks_apart"])

    def kept(tasks: int, classes: int) -> float:
        return 1.0 if classes == 1 and not apart else chance

    return Scenario(name=record["name"], make="", chance=kept, by_class=bool(record["by_class"]))


BUILT_IN: Mapping[str, Scenario] = {
    one.name: one
    for one in (
        Scenario(
            name="task",
            make="experiments.lab.tasks.scenarios:own_head",
            summary="the task is known at test time, and each has outputs of its own",
            single_head="domain",
        ),
        Scenario(
            name="domain",
            make="experiments.lab.tasks.scenarios:shared_head",
            summary="the task is not known, and all tasks share the same outputs",
        ),
        Scenario(
            name="class",
            make="experiments.lab.tasks.scenarios:all_classes",
            summary="all classes of all tasks have to be told apart",
            chance=one_of_all,
            by_class=True,
        ),
    )
}
