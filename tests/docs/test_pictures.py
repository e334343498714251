"""The docs' pictures: as the tables in the code have them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_pictures_are_drawn_from_the_tables() -> None:
    """Each page with a picture is what `python docs/pictures.py` makes of it."""
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    pages = {path: path.read_text() for path in DOCS.rglob("*.md")}
    assert any("<!-- record-life -->" in text for text in pages.values())
    assert {path: pictures.drawn(text) for path, text in pages.items()} == pages
