"""``complex_synapse``: the beaker chain as an Optax gradient transformation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike

from cs_optax import _checks
from cs_optax._inputs import (
    check_parameter,
    check_update,
    copy_leaf,
    new_beaker,
    split_modulation,
    warn_of_coarse_parameters,
)
from cs_optax._kernel import sweep_on_gpu
from cs_optax._step import (
    Beakers,
    Links,
    advance_clocks,
    discharge,
    euler_coefficients,
    exchange,
    exchange_coefficients,
    kaplanis_times,
    links_due,
    new_clocks,
    sequential_euler,
    shares,
)
from cs_optax._xla import combine_seeds, leaf_seed, sweep
from cs_optax.chain import BeakerChain, Timescales, timescale_chain

INTERPRETED = partial(sweep_on_gpu, interpret=True)
Init = Any  # "same", "zero", a tree like the parameters, or (k, params) -> such a tree
Leak = Literal["zero", "none", "initial"]
Method = Literal["exchange", "sequential_euler"]
Kernel = Literal["auto", "never", "interpret"]
Backflow = Literal["always", "never", "kaplanis"] | Sequence[float] | jax.Array


class ComplexSynapseState(NamedTuple):
    """State of :func:`complex_synapse`.

    Attributes:
        n_updates: number of updates so far, int32. Schedules receive this number.
        clocks: shape ``[2, 1 + K]``, in the default float dtype. Column 0 is the time since initialisation.
            Column k is the charge :math:`q_k = ∫ g_k dt` since the last exchange of link k. Row 1 holds what
            rounding has kept out of row 0.
        chain: shape ``[3, K]``, in the default float dtype: the capacities ``C_k``, conductances ``g_k`` and
            recall ``ρ_k`` of the last update, or of initialisation.
        beakers: ``(u_2, …, u_K)``, each a tree like the parameters.
        initial: the initial parameters with ``leak="initial"``, otherwise None.
    """

    n_updates: jax.Array
    clocks: jax.Array
    chain: jax.Array
    beakers: Beakers
    initial: optax.Params | None


def complex_synapse(
    n_beakers: int | None = None,
    alpha: optax.ScalarOrSchedule | None = None,
    beta: optax.ScalarOrSchedule | None = None,
    *,
    chain: BeakerChain | Any = None,
    time_step: optax.ScalarOrSchedule = 1.0,
    init: Init = "same",
    leak: Leak = "zero",
    backflow: Backflow = "always",
    recall: optax.ScalarOrSchedule = 1.0,
    method: Method = "exchange",
    resolution: ArrayLike = 0.125,
    visible_resolution: ArrayLike = 0.0,
    beaker_dtype: DTypeLike | None = None,
    seed: ArrayLike = 0,
    kernel: Kernel = "auto",
) -> optax.GradientTransformationExtraArgs:
    r"""The complex synapse of Benna & Fusi (2016): a chain of beakers behind every parameter.

    The parameter is :math:`u_1`. The state holds the hidden beakers :math:`u_2 … u_K`. Each update first adds
    the input :math:`Δ` of the transformations before it to :math:`u_1`. Then the contents flow for the time
    ``time_step`` (Benna & Fusi 2016, eq. 4):

    .. math::
        C_k \frac{du_k}{dt} = g_{k-1}(u_{k-1} - u_k) + g_k(u_{k+1} - u_k), \qquad g_0 = 0,\; u_{K+1} = 0,

    with :math:`C_k = x^{k-1}`, :math:`g_k = x^{1-k}/α`, :math:`x = (β/α)^{1/(2K-2)}`. A change of the weight
    then decays as a power law, :math:`r(t) ≈ x^{-1/4}\sqrt{α/(πt)}` for :math:`α ≲ t ≲ β`. Without hidden
    beakers it would decay exponentially.

    The synapse must be the **last** transformation of an ``optax.chain``. A later one would change the flow
    out of the weights but not the flow into the beakers. ``update`` needs ``params``. It also moves weights
    whose input is zero.

    ``update`` accepts one extra argument, ``modulation``, which multiplies the time that passes: a number, or
    a tree of numbers or arrays that is a prefix of the parameters. With zero, no time passes. A single number
    does not change the cost of a step. With a tree, every link exchanges in that step, including what it
    still owes from earlier steps. If nothing is owed, zero leaves a parameter and its beakers unchanged.

    Args:
        n_beakers: number of beakers K, including the parameter. 0 is the identity. 1 is decay at the
            rate 1/``beta``.
        alpha: shortest timescale, in units of time: a number, a scalar array, or a schedule (a function of
            the number of updates).
        beta: longest timescale, likewise.
        chain: a :class:`BeakerChain` instead of ``n_beakers``, ``alpha`` and ``beta``. Its capacities and
            conductances may be traced. Or a tree of chains that is a prefix of the parameters; the state is
            then that of ``optax.partition``.
        time_step: time that passes in one update: a number, a scalar array, or a schedule, at least 0. With
            the default of 1, the unit of time is the iteration. Negative values of schedules and traced
            numbers count as 0.
        init: how hidden beakers start: as copies of the parameters ("same"), at "zero", as copies of a tree
            like the parameters, or as ``init(k, params)``, such a tree for beaker k = 2 … K.
        leak: where the last beaker leaks to: "zero" (as published), or the "initial" parameters (one more
            copy of them in the state). With "none", nothing leaks; the sum of :math:`C_k u_k` is then
            conserved if ``recall`` is 1 and everything flows back.
        backflow: which links also move their left beaker. With "always", all do. With "never", only the leak
            does: the chain listens, and the updates are bit for bit those of the transformations before it
            (XLA may round compiled float16 differently next to it). With a sequence of K - 1 times, link k
            does so in updates that start at its time since initialisation or later. "kaplanis" means
            the times :math:`(2^k - 1) C_1/g_1` of the code of Kaplanis et al. (2018), which has no leak.
        recall: factor on what flows back over links 1 … K-1, :math:`g_k ρ (u_{k+1} - u_k)`: a number, a
            scalar array, or a schedule, at least 0. Below 1, the weights recall less than is stored.
        method: "exchange" (operator splitting: exact for each link, stable for any time step, and each link
            only as often as it needs) or "sequential_euler" (the published scheme).
        resolution: threshold of "exchange" on the exchanged fraction. Link k ≥ 2 exchanges about when
            :math:`g_k s_k h` reaches it, with :math:`s_k = 1/C_k + 1/C_{k+1}` and h the time since its last
            exchange. With 0, every link exchanges in every update. For K ≥ 3, 1.5 ≤ x ≤ 2.5, ``alpha`` ≥ 8
            time steps and t ≤ ``beta``, the relative error of the impulse response is below 1.2 % at the
            default, and below 0.1 % at 0. At an ``alpha`` of one time step it is about 3 % at either.
        visible_resolution: the same threshold for link 1. With 0, link 1 exchanges in every update. Positive
            values save work if ``alpha`` is many time steps; the value v adds a relative error of up to
            0.8 v. It has no effect if ``resolution`` is 0, because link 1 never waits longer than link 2 may.
            Do not use it for parameters below float32: the chain does not receive what they lose by rounding
            between two exchanges.
        beaker_dtype: dtype of the beakers; by default that of the parameter, but at least float32. Beakers in
            float16 or bfloat16 are rounded stochastically, and are correct on average. It acts in ``init``: a
            restored state keeps its dtypes.
        seed: seed of the stochastic rounding, an integer, which may be traced. Give members of a ``jax.vmap``
            and shards of a ``jax.shard_map`` different seeds to round them independently.
        kernel: with "auto", an "exchange" that is compiled for a GPU computes the links that may rest in one
            kernel, which decides by itself which of them are due. Other platforms use loops, which would
            make the host of a GPU wait. The numbers are the same up to rounding. The kernel is not used for
            complex leaves, leaves of 8 bits, beakers in host memory, and derivatives. "never" disables it.
            "interpret" makes Pallas interpret it on any platform, slowly, for tests.

    Returns:
        An ``optax.GradientTransformationExtraArgs``. Its updates have the dtypes of the parameters. If
        nothing flows back, they keep the dtypes they came with. Its state is a :class:`ComplexSynapseState`.

    Raises:
        ValueError: if an argument is known and out of range; in ``init``, if a parameter is neither
            floating-point nor complex; in ``update``, if ``params`` is None, or if updates, state and
            parameters do not match.

    Warns:
        UserWarning: if x > 3, so that the power law ripples by more than 4.5 %; if "sequential_euler" may
            diverge; if the shortest timescale is more than 1e5 time steps, which suggests the unit of the
            learning rate; in ``init``, if parameters of low precision are too coarse for the chain; during
            compilation for a GPU, if its kernel is refused.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from cs_optax import complex_synapse, get_beakers
        >>> tx = optax.chain(optax.adam(1e-3), complex_synapse(n_beakers=8, alpha=10.0, beta=20_000.0))
        >>> params = {"w": jnp.ones(3)}
        >>> state = tx.init(params)
        >>> updates, state = tx.update({"w": jnp.ones(3)}, state, params)
        >>> params = optax.apply_updates(params, updates)
        >>> len(get_beakers(state))
        7

    References:
        Benna & Fusi, `Computational principles of synaptic memory consolidation
        <https://doi.org/10.1038/nn.4401>`_, Nature Neuroscience 19:1697-1706, 2016.

        Kaplanis, Shanahan & Clopath, `Continual reinforcement learning with complex synapses
        <https://arxiv.org/abs/1802.07239>`_, ICML 2018.
    """
    if chain is not None and not isinstance(chain, BeakerChain):
        options = {name: value for name, value in locals().items() if name != "chain"}
        return _partition_by_chain(chain, options)
    n_beakers, chain = _chain_of(n_beakers, alpha, beta, chain)
    synapse = _Synapse(
        n_beakers=n_beakers,
        timescales=(beta if n_beakers == 1 else alpha, beta),
        chain=chain.closed() if chain is not None and leak == "none" else chain,
        time_step=_checks.factor("time_step", time_step),
        init=_checks.initial_beakers("init", init),
        leak=_checks.option("leak", leak, ("zero", "none", "initial")),
        backflow=_checks.times("backflow", backflow, ("always", "never", "kaplanis"), n_beakers - 1),
        recall=_checks.factor("recall", recall),
        method=_checks.option("method", method, ("exchange", "sequential_euler")),
        resolutions=(
            _checks.threshold("resolution", resolution),
            _checks.threshold("visible_resolution", visible_resolution),
        ),
        beaker_dtype=_checks.float_dtype("beaker_dtype", beaker_dtype),
        seed=_checks.seed("seed", seed),
        kernel=_checks.option("kernel", kernel, ("auto", "never", "interpret")),
    )
    warn_of_pitfalls(synapse.chain, time_step, method)
    return optax.GradientTransformationExtraArgs(synapse.init_fn, synapse.update_fn)


@dataclasses.dataclass(frozen=True, eq=False)
class _Synapse:
    """The checked arguments of :func:`complex_synapse`. Without a ``chain``, the timescales may change."""

    n_beakers: int
    timescales: tuple[optax.ScalarOrSchedule | None, optax.ScalarOrSchedule | None]
    chain: BeakerChain | None
    time_step: optax.ScalarOrSchedule
    init: Init
    leak: str
    backflow: str | ArrayLike
    recall: optax.ScalarOrSchedule
    method: str
    resolutions: tuple[ArrayLike, ArrayLike]
    beaker_dtype: DTypeLike | None
    seed: ArrayLike
    kernel: str

    @property
    def is_closed(self) -> bool:
        """Whether nothing leaks. The leak of a chain of one beaker would move the weight."""
        known_closed = self.chain is not None and self.chain.is_closed
        return self.leak == "none" or known_closed or (self.n_beakers == 1 and self.listens)

    @property
    def listens(self) -> bool:
        """Whether nothing ever flows back."""
        return isinstance(self.backflow, str) and self.backflow == "never"

    @property
    def keeps_initial(self) -> bool:
        """Whether the state holds the initial parameters."""
        return self.leak == "initial" and not self.is_closed and self.n_beakers > 0

    def init_fn(self, params: optax.Params) -> ComplexSynapseState:
        """The state before the first update."""
        clocks = new_clocks(self.n_beakers)
        n_updates, no_time = jnp.zeros([], jnp.int32), jnp.zeros([], clocks.dtype)
        jax.tree.map(check_parameter, params)
        warn_of_coarse_parameters(params, self.chain, self.time_step, 0.0 if self.listens else self.recall)
        return ComplexSynapseState(
            n_updates=n_updates,
            clocks=clocks,
            chain=self.chain_at(n_updates, no_time, no_time)[0],
            beakers=tuple(
                new_beaker(k, self.init, params, self.beaker_dtype) for k in range(2, self.n_beakers + 1)
            ),
            initial=jax.tree.map(copy_leaf, params) if self.keeps_initial else None,
        )

    def update_fn(
        self,
        updates: optax.Updates,
        state: ComplexSynapseState,
        params: optax.Params | None = None,
        *,
        modulation: Any = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, ComplexSynapseState]:
        """Add the input to the weights and let time pass in all beakers."""
        del extra_args
        if not isinstance(state, ComplexSynapseState):
            raise ValueError(f"the state must be a ComplexSynapseState, got {type(state).__name__}")
        params, updates = check_update(updates, state, params, self.n_beakers, self.keeps_initial)
        n_updates = optax.safe_increment(state.n_updates)
        dt = jnp.maximum(value_at(self.time_step, state.n_updates, state.clocks.dtype), 0)
        dt, factors = split_modulation(dt, modulation, params)
        chain, switches = self.chain_at(state.n_updates, state.clocks[:, 0].sum(), dt)
        clocks = advance_clocks(state.clocks, dt, chain[1])
        if self.n_beakers == 0 or (self.n_beakers == 1 and self.is_closed):
            same = jax.tree.map(lambda p, d: d.astype(p.dtype), params, updates)
            return same, state._replace(n_updates=n_updates, clocks=clocks, chain=chain)

        due: tuple[Any, ...] = (None,) * self.n_beakers
        if self.method == "exchange" and factors is None:
            due = links_due(clocks, dt, chain, *self.resolutions, switches)

        end = state.initial
        if end is None:
            end = jax.tree.map(lambda _: jnp.zeros([], jnp.float32), params)
        seed = combine_seeds(self.seed, state.n_updates)
        integrate = self.exchange if self.method == "exchange" else sequential_euler
        if factors is None:
            links = self.links(due, chain, clocks[:, 1:].sum(axis=0))
            updates, beakers = integrate(params, updates, state.beakers, end, links, seed)
        else:
            # Each leaf is a tree of its own, whose links have coefficients for each of its elements.
            before, g = state.clocks[:, 1:].sum(axis=0), chain[1]

            def step(path: Any, p: Any, d: Any, u_end: Any, factor: Any, *us: Any) -> tuple[Any, Any]:
                charges = tuple(before[k] + g[k] * dt * factor for k in range(self.n_beakers))
                links = self.links(due, chain, charges)
                return integrate(p, d, us, u_end, links, leaf_seed(seed, path))

            pairs = jax.tree_util.tree_map_with_path(step, params, updates, end, factors, *state.beakers)
            inner = jax.tree.structure((0, (0,) * (self.n_beakers - 1)))
            updates, beakers = jax.tree.transpose(jax.tree.structure(params), inner, pairs)
        return updates, ComplexSynapseState(n_updates, discharge(clocks, due), chain, beakers, state.initial)

    @property
    def exchange(self) -> Callable[..., tuple[optax.Updates, Beakers]]:
        """The integrator, with what moves its hidden beakers."""
        ways = {"never": sweep, "auto": sweep_on_gpu, "interpret": INTERPRETED}
        return partial(exchange, through=ways[self.kernel])

    def chain_at(
        self, n_updates: jax.Array, elapsed: jax.Array, dt: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """``C``, ``g`` and ``ρ`` of an update, ``[3, K]``, and the links whose ``ρ`` changes after it."""
        dtype = elapsed.dtype
        if self.n_beakers == 0:
            return jnp.zeros((3, 0), dtype), None
        if self.chain is not None:
            rows = self.chain.capacities, self.chain.conductances
        else:
            rows = timescale_chain(
                self.n_beakers, *(value_at(scale, n_updates, dtype) for scale in self.timescales)
            )
        C, g = (jnp.stack([jnp.asarray(number, dtype) for number in row]) for row in rows)
        g = g.at[-1].set(0) if self.is_closed else g
        recall = jnp.full_like(g, jnp.maximum(value_at(self.recall, n_updates, dtype), 0))
        switches = None
        if self.listens:
            recall = jnp.zeros_like(g)
        elif not isinstance(self.backflow, str) or self.backflow == "kaplanis":
            times = jnp.append(self.backflow_times(C, g), 0)
            # A thousandth of a step makes up for the rounding of the times.
            now, afterwards = elapsed + dt / 1000 >= times, elapsed + dt * 1.001 >= times
            recall, switches = jnp.where(now, recall, 0), now != afterwards
        return jnp.stack([C, g, recall.at[-1].set(1)]), switches

    def backflow_times(self, C: jax.Array, g: jax.Array) -> jax.Array:
        """The times from which links 1 … K-1 flow back."""
        if isinstance(self.backflow, str):
            return kaplanis_times(C, g)
        return jnp.asarray(self.backflow, g.dtype)

    def links(self, due: tuple[Any, ...], chain: jax.Array, charges: Any) -> Links:
        """What the due links do, given their charges: ``[K]``, or an array of any shape for each."""
        C, _, recall = chain
        left, right = shares(C, recall)
        coefficients = exchange_coefficients if self.method == "exchange" else euler_coefficients
        if isinstance(charges, tuple):
            a, b = zip(*map(coefficients, left, right, charges), strict=True)
        else:
            a, b = map(tuple, coefficients(left, right, charges))
        if self.listens:
            return Links(due, (None,) * (self.n_beakers - 1) + a[-1:], b, None)
        return Links(due, a, b, (C[0] * right[0], recall[0]))


def value_at(value: optax.ScalarOrSchedule, n_updates: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The value of a number or schedule after a number of updates."""
    return jnp.asarray(value(n_updates) if callable(value) else value).astype(dtype)


def _chain_of(
    n_beakers: Any, alpha: Any, beta: Any, chain: BeakerChain | None
) -> tuple[int, BeakerChain | None]:
    """The number of beakers, and the chain if it is the same in all updates."""
    if chain is not None:
        for name, value in (("n_beakers", n_beakers), ("alpha", alpha), ("beta", beta)):
            if value is not None:
                raise ValueError(f"{name} must be omitted if chain is given, got {value!r}")
        return chain.n_beakers, chain
    if isinstance(n_beakers, Timescales):
        raise ValueError(
            "n_beakers must be an integer of at least 0, got Timescales: unpack them, as in "
            "complex_synapse(*suggest_timescales(1000))"
        )
    if isinstance(n_beakers, BeakerChain):
        raise ValueError("n_beakers must be an integer of at least 0, got a BeakerChain: pass it as chain=…")
    n_beakers = _checks.count("n_beakers", n_beakers, least=0)
    _checks.timescales(n_beakers, alpha, beta)
    if n_beakers and _checks.is_concrete(alpha) and _checks.is_concrete(beta):
        known = BeakerChain.from_timescales(n_beakers, beta if n_beakers == 1 else alpha, beta)
        x = known.capacities[-1] ** (1 / max(n_beakers - 1, 1))
        if x > 3:
            _checks.warn(
                f"alpha={float(alpha):g} and beta={float(beta):g} are far apart for {n_beakers} beakers "
                f"(x = {x:.3g} > 3): the power law will ripple by more than 4.5 %; more beakers make it "
                "smooth."
            )
        return n_beakers, known
    return n_beakers, None


def _partition_by_chain(chains: Any, options: dict[str, Any]) -> optax.GradientTransformationExtraArgs:
    """A synapse for each chain of a tree, on the parameters below it."""
    structure: Any
    leaves, structure = jax.tree.flatten(chains, is_leaf=lambda node: isinstance(node, BeakerChain))
    if not leaves or not all(isinstance(leaf, BeakerChain) for leaf in leaves):
        raise ValueError(f"chain must be a BeakerChain or a tree of them, got {chains!r}")
    labels = [str(number) for number in range(len(leaves))]
    synapses = {
        label: complex_synapse(chain=chain, **options) for label, chain in zip(labels, leaves, strict=True)
    }
    return optax.partition(synapses, structure.unflatten(labels))


def warn_of_pitfalls(chain: BeakerChain | None, time_step: optax.ScalarOrSchedule, method: str) -> None:
    """Warn of a known chain that is probably a mistake."""
    if chain is None or not chain.is_known:
        return
    if not _checks.is_concrete(time_step) or float(time_step) == 0:
        return
    dt, limit, shortest = float(time_step), chain.stability_limit(), float(chain.timescales()[0])
    if method == "sequential_euler" and dt >= limit:
        _checks.warn(
            f"sequential_euler may diverge with time_step={dt:g}: for this chain it is guaranteed "
            f'to be stable below {limit:g}; method="exchange" is always stable.'
        )
    if 1e5 * dt < shortest < math.inf:
        _checks.warn(
            f"the shortest timescale, {shortest:g}, is {shortest / dt:.0e} updates of time_step={dt:g}: "
            "hardly anything will be consolidated. With time_step=1, alpha and beta count iterations."
        )
