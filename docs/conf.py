"""The documentation site: ``sphinx-build -W -c docs . build/site``, without a network.

The source folder is the checkout, so that the links between README, notebooks and pages are the same in both.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import cs_optax  # noqa: E402

project = "cs_optax"
author = copyright = "The cs_optax authors"
version = release = cs_optax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "command_line",
    "inventories",
    "linked_names",
    "mathml",
]

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "benchmarks/README.md",
    "benchmarks/results/*/*.md",
    "examples/README.md",
    "experiments/README.md",
    "experiments/results/claims/*.md",
    "experiments/results/rl/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "dist", "plots", "results"]
nitpicky = True
nitpick_ignore = [
    ("py:class", "Beakers"),
    ("py:class", "experiments.lab.results.runs.FinishedRun"),
    ("py:class", "experiments.lab.tasks.problems.Problem"),
    ("py:class", "experiments.lab.tasks.samples.Samples"),
    ("py:exc", "MethodsFailedError"),
]
default_role = "code"

# Markdown and notebooks. Outputs are those that the notebooks have.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Docstrings.
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
add_module_names = False

# Names of other projects: `inventories` gives each its small inventory.
intersphinx_mapping = {}

html_theme = "sphinx_book_theme"
html_title = f"cs_optax {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_extra_path = ["_extra"]
html_math_renderer = "mathml"
html_copy_source = False
html_theme_options = {
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search is in the sidebar
    "navigation_with_keys": False,
    "use_download_button": False,
}


def give_title(app: Sphinx, name: str, content: list[str]) -> None:
    """A title for a table that a command wrote."""
    if "/results/" in name:
        *_, folder, table = name.split("/")
        content[0] = f"# {table.replace('_', ' ').replace('-', ' ').capitalize()} ({folder})\n\n{content[0]}"


def setup(app: Sphinx) -> None:
    """Give the tables titles."""
    app.connect("source-read", give_title)
