"""The library's law: a consumer reads the event that was written, on each path."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, TableKeys, parse_event
from dynamo_outbox.errors import RenderError
from dynamo_outbox.events.outbox_item import encode_event
from dynamo_outbox.pipes import outbox_pipe, render

from ..doubles import StubBus
from ..strategies import events

if TYPE_CHECKING:
    from collections.abc import Callable

    Entry = dict[str, Any]
    Record = dict[str, Any]


def written(event: Event) -> dict[str, Any]:
    return encode_event(event, expires_at=1796031000, keys=TableKeys())


def stream_record(item: dict[str, Any]) -> Record:
    """Return an item's insertion as Lambda or a pipe receives it."""
    record = {
        "eventID": "c4ca4238a0b923820dcc509a6f75849b",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1795426200,
            "Keys": {name: item[name] for name in ("pk", "sk")},
            "NewImage": item,
            "SequenceNumber": "111100000000000000000001",
            "SizeBytes": 642,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/books-events/stream/2026-11-23T08:00:00.000",
    }
    arrived: Record = json.loads(json.dumps(record))
    return arrived


def by_the_relay(record: Record) -> Entry | None:
    bus = StubBus()
    OutboxRelay(EventBridgePublisher("books", client=bus))({"Records": [record]})
    ((entry,),) = bus.calls
    return entry


def by_a_bare_pipe(record: Record) -> Entry | None:
    return render(record, replace(outbox_pipe(), input_template=None))


def delivered(entry: Entry | None) -> Any:
    """Return what EventBridge delivers to a consumer for an entry."""
    assert entry is not None
    event = {
        "version": "0",
        "id": "6f3fa1b2-0a55-1d3e-bd0c-8c1a0e3f7a11",
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": "123456789012",
        "time": "2026-11-23T09:30:01Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": json.loads(entry["Detail"]),
    }
    return json.loads(json.dumps(event))


def by_a_pipe_that_does_not_escape(record: Record) -> Entry | None:
    return render(record, escapes=False)


@pytest.mark.parametrize("relayed", [by_the_relay, render, by_a_pipe_that_does_not_escape, by_a_bare_pipe])
@given(event=events())
def test_an_event_is_read_as_it_was_written(relayed: Callable[[Record], Entry | None], event: Event) -> None:
    """For every event whose data are JSON values, the consumer's event equals the one that was written."""
    assert parse_event(delivered(relayed(stream_record(written(event))))) == event


@given(event=events())
def test_both_readings_of_awss_page_give_one_detail(event: Event) -> None:
    """The detail is the same JSON with the complete item, whether or not a pipe escapes the texts that it inserts."""
    item = written(event)
    read = [delivered(render(stream_record(item), escapes=escapes))["detail"] for escapes in (True, False)]
    assert read[0] == read[1]
    assert read[0]["outboxItem"] == item
    assert read[0]["metadata"] == {
        "id": event.id,
        "type": event.type,
        "version": str(event.version),
        "time": item["eventTime"]["S"],
    }


QUOTES = 'a "quoted" \\ word,\n\tand \x00 control'


@pytest.mark.parametrize("relayed", [by_the_relay, render, by_a_pipe_that_does_not_escape, by_a_bare_pipe])
def test_quotes_and_backslashes_arrive_in_every_field_that_may_hold_them(
    relayed: Callable[[Record], Entry | None],
) -> None:
    """Quotes, backslashes and control characters in data, source, aggregate and context arrive unchanged."""
    event = Event(
        "BookAdded",
        {QUOTES: [QUOTES, {"deeper": QUOTES}]},
        source=QUOTES,
        aggregate_type=QUOTES,
        aggregate_id=QUOTES,
        correlation_id=QUOTES,
        causation_id=QUOTES,
        traceparent=QUOTES,
    )
    assert parse_event(delivered(relayed(stream_record(written(event))))) == event


def test_a_template_that_inserts_text_would_break_the_law() -> None:
    """If a pipe does not escape, data inserted as text is not JSON: this is why the template inserts the item."""
    as_text = replace(outbox_pipe(), input_template='{"data":<$.dynamodb.NewImage.eventData.S>}')
    record = stream_record(written(Event("BookAdded", {"year": 2019}, source="Books")))
    assert render(record, as_text) is not None
    with pytest.raises(RenderError, match="does not give JSON"):
        render(record, as_text, escapes=False)
