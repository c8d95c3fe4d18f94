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
# # Memory curves: how long does a complex synapse remember?
#
# Benna & Fusi (2016) asked how many random memories a population of synapses can hold when new ones keep coming, and
# found that a chain of variables with slower and slower timescales holds almost as many as there are synapses. Here
# their results come out of the optimizer that trains networks: every curve that says "measured" is made by
# `optax.chain(optax.sgd(1.0), complex_synapse(...))`, one update after another.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import optax

from cs_optax import BeakerChain, complex_synapse
from cs_optax.memory import (
    bistable,
    cascade,
    discrete_synapse,
    exponential_envelope,
    hebbian,
    impulse_response,
    lifetime,
    optimal_n_beakers,
    simulate,
    slope,
)

ORANGE, BLUE, GREEN, PINK, YELLOW = "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False})

# %% [markdown]
# ## A power law
#
# We change a weight by one unit and then send it no gradient at all. With one beaker it forgets exponentially: all at
# once, when its only timescale has passed. With K beakers whose timescales lie a factor 4 apart it follows
# $x^{-1/4}\sqrt{\alpha/\pi t}$ from $\alpha$ to $\beta$. A memory of yesterday is then weaker than one of an hour ago, but it
# is there. Dots are measured, lines are the exact solution.

# %%
fig, ax = plt.subplots(figsize=(6, 3.6))
for n_beakers, color in ((1, "gray"), (4, YELLOW), (6, ORANGE), (8, BLUE)):
    alpha = 512.0 if n_beakers == 1 else 8.0  # one beaker: a timescale in the middle
    chain = BeakerChain.from_timescales(n_beakers, alpha, alpha * 4.0 ** (n_beakers - 1))
    tx = optax.chain(optax.sgd(1.0), complex_synapse(chain=chain))
    times = np.unique(np.geomspace(1, 200_000, 25).round().astype(int))
    smooth = np.geomspace(1, 300_000, 300)
    ax.loglog(smooth, chain.impulse_response(smooth), color=color, label=f"K = {n_beakers}")
    ax.loglog(times, impulse_response(tx, times), "o", color=color, markersize=3.5)
law = np.geomspace(8, 131_072, 10)
ax.loglog(
    law, 2**-0.25 * np.sqrt(8 / (np.pi * law)), ":", color="black", label=r"$x^{-1/4}\sqrt{\alpha/\pi t}$"
)
ax.set(xlabel="updates since", ylabel="fraction left in the weight", ylim=(2e-3, 1.3))
ax.legend()
fig.tight_layout()

chain = BeakerChain.benna_fusi(8)
times = np.geomspace(8, chain.timescales()[-1], 100)
print(f"slope from alpha to beta, K = 8: {slope(times, chain.impulse_response(times)):.3f}")

# %% [markdown]
# ## Signal and noise
#
# Now memories keep coming, one in every update: random patterns of ±1 over all synapses. A pattern is remembered as
# long as its overlap with the weights can be told from that of a pattern that was never stored. `simulate` stores
# patterns and measures both; the theory says $SNR(t)=\sqrt{N}\,r(t)/\mathrm{sd}(u_1)$.
#
# Real synapses cannot hold any number. With 32 levels for each variable, and random steps between them, a fifth of the
# SNR is lost and the power law stays; with 16 levels old memories are lost.

# %%
n_synapses, n_memories, n_trials = 2048, 12_000, 4
chain = BeakerChain.benna_fusi(5)
ages = np.unique(np.geomspace(1, 1000, 16).round().astype(int))
population = {"n_memories": n_memories, "n_trials": n_trials, "read_every": 4}
models = {
    "continuous": (complex_synapse(chain=chain), ORANGE, "o"),
    "32 levels": (discrete_synapse(chain, 32), BLUE, "s"),
    "16 levels": (discrete_synapse(chain, 16), PINK, "^"),
}
fig, ax = plt.subplots(figsize=(6, 3.6))
smooth = np.geomspace(1, 3000, 200)
theory = math.sqrt(n_synapses / (chain.variance(1.0) - 1)) * chain.impulse_response(smooth)
ax.loglog(smooth, theory, color="black", lw=0.8, label="theory")
for name, (synapse, color, mark) in models.items():
    recall = simulate(optax.chain(optax.sgd(1.0), synapse), n_synapses, ages, **population)
    snr, sem = recall.snr.mean(axis=0), recall.snr.std(axis=0, ddof=1) / math.sqrt(n_trials)
    ax.errorbar(ages, snr, sem, color=color, fmt=mark, markersize=4, label=f"{name}, measured")
ax.axhline(1, color="black", lw=0.6, ls=":")
ax.set(xlabel="age of the memory", ylabel="SNR", ylim=(0.2, 20))
ax.legend(title=f"{n_synapses} synapses, ± SEM of {n_trials} trials")
fig.tight_layout()

# %% [markdown]
# ## How long?
#
# The lifetime of a memory is the age at which its SNR falls to 1. More beakers carry the power law further, but add noise,
# which grows with the logarithm of $\beta$. With the best number for each N memories live for about $1.05\,N/\ln N$: almost
# as many memories as synapses. Two-state synapses keep $0.37\sqrt{N}$, cascades of states (Fusi, Drew & Abbott 2005) about
# $\sqrt{N}$.

# %%
sizes = np.array([10**k for k in range(3, 8)])
lifetimes = {
    "complex synapse, best K": [optimal_n_beakers(int(n)).lifetime for n in sizes],
    "cascade, best depth": [max(lifetime(cascade(k), int(n)) for k in range(3, 14)) for n in sizes],
    "bistable, best probability": [lifetime(bistable(math.e / math.sqrt(n)), int(n)) for n in sizes],
}
fig, ax = plt.subplots(figsize=(6, 3.6))
for (name, values), color, line in zip(
    lifetimes.items(), (ORANGE, GREEN, BLUE), ("-", "-.", "--"), strict=True
):
    ax.loglog(sizes, values, color=color, ls=line, marker="o", markersize=4, label=name)
ax.loglog(sizes, 1.05 * sizes / np.log(sizes), color="black", lw=0.8, ls=":", label="1.05 N / ln N")
ax.set(xlabel="synapses N", ylabel="lifetime (memories)")
ax.legend()
fig.tight_layout()
for n in sizes:
    print(f"N = {n:>8}: best K = {optimal_n_beakers(int(n)).n_beakers}")

# %% [markdown]
# ## What it does not say
#
# A single exponential with one well-chosen timescale, and weights that may grow without bounds, lives *longer* than the
# complex synapse: $N/e$. But it must be told in advance for how long to remember: set for old memories, it is weak for all
# of them; set for young ones, it has no old ones. The envelope of all such exponentials, each at the age where it is best,
# is about twice as high as the one complex synapse, from $\alpha$ to $\beta$.

# %%
n_synapses = 1_000_000
ages = np.unique(np.geomspace(1, 1e6, 200).round())
fig, ax = plt.subplots(figsize=(6, 3.6))
synapse = BeakerChain.benna_fusi(8)
ax.loglog(ages, synapse.snr(ages, n_synapses, dt=1.0), color=ORANGE, lw=2, label="complex synapse, K = 8")
for timescale in (20.0, 2000.0, 200_000.0):
    one = BeakerChain.from_timescales(1, timescale, timescale)
    label = "single exponentials" if timescale == 20 else None
    ax.loglog(ages, one.snr(ages, n_synapses, dt=1.0), color=BLUE, ls="--", label=label)
envelope = exponential_envelope(ages, n_synapses)
ax.loglog(ages, envelope, color="black", lw=0.8, label="all single exponentials")
ax.loglog(ages, cascade(12).snr(ages, n_synapses), color=GREEN, ls="-.", label="cascade, 12 levels")
ax.axhline(1, color="black", lw=0.6, ls=":")
ax.set(xlabel="age of the memory", ylabel="SNR", ylim=(0.3, 1000))
ax.legend()
fig.tight_layout()

# %% [markdown]
# ## A network that knows what it has seen
#
# The same in a network: a Hopfield network of n neurons changes the weight between each two of them by the product of their
# activities. Familiarity, the sum of weights times products, is read from the same optimizer: `rule=hebbian` is all that
# changes, and the number of synapses is $n(n-1)/2$.

# %%
neurons = 100
n_synapses = neurons * (neurons - 1) // 2
best = optimal_n_beakers(n_synapses)
chain = BeakerChain.benna_fusi(best.n_beakers)
tx = optax.chain(optax.sgd(1.0), complex_synapse(chain=chain))
ages = np.unique(np.geomspace(1, best.lifetime, 12).round().astype(int))
recall = simulate(tx, neurons, ages, n_memories=8000, n_trials=4, read_every=4, rule=hebbian)
fig, ax = plt.subplots(figsize=(6, 3.6))
smooth = np.geomspace(1, 2 * best.lifetime, 200)
theory = math.sqrt(n_synapses / (chain.variance(1.0) - 1)) * chain.impulse_response(smooth)
ax.loglog(smooth, theory, color="black", lw=0.8, label="theory, independent synapses")
ax.loglog(ages, recall.snr.mean(axis=0), "o", color=ORANGE, label="measured, Hopfield network")
ax.axhline(1, color="black", lw=0.6, ls=":")
ax.axvline(best.lifetime, color="gray", lw=0.6, ls=":")
ax.set(xlabel="age of the pattern", ylabel="SNR of familiarity")
ax.legend()
fig.tight_layout()
print(
    f"{neurons} neurons, {n_synapses} synapses, K = {best.n_beakers}: familiar for {best.lifetime:.0f} patterns"
)

# %% [markdown]
# Every claim, with its target, what was measured, and larger populations: `python -m experiments.claims --all`.
