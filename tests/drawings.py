"""Figures of commands: none of them, or all once more."""

from experiments import figures
from experiments.lab import figures as drawing


def undraw(monkeypatch):
    """Let commands draw no figure: figures take the most time."""
    monkeypatch.setattr(drawing, "all_figures", lambda *_, **__: iter(()))


def assert_drawn_again(folder):
    """Assert that a command's results alone give the same files; return their kinds: ``accuracy.png`` …"""
    assert figures.main([str(folder / "results"), f"--plot-dir={folder / 'again'}", "--formats=png"]) == 0
    plots = sorted((folder / "plots").glob("*.png"))
    for path in plots:
        assert (folder / "again" / path.name).read_bytes() == path.read_bytes()
    return [path.name.rpartition("-")[2] for path in plots]
