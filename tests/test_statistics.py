import itertools
import math

import numpy as np
import pytest
from scipy import stats

from experiments.lab.results.statistics import (
    EXACT_UP_TO,
    differences,
    estimate,
    paired_difference,
    sign_flip_p_value,
    standard_error,
)


def accuracies(n, seed=0):
    random = np.random.default_rng(seed)
    first = random.normal(0.93, 0.02, n)
    return first, first + random.normal(0.01, 0.015, n)


def sign_flip_by_enumeration(differences):
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    return np.mean(np.array(sums) >= abs(sum(differences)) - 1e-12)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_estimate_agrees_with_scipy(n):
    values, _ = accuracies(n)
    result = estimate(values)
    interval = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert result.mean == pytest.approx(values.mean())
    assert result.sem == pytest.approx(stats.sem(values))
    assert result.ci95 == pytest.approx(interval)
    assert result.n == n


def test_standard_error_of_curves_is_that_of_every_point():
    curves = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_allclose(standard_error(curves), stats.sem(curves, axis=0))


@pytest.mark.parametrize("n", [2, 5, 30])
def test_paired_difference_agrees_with_scipy(n):
    first, second = accuracies(n)
    result = paired_difference(second, first)
    expected = stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    assert result.mean == pytest.approx((second - first).mean())
    assert result.p_value == pytest.approx(expected.pvalue)
    assert result.ci95 == pytest.approx((interval.low, interval.high))


def test_swapping_the_methods_swaps_the_sign_alone():
    first, second = accuracies(7)
    there, back = paired_difference(second, first), paired_difference(first, second)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.p_value_sign_flip == pytest.approx(back.p_value_sign_flip)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_sign_flip_test_is_the_enumeration_of_all_signs(n):
    first, second = accuracies(n)
    assert sign_flip_p_value(second - first) == pytest.approx(sign_flip_by_enumeration(second - first))


def test_sign_flip_test_counts_ties_whatever_the_rounding():
    assert sign_flip_p_value([0.1, 0.2, 0.3]) == 2 / 8
    assert sign_flip_p_value([0.3, -0.1, -0.2]) == 1.0
    assert sign_flip_p_value([0.1, 0.1, -0.1, 0.1]) == pytest.approx(10 / 16)


def test_twenty_pairs_reach_the_smallest_possible_p():
    assert sign_flip_p_value(np.ones(20)) == 2 / 2**20


def test_beyond_the_exact_limit_the_sign_flip_test_is_close_and_reproducible():
    n = EXACT_UP_TO + 1
    differences = np.random.default_rng(0).normal(0.4, 1.0, n)
    numbers = np.arange(2**n)
    sums = sum((1 - 2 * (numbers >> i & 1)) * difference for i, difference in enumerate(differences))
    exact = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-12)
    estimated = sign_flip_p_value(differences)
    assert estimated == pytest.approx(exact, abs=5 * math.sqrt(exact / 100_000))
    assert sign_flip_p_value(differences) == estimated


def test_beyond_the_exact_limit_p_is_never_zero():
    assert 0 < sign_flip_p_value(np.ones(40)) < 1e-4


def test_a_single_seed_says_nothing_about_the_spread():
    single = paired_difference([0.9], [0.8])
    assert single.mean == pytest.approx(0.1)
    assert single.p_value_sign_flip == 1.0
    assert all(math.isnan(x) for x in (single.sem, *single.ci95, single.p_value))


def test_identical_methods_do_not_differ():
    values, _ = accuracies(5)
    same = paired_difference(values, values)
    assert (same.mean, same.sem, same.ci95) == (0.0, 0.0, (0.0, 0.0))
    assert (same.p_value, same.p_value_sign_flip) == (1.0, 1.0)


def test_a_difference_without_spread_leaves_the_t_test_undefined():
    # 0.3 - 0.2, 0.2 - 0.1 and 0.8 - 0.7 differ by roundings, which must not pass for a spread.
    constant = paired_difference([0.3, 0.2, 0.8], [0.2, 0.1, 0.7])
    assert constant.mean == pytest.approx(0.1)
    assert constant.sem == 0
    assert math.isnan(constant.p_value)
    assert constant.p_value_sign_flip == 2 / 8


def test_equal_differences_of_exact_fractions_are_equal():
    """Five tasks with other numbers of test samples: 7 more of each are right, from wherever they start."""
    shown = np.array([2115, 2042, 1874, 1986, 1983])
    right = np.random.default_rng(0).integers(0, shown - 7, (50, 5))
    before, after = (right / shown).mean(axis=1), ((right + 7) / shown).mean(axis=1)
    assert len(set(after - before)) > 1  # by roundings
    result = paired_difference(after, before)
    assert result.sem == 0
    assert math.isnan(result.p_value)


def test_the_smallest_real_difference_is_no_rounding():
    result = paired_difference([0.5, 0.5], [0.5 - 1 / 50_000, 0.5])
    assert result.sem > 0
    assert result.p_value == pytest.approx(0.5)


def test_where_a_training_diverged_means_are_known_and_nothing_else():
    values, others = accuracies(3)
    some = estimate(values, diverged=[False, True, False])
    assert some.mean == pytest.approx(values.mean())
    pairs = paired_difference(others, values, diverged=[False, True, False])
    assert pairs.mean == pytest.approx((others - values).mean())
    assert np.isnan([some.sem, *some.ci95, pairs.sem, *pairs.ci95]).all()
    assert np.isnan([pairs.p_value, pairs.p_value_sign_flip]).all()


def test_where_all_trainings_diverged_nothing_is_known():
    nothing = paired_difference([0.0, 0.0], [0.0, 0.0], diverged=[True, True])
    assert np.isnan([nothing.mean, nothing.sem, *nothing.ci95]).all()
    assert np.isnan([nothing.p_value, nothing.p_value_sign_flip]).all()
    assert math.isnan(estimate([0.0, 0.0], diverged=[True, True]).mean)


def test_a_difference_is_of_a_diverged_pair_where_either_training_diverged():
    values = {"a": [0.5, 0.6], "b": [0.7, 0.6], "c": [0.4, 0.1]}
    lost = {"a": [False, False], "b": [True, False], "c": [False, False]}
    found = differences(values, lost)
    assert [math.isnan(one.p_value) for one in found.values()] == [True, False]
    found = differences(values, {**lost, "a": [False, True]})
    assert [math.isnan(one.mean) for one in found.values()] == [True, False]
    assert [math.isnan(one.sem) for one in found.values()] == [True, True]


def test_nothing_to_average_and_unequal_pairs_are_errors():
    with pytest.raises(ValueError, match="no values"):
        estimate([])
    with pytest.raises(ValueError, match="not 2 and 3"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])
