"""Configuration of the site that ``make docs`` builds with Sphinx."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING

import mmdr
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "dynamo-outbox"
author = "the dynamo-outbox contributors"
copyright = author  # noqa: A001  # Sphinx's name for it
html_title = project

extensions = ["myst_parser"]
nitpicky = True

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

html_theme = "furo"
html_show_sphinx = False
html_copy_source = False

STYLE = {
    "theme": "neutral",
    "fontFamily": "arial, sans-serif",
    "flowchart": {"rankSpacing": 24, "nodeSpacing": 16},
}
BOX = "overflow-x: auto; padding: 0 1em; background: white"


class Mermaid(SphinxDirective):
    """Diagram that is drawn when the site is built, so that a page needs no script to show it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram as inline SVG, in a box that scrolls if the page is too narrow for a legible size."""
        source = "\n".join(self.content)
        svg = mmdr.render(f"%%{{init: {json.dumps(STYLE)}}}%%\n{source}").svg()
        svg = svg.replace("merman", f"diagram-{self.env.new_serialno('diagram')}")  # the id; a page may have several
        width = float(re.findall(r"max-width: ?([\d.]+)px", svg)[0])
        svg = svg.replace("max-width:", f"overflow:visible;min-width:{width * 0.6:.0f}px;max-width:", 1)
        box = f'<div style="{BOX}" role="img" aria-label="{escape(source)}">{svg}</div>'
        return [nodes.raw("", box, format="html")]


def setup(app: Sphinx) -> None:
    """Register the directive; Sphinx calls this function."""
    app.add_directive("mermaid", Mermaid)
