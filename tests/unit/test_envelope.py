"""Events as consumers receive them, parsed back."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event, parse_event
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.events.bus_event import DETAIL_FORMS

from ..conftest import EVENTS
from ..strategies import damaged, events, json_values

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = ["from_relay", "from_templated_pipe", "from_bare_pipe", "cloudevents"]
SAMPLES = [json.loads((EVENTS / f"eventbridge_{form}.json").read_text(encoding="utf-8")) for form in FORMS]
BOOK_ADDED = Event(
    "BookAdded",
    {"name": "Team Topologies", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019},
    id="01a207bd-aa3b-774b-9ac1-f03e77d21b9c",
    time=datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC),
    source="OutboxDemo.Books",
    aggregate_type="Book",
    aggregate_id="Team Topologies",
    sequence=1,
    correlation_id="order-7d0f2c",
    causation_id="import-2026-11-23",
    traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)


@pytest.mark.parametrize("form", FORMS)
def test_one_event_is_read_from_every_form(form: str, load_event: Callable[[str], dict[str, Any]]) -> None:
    """The relay's envelope, both pipes' events and CloudEvents are parsed to the same event."""
    assert parse_event(load_event(f"eventbridge_{form}")) == BOOK_ADDED


def test_a_cloudevents_object_is_read_by_itself(load_event: Callable[[str], dict[str, Any]]) -> None:
    """A CloudEvents object is parsed without an EventBridge event around it."""
    assert parse_event(load_event("eventbridge_cloudevents")["detail"]) == BOOK_ADDED


@pytest.mark.parametrize("form", ["envelope", "cloudevents"])
@given(event=events())
def test_what_a_publisher_sends_is_read_back(form: str, event: Event) -> None:
    """An event sent as an envelope or as CloudEvents is parsed to the same event."""
    assert parse_event({"source": event.source, "detail": json.loads(DETAIL_FORMS[form](event, event.source))}) == event


def test_an_envelope_holds_what_there_is() -> None:
    """Metadata that an event does not have are omitted."""
    event = Event("BookAdded", {"year": 2019}, id="1", time=datetime(2026, 11, 23, tzinfo=UTC))
    metadata = {"id": "1", "type": "BookAdded", "version": 1, "time": "2026-11-23T00:00:00.000000Z"}
    assert json.loads(DETAIL_FORMS["envelope"](event, event.source)) == {"metadata": metadata, "data": {"year": 2019}}


def test_a_publisher_sends_the_samples(load_event: Callable[[str], dict[str, Any]]) -> None:
    """An event's envelope and CloudEvents object equal the samples."""
    for form, sample in (("envelope", "eventbridge_from_relay"), ("cloudevents", "eventbridge_cloudevents")):
        assert json.loads(DETAIL_FORMS[form](BOOK_ADDED, BOOK_ADDED.source)) == load_event(sample)["detail"]


@pytest.mark.parametrize("form", DETAIL_FORMS)
def test_every_form_writes_decimals_exactly(form: str) -> None:
    """Each form writes a Decimal as a JSON number with all its digits."""
    event = Event("PriceSet", {"price": Decimal("24.9500000000000000000000000000000001")}, source="OutboxDemo.Books")
    assert '"price":24.9500000000000000000000000000000001}' in DETAIL_FORMS[form](event, event.source)


def changed(event: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    """Return the event with one part replaced, or removed if `to` is `...`."""
    *parents, last = path
    holder = event
    for step in parents:
        holder = holder[step]
    if to is ...:
        del holder[last]
    else:
        holder[last] = to
    return event


@pytest.mark.parametrize(
    ("form", "part", "value", "path"),
    [
        ("from_relay", ["source"], ..., "source"),
        ("from_relay", ["detail"], ..., "detail"),
        ("from_relay", ["detail"], "text", "detail"),
        ("from_relay", ["detail", "metadata"], ..., "detail.metadata"),
        ("from_relay", ["detail", "metadata", "id"], ..., "detail.metadata.id"),
        ("from_relay", ["detail", "metadata", "type"], 1, "detail.metadata.type"),
        ("from_relay", ["detail", "metadata", "version"], ..., "detail.metadata.version"),
        ("from_relay", ["detail", "metadata", "version"], True, "detail.metadata.version"),
        ("from_relay", ["detail", "metadata", "time"], ..., "detail.metadata.time"),
        ("from_relay", ["detail", "metadata", "time"], "0001-01-01T00:00:00+01:00", "time"),
        ("from_relay", ["detail", "metadata", "sequence"], "1", "sequence"),
        ("from_relay", ["detail", "data"], ..., "detail.data"),
        ("from_relay", ["detail", "data"], [], "detail.data"),
        ("from_relay", ["detail", "data"], "{}", "detail.data"),
        ("from_templated_pipe", ["source"], ..., "source"),
        ("from_templated_pipe", ["detail", "outboxItem"], ..., "detail.data"),
        ("from_templated_pipe", ["detail", "outboxItem"], None, "detail.outboxItem"),
        ("from_templated_pipe", ["detail", "outboxItem"], "{}", "detail.outboxItem"),
        ("from_templated_pipe", ["detail", "outboxItem"], {}, "detail.outboxItem.outboxFormat"),
        (
            "from_templated_pipe",
            ["detail", "outboxItem", "outboxFormat"],
            {"N": "2"},
            "detail.outboxItem.outboxFormat.N",
        ),
        ("from_templated_pipe", ["detail", "outboxItem", "eventId"], ..., "detail.outboxItem.eventId"),
        (
            "from_templated_pipe",
            ["detail", "outboxItem", "eventContext", "S"],
            "[]",
            "detail.outboxItem.eventContext.S",
        ),
        ("from_templated_pipe", ["detail", "outboxItem", "eventData", "S"], "{", "detail.outboxItem.eventData"),
        ("from_templated_pipe", ["detail", "outboxItem", "eventData", "S"], "[]", "detail.outboxItem.eventData"),
        ("from_templated_pipe", ["detail", "outboxItem", "eventId", "S"], 'a"b', "detail.outboxItem.id"),
        ("from_bare_pipe", ["detail", "eventName"], "MODIFY", "detail"),
        ("from_bare_pipe", ["detail", "dynamodb", "NewImage"], ..., "detail"),
        ("from_bare_pipe", ["detail", "dynamodb", "NewImage", "outboxFormat"], ..., "detail"),
        (
            "from_bare_pipe",
            ["detail", "dynamodb", "NewImage", "outboxFormat"],
            {"N": "2"},
            "detail.dynamodb.NewImage.outboxFormat.N",
        ),
        ("from_bare_pipe", ["detail", "dynamodb", "NewImage", "eventId"], ..., "detail.dynamodb.NewImage.eventId"),
        ("cloudevents", ["detail", "id"], ..., "detail.id"),
        ("cloudevents", ["detail", "source"], ..., "detail.source"),
        ("cloudevents", ["detail", "time"], "noon", "detail.time"),
        ("cloudevents", ["detail", "sequence"], "first", "detail.sequence"),
        ("cloudevents", ["detail", "eventversion"], "x", "detail.eventversion"),
        ("cloudevents", ["detail", "data"], None, "detail.data"),
        ("cloudevents", ["detail", "data"], "{}", "detail.data"),
    ],
)
def test_a_part_that_is_missing_or_wrong_is_named(
    form: str, part: list[Any], value: Any, path: str, load_event: Callable[[str], dict[str, Any]]
) -> None:
    """A missing or wrong part raises DecodeError with its path."""
    with pytest.raises(DecodeError) as caught:
        parse_event(changed(load_event(f"eventbridge_{form}"), *part, to=value))
    assert caught.value.path == path


def test_a_cloudevent_of_another_maker_has_version_1(load_event: Callable[[str], dict[str, Any]]) -> None:
    """CloudEvents without this library's extensions are parsed, with version 1."""
    foreign = load_event("eventbridge_cloudevents")["detail"]
    for extension in ("eventversion", "aggregatetype", "aggregateid", "sequence", "correlationid", "causationid"):
        del foreign[extension]
    event = parse_event(foreign)
    assert (event.id, event.version, event.aggregate_type, event.sequence) == (BOOK_ADDED.id, 1, None, None)


@pytest.mark.parametrize("payload", [None, [], "text", {}])
def test_what_is_no_event_is_refused(payload: object) -> None:
    """A payload that is not an EventBridge event raises DecodeError."""
    with pytest.raises(DecodeError):
        parse_event(payload)


@given(payload=st.one_of(json_values, *map(damaged, SAMPLES)))
def test_parsing_raises_nothing_but_decode_errors(payload: Any) -> None:
    """Any JSON value and any damaged sample is parsed or raises DecodeError."""
    with suppress(DecodeError):
        assert isinstance(parse_event(payload).data, dict)
