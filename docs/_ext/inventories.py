"""Where the names of other projects are documented, without a network.

Each ``docs/inventories/NAME.txt`` is an inventory of Sphinx as text, below the address of the documentation.
It has only the names that are linked. ``python docs/_ext/inventories.py`` looks them up again in the whole
inventories at those addresses, for which it needs a network.
"""

import urllib.request
import zlib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

HERE = Path(__file__).parent.parent / "inventories"
N_LINES = 4  # of the header, which is not compressed


def read(path: Path) -> tuple[str, list[str], list[str]]:
    """The address, the lines of the header, and one line for each name."""
    lines = path.read_text().splitlines()
    return lines[0].removeprefix("# "), lines[1 : N_LINES + 1], lines[N_LINES + 1 :]


def packed(header: list[str], names: list[str]) -> bytes:
    """An inventory as Sphinx reads it."""
    lines = ["\n".join(part) + "\n" for part in (header, names)]
    return lines[0].encode() + zlib.compress(lines[1].encode())


def looked_up(names: list[str], inventory: bytes) -> list[str]:
    """The lines of an inventory that have the same names and roles."""
    _, *_, rest = inventory.split(b"\n", N_LINES)
    found = {tuple(line.split()[:2]): line for line in zlib.decompress(rest).decode().splitlines()}
    return [found[tuple(line.split()[:2])] for line in names]


def pack(app: Sphinx, config: Config) -> None:
    """Write the inventories for Sphinx, and name them as the only ones."""
    folder = Path(app.doctreedir) / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(HERE.glob("*.txt")):
        address, header, names = read(path)
        inventory = folder / f"{path.stem}.inv"
        inventory.write_bytes(packed(header, names))
        config.intersphinx_mapping[path.stem] = (address, str(inventory))


def setup(app: Sphinx) -> dict[str, bool]:
    """Before `sphinx.ext.intersphinx` reads its mapping."""
    app.connect("config-inited", pack, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> None:
    """Look all names up again."""
    for path in sorted(HERE.glob("*.txt")):
        address, header, names = read(path)
        with urllib.request.urlopen(f"{address}objects.inv") as answer:
            names = looked_up(names, answer.read())
        path.write_text("\n".join([f"# {address}", *header, *names]) + "\n")


if __name__ == "__main__":
    main()
