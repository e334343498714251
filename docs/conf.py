"""How Sphinx makes the site of these pages: ``make docs``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sphinx.util import logging
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "dynamo-outbox"
author = "the dynamo-outbox contributors"
copyright = author  # noqa: A001  # Sphinx's name for it
html_title = project

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # what `link` below lets pass: parameters, and names of others

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Class arguments", "params_style"), "Guarantee", "Limit", "Limits", "Cost"]

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False

MODULES = ["dynamo_outbox", *(f"dynamo_outbox.{name}" for name in ("errors", "pipes", "testing", "typing"))]
PUBLIC = {name: module for module in reversed(MODULES) for name in importlib.import_module(module).__all__}
"""The module that a reader imports each public name from."""


def link(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement) -> nodes.Node | None:
    """Links a public name wherever it stands, also inside docstrings of other modules; one that leads nowhere fails."""
    if node.get("refdomain") != "py":
        return None
    name: str = node["reftarget"]
    parts = name.removeprefix("dynamo_outbox.").split(".")
    at = next((at for at, part in enumerate(parts) if part in PUBLIC), None)
    if at is None:
        return None
    full = ".".join([PUBLIC[parts[at]], *parts[at:]])
    python: Any = env.get_domain("py")
    if full not in python.objects:
        logging.getLogger(__name__).warning("%s leads nowhere", name, location=node)
        return None
    found = python.objects[full]
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content, full)


def find_all(app: Sphinx, env: BuildEnvironment) -> None:  # noqa: ARG001  # Sphinx passes both
    """Fails where a public name has no place in the reference."""
    python: Any = env.get_domain("py")
    for name, module in PUBLIC.items():
        if f"{module}.{name}" not in python.objects:
            logging.getLogger(__name__).warning("%s.%s is not in the reference", module, name)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", link)
    app.connect("env-check-consistency", find_all)
