"""A comparison from Python, with the runs and the files of ``python -m experiments.compare``."""

from __future__ import annotations

import contextlib
import io
import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from experiments.lab.command.comparing import CompareOptions
from experiments.lab.command.comparing import compare as compare_as_told
from experiments.lab.command.own_methods import options_with
from experiments.lab.command.parsing import expanded
from experiments.lab.command.results import Results
from experiments.lab.command.timescales import check_timescales
from experiments.lab.options.declaration import Declaration
from experiments.lab.options.measure import Measure
from experiments.lab.options.model import Model
from experiments.lab.options.own import declared
from experiments.lab.options.scenario import Scenario
from experiments.lab.options.settings import FromTheData, Settings
from experiments.lab.system.errors import SettingsError, meant
from experiments.lab.system.modules import is_reference

OwnMethod = Declaration | Callable[[Any], Any]
OwnModel = Model | Callable[..., Any]
OwnScenario = Scenario | Callable[..., Any]
OwnMeasure = Measure | Callable[..., Any]
OF_THE_COMMAND = ("get_stamp", "pdf", "distributed", "coordinator", "n_processes", "process_id")
PATHS = ("results_dir", "plot_dir", "data_dir", "stream_file")
KINDS: dict[type, Any] = {int: numbers.Real, float: numbers.Real}  # that are taken for an int, a float


def compare(
    settings: Settings | Mapping[str, Any],
    methods: Sequence[str | OwnMethod] = ("standard", "cs"),
    seeds: int | Sequence[int] = 5,
    *,
    model: str | OwnModel | None = None,
    scenario: str | OwnScenario | None = None,
    measures: Sequence[str | OwnMeasure] = (),
    draw: bool = False,
    quiet: bool = True,
    **options: Any,
) -> Results:
    """Train methods with seeds, or find their runs again, and sum them up as the command does.

    Args:
        settings: a `Settings`; or those that are not as usual, by name, one's own too: ``{"iters": 100}``.
        methods: names of built-in methods, and methods of one's own: what `experiments.lab.methods.method`
            declares, a function ``settings -> optax.GradientTransformation``, or ``"module:function"``.
        seeds: how many, from 0; or consecutive ones, such as ``range(5, 10)``. Initial weights and batches of
            a seed are the same for all methods.
        model: a network of one's own, declared by `experiments.lab.models.model`, a function, or
            ``"module:function"``; fully connected layers by default.
        scenario: a built-in one, which is a setting too, or one of one's own, in the same forms.
        measures: those of one's own, in the same forms; `Results.records` has them.
        draw: whether to write the figures in ``plot_dir``; `Results.figures` has them in any case.
        quiet: whether to print only notes and progress.
        options: other flags of the command: ``results_dir``, ``devices``, ``timescales="suggested"`` …

    Returns:
        The results, as arrays, records and figures.

    Raises:
        SettingsError: one line that names what cannot be meant, before anything is computed.
        MethodsFailedError: if a method failed; it names the folder of the others, for `read_results`.

    Examples:
        >>> import tempfile
        >>> from experiments import lab
        >>> settings = lab.Settings(experiment="splitDigits", tasks=2, iters=2, batch=8, fc_units=4)
        >>> results = lab.compare(settings, ["standard", "cs"], seeds=2, results_dir=tempfile.mkdtemp())
        >>> results.final_accuracy["cs"].shape, results.accuracy_matrix["cs"].shape
        ((2,), (2, 2, 2))
    """
    own = _Own(
        methods=[one if _is_name(one) else declared(Declaration, one) for one in _list("methods", methods)],
        models=[] if model is None else [declared(Model, model)],
        scenarios=[] if scenario is None or _is_name(scenario) else [declared(Scenario, scenario)],
        measures=[declared(Measure, one) for one in _list("measures", measures)],
    )
    given = {**_as_mapping(settings), **options}
    if _is_name(scenario):
        given["scenario"] = scenario
    told = expanded(_told(CompareOptions if draw else _Undrawn, given, own, *_span(seeds)))
    check_timescales(told, {*options, *(settings if isinstance(settings, Mapping) else _unusual(settings))})
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext():
        results = compare_as_told(told, "experiments.lab.compare")
    assert results is not None  # neither the stamp alone nor another process was asked for
    folder = told.output.results_dir / results.folder
    return Results(folder / "summary.json", results.settings, results.finished)


class _Own(NamedTuple):
    """What is trained and measured: the user's own but for the names of built-in methods."""

    methods: list[Any]
    models: list[Model]
    scenarios: list[Scenario]
    measures: list[Measure]


def _told(
    command: type[CompareOptions], given: Mapping[str, Any], own: _Own, seed: int, n_seeds: int
) -> CompareOptions:
    """The options that the command would be given."""
    declarations = [one for one in own.methods if isinstance(one, Declaration)]
    kind = options_with(command, declarations, own.models, own.scenarios, own.measures)
    references: dict[str, Any] = {"measures": tuple(one.reference for one in own.measures)}
    for name, at_most_one in (("model", own.models), ("scenario", own.scenarios)):
        if at_most_one:
            references[name] = at_most_one[0].reference
    names = tuple(one.name if isinstance(one, Declaration) else str(one) for one in own.methods)
    return _filled(kind, {**given, **references}, methods=names, seed=seed, n_seeds=n_seeds)


def _is_name(given: Any) -> bool:
    """Whether something is named that is built in."""
    return isinstance(given, str) and not is_reference(given)


@dataclass(frozen=True)
class _Undrawn(CompareOptions):
    asks_to_draw: ClassVar[str] = "draw=True"

    @property
    def draws(self) -> bool:
        return False


def _as_mapping(settings: Settings | Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(settings, Settings):
        return dict(settings)
    of_the_data = {one.name for one in fields(FromTheData)}
    return {name: value for name, value in asdict(settings).items() if name not in of_the_data}


def _unusual(settings: Settings) -> set[str]:
    """The names of the settings that are not as usual."""
    return {one.name for one in fields(settings) if getattr(settings, one.name) != one.default}


def _list(name: str, given: Any) -> list[Any]:
    """Several things; one alone would be taken for its letters, or for none."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise SettingsError(f"{name} {reprlib.repr(given)}: must be a list")
    return list(given)


def _span(seeds: int | Sequence[int]) -> tuple[int, int]:
    """The first seed, and how many there are."""
    if isinstance(seeds, numbers.Integral) and not isinstance(seeds, bool):
        return 0, int(seeds)
    given = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else []
    if not given or given != list(range(int(given[0]), int(given[0]) + len(given))):
        raise SettingsError(f"seeds {seeds}: must be how many, or consecutive numbers")
    return int(given[0]), len(given)


def _filled(kind: type[CompareOptions], given: Mapping[str, Any], **rest: Any) -> CompareOptions:
    """The options of a command with these values, each in its block."""
    left = dict(given)
    blocks = {}
    possible: list[str] = []
    for block in fields(kind):
        if block.default_factory is MISSING:
            continue
        usual: Any = block.default_factory()
        known = [one.name for one in fields(usual) if one.name not in OF_THE_COMMAND]
        possible += known
        values = {name: _value(name, left.pop(name), getattr(usual, name)) for name in known if name in left}
        blocks[block.name] = replace(usual, **values)
    if left:
        name = next(iter(left))
        hint = meant(name, possible) or "; they are the flags of the command, such as lr and iters"
        raise SettingsError(f"{name}: there is no such setting or option{hint}")
    return kind(**blocks, **rest)


def _value(name: str, value: Any, usual: Any) -> Any:
    """A value in the type of the usual one, as a command line would give it."""
    if name in PATHS and value is not None:
        return Path(value)
    if value is None and usual is None:
        return None
    kind = type(usual)
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, KINDS.get(kind, kind)):
        raise SettingsError(f"{name} {value!r}: must be of the type {kind.__name__}")
    if kind is int and value != int(value):
        raise SettingsError(f"{name} {value!r}: must be a whole number")
    return kind(value)
