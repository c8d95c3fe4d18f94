"""A weight that follows a drifting target, beside the best filter there is.

Each target is a sum of independent Ornstein-Uhlenbeck processes and is seen through noise, once an iteration.
The loss is ``(w - y)^2/2`` with the observation ``y``; what counts is the mean squared distance of the weight
to the target itself, just after it has learned from its newest observation. No filter that is linear in the
observations does better than Kalman's, which knows the processes and the noise.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cs_optax import complex_synapse
from experiments.claims.outcome import Outcome, Row
from experiments.claims.style import CURVES
from experiments.claims.targets import WORLDS, Trajectories, World, drifting, kalman_error, kalman_variance
from experiments.lab.figures import STYLE, panels
from experiments.lab.results.statistics import Estimate, estimate

RATES = tuple(np.geomspace(0.003, 0.8, 15).round(4).tolist())
ALPHAS = (2.0, 8.0, 32.0, 128.0, 512.0)  # iterations; x about 2
NEWEST = (0.03, 0.1, 0.3, 0.6)  # weight of the newest in the average of SGD's weights
LONGEST = 40_000.0  # beta, iterations
BANK = tuple(4.0**-k for k in range(1, 8))  # rates of averages to mix, as many as a synapse has beakers
TUNING = 1_000_003  # added to the seed for what settings are chosen with

# An optimizer for each of the learning rates [rates, 1, 1] at once.
Optimizer = Callable[[jax.Array], optax.GradientTransformation]


class Choice(NamedTuple):
    """The best settings of a method, by a run that is not measured with.

    Attributes:
        words: the settings.
        optimizer: the method's.
        place: of the learning rate.
        mixture: weights of the contents that are read, ``[contents]``.
    """

    words: str
    optimizer: Optimizer
    place: int
    mixture: np.ndarray


def measure(
    seed: int,
    *,
    n_seeds: int = 10,
    n_targets: int = 32,
    n_iterations: int = 40_000,
    alphas: tuple[float, ...] = ALPHAS,
) -> Outcome:
    """Measure the error of SGD, averages, and complex synapses, each at its best, over the Kalman filter's.

    The learning rate of each, ``alpha`` of complex synapses and the weight of the newest in averages are
    those of the least error with a seed that is not measured with. (An exponential moving average of the
    observations is SGD itself; what is averaged are SGD's weights.) Beside the visible weight, the best
    single beaker and the best fixed mixture of all beakers, a mixture of as many averages of the observations
    is fitted, to see what is the chain's doing. The first half of the iterations is not measured.

    Args:
        seed: of the targets.
        n_seeds: of measured runs.
        n_targets: targets in each, of as many weights.
        n_iterations: length of a run.
        alphas: shortest timescales of complex synapses to choose among.
    """
    rows: list[Row] = []
    numbers: dict[str, Any] = {}
    shown = []
    for world in WORLDS:
        tuning = drifting(world, [seed + TUNING], n_targets, n_iterations)
        measured = drifting(world, range(seed, seed + n_seeds), n_targets, n_iterations)
        choices, curves = _choose(tuning, alphas)
        optimum = kalman_error(world, measured)
        expected = kalman_variance(world)
        within = bool(abs(optimum.mean() / expected - 1) <= 0.02)
        claim = f"Kalman filter, simulated over theory, {world.name}"
        rows.append(Row(claim, "0.98 to 1.02", f"{optimum.mean() / expected:.3f}", within))
        errors = {}
        for name, choice in choices.items():
            errors[name] = _errors_of(choice, measured)
            ratio = estimate(errors[name] / optimum)
            claim = f"error over the Kalman filter's, {name} ({choice.words}), {world.name}"
            rows.append(Row(claim, "not below 1", _with_interval(ratio), ratio.ci95[1] >= 1))
        for name in ("complex synapse", "beakers mixed"):
            other = "SGD" if name == "complex synapse" else "averages mixed"
            ratio = estimate(errors[name] / errors[other])
            claim = f"error over that of {other}, {name}, {world.name}"
            rows.append(Row(claim, "reported", _with_interval(ratio)))
        numbers[world.name] = {
            "theory": expected,
            "Kalman filter": optimum.tolist(),
            **{
                name: {"settings": choices[name].words, "errors": values.tolist()}
                for name, values in errors.items()
            },
        }
        shown.append((world, curves, errors, optimum))
    figures = {f"drift-{len(one[0].timescales)}-timescales": _figure(*one) for one in shown}
    return Outcome(rows, numbers, figures)


def moments(optimizer: Optimizer, rates: tuple[float, ...], run: Trajectories) -> np.ndarray:
    """Second moments of what the optimizer holds, and of the target, over the second half of a run.

    Held are the weights, and the beakers or averages; the target comes last.
    ``[rates, seeds, contents + 1, contents + 1]``.
    """
    with jax.enable_x64(True):
        tx = optimizer(jnp.array(rates)[:, None, None])
        half = len(run.target) // 2

        @jax.jit
        def learn(seen: jax.Array, target: jax.Array) -> jax.Array:
            weights = jnp.zeros((len(rates), *seen.shape[1:]))

            def step(carry: Any, now: Any) -> Any:
                weights, state = carry
                y, x = now
                updates, state = tx.update(weights - y, state, weights)
                weights = optax.apply_updates(weights, updates)
                held = optax.tree.get(state, "beakers") or [
                    leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 3
                ]
                vector = jnp.stack([weights, *held, jnp.broadcast_to(x, weights.shape)])
                return (weights, state), vector

            def add(carry: Any, now: Any) -> Any:
                inner, total = carry
                inner, vector = step(inner, now)
                return (inner, total + jnp.einsum("krsn,lrsn->rskl", vector, vector)), None

            start = (weights, tx.init(weights))
            warm, _ = jax.lax.scan(
                lambda c, now: (step(c, now)[0], None), start, (seen[:half], target[:half])
            )
            size = jax.eval_shape(lambda: step(warm, (seen[0], target[0]))[1]).shape[0]
            total = jnp.zeros((len(rates), seen.shape[1], size, size))
            (_, total), _ = jax.lax.scan(add, (warm, total), (seen[half:], target[half:]))
            return total / seen[half:, 0].size

        return np.asarray(learn(jnp.asarray(run.seen), jnp.asarray(run.target)))


def error(moment: np.ndarray, mixture: np.ndarray) -> float:
    """Mean squared distance of a mixture of contents to the target, from their second moments."""
    vector = np.append(mixture, -1.0)
    return float(vector @ moment @ vector)


def _choose(run: Trajectories, alphas: tuple[float, ...]) -> tuple[dict[str, Choice], dict[str, list[float]]]:
    """The best settings of each method, and errors over the learning rate of some."""
    synapses: dict[str, Optimizer] = {f"alpha {alpha:g}, ": _synapse(alpha) for alpha in alphas}
    averages: dict[str, Optimizer] = {f"newest {one:g}, ": _averages((one,)) for one in NEWEST}
    plain: dict[str, Optimizer] = {"": optax.sgd}
    bank = _averages(BANK)
    found = {
        words: (optimizer, moments(optimizer, RATES, run)[:, 0])
        for group in (plain, synapses, averages)
        for words, optimizer in group.items()
    }
    # At a rate of 1 the weights are the observations.
    observed = moments(bank, (1.0,), run)[0, 0]
    curves = {
        words: [error(one, _single(one, 0)) for one in found[words][1]] for words in (*plain, *synapses)
    }
    choices = {
        "SGD": _best({"": found[""]}, (0,)),
        "average of its weights": _best({words: found[words] for words in averages}, (1,)),
        "complex synapse": _best({words: found[words] for words in synapses}, (0,)),
        "best single beaker": _best({words: found[words] for words in synapses}, range(20)),
        "beakers mixed": _best({words: found[words] for words in synapses}, None),
        "averages mixed": Choice(f"{len(BANK)} of the observations", bank, -1, _fitted(observed)),
    }
    return choices, curves


def _best(
    found: Mapping[str, tuple[Optimizer, np.ndarray]], contents: "tuple[int, ...] | range | None"
) -> Choice:
    """The settings, and the content or (where none is named) the mixture, of the least error."""
    candidates = []
    for words, (optimizer, of_rates) in found.items():
        for place, moment in enumerate(of_rates):
            n_contents = len(moment) - 1
            if contents is None:
                mixtures = [("", _fitted(moment))]
            else:
                read = [k for k in contents if k < n_contents]
                mixtures = [(f", u_{k + 1}" if len(read) > 1 else "", _single(moment, k)) for k in read]
            for which, mixture in mixtures:
                choice = Choice(f"{words}rate {RATES[place]:g}{which}", optimizer, place, mixture)
                candidates.append((error(moment, mixture), choice))
    return min(candidates, key=lambda pair: pair[0])[1]


def _single(moment: np.ndarray, k: int) -> np.ndarray:
    return np.eye(len(moment) - 1)[k]


def _fitted(moment: np.ndarray) -> np.ndarray:
    """The mixture of the least error."""
    return np.linalg.lstsq(moment[:-1, :-1], moment[:-1, -1], rcond=1e-12)[0]


def _errors_of(choice: Choice, run: Trajectories) -> np.ndarray:
    """Of each seed."""
    rates = (1.0,) if choice.place < 0 else (RATES[choice.place],)
    (of_seeds,) = moments(choice.optimizer, rates, run)
    return np.array([error(moment, choice.mixture) for moment in of_seeds])


def _synapse(alpha: float) -> Optimizer:
    n_beakers = max(2, 1 + round(np.log2(LONGEST / alpha) / 2))
    return lambda rates: optax.chain(optax.sgd(rates), complex_synapse(n_beakers, alpha, LONGEST))


def _averages(newest: tuple[float, ...]) -> Optimizer:
    """SGD that also keeps exponential moving averages of its weights, with these weights of the newest."""

    def optimizer(rates: jax.Array) -> optax.GradientTransformation:
        sgd = optax.sgd(rates)

        def init(params: jax.Array) -> Any:
            return sgd.init(params), [params for _ in newest]

        def update(updates: Any, state: Any, params: Any = None) -> Any:
            updates, inner = sgd.update(updates, state[0], params)
            moved = optax.apply_updates(params, updates)
            averages = [average + a * (moved - average) for a, average in zip(newest, state[1], strict=True)]
            return updates, (inner, averages)

        return optax.GradientTransformation(init, update)

    return optimizer


def _with_interval(found: Estimate) -> str:
    return f"{found.mean:.3f} ({found.ci95[0]:.3f} to {found.ci95[1]:.3f})"


@matplotlib.rc_context(STYLE)
def _figure(
    world: World, curves: dict[str, list[float]], errors: dict[str, np.ndarray], optimum: np.ndarray
) -> Figure:
    figure, (left, right) = panels([f"{world.name} iterations", "each method at its best"])
    _over_rates(left, curves, kalman_variance(world))
    for place, values in enumerate(errors.values()):
        right.plot(values / optimum, np.full(len(values), -place), "o", color=CURVES[0][0], markersize=3)
    right.axvline(1, color="black", linewidth=0.8, linestyle=":")
    right.set_yticks(-np.arange(len(errors)), list(errors))
    right.set(xlabel=f"error over the Kalman filter's, {len(optimum)} seeds")
    return figure


def _over_rates(panel: Axes, curves: dict[str, list[float]], optimum: float) -> None:
    shades = matplotlib.colormaps["Oranges"](np.linspace(0.4, 0.95, len(curves) - 1))
    for (words, values), color in zip(curves.items(), ["#0072B2", *shades], strict=True):
        label = f"synapse, {words.rstrip(', ')}" if words else "SGD"
        panel.semilogx(RATES, values, color=color, linestyle="solid" if words else "dashed", label=label)
    panel.axhline(optimum, color="black", linewidth=0.8, linestyle=":", label="Kalman filter")
    panel.set(xlabel="learning rate", ylabel="mean squared error", ylim=(0, 3 * optimum))
    panel.legend(fontsize=6, loc="lower left", ncols=2)  # below the Kalman filter is nothing
