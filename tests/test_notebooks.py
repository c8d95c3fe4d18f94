"""Every notebook runs from top to bottom, with less to compute, and is the same as its script."""

import os
import warnings
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
# What takes the time of a notebook, and what takes its place.
SMALLER = {
    "01_quick_start": {"30_000": "3_000", "5, 300, 5, 50": "5, 60, 2, 20"},
    "02_memory_curves": {
        "200_000, 25": "20_000, 25",
        "n_memories, n_trials = 2048, 12_000, 4": "n_memories, n_trials = 64, 1_100, 2",
        "n_memories=8000, n_trials=4": "n_memories=700, n_trials=2",
    },
    "03_split_mnist": {"(50, 2) if small": "(20, 2) if small"},
    "04_your_own_model": {
        "range(1, 6)": "range(1, 3)",
        "key(1), 3000": "key(1), 300",
        "key(2), 500": "key(2), 50",
    },
    "05_averages": {
        "10_000": "500",
        "geomspace(0.002, 2, 31)": "geomspace(0.002, 2, 5)",
    },
}


def with_less_to_compute(path):
    """A notebook as it is, but for these numbers."""
    notebook = nbformat.read(path, as_version=4)
    for large, small in SMALLER[path.stem].items():
        (cell,) = [cell for cell in notebook.cells if large in cell.source]
        assert cell.source.count(large) == 1
        cell.source = cell.source.replace(large, small)
    return notebook


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [*SMALLER]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_and_script_are_the_same(path):
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, monkeypatch, tmp_path):
    from nbclient import NotebookClient

    monkeypatch.setitem(os.environ, "PYTHONPATH", str(path.parent.parent))
    monkeypatch.setitem(os.environ, "NOTEBOOK_SIZE", "small")
    monkeypatch.delitem(os.environ, "MNIST_DIR", raising=False)  # the digits are quicker
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel's own, about its sockets
        client = NotebookClient(
            with_less_to_compute(path),
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
        )
        client.execute()


def test_the_code_of_a_notebook_runs(monkeypatch, tmp_path):
    """One of them, here, without a kernel."""
    (path,) = (path for path in NOTEBOOKS if path.stem == "05_averages")
    code = "\n\n".join(cell.source for cell in with_less_to_compute(path).cells if cell.cell_type == "code")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEBOOK_SIZE", "small")
    monkeypatch.setattr(plt, "show", lambda: None)
    with plt.rc_context({"backend": "agg"}):
        exec(compile(code, str(path), "exec"), {"__name__": "notebook"})
        assert plt.get_fignums()
        plt.close("all")
