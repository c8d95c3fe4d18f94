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
# # Your own model: two sessions, a checkpoint between them, and a long night
#
# A network learns one half of a curve today and the other half tomorrow. The model is an Equinox module, the optimizer is
# yours, and the complex synapse is one line in it. On the way: synapses for some parameters only (`optax.partition`), a
# checkpoint (Orbax), time that passes without training (`relax`), and what the slow beakers know (`readout`).
#
# Equinox and Orbax come with `pip install -e ".[notebooks]"`.

# %%
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import orbax.checkpoint as ocp

from cs_optax import BeakerChain, complex_synapse, diagnose, readout, relax

ORANGE, BLUE, PURPLE, GREEN = "#D55E00", "#0072B2", "#332288", "#009E73"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})

# %% [markdown]
# ## The task
#
# The left half of the curve is session one, the right half is session two. While the right half is learned, nothing in the data
# says that the left half still matters.


# %%
def curve(x):
    return jnp.sin(3 * jnp.pi * x) * (1 - 0.5 * x)


class Net(eqx.Module):
    layers: eqx.nn.MLP
    frequencies: jax.Array

    def __init__(self, key):
        self.layers = eqx.nn.MLP(16, 1, 64, 2, activation=jax.nn.relu, key=key)
        self.frequencies = jnp.arange(1, 9) * jnp.pi / 2

    def __call__(self, x):
        angles = jax.lax.stop_gradient(self.frequencies) * x
        return self.layers(jnp.concatenate([jnp.sin(angles), jnp.cos(angles)]))[0]


net = Net(jax.random.key(0))
params, static = eqx.partition(net, eqx.is_inexact_array)


def predict(params, x):
    return jax.vmap(eqx.combine(params, static))(x)


# %% [markdown]
# ## The optimizer
#
# All that is learned gets Adam and a synapse; the frequencies are fixed. The labels are made from the parameters themselves, so
# that they fit whatever the model is. They are given as a function: a tree of labels would itself be a `Net`, which can be
# called, and Optax would call it. (Another chain for some layers would be one more entry.)

# %%
chain = BeakerChain.from_timescales(5, 10.0, 2560.0)


def labels(params):
    learned = jax.tree.map(lambda _: "learned", params)
    return eqx.tree_at(lambda net: net.frequencies, learned, "fixed")


def optimizer(*synapse):
    return optax.partition(
        {"learned": optax.chain(optax.adam(1e-3), *synapse), "fixed": optax.set_to_zero()}, labels
    )


plain = optimizer()
tx = optimizer(complex_synapse(chain=chain, leak="none"))
print(chain.closed().describe())


# %%
@eqx.filter_jit
def train(tx, params, state, low, high, keys):
    """One session; also the distance of each beaker from the weights on the way, where there are any."""

    def loss(params, x):
        return jnp.mean((predict(params, x) - curve(x)) ** 2)

    def step(carry, key):
        params, state = carry
        x = jax.random.uniform(key, (64,), minval=low, maxval=high)
        updates, state = tx.update(jax.grad(loss)(params, x), state, params)
        far = diagnose(state, params).distances if optax.tree.get(state, "beakers") else None
        return (optax.apply_updates(params, updates), state), far

    return jax.lax.scan(step, (params, state), keys)


first = {"low": -1.0, "high": 0.0, "keys": jax.random.split(jax.random.key(1), 3000)}
second = {"low": 0.0, "high": 1.0, "keys": jax.random.split(jax.random.key(2), 500)}
(evening, evening_state), far_first = train(tx, params, tx.init(params), **first)

# %% [markdown]
# ## Save, and restore in a new process
#
# A checkpoint holds the parameters **and** the optimizer state: the beakers are in it. To restore it no state is needed, only its
# shapes, which `jax.eval_shape(tx.init, params)` tells without computing anything.

# %%
folder = Path(tempfile.mkdtemp()) / "evening"
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(folder, {"params": evening, "state": evening_state})
    checkpointer.wait_until_finished()
    shapes = {"params": jax.eval_shape(lambda: params), "state": jax.eval_shape(tx.init, params)}
    restored = checkpointer.restore(folder, shapes)
morning, morning_state = restored["params"], restored["state"]
same = jax.tree.map(
    lambda a, b: bool(jnp.array_equal(a, b)), (evening, evening_state), (morning, morning_state)
)
print("restored bit by bit:", all(jax.tree.leaves(same)))

# %% [markdown]
# ## The second session, and what is left of the first
#
# Session two is short. Plain Adam learns the right half in it, and half of what it knew of the left one is gone. With synapses
# the weights are drawn back by what the beakers hold of session one, and find a place that is good for both.

# %%
(last, last_state), far_second = train(tx, morning, morning_state, **second)
(plain_evening, plain_state), _ = train(plain, params, plain.init(params), **first)
(plain_last, _), _ = train(plain, plain_evening, plain_state, **second)

x = jnp.linspace(-1, 1, 400)
left, right = x < 0, x > 0


def error(weights, where):
    return float(jnp.sqrt(jnp.mean((predict(weights, x[where]) - curve(x[where])) ** 2)))


fig, ax = plt.subplots(figsize=(7, 3.4))
ax.axvspan(-1, 0, color="0.95", zorder=0)
ax.plot(x, curve(x), color="black", lw=3, alpha=0.25, label="the curve")
ax.plot(x, predict(plain_last, x), color=BLUE, ls="--", label="plain Adam")
ax.plot(x, predict(last, x), color=ORANGE, label="with complex synapses")
ax.set(xlabel="x", ylabel="prediction after session two", ylim=(-2.2, 2.2))
ax.text(-0.98, -2.05, "session one", color="0.4")
ax.text(0.02, -2.05, "session two", color="0.4")
ax.legend(ncols=3, loc="upper center")
fig.tight_layout()

# %% [markdown]
# One network proves nothing. Five others, each with other initial weights (the data are the same):

# %%
errors = {"plain Adam": [], "with complex synapses": []}
for seed in range(1, 6):
    start = eqx.filter(Net(jax.random.key(seed)), eqx.is_inexact_array)
    for name, one in (("plain Adam", plain), ("with complex synapses", tx)):
        (middle, state), _ = train(one, start, one.init(start), **first)
        (end, _), _ = train(one, middle, state, **second)
        errors[name].append((error(end, left), error(end, right)))
print("root mean square error          session one    session two   (mean ± standard error of five)")
for name, of_seeds in errors.items():
    mean, sem = np.mean(of_seeds, axis=0), np.std(of_seeds, axis=0, ddof=1) / np.sqrt(5)
    print(f"{name:<28}" + "".join(f"{m:>9.3f} ± {e:.3f}" for m, e in zip(mean, sem, strict=True)))

# %% [markdown]
# ## What each beaker knows
#
# `readout` gives the weights of any beaker, or of any mixture of them, as a tree to predict with. The slower the beaker, the less
# of the new it has taken up, and the more it lags behind also in the old: here the visible weights are the best to
# evaluate. (Where many tasks follow one another a slow beaker may be much better:
# [every method tuned](../experiments/README.md#every-method-tuned).)

# %%
beakers = range(1, chain.n_beakers + 1)
held = [readout(last_state, last, np.eye(chain.n_beakers)[k - 1]) for k in beakers]
fig, (a, b) = plt.subplots(1, 2, figsize=(9, 3.2))
for where, color, mark, name in ((left, PURPLE, "o", "session one"), (right, GREEN, "s", "session two")):
    a.plot(beakers, [error(weights, where) for weights in held], color=color, marker=mark, label=name)
a.set(xlabel="beaker that is read", ylabel="root mean square error", xticks=list(beakers))
a.legend()
far = np.concatenate([far_first, far_second])
for k in range(1, chain.n_beakers):
    b.plot(far[:, k], color=plt.cm.viridis(k / chain.n_beakers), label=f"$u_{k + 1}$")
b.axvline(len(far_first), color="0.8", zorder=0)
b.set(xlabel="iteration", ylabel="distance from the visible weights")
b.legend(ncols=2)
fig.tight_layout()

# %% [markdown]
# ## A night
#
# Time can pass without training: a robot is switched off, a subject sleeps. `relax` lets contents flow for as long as you
# like in one exact step. All beakers come to the same mean of what they held, weighted by capacity. Here that costs in both
# halves: the mean of two networks does not compute the mean of their functions. What sleep is good for in brains needs more than
# this, such as replay.

# %%
nights = np.geomspace(10, 100_000, 21)
slept = [relax(last_state, last, duration)[0] for duration in nights]
fig, ax = plt.subplots(figsize=(6, 3.4))
for where, color, mark, name in ((left, PURPLE, "o", "session one"), (right, GREEN, "s", "session two")):
    ax.semilogx(
        nights, [error(weights, where) for weights in slept], color=color, marker=mark, ms=4, label=name
    )
    ax.axhline(error(last, where), color=color, lw=0.8, ls=":")
ax.set(xlabel="time without training (iterations)", ylabel="root mean square error")
ax.legend(title="visible weights; dotted: before")
fig.tight_layout()
