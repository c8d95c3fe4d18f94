"""The options of a command, from what the command itself answers to ``--help``."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BOX = re.compile(r"^╭─ (.+?) ─*╮$\n(.*?)^╰─*╯$", re.MULTILINE | re.DOTALL)


class Option(NamedTuple):
    """One option: how it is written, and what the help says about it."""

    written: str
    text: str


class Box(NamedTuple):
    """A box of the help: its title, the words before its options, and these."""

    title: str
    text: str
    options: list[Option]


def help_of(module: str) -> str:
    """What ``python -m module --help`` prints."""
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True).stdout


def boxes_of(text: str) -> Iterator[Box]:
    """The boxes of a help. Options begin at their margin, below a rule if there are words before them."""
    for title, content in BOX.findall(text):
        lines = [line[2:].removesuffix("│").rstrip() for line in content.splitlines()]
        rule = next((number for number, line in enumerate(lines) if line.startswith("──")), -1)
        starts = [n for n, line in enumerate(lines) if n > rule and not line.startswith(" ")]
        options = [option_of(lines[first:last]) for first, last in pairwise([*starts, len(lines)])]
        yield Box(title, joined(lines[: max(rule, 0)]), options)


def option_of(lines: list[str]) -> Option:
    """An option from its lines: what is written at the margin, and the words, which are indented."""
    written, *text = re.split(r"\s{2,}", lines[0], maxsplit=1)
    return Option(written, joined([*text, *lines[1:]]))


def joined(lines: Iterable[str]) -> str:
    """Lines as one paragraph."""
    return " ".join(" ".join(lines).split())


def plain(words: str) -> str:
    """Words as reStructuredText without markup, but for flags, which are code."""
    return re.sub(r"(--[a-z][a-z-]*)", r"``\1``", re.sub(r"([\\*`|_])", r"\\\1", words))


class CommandLine(SphinxDirective):
    """``{command-line} MODULE``: for each option an entry that can be linked."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """All boxes, one after the other."""
        (module,) = self.arguments
        self.env.note_reread()  # the code may change
        text = help_of(module)
        usage, *words = text.partition("╭")[0].strip().split("\n\n")
        lines = [".. code-block:: text", "", f"   {usage.removeprefix('usage: ')}", ""]
        lines += [line for paragraph in words for line in (plain(joined([paragraph])), "")]
        lines += [f".. program:: {module}", ""]
        for box in boxes_of(text):
            title = box.title.removesuffix(" options").capitalize()
            lines += [f".. rubric:: {title}", "", plain(box.text), ""]
            for option in (one for one in box.options if one.written != "-h, --help"):
                lines += [f".. option:: {option.written}", "", f"   {plain(option.text)}", ""]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Offer the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
