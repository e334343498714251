"""Check that a built site loads nothing from another host: ``make docs`` runs ``python -m tests.docs.offline DIR``."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADING = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
REMOTE_CSS = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])(?:https?:)?//[^"')\s]*""")
REMOTE_SCRIPT = re.compile(r"""["'`]https?://[^"'`]*|import[^;"']*["']//[^"']*""")


class _Page(HTMLParser):
    """Collects what a page loads from other hosts. A link that a reader clicks loads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.remote: list[str] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        values = {name: value or "" for name, value in attrs}
        names = ["src", "srcset", "data", "poster"]
        if tag in ("image", "use") or (tag == "link" and LOADING.intersection(values.get("rel", "").split())):
            names += ["href", "xlink:href"]
        self.remote += [values[name] for name in names if re.match(r"(?:https?:)?//", values.get(name, "").strip())]
        self.remote += REMOTE_CSS.findall(values.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style"):
            self.remote += (REMOTE_SCRIPT if self._tag == "script" else REMOTE_CSS).findall(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the parser's signature
        self._tag = ""


def remote_parts(html: str) -> list[str]:
    """Return the scripts, styles, fonts and images that a page loads from another host."""
    page = _Page()
    page.feed(html)
    return page.remote


def main(site: Path) -> None:
    """Check each page and style sheet of a site."""
    pages = sorted(site.rglob("*.html"))
    found = {path: remote_parts(path.read_text(encoding="utf-8")) for path in pages}
    found |= {path: REMOTE_CSS.findall(path.read_text(encoding="utf-8")) for path in site.rglob("*.css")}
    problems = [f"{path}: {remote}" for path, parts in found.items() for remote in parts]
    if problems or not pages:
        sys.exit(
            "\n".join(["the site must load nothing from another host:", *problems]) if pages else f"no pages in {site}"
        )
    print(f"{len(pages)} pages load nothing from another host")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
