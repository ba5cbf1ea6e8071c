"""Names of the library are linked where they are public, whatever module they come from."""

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def _public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.reference | None:
    """The link of a name that stands in the reference once, as an object of a room."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].removeprefix("torchrrm.").rsplit(".", 1)[-1]
    objects = env.domains.python_domain.objects
    found = [known for known in objects if known.rsplit(".", 1)[-1] == name and known.count(".") == 2]
    if len(found) != 1 or not name[0].isupper():
        return None
    target = objects[found[0]]
    page = app.builder.get_relative_uri(node["refdoc"], target.docname)
    return nodes.reference("", "", shown, refuri=f"{page}#{target.node_id}", internal=True, reftitle=found[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("missing-reference", _public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
