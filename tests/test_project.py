"""The project itself: style, types, documentation, and what a wheel contains."""

import inspect
import subprocess
import sys
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


def test_links_in_the_documentation_lead_somewhere():
    import re

    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_wheel_holds_the_library_alone(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names}
    assert packages == {"cs_optax", f"cs_optax-{cs_optax.__version__}.dist-info"}
    assert "cs_optax/py.typed" in names


def test_importing_the_library_imports_no_experiment():
    code = "import sys, cs_optax; assert not {'flax', 'experiments', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
