"""One large network over many devices, with complex synapses: ``python -m experiments.sharded --help``.

The smallest training of its kind that is whole: parameters, Adam's moments and beakers fully sharded, the
batch too, checkpoints that are restored on another number of devices.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
import tyro
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cs_optax import complex_synapse, get_beakers
from experiments.lab.command.guard import guarded
from experiments.lab.command.parsing import parse
from experiments.lab.options.pinned import pinned
from experiments.lab.system.errors import SettingsError, flag
from experiments.lab.system.files import write_json
from experiments.lab.system.folders import check_folders
from experiments.lab.training.devices import local_devices

AXIS = "shard"  # of the mesh
OPTIONS = "options.json"  # beside the checkpoints


@dataclass(frozen=True)
class ShardedOptions:
    """Train a wide network to imitate a fixed one, fully sharded, and say what each device holds.

    Attributes:
        devices: Devices to shard over; of a CPU, as many parts as are wanted.
        width: Units of each layer; a multiple of --devices.
        layers: Number of layers.
        batch: Samples of each step; a multiple of --devices.
        steps: Steps in all, those before a checkpoint included.
        beakers: Number of beakers.
        alpha: Shortest timescale, in steps.
        beta: Longest timescale, in steps.
        bfloat16: Keep the hidden beakers in bfloat16.
        checkpoint: Folder for a checkpoint at the end (Orbax); where there is one, training goes on from it,
            on any number of devices.
        no_gpus: Compute on the CPU even where there is a GPU.
    """

    devices: int = 8
    width: int = 512
    layers: int = 4
    batch: int = 64
    steps: int = 100
    beakers: int = 8
    alpha: float = 10.0
    beta: float = 10_000.0
    bfloat16: bool = False
    checkpoint: Annotated[
        Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: none)")
    ] = None
    no_gpus: bool = False

    def folders(self) -> Iterator[tuple[str, Path]]:
        """Every folder that the command writes in, with the option that names it."""
        if self.checkpoint is not None:
            yield "checkpoint", self.checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options, _ = parse(ShardedOptions, "experiments.sharded", arguments)

    def command() -> None:
        sharded(options)

    return guarded(command, "interrupted")


@pinned()
def sharded(options: ShardedOptions) -> list[float]:
    """Train, and print what each device holds and what the compiled programs communicate.

    Returns:
        The loss of each step that was made.

    Raises:
        SettingsError: if the options cannot be meant.
    """
    for name in ("devices", "width", "layers", "batch", "steps"):
        if getattr(options, name) < 1:
            raise SettingsError(f"{flag(name)} {getattr(options, name)}: must be at least 1")
    for name in ("width", "batch"):
        if getattr(options, name) % options.devices:
            raise SettingsError(
                f"{flag(name)} {getattr(options, name)}: must be a multiple of --devices {options.devices}"
            )
    check_folders(options.folders())
    if options.no_gpus:
        jax.config.update("jax_platforms", "cpu")
    tx, params, state, step = prepare(options)
    done = 0
    if options.checkpoint is not None and (kept := last_checkpoint(options)) is not None:
        done, params, state = kept, *restored(options.checkpoint / str(kept), params, state)
        print(f"going on from step {done} of {options.checkpoint}")
    compiled = step.lower(params, state, 0).compile()
    report(options, params, state, compiled, tx)
    if done >= options.steps:
        print(f"nothing to do: --steps {options.steps}, and the checkpoint has as many")
    losses = []
    for number in range(done, options.steps):
        params, state, loss = compiled(params, state, number)
        losses.append(float(loss))
    if losses:
        print(f"loss: {losses[0]:.4f} in step {done}, {losses[-1]:.4f} in step {options.steps - 1}")
    if options.checkpoint is not None and losses:
        keep(options, params, state)
        print(f"checkpoint: {options.checkpoint / str(options.steps)}")
    return losses


def prepare(options: ShardedOptions) -> tuple[optax.GradientTransformation, Any, Any, Any]:
    """The optimizer, parameters and state as they begin, sharded, and the jitted step."""
    devices = local_devices(options.devices)
    mesh = jax.make_mesh((options.devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    tx = optimizer_of(options)
    params = jax.jit(initial, static_argnums=(1, 2), out_shardings=by_rows(mesh, options))(
        jax.random.key(0), options.width, options.layers
    )
    places = by_parameter(tx, params)
    state = jax.jit(tx.init, out_shardings=places)(params)
    return tx, params, state, step_of(tx, mesh, options, places)


def optimizer_of(options: ShardedOptions) -> optax.GradientTransformation:
    """Adam with complex synapses.

    Raises:
        SettingsError: if there are none of these timescales.
    """
    dtype = "bfloat16" if options.bfloat16 else None
    try:
        synapse = complex_synapse(options.beakers, options.alpha, options.beta, beaker_dtype=dtype)
    except ValueError as error:
        raise SettingsError(f"--beakers, --alpha, --beta: {error}") from error
    return optax.chain(optax.adam(1e-3), synapse)


def initial(key: jax.Array, width: int, layers: int) -> list[dict[str, jax.Array]]:
    """Weights and biases of each layer."""
    keys = jax.random.split(key, layers)
    return [{"w": jax.random.normal(k, (width, width)) / width**0.5, "b": jnp.zeros(width)} for k in keys]


def by_rows(mesh: Mesh, options: ShardedOptions) -> Any:
    """Where the parameters lie: each array divided along its first axis, nothing held twice."""
    rows = NamedSharding(mesh, PartitionSpec(AXIS))
    return [{"w": rows, "b": rows} for _ in range(options.layers)]


def by_parameter(tx: optax.GradientTransformation, params: Any) -> Any:
    """Where the optimizer's state lies: what is shaped like a parameter where that does, the rest everywhere.

    Beakers follow their parameters by themselves; the moments of Adam, zeros at first, have to be told.
    """
    where = jax.tree.map(lambda leaf: leaf.sharding, params)
    everywhere = NamedSharding(jax.tree.leaves(where)[0].mesh, PartitionSpec())
    state = jax.eval_shape(tx.init, params)
    return optax.tree.map_params(
        tx, lambda _, place: place, state, where, transform_non_params=lambda _: everywhere
    )


def apply(params: Any, x: jax.Array) -> jax.Array:
    """The network's outputs."""
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def step_of(tx: optax.GradientTransformation, mesh: Mesh, options: ShardedOptions, places: Any) -> Any:
    """A jitted step ``(params, state, number) -> params, state, loss``, which uses their memory again."""
    samples = NamedSharding(mesh, PartitionSpec(AXIS))

    def loss_of(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean((apply(params, x) - y) ** 2)

    def step(params: Any, state: Any, number: jax.Array) -> tuple[Any, Any, jax.Array]:
        key = jax.random.fold_in(jax.random.key(1), number)
        x = jax.lax.with_sharding_constraint(jax.random.normal(key, (options.batch, options.width)), samples)
        y = jnp.sin(x + jnp.roll(x, 1, axis=-1))
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        # Where the gradient of a sharded parameter belongs; the synapse then has nothing to fetch.
        grads = jax.lax.with_sharding_constraint(grads, by_rows(mesh, options))
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    where = by_rows(mesh, options), places, NamedSharding(mesh, PartitionSpec())
    return jax.jit(step, donate_argnums=(0, 1), out_shardings=where)


COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def collectives(program: Any) -> dict[str, int]:
    """How many of each there are in a compiled program."""
    text = program.as_text()
    found = {name: text.count(f" {name}(") + text.count(f" {name}-start(") for name in COLLECTIVES}
    return {name: number for name, number in found.items() if number}


def bytes_on_each(tree: Any) -> dict[Any, int]:
    """What each device holds of these arrays."""
    held: dict[Any, int] = {}
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            held[shard.device] = held.get(shard.device, 0) + shard.data.nbytes
    return held


def compiled_optimizer(tx: optax.GradientTransformation, params: Any, state: Any) -> jax.stages.Compiled:
    """An update alone, donating gradients and state, which its results take the places of."""
    return jax.jit(tx.update, donate_argnums=(0, 1)).lower(params, state, params).compile()


def report(options: ShardedOptions, params: Any, state: Any, step: Any, tx: Any) -> None:
    """Print what each device holds, and what is communicated."""
    beakers = get_beakers(state)
    update = compiled_optimizer(tx, params, state)
    n = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(f"{n} parameters over {options.devices} devices; on the fullest one, in MB:")
    for name, tree in (("parameters", params), ("Adam", state[0]), ("beakers", beakers)):
        print(f"  {name:<12}{max(bytes_on_each(tree).values(), default=0) / 1e6:9.3f}")
    memory = step.memory_analysis()
    if memory is not None:
        print(f"  {'in a step':<12}{memory.temp_size_in_bytes / 1e6:9.3f}")
    print(f"communicated in a step: {in_words(collectives(step))}")
    print(f"of that by the optimizer: {in_words(collectives(update))}")


def in_words(found: dict[str, int]) -> str:
    """Say how many of each there are."""
    return ", ".join(f"{number} {name}" for name, number in found.items()) or "nothing"


SAME = ("width", "layers", "batch", "beakers", "alpha", "beta", "bfloat16")  # before and after a checkpoint


def keep(options: ShardedOptions, params: Any, state: Any) -> None:
    """Write a checkpoint, each device its own part."""
    assert options.checkpoint is not None
    with _checkpointer()() as checkpointer:
        folder = options.checkpoint.resolve() / str(options.steps)
        checkpointer.save(folder, {"params": params, "state": state}, force=True)
    write_json(options.checkpoint / OPTIONS, {name: getattr(options, name) for name in SAME})


def last_checkpoint(options: ShardedOptions) -> int | None:
    """The step of the last checkpoint; None where there is none.

    Raises:
        SettingsError: if it is of another training.
    """
    assert options.checkpoint is not None
    if not (options.checkpoint / OPTIONS).exists():
        return None
    before = json.loads((options.checkpoint / OPTIONS).read_text(encoding="utf-8-sig"))
    for name in SAME:
        if before[name] != getattr(options, name):
            given = f"{flag(name)} {getattr(options, name)}"
            raise SettingsError(f"{given}: the checkpoint in {options.checkpoint} has {before[name]}")
    return max(int(path.name) for path in options.checkpoint.iterdir() if path.name.isdigit())


def restored(folder: Path, params: Any, state: Any) -> tuple[Any, Any]:
    """A checkpoint, placed as these arrays are, whatever it was written on."""
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
        {"params": params, "state": state},
    )
    with _checkpointer()() as checkpointer:
        found = checkpointer.restore(folder.resolve(), like)
    return found["params"], found["state"]


def _checkpointer() -> Callable[[], Any]:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise SettingsError('--checkpoint: needs Orbax: pip install "orbax-checkpoint>=0.11"') from error
    return ocp.StandardCheckpointer


if __name__ == "__main__":
    sys.exit(main())
