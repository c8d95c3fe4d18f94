"""Every notebook runs from top to bottom, and is the same as the script it is paired with."""

import os
import warnings
from pathlib import Path

import jupytext
import nbformat
import pytest
from tiers import few

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_and_script_are_the_same(path):
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]


@pytest.mark.parametrize(
    "path", few(NOTEBOOKS, lambda path: path.stem == "01_quick_start"), ids=lambda path: path.stem
)
def test_notebook_runs(path, monkeypatch, tmp_path):
    from nbclient import NotebookClient

    monkeypatch.setitem(os.environ, "PYTHONPATH", str(path.parent.parent))
    monkeypatch.setitem(os.environ, "NOTEBOOK_SIZE", "small")
    monkeypatch.delitem(os.environ, "MNIST_DIR", raising=False)  # the digits are quicker
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's own, about its sockets
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
