"""``complex_synapse``: the beaker chain as an Optax gradient transformation."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from cs_optax import _checks
from cs_optax._dtypes import beaker_dtype_of
from cs_optax._dynamics import exchange, sequential_euler
from cs_optax._links import advance, flows_back, links_in_step, new_clocks
from cs_optax.chain import BeakerChain, timescale_chain

Numeric = Any  # a number, a scalar array or a schedule

DEFAULT_N_BEAKERS, DEFAULT_ALPHA, DEFAULT_BETA = 6, 1.0, 1024.0


class ComplexSynapseState(NamedTuple):
    """State of :func:`complex_synapse`.

    Attributes:
        count: number of updates so far, int32; what schedules are called with.
        clocks: shape ``[2, 1 + K]``, the default float dtype, in units of time: column 0 the time since
            initialisation, column k how long link k has waited to fire. Row 1 holds what rounding
            has kept out of row 0.
        beakers: ``(u_2, …, u_K)``, each a tree like the parameters.
        initial: the initial parameters with ``leak="initial"``, else None.
    """

    count: jax.Array  # type: ignore[assignment]  # tuples have a method of that name
    clocks: jax.Array
    beakers: tuple[Any, ...]
    initial: Any


def complex_synapse(
    n_beakers: int = DEFAULT_N_BEAKERS,
    alpha: Numeric = DEFAULT_ALPHA,
    beta: Numeric = DEFAULT_BETA,
    *,
    time_step: Numeric = 1.0,
    chain: BeakerChain | None = None,
    init: str = "same",
    leak: str = "zero",
    method: str = "exchange",
    resolution: Any = 0.125,
    visible_resolution: Any = 0.0,
    backflow: str = "always",
    beaker_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Make every parameter the first of a chain of beakers: the complex synapse of Benna & Fusi (2016).

    The parameter is :math:`u_1`; the state holds :math:`u_2 … u_K`. In every update, after the input
    :math:`Δ` of the transformations before, the contents flow for the time ``time_step``:

    .. math::
        C_k \frac{du_k}{dt} = g_{k-1}(u_{k-1} - u_k) + g_k(u_{k+1} - u_k), \qquad g_0 = 0,\; u_{K+1} = 0,

    with :math:`C_k = x^{k-1}`, :math:`g_k = x^{1-k}/α`, :math:`x = (β/α)^{1/(2K-2)}`. A change of the weight
    then decays as a power law, :math:`r(t) ≈ x^{-1/4}\sqrt{α/(πt)}` for :math:`α ≲ t ≲ β`, where without
    hidden beakers it would decay exponentially. The defaults are those of the published code; in
    iterations, an ``alpha`` of 10 or more is a better beginning.

    It must be the **last** of a chain, since the update it returns depends on the final input; a
    transformation after it would change the flow out of the weights but not the flow into the
    beakers. It moves weights also where the input is zero. ``update`` needs ``params``.

    Args:
        n_beakers: number of beakers K, the parameter included. 0 is the identity, 1 is decay at
            rate 1/``beta``.
        alpha: shortest timescale, in units of time; a number, an array or a schedule (a function of
            the number of updates).
        beta: longest timescale, likewise.
        time_step: time that passes in one update, likewise. With 1, the default, the unit of time is
            the iteration.
        chain: any :class:`BeakerChain` in place of ``n_beakers``, ``alpha`` and ``beta``.
        init: hidden beakers start as copies of the parameters ("same") or at zero ("zero").
        leak: the last beaker leaks towards "zero" (as published) or towards the "initial"
            parameters (one more copy in the state); with "none" nothing leaks, and the sum of
            :math:`C_k u_k` is conserved.
        method: "exchange" (operator splitting: exact for each link, stable for any time step, each
            link only as often as it needs) or "sequential_euler" (the published scheme).
        resolution: of "exchange": link k ≥ 2 fires about when :math:`g_k s_k h_k`,
            :math:`s_k = 1/C_k + 1/C_{k+1}`, reaches it, with :math:`h_k` the time it has waited. 0: every
            link in every update. For K ≥ 3, 1.5 ≤ x ≤ 2.5, ``alpha`` ≥ 8 time steps and t ≤ ``beta`` the
            worst relative error of the impulse response is below 1 % at the default, and below 0.1 % at 0;
            at an ``alpha`` of one time step it is about 3 % at either.
        visible_resolution: the same for link 1. 0: every update. Positive values save work where
            ``alpha`` is many time steps, with a relative error of up to 0.8 of the value. Link 1 never rests
            longer than link 2 may: it has no effect where ``resolution`` is 0. Not for parameters below
            float32: what they lose by rounding while link 1 rests is lost to the chain.
        backflow: "always", or "incremental" (Kaplanis et al. 2018): link k < K moves only its right beaker
            until the time since initialisation exceeds :math:`τ_{k+1} = C_{k+1}/g_{k+1}`.
        beaker_dtype: dtype of the beakers; by default the parameter's own, but at least float32. Beakers
            in float16 or bfloat16 are rounded stochastically, and so are right on average. It acts in
            ``init``: a restored state stays in the dtypes it has.

    Returns:
        An ``optax.GradientTransformationExtraArgs``. Its updates have the dtypes of the parameters,
        its state is a :class:`ComplexSynapseState`.

    Raises:
        ValueError: if an argument is out of range, where its value is known; in ``init``, if a parameter is
            no floating-point or complex number; in ``update``, if ``params`` is None, or updates, state
            and parameters do not belong together.

    Warns:
        UserWarning: if x > 3, where the power law ripples by more than 4.5 %; if "sequential_euler"
            may diverge; if ``alpha`` is more than 1e5 time steps: then it is probably in units of the
            learning rate, see ``time_step``.

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
    transformation = beaker_transformation(
        n_beakers,
        alpha,
        beta,
        time_step=time_step,
        chain=chain,
        init=init,
        leak=leak,
        method=method,
        resolution=resolution,
        visible_resolution=visible_resolution,
        backflow=backflow,
        beaker_dtype=beaker_dtype,
    )
    shortest = chain.timescales()[0] if chain is not None else beta if n_beakers == 1 else alpha
    if n_beakers > 0 and _checks.is_concrete(shortest) and _checks.is_concrete(time_step):
        updates = float(shortest) / (float(time_step) or math.inf)
        if 1e5 < updates < math.inf:
            warnings.warn(
                f"the shortest timescale, {float(shortest):g}, is {updates:.0e} updates of "
                f"time_step={float(time_step):g}: hardly anything will be consolidated. With "
                "time_step=1 alpha and beta are numbers of iterations.",
                stacklevel=2,
            )
    return transformation


def beaker_transformation(
    n_beakers: int,
    alpha: Numeric,
    beta: Numeric,
    *,
    time_step: Numeric,
    chain: BeakerChain | None,
    init: str,
    leak: str,
    method: str,
    resolution: Any,
    visible_resolution: Any,
    backflow: str,
    beaker_dtype: Any,
    usual_time_step: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """:func:`complex_synapse` but for its warning about units, which the published convention earns.

    Where ``time_step`` is a schedule, ``usual_time_step`` is what it mostly gives, for warnings.
    """
    n_beakers = _checks.count("n_beakers", n_beakers, least=0)
    _checks.option("init", init, ("same", "zero"))
    _checks.option("leak", leak, ("zero", "none", "initial"))
    _checks.option("method", method, ("exchange", "sequential_euler"))
    _checks.option("backflow", backflow, ("always", "incremental"))
    for name, value in (("resolution", resolution), ("visible_resolution", visible_resolution)):
        if callable(value):
            raise ValueError(f"{name} must be finite and at least 0, no schedule, got {value!r}")
    resolution, visible_resolution = (
        _checks.at_least_zero(name, value) if _checks.is_concrete(value) else value
        for name, value in (("resolution", resolution), ("visible_resolution", visible_resolution))
    )
    _checks.step("time_step", time_step)
    beaker_dtype = _checks.float_dtype("beaker_dtype", beaker_dtype)
    if chain is None:
        _checks.timescales(n_beakers, alpha, beta)
    elif not isinstance(chain, BeakerChain):
        raise ValueError(f"chain must be a BeakerChain, got {chain!r}")
    else:
        for name, value, default in (
            ("n_beakers", n_beakers, DEFAULT_N_BEAKERS),
            ("alpha", alpha, DEFAULT_ALPHA),
            ("beta", beta, DEFAULT_BETA),
        ):
            # Traced ones pass: optax.inject_hyperparams hands on the defaults so.
            if callable(value) or (_checks.is_concrete(value) and (np.ndim(value) or value != default)):
                raise ValueError(f"{name} must be left out where chain is given, got {value!r}")
        n_beakers = chain.n_beakers
    known_chain = chain
    if chain is None and n_beakers and _checks.is_concrete(alpha) and _checks.is_concrete(beta):
        known_chain = BeakerChain.from_timescales(n_beakers, alpha, beta)
        _warn_of_ripple(known_chain, alpha, beta)
    usual_time_step = time_step if usual_time_step is None else usual_time_step
    if method == "sequential_euler" and known_chain is not None:
        _warn_of_divergence(known_chain.closed() if leak == "none" else known_chain, usual_time_step)

    closed = leak == "none" or (chain is not None and chain.is_closed)
    n_links = max(0, n_beakers - closed)
    incremental = backflow == "incremental"
    keeps_initial = leak == "initial" and not closed and n_beakers > 0

    def numbers(count: jax.Array, dtype: Any) -> tuple[jax.Array, ...]:
        """``dt``, ``C [K]`` and ``g [K]`` of this update."""

        def now(value: Numeric) -> jax.Array:
            return jnp.asarray(value(count) if callable(value) else value).astype(dtype)

        if known_chain is not None:
            rows = known_chain.capacities, known_chain.conductances
        else:
            rows = timescale_chain(n_beakers, now(alpha), now(beta))
        return now(time_step), *(jnp.asarray(row, dtype) for row in rows)

    def beaker_of(param: Any) -> jax.Array:
        if callable(param) or not jnp.issubdtype(jnp.result_type(param), jnp.inexact):
            kind = repr(param) if callable(param) else jnp.result_type(param)
            raise ValueError(
                f"params must be floating-point or complex, got a leaf of {kind}: leave it out, "
                "by optax.masked for example, or by equinox.filter"
            )
        param = jnp.asarray(param)
        dtype = beaker_dtype_of(param, beaker_dtype)
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(f"beaker_dtype must be available, got {dtype}, which needs jax_enable_x64")
        beaker = jnp.array(param, dtype)
        if init == "same":
            return beaker
        # A choice that the compiler cannot foresee: zeros that depend on nothing would, under jax.jit, be
        # replicated over all devices where the parameter is sharded.
        never = lax.optimization_barrier(jnp.array(False))
        return jnp.where(never, beaker, jnp.zeros_like(beaker))

    def strong_copy(param: Any) -> jax.Array:
        """Not weakly typed, as a Python number would be: any restored state is strong."""
        return jnp.array(param, jnp.result_type(param))

    def init_fn(params: Any) -> ComplexSynapseState:
        return ComplexSynapseState(
            count=jnp.zeros([], jnp.int32),
            clocks=new_clocks(n_beakers),
            beakers=tuple(jax.tree.map(beaker_of, params) for _ in range(n_beakers - 1)),
            initial=jax.tree.map(strong_copy, params) if keeps_initial else None,
        )

    def update_fn(
        updates: Any, state: ComplexSynapseState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, ComplexSynapseState]:
        del extra_args
        if params is None:
            raise ValueError(
                "complex_synapse reads the weights: call update(updates, state, params) with params"
            )
        params = _beside(updates, params)
        _check_state(state, params, n_beakers, keeps_initial)
        params, updates = jax.tree.map(jnp.asarray, (params, updates))
        _check_shapes("updates", updates, "params", params)
        for update in jax.tree.leaves(updates):
            if not jnp.issubdtype(update.dtype, jnp.inexact):
                raise ValueError(f"updates must be floating-point or complex, got {update.dtype}")
        count = optax.safe_increment(state.count)
        if n_links == 0:
            same = jax.tree.map(lambda p, d: d.astype(p.dtype), params, updates)
            return same, state._replace(count=count)
        dt, C, g = numbers(state.count, state.clocks.dtype)
        seed = state.count.astype(jnp.uint32)
        if method == "sequential_euler":
            clocks = advance(state.clocks, dt).at[:, 1:].set(0)
            back = flows_back(clocks, C, g, incremental)
            flows = g.at[-1].set(0) if closed else g
            updates, beakers = sequential_euler(
                params, updates, state.beakers, dt, C, flows, back, state.initial, seed
            )
        else:
            links, clocks = links_in_step(
                state.clocks,
                dt,
                C,
                g,
                n_links=n_links,
                resolution=resolution,
                visible_resolution=visible_resolution,
                incremental=incremental,
            )
            updates, beakers = exchange(params, updates, state.beakers, links, state.initial, seed)
        return updates, ComplexSynapseState(count, clocks, beakers, state.initial)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _beside(updates: Any, params: Any) -> Any:
    """The parameters without what has no update, such as the functions in a whole Equinox model."""
    try:
        known = jax.tree.map(
            lambda d, p: None if d is None else p, updates, params, is_leaf=lambda node: node is None
        )
    except ValueError:
        known = None
    ours: Any = jax.tree.structure(updates)
    theirs: Any = jax.tree.structure(params if known is None else known)
    if ours != theirs:
        raise ValueError(f"updates must have the structure of params, {theirs}, got {ours}")
    return known


def _check_state(state: Any, params: Any, n_beakers: int, keeps_initial: bool) -> None:
    """Refuse a state that was made for another chain or for other parameters."""
    if not isinstance(state, ComplexSynapseState):
        raise ValueError(f"the state must be a ComplexSynapseState, got {type(state).__name__}")
    held = state.clocks.shape[1] - 1
    if held != n_beakers:
        raise ValueError(
            f"the state must be of {n_beakers} beakers, as the transformation, but it is of {held}: "
            "make it anew, or see cs_optax.resize_beakers"
        )
    if (state.initial is not None) != keeps_initial:
        it_is, must_be = ("without", "with") if keeps_initial else ("with", "without")
        raise ValueError(f"the state must be {must_be} initial parameters, as the leak asks, it is {it_is}")
    now: Any = jax.tree.structure(params)
    for tree in (*state.beakers, *([] if state.initial is None else [state.initial])):
        was: Any = jax.tree.structure(tree)
        if was != now:
            raise ValueError(f"params must have the structure they had at init, {was}, got {now}")
        _check_shapes("params", params, "the state", tree)


def _check_shapes(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Refuse arrays that would have to be broadcast."""
    shapes, expected = ([jnp.shape(leaf) for leaf in jax.tree.leaves(x)] for x in (tree, other))
    for shape, wanted in zip(shapes, expected, strict=True):
        if shape != wanted:
            raise ValueError(f"{name} must have the shapes of {other_name}, got {shape} for {wanted}")


def _warn_of_ripple(chain: BeakerChain, alpha: Any, beta: Any) -> None:
    """Where neighbouring timescales are too far apart for a power law."""
    x = chain.capacities[-1] ** (1 / max(chain.n_beakers - 1, 1))
    if x > 3:
        warnings.warn(
            f"alpha={float(alpha):g} and beta={float(beta):g} are far apart for {chain.n_beakers} beakers "
            f"(x = {x:.3g} > 3): the power law will ripple by more than 4.5 %; more beakers make it smooth.",
            stacklevel=4,
        )


def _warn_of_divergence(chain: BeakerChain, time_step: Any) -> None:
    """Where sequential Euler steps, if they are known, are longer than is sure to be stable."""
    limit = chain.stability_limit()
    if _checks.is_concrete(time_step) and float(time_step) >= limit:
        warnings.warn(
            f"sequential_euler may diverge with time_step={float(time_step):g}: for this chain it is sure "
            f'to be stable below {limit:g}; method="exchange" always is.',
            stacklevel=4,
        )
