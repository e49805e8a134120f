"""How Sphinx makes pages of these documents: `sphinx-build -W docs OUT`."""

from harness import __version__

project = "harness"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = f"harness {release}"

# The documents are also read where they lie, so their links are plain paths and headings.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
