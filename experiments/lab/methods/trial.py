"""A method of the user's own, tried on the shapes of a network: mistakes are found before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from experiments.lab.methods.interface import Method, Tree
from experiments.lab.models.network import Network
from experiments.lab.system import modules
from experiments.lab.system.errors import SettingsError

SEEDS = 2  # as many as tell the axis of the seeds from none


def try_method(name: str, how: Method, network: Network) -> None:
    """Go through an iteration and the end of a task on shapes, without computing anything.

    Args:
        name: the method's name.
        how: the method, for trees stacked over seeds.
        network: the network that it trains.

    Raises:
        SettingsError: one line that names the method and its function that fails, or gives other shapes.
    """

    def tried(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return jax.eval_shape(function, *arguments)
        except Exception as error:
            raise SettingsError(f"method {name}: its {what}: {modules.told(error)}") from error

    def check(what: str, given: Tree, like: Tree, of_what: str) -> None:
        difference = _difference(given, like)
        if difference:
            raise SettingsError(f"method {name}: its {what} must give {of_what}: {difference}")

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), SEEDS))
    params, _ = jax.eval_shape(network.init, keys)
    opt_state = tried("optimizer's init", how.optimizer.init, params)
    memory = tried("start", how.start, params)
    if how.distils:
        check("start", memory, params, "a tree like the parameters")
    if how.pull is not None:
        check("pull", tried("pull", how.pull, params, memory), params, "a tree like the parameters")
    updates, after = tried("optimizer's update", how.optimizer.update, params, opt_state, params)
    new = tried("optimizer's updates", optax.apply_updates, params, updates)
    check("optimizer's update", new, params, "updates like the parameters")
    check("optimizer's update", after, opt_state, "a state like that of its init")
    if how.remember is not None:
        remembered = tried("remember", how.remember, memory, params, new, params)
        check("remember", remembered, memory, "a memory like that of its start")
    if how.consolidate is not None:
        fisher = params if how.needs_fisher else None
        consolidated = tried("consolidate", how.consolidate, memory, params, fisher)
        check("consolidate", consolidated, memory, "a memory like that of its start")
    of_start = how.reading
    reading = () if of_start is None else (tried("reading", lambda: of_start(0)),)
    weights = tried("weights", how.weights, params, memory, opt_state, *reading)
    check("weights", weights, params, "a tree like the parameters")


def _difference(given: Tree, like: Tree) -> str:
    """Where two trees stacked over seeds differ, in words; empty where they do not."""
    structures = [str(jax.tree.structure(tree)) for tree in (given, like)]
    if structures[0] != structures[1]:
        return ", not ".join(structure[:100] for structure in structures)
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(given), jax.tree.leaves(like), strict=True
    ):
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            where = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
            return f"{where} is {one.dtype} {one.shape}, not {other.dtype} {other.shape}, of {SEEDS} seeds"
    return ""
