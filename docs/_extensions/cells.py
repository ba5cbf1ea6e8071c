"""What a cell prints comes in pieces, cut anywhere; they are put together before the page is made."""

import functools
from typing import Any

import nbclient
from jupyter_cache.executors import utils
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    utils.executenb = functools.partial(nbclient.execute, coalesce_streams=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
