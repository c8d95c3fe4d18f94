"""Names that users give: printed as they are, and part of file names that every file system takes."""

import os
from pathlib import Path

import pytest

from experiments.lab.live.visdom_windows import VisdomWindows
from experiments.lab.options.description import describe
from experiments.lab.options.settings import Settings
from experiments.lab.system.names import MOST_BYTES, file_part, printable

NAMES = [
    os.fsdecode(b"donn\xe9es"),
    "x" * 200,
    "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 60,
    "mnist[v2]",
    "two\nlines",
    "\x1b[31mred",
    "\N{RIGHT-TO-LEFT OVERRIDE}npz",
    "-rf",
    "..",
    " ",
    "",
    "a/b\\c:d*?",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_one_line_of_unicode(name):
    shown = printable(name)
    assert shown.isprintable()
    assert shown.encode().decode() == shown


@pytest.mark.parametrize("name", ["MNIST-2 (v1)", "mnist[v2]", "\N{CJK UNIFIED IDEOGRAPH-65E5}", "$x_1$", ""])
def test_a_name_that_can_be_printed_is_printed_as_it_is(name):
    assert printable(name) == name


@pytest.mark.parametrize("name", NAMES)
def test_part_of_a_file_name_is_short_and_without_signs(name):
    part = file_part(name)
    assert 0 < len(part.encode()) <= MOST_BYTES
    assert part.isprintable()
    assert not set(part) & set(" /\\:*?[]$")
    assert part[0] not in "-."


@pytest.mark.parametrize("name", ["splitFashionMNIST", "my.data-2_b+c"])
def test_a_plain_name_is_part_of_a_file_name_as_it_is(name):
    assert file_part(name) == name


def test_data_of_ones_own_have_a_name_that_can_be_printed():
    assert Settings(experiment=os.fsdecode(b"in/donn\xe9es.npz")).name == r"donn\xe9es"


def test_a_stream_file_has_a_name_that_can_be_printed():
    settings = Settings(stream="file", stream_file=Path(os.fsdecode(b"in/donn\xe9es.npz")))
    assert describe(settings).endswith(r"stream of donn\xe9es.npz")


def test_visdom_gets_a_name_without_signs():
    shown = VisdomWindows(Settings(experiment="a/mnist[v2].npz"), ["run"])
    assert shown._plot("run-loss", {})["eid"] == "mnist_v2_5-task-task-based"
