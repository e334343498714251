"""The tables and diagrams in the docs are generated from the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pictures_are_generated_from_the_code() -> None:
    """Each page with a generated table or diagram is the one that `make reference` writes."""
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    pages = {path: path.read_text() for path in DOCS.rglob("*.md")}
    assert any("<!-- record-life -->" in text for text in pages.values())
    stale = [path.name for path, text in pages.items() if pictures.drawn(text) != text]
    assert stale == [], "run `make reference` and commit the pages"
