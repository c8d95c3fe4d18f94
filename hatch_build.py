"""What an editable install makes importable: the library and its experiments, not the whole checkout.

With their parent folder in the path, ``tests`` and ``benchmarks`` would be importable too, and other projects
have folders of these names. So the path gets a folder that holds links to the two alone.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

EXPOSED = ("cs_optax", "experiments")
LINKS = (
    ".hatch/editable"  # hatchling looks for no files in .hatch; elsewhere it would take links for the folders
)


class EditableLinks(BuildHookInterface):  # type: ignore[type-arg]
    """Makes the links."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make them before an editable install."""
        if version != "editable":
            return
        folder = Path(self.root, LINKS)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for name in EXPOSED:
                if not (folder / name).is_symlink():
                    (folder / name).symlink_to(Path("../..", name), target_is_directory=True)
        except OSError:  # Windows does not let everyone make links: then the whole checkout is in the path
            return
        self.build_config.target_config["dev-mode-dirs"] = [LINKS]
