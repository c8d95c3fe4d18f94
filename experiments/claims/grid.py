"""A walker in a square grid, and what it learns of a step: naive Q(λ) with replacing traces."""

import math

import jax
import jax.numpy as jnp
import numpy as np

DISCOUNT, TRACE, EXPLORATION = 0.9, 0.9, 0.05
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def act(key: jax.Array, table: jax.Array, cell: jax.Array) -> jax.Array:
    """The greedy move, the first of equals in a random order; rarely any move."""
    explore, order, any_move = jax.random.split(key, 3)
    values = table[cell]
    ties = jnp.where(values == values.max(), jax.random.uniform(order, values.shape), -1.0)
    random_move = jax.random.randint(any_move, (), 0, len(MOVES))
    return jnp.where(jax.random.uniform(explore) < EXPLORATION, random_move, ties.argmax())


def one_step(
    key: jax.Array,
    table: jax.Array,
    trace: jax.Array,
    cell: jax.Array,
    goal: jax.Array,
    following: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """A step of one walker: its table's gradient, its trace and cell after it, and if it was rewarded."""
    moving, starting = jax.random.split(key)
    move = act(moving, table, cell)
    after = following[cell, move]
    reached = after == goal
    value = jnp.where(reached, 1.0, DISCOUNT * table[after].max())
    trace = (DISCOUNT * TRACE * trace).at[cell, move].set(1.0)
    gradient = -(value - table[cell, move]) * trace
    start = (goal + jax.random.randint(starting, (), 1, len(table))) % len(table)  # any cell but the goal
    return gradient, jnp.where(reached, 0.0, trace), jnp.where(reached, start, after), reached


def transitions(side: int) -> np.ndarray:
    """The cell that each move leads to, ``[cells, moves]``; a move into the wall leads nowhere."""
    row, column = np.divmod(np.arange(side * side), side)
    cells = [
        np.clip(row + down, 0, side - 1) * side + np.clip(column + right, 0, side - 1)
        for down, right in MOVES
    ]
    return np.stack(cells, axis=1)


def leads_to(table: jax.Array, goal: jax.Array, following: jax.Array) -> jax.Array:
    """Share of all cells from which greedy moves lead to the goal."""
    n_cells = table.shape[0]
    after = following[jnp.arange(n_cells), table.argmax(axis=1)].at[goal].set(goal)

    def double(_: int, after: jax.Array) -> jax.Array:
        return after[after]

    # As many moves as there are cells lead to the goal, or never will.
    return (jax.lax.fori_loop(0, math.ceil(math.log2(n_cells)), double, after) == goal).mean()
