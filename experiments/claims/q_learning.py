"""Tabular Q(λ) with a goal that moves between two corners: the table as an Optax parameter.

A walker in a square grid is rewarded with 1 at the goal, where its episode ends; the next one begins in
a random cell. The goal alternates between two opposite corners, phase by phase, and nobody says so. The
table is learned by naive Q(λ) with replacing traces: after each step ``e = γ λ e``, ``e[s, a] = 1`` and

    Q += lr · (r + γ max_a' Q[s', a'] - Q[s, a]) · e

whose last factors are minus the gradient that the optimizer gets (Kaplanis, Shanahan & Clopath 2018).
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.figure import Figure

from cs_optax import complex_synapse
from experiments.claims.grid import MOVES, leads_to, one_step, transitions
from experiments.claims.outcome import Outcome, Row
from experiments.claims.style import CURVES
from experiments.lab.figures import STYLE, panels
from experiments.lab.results.statistics import estimate, standard_error

GOOD = 0.95  # share of cells from which a good policy leads to the goal
FIRST_COUNTED = 2  # phases before it are the first with each goal
SKETCH = {0.1: 2.3, 0.3: 1.8, 1.0: 1.2}  # how many times sooner, at each learning rate
N_BEAKERS, ALPHA = 5, 1e5  # steps; x = 2


def _complex(rate: Any) -> optax.GradientTransformation:
    # Link 1 flows every 67 steps, link 2 every 2700 or so: errors below 0.1 % and below 1 %.
    beta = ALPHA * 4.0 ** (N_BEAKERS - 1)
    synapse = complex_synapse(N_BEAKERS, ALPHA, beta, visible_resolution=1e-3, resolution=0.01)
    return optax.chain(optax.sgd(rate), synapse)


def _decay(rate: Any) -> optax.GradientTransformation:
    # One beaker: weights decay at the rate at which the first link drains them, and nothing is kept.
    return optax.chain(optax.sgd(rate), complex_synapse(n_beakers=1, beta=ALPHA, visible_resolution=1e-3))


METHODS = {"plain": optax.sgd, "complex": _complex, "decay": _decay}
LABELS = {"plain": "plain", "complex": "complex synapses", "decay": "decay alone"}


class Walk(NamedTuple):
    """What a walk gave, evaluation by evaluation.

    Attributes:
        good: ``[evaluations, walkers]``, share of cells from which the greedy policy leads to the goal.
        goals: ``[evaluations, walkers]``, goals reached since the last evaluation.
    """

    good: np.ndarray
    goals: np.ndarray


class Found(NamedTuple):
    """What a method does with a learning rate, in the phases that count.

    Attributes:
        walk: of all seeds, in all phases.
        times: steps to a good policy, mean over phases ``[seeds]``.
        goals: reached ``[seeds]``.
        missed: phases without a good policy ``[seeds]``.
    """

    walk: Walk
    times: np.ndarray
    goals: np.ndarray
    missed: np.ndarray


Learned = dict[tuple[float, str], Found]  # by the learning rate and the method's name


def measure(
    seed: int,
    *,
    n_seeds: int = 10,
    n_phases: int = 24,
    phase: int = 40_000,
    side: int = 10,
    every: int = 200,
) -> Outcome:
    """Measure how soon a good policy is found again after the goal has moved, with and without synapses.

    Decay alone, with the time constant ``alpha``, tells how much of a gain is forgetting.

    A policy is good where its greedy moves lead to the goal from 95 % of all cells. That is looked at every
    ``every`` steps; a phase in which it never is counts as a whole phase. A seed's time is the mean over all
    phases but the first two. Runs with the same seed are paired; a ratio's interval is that of the
    mean of the logarithms.

    Args:
        seed: of the first walker; others have the seeds after it.
        n_seeds: walkers, each with a table of its own.
        n_phases: times that the goal is in one of the corners, at least 3.
        phase: steps in each.
        side: of the grid, in cells.
        every: steps between two looks at the policy; must divide ``phase``.
    """
    sizes = {"n_seeds": n_seeds, "n_phases": n_phases, "phase": phase, "side": side, "every": every}
    learned = _learned(seed, **sizes)
    rows, ratios = _compared(learned)
    numbers: dict[str, Any] = {
        f"{name}, learning rate {rate:g}": {
            "steps to a good policy": one.times.tolist(),
            "phases without one": one.missed.tolist(),
            "goals reached": one.goals.tolist(),
        }
        for (rate, name), one in learned.items()
    }
    numbers["ratios"] = ratios
    return Outcome(rows, numbers, {"q-learning": _figure(learned, phase, every)})


def _learned(seed: int, *, n_seeds: int, n_phases: int, phase: int, side: int, every: int) -> Learned:
    """Let all methods learn with all learning rates: the arguments are those of `measure`."""
    learned: Learned = {}
    rates = jnp.repeat(jnp.array(list(SKETCH)), n_seeds)[:, None, None]
    for name, optimizer in METHODS.items():
        together = run(
            optimizer(rates),
            seed,
            repeats=len(SKETCH),
            n_seeds=n_seeds,
            n_phases=n_phases,
            phase=phase,
            side=side,
            every=every,
        )
        for place, rate in enumerate(SKETCH):
            own = slice(place * n_seeds, (place + 1) * n_seeds)
            walk = Walk(together.good[:, own], together.goals[:, own])
            best = walk.good.reshape(n_phases, -1, n_seeds)[FIRST_COUNTED:].max(axis=1)
            learned[rate, name] = Found(
                walk,
                times=steps_to_good(walk.good, n_phases, every)[FIRST_COUNTED:].mean(axis=0),
                goals=walk.goals.reshape(n_phases, -1, n_seeds)[FIRST_COUNTED:].sum(axis=(0, 1)),
                missed=(best < GOOD).sum(axis=0),
            )
    return learned


def _compared(learned: Learned) -> tuple[list[Row], dict[str, Any]]:
    """The rows of the table, and the ratios in them."""
    rows: list[Row] = []
    ratios = {}

    def compare(claim: str, target: str, first: np.ndarray, second: np.ndarray, more: str = "") -> None:
        """A row with the geometric mean of paired ratios, first over second, and its 95 % interval."""
        found = estimate(np.log(first / second))
        low, high = np.exp(found.ci95)
        rows.append(Row(claim, target, f"{math.exp(found.mean):.2f} × ({low:.2f} to {high:.2f}){more}"))
        ratios[claim] = {"ratio": math.exp(found.mean), "ci95": [low, high]}

    for rate, sketch in SKETCH.items():
        plain, synapse, decay = (learned[rate, name].times for name in METHODS)
        more = f"; {plain.mean():.0f} against {synapse.mean():.0f} steps"
        claim = f"steps to a good policy, plain over complex synapses, learning rate {rate:g}"
        compare(claim, f"sketch: {sketch} ×", plain, synapse, more)
        compare(f"the same, plain over decay alone, learning rate {rate:g}", "reported", plain, decay)
        claim = f"goals reached, complex synapses over plain, learning rate {rate:g}"
        compare(claim, "reported", learned[rate, "complex"].goals, learned[rate, "plain"].goals)
    of_plain, fastest = (
        min(SKETCH, key=lambda rate: learned[rate, name].times.mean()) for name in ("plain", "complex")
    )
    claim = f"the same, each at its best learning rate (plain {of_plain:g}, complex synapses {fastest:g})"
    compare(
        claim.replace("the same", "steps to a good policy"),
        "reported",
        learned[of_plain, "plain"].times,
        learned[fastest, "complex"].times,
    )
    return rows, ratios


def run(
    tx: optax.GradientTransformation,
    seed: int,
    *,
    repeats: int = 1,
    n_seeds: int,
    n_phases: int,
    phase: int,
    side: int,
    every: int,
) -> Walk:
    """Let walkers learn, each its own table, with one optimizer for all ``[walkers, cells, moves]``.

    Each seed walks ``repeats`` times, all seeds in turn.
    """
    n_cells, n_walkers = side * side, repeats * n_seeds
    following = jnp.asarray(transitions(side))
    corners = jnp.array([0, n_cells - 1])

    def step(i: jax.Array, carry: Any, goal: jax.Array) -> Any:
        keys, table, state, trace, cell, goals = carry
        now = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, i)
        gradient, trace, cell, reached = jax.vmap(one_step, in_axes=(0, 0, 0, 0, None, None))(
            now, table, trace, cell, goal, following
        )
        updates, state = tx.update(gradient, state, table)
        return keys, optax.apply_updates(table, updates), state, trace, cell, goals + reached

    def until_evaluation(carry: Any, look: jax.Array) -> Any:
        goal = corners[look * every // phase % 2]
        carry = jax.lax.fori_loop(look * every, (look + 1) * every, partial(step, goal=goal), carry)
        *rest, goals = carry
        good = jax.vmap(lambda table: leads_to(table, goal, following))(rest[1])
        return (*rest, jnp.zeros_like(goals)), (good, goals)

    @jax.jit
    def learn(keys: jax.Array) -> Any:
        table = jnp.zeros((n_walkers, n_cells, len(MOVES)))
        cell = jnp.full(n_walkers, n_cells // 2)
        carry = keys, table, tx.init(table), jnp.zeros_like(table), cell, jnp.zeros(n_walkers, jnp.int32)
        return jax.lax.scan(until_evaluation, carry, jnp.arange(n_phases * phase // every))[1]

    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(seed, seed + n_seeds), repeats))
    good, goals = learn(keys)
    return Walk(np.asarray(good), np.asarray(goals))


def steps_to_good(good: np.ndarray, n_phases: int, every: int) -> np.ndarray:
    """Steps until the policy is good, ``[phases, seeds]``; all of a phase where it never is."""
    of_phase = good.reshape(n_phases, -1, good.shape[1]) >= GOOD
    first = np.where(of_phase.any(axis=1), of_phase.argmax(axis=1) + 1, of_phase.shape[1])
    return first * every


@matplotlib.rc_context(STYLE)
def _figure(learned: Learned, phase: int, every: int) -> Figure:
    figure, (left, right) = panels(
        ["after the goal has moved, learning rate 0.1", "steps to a good policy, each seed"]
    )
    ages = np.arange(1, phase // every + 1) * every
    styles = dict(zip(("complex", "plain", "decay"), CURVES, strict=False))
    for name, (color, line) in styles.items():
        good = learned[0.1, name].walk.good
        by_phase = 100 * good.reshape(-1, phase // every, good.shape[1])[FIRST_COUNTED:].mean(axis=0)
        mean, spread = by_phase.mean(axis=1), standard_error(by_phase.T)
        left.plot(ages, mean, color=color, linestyle=line, label=LABELS[name])
        left.fill_between(ages, mean - spread, mean + spread, color=color, alpha=0.25, linewidth=0)
    left.axhline(100 * GOOD, color="black", linewidth=0.6, linestyle=":")
    left.set(xlabel="steps since", ylabel="cells led to the goal (%)", xscale="log", ylim=(0, 102))
    left.legend(title="± SEM over seeds")
    for place, rate in enumerate(SKETCH):
        places = place + np.array([-0.22, 0.0, 0.22])
        values = np.stack([learned[rate, name].times for name in ("plain", "decay", "complex")])
        right.plot(places, values, color="black", linewidth=0.4, alpha=0.4)
        for x, name, of_seeds in zip(places, ("plain", "decay", "complex"), values, strict=True):
            right.plot(np.full(len(of_seeds), x), of_seeds, "o", color=styles[name][0], markersize=3)
    right.set_xticks(range(len(SKETCH)), [f"{rate:g}" for rate in SKETCH])
    right.set(xlabel="learning rate", ylabel="steps", yscale="log")
    return figure
