"""The page on alarms explains each kind of alarm that the definition has."""

from __future__ import annotations

import re
from pathlib import Path

from dynamo_outbox.operations.definition import MEANINGS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations" / "alarms.md"


def test_each_alarm_has_a_section_that_says_what_to_do() -> None:
    """Each kind of alarm has a section: what it means, in bold, and a paragraph on what to do."""
    sections = dict(
        re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    assert sections.keys() == MEANINGS.keys()
    for kind, text in sections.items():
        assert text.startswith("**"), kind
        assert len(text.strip().split("\n\n")) >= 2, kind
