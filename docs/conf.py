"""Sphinx configuration; `make docs` builds the pages and executes their examples."""

import doctest
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

import betahat

sys.path.insert(0, str(Path(__file__).parent))

project = "betahat"
author = "betahat developers"
version = release = betahat.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "what_works",
    "flow",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
# A name in single backticks is a link where the name is known, and code elsewhere.
default_role = "py:obj"

# Where letter case does not tell files apart, ols would replace OLS.
formulas = ("ols", "wls", "logit", "probit", "poisson", "mnlogit", "glm")
autosummary_filename_map = {f"betahat.{name}": f"betahat.{name}-formula" for name in formulas}
# Docstrings give types, shapes and units; annotations would only repeat the types.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Sphinx's own flags would skip the text of errors; these are pytest's in pyproject.toml.
doctest_default_flags = doctest.NORMALIZE_WHITESPACE
doctest_test_doctest_blocks = "default"

# Pictures are drawn when the pages are built, from where their examples are executed.
plot_formats = [("png", 150)]
plot_html_show_formats = plot_html_show_source_link = False
plot_include_source = True
plot_working_directory = str(Path(__file__).parents[1])

html_theme = "furo"
html_title = f"betahat {release}"
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
html_css_files = ["pages.css"]
html_static_path = ["static"]
html_math_renderer = "mathml"


def mathml(display):
    """Return the visitor of a formula: MathML, which browsers draw without a script and without a network."""
    tag = "div" if display == "block" else "span"

    def visit(translator, node):
        formula = convert(node.astext(), display=display).replace("<mi>&#x02032;", '<mi class="prime">&#x02032;')
        translator.body.append(f"{translator.starttag(node, tag, '', CLASS='math')}{formula}</{tag}>")
        raise nodes.SkipNode

    return visit, None


def setup(app):
    """Register the renderer of formulas."""
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
