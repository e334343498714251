"""docs/custom-event-bus.md: its code runs as printed, and its numbers are the template's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dynamo_outbox.operations.definition import NUMBERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "custom-event-bus.md"


def test_the_pages_code_runs() -> None:
    """Each block runs in a file of its own: the relay is created from the ARN alone, and the page's test passes."""
    relay: dict[str, Any] = {"__name__": "relay"}
    copied: dict[str, Any] = {"__name__": "copied"}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for block, names in zip(blocks, (relay, copied), strict=True):
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102  # our own page
    copied["test_a_duplicate_reaches_nobody"]()
    assert relay["handler"].publisher.bus == relay["BUS"]


def test_the_page_has_the_templates_numbers() -> None:
    """Timeout and retention on the page are the template's."""
    text = PAGE.read_text(encoding="utf-8")
    assert f"| 30, {NUMBERS.subscriber_timeout} |" in text
    assert f"| {NUMBERS.subscriber_retention // 86_400} days |" in text
