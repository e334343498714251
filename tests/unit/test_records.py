"""Stream records, from Lambda and from GetRecords."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import SequenceNumber, StreamRecord, decode_record, decode_records
from dynamo_outbox.errors import DecodeError

from ..strategies import damaged, json_values

if TYPE_CHECKING:
    from collections.abc import Callable

MINIMAL: dict[str, Any] = {
    "eventID": "1679091c5a880faf6fb5e6087eb1b2dc",
    "eventName": "INSERT",
    "dynamodb": {"ApproximateCreationDateTime": 1795426200, "Keys": {"name": {"S": "Team Topologies"}}},
}
FULL: dict[str, Any] = MINIMAL | {
    "awsRegion": "eu-west-1",
    "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026-11-23T08:00:00.000",
    "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    "dynamodb": MINIMAL["dynamodb"]
    | {
        "NewImage": {"name": {"S": "Team Topologies"}, "authors": {"SS": ["Matthew Skelton", "Manuel Pais"]}},
        "OldImage": {"name": {"S": "Team Topologies"}, "year": {"N": "2019"}},
        "SequenceNumber": "111100000000000000000001",
        "SizeBytes": 180,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    },
}


def changed(part: str, value: Any) -> dict[str, Any]:
    """The full record with one part replaced; `dynamodb.` before a name means a part of the change."""
    holder, _, name = part.rpartition(".")
    if holder:
        return FULL | {"dynamodb": FULL["dynamodb"] | {name: value}}
    return FULL | {name: value}


def test_a_lambda_batch_is_decoded_in_its_order(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Each record of Lambda's event becomes one StreamRecord with all that it says."""
    inserted, removed = decode_records(load_event("stream_of_books_table"))
    assert (inserted.event_name, removed.event_name) == ("INSERT", "REMOVE")
    assert inserted.event_id == "1679091c5a880faf6fb5e6087eb1b2dc"
    assert (inserted.table, inserted.region) == ("books", "eu-west-1")
    assert inserted.event_source_arn is not None
    assert inserted.event_source_arn.endswith(":table/books/stream/2026-11-23T08:00:00.000")
    assert inserted.time == datetime(2026, 11, 23, 9, 30, 0, 250_000, tzinfo=UTC)
    assert inserted.sequence_number == "222200000000000000000001"
    assert (inserted.stream_view_type, inserted.size_bytes) == ("NEW_AND_OLD_IMAGES", 180)
    assert inserted.keys == {"name": "Team Topologies"}
    assert inserted.new_image == {
        "name": "Team Topologies",
        "authors": ["Matthew Skelton", "Manuel Pais"],
        "year": Decimal(2019),
        "price": Decimal("24.95"),
        "topics": {"organisation", "software delivery"},
        "cover": b"\x89PNG\r\n\x1a\n",
        "inPrint": True,
        "edition": None,
        "publisher": {"name": "IT Revolution"},
    }
    assert inserted.old_image is None
    assert removed.new_image is None
    assert removed.old_image is not None
    assert removed.old_image["name"] == "Accelerate"


def test_an_answer_of_get_records_is_decoded() -> None:
    """GetRecords through boto3 gives aware datetimes, bytes, a capitalised identity and no ARN."""
    moment = datetime(2026, 11, 23, 10, 30, tzinfo=timezone(timedelta(hours=1)))
    change = {"ApproximateCreationDateTime": moment, "Keys": {"isbn": {"B": b"\x00"}}, "SequenceNumber": "1" * 21}
    identity = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    raw = {"eventID": "1", "eventName": "REMOVE", "dynamodb": change, "userIdentity": identity}
    (record,) = decode_records({"Records": [raw], "NextShardIterator": "next"})
    assert record.time == moment
    assert record.time.tzinfo is UTC
    assert (record.keys, record.is_ttl_delete) == ({"isbn": b"\x00"}, True)
    assert (record.table, record.event_source_arn, record.region) == (None, None, None)


def test_what_a_record_does_not_say_is_none() -> None:
    """A record with nothing optional in it has None in its place."""
    record = decode_record(MINIMAL)
    optional = (record.sequence_number, record.size_bytes, record.stream_view_type, record.new_image, record.old_image)
    assert optional == (None,) * 5
    assert record.is_ttl_delete is False


@pytest.mark.parametrize(
    ("name", "identity", "expected"),
    [
        ("REMOVE", {"type": "Service", "principalId": "dynamodb.amazonaws.com"}, True),
        ("REMOVE", {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}, True),
        ("REMOVE", {"type": "Service", "principalId": "other.amazonaws.com"}, False),
        ("REMOVE", {"type": "User", "principalId": "dynamodb.amazonaws.com"}, False),
        ("REMOVE", None, False),
        ("REMOVE", "Service", False),
        ("MODIFY", {"type": "Service", "principalId": "dynamodb.amazonaws.com"}, False),
    ],
)
def test_a_removal_by_ttl_is_known_by_who_did_it(name: str, identity: object, *, expected: bool) -> None:
    """Only a REMOVE by DynamoDB itself is TTL's."""
    assert decode_record(FULL | {"eventName": name, "userIdentity": identity}).is_ttl_delete is expected


@pytest.mark.parametrize(
    ("arn", "table"),
    [
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/books-events/stream/2026-11-23T08:00:00.000", "books-events"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/books", "books"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/books", None),
    ],
)
def test_the_table_stands_in_the_arn(arn: str, table: str | None) -> None:
    """The table's name is read from the ARN, where it holds one."""
    assert decode_record(FULL | {"eventSourceARN": arn}).table == table


def test_an_empty_image_is_not_a_missing_one() -> None:
    """An image that the record carries empty is empty, and not None."""
    record = decode_record(changed("dynamodb.NewImage", {}))
    assert record.new_image == {}


def test_an_unknown_event_name_is_kept() -> None:
    """A kind of change that AWS may send one day is not taken for another."""
    assert decode_record(FULL | {"eventName": "UNDELETE"}).event_name == "UNDELETE"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("eventID", 1),
        ("eventName", None),
        ("eventName", 1),
        ("eventSourceARN", 1),
        ("awsRegion", []),
        ("dynamodb", None),
        ("dynamodb.Keys", []),
        ("dynamodb.SequenceNumber", 1),
        ("dynamodb.SequenceNumber", ""),
        ("dynamodb.SequenceNumber", "12x"),
        ("dynamodb.SequenceNumber", "\u0661"),
        ("dynamodb.SizeBytes", "180"),
        ("dynamodb.StreamViewType", 1),
        ("dynamodb.ApproximateCreationDateTime", True),
        ("dynamodb.ApproximateCreationDateTime", "2026-11-23"),
        ("dynamodb.ApproximateCreationDateTime", 1e300),
        ("dynamodb.ApproximateCreationDateTime", float("nan")),
        ("dynamodb.ApproximateCreationDateTime", datetime(2026, 11, 23)),  # noqa: DTZ001  # the mistake that is tested
    ],
)
def test_a_malformed_record_is_refused_by_its_part(part: str, value: Any) -> None:
    """A part that AWS never sends so is a DecodeError that names it, the record's index and its sequence number."""
    with pytest.raises(DecodeError) as caught:
        decode_records({"Records": [FULL, changed(part, value)]})
    assert (caught.value.path, caught.value.index) == (part, 1)
    unread = part in ("dynamodb", "dynamodb.SequenceNumber")
    assert caught.value.sequence_number == (None if unread else "111100000000000000000001")


OPTIONAL = [
    *("eventID", "eventVersion", "eventSource", "eventSourceARN", "awsRegion", "userIdentity"),
    *("dynamodb.ApproximateCreationDateTime", "dynamodb.Keys", "dynamodb.NewImage", "dynamodb.OldImage"),
    *("dynamodb.SequenceNumber", "dynamodb.SizeBytes", "dynamodb.StreamViewType"),
]
"""Members with "Required: No" in API_streams_Record and API_streams_StreamRecord, except the change's name."""


def without(part: str) -> dict[str, Any]:
    """Return the full record without one part."""
    holder, _, name = part.rpartition(".")
    record = FULL | {"dynamodb": dict(FULL["dynamodb"])}
    del (record["dynamodb"] if holder else record)[name]
    return record


@pytest.mark.parametrize("part", OPTIONAL)
def test_an_optional_part_may_be_null(part: str) -> None:
    """A part that is null is as good as absent."""
    assert decode_record(changed(part, None)).event_name == "INSERT"


@pytest.mark.parametrize("part", OPTIONAL[:1] + OPTIONAL[3:])
def test_an_optional_part_may_be_absent(part: str) -> None:
    """aws-lambda-rust-runtime#889, localstack#2780: AWS requires no member of a record; what is absent is None."""
    record = decode_record(without(part))
    names = {
        "eventID": "event_id",
        "eventSourceARN": "event_source_arn",
        "awsRegion": "region",
        "userIdentity": "is_ttl_delete",
        "dynamodb.ApproximateCreationDateTime": "time",
        "dynamodb.NewImage": "new_image",
        "dynamodb.OldImage": "old_image",
        "dynamodb.SequenceNumber": "sequence_number",
        "dynamodb.SizeBytes": "size_bytes",
        "dynamodb.StreamViewType": "stream_view_type",
    }
    if part == "dynamodb.Keys":
        with pytest.raises(DecodeError, match=r"dynamodb\.Keys: is missing"):
            _ = record.keys
    elif part == "userIdentity":
        assert record.is_ttl_delete is False
    elif part == "awsRegion":
        assert record.region == "eu-west-1"  # from the ARN
    else:
        assert getattr(record, names[part]) is None
    assert record == decode_record(without(part))
    assert hash(record) == hash(decode_record(without(part)))


@pytest.mark.parametrize("image", ["Keys", "NewImage", "OldImage"])
def test_a_malformed_image_raises_when_it_is_read(image: str) -> None:
    """A record with a bad value in an image is decoded, and the error on access leads to the value."""
    (record,) = decode_records({"Records": [changed(f"dynamodb.{image}", {"year": {"N": "MMXIX"}})]})
    attribute = {"Keys": "keys", "NewImage": "new_image", "OldImage": "old_image"}[image]
    with pytest.raises(DecodeError, match="is not a number") as caught:
        getattr(record, attribute)
    facts = (caught.value.path, caught.value.index, caught.value.sequence_number)
    assert facts == (f"dynamodb.{image}.year.N", 0, "111100000000000000000001")


def test_an_image_is_decoded_once() -> None:
    """Reading an image again gives the same object."""
    record = decode_record(FULL)
    assert record.new_image is record.new_image
    assert record.keys is record.keys


def test_collecting_puts_each_error_in_its_place() -> None:
    """With on_error='collect' a malformed record's error stands where the record stood."""
    first, second, third = decode_records({"Records": [FULL, "no record", MINIMAL]}, on_error="collect")
    assert isinstance(first, StreamRecord)
    assert isinstance(second, DecodeError)
    assert second.index == 1
    assert isinstance(third, StreamRecord)


@pytest.mark.parametrize("payload", [None, "text", {}, {"Records": None}, {"records": {}}])
@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_what_is_no_batch_is_refused(payload: object, on_error: Any) -> None:
    """A payload without a list of records is refused as a whole."""
    with pytest.raises(DecodeError, match=r"^payload: is "):
        decode_records(payload, on_error=on_error)


def test_an_unknown_policy_is_refused() -> None:
    """on_error takes two values."""
    with pytest.raises(ValueError, match="on_error is 'raise' or 'collect', not 'skip'"):
        decode_records({"Records": []}, on_error="skip")  # type: ignore[call-overload]  # the mistake that is tested


def test_a_record_has_a_form_in_jsons_types() -> None:
    """`as_json` returns keys and images that json.dumps takes; an absent one is None. boto3#369, boto3#665."""
    image = {
        "n": {"N": "3"},
        "f": {"N": "0.5"},
        "ns": {"NS": ["2", "1"]},
        "ss": {"SS": ["b", "a"]},
        "b": {"B": "AAE="},
        "bs": {"BS": ["Ag==", "AQ=="]},
        "m": {"M": {"l": {"L": [{"NULL": True}, {"BOOL": False}, {"N": "1E+20"}]}}},
        "e": {"M": {}},
    }
    found = decode_record(FULL | {"dynamodb": {"Keys": {"id": {"N": "7"}}, "NewImage": image}}).as_json()
    plain: dict[str, Any] = {"n": 3, "f": 0.5, "ns": [1, 2], "ss": ["a", "b"], "b": "AAE=", "bs": ["AQ==", "Ag=="]}
    plain |= {"m": {"l": [None, False, 10**20]}, "e": {}}
    assert found == json.loads(json.dumps(found)) == {"keys": {"id": 7}, "new_image": plain, "old_image": None}
    assert decode_record(without("dynamodb.Keys")).as_json()["keys"] is None
    with pytest.raises(DecodeError, match=r"dynamodb\.OldImage\.year\.N"):
        decode_record(changed("dynamodb.OldImage", {"year": {"N": "MMXIX"}})).as_json()


def test_sequence_numbers_order_as_numbers() -> None:
    """A shorter sequence number is a lower one, whatever its digits, and it stays AWS's text."""
    low, high = SequenceNumber("9" * 21), SequenceNumber("1" + "0" * 21)
    assert sorted([high, low]) == [low, high]
    assert (low < high, low <= high, high > low, high >= low) == (True,) * 4
    assert (high < low, high <= low, low > high, low >= high) == (False,) * 4
    assert low == "9" * 21
    assert low <= SequenceNumber("9" * 21) >= low


def test_records_are_equal_where_their_changes_are() -> None:
    """Two readings of one record are equal and hash alike, and another change is another record."""
    assert decode_record(FULL) == decode_record(FULL)
    assert hash(decode_record(FULL)) == hash(decode_record(FULL))
    assert decode_record(FULL) != decode_record(FULL | {"eventID": "2"})


@given(payload=st.one_of(json_values, damaged({"Records": [FULL, MINIMAL]})))
def test_decoding_raises_nothing_but_decode_errors(payload: Any) -> None:
    """Any JSON value, and any batch with a part of it replaced, decodes or is refused with a DecodeError."""
    with suppress(DecodeError):
        for record in decode_records(payload):
            assert isinstance(record.keys, dict)
            assert record.new_image is None or isinstance(record.new_image, dict)
            assert record.old_image is None or isinstance(record.old_image, dict)
