# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quick start: complex synapses in Optax
#
# One more line in the optimizer puts a chain of slow hidden copies, its *beakers*, behind each weight of a network
# (Benna & Fusi 2016). This notebook shows how such a weight remembers. Then it trains a small network on five tasks
# in sequence, and looks at what the weights and the beakers know in the end.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from cs_optax import BeakerChain, complex_synapse, get_beakers, suggest_timescales

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})
BLUE, ORANGE, VIOLET = "#0072B2", "#D55E00", "#332288"

# %% [markdown]
# ## How a weight remembers
#
# Make one update, and then no more. How much of it is left after t iterations? The optimizer itself gives the answer.
# With one beaker the weight forgets exponentially. With eight it follows a power law, $1/\sqrt{t}$, between the
# shortest timescale and the longest.

# %%
alpha, beta, steps = 10.0, 20_000.0, 30_000


def remembered(tx, steps):
    """What is left of a unit update after 1, 2, … steps."""

    def step(carry, update):
        weight, state = carry
        updates, state = tx.update(update, state, weight)
        weight = optax.apply_updates(weight, updates)
        return (weight, state), weight

    weight = jnp.array(0.0)
    updates = jnp.zeros(steps).at[0].set(1.0)
    return jax.lax.scan(step, (weight, tx.init(weight)), updates)[1]


times = np.arange(1, steps + 1)
chain = BeakerChain.from_timescales(8, alpha, beta)
fig, ax = plt.subplots(figsize=(7, 4))
one_beaker = complex_synapse(n_beakers=1, beta=500.0)
ax.loglog(times, remembered(one_beaker, steps), color=BLUE, ls="--", label="1 beaker, timescale 500")
eight = complex_synapse(n_beakers=8, alpha=alpha, beta=beta)
ax.loglog(times, remembered(eight, steps), color=ORANGE, label="8 beakers, 10 to 20 000")
ax.loglog(times, chain.impulse_response(times), color="black", lw=0.8, ls=":", label="exact solution")
ax.set(xlabel="iterations since the update", ylabel="fraction left", ylim=(3e-3, 1.3))
ax.legend()
fig.tight_layout()

# %% [markdown]
# ## Train on five tasks in sequence
#
# The digits come in five pairs: 0 and 1, then 2 and 3, and so on. In each task the network learns whether a digit is the
# first or the second of its pair. It is not told which task a digit is from (the *domain* scenario), so later tasks
# overwrite earlier ones.


# %%
class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(64, 200, rngs=rngs)
        self.second = nnx.Linear(200, 200, rngs=rngs)
        self.out = nnx.Linear(200, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.second(nnx.relu(self.first(x)))))


digits = load_digits()
x, y, task_of = jnp.asarray(digits.data / 16, jnp.float32), digits.target % 2, digits.target // 2
is_test = np.random.default_rng(0).random(len(x)) < 0.3
n_tasks, iterations, n_seeds, every = 5, 300, 5, 50

# %% [markdown]
# Five seeds train together: their parameters are stacked, and one optimizer updates them all. Nothing about the model
# changes. The synapse is the last transformation of the chain.

# %%
graph = nnx.split(Net(nnx.Rngs(0)), nnx.Param)[0]
first_weights = [nnx.split(Net(nnx.Rngs(seed)), nnx.Param)[1] for seed in range(n_seeds)]
stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *first_weights)
random = np.random.default_rng(0)
batches = jnp.asarray(
    [
        random.choice(np.flatnonzero((task_of == task) & ~is_test), (iterations, n_seeds, 64))
        for task in range(n_tasks)
    ]
).reshape(-1, every, n_seeds, 64)


def loss(params, batch):
    logits = nnx.merge(graph, params)(x[batch])
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(y)[batch]).mean()


def accuracies(params):
    """Test accuracy on each task in %."""
    right = nnx.merge(graph, params)(x[is_test]).argmax(axis=1) == y[is_test]
    return 100 * jnp.stack([right[task_of[is_test] == task].mean() for task in range(n_tasks)])


def train(tx, beakers_of):
    """Accuracies before the training and after every 50 iterations: [times, beakers, seeds, tasks]."""

    @jax.jit
    def evaluated(params, state):
        return jnp.stack([jax.vmap(accuracies)(weights) for weights in (params, *beakers_of(state))])

    def step(carry, batch):
        params, state = carry
        updates, state = tx.update(jax.vmap(jax.grad(loss))(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    def stretch(carry, batches):
        carry, _ = jax.lax.scan(step, carry, batches)
        return carry, evaluated(*carry)

    begun = stacked, tx.init(stacked)
    _, history = jax.lax.scan(stretch, begun, batches)
    return np.concatenate([evaluated(*begun)[None], history])


timescales = suggest_timescales(n_iterations=n_tasks * iterations, n_tasks=n_tasks)
adam = optax.adam(1e-3)
without = train(adam, beakers_of=lambda state: ())
with_synapse = train(optax.chain(adam, complex_synapse(*timescales)), beakers_of=get_beakers)
print(timescales)

# %% [markdown]
# The accuracy on all five tasks, tasks to come included: mean over five seeds, bands are standard errors.

# %%
middle = timescales.n_beakers // 2  # counted from 0: the fourth of seven
fig, ax = plt.subplots(figsize=(7, 4))
at = every * np.arange(len(without))
for curves, color, line, label in (
    (without[:, 0], BLUE, "--", "Adam"),
    (with_synapse[:, 0], ORANGE, "-", "complex synapses: the weights"),
    (with_synapse[:, middle], VIOLET, "-", f"complex synapses: beaker {middle + 1}"),
):
    of_seeds = curves.mean(axis=-1)  # [times, seeds]
    mean, sem = of_seeds.mean(axis=1), of_seeds.std(axis=1, ddof=1) / np.sqrt(n_seeds)
    ax.plot(at, mean, color=color, ls=line, label=label)
    ax.fill_between(at, mean - sem, mean + sem, color=color, alpha=0.2, lw=0)
for task in range(n_tasks):
    ax.axvline(task * iterations, color="0.85", zorder=0)
    ax.text((task + 0.5) * iterations, 101, f"task {task + 1}", ha="center", color="0.4", fontsize=9)
ax.set(xlabel="iteration", ylabel="accuracy on all tasks (%)", xlim=(0, at[-1]), ylim=(40, 100))
ax.legend(loc="lower right")
fig.tight_layout()

# %% [markdown]
# **The middle beaker helps, the weights do not.** Over all tasks the middle beaker ends above plain training.
# The weights themselves end below it: what flows into the beakers is missing in them.
#
# ## Look into the beakers
#
# The parameters are the first beaker. The others are in the optimizer state, and each is a tree like the parameters.
# Each can be evaluated like any other weights.

# %%
final = with_synapse[-1].mean(axis=1)  # [beakers, tasks]
fig, (a, b) = plt.subplots(1, 2, figsize=(9, 3.8), width_ratios=[1, 1.25])
of_beakers, of_adam = with_synapse[-1].mean(axis=-1), without[-1, 0].mean(axis=-1)
numbers = 1 + np.arange(len(final))
a.plot(numbers, of_beakers, ".", color="0.7")
a.plot(numbers, of_beakers.mean(axis=1), "o-", color=ORANGE, label="mean of five seeds")
a.axhline(of_adam.mean(), color=BLUE, ls="--", label="Adam")
a.set(xlabel="beaker", ylabel="accuracy on all tasks (%)", xticks=numbers)
a.legend(loc="lower left")
image = b.imshow(final, vmin=40, vmax=100, cmap="viridis", aspect="auto")
for (beaker, task), value in np.ndenumerate(final):
    b.text(task, beaker, f"{value:.0f}", ha="center", va="center", color="w" if value < 75 else "k")
b.set(xlabel="task", ylabel="beaker", xticks=range(n_tasks), yticks=range(len(final)))
b.set_xticklabels(range(1, n_tasks + 1))
b.set_yticklabels(numbers)
fig.colorbar(image, label="accuracy (%)")
fig.tight_layout()

# %% [markdown]
# Fast beakers know the last task best. The middle ones know the earlier tasks better, and the last one less well. The
# slowest have hardly left their initial values, because `beta` is eight times the whole training. So begin with the
# middle beaker, and choose on validation data.
#
# ## What this does not show
#
# Nothing was tuned here. With every method tuned, much of this gain turns out to be the learning rate's, and a single
# slow average of the weights does as well as the middle beaker ([results](../docs/results.md)).
# `python -m experiments.compare` compares methods over many seeds, paired, with intervals.
# The [recipes](../docs/recipes/index.md) show the synapse in other libraries and settings.
