"""Formulas as MathML, which browsers draw themselves: no script, nothing from the network."""

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator


def _mathml(node: nodes.math | nodes.math_block, *, as_block: bool) -> str:
    """The formula; or its source and a warning, where it uses what the converter does not know."""
    text = re.sub(r"\\dots\b", r"\\ldots", node.astext())
    if as_block and r"\\" in text:
        text = f"\\begin{{align*}}{text}\\end{{align*}}"
    try:
        return tex2mathml(text, as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in formula %s", error, text, location=node)
        return f"<code>{html.escape(text)}</code>"


def _inline(page: HTML5Translator, node: nodes.math) -> None:
    page.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _block(page: HTML5Translator, node: nodes.math_block) -> None:
    page.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
