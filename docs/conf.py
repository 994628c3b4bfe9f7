"""How the site is built, without a network: ``sphinx-build -W --keep-going -n docs site`` (extra docs)."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "_ext")]

import fastntk  # noqa: E402 - the extensions of docs/_ext are found first

project = "fastntk"
author = "The fastntk developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
version = release = fastntk.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "plain_docstrings",
    "numpydoc",
    "mathml",
    "command_help",
    "gallery",
]
exclude_patterns = ["_ext", "_build"]
nitpicky = True

# Formulas in indented blocks are text, not Python.
highlight_language = "none"
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]  # as on GitHub, which leaves such blocks to TeX alone
myst_heading_anchors = 3
html_math_renderer = "mathml"

default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it in words
numpydoc_show_class_members = False
numpydoc_use_plots = False

html_theme = "furo"
html_title = f"fastntk {release}"
html_static_path = ["_static"]
html_css_files = ["fastntk.css"]
html_copy_source = False
html_show_sphinx = False
templates_path = []
