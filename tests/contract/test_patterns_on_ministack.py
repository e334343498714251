"""The same event patterns, asked of MiniStack: where the two agree, and where and why they don't."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.testing import MiniStack
from tests.unit.test_patterns import CASES, NARROW, Case, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

PROJECT = Path(__file__).resolve().parents[2]

LIMITS = "AWS's page has numeric matching end at 5e9 and six digits; MiniStack compares as exactly as a float can"
TEXT = "beyond those limits AWS's engine compares the text of numbers; MiniStack compares their values"
DOTS = "AWS's page asks for the same nesting in pattern and event; MiniStack takes a dotted name for a path"
OR = (
    "AWS's page knows $or only as an operator; MiniStack falls back to a field of that name, as rules of old could have"
)
DISAGREEMENTS: dict[str, tuple[bool | None, str]] = {
    "numeric beyond 5e9": (True, LIMITS),
    "numeric with seven digits": (False, LIMITS),
    "numeric and a value beyond 5e9": (True, LIMITS),
    "beyond 5e9 by its text": (True, TEXT),
    "anything-but beyond 5e9 by its text": (False, TEXT),
    "a dotted name, found": (False, DOTS),
    "a dotted name is no path": (True, DOTS),
    "or as a field's name": (True, OR),
    "or as a parent's name": (True, OR),
    "exactly": (True, "AWS's page doesn't list it; MiniStack knows it from AWS's open engine"),
    "cidr with zeros before its octets": (True, "Python's ipaddress refuses what other parsers read as octal"),
}
"""What MiniStack answers, None for a refusal, and why this library answers otherwise."""


@pytest.fixture(scope="module")
def events() -> Iterator[Any]:
    """A client of EventBridge on a MiniStack of this module's own."""
    command = os.environ.get("DYNAMO_OUTBOX_MINISTACK", str(PROJECT / ".venv-ministack" / "bin" / "ministack"))
    with MiniStack(command) as engine:
        yield engine.client("events")


def ask_engine(events: Any, case: Case) -> bool | None:
    """Whether MiniStack says that it matches; None where it refuses the pattern."""
    try:
        answer = events.test_event_pattern(EventPattern=json.dumps(case.pattern), Event=json.dumps(case.event))
    except events.exceptions.InvalidEventPatternException:
        return None
    matched: bool = answer["Result"]
    return matched


@pytest.mark.parametrize("name", sorted((CASES | NARROW).keys() - DISAGREEMENTS.keys()))
def test_ministack_agrees(name: str, events: Any) -> None:
    """MiniStack's TestEventPattern answers as this library does, or both refuse."""
    case = (CASES | NARROW)[name]
    assert ask_engine(events, case) is ask(case.pattern, case.event)


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_ministack_still_disagrees(name: str, events: Any) -> None:
    """A known disagreement is still there: where it has gone, this list is out of date."""
    case = (CASES | NARROW)[name]
    theirs, _reason = DISAGREEMENTS[name]
    ours = ask(case.pattern, case.event)
    assert ours is not theirs
    assert ask_engine(events, case) is theirs
