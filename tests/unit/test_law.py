"""The law of the library: what is written is what a consumer reads, whichever way it travels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, TableKeys, parse_event
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
    """The insertion of an item, as it comes to Lambda or a pipe."""
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
    """What EventBridge passes to a consumer for an entry."""
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


@pytest.mark.parametrize("relayed", [by_the_relay, render, by_a_bare_pipe])
@given(event=events())
def test_an_event_is_read_as_it_was_written(relayed: Callable[[Record], Entry | None], event: Event) -> None:
    """For every event whose data are JSON values, the consumer's event equals the one that was written."""
    assert parse_event(delivered(relayed(stream_record(written(event))))) == event
