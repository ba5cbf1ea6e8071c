"""Docstrings are read as they are written: code in backticks, formulas indented, other signs as themselves."""

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

CODE = re.compile(r"(``.*?``|`.*?`|(?<!\w)\*[A-Za-z][^*\n]*\*(?!\w))", re.DOTALL)
TYPE = re.compile(r"^(:vartype \w+: )(.*)$")
HEADING = re.compile(r"[A-Z][a-z]+:$")


def rewritten(lines: list[str]) -> list[str]:
    """A docstring in the markup that Sphinx reads."""
    result: list[str] = []
    for is_formula, part in _parts(lines):
        if not is_formula:
            result += _plain_signs(part)
            continue
        indent = min(len(line) - len(line.lstrip()) for line in part if line.strip())
        result += [f"{' ' * (indent - 4)}.. code-block:: none", "", *part]
    return result


def _plain_signs(lines: list[str]) -> list[str]:
    """Stars and bars that are neither code nor emphasis mean themselves."""
    parts = CODE.split("\n".join(lines))
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).split("\n")


def _parts(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Text and formulas in turn: a formula is deeper than the paragraph before it, which is no heading."""
    part: list[str] = []
    is_formula, level, before = False, 0, ""
    for place, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.strip():
            deeper = indent >= level + 4 and place > 0 and not lines[place - 1].strip()
            begins = not is_formula and deeper and not HEADING.match(before)
            if begins or (is_formula and indent <= level):
                yield is_formula, part
                part, is_formula = [], begins
            level = level if is_formula else indent
            before = line.strip()
        part.append(line)
    yield is_formula, part


def _rewrite(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    lines[:] = rewritten(lines)


def _types_as_code(
    app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]
) -> None:
    lines[:] = [TYPE.sub(r"\1``\2``", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.connect("autodoc-process-docstring", _rewrite, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _types_as_code, priority=600)  # after it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
