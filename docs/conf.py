"""Settings of the documentation; `make docs` builds it into docs/_build/html."""

import importlib.metadata
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

# Cells call the command line of this environment, on one thread, and draw without a screen.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "COLUMNS": "120", "NO_COLOR": "1"}
os.environ["IPYTHONDIR"] = str(HERE / "_ipython")

project = "torchrrm"
author = "The torchrrm authors"
copyright = author
version = release = importlib.metadata.version("torchrrm")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "sphinxcontrib.bibtex",
    "cells",
    "citations",
    "commands",
    "docstrings",
    "fences",
    "mathml",
    "rooms",
]
exclude_patterns = ["_build", "_extensions", "_ipython"]
nitpicky = False  # names of torch and numpy are not linked: nothing is fetched

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = False  # a warning, which is an error of the build, after all pages were tried
nb_execution_show_tb = True
nb_execution_timeout = 300  # seconds of a cell; a busy machine takes many times what an idle one does
nb_merge_streams = True
nb_render_markdown_format = "gfm"

autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autosummary_generate = False
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

bibtex_bibfiles = ["references.bib"]
bibtex_cite_id = "{key}"

html_theme = "pydata_sphinx_theme"
html_title = "torchrrm"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
