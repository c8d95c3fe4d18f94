"""Which of a test's parameters are tried in every run, and which, being slow, in ``.ci/run`` alone."""

import itertools

import pytest


def few(values, keep):
    """``values`` for ``parametrize``; those are slow that ``keep``, a function or a list, leaves out."""
    kept = keep if callable(keep) else lambda *value: (value if len(value) > 1 else value[0]) in keep
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    marks = [() if kept(*row) else pytest.mark.slow for row in rows]
    assert () in marks, "no parameter is left for every run"
    return [pytest.param(*row, marks=mark) for row, mark in zip(rows, marks, strict=True)]


def pairs(first, second):
    """Each of the one with each of the other."""
    return [*itertools.product(first, second)]
