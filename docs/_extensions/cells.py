"""How cells are run: without a network port, and what they print is put together before the page is made.

Output of a shell comes in pieces that are cut anywhere.
"""

import functools
from typing import Any

import nbclient
from jupyter_cache.executors import utils
from sphinx.application import Sphinx
from traitlets.config import Config


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx's entry point."""
    local = Config({"KernelManager": {"transport": "ipc"}})
    utils.executenb = functools.partial(nbclient.execute, coalesce_streams=True, config=local)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
