"""The settings in words: two lines above a table, two short ones above a figure."""

from collections.abc import Sequence

from experiments.lab.options.declaration import Declaration
from experiments.lab.options.declaring import Declared
from experiments.lab.options.model import BUILT_IN
from experiments.lab.options.settings import NetworkAndOptimizer, Settings
from experiments.lab.system.names import printable


def describe(settings: Settings) -> str:
    """Say in a line what is learned.

    >>> describe(Settings(tasks=1))
    'splitMNIST, 1 task, task scenario, task-based stream'
    """
    stream = f"{settings.stream} stream"
    if settings.stream == "gradual":
        stream += f" (overlap {settings.overlap:g})"
    if settings.stream_file is not None:
        stream = f"stream of {printable(settings.stream_file.name)}"
    parts = [
        settings.name,
        counted(settings.tasks, "task"),
        *(["shuffled class order"] if settings.class_order == "shuffled" else []),
        f"{settings.scenario} scenario{_own_of_the_scenario(settings)}",
        stream,
        *(["evaluated on validation data"] if settings.evaluate_on == "validation" else []),
    ]
    return ", ".join(parts)


def describe_methods(settings: Settings, methods: Sequence[str]) -> str:
    """Say in a line how it is learned, and with which synapse.

    >>> describe_methods(Settings(), ["standard", "cs"])
    'adam, learning rate 0.001, 500 iterations a task, batch 128; cs: 5 beakers, 500 to 2500 iterations'
    """
    each = " a task" if settings.one_task_after_the_other else ""
    iterations = f"{counted(settings.iters, 'iteration')}{each}"
    parts = [settings.optimizer, f"learning rate {settings.lr:g}", iterations, f"batch {settings.batch}"]
    parts += _unusual_network(settings)
    decaying = [method for method in methods if "decay" not in settings.unused_by(method)]
    if settings.decay and decaying:
        parts.append(f"weight decay {settings.decay:g} ({', '.join(decaying)})")
    declared = [settings.methods[method] for method in methods]
    return "; ".join([", ".join(parts), *(_strength(settings, one) for one in declared if one.used)])


def figure_title(
    settings: Settings,
    method: str | None = None,
    seed: int | None = None,
    methods: Sequence[str] = (),
    *,
    at_their_best: bool = False,
) -> str:
    """Both lines again, short enough for the width of a column.

    Args:
        settings: the settings.
        methods: those that are drawn, where it is not one alone.
        method: the method, where only one is drawn.
        seed: its seed.
        at_their_best: whether each method has settings of its own, which were searched.

    >>> print(figure_title(Settings(time_step="learning-rate"), "cs", 3))
    splitMNIST, 5 tasks of 500 iterations, task scenario
    cs, seed 3: adam 0.001, batch 128, 5 beakers, 500/lr to 2500/lr
    """
    lengths = counted(settings.iters, "iteration")
    tasks = counted(settings.tasks, "task")
    course = {
        "task-based": f"{tasks} of {lengths}",
        "gradual": f"{tasks} of {lengths}, overlapping",
        "random": f"{tasks} mixed, {lengths}",
        "file": f"{tasks} as in a file, {lengths}",
    }[settings.stream]
    network = "" if settings.model is BUILT_IN else f"{settings.model.name}, "
    training = f"{network}{settings.optimizer} {settings.lr:g}, batch {settings.batch}"
    if at_their_best:
        training = f"{network}{settings.optimizer}, batch {settings.batch}; each method at its best"
    with_synapse = [one for one in methods if _has_synapse_of_the_flags(settings.methods[one])]
    if method is not None:
        training = f"{method}, seed {seed}: {training}"
        of_the_flags = _has_synapse_of_the_flags(settings.methods[method])
        training += f", {_synapse_in_short(settings)}" if of_the_flags else ""
        average = settings.profile_of(method)
        training += f", average {average}" if average else ""
    elif with_synapse and not at_their_best:
        training += f"; {with_synapse[0]}: {_synapse_in_short(settings)}"
    classes = ", shuffled classes" if settings.class_order == "shuffled" else ""
    return f"{settings.name}{classes}, {course}, {settings.scenario} scenario\n{training}"


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "seed"), counted(2, "seed")
    ('1 seed', '2 seeds')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a row; of many, the first ones.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
    ('a, b, c', 'a, b and 1 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _own_of_the_scenario(settings: Settings) -> str:
    values = ", ".join(_setting(settings, name, settings.asked) for name in settings.asked.own)
    return f" ({values})" if values else ""


def _unusual_network(settings: Settings) -> list[str]:
    usual, parts = NetworkAndOptimizer(), []
    if settings.model is not BUILT_IN:
        values = ", ".join(_setting(settings, name, settings.model) for name in settings.model.own)
        parts.append(f"network {settings.model.name}{f' ({values})' if values else ''}")
    elif (settings.fc_layers, settings.fc_units) != (usual.fc_layers, usual.fc_units):
        parts.append(f"{counted(settings.fc_layers, 'layer')} of {counted(settings.fc_units, 'unit')}")
    return [*parts, "single head"] if settings.singlehead else parts


def _has_synapse_of_the_flags(declared: Declaration) -> bool:
    return declared.has_beakers and not declared.fixed


def _strength(settings: Settings, declared: Declaration) -> str:
    """What a method has beside the optimizer."""
    settings = settings.of_method(declared.name)
    average = settings.profile_of(declared.name)
    parts = [_synapse(settings)] if declared.has_beakers else []
    if average:
        parts.append(f"average {average} read")
    elif declared.has_beakers and "readout" in declared.used:
        parts.append(f"beaker {settings.beaker_to_read} read")
    parts += [_setting(settings, name, declared, declared.label) for name in sorted(declared.own)]
    return f"{declared.name}: {', '.join(parts)}"


def _setting(settings: Settings, name: str, of: Declared, *other_names: str) -> str:
    """A setting in words, without the name of the method or model that it may begin with."""
    words, value = name.replace("_", " "), getattr(settings, name)
    for owner in (of.name, *other_names):
        words = words.removeprefix(f"{owner.replace('-', ' ').replace('_', ' ').lower()} ")
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"


def _synapse(settings: Settings) -> str:
    beakers = counted(settings.beakers, "beaker")
    if settings.beakers == 0:
        return beakers
    times = [settings.alpha, settings.beta][-settings.beakers :]  # a single beaker has no alpha
    if settings.time_step == "iteration":
        return f"{beakers}, {_span(times)} iterations"
    names = ["alpha", "beta"][-settings.beakers :]
    given = " to ".join(f"{name} {_number(time)}" for name, time in zip(names, times, strict=True))
    iterations = _span([time / settings.lr for time in times])
    return f"{beakers}, {given} in the published unit, 1/learning rate: {iterations} iterations"


def _synapse_in_short(settings: Settings) -> str:
    beakers = counted(settings.beakers, "beaker")
    times = [_number(time) for time in (settings.alpha, settings.beta)][-settings.beakers :]
    if settings.beakers == 0:
        return beakers
    if settings.time_step == "learning-rate":
        return f"{beakers}, {' to '.join(f'{time}/lr' for time in times)}"
    return f"{beakers}, {' to '.join(times)} iterations"


def _span(times: Sequence[float]) -> str:
    return " to ".join(map(_number, times))


def _number(value: float) -> str:
    """Without an exponent as long as that is not longer: 2500000, but 1e+30."""
    return f"{value:.0f}" if float(value).is_integer() and value < 1e9 else f"{value:.6g}"
