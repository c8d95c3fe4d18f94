"""Equations as MathML: browsers draw it themselves, and no script is fetched from a network."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)
RELATIONS = str.maketrans(  # that would be spaced as letters
    {"≈": r"\approx ", "≤": r"\le ", "≲": r"\lesssim ", "∝": r"\propto ", "←": r"\leftarrow "}
)


def mathml(equation: str, node: nodes.Element, display: str) -> str:
    """The equation; with a warning as it is, where it cannot be read."""
    try:
        return convert(equation.translate(RELATIONS), display=display)
    except Exception as error:  # the converter has no base class of its own errors
        LOGGER.warning("%s cannot be read as LaTeX: %r", equation, error, location=node)
        return nodes.Text(equation).astext()


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """An equation within a line."""
    self.body.append(mathml(node.astext(), node, "inline"))
    raise nodes.SkipNode


def block(self: HTML5Translator, node: nodes.math_block) -> None:
    """An equation of its own, perhaps of several lines."""
    equation = node.astext()
    if r"\\" in equation:
        equation = rf"\begin{{gathered}}{equation}\end{{gathered}}"
    self.body.append(f'<div class="math">{mathml(equation, node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
