"""Learning-rate schedules with complex synapses: ``python -m benchmarks.schedules``.

A small network learns scikit-learn's digits in one go, with no second task. Under a decaying learning rate
the flow out of the weights goes on while updates shrink. What does each way of slowing the synapse down keep?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.report import Options, publish
from cs_optax import complex_synapse, suggest_timescales
from experiments.lab.command.parsing import parse
from experiments.lab.data.dataset import load
from experiments.lab.results.statistics import estimate
from experiments.lab.system.tables import Table

N_STEPS, BATCH, RATE = 2000, 64, 1e-3
SIZES = (64, 20, 20, 10)
SCHEDULES: dict[str, optax.Schedule] = {
    "constant": optax.constant_schedule(1.0),
    "cosine": optax.cosine_decay_schedule(1.0, N_STEPS),
    "linear": optax.linear_schedule(1.0, 0.0, N_STEPS),
}
Choice = Callable[[optax.Schedule], dict[str, optax.Schedule]]
CHOICES: dict[str, Choice | None] = {
    "Adam alone": None,
    "complex synapses": lambda rate: {},
    "time_step ~ rate": lambda rate: {"time_step": rate},
    "time_step ~ rate²": lambda rate: {"time_step": lambda n: rate(n) ** 2},
    "recall ~ rate": lambda rate: {"recall": rate},
    "recall ~ rate²": lambda rate: {"recall": lambda n: rate(n) ** 2},
    "recall ~ rate⁴": lambda rate: {"recall": lambda n: rate(n) ** 4},
    "no recall in the last 20 %": lambda rate: {"recall": lambda n: jnp.where(n < 0.8 * N_STEPS, 1.0, 0.0)},
    "no recall in the second half": lambda rate: {"recall": lambda n: jnp.where(n < 0.5 * N_STEPS, 1.0, 0.0)},
}


def network(params: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    """Logits of a perceptron with two hidden layers."""
    *hidden, (w, b) = params
    for weights, biases in hidden:
        x = jax.nn.relu(x @ weights + biases)
    return x @ w + b


def accuracies(tx: optax.GradientTransformation, n_seeds: int) -> np.ndarray:
    """Test accuracy of each seed, %."""
    digits = load("Digits")
    x, x_test = (
        jnp.asarray(part, jnp.float32) / digits.max_value for part in (digits.x_train, digits.x_test)
    )
    y, y_test = jnp.asarray(digits.y_train), jnp.asarray(digits.y_test)
    x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)

    def loss(params: list[tuple[jax.Array, jax.Array]], rows: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(network(params, x[rows]), y[rows]).mean()

    def one_seed(key: jax.Array) -> jax.Array:
        of_weights, of_batches = jax.random.split(key)
        keys = jax.random.split(of_weights, len(SIZES) - 1)
        params = [
            (jax.random.uniform(k, (n, m), minval=-1, maxval=1) / jnp.sqrt(n), jnp.zeros(m))
            for k, n, m in zip(keys, SIZES[:-1], SIZES[1:], strict=True)
        ]

        def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            params, state = carry
            rows = jax.random.randint(key, (BATCH,), 0, len(x))
            updates, state = tx.update(jax.grad(loss)(params, rows), state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(of_batches, N_STEPS))
        return 100 * jnp.mean(network(params, x_test).argmax(axis=1) == y_test)

    return np.asarray(
        jax.jit(lambda keys: jax.lax.map(one_seed, keys))(jax.random.split(jax.random.key(0), n_seeds))
    )


@dataclass(frozen=True)
class SchedulesOptions(Options):
    """Learning-rate schedules with complex synapses.

    Attributes:
        n_seeds: Trainings of each cell.
    """

    n_seeds: int = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    given, _ = parse(SchedulesOptions, "benchmarks.schedules", arguments)
    timescales = suggest_timescales(N_STEPS)
    rows: list[list[str]] = []
    for name, choice in CHOICES.items():
        cells = []
        for rate in SCHEDULES.values():
            tx = optax.adam(lambda n, rate=rate: RATE * rate(n))
            if choice is not None:
                tx = optax.chain(tx, complex_synapse(*timescales, **choice(rate)))
            of_seeds = estimate(accuracies(tx, given.n_seeds))
            cells.append(f"{of_seeds.mean:.1f} ± {of_seeds.sem:.1f}")
        rows.append([name, *cells])
    title = (
        f"Test accuracy on the digits, %, mean ± standard error of {given.n_seeds} seeds, after {N_STEPS} "
        f"steps with {timescales.n_beakers} beakers, {timescales.alpha:g} to {timescales.beta:g} iterations"
    )
    publish("schedules", given.out, [Table(title, ["", *SCHEDULES], rows, [0, 0, 0, 0])])


if __name__ == "__main__":
    main()
