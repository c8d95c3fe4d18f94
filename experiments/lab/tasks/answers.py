"""What is shown, what is asked, and how an answer is scored."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lab.tasks.problems import Problem
from experiments.lab.tasks.samples import Samples


class Data(NamedTuple):
    """One half of a data set on the device."""

    x: jax.Array  # uint8 or float32 [n, pixels]
    y: jax.Array  # int32 [n]


class View(NamedTuple):
    """How each seed sees the data; of a single seed, arrays of NumPy without the first axis."""

    permutations: jax.Array | np.ndarray  # int32 [seeds, tasks, pixels]
    places: jax.Array | np.ndarray  # int32 [seeds, classes], of the data set's classes in the seed's order


def show(problem: Problem, data: Data, samples: Samples, view: View) -> tuple[jax.Array, jax.Array]:
    """Inputs ``[seeds, samples, *problem.input_shape]`` in [0, 1] and classes ``[seeds, samples]``."""
    x = data.x[samples.rows]
    if problem.permuted:
        order = jax.vmap(lambda of_seed, task: of_seed[task])(view.permutations, samples.tasks)
        x = jnp.take_along_axis(x, order, axis=-1)
    y = data.y[samples.rows]
    if problem.shuffled:
        y = jax.vmap(lambda places, y: places[y])(view.places, y)
    x = x.astype(jnp.float32) / problem.max_value
    return x.reshape(*x.shape[:-1], *problem.input_shape), y


def question(
    problem: Problem, outputs: jax.Array, y: jax.Array, task: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The scores ``[…, samples, classes]`` to choose from, and the right choice ``[…, samples]``."""
    n = problem.classes_per_task
    within = y % n
    if problem.all_classes:
        return outputs, task * n + within
    if not problem.multihead:
        return outputs, within
    heads = outputs.reshape(*outputs.shape[:-1], problem.n_tasks, n)
    own = jnp.take_along_axis(heads, task[..., None, None], axis=-2)
    return own.squeeze(-2), within


def distillation(
    problem: Problem, outputs: jax.Array, old: jax.Array, n_done: jax.Array, temperature: float
) -> jax.Array:
    r"""Cross-entropy to the softened old outputs, :math:`-T^2 \sum_c q_c \log p_c`, mean over the samples.

    Over the outputs of the tasks that are done: with several heads, head by head and then their mean; where
    all classes are told apart, over the classes so far, those of this task included, whose targets are
    zero; with one head for all tasks, over its outputs.

    Args:
        problem: the tasks.
        outputs: of the parameters that learn, ``[samples, outputs]``.
        old: of the parameters as they were before this task.
        n_done: number of tasks before this one.
        temperature: T.
    """
    n = problem.classes_per_task
    low = jnp.finfo(outputs.dtype).min
    if problem.multihead:
        shape = *outputs.shape[:-1], problem.n_tasks, n
        p = jax.nn.log_softmax(outputs.reshape(shape) / temperature)
        q = jax.nn.softmax(old.reshape(shape) / temperature)
        per_head = -(q * p).sum(axis=-1)
        is_done = np.arange(problem.n_tasks) < n_done
        loss = (per_head * is_done).sum(axis=-1) / jnp.maximum(n_done, 1)
    elif problem.all_classes:
        classes = np.arange(problem.n_outputs)
        p = jax.nn.log_softmax(jnp.where(classes < (n_done + 1) * n, outputs / temperature, low))
        q = jax.nn.softmax(jnp.where(classes < n_done * n, old / temperature, low))
        loss = -jnp.where(classes < n_done * n, q * p, 0).sum(axis=-1)
    else:
        p, q = jax.nn.log_softmax(outputs / temperature), jax.nn.softmax(old / temperature)
        loss = -(q * p).sum(axis=-1)
    return temperature**2 * loss.mean()
