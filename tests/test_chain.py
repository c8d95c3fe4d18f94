import math

import chain_twin
import numpy as np
import pytest
import scipy.linalg

from cs_optax import BeakerChain, suggest_timescales

CHAINS = {
    "timescales": BeakerChain.from_timescales(6, 1.0, 1024.0),
    "benna_fusi": BeakerChain.benna_fusi(4),
    "power_law": BeakerChain.power_law(5, alpha=3.0, exponent=-0.7, ratio=9.0),
    "closed": BeakerChain.benna_fusi(5).closed(),
    "single": BeakerChain.from_timescales(1, 2.0, 30.0),
    "irregular": BeakerChain([1.0, 0.3, 7.0], [0.2, 3.0, 0.01]),
}
each_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())


def test_timescales_run_geometrically_from_alpha_to_beta():
    chain = BeakerChain.from_timescales(7, 3.0, 3.0 * 4.0**6)
    np.testing.assert_allclose(chain.timescales(), 3.0 * 4.0 ** np.arange(7))


def test_benna_fusi_is_alpha_8_and_x_2():
    chain = BeakerChain.from_timescales(6, 8.0, 8.0 * 4.0**5)
    np.testing.assert_allclose(chain.capacities, BeakerChain.benna_fusi(6).capacities)
    np.testing.assert_allclose(chain.conductances, BeakerChain.benna_fusi(6).conductances)


def test_power_law_with_the_default_exponent_is_a_timescale_chain():
    chain = BeakerChain.power_law(6, alpha=8.0, exponent=-0.5, ratio=4.0)
    np.testing.assert_allclose(chain.capacities, BeakerChain.benna_fusi(6).capacities)
    np.testing.assert_allclose(chain.conductances, BeakerChain.benna_fusi(6).conductances)


@pytest.mark.parametrize(("x", "low", "high"), [(2.0, 0.001, 0.01), (3.0, 0.02, 0.05)])
def test_the_power_law_ripples_little_for_near_timescales(x, low, high):
    """The response over x^(-1/4) sqrt(alpha/(pi t)), far above alpha and far below beta."""
    chain = BeakerChain.from_timescales(14, 1.0, x**26)
    times = np.geomspace(x**5, x**16, 500)
    ripple = chain.impulse_response(times) * np.sqrt(np.pi * times) * x**0.25 - 1
    assert low < np.abs(ripple).max() < high


@pytest.mark.parametrize("exponent", [-0.34, -0.5, -0.66])
def test_power_law_has_the_slope_it_is_asked_for(exponent):
    chain = BeakerChain.power_law(14, alpha=1.0, exponent=exponent, ratio=4.0)
    times = np.geomspace(4.0**4, 4.0**9, 50)
    slope = np.polyfit(np.log(times), np.log(chain.impulse_response(times)), 1)[0]
    assert slope == pytest.approx(exponent, abs=0.01)


@each_chain
@pytest.mark.parametrize("t", [0.0, 0.3, 7.0, 400.0])
def test_propagator_is_the_matrix_exponential(chain, t):
    exact = scipy.linalg.expm(chain.generator() * t)
    np.testing.assert_allclose(chain.propagator(t), exact, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(chain.impulse_response(t), exact[0, 0], rtol=1e-9)


@each_chain
def test_propagator_is_a_semigroup(chain):
    np.testing.assert_allclose(
        chain.propagator(2.0) @ chain.propagator(5.0), chain.propagator(7.0), atol=1e-13
    )


def test_content_is_conserved_in_a_closed_chain_only():
    capacities = np.array(CHAINS["closed"].capacities)
    np.testing.assert_allclose(capacities @ CHAINS["closed"].propagator(50.0), capacities)
    leaky = BeakerChain.benna_fusi(5)
    assert np.all(capacities @ leaky.propagator(50.0) < capacities)


def test_impulse_response_at_the_published_default():
    """Exact values that come with the goldens."""
    chain = BeakerChain.from_timescales(6, 1.0, 1024.0)
    np.testing.assert_allclose(
        chain.impulse_response([0.1, 1, 10, 100, 1000]),
        [0.90711949, 0.47265398, 0.14908447, 0.04757133, 0.01474986],
        atol=5e-9,
    )


@pytest.mark.parametrize(
    ("n_beakers", "variance"),
    [(2, 0.928571), (4, 1.622692), (6, 2.262577), (8, 2.890498), (12, 4.139806)],
)
def test_variance_in_units_of_alpha(n_beakers, variance):
    chain = BeakerChain.from_timescales(n_beakers, 1.0, 4.0 ** (n_beakers - 1))
    assert chain.variance() == pytest.approx(variance, abs=1e-6)


@pytest.mark.parametrize(
    ("n_beakers", "continuous", "stepped"),
    [
        (4, 3.6030, 3.6746),
        (6, 4.2545, 4.3153),
        (8, 4.8087, 4.8626),
        (10, 5.3032, 5.3521),
        (12, 5.7549, 5.7999),
    ],
)
def test_standard_deviation_at_benna_and_fusis_numbers(n_beakers, continuous, stepped):
    chain = BeakerChain.benna_fusi(n_beakers)
    assert math.sqrt(chain.variance()) == pytest.approx(continuous, abs=5e-5)
    assert math.sqrt(chain.variance(dt=1.0)) == pytest.approx(stepped, abs=5e-5)


@each_chain
def test_variance_solves_the_lyapunov_equation(chain):
    if chain.is_closed:
        assert math.isinf(chain.variance())
        assert math.isinf(chain.variance(dt=1.0))
        return
    noise = np.zeros((chain.n_beakers, chain.n_beakers))
    noise[0, 0] = 1
    continuous = scipy.linalg.solve_continuous_lyapunov(chain.generator(), -noise)
    stepped = scipy.linalg.solve_discrete_lyapunov(chain.propagator(0.5), noise)
    assert chain.variance() == pytest.approx(continuous[0, 0], rel=1e-9)
    assert chain.variance(dt=0.5) == pytest.approx(stepped[0, 0], rel=1e-9)


def test_snr_of_a_new_memory_at_benna_and_fusis_numbers():
    for n_beakers, expected in [(4, 0.2721), (6, 0.2317), (8, 0.2057), (10, 0.1868), (12, 0.1724)]:
        snr = BeakerChain.benna_fusi(n_beakers).snr(0.0, n_synapses=10_000, dt=1.0)
        assert float(snr) / 100 == pytest.approx(expected, abs=1e-4)


def test_stability_limits_of_the_published_default():
    chain = BeakerChain.from_timescales(6, 1.0, 1024.0)
    assert chain.stability_limit() == pytest.approx(2.0)
    assert chain.stability_limit(exact=True) == pytest.approx(2.593, abs=1e-3)


@each_chain
def test_guaranteed_stability_limit_is_never_above_the_spectral_one(chain):
    assert chain.stability_limit() <= chain.stability_limit(exact=True) * (1 + 1e-9)


@pytest.mark.parametrize("x", [1.0, 1.3, 2.0, 3.0])
def test_guaranteed_stability_limit_of_a_timescale_chain(x):
    chain = BeakerChain.from_timescales(5, 8.0, 8.0 * x**8)
    assert chain.stability_limit() == pytest.approx(16.0 * min(1.0, x**2 / (x + 1)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BeakerChain([1.0], [1.0, 2.0]), "same length.* 1 and 2"),
        (lambda: BeakerChain([], []), "at least 1"),
        (lambda: BeakerChain([1.0, 0.0], [1.0, 1.0]), "capacities must be finite and greater.* 0.0"),
        (lambda: BeakerChain([1.0, 1.0], [0.0, 1.0]), "conductances must be finite and greater"),
        (lambda: BeakerChain([1.0, 1.0], [1.0, -1.0]), "last of conductances.* -1.0"),
        (lambda: BeakerChain([1.0, math.nan], [1.0, 1.0]), "capacities .* nan"),
        (lambda: BeakerChain("ab", [1.0, 1.0]), "capacities must be a sequence of numbers"),
        (lambda: BeakerChain.from_timescales(0, 1.0, 2.0), "n_beakers .* at least 1, got 0"),
        (lambda: BeakerChain.from_timescales(2.5, 1.0, 2.0), "n_beakers .* got 2.5"),
        (lambda: BeakerChain.from_timescales(3, 4.0, 2.0), "beta must be at least alpha"),
        (lambda: BeakerChain.power_law(3, 1.0, exponent=0.5), "exponent .* got 0.5"),
        (lambda: BeakerChain.power_law(3, 1.0, ratio=1.0), "ratio .* got 1.0"),
        (lambda: BeakerChain.benna_fusi(3).variance(dt=0.0), "dt .* got 0.0"),
        (lambda: BeakerChain.benna_fusi(3).snr(1.0, n_synapses=0), "n_synapses .* got 0"),
    ],
)
def test_errors_name_the_argument_and_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("resolution", [0.0, 0.125, 0.5])
@pytest.mark.parametrize(("alpha", "x"), [(8.0, 2.0), (9.0, 2.5), (500.0, 1.5), (0.1, 2.0)])
def test_exchange_periods_are_those_of_the_slow_twin(alpha, x, resolution):
    chain = BeakerChain.from_timescales(6, alpha, alpha * x**10)
    assert chain.exchange_periods(resolution=resolution) == chain_twin.periods(chain, resolution)


def test_a_closed_chain_has_no_leak_that_exchanges():
    assert len(BeakerChain.benna_fusi(5).closed().exchange_periods()) == 4
    assert "never" in BeakerChain.benna_fusi(5).closed().describe()
    assert BeakerChain([1.0], [0.0]).exchange_periods() == []


def test_exact_stability_limit_is_the_first_crossing():
    """A chain that is stable again for a while beyond the step at which it first diverges."""
    chain = BeakerChain([0.3628, 2.4458, 0.4076], [3.1603, 36.1446, 0.0797])
    assert chain.stability_limit(exact=True) == pytest.approx(0.035, abs=1e-3)


def test_exact_stability_limit_of_one_beaker_is_twice_its_timescale():
    assert BeakerChain.from_timescales(1, 2.0, 4.0).stability_limit(exact=True) == pytest.approx(
        8.0, rel=1e-11
    )


def test_slow_modes_of_very_long_chains_are_exact():
    """beta/alpha of 3e17, where the eigenvalues of the generator have lost the slow rates."""
    chain = BeakerChain.from_timescales(30, 1.0, 4.0**29)
    expected = 2**-0.25 * (1 / (np.pi * 4.0**26)) ** 0.5
    assert chain.impulse_response(4.0**26) == pytest.approx(expected, rel=0.02)
    assert chain.variance() == pytest.approx(9.756, abs=1e-3)


@each_chain
def test_retention_is_the_content_that_is_left(chain):
    """Against the matrix exponential, and its mean against a fine sum."""
    capacities = np.array(chain.capacities)
    for t in (0.0, 3.0, 80.0):
        left = capacities @ scipy.linalg.expm(chain.generator() * t)[:, 0] / capacities[0]
        assert float(chain.retention(t)) == pytest.approx(left, rel=1e-9)
    times = np.linspace(0, 50, 20_001)
    mean = np.trapezoid(chain.retention(times), times) / 50
    assert chain.mean_retention(50.0) == pytest.approx(mean, rel=1e-5)
    assert chain.mean_retention(0.0) == pytest.approx(1.0)


def test_a_closed_chain_retains_everything():
    np.testing.assert_allclose(CHAINS["closed"].retention([0.0, 10.0, 1e6]), 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("n_iterations", "n_tasks", "expected"),
    [
        (2500, 5, (7, 10.0, 20_000.0)),
        (2.5e3, 5.0, (7, 10.0, 20_000.0)),
        (1, 1, (2, 8.0, 8.0)),
        (10**6, 10, (7, 2000.0, 8e6)),
        (10**7, 1, (8, 1e4, 8e7)),
    ],
)
def test_suggested_timescales_follow_their_rule(n_iterations, n_tasks, expected):
    suggested = suggest_timescales(n_iterations, n_tasks)
    assert suggested == expected
    assert suggested.n_beakers == max(2, 1 + math.ceil(math.log2(suggested.beta / suggested.alpha) / 2))
    ratios = np.divide(*np.array(BeakerChain.from_timescales(*suggested).timescales())[[1, 0]])
    assert ratios <= 4 + 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n_iterations .* got 0"),
        ((100, 2.5), "n_tasks .* got 2.5"),
        ((3, 4), "n_tasks must be at most"),
    ],
)
def test_suggestions_need_whole_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        suggest_timescales(*arguments)


@each_chain
def test_a_plot_shows_the_impulse_response_over_iterations(chain):
    import matplotlib.pyplot as plt

    ax = chain.plot(time_step=0.5, label="chain")
    times, response = ax.lines[0].get_data()
    np.testing.assert_allclose(response, chain.impulse_response(times * 0.5))
    marks = ax.lines[1].get_xdata()
    finite = chain.timescales()[np.isfinite(chain.timescales())] / 0.5
    np.testing.assert_allclose(marks, finite)
    assert ax.get_legend_handles_labels()[1] == ["chain", "slope -0.5"]
    assert chain.plot(ax) is ax
    plt.close(ax.figure)


def test_plots_of_several_chains_begin_together_and_share_a_reference_slope():
    import matplotlib.pyplot as plt

    ax = BeakerChain.from_timescales(5, 500.0, 50_000.0).plot(label="long")
    BeakerChain.from_timescales(5, 10.0, 1000.0).plot(ax, label="short")
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["long"].get_xdata()[0] == lines["short"].get_xdata()[0] == 1
    assert [line.get_gid() for line in ax.lines].count("slope") == 1
    times, heights = lines["slope -0.5"].get_data()
    assert np.ptp(np.log(heights)) == pytest.approx(0.5 * np.ptp(np.log(times)))
    fast = BeakerChain.from_timescales(3, 0.02, 5.0).plot(slope=None)
    assert fast.lines[0].get_xdata()[0] == pytest.approx(0.01)
    assert len(fast.lines) == 2
    plt.close("all")
