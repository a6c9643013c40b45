"""How Sphinx makes the documentation site of the pages in this folder: `tox run -e docs`, or CONTRIBUTING.md.

The pages are plain Markdown, so that they can be read without the site, too. What the site has besides is made while
it is built, by the modules beside this file.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import site_api
import site_command
import site_links

import pyshard

project = "pyshard"
author = copyright = "The pyshard authors"
version = release = pyshard.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click"]
exclude_patterns = ["_build"]
smartquotes = False  # `--help` is no dash

# `name` in a docstring is something of Python's: a link where it has a place on the site, and always in its type.
default_role = "py:obj"
autodoc_default_options = {
    "members": True,
    "inherited-members": "BaseException, dict, object",  # but of these: Python's documentation has what they have
}
autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = site_api.ALIASES
# What stands in a signature and is pyshard's has a place on the site; else it is a warning.
nitpicky = True
nitpick_ignore_regex = [("py:(?!class$).*", ".*"), ("py:class", r"(?!pyshard\.).*|.*\._\w+")]  # but type variables
nitpick_ignore = [
    ("py:class", "pyshard.model.cluster_state.ClusterState"),
    ("py:class", "pyshard.security.tokens_and_roles.Tokens"),
    ("py:class", "pyshard.storage.interface.IStore"),
]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

# Links within a page, as forges have them: a heading's words with hyphens between.
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"pyshard {release}"
html_extra_path = [*site_links.FILES]
html_show_sphinx = False
html_copy_source = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}


def setup(app: Any) -> None:
    """Sphinx calls this before it reads the pages."""
    site_links.connect(app)
    site_api.connect(app)
    app.connect("sphinx-click-process-description", site_command.keep_columns)
