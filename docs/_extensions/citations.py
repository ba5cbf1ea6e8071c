"""Keys in brackets, as docstrings and pages cite them, are linked to the bibliography."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

PAGE = "reference/bibliography"


class Citations(SphinxPostTransform):
    """`[Hao2024]` becomes a link to that entry, if `references.bib` has it."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Replace the keys of one page."""
        if self.env.docname == PAGE:
            return
        keys = _keys(Path(self.env.srcdir) / "references.bib")
        found = re.compile(r"\[(" + "|".join(sorted(keys, key=len, reverse=True)) + r")\]")
        for text in list(self.document.findall(nodes.Text)):
            parent = text.parent
            if isinstance(parent, nodes.reference | nodes.literal | nodes.FixedTextElement):
                continue
            parts = found.split(text.astext())
            if len(parts) > 1:
                parent.replace(
                    text, [self._part(part, place % 2) for place, part in enumerate(parts) if part]
                )

    def _part(self, part: str, is_key: int) -> nodes.Node:
        """Text as it is, or the link of a key."""
        if not is_key:
            return nodes.Text(part)
        page = self.app.builder.get_relative_uri(self.env.docname, PAGE)
        return nodes.reference("", f"[{part}]", refuri=f"{page}#{nodes.make_id(part)}", internal=True)


def _keys(path: Path) -> list[str]:
    """Keys of the entries of a bibliography."""
    return re.findall(r"^@\w+\{(\w+),", path.read_text(encoding="utf-8"), re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_post_transform(Citations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
