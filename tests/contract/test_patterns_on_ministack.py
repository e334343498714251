"""The same event patterns on MiniStack: it agrees with this library, except for the disagreements listed here."""

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

DOTS = "AWS's engine treats a dotted name in an event as a path, too; MiniStack only one in a pattern"
WHOLE = "in AWS's engine exists: false asks about the whole event; MiniStack asks about one member of an array"
ADDRESS = "AWS's engine compares texts that are IP addresses as addresses; MiniStack compares the texts"
MAPPED = "AWS's engine takes an IPv4 address in IPv6 form as the IPv4 address"
OR = "AWS's page has $or only as an operator; MiniStack falls back to a field of that name, which old rules could have"
DISAGREEMENTS: dict[str, tuple[bool | None, str]] = {
    "a dotted name, found": (False, DOTS),
    "a path to a dotted name": (False, DOTS),
    "dots in other places": (False, DOTS),
    "three steps in one name": (False, DOTS),
    "exists below a dotted name": (False, DOTS),
    "both values of two equal paths, the second": (False, DOTS),
    "members of two objects with one path": (False, DOTS),
    "members of two objects with one path, deeper": (False, DOTS),
    "text and a path through it": (False, DOTS),
    "a field that one object lacks": (True, WHOLE),
    "exists false below an array": (True, WHOLE),
    "exists false below an array, the last": (True, WHOLE),
    "exists false below an array of arrays": (True, WHOLE),
    "exists false or a value below an array": (True, WHOLE),
    "an address in another spelling": (False, ADDRESS),
    "an address in an array": (False, ADDRESS),
    "an IPv4 address in IPv6": (False, ADDRESS),
    "an IPv4 address in IPv6, in a network": (False, MAPPED),
    "or as a field's name": (True, OR),
    "or as a parent's name": (True, OR),
    "exactly": (True, "AWS's page doesn't list it; MiniStack has it from AWS's open-source engine"),
    "cidr with zeros before its octets": (True, "Python's ipaddress refuses what other parsers read as octal"),
}
"""MiniStack's result (None if it refuses the pattern), and the reason why this library's result differs."""


@pytest.fixture(scope="module")
def events() -> Iterator[Any]:
    """Start a MiniStack for this module; return an EventBridge client."""
    command = os.environ.get("DYNAMO_OUTBOX_MINISTACK", str(PROJECT / ".venv-ministack" / "bin" / "ministack"))
    with MiniStack(command) as engine:
        yield engine.client("events")


def ask_engine(events: Any, case: Case) -> bool | None:
    """Return whether MiniStack matches the pattern; None if it refuses the pattern."""
    try:
        answer = events.test_event_pattern(EventPattern=json.dumps(case.pattern), Event=json.dumps(case.event))
    except events.exceptions.InvalidEventPatternException:
        return None
    matched: bool = answer["Result"]
    return matched


@pytest.mark.parametrize("name", sorted((CASES | NARROW).keys() - DISAGREEMENTS.keys()))
def test_ministack_agrees(name: str, events: Any) -> None:
    """MiniStack's TestEventPattern gives the same result as this library, or both refuse the pattern."""
    case = (CASES | NARROW)[name]
    assert ask_engine(events, case) is ask(case.pattern, case.event)


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_ministack_still_disagrees(name: str, events: Any) -> None:
    """Each known disagreement still exists; otherwise this list is out of date."""
    case = (CASES | NARROW)[name]
    theirs, _reason = DISAGREEMENTS[name]
    ours = ask(case.pattern, case.event)
    assert ours is not theirs
    assert ask_engine(events, case) is theirs
