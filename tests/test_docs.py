"""Every block of Python in the documentation runs, and every message it promises is the one that comes."""

import re
from pathlib import Path

import pytest
from tiers import few

import cs_optax
import cs_optax.memory

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page):
    """The blocks of a page as one program, each on its own lines, so that errors tell where they are."""
    text = page.read_text()
    program = ["\n"] * text.count("\n")
    for match in BLOCK.finditer(text):
        first = text.count("\n", 0, match.start(1))
        for offset, line in enumerate(match[1].splitlines(keepends=True)):
            program[first + offset] = line
    return "".join(program)


@pytest.mark.parametrize(
    "page",
    few(
        [page for page in PAGES if BLOCK.search(page.read_text())],
        lambda page: page.parent.name != "recipes" and page.stem != "laboratory",
    ),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_python_in_the_documentation_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page), str(page), "exec"), {"__name__": page.stem})


@pytest.mark.parametrize("block", BLOCK.findall((ROOT / "README.md").read_text()))
def test_every_block_of_the_front_page_runs_by_itself(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(block, {"__name__": "README"})


def test_every_recipe_is_listed_and_says_what_to_expect():
    folder = ROOT / "docs" / "recipes"
    index = (folder / "index.md").read_text()
    recipes = {path.stem: path.read_text() for path in folder.glob("*.md") if path.stem != "index"}
    listed, shown = re.findall(r"^\* \[.+\]\((.+)\.md\): ", index, re.MULTILINE), index.split(":hidden:\n")[1]
    assert sorted(listed) == sorted(recipes)
    assert listed == re.findall(r"^([\w-]+)$", shown, re.MULTILINE)
    for name, text in recipes.items():
        assert BLOCK.search(text), name
        assert "\n## What to expect\n" in text, name


def rows(heading):
    """``(call, message)`` of a table in docs/errors.md."""
    section = (ROOT / "docs" / "errors.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(.+)` \| (.+) \|$", section, re.MULTILINE)


@pytest.fixture(scope="module")
def names():
    """The names that the calls in docs/errors.md use."""
    found = {}
    exec(blocks(ROOT / "docs" / "errors.md"), found)
    return found


def pattern(message):
    """A regular expression for the whole message, in which … stands for anything."""
    return "^" + re.escape(message).replace("…", ".*") + r"(\n|$)"


@pytest.mark.parametrize(("call", "message"), rows("Errors"))
def test_errors_say_what_the_documentation_says(call, message, names):
    with pytest.raises(ValueError, match="(?s)" + pattern(message)):
        eval(call, names)


@pytest.mark.parametrize(("call", "message"), rows("Warnings"))
def test_warnings_say_what_the_documentation_says(call, message, names):
    with pytest.warns(UserWarning, match=pattern(message)):
        eval(call, names)


def test_every_row_of_the_integration_table_names_its_tests():
    page = (ROOT / "docs" / "composition.md").read_text()
    named = set(re.findall(r"`(test_\w+\.py)`", page))
    assert named == {path.name for path in (ROOT / "tests" / "integration").glob("test_*.py")}


@pytest.mark.parametrize("module", [cs_optax, cs_optax.memory], ids=lambda module: module.__name__)
def test_every_public_name_is_on_the_page_of_the_interface(module):
    page = (ROOT / "docs" / "api.md").read_text()
    named = set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`]+)`", page))))
    assert set(module.__all__) - named <= {"__version__"}
