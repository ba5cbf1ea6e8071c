"""What a cell prints comes in pieces, cut anywhere; they are put together before the page is made."""

import functools
from typing import Any

import nbclient
from jupyter_cache.executors import utils
from sphinx.application import Sphinx

START_S = 300  # of a kernel, on a busy machine


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    utils.executenb = functools.partial(nbclient.execute, coalesce_streams=True, startup_timeout=START_S)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
