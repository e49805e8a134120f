"""How Sphinx makes pages of these documents: `sphinx-build -W docs OUT`."""

import re

from sphinx.application import Sphinx

from harness import __version__

project = "harness"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = f"harness {release}"

# The documents are also read where they lie, so their links are plain paths and headings.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4


def setup(app: Sphinx) -> None:
    """Links to README and its like, which are no pages here, become links to the files."""
    app.connect("source-read", link_to_files)


def link_to_files(app: Sphinx, page: str, source: list[str]) -> None:
    """`](../README.md#the-tree)` -> `](path:../README.md)`, in the text that is about to be parsed."""
    source[0] = re.sub(r"\]\(((?:\.\./)+[\w/]+\.md)(#[\w-]+)?\)", r"](path:\1)", source[0])
