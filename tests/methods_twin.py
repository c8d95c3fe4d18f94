"""Training with a memory of earlier tasks as the papers write it: one seed, one batch after the other.

In the task scenario, with plain gradient descent, on task after task.
"""

import jax
import jax.numpy as jnp
import numpy as np
from small_networks import mlp

from experiments.lab.tasks.problems import make_problem
from experiments.lab.tasks.samples import fisher_samples
from experiments.lab.tasks.streams import replay_stream


class Twin:
    """One training.

    Attributes:
        anchor: the parameters at the end of the task before.
        importance: how much each matters: F of EWC, Ω of SI.
        gained: ω of SI.
    """

    def __init__(self, settings, method, data, seed):
        self.settings, self.method, self.data, self.seed = settings, method, data, seed
        problem = make_problem(settings, data)
        self.shown, self.learned = (of(settings, problem, seed) for of in (replay_stream, fisher_samples))
        self.shape = problem.n_tasks, problem.classes_per_task
        hidden = [settings.fc_units] * (settings.fc_layers - 1)
        init, self.apply = mlp(problem.n_pixels, *hidden, problem.n_outputs)
        self.params = jax.tree.map(lambda leaf: leaf[0], init(jax.random.key(seed)[None]))
        self.anchor = self.params
        self.importance = self.gained = jax.tree.map(jnp.zeros_like, self.params)

    def losses(self):
        """Of the new samples of each batch, before its update."""
        gradients = jax.jit(self.gradients)
        batch, losses = self.settings.batch, []
        for i, (rows, tasks) in enumerate(zip(self.shown.rows, self.shown.tasks, strict=True)):
            n_done = i // self.settings.iters
            if n_done and i % self.settings.iters == 0:
                self.end_task(n_done - 1)
            new, old = self.samples(rows[:batch], tasks[:batch]), self.samples(rows[batch:], tasks[batch:])
            loss, plain, whole = gradients(self.params, self.anchor, self.importance, new, old, n_done)
            step = jax.tree.map(lambda g: -self.settings.lr * g, whole)
            self.gained = jax.tree.map(lambda w, g, s: w - g * s, self.gained, plain, step)
            self.params = jax.tree.map(jnp.add, self.params, step)
            losses.append(loss)
        return losses

    def samples(self, rows, tasks):
        """Images in [0, 1], tasks, and labels within them."""
        images = self.data.x_train[rows].reshape(len(rows), -1) / self.data.max_value
        return jnp.asarray(images, jnp.float32), tasks, self.data.y_train[rows] % self.shape[1]

    def heads(self, params, x):
        """Logarithms of probabilities, ``[samples, tasks, classes]``."""
        return jax.nn.log_softmax(self.apply(params, x).reshape(-1, *self.shape))

    def gradients(self, params, anchor, importance, new, old, n_done):
        """The loss of the new samples, its gradient, and that of all that is minimised."""

        def entropy(params, samples):
            x, tasks, labels = samples
            return -self.heads(params, x)[np.arange(len(x)), tasks, labels].mean()

        def distilled(params):
            T = self.settings.lwf_temperature
            p, q = (jax.nn.log_softmax(self.heads(of, new[0]) / T) for of in (params, anchor))
            of_heads = -(jnp.exp(q) * p).sum(axis=-1).mean(axis=0)
            return T**2 * (of_heads * (np.arange(self.shape[0]) < n_done)).sum() / jnp.maximum(n_done, 1)

        def pulled(params, strength):
            each = jax.tree.map(lambda p, a, f: (f * (p - a) ** 2).sum(), params, anchor, importance)
            return strength * sum(jax.tree.leaves(each))

        def whole(params):
            loss = entropy(params, new)
            match self.method:
                case "ewc":
                    return loss + pulled(params, self.settings.ewc_strength / 2)
                case "si":
                    return loss + pulled(params, self.settings.si_strength)
                case "lwf":
                    return (loss + n_done * distilled(params)) / (n_done + 1)
                case "er":
                    return (loss + n_done * entropy(params, old)) / (n_done + 1)

        return *jax.value_and_grad(entropy)(params, new), jax.grad(whole)(params)

    def end_task(self, task):
        """Remember the parameters, and how much each has mattered."""
        if self.method == "ewc":
            new = jax.jit(self.fisher)(self.params, self.samples(*(of[task] for of in self.learned[:2])))
            decay = self.settings.ewc_decay
            self.importance = jax.tree.map(lambda f, one: decay * f + one, self.importance, new)
        if self.method == "si":
            damping = self.settings.si_damping
            self.importance = jax.tree.map(
                lambda o, w, p, a: jnp.maximum(o + w / ((p - a) ** 2 + damping), 0),
                *(self.importance, self.gained, self.params, self.anchor),
            )
            self.gained = jax.tree.map(jnp.zeros_like, self.params)
        self.anchor = self.params

    def fisher(self, params, samples):
        """Squares of each sample's gradient, with a label that is drawn from the prediction."""
        x, tasks, _ = samples
        each = np.arange(len(x))
        key = jax.random.fold_in(jax.random.key(self.seed), tasks[0])
        labels = jax.random.categorical(key, self.heads(params, x)[each, tasks])
        grads = jax.jacobian(lambda params: self.heads(params, x)[each, tasks, labels])(params)
        return jax.tree.map(lambda g: (g**2).mean(axis=0), grads)
