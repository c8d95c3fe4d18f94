"""Trainings that several tests look at: each is made once in a process."""

from functools import cache

from experiments.lab.data.dataset import load
from experiments.lab.training.train import train


def trained(settings, method, seeds, probed=False):
    """The runs of a method on the digits, not to be changed. Settings that it ignores make no other training.

    For tests that replace no part of the laboratory.
    """
    return _trained(settings.of_method(method), method, tuple(seeds), probed)


@cache
def _trained(settings, method, seeds, probed):
    (runs,), _ = train([settings], method, seeds, load("Digits"), lambda _: None, probed=probed)
    return runs
