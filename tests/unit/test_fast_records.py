"""Stream records: the fast decoder and its reference agree on valid and invalid input."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import decode_record, decode_records
from dynamo_outbox.codec.values import encode_item
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.streams import records
from dynamo_outbox.streams.records import StreamRecord
from tests.strategies import damaged, dynamodb_items

if TYPE_CHECKING:
    from collections.abc import Callable

ATTRIBUTES = (
    *("event_id", "event_name", "is_known", "event_source_arn", "table", "region", "time", "sequence_number", "index"),
    *("stream_view_type", "size_bytes", "is_ttl_delete", "keys", "new_image", "old_image", "raw", "_from_kinesis"),
)


def outcome(function: Callable[[Any], StreamRecord], raw: Any) -> object:
    """Return a comparable outcome: every attribute of the record, or the error with its text and attributes."""
    try:
        record = function(raw)
    except DecodeError as error:
        return type(error), str(error), vars(error)
    return type(record), [attribute(record, name) for name in ATTRIBUTES]


def attribute(record: StreamRecord, name: str) -> object:
    try:
        value = getattr(record, name)
    except DecodeError as error:
        return type(error), str(error), vars(error)
    return type(value), value


def raw_record(**change: object) -> dict[str, Any]:
    """Return a record as Lambda delivers it."""
    return {
        "eventID": "1",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1795492800.5,
            "Keys": {"pk": {"S": "1"}},
            "NewImage": {"pk": {"S": "1"}, "n": {"N": "1"}},
            "SequenceNumber": "100000000000000000000000001",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **change,
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026-11-23T00:00:00.000",
    }


ODD: list[Any] = [
    *("", "1", "0", "\u0661", "\u00b2", "1" * 129, "1" * 130, "REMOVE", "NONE", "arn", 0, -1, 1.5, -0.5, 1e308, -1e308),
    *(2**37, 2**38, True, None, {}, [], b"1", float("nan"), float("inf"), datetime(2026, 1, 1, tzinfo=UTC)),
    *(datetime(2026, 1, 1), {"type": "Service", "principalId": "dynamodb.amazonaws.com"}),  # noqa: DTZ001  # naive
]
OUTER = ("eventID", "eventName", "awsRegion", "eventSourceARN", "tableName", "userIdentity", "dynamodb", "kinesis")
INNER = ("ApproximateCreationDateTime", "Keys", "NewImage", "OldImage", "SequenceNumber", "SizeBytes", "StreamViewType")


@pytest.mark.parametrize("name", OUTER)
def test_a_record_with_an_odd_part_is_read_as_by_the_reference(name: str) -> None:
    """A record with one odd member is decoded, or refused, as by the reference."""
    for odd in ODD:
        raw = {**raw_record(), name: odd}
        assert repr(outcome(decode_record, raw)) == repr(outcome(StreamRecord, raw)), odd


@pytest.mark.parametrize("name", INNER)
def test_a_record_of_an_odd_change_is_read_as_by_the_reference(name: str) -> None:
    """A record with one odd member in `dynamodb` is decoded, or refused, as by the reference."""
    for odd in ODD:
        raw = raw_record(**{name: odd})
        assert repr(outcome(decode_record, raw)) == repr(outcome(StreamRecord, raw)), odd


@given(st.data(), dynamodb_items)
def test_a_damaged_record_is_read_as_by_the_reference(data: st.DataObject, item: dict[str, Any]) -> None:
    """A record with any member replaced or removed is decoded, or refused, as by the reference."""
    raw = data.draw(damaged(raw_record(NewImage=encode_item(item))))
    assert repr(outcome(decode_record, raw)) == repr(outcome(StreamRecord, raw))
    assert repr(outcome(lambda each: decode_records([each])[0], raw)) == repr(
        outcome(lambda each: StreamRecord(each, 0), raw)
    )


def test_a_record_of_lambda_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record from Lambda takes the fast path; it is frozen, and can be pickled before its images are decoded."""
    monkeypatch.setattr(records.StreamRecord, "__init__", None)
    record = decode_record(raw_record())
    copy = pickle.loads(pickle.dumps(record))  # noqa: S301  # pickled in this line
    assert record.new_image == copy.new_image == {"pk": "1", "n": 1}
    assert record == copy
    with pytest.raises(AttributeError, match="frozen"):
        record.event_id = "another"


def test_what_was_read_is_kept() -> None:
    """The image, the keys and the time are decoded once: later reads return the same object."""
    record = decode_record(raw_record())
    assert record.new_image is record.new_image
    assert record.keys is record.keys
    assert record.time is record.time
