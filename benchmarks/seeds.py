"""Many seeds at once: ``python -m benchmarks.seeds``.

Time of one training step of the network of the experiments (784-400-400-10, batches of 128), for more and
more seeds: all of them in one batched step, as the experiments do; one after the other in a loop; and,
for what it costs, with the optimizer under ``jax.vmap`` too, where every link's decision becomes a batch
of decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import optax

from benchmarks.report import Options, curves, publish
from benchmarks.timing import in_turns
from benchmarks.update_cost import with_synapse
from experiments.lab.command.parsing import parse
from experiments.lab.figures import panels
from experiments.lab.models.making import make_network
from experiments.lab.models.mlp import MLP
from experiments.lab.options.model import FullyConnected
from experiments.lab.system.tables import Table

INPUTS, OUTPUTS = 784, 10
BATCH = 128
SEEDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STANDARD, SYNAPSE = "Adam", "K=10, alpha=10"
OPTIMIZERS = {
    STANDARD: optax.adam(1e-3),
    SYNAPSE: with_synapse(10, 10.0),
}


class Training:
    """Steps of training, each call going on from the one before.

    Args:
        tx: the optimizer.
        seeds: number of networks.
        n_steps: steps in a call.
        how: "batched", gradients under vmap and the optimizer on stacked trees; "one by one", whole
            trainings under lax.map; "vmap", whole trainings under vmap; "bare", one network alone.
    """

    def __init__(self, tx: optax.GradientTransformation, seeds: int, n_steps: int, how: str) -> None:
        network = make_network(MLP, (INPUTS,), OUTPUTS, FullyConnected())
        self._x = jax.random.uniform(jax.random.key(0), (seeds, BATCH, INPUTS))
        self._y = jax.random.randint(jax.random.key(1), (seeds, BATCH), 0, OUTPUTS)

        def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
            outputs, _ = network.learn(params, no_state, x)
            return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

        def train(gradient: Any, carry: Any, x: jax.Array, y: jax.Array) -> Any:
            def step(carry: Any, _: None) -> Any:
                params, state = carry
                updates, state = tx.update(gradient(params, x, y), state, params)
                return (optax.apply_updates(params, updates), state), None

            return jax.lax.scan(step, carry, length=n_steps)[0]

        of_one = partial(train, jax.grad(loss))
        params, no_state = network.init(jax.random.split(jax.random.key(2), seeds))
        if how == "batched":
            self._carry = params, tx.init(params)
            run = partial(train, jax.vmap(jax.grad(loss)))
        elif how == "bare":
            params = jax.tree.map(lambda leaf: leaf[0], params)
            self._carry, self._x, self._y = (params, tx.init(params)), self._x[0], self._y[0]
            run = of_one
        else:
            self._carry = params, jax.vmap(tx.init)(params)
            if how == "vmap":
                run = jax.vmap(of_one)
            else:

                def run(carry: Any, x: jax.Array, y: jax.Array) -> Any:
                    return jax.lax.map(lambda each: of_one(*each), (carry, x, y))

        self._run = jax.jit(run, donate_argnums=0)

    def __call__(self) -> Any:
        """Train on."""
        self._carry = self._run(self._carry, self._x, self._y)
        return self._carry


@dataclass(frozen=True)
class SeedsOptions(Options):
    """Many seeds at once.

    Attributes:
        most: Seeds at most.
        steps: Steps in a call.
        every: Only every so many of the numbers of seeds.
    """

    most: int = field(default_factory=lambda: 64 if jax.default_backend() == "cpu" else 256)
    steps: int = field(default_factory=lambda: 12 if jax.default_backend() == "cpu" else 48)
    every: int = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """A table and a figure."""
    given, _ = parse(SeedsOptions, "benchmarks.seeds", arguments)
    counts = [n for n in SEEDS if n <= given.most][:: given.every]
    kinds = [(name, how) for how in ("batched", "one by one", "vmap") for name in OPTIMIZERS]
    rows = []
    for n in counts:
        calls = {f"{name}, {how}": Training(OPTIMIZERS[name], n, given.steps, how) for name, how in kinds}
        seconds = in_turns(calls, given.repeats)
        rows.append([n, *(1e3 * value / (given.steps * n) for value in seconds.values())])
    table = Table(
        f"Milliseconds of one training step of one seed; medians of {given.repeats}",
        ["seeds", *(f"{name}, {how}" for name, how in kinds)],
        rows,
        [0] + [3] * len(kinds),
    )
    figure, (panel,) = panels(["a training step of one seed, over seeds together"])
    shown = (f"{STANDARD}, batched", f"{SYNAPSE}, batched", f"{STANDARD}, one by one", f"{SYNAPSE}, vmap")
    curves(panel, counts, {name: [row[table.head.index(name)] for row in rows] for name in shown})
    panel.set(xscale="log", xlabel="seeds", ylabel="milliseconds", ylim=(0, None))
    publish("seeds", given.out, [table], figure)


if __name__ == "__main__":
    main()
