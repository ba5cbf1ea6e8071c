"""No code that nobody ran: a fence of Python or of a shell that is no cell fails the build."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

PLAIN = re.compile(r"^ *(?:```+|~~~+|:::+)\s*(?:python|py|bash|sh|shell|console|pycon)\b", re.MULTILINE)


def plain_fences(text: str) -> list[int]:
    """Lines, from 1, where a fence begins that is not executed."""
    return [text.count("\n", 0, match.start()) + 1 for match in PLAIN.finditer(text)]


def _check(app: Sphinx, page: str, source: list[str]) -> None:
    for line in plain_fences(source[0]):
        logging.getLogger(__name__).warning(
            "a block of code must be a {code-cell}, which is executed", location=(page, line)
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("source-read", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
