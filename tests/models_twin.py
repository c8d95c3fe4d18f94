"""Training a network with statistics and dropout as one writes it in Flax: one seed, one batch at a time.

In the domain scenario, without permutations, task after task.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.lab.tasks.problems import make_problem
from experiments.lab.tasks.samples import fisher_samples
from experiments.lab.tasks.streams import training_stream


class Twin:
    """One training.

    Attributes:
        network: as it is at the end.
        average: the mean of its parameters after each iteration.
    """

    def __init__(self, settings, method, data, seed):
        self.settings, self.method, self.data, self.seed = settings, method, data, seed
        problem = make_problem(settings, data)
        self.classes, self.tasks = problem.classes_per_task, problem.n_tasks
        self.stream, self.learned = (of(settings, problem, seed) for of in (training_stream, fisher_samples))
        self.network = settings.model(
            problem.input_shape, problem.n_outputs, nnx.Rngs(jax.random.key(seed)), settings
        )
        self.optimizer = nnx.Optimizer(self.network, optax.adam(settings.lr), wrt=nnx.Param)
        self.average = jax.tree.map(jnp.zeros_like, nnx.state(self.network, nnx.Param))
        self.anchor, self.importance, self.old = self.average, self.average, None

    def losses(self):
        """Of each batch, before its update."""
        step, losses = nnx.jit(type(self).step, static_argnums=(0, 5)), []
        for i, rows in enumerate(self.stream.rows):
            done = i // self.settings.iters
            if done and i % self.settings.iters == 0:
                self.end_task(done - 1)
            self.network.train()
            x, y = self.samples(self.data.x_train, self.data.y_train, rows)
            losses.append(step(self, self.network, self.optimizer, self.old, (x, y), done, self.memory))
            params = nnx.state(self.network, nnx.Param)
            self.average = jax.tree.map(lambda a, p, n=i + 1: a + (p - a) / n, self.average, params)
        return losses

    @property
    def memory(self):
        return self.anchor, self.importance

    def step(self, network, optimizer, old, batch, done, memory):
        x, y = batch

        def loss_of(network):
            outputs = network(x)
            loss = whole = optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()
            if self.method == "lwf" and done:
                T = self.settings.lwf_temperature
                p, q = jax.nn.log_softmax(outputs / T), jax.nn.softmax(old(x) / T)
                whole = (loss - done * T**2 * (q * p).sum(axis=-1).mean()) / (done + 1)
            if self.method == "ewc" and done:
                params = nnx.state(network, nnx.Param)
                each = jax.tree.map(lambda p, a, f: (f * (p - a) ** 2).sum(), params, *memory)
                whole = loss + self.settings.ewc_strength / 2 * sum(jax.tree.leaves(each))
            return whole, loss

        grads, loss = nnx.grad(loss_of, has_aux=True)(network)
        optimizer.update(network, grads)
        return loss

    def samples(self, x, y, rows):
        """Images in [0, 1], with their channel, and labels within the task."""
        images = x[rows][..., None] / self.data.max_value
        return jnp.asarray(images, jnp.float32), jnp.asarray(y[rows] % self.classes, jnp.int32)

    def end_task(self, task):
        """Keep the network as it is, and how much each weight matters."""
        self.old = nnx.clone(self.network)
        self.old.eval()
        self.anchor = nnx.state(self.old, nnx.Param)
        if self.method == "ewc":
            new = self.fisher(task)
            self.importance = jax.tree.map(
                lambda f, one: self.settings.ewc_decay * f + one, self.importance, new
            )

    def fisher(self, task):
        """Squares of each sample's gradient in evaluation mode, with a label drawn from the prediction."""
        x, _ = self.samples(self.data.x_train, self.data.y_train, self.learned.rows[task])
        key = jax.random.fold_in(jax.random.key(self.seed), task)
        labels = jax.random.categorical(key, self.old(x))
        graph, params, rest = nnx.split(self.old, nnx.Param, ...)

        def likelihoods(params):
            outputs = nnx.merge(graph, params, rest)(x)
            return jax.nn.log_softmax(outputs)[np.arange(len(x)), labels]

        return jax.tree.map(lambda g: (g**2).mean(axis=0), jax.jacobian(likelihoods)(params))

    def accuracies(self, params=None):
        """Of each task, on all its test samples, in evaluation mode; perhaps with other parameters."""
        network = nnx.clone(self.network)
        network.eval()
        if params is not None:
            nnx.update(network, params)
        found = []
        for task in range(self.tasks):
            rows = np.flatnonzero(self.data.y_test // self.classes == task)
            x, y = self.samples(self.data.x_test, self.data.y_test, rows)
            found.append(float((network(x).argmax(axis=-1) == y).mean()))
        return found
