"""Runs know the user's own code that made them: files, what they import, and values that functions hold."""

import functools
import importlib
import sys

import numpy as np
import optax
import pytest

from experiments import lab
from experiments.lab.methods import Declaration, method
from experiments.lab.options.model import Model
from experiments.lab.options.own import declared
from experiments.lab.options.settings import Settings
from experiments.lab.results import own_code
from experiments.lab.system.errors import SettingsError

RULE = "import optax\ndef mine(settings):\n    return optax.sgd(settings.lr)\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that modules are imported from, and forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two edits in a second would be one
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def code_of(given):
    return own_code.of_own(declared(Declaration, given))


def in_a_notebook(text, name="a_notebook"):
    cell = {"__name__": name, "optax": optax}
    exec(text, cell)
    return cell


@pytest.mark.parametrize(
    "text",
    [
        "from consts import RATE\n" + RULE,
        RULE.replace("return", "from consts import RATE\n    return"),
        RULE.replace("return", "import consts\n    return"),
    ],
)
def test_a_file_counts_of_which_a_constant_is_imported_wherever(folder, text):
    (folder / "consts.py").write_text("RATE = 1\n")
    (folder / "mine.py").write_text(text)
    before = code_of("mine:mine")
    assert {"consts.py", "mine.py"} <= before.keys()
    assert code_of(f"{folder / 'mine.py'}:mine") == before
    (folder / "consts.py").write_text("RATE = 2\n")
    for name in ("consts", "mine"):
        sys.modules.pop(name, None)
    assert code_of("mine:mine")["consts.py"] != before["consts.py"]


def test_modules_of_a_package_count(folder):
    (folder / "rules").mkdir()
    (folder / "rules" / "__init__.py").write_text("from .one import mine\n")
    (folder / "rules" / "one.py").write_text("from . import two\n" + RULE)
    (folder / "rules" / "two.py").write_text("RATE = 1\n")
    (folder / "mine.py").write_text(RULE)  # no part of it, though something in it has this name
    assert set(code_of("rules:mine")) == {"__init__.py", "one.py", "two.py"}


def scaled(settings, rate):
    return optax.sgd(rate)


def around(rate):
    def inner(settings):
        return optax.sgd(rate)

    return inner


@pytest.mark.parametrize("make", [around, lambda rate: functools.partial(scaled, rate=rate)])
@pytest.mark.parametrize(
    ("one", "other"),
    [(0.1, 0.2), ([1], [2]), (np.zeros(2), np.ones(2)), ({"a": 1}, {"a": 2}), (optax.adam(1), optax.adam(2))],
)
def test_what_a_function_was_made_with_counts(make, one, other):
    assert code_of(make(one)) == code_of(make(one))
    assert code_of(make(one)) != code_of(make(other))


def test_a_partial_has_the_name_of_its_function():
    assert declared(Declaration, functools.partial(scaled, rate=1)).name == "scaled"
    assert declared(Declaration, functools.partial(scaled, rate=1)).origin == "test_own_code.py:scaled"


def test_a_run_of_a_function_with_another_value_is_another_run(tmp_path):
    given = {"experiment": "splitDigits", "tasks": 2, "iters": 4, "batch": 8, "fc_units": 4}
    results = [lab.compare(given, [around(rate)], 1, results_dir=tmp_path) for rate in (0.0, 5.0, 0.0)]
    assert [one.finished["inner"][0].found_again for one in results] == [False, False, True]
    assert results[0].loss["inner"][0, 0] != results[1].loss["inner"][0, 0]


@pytest.mark.parametrize(("one", "other"), [("1.0", "2.0"), ("[1]", "[2]"), ("(1, 2)", "(1, 3)")])
def test_constants_of_a_notebook_count(one, other):
    text = "rate = {}\ndef mine(settings): return optax.sgd(rate)\n"
    first, again, second = (code_of(in_a_notebook(text.format(rate))["mine"]) for rate in (one, one, other))
    assert first == again != second


def test_a_helper_of_a_notebook_counts(folder):
    (folder / "helping.py").write_text("def rate():\n    return 1.0\n")
    text = "from helping import rate\ndef mine(settings): return optax.sgd(rate())\n"
    for one in (
        text,
        text.replace("from helping import rate", "import helping").replace("rate()", "helping.rate()"),
    ):
        assert "helping.py" in code_of(in_a_notebook(one)["mine"])


def test_a_method_and_a_model_of_one_notebook_both_count():
    def digest(rate, width):
        text = f"def mine(settings): return optax.sgd({rate})\ndef net(rngs): return {width}\n"
        cell = in_a_notebook(text)
        return own_code.of_own(declared(Declaration, cell["mine"]), Model(name="net", make=cell["net"]))

    assert len({tuple(digest(*each).items()) for each in ((1, 1), (2, 1), (1, 2), (1, 1))}) == 3


def test_what_is_imported_again_counts_and_what_is_only_edited_does_not(folder):
    path = folder / "edited.py"
    path.write_text(RULE)
    import edited

    before = code_of(edited.mine)
    path.write_text(RULE.replace("sgd", "adam"))
    with pytest.warns(UserWarning, match=r"edited\.py was changed after it was imported, and its old code"):
        assert code_of(edited.mine) == before
    importlib.reload(edited)
    assert code_of(edited.mine) != before


def test_a_file_that_was_edited_before_it_was_looked_at_is_refused(folder):
    path = folder / "early.py"
    path.write_text(RULE)
    import early

    path.write_text("\n" + RULE)
    with pytest.raises(SettingsError, match=r"early\.py was changed after it was imported: importlib.reload"):
        code_of(early.mine)
    importlib.reload(early)
    assert set(code_of(early.mine)) == {"early.py"}


def test_the_file_beside_it_must_be_the_one_that_is_imported(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "neighbour.py").write_text(f"RATE = '{name}'\n")
        (folder / name / "mine.py").write_text("import neighbour\n" + RULE)
    code_of(f"{folder / 'a' / 'mine.py'}:mine")
    with pytest.raises(SettingsError, match=r"imports neighbour, which is .*a/neighbour\.py, not .*b/neigh"):
        code_of(f"{folder / 'b' / 'mine.py'}:mine")


def test_the_commands_that_a_file_imports_are_no_code_of_its_own(folder):
    (folder / "mine.py").write_text("from experiments import compare, lab, sweep\n" + RULE)
    assert set(code_of("mine:mine")) == {"mine.py"}


def test_what_is_built_in_has_no_code_of_its_own():
    for kind in (Settings.methods["cs"], Settings.model, Settings.scenarios["task"]):
        assert own_code.of_own(kind) == {}


def test_a_method_that_was_declared_counts_as_its_function():
    assert code_of(method("one")(around(1))) != code_of(method("one")(around(2)))
    assert set(code_of(scaled)) < set(code_of(method("one")(around(1))))
