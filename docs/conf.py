"""Settings of Sphinx; `make docs` builds the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepflows._version import __version__

if TYPE_CHECKING:
    from docutils.nodes import Element, reference
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "hepflows"
author = "The hepflows developers"
project_copyright = "The hepflows developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "literal"  # single backticks in docstrings are code, as in Markdown
myst_heading_anchors = 4  # headings are linked to as on a code host
suppress_warnings = ["misc.highlighting_failure"]  # JSON with ... where something is left out

# Types in signatures are aliases and foreign names, which have no page here; everything else must resolve.
nitpicky = True
nitpick_ignore_regex = [("py:(class|obj|data)", ".*"), ("py:exc", "(KeyboardInterrupt|[A-Za-z]*Error)")]

autodoc_member_order = "groupwise"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
napoleon_use_ivar = True
napoleon_attr_annotations = False  # docstrings give shape and type
toc_object_entries = False

LONGEST_SIGNATURE = 700

html_theme = "furo"
html_title = f"hepflows {__version__}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sphinx = False


def resolve_short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element) -> reference | None:
    """Link `DataError` in a docstring to `hepflows.errors.DataError`, if only one object has that name."""
    if node.get("refdomain") != "py" or "." in node["reftarget"]:
        return None
    domain = env.domains["py"]
    found = {name for name, *_ in domain.get_objects() if name.endswith(f".{node['reftarget']}")}
    if len(found) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], found.pop(), node, contnode)


def shorten_signature(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, signature: str, annotation: str
) -> tuple[str, str] | None:
    """Leave the defaults of whole configurations out; configuration.md lists them."""
    return ("(**settings)", annotation) if signature and len(signature) > LONGEST_SIGNATURE else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("missing-reference", resolve_short_name)
