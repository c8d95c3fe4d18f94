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
# One line more in the optimizer, and each weight of a network becomes the first of a chain of beakers (Benna & Fusi
# 2016). We look at how such a weight remembers, train a small network with it, and look into the beakers.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

from cs_optax import BeakerChain, complex_synapse, get_beakers

# %% [markdown]
# ## How a weight remembers
#
# A single update, and then nothing more: how much of it is left after t iterations? We ask the optimizer itself. With one
# beaker the weight forgets exponentially; with eight it follows a power law, $1/\sqrt{t}$, from $\alpha$ to $\beta$.

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
fig, ax = plt.subplots(figsize=(5.5, 3.5))
one_beaker = complex_synapse(n_beakers=1, beta=500.0)
ax.loglog(times, remembered(one_beaker, steps), color="#0072B2", ls="--", label="1 beaker, timescale 500")
eight = complex_synapse(n_beakers=8, alpha=alpha, beta=beta)
ax.loglog(times, remembered(eight, steps), color="#D55E00", label="8 beakers, 10 to 20 000")
ax.loglog(times, chain.impulse_response(times), color="black", lw=0.8, ls=":", label="exact solution")
ax.set(xlabel="iterations since the update", ylabel="fraction left", ylim=(3e-3, 1.3))
ax.legend(frameon=False)
fig.tight_layout()

# %% [markdown]
# ## Train a network with it
#
# A Flax NNX model learns to tell even digits from odd ones, first among 0 to 4, then among 5 to 9. Nothing about the model
# changes; the synapse stands last in the chain.


# %%
class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(64, 100, rngs=rngs)
        self.out = nnx.Linear(100, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


digits = load_digits()
x, y = jnp.asarray(digits.data / 16, jnp.float32), jnp.asarray(digits.target % 2)
first, second = np.flatnonzero(digits.target < 5), np.flatnonzero(digits.target >= 5)


def train(tx, seed=0, iterations=400):
    """Accuracy on the first digits while the first and then the second are learned, and the state."""
    graph, params = nnx.split(Net(nnx.Rngs(seed)), nnx.Param)
    random = np.random.default_rng(seed)
    batches = np.concatenate([random.choice(group, (iterations, 64)) for group in (first, second)])

    def loss(params, batch):
        logits = nnx.merge(graph, params)(x[batch])
        return optax.softmax_cross_entropy_with_integer_labels(logits, y[batch]).mean()

    def step(carry, batch):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params, batch), state, params)
        params = optax.apply_updates(params, updates)
        right = nnx.merge(graph, params)(x[first]).argmax(axis=1) == y[first]
        return (params, state), right.mean()

    return jax.lax.scan(step, (params, tx.init(params)), jnp.asarray(batches))


adam = optax.adam(1e-3)
(_, _), without = train(adam)
(params, state), with_synapse = train(
    optax.chain(adam, complex_synapse(n_beakers=6, alpha=alpha, beta=10_000.0))
)
fig, ax = plt.subplots(figsize=(5.5, 3.2))
ax.plot(without, color="#0072B2", ls="--", label="Adam")
ax.plot(with_synapse, color="#D55E00", label="Adam, then complex synapses")
ax.axvline(400, color="0.8", zorder=0)
ax.set(xlabel="iteration", ylabel="accuracy on digits 0 to 4")
ax.legend(frameon=False, loc="lower left")
fig.tight_layout()

# %% [markdown]
# Here the synapse learns more slowly and keeps no more in the end. One seed and one setting prove nothing, in either direction:
# `python -m experiments.compare` compares over many seeds, paired, with intervals.
#
# ## Look into the beakers
#
# The parameters are the first beaker. The others are in the optimizer state, each a tree like the parameters. The slower a
# beaker, the less it has moved from where it began.

# %%
start = nnx.split(Net(nnx.Rngs(0)), nnx.Param)[1]
for k, beaker in enumerate([params, *get_beakers(state)], start=1):
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, beaker, start))
    print(f"u_{k}: moved by {float(moved):7.4f} since the beginning")
