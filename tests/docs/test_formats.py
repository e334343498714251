"""The formats page shows every sample, and all samples contain the same event."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, Inbox, InboxTransaction, decode_records, parse_event, parse_events
from dynamo_outbox.consuming.idempotency import IdempotencyStore
from dynamo_outbox.events.outbox_item import decode_event

from ..doubles import FakeClock, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[str], dict[str, Any]]

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```\{literalinclude\} \.\./\.\./tests/events/(\w+)\.json$", PAGE, re.MULTILINE)
OF_ENTITIES = "stream_of_books_table"


def test_every_sample_is_shown() -> None:
    """The page shows every sample that the tests use."""
    assert sorted(SHOWN) == sorted(path.stem for path in (PROJECT / "tests" / "events").glob("*.json"))


def events_in(payload: dict[str, Any]) -> list[Event]:
    """Return the events in Lambda's payload."""
    if "Records" not in payload:
        return [parse_event(payload)]
    if "dynamodb" in payload["Records"][0]:
        images = [record.raw["dynamodb"] for record in decode_records(payload) if record.event_name == "INSERT"]
        return [decode_event(image["NewImage"]) for image in images]
    return [message.event for message in parse_events(payload)]


@pytest.mark.parametrize("sample", [name for name in SHOWN if name != OF_ENTITIES])
def test_each_sample_contains_the_same_event(load_event: Load, sample: str) -> None:
    """Each sample contains the event that the relay publishes."""
    assert events_in(load_event(sample))[0] == parse_event(load_event("eventbridge_from_relay"))


@pytest.mark.parametrize("sample", [name for name in SHOWN if name != OF_ENTITIES])
def test_an_inbox_handles_each_sample(load_event: Load, sample: str) -> None:
    """An inbox handler takes each sample as Lambda's payload and handles its event."""
    handled: list[str] = []
    clock = FakeClock()
    store = IdempotencyStore("handled", client=fake_dynamodb({"handled": ["pk"]}, clock=clock), clock=clock)

    @Inbox(store).handler(consumer="catalogue")
    def handler(event: Event, tx: InboxTransaction) -> None:  # noqa: ARG001  # writes nothing
        handled.append(event.id)

    assert handler(load_event(sample)) in (None, {"batchItemFailures": []})
    assert handled[0] == parse_event(load_event("eventbridge_from_relay")).id
