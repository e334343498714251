"""Decoding of stream records and items."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_type

from dynamo_outbox import (
    ABSENT,
    Change,
    SequenceNumber,
    StreamRecord,
    decode_item,
    decode_record,
    decode_records,
    encode_item,
)
from dynamo_outbox.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import GetItemOutputTypeDef
    from mypy_boto3_dynamodbstreams.type_defs import GetRecordsOutputTypeDef


def decoded(payload: object, record: Mapping[str, Any], answer: GetRecordsOutputTypeDef) -> None:
    assert_type(decode_records(payload), list[StreamRecord])
    assert_type(decode_records(payload, on_error="raise"), list[StreamRecord])
    assert_type(decode_records(payload, on_error="collect"), list[StreamRecord | DecodeError])
    assert_type(decode_records(answer), list[StreamRecord])
    assert_type(decode_record(record), StreamRecord)
    for each in decode_records(payload, on_error="collect"):
        if isinstance(each, DecodeError):
            assert_type(each.sequence_number, str | None)
        else:
            assert_type(each, StreamRecord)


def refused_decoding(payload: object, on_error: str) -> None:
    # on_error does not have this value.
    decode_records(payload, on_error="skip")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    # The result's type depends on the literal.
    decode_records(payload, on_error=on_error)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    # on_error is a keyword argument.
    decode_records(payload, "collect")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    # A collected element can be an error.
    decode_records(payload, on_error="collect")[0].keys  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    # decode_record takes a mapping; only decode_records takes any object.
    decode_record(payload)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def fields(record: StreamRecord) -> None:
    assert_type(record.event_id, str | None)
    assert_type(record.event_name, str)
    assert_type(record.is_known, bool)
    assert_type(record.table, str | None)
    assert_type(record.region, str | None)
    assert_type(record.event_source_arn, str | None)
    assert_type(record.time, datetime | None)
    assert_type(record.sequence_number, SequenceNumber | None)
    assert_type(record.stream_view_type, str | None)
    assert_type(record.size_bytes, int | None)
    assert_type(record.is_ttl_delete, bool)
    assert_type(record.keys, dict[str, Any])
    assert_type(record.new_image, dict[str, Any] | None)
    assert_type(record.old_image, dict[str, Any] | None)
    assert_type(record.index, int | None)
    assert_type({record: record.event_id}, dict[StreamRecord, str | None])
    raw: Mapping[str, Any] = record.raw
    assert_type(record.delivered, Any)
    assert_type(StreamRecord(raw), StreamRecord)
    assert_type(StreamRecord(raw, index=3), StreamRecord)


def refused_use_of_fields(record: StreamRecord) -> None:
    # An image can be None.
    record.new_image["name"]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]
    # A computed attribute can't be set.
    record.keys = {}  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def changes(record: StreamRecord) -> None:
    assert_type(record.changes(), dict[str, Change])
    change = record.changes()["year"]
    assert_type(change.old, Any)
    assert_type(change.new, Any)
    before, after = change
    assert_type(before, Any)
    assert_type(after is ABSENT, bool)
    assert_type(Change(2018, ABSENT), Change)
    assert_type(Change(old=2018, new=2019), Change)
    # A change requires both values.
    Change(2018)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A change has no other attributes.
    change.newer  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    # A change is immutable.
    change.old = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def sequence_numbers(one: SequenceNumber, other: SequenceNumber) -> None:
    assert_type(one < other, bool)
    assert_type(one <= "111", bool)
    assert_type(one > other, bool)
    assert_type(one >= "111", bool)
    assert_type(sorted([one, other]), list[SequenceNumber])
    assert_type(SequenceNumber("111"), SequenceNumber)
    texts: list[str] = [one, other]
    assert_type(texts[0], str)
    # A sequence number is a str and compares only with text.
    assert one < 111  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    # Text is not a SequenceNumber.
    _: SequenceNumber = "111"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def items(item: Mapping[str, Any], answer: GetItemOutputTypeDef) -> None:
    assert_type(encode_item(item), dict[str, Any])
    assert_type(encode_item({"name": "Team Topologies", "year": 2019, "tags": {"teams"}}), dict[str, Any])
    assert_type(decode_item(item), dict[str, Any])
    assert_type(decode_item(encode_item(item)), dict[str, Any])
    assert_type(decode_item(answer.get("Item", {})), dict[str, Any])
    # An item is a mapping.
    encode_item(["Team Topologies"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # An item can't be None.
    decode_item(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
