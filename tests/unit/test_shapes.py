"""Shapes of stream records other than Lambda's and GetRecords', and the batch response for each."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from dynamo_outbox import (
    ABSENT,
    Change,
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    SequenceNumber,
    decode_record,
    decode_records,
)
from dynamo_outbox.errors import DecodeError

from ..doubles import StubBus

CHANGE = {
    "ApproximateCreationDateTime": 1654699573622,
    "Keys": {"id": {"S": "1"}},
    "NewImage": {
        "id": {"S": "1"},
        "cover": {"B": "RWdJSWV3PT0="},
        "pages": {"BS": ["RWdJSWV3PT0="]},
        "tag": {"S": "a"},
    },
    "OldImage": {"id": {"S": "1"}, "cover": {"B": "RXdJSWV3PT0="}, "year": {"N": "2019"}},
}


def change_record(**change: Any) -> dict[str, Any]:
    return {
        "awsRegion": "eu-west-1",
        "eventID": "ad89cfbe",
        "eventName": "MODIFY",
        "userIdentity": None,
        "recordFormat": "application/json",
        "tableName": "books",
        "dynamodb": {**CHANGE, **change},
        "eventSource": "aws:dynamodb",
    }


def kinesis_record(record: object = None, number: str = "49607933892580429045866716038") -> dict[str, Any]:
    data = b64encode(json.dumps(change_record() if record is None else record).encode()).decode()
    return {
        "kinesis": {"partitionKey": "1", "sequenceNumber": number, "data": data},
        "eventSource": "aws:kinesis",
        "eventID": f"shardId-000000000000:{number}",
        "eventSourceARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/books",
    }


def stream_record(event_id: str, number: str) -> dict[str, Any]:
    change = {
        "ApproximateCreationDateTime": 1,
        "Keys": {"id": {"S": event_id}},
        "NewImage": {"id": {"S": event_id}},
        "SequenceNumber": number,
    }
    return {"eventID": event_id, "eventName": "INSERT", "dynamodb": change}


def test_a_kinesis_record_is_read_through_its_envelope() -> None:
    """A Kinesis record's change, table and Region come from the inner record, its number from the envelope."""
    (record,) = decode_records({"Records": [kinesis_record()]})
    assert (record.table, record.region, record.event_id) == ("books", "eu-west-1", "ad89cfbe")
    assert record.sequence_number == SequenceNumber("49607933892580429045866716038")
    assert record.event_source_arn is None
    assert record.keys == {"id": "1"}


def test_binary_in_kinesis_is_decoded_twice() -> None:
    """Binary, which Kinesis delivers in base64 twice, is decoded to the stored bytes, in sets too."""
    (record,) = decode_records({"Records": [kinesis_record()]})
    assert record.new_image is not None
    assert (record.new_image["cover"], record.new_image["pages"]) == (b"\x12\x02\x08{", {b"\x12\x02\x08{"})


@pytest.mark.parametrize(
    ("change", "microsecond"),
    [
        ({}, 622_000),
        ({"ApproximateCreationDateTimePrecision": "MILLISECOND"}, 622_000),
        (
            {
                "ApproximateCreationDateTimePrecision": "MICROSECOND",
                "ApproximateCreationDateTime": 1654699573622001,
            },
            622_001,
        ),
    ],
)
def test_the_time_in_kinesis_has_its_precision(change: dict[str, Any], microsecond: int) -> None:
    """The time is read in milliseconds or microseconds, as the record specifies."""
    record = decode_record(kinesis_record(change_record(**change)))
    assert record.time == datetime(2022, 6, 8, 14, 46, 13, microsecond, tzinfo=UTC)


@pytest.mark.parametrize(
    "envelope",
    [
        {"data": "%%%", "sequenceNumber": "1"},
        {"data": b64encode(b"no JSON").decode(), "sequenceNumber": "1"},
        {"data": b64encode(b"[1]").decode(), "sequenceNumber": "1"},
        {"data": 1, "sequenceNumber": "1"},
        {"data": b64encode(b"{}").decode()},
    ],
)
def test_a_kinesis_record_that_is_no_change_is_refused(envelope: dict[str, Any]) -> None:
    """Data that are not a DynamoDB record, or an envelope without a number, raise DecodeError with a path."""
    with pytest.raises(DecodeError, match=r"kinesis\.data"):
        decode_record({"kinesis": envelope})


def test_binary_that_is_not_base64_twice_is_refused() -> None:
    """Binary in a Kinesis record that is encoded only once is refused."""
    record = decode_record(kinesis_record(change_record(NewImage={"cover": {"B": "Ew=="}})))
    with pytest.raises(DecodeError, match=r"dynamodb\.NewImage: holds binary that isn't base64 twice"):
        record.new_image  # noqa: B018  # reading decodes


@pytest.mark.parametrize(
    "payload",
    [[stream_record("a", "1")], stream_record("a", "1"), {"Records": [stream_record("a", "1")]}],
    ids=["a pipe's array", "one bare record", "Lambda's event"],
)
def test_each_shape_gives_the_same_record(payload: Any) -> None:
    """A record is read alike from an array, on its own and from Lambda's event."""
    (record,) = decode_records(payload)
    assert (record.event_id, record.sequence_number, record.new_image) == ("a", "1", {"id": "a"})


def test_a_pipe_hands_kinesis_over_without_its_envelope() -> None:
    """In a pipe's array, a Kinesis record has the envelope's members at the top level."""
    bare = {**kinesis_record()["kinesis"], "eventSource": "aws:kinesis"}
    (record,) = decode_records([bare])
    assert (record.table, record.sequence_number) == ("books", "49607933892580429045866716038")


def test_a_change_is_told_by_attribute() -> None:
    """`changes` returns each added, removed or changed attribute with its old and new value."""
    record = decode_record(kinesis_record())
    assert record.changes() == {
        "cover": Change(b"\x13\x02\x08{", b"\x12\x02\x08{"),
        "pages": Change(ABSENT, {b"\x12\x02\x08{"}),
        "tag": Change(ABSENT, "a"),
        "year": Change(2019, ABSENT),
    }
    assert not ABSENT


def test_a_record_without_both_images_has_no_changes_to_tell() -> None:
    """`changes` without both images raises an error that names the missing image and the view type."""
    with pytest.raises(DecodeError, match="OldImage: is missing; a MODIFY of NEW_AND_OLD_IMAGES has both"):
        decode_record(stream_record("a", "1")).changes()


@pytest.mark.parametrize(("name", "known"), [("INSERT", True), ("MODIFY", True), ("REMOVE", True), ("RENAME", False)])
def test_an_unheard_of_event_name_is_marked(name: str, *, known: bool) -> None:
    """An unknown event name is kept, and `is_known` is false."""
    record = decode_record({**stream_record("a", "1"), "eventName": name})
    assert (record.event_name, record.is_known) == (name, known)


@pytest.mark.parametrize(
    ("payload", "identifier"),
    [
        ({"Records": [stream_record("a", "1"), stream_record("b", "2")]}, "2"),
        ([stream_record("a", "1"), stream_record("b", "2")], "b"),
        ({"Records": [kinesis_record(number="7"), kinesis_record(change_record(NewImage={}), "8")]}, "8"),
        ({"Records": [stream_record("a", "1")]}, None),
        ({"Records": []}, None),
        ([], None),
    ],
    ids=["a stream", "a pipe", "Kinesis", "none failed", "an empty batch", "a pipe's empty batch"],
)
def test_a_failure_is_named_as_its_source_names_it(payload: Any, identifier: str | None) -> None:
    """A failure is reported by sequence number for streams and Kinesis, by event id for a pipe."""

    def changes(record: Any) -> Event:
        if record.new_image in ({"id": "b"}, {}):
            raise ValueError("this one can't be mapped")
        return Event("Changed", {})

    process = ChangeProcessor(EventBridgePublisher("books", source="Books", client=StubBus()), changes)
    expected = [] if identifier is None else [{"itemIdentifier": identifier}]
    assert process(payload) == {"batchItemFailures": expected}
