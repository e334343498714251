"""The library's readers of external input, each as a function of one payload.

A target returns, raises `DecodeError`, or raises another exception for a fault of the library: an undocumented error,
an invalid response, an event that was read but cannot be sent on.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    Retry,
    TableKeys,
    decode_item,
    decode_record,
    decode_records,
    parse_event,
    parse_events,
)
from dynamo_outbox.consuming.batch_handler import batch_handler
from dynamo_outbox.errors import DecodeError, InvalidEventError
from dynamo_outbox.events.limits import check_numbers
from dynamo_outbox.events.outbox_item import decode_event, encode_event

from ...doubles import StubBus

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox import StreamRecord

__all__ = ["TARGETS", "exercise"]

logging.getLogger("dynamo_outbox").addHandler(logging.NullHandler())


def read_records(payload: Any) -> None:
    """Call `decode_records` in both modes, and read all of every record."""
    for found in decode_records(payload, on_error="collect"):
        if isinstance(found, DecodeError):
            str(found)
        else:
            _read_through(found)
    for record in decode_records(payload):
        _read_through(record)


def read_record(payload: Any) -> None:
    """Call `decode_record`, and read all of the record."""
    _read_through(decode_record(payload))


def _read_through(record: StreamRecord) -> None:
    assert record.time is None or record.time.tzinfo is not None
    hash(record)
    if record.sequence_number is not None:
        assert record.sequence_number <= record.sequence_number
    for read in (lambda: record.keys, lambda: record.new_image, lambda: record.old_image, record.changes):
        with suppress(DecodeError):
            read()


def read_item(payload: Any) -> None:
    """Call `decode_item` with the payload and with every possible image in it."""
    for image in (payload, *_images(payload)):
        try:
            decode_item(image)
        except DecodeError as error:
            str(error)


def _images(payload: Any) -> list[Any]:
    records = payload.get("Records") if isinstance(payload, dict) else payload
    changes = [
        each.get("dynamodb") for each in (records if isinstance(records, list) else []) if isinstance(each, dict)
    ]
    return [image for each in changes if isinstance(each, dict) for image in each.values()]


def read_event(payload: Any) -> None:
    """Call `parse_event`, and send the event on."""
    _send_on(parse_event(payload))


def read_messages(payload: Any) -> None:
    """Call `parse_events` in both modes."""
    for found in parse_events(payload, on_error="collect"):
        if isinstance(found, DecodeError):
            str(found)
        else:
            _send_on(found.event)
    parse_events(payload)


def read_outbox_item(payload: Any) -> None:
    """Call `decode_event` with each image, as the relay and a bare pipe's consumer do."""
    for image in (payload, *_images(payload)):
        if isinstance(image, dict):
            with suppress(DecodeError):
                _send_on(decode_event(image))


def _send_on(event: Event) -> None:
    """Check that a parsed event can be written and sent, except for integers that only EventBridge refuses."""
    try:
        data = event.data
    except DecodeError:
        return
    assert isinstance(data, dict)
    json.loads(event.data_json)
    with suppress(InvalidEventError):
        check_numbers(event)
    for typed in encode_event(event.replace(source=event.source or "a"), expires_at=1, keys=TableKeys()).values():
        next(iter(typed.values())).encode()


def relay(payload: Any) -> None:
    """Call `OutboxRelay`; its response must be valid and its entries JSON."""
    _answered(OutboxRelay(_publisher(bus := StubBus()))(payload), bus)


def process(payload: Any) -> None:
    """Call `ChangeProcessor`, with the same checks as for the relay."""
    processor = ChangeProcessor(_publisher(bus := StubBus()), lambda record: Event("Changed", {"of": record.event_id}))
    _answered(processor(payload), bus)


def _publisher(bus: StubBus) -> EventBridgePublisher:
    return EventBridgePublisher("bus", source="Books", client=bus, retry=Retry(attempts=1))


def _answered(answer: dict[str, Any], bus: StubBus) -> None:
    for failure in answer["batchItemFailures"]:
        assert isinstance(failure["itemIdentifier"], str)
        assert failure["itemIdentifier"]
    for entry in (entry for call in bus.calls for entry in call):
        assert isinstance(json.loads(entry["Detail"]), dict)
        entry["Detail"].encode()


def handle_messages(payload: Any) -> None:
    """Call `batch_handler`; every message must be handled or named as failed."""
    answer = batch_handler(lambda event, _context: event.data)(payload, None)
    assert all(isinstance(failure["itemIdentifier"], str) for failure in answer.get("batchItemFailures", ()))


TARGETS: dict[str, Callable[[Any], None]] = {
    each.__name__: each
    for each in (
        read_records,
        read_record,
        read_item,
        read_event,
        read_messages,
        read_outbox_item,
        relay,
        process,
        handle_messages,
    )
}


def exercise(payload: Any) -> None:
    """Run every target. `DecodeError` is documented for all of them; any other exception is raised."""
    for target in TARGETS.values():
        with suppress(DecodeError):
            target(payload)
