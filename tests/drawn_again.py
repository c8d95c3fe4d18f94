"""Figures of a command, drawn once more from its results alone."""

from experiments import figures


def assert_drawn_again(folder):
    """Assert that the files are the same to the byte; return their kinds, such as ``accuracy.png``."""
    assert figures.main([str(folder / "results"), f"--plot-dir={folder / 'again'}", "--formats=png"]) == 0
    plots = sorted((folder / "plots").glob("*.png"))
    for path in plots:
        assert (folder / "again" / path.name).read_bytes() == path.read_bytes()
    return [path.name.rpartition("-")[2] for path in plots]
