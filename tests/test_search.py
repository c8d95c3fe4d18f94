"""What is tried of each method: as many points for all, evenly spread, the same every time."""

import dataclasses
import math

import numpy as np
import pytest

from experiments.lab.options import search
from experiments.lab.options.declaration import DEPTH, SHAPES, SPACING, SPAN, Range
from experiments.lab.options.declared import BUILT_IN
from experiments.lab.options.settings import Settings
from experiments.lab.options.validation import validate
from experiments.lab.system.errors import SettingsError

METHODS = (
    "standard",
    "cs",
    "cs-readout",
    "cs-published",
    "ewc",
    "si",
    "lwf",
    "er",
    "l2",
    "average",
    "record",
    "joint",
)


def planned(method, budget=12, settings=None, ranges=None):
    settings = settings or Settings()
    space = search.search_space(settings, method, ranges or {})
    return space, search.configurations(settings, space, budget)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gets_as_many_valid_configurations_the_given_one_first(method):
    space, points = planned(method)
    assert len(points) == 12
    assert points[0] == Settings()
    assert len(set(points)) == 12
    for point in points:
        validate(point)
    for name, usual in space.items():
        if name not in SHAPES:
            assert all(usual.low <= getattr(point, name) <= usual.high for point in points[1:])


@pytest.mark.parametrize("method", METHODS)
def test_a_given_beaker_is_no_obstacle_where_it_is_not_read_or_searched(method):
    space, points = planned(method, settings=Settings(readout=5))
    assert {point.beakers for point in points} > {4} or "beakers" not in search.varied(points[0], space)
    for point in points:
        search.check(point, method, space)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_what_is_searched_varies(method):
    space, points = planned(method)
    searched = set(search.varied(points[0], space))
    changed = {
        name
        for point in points
        for name, value in dataclasses.asdict(point).items()
        if value != getattr(points[0], name)
    }
    assert changed <= searched
    assert "lr" in changed


def test_points_are_the_same_every_time_and_a_larger_budget_only_adds_some():
    _, few = planned("cs", budget=5)
    _, many = planned("cs", budget=9)
    assert many[:5] == few


def test_points_fill_the_space_evenly():
    """Every fifth of the range of each dimension gets its share of a hundred points."""
    space, points = planned("ewc", budget=101)
    for name, usual in space.items():
        places = np.array([usual.place(getattr(point, name)) for point in points[1:]])
        counts, _ = np.histogram(places, bins=5, range=(0, 1))
        assert counts.min() >= 17


def test_the_spacing_of_the_timescales_decides_the_number_of_beakers():
    _, points = planned("cs", budget=40)
    for point in points[1:]:
        x = (point.beta / point.alpha) ** (1 / (2 * (point.beakers - 1)))
        assert point.beakers >= 2
        assert x < 3.6
        assert point.beta / point.alpha >= 9.9


def test_the_beaker_that_is_read_is_one_of_the_chain():
    space, points = planned("cs-readout", budget=40)
    assert set(space) == {"lr", "alpha", SPAN, SPACING, DEPTH}
    assert all(1 <= point.readout <= point.beakers for point in points[1:])
    assert any(point.readout == point.beakers for point in points)
    assert len({point.readout for point in points}) > 3


def test_sgd_has_other_learning_rates():
    space, _ = planned("standard", settings=Settings(optimizer="sgd", lr=0.1))
    assert space["lr"] == search.LEARNING_RATES["sgd"]


def test_ranges_of_ones_own_are_used():
    ranges = search.read_ranges(["lr=1e-3:2e-3", "ewc-strength=5:6"], [BUILT_IN["standard"], BUILT_IN["ewc"]])
    _, points = planned("ewc", ranges=ranges)
    assert all(1e-3 <= point.lr <= 2e-3 and 5 <= point.ewc_strength <= 6 for point in points[1:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("beakers=1:2", "beakers is not searched for cs, cs-readout; alpha, depth, lr, spacing, span are"),
        ("average-time=1:2", "average_time is not searched for cs, cs-readout"),
        ("=1:2", "that is not searched"),
        ("span=0.1:2", "span must be at least 1, spacing at least 1.1, depth at most 1"),
        ("spacing=1.01:2", "span must be at least 1, spacing at least 1.1, depth at most 1"),
        ("depth=0.5:2", "span must be at least 1, spacing at least 1.1, depth at most 1"),
        ("lr", "must be lr=LOW:HIGH, two numbers"),
        ("lr=1", "must be lr=LOW:HIGH, two numbers"),
        ("lr=a:b", "must be lr=LOW:HIGH, two numbers"),
        ("lr=2:1", "must be positive, finite, and the lower bound first"),
        ("lr=0:1", "must be positive"),
        ("lr=1:inf", "must be positive, finite"),
        ("lr=1:nan", "must be positive"),
    ],
)
def test_ranges_that_cannot_be_meant_are_refused(text, message):
    with pytest.raises(SettingsError, match=f"^--ranges {text}: {message}"):
        search.read_ranges([text], [BUILT_IN["cs"], BUILT_IN["cs-readout"]])


def test_what_lies_at_an_edge_is_named():
    space = {"lr": Range(1e-4, 1e-2), "ewc_strength": Range(1, 1e4)}
    inside = Settings(lr=1e-3, ewc_strength=100.0)
    assert search.at_the_edge(inside, space) == []
    assert search.at_the_edge(dataclasses.replace(inside, lr=1e-4), space) == ["lr"]
    assert search.at_the_edge(dataclasses.replace(inside, ewc_strength=1e9), space) == ["ewc_strength"]
    assert search.at_the_edge(dataclasses.replace(inside, ewc_strength=0.0), space) == ["ewc_strength"]
    tried = [dataclasses.replace(inside, lr=lr) for lr in (2e-4, 1e-3, 3e-3)]
    assert search.at_the_edge(tried[0], space, tried) == ["lr"]
    assert search.at_the_edge(tried[1], space, tried) == []
    assert search.at_the_edge(tried[2], space, tried) == ["lr"]


def test_edges_of_what_settings_follow_from_are_named_too():
    space = search.search_space(Settings(), "cs-readout", {})
    inside = Settings(alpha=30.0, beta=30_000.0, beakers=7, readout=4)
    assert search.at_the_edge(inside, space) == []
    assert search.at_the_edge(dataclasses.replace(inside, beta=310.0, beakers=3, readout=2), space) == [SPAN]
    assert search.at_the_edge(dataclasses.replace(inside, beakers=30, readout=15), space) == [SPACING]
    assert search.at_the_edge(dataclasses.replace(inside, readout=7), space) == [DEPTH]


def test_a_configuration_that_cannot_be_trained_is_named():
    space, points = planned(
        "average", ranges=search.read_ranges(["average-time=0.01:0.1"], [BUILT_IN["average"]])
    )
    with pytest.raises(
        SettingsError, match=r"^method average cannot be tried with --lr .*: --average-time 0\.0"
    ):
        search.check(points[1], "average", space)


def test_groups_are_of_one_shape_and_not_too_large():
    _, points = planned("cs", budget=30)
    groups = search.together(points, 4, ("lr", "alpha", "beta"))
    assert sorted(place for group in groups for place in group) == list(range(30))
    assert all(len(group) <= 4 for group in groups)
    assert all(len({points[place].beakers for place in group}) == 1 for group in groups)
    assert len(groups) < 30


def test_a_range_is_even_in_its_logarithm():
    one = Range(1e-4, 1e-2)
    assert one.at(0.5) == pytest.approx(1e-3)
    assert one.place(1e-3) == pytest.approx(0.5)
    assert one.place(0) == -math.inf
