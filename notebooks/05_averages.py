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
# # One training, every average of its weights
#
# An average of the weights over the last part of a training often does better than the last weights. How long that part should
# be is known only afterwards. Here a chain of beakers listens to a training, and leaves it as it is, bit for bit. After the
# training, every average is read from the chain: no snapshots, and no average that is kept in every step.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from cs_optax import BeakerChain, complex_synapse, get_beakers, profiles, readout, suggest_timescales

small = os.environ.get("NOTEBOOK_SIZE") == "small"
ORANGE, BLUE, GREEN, GRAY = "#D55E00", "#0072B2", "#009E73", "#B0B0B0"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})

# %% [markdown]
# ## What the chain holds
#
# Eight beakers, the first of which is the weight itself. Nothing flows back (`backflow="never"`). Each hidden beaker is then a
# weighted sum of the weight's past, with weights that depend on the chain alone. To see them, we give the chain one weight for each
# update, which is 1 after that update and 0 at all other times.

# %%
n = 500 if small else 4000  # updates of the training
chain = BeakerChain.from_timescales(*suggest_timescales(n, purpose="averages"))
every_update = {"backflow": "never", "leak": "none", "resolution": 0.0}
listener = complex_synapse(chain=chain, **every_update)


@jax.jit
def listen(path):
    """The last weights and the state after a path ``[updates, weights]``."""

    def step(carry, now):
        before, state = carry
        return (now, listener.update(now - before, state, before)[1]), None

    start = jnp.zeros(path.shape[1])
    return jax.lax.scan(step, (start, listener.init(start)), path)[0]


last, impulses = listen(jnp.eye(n))
ages = np.arange(n)[::-1]
fig, ax = plt.subplots(figsize=(6, 3))
colors = plt.colormaps["viridis"](np.linspace(0, 0.9, 7))
for k, (beaker, color) in enumerate(zip(get_beakers(impulses), colors, strict=True), start=2):
    ax.semilogx(1 + ages, beaker / beaker.max(), color=color, label=f"$u_{k}$")
ax.set(xlabel="age of the update", ylabel="weight over its peak", title="what each hidden beaker holds")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
fig.tight_layout()

# %% [markdown]
# ## Wanted, and read
#
# `chain.averaging` finds the mixture of the beakers that comes nearest to a wanted profile. It says how near that is: `misfit` is
# 1 − cosine. Smooth profiles are read almost exactly, edges are rounded, and a single moment becomes a bump.

# %%
wanted = {
    "mean of all": profiles.Mean(),
    "power function, 0.1": profiles.Power(0.1),
    "exponential, n/20": profiles.Exponential(n / 20),
    "mean of the last third": profiles.Mean(1 / 3),
}
fig, axes = plt.subplots(1, 4, figsize=(12, 2.8))
for ax, (name, profile) in zip(axes, wanted.items(), strict=True):
    average = chain.averaging(profile, n, **every_update)
    weights = np.diff(profile.share(np.arange(n + 1), n))[::-1]
    ax.plot(np.arange(n) + 1, n * weights, color=GRAY, lw=4, label="wanted")
    ax.plot(np.arange(n) + 1, n * readout(impulses, last, average.weights), color=ORANGE, label="read")
    ax.set(title=name, xlabel="update", ylim=(-0.3, 1.3 * n * weights.max()))
    print(f"{name:<24} misfit {100 * average.misfit:.2f} %   amplification {average.amplification:.1f}")
axes[0].set_ylabel("weight × updates")
axes[0].legend(loc="lower left")
fig.tight_layout()

# %% [markdown]
# ## A training
#
# Three spirals in the plane, four labels in ten wrong, batches of sixteen, and a high learning rate that stays as it is: the last
# weights are noisy. The training keeps four exponential averages in its steps as well, for comparison.
#
# The chain need not look at every update: with `visible_resolution` its first link exchanges every few updates only, which makes it
# cheap. Four times `resolution` lets the first two links exchange together.

# %%
ARMS = 3


def spirals(key, n_points):
    """Points on three spiral arms, and which arm each is on."""
    keys = jax.random.split(key, 3)
    arm = jax.random.randint(keys[0], (n_points,), 0, ARMS)
    radius = jnp.sqrt(jax.random.uniform(keys[1], (n_points,), minval=0.02))
    angle = 2 * jnp.pi * arm / ARMS + 10 * radius
    points = radius[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    return points + 0.04 * jax.random.normal(keys[2], points.shape), arm


def wrong(key, labels, fraction=0.4):
    """The labels, some of which are replaced by another one."""
    first, second = jax.random.split(key)
    others = (labels + jax.random.randint(first, labels.shape, 1, ARMS)) % ARMS
    return jnp.where(jax.random.uniform(second, labels.shape) < fraction, others, labels)


x_train, y_train = spirals(jax.random.key(0), 3000)
labels = wrong(jax.random.key(1), y_train)
x_validation, y_validation = spirals(jax.random.key(2), 3000)
x_test, y_test = spirals(jax.random.key(3), 10_000)


def network(key, width=64):
    sizes = (2, width, width, ARMS)
    keys = jax.random.split(key, 3)
    return [
        (jax.random.normal(k, (a, b)) * np.sqrt(2 / a), jnp.zeros(b))
        for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]


def logits(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    return x @ params[-1][0] + params[-1][1]


def loss(params, batch):
    return optax.softmax_cross_entropy_with_integer_labels(
        logits(params, x_train[batch]), labels[batch]
    ).mean()


def accuracy(params, x, y):
    return 100 * jnp.mean(logits(params, x).argmax(axis=1) == y)


listening = {**every_update, "resolution": 1 / 8, "visible_resolution": 1 / 2}
tx = optax.chain(optax.adam(0.01), complex_synapse(chain=chain, **listening))
kept_times = n * np.array([0.005, 0.02, 0.1, 0.5])


@jax.jit
def train(seed):
    first, second = jax.random.split(jax.random.key(seed))

    def step(carry, batch):
        params, state, kept = carry
        updates, state = tx.update(jax.grad(loss)(params, batch), state, params)
        params = optax.apply_updates(params, updates)
        kept = [
            optax.incremental_update(params, e, 1 - np.exp(-1 / t))
            for e, t in zip(kept, kept_times, strict=True)
        ]
        return (params, state, kept), None

    params = network(first)
    batches = jax.random.randint(second, (n, 16), 0, len(x_train))
    start = params, tx.init(params), [jax.tree.map(jnp.zeros_like, params) for _ in kept_times]
    (params, state, kept), _ = jax.lax.scan(step, start, batches)
    # Corrected for their start at zero.
    kept = [
        jax.tree.map(lambda x, t=t: x / (1 - np.exp(-n / t)), e)
        for e, t in zip(kept, kept_times, strict=True)
    ]
    return params, state, kept


# %% [markdown]
# ## The accuracy of all averages
#
# `readout` takes weights that are traced: all profiles are evaluated in one compiled call. The line is read from the chain, the dots were
# kept in the same trainings; a time of 2 n is nearly the plain mean. Bands and bars are ± the standard error of the gain over five seeds. Which time is best is seen on validation data.

# %%
parts = np.geomspace(0.002, 2, 31)
matrix = jnp.array(
    [chain.averaging(profiles.Exponential(n * part), n, **listening).weights for part in parts]
)


@jax.jit
def evaluate(params, state, x, y):
    return jax.lax.map(lambda weights: accuracy(readout(state, params, weights), x, y), matrix)


seeds = range(2 if small else 5)
trained = [train(seed) for seed in seeds]
read = np.stack([evaluate(params, state, x_test, y_test) for params, state, _ in trained])
validated = np.stack([evaluate(params, state, x_validation, y_validation) for params, state, _ in trained])
kept = np.array([[accuracy(average, x_test, y_test) for average in averages] for _, _, averages in trained])
ends = np.array([accuracy(params, x_test, y_test) for params, _, _ in trained])


def gain(accuracies):
    """Mean and standard error of the points above the last weights, paired by seed."""
    gains = accuracies - ends[:, None]
    return gains.mean(axis=0), gains.std(axis=0, ddof=1) / np.sqrt(len(gains))


fig, ax = plt.subplots(figsize=(6, 3.6))
mean, sem = gain(read)
ax.fill_between(parts, mean - sem, mean + sem, color=ORANGE, alpha=0.25, lw=0)
ax.semilogx(parts, mean, color=ORANGE, label="read from the chain afterwards")
ax.errorbar(kept_times / n, *gain(kept), fmt="o", color=BLUE, label="kept during the training")
ax.axhline(0, color="black", ls=":", label="the last weights")
ax.set(xlabel="time of the average / training", ylabel="gain in test accuracy (points)")
ax.legend(loc="lower left")
fig.tight_layout()

chosen = validated.argmax(axis=1)
best = read[np.arange(len(read)), chosen]
print(f"last weights {ends.mean():.1f} %, chosen on validation data {best.mean():.1f} %")
print("chosen times / training:", ", ".join(f"{parts[i]:.2g}" for i in chosen))
at_kept = np.array([[np.interp(np.log(t / n), np.log(parts), row) for t in kept_times] for row in read])
for part, difference in zip(kept_times / n, np.abs(at_kept - kept).max(axis=0), strict=True):
    print(f"time {part:g} n: read and kept differ by at most {difference:.2f} points in any seed")

# %% [markdown]
# ## What an average does
#
# The same training, twice: the classes that the last weights see in the plane, and those of the average.

# %%
params, state, _ = trained[0]
average = readout(state, params, matrix[chosen[0]])
grid = jnp.stack(jnp.meshgrid(jnp.linspace(-1.1, 1.1, 300), jnp.linspace(-1.1, 1.1, 300)), axis=-1)
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.7))
for ax, (name, weights) in zip(
    axes, {"the last weights": params, "the average": average}.items(), strict=True
):
    classes = logits(weights, grid.reshape(-1, 2)).argmax(axis=1).reshape(300, 300)
    ax.contourf(
        grid[..., 0],
        grid[..., 1],
        classes,
        levels=[-0.5, 0.5, 1.5, 2.5],
        colors=[ORANGE, BLUE, GREEN],
        alpha=0.3,
    )
    for arm, color in enumerate((ORANGE, BLUE, GREEN)):
        ax.plot(*x_test[:900][y_test[:900] == arm].T, ".", color=color, markersize=2)
    ax.set(title=f"{name}: {accuracy(weights, x_test, y_test):.1f} %", aspect="equal", xticks=[], yticks=[])
fig.tight_layout()

# %% [markdown]
# ## And the training?
#
# It was the one that it would have been without the chain, to the last bit:


# %%
@jax.jit
def train_alone(seed):
    first, second = jax.random.split(jax.random.key(seed))
    adam = optax.adam(0.01)

    def step(carry, batch):
        params, state = carry
        updates, state = adam.update(jax.grad(loss)(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = network(first)
    batches = jax.random.randint(second, (n, 16), 0, len(x_train))
    return jax.lax.scan(step, (params, adam.init(params)), batches)[0][0]


jax.tree.map(np.testing.assert_array_equal, train_alone(0), trained[0][0])
print("the weights are the same")

# %% [markdown]
# What it costs beside averages that are kept in every step, which chain to take, and what rounding does:
# [averages of past weights](../docs/averages.md). Recipes for Flax NNX, Equinox, target networks and diffusion models:
# [recipes](../docs/recipes/weight-averages.md).
