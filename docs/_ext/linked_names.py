"""Names in code type lead to where they are documented.

Of ours it is enough to write what follows ``cs_optax.``. Those of other projects are found in `inventories`.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.intersphinx import InventoryAdapter
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"([A-Za-z_][\w.]*)(\(\))?")
WRITTEN_AS = {"nnx.": "flax.nnx.", "jnp.": "jax.numpy.", "lab.": "experiments.lab."}
DEFINED_IN = {"jax.jaxlib._jax.": "jax.", "optax._src.base.": "optax."}  # as autodoc sees them


def replaced(name: str, beginnings: dict[str, str]) -> str:
    """A name, with its beginning replaced by another one."""
    for old, new in beginnings.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def elsewhere(env: BuildEnvironment, name: str, content: nodes.Node) -> nodes.reference | None:
    """A link to a name of another project, if it is known."""
    for role, names in InventoryAdapter(env).main_inventory.items():
        if role.startswith("py:") and name in names:
            return nodes.reference("", "", content, internal=False, refuri=names[name].uri, reftitle=name)
    return None


class LinkNames(SphinxPostTransform):
    """Puts a link around each literal that is the name of something documented."""

    default_priority = 8  # before the references are resolved

    def run(self, **kwargs: Any) -> None:
        """Go through the page."""
        for literal in list(self.document.findall(nodes.literal)):
            match = NAME.fullmatch(literal.astext())
            linked = isinstance(literal.parent, nodes.reference | nodes.title) or "xref" in literal["classes"]
            if match and not linked and (link := self.link(match[1], literal)) is not None:
                literal.replace_self(link)

    def link(self, name: str, literal: nodes.literal) -> nodes.reference | None:
        """A link with the literal in it, if the name is known."""
        name = replaced(name, WRITTEN_AS)
        content, here = literal.deepcopy(), self.env.docname
        for full in (f"cs_optax.{name}", name):
            entry = self.env.domains.python_domain.objects.get(full)
            if entry is not None and entry.objtype != "module":
                return make_refnode(self.app.builder, here, entry.docname, entry.node_id, content, full)
        return elsewhere(self.env, name, content)


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> Any:
    """A link to something that its project documents under another name than that of where it is defined."""
    return elsewhere(env, replaced(node["reftarget"], DEFINED_IN), content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Apply it to all pages."""
    app.add_post_transform(LinkNames)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
