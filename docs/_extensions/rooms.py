"""The reference of a room of the library, from its `__all__`, and links to what it exports from anywhere."""

import importlib
import inspect
import pkgutil
import typing
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import stringify_annotation


class Room(Directive):
    """`.. room:: torchrrm.rates`: what the module says, a table of what it exports, and all of it in turn."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Parse what autodoc is to be told."""
        name = self.arguments[0]
        module = importlib.import_module(name)
        exported = sorted(module.__all__, key=lambda word: (word.isupper(), word.lower()))
        data = _documented_data(module)
        lines = [
            f".. automodule:: {name}",
            "   :no-members:",
            "",
            ".. autosummary::",
            "   :nosignatures:",
            "",
        ]
        lines += [f"   {word}" for word in exported if callable(getattr(module, word))]
        for word in exported:
            lines += ["", *_entry(f"{name}.{word}", getattr(module, word), data.get(word))]
        parsed = nodes.Element()
        self.state.nested_parse(StringList(lines, source=f"room of {name}"), self.content_offset, parsed)
        return parsed.children


def _entry(name: str, found: object, about: list[str] | None) -> list[str]:
    """The directive that documents one name."""
    if about is not None:
        return [f".. py:data:: {name}", "", *(f"   {line}" for line in about)]
    if isinstance(found, dict):
        return [f".. py:data:: {name}", "", f"   By name: {', '.join(map(str, found))}."]
    if typing.get_origin(found) is not None:
        return [
            f".. py:data:: {name}",
            "",
            f"   The type ``{stringify_annotation(found, 'smart').replace('~', '')}``.",
        ]
    if not inspect.isclass(found):
        return [f".. autofunction:: {name}"]
    return [f".. autoclass:: {name}", "   :members:", "   :special-members: __call__"]


def _documented_data(module: ModuleType) -> dict[str, list[str]]:
    """Docstrings of constants, from whichever module of the room they stand in."""
    names = [module.__name__]
    if hasattr(module, "__path__"):
        names += [part.name for part in pkgutil.walk_packages(module.__path__, f"{module.__name__}.")]
    found: dict[str, list[str]] = {}
    for name in reversed(names):
        for (owner, word), lines in ModuleAnalyzer.for_module(name).find_attr_docs().items():
            if not owner:
                found[word] = lines
    return found


def _public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.reference | None:
    """The link of a name that one room exports, wherever it was defined."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rsplit(".", 1)[-1]
    objects = env.domains.python_domain.objects
    found = [known for known in objects if known.rsplit(".", 1)[-1] == name and known.count(".") == 2]
    if len(found) != 1 or not name[0].isupper():
        return None
    target = objects[found[0]]
    page = app.builder.get_relative_uri(node["refdoc"], target.docname)
    return nodes.reference("", "", shown, refuri=f"{page}#{target.node_id}", internal=True, reftitle=found[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_directive("room", Room)
    app.connect("missing-reference", _public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
