"""The project itself: style, types, documentation, and what a wheel contains."""

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import cs_optax

ROOT = Path(__file__).parent.parent


def run(*command):
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_lint():
    run("ruff", "check", "--no-cache", ".")


def test_format():
    run("ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the types of newer libraries are others")
def test_types():
    run("mypy")


@pytest.mark.parametrize("name", cs_optax.__all__)
def test_public_names_are_documented(name):
    documented = getattr(cs_optax, name)
    text = inspect.getdoc(documented)
    assert f"`{name}`" in (ROOT / "docs" / "api.md").read_text()
    if inspect.isfunction(documented):
        assert ">>>" in text
        for parameter in inspect.signature(documented).parameters:
            assert f"    {parameter}: " in text, f"{name} does not explain {parameter}"
    elif hasattr(documented, "_fields"):
        for field in documented._fields:
            assert f"    {field}: " in text, f"{name} does not explain {field}"


def test_every_method_of_a_chain_is_documented():
    for name, member in vars(cs_optax.BeakerChain).items():
        if name.startswith("_") or name in cs_optax.BeakerChain.__dataclass_fields__:
            continue
        assert inspect.getdoc(getattr(cs_optax.BeakerChain, name)), name
        assert f"`BeakerChain.{name}`" in (ROOT / "docs" / "api.md").read_text(), name
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function) and len(inspect.signature(function).parameters) > 2:
            for parameter in list(inspect.signature(function).parameters)[1:]:
                assert f"    {parameter}: " in inspect.getdoc(function), (
                    f"{name} does not explain {parameter}"
                )


PAGES = [
    *ROOT.glob("*.md"),
    *(
        page
        for folder in ("docs", "experiments", "examples", "benchmarks", "tests")
        for page in (ROOT / folder).rglob("*.md")
    ),
    *(ROOT / "notebooks").glob("*.ipynb"),
]


def markdown_of(page):
    """The prose of a page or a notebook, without blocks of code, in which # is no heading."""
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors_of(page):
    """What GitHub calls the headings of a page; a second heading of the same words ends in -1."""
    words = [
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", markdown_of(page), re.MULTILINE)
    ]
    before = [words[:place].count(one) for place, one in enumerate(words)]
    return {f"{one}-{n}" if n else one for one, n in zip(words, before, strict=True)}


def broken_links(page):
    """The links of a page to a file that is not there, or to a heading that its page does not have."""
    for target in re.findall(r"\]\(([^)\s]+)[^)]*\)", markdown_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_a_file_and_a_heading_that_exist(page):
    assert list(broken_links(page)) == []


def test_a_link_to_a_missing_file_or_heading_is_found_in_pages_and_notebooks(tmp_path):
    """The check of the links itself can fail."""
    right = ["#two-words", "#same-2", "page.md#same", "https://example.invalid/none.md"]
    wrong = ["#code", "#same-3", "none.md", "page.md#gone"]
    links = "# Two `words`\n```\n# code\n```\n## Same\n## Same\n## Same\n"
    links += " ".join(f'[to]({target}) [to]({target} "Title")' for target in (*right, *wrong))
    (tmp_path / "page.md").write_text(links)
    cells = [{"cell_type": "markdown", "source": links.splitlines(keepends=True)}]
    (tmp_path / "notebook.ipynb").write_text(json.dumps({"cells": cells}))
    for name in ("page.md", "notebook.ipynb"):
        assert list(broken_links(tmp_path / name)) == [target for target in wrong for _ in range(2)]


def test_the_wheel_holds_the_library_alone(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names}
    assert packages == {"cs_optax", f"cs_optax-{cs_optax.__version__}.dist-info"}
    assert "cs_optax/py.typed" in names


def test_an_editable_install_makes_the_library_and_the_experiments_importable_alone(tmp_path):
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for package in ("cs_optax", "experiments", "tests", "benchmarks"):
        (tmp_path / package).mkdir()
        shutil.copy(ROOT / "cs_optax" / "__init__.py", tmp_path / package)
    (wheel,) = WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist"), versions=["editable"])
    with zipfile.ZipFile(wheel) as archive:
        (path,) = archive.read("_cs_optax.pth").decode().splitlines()
    assert sorted(os.listdir(path)) == ["cs_optax", "experiments"]
    assert (Path(path) / "cs_optax" / "__init__.py").is_file()
    # The links must not be taken for the folders.
    (archive,) = SdistBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist"))
    with tarfile.open(archive) as archive:
        names = {Path(name).parts[1] for name in archive.getnames()}
    assert {"cs_optax", "experiments"} <= names
    assert ".hatch" not in names


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", [".github/workflows/tests.yml"]),
        ("github-issue-forms", [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/idea.yml"]),
        ("github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
        ("citation-file-format", ["--force-filetype", "yaml", "CITATION.cff"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_written_for_the_host_is_in_its_format(schema, files):
    run("check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


def test_the_citation_is_of_this_version():
    assert f"\nversion: {cs_optax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.slow
def test_wheel_and_sdist_are_built_and_the_wheel_of_the_sdist_is_installed(tmp_path):
    """In an environment of its own, with the packages of this one beside it: there may be no network."""
    run("build", "--no-isolation", "--outdir", str(tmp_path), ".")  # the wheel is that of the sdist
    (wheel,), (sdist,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert sdist.name == f"cs_optax-{cs_optax.__version__}.tar.gz"
    venv, packages = tmp_path / "venv", sysconfig.get_path("purelib")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--no-index", "-q", wheel], check=True)
    code = (
        f"import sys; sys.path.append({packages!r}); import cs_optax; "
        "print(cs_optax.__version__, cs_optax.__file__); "
        "print(cs_optax.BeakerChain.benna_fusi(4).timescales()[-1])"
    )
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{cs_optax.__version__} {venv}")
    assert said.endswith("512.0\n")


def test_importing_the_library_imports_no_experiment():
    code = "import sys, cs_optax; assert not {'flax', 'experiments', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Each room of the laboratory knows those before it alone; the commands know all of them.
ROOMS = [
    "system",
    "data",
    "options",
    "tasks",
    "models",
    "methods",
    "results",
    "training",
    "figures",
    "live",
    "command",
]
EXPERIMENTS = ROOT / "experiments"
SOURCES = sorted(EXPERIMENTS.rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 300, 60


def imported(tree):
    """Everything that is imported anywhere in a module: in functions too, and for the types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_that_a_module_may_not_know(room, tree):
    """What a module of a room imports from those after it, and from the commands."""
    known = ROOMS[: ROOMS.index(room) + 1]
    for name in imported(tree):
        package, *rest = name.split(".")
        if package == "experiments" and not (rest[:1] == ["lab"] and (len(rest) < 2 or rest[1] in known)):
            yield name


def test_every_room_of_the_laboratory_has_its_place():
    assert {path.name for path in (EXPERIMENTS / "lab").iterdir() if path.is_dir()} - {"__pycache__"} == set(
        ROOMS
    )


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_knows_the_rooms_before_it_alone(room):
    for path in (EXPERIMENTS / "lab" / room).rglob("*.py"):
        assert list(rooms_that_a_module_may_not_know(room, ast.parse(path.read_text()))) == [], path


def test_an_import_that_climbs_is_found():
    """The check of the rooms can fail."""
    climbing = ast.parse(
        "from experiments.lab.data import dataset\n"
        "from experiments.lab import live, options\n"
        "def f():\n    import experiments.lab.results.runs\n    from experiments.run import run\n"
    )
    found = list(rooms_that_a_module_may_not_know("options", climbing))
    assert found == ["experiments.lab.live", "experiments.lab.results.runs", "experiments.run.run"]


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def circles_in(needs):
    """The modules that need themselves, by way of others; ``needs`` has what each imports."""
    left = set(needs)
    while free := {name for name in left if not needs[name] & left}:
        left -= free
    return left


def test_no_modules_of_the_experiments_import_one_another_in_a_circle():
    trees = {name_of(path): ast.parse(path.read_text()) for path in SOURCES}

    def module_of(name):
        while name not in trees and name:
            name = name.rpartition(".")[0]
        return name

    needs = {name: {module_of(one) for one in imported(tree)} for name, tree in trees.items()}
    assert circles_in(needs) == set()
    needs["experiments.lab.system.names"].add("experiments.run")
    assert {"experiments.run", "experiments.lab.system.names"} <= circles_in(needs)


def functions_of(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(EXPERIMENTS)))
def test_modules_and_functions_of_the_experiments_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    for function in functions_of(ast.parse(text)):
        first = min(node.lineno for node in (function, *function.decorator_list))
        assert function.end_lineno - first + 1 <= MOST_LINES_OF_A_FUNCTION, function.name
