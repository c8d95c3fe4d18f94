"""What a model says of itself; and the network that is built in, as a model of the user's own is declared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from experiments.lab.options.declaration import Range, check_search
from experiments.lab.options.declaring import Declared, declaring


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(Declared):
    """A network, before it is made. Called as its function is, it makes the network.

    Attributes:
        name: in the texts above tables and figures and in the names of files: letters, digits, hyphens and
            underscores.
        make: a function that returns a ``flax.nnx.Module``, or a class of them. It takes by name
            ``input_shape`` (of one sample, without the batch), ``n_outputs``, ``rngs`` (``nnx.Rngs``) and, if
            it has settings of its own, ``settings``. What it does not name it is not given. The module is
            called with ``x``, float32 ``[batch, *input_shape]``, and returns ``[batch, n_outputs]``. Or
            ``module:function``, imported when it is first called.
        summary: a line for the help.
        settings: a frozen dataclass of its own settings, as `Declared` says. ``make`` gets one of these.
        search: the ranges of its own settings that experiments.sweep searches, for every method alike.
        module: the name of the module that it was found in; that of ``make`` by default.
        reference: what names it on the command line, ``module:function``; empty for the built-in one.

    Raises:
        SettingsError: one line that names the model and what is wrong with what it says.
    """

    what: ClassVar[str] = "model"
    made_by: ClassVar[str] = "a class of modules, or a function that makes one"

    search: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_search(self, self.search, self.own)


def model(name: str | None = None, **declared: Any) -> Callable[[Callable[..., Any]], Model]:
    """Declare a model of one's own: a decorator of the function that makes it, or of its class.

    Args:
        name: the model's name; the function's by default.
        declared: whatever else there is to say (`Model`). The first line of the docstring is its summary.

    Examples:
        >>> @model("small")
        ... def network(input_shape, n_outputs, rngs):
        ...     '''One layer.'''
        >>> network.name, network.summary
        ('small', 'One layer.')
    """
    return declaring(Model, name, declared)


def recorded(model: Model) -> dict[str, str]:
    """What is kept of a model of the user's own beside the settings."""
    return {"name": model.name, "origin": model.origin}


def from_record(record: Mapping[str, str] | None) -> Model:
    """A model that can be named in figures, but not made; without a record the built-in one.

    Raises:
        SettingsError: if it cannot be meant.
    """
    return BUILT_IN if record is None else Model(name=record["name"], make="")


@dataclass(frozen=True)
class FullyConnected:
    """The settings of the network that is built in.

    Attributes:
        fc_layers: Number of layers, the output layer included.
        fc_units: Units in each hidden layer.
    """

    fc_layers: int = 3
    fc_units: int = 400


BUILT_IN = Model(
    name="mlp",
    make="experiments.lab.models.mlp:MLP",
    summary="fully connected layers with ReLU in between",
    settings=FullyConnected,
)
