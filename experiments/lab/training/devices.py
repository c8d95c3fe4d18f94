"""The devices that runs are spread over: each trains its share, and none waits for another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from experiments.lab.system.errors import SettingsError

AXIS = "run"  # of the mesh
MOST = 1024  # devices of one process
FEW = 2  # seeds that a core trains faster together than one by one, and than many

Item = TypeVar("Item")


def ask_for(number: int) -> None:
    """Divide the CPU into so many devices, as can be done until JAX is used.

    Raises:
        SettingsError: if ``number`` is less than 1, or more than a process could have.
    """
    if not 1 <= number <= MOST:
        raise SettingsError(f"--devices {number}: must be 1 to {MOST}")
    if number > jax.config.jax_num_cpu_devices:  # type: ignore[attr-defined]
        with suppress(RuntimeError):  # where computations have begun, the devices are what they are
            jax.config.update("jax_num_cpu_devices", number)


def local_devices(number: int) -> list[jax.Device]:
    """The first devices of this process.

    Raises:
        SettingsError: if there are not as many.
    """
    ask_for(number)
    devices = jax.local_devices()
    if number > len(devices):
        raise SettingsError(f"--devices {number}: must be 1 to {len(devices)}, the devices of this process")
    return devices[:number]


def team_size(seeds: int, configurations: int, devices: Sequence[jax.Device]) -> int:
    """How many of the seeds train at a time, in teams of one size that take turns on the devices.

    On accelerators all do. A CPU is faster with the parameters of few networks, which its caches
    hold: there, for a single configuration, the size is the least that divides the seeds evenly and is a
    multiple of the number of devices, two seeds for each or more; where there is none, again all.

    >>> [team_size(n, 1, jax.devices("cpu")[:1]) for n in (1, 2, 3, 10, 11, 15)]
    [1, 2, 3, 2, 11, 3]
    """
    if configurations > 1 or devices[0].platform != "cpu":
        return seeds
    return next((n for n in range(FEW * len(devices), seeds, len(devices)) if seeds % n == 0), seeds)


class Spread:
    """How the runs of one group lie on devices: the seeds of one or several configurations.

    The seeds are divided into teams, which take turns (`team_size`). Of a team, either the seeds or the
    configurations are divided among the devices, along the axis ``run`` of a mesh, as evenly as they can be.
    Where it does not come out even, the last one fills the places that are left: it is trained more than
    once, and what it did the second time is dropped.

    Args:
        configurations: number of configurations.
        seeds: number of seeds.
        devices: those to use; of more than there is work for, the last ones rest.

    Attributes:
        at_a_time: the seeds of a team.
        n_devices: those that train.
        real: [configurations × seeds of a team], where its runs are among all that are trained, those that
            fill included.
    """

    def __init__(self, configurations: int, seeds: int, devices: Sequence[jax.Device]) -> None:
        self.at_a_time = team_size(seeds, configurations, devices)
        self._n_teams, seeds = seeds // self.at_a_time, self.at_a_time
        self._over_seeds = configurations * _share(seeds, len(devices)) <= seeds * _share(
            configurations, len(devices)
        )
        size = seeds if self._over_seeds else configurations
        share = _share(size, len(devices))
        self.n_devices = -(-size // share)
        self._size, self._filled = size, share * self.n_devices
        self._mesh = jax.make_mesh(
            (self.n_devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices[: self.n_devices]
        )
        trained = (configurations, self._filled) if self._over_seeds else (self._filled, seeds)
        self.real = np.arange(np.prod(trained)).reshape(trained)[:configurations, :seeds].ravel()

    def teams(self, seeds: Sequence[Item]) -> list[list[Item]]:
        """The seeds to train, of each team."""
        teams = [seeds[first : first + self.at_a_time] for first in range(0, len(seeds), self.at_a_time)]
        return [self._fill(team) if self._over_seeds else list(team) for team in teams]

    def configurations(self, configurations: Sequence[Item]) -> list[Item]:
        """The configurations to train."""
        return list(configurations) if self._over_seeds else self._fill(configurations)

    def axis(self, seeds: int = -1, configurations: int = -1) -> int:
        """The axis along which an array is divided: that of its seeds or that of its configurations.

        -1 where it has none, and lies on all devices.
        """
        return seeds if self._over_seeds else configurations

    def place(self, tree: Any, seeds: int = -1, configurations: int = -1) -> Any:
        """Put arrays, of NumPy or JAX, that have these axes where they belong."""
        return jax.device_put(tree, self._sharding(self.axis(seeds, configurations)))

    def compile(
        self, function: Callable[..., Any], *arguments: Any, out: Any, donate: int | None = None
    ) -> jax.stages.Compiled:
        """A function of each device's share of these arguments, compiled: no device hears of another.

        Args:
            function: of arrays and numbers.
            arguments: as it will be called with.
            out: along which axis each of its results is divided; of a tree, or of a prefix of it.
            donate: the argument whose memory it may use.
        """
        by_share = jax.shard_map(
            function,
            mesh=self._mesh,
            in_specs=jax.tree.map(_spec_of, arguments),
            out_specs=jax.tree.map(_spec, out),
            check_vma=False,
        )
        # What the function makes no use of gives its memory to the result in its place: left out, each result
        # after it would take that of another, and copies would make way.
        keep = donate is not None
        return jax.jit(by_share, donate_argnums=donate, keep_unused=keep).lower(*arguments).compile()

    def axes(self, of: Callable[[int], Any]) -> Any:
        """Along which axis each array is divided; -1 where it is not, and lies on all devices.

        Args:
            of: the arrays' shapes, as `jax.eval_shape` gives them, for a number of seeds to train; where
                there are several configurations, those are their first axis.
        """
        if not self._over_seeds:
            return jax.tree.map(lambda _: 0, of(1))

        def differ(one: Any, other: Any) -> int:
            different = [i for i, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b]
            return different[0] if different else -1

        return jax.tree.map(differ, of(1), of(2))

    def gather(self, teams: Sequence[Any], axes: Any) -> Any:
        """All teams' on the host, without what only fills: the same arrays whatever the devices and teams."""
        return self._joined(np.concatenate, jax.tree.map(np.asarray, teams), axes)

    def gathered(self, teams: Sequence[Any], axes: Any) -> Any:
        """Shapes and dtypes of what `gather` gives."""
        return jax.eval_shape(lambda teams: self._joined(jnp.concatenate, teams, axes), teams)

    def scatter(self, tree: Any, axes: Any) -> list[Any]:
        """Of each team on the devices again, what `gather` gave."""

        def placed(leaf: Any, axis: int, team: int) -> jax.Array:
            if axis >= 0:
                leaf = np.split(leaf, self._n_teams, axis)[team]
                more = [(0, self._filled - self._size if i == axis else 0) for i in range(np.ndim(leaf))]
                leaf = np.pad(leaf, more, mode="edge")
            return jax.device_put(leaf, self._sharding(axis))

        return [jax.tree.map(partial(placed, team=team), tree, axes) for team in range(self._n_teams)]

    def _joined(self, concatenate: Callable[..., Any], teams: Sequence[Any], axes: Any) -> Any:
        def of_all(axis: int, *leaves: Any) -> Any:
            if axis < 0:
                return leaves[0]
            kept = (slice(None),) * axis + (slice(self._size),)
            return concatenate([leaf[kept] for leaf in leaves], axis)

        return jax.tree.map(of_all, axes, *teams)

    def _sharding(self, axis: int) -> NamedSharding:
        return NamedSharding(self._mesh, _spec(axis))

    def _fill(self, items: Sequence[Item]) -> list[Item]:
        return [*items, *[items[-1]] * (self._filled - self._size)]


def _spec(axis: int) -> PartitionSpec:
    return PartitionSpec(*(None,) * axis, AXIS) if axis >= 0 else PartitionSpec()


def _spec_of(argument: Any) -> PartitionSpec:
    sharding = getattr(argument, "sharding", None)  # numbers have none
    return sharding.spec if isinstance(sharding, NamedSharding) else PartitionSpec()


def _share(size: int, devices: int) -> int:
    """What the busiest device trains, of so many."""
    return -(-size // min(size, devices))
