"""Stream records, in every shape in which they are handed over, as one type.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds_using-shards-and-metrics.html
"""

from __future__ import annotations

import json
from collections import namedtuple

from ..errors import DecodeError
from .frozen import Frozen, fill
from .shown import shown
from .values import decode_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any, Literal, NamedTuple, overload


__all__ = ["ABSENT", "Change", "SequenceNumber", "StreamRecord", "decode_record", "decode_records"]

_KNOWN_EVENT_NAMES = frozenset({"INSERT", "MODIFY", "REMOVE"})
_MAX_SEQUENCE_DIGITS = 129
"""Kinesis's own limit; DynamoDB's numbers have 21 to 40 digits."""
_TTL_PRINCIPAL = "dynamodb.amazonaws.com"


class _Absent:
    """What an attribute is that isn't there; false, and not None, which is DynamoDB's NULL."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"  # there is one, after copy and pickle too


ABSENT = _Absent()

if TYPE_CHECKING:

    class Change(NamedTuple):
        old: Any
        new: Any
else:
    Change = namedtuple("Change", ["old", "new"])  # typing's own costs the decoder an import
    Change.__doc__ = "One attribute of a changed item, before and after; `ABSENT` where it was or is not there."


class _Unread:
    def __reduce__(self) -> str:
        return "_UNREAD"


_UNREAD: Any = _Unread()
"""What an image is before it is read."""


class SequenceNumber(str):
    """A stream's sequence number: AWS's text, ordered as the number that it is.

    The texts are 21 to 40 digits long, so sorting them as text would be wrong. Their order means something within one
    shard only.
    """

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return int(self) < int(other)

    def __le__(self, other: str) -> bool:
        return int(self) <= int(other)

    def __gt__(self, other: str) -> bool:
        return int(self) > int(other)

    def __ge__(self, other: str) -> bool:
        return int(self) >= int(other)


class StreamRecord(Frozen):
    """One change of one item.

    Attributes:
        event_id: Unique per change of a stream.
        event_name: ``INSERT``, ``MODIFY``, ``REMOVE``, or whatever AWS may send one day: kept, never taken for another.
        is_known: Whether `event_name` is one of the three.
        table: The table's name, or None where the record doesn't say (GetRecords).
        region: The table's Region, or None.
        event_source_arn: The ARN of the DynamoDB stream, or None (GetRecords, Kinesis).
        time: When the change was made, to the precision that AWS gives; aware.
        sequence_number: Its place in its shard, or None. A Kinesis record has that of its envelope.
        stream_view_type: What images the stream carries, or None.
        size_bytes: AWS's figure, or None.
        is_ttl_delete: Whether DynamoDB removed the item because its time to live had passed. A removal that was
            replicated from another Region can't be told apart.
        keys, new_image, old_image: The item's key and images as Python values; an image that the record doesn't carry
            is None, and an empty one is empty. Decoded on first access, which raises `DecodeError` if malformed.
        raw: The record as it came.
    """

    __slots__ = (
        "_from_kinesis",
        "_keys",
        "_new_image",
        "_old_image",
        "event_id",
        "event_name",
        "event_source_arn",
        "index",
        "is_ttl_delete",
        "raw",
        "region",
        "sequence_number",
        "size_bytes",
        "stream_view_type",
        "table",
        "time",
    )
    FIELDS = ("event_id", "event_name", "table", "time", "sequence_number", "is_ttl_delete", "raw")

    event_id: str
    event_name: str
    table: str | None
    region: str | None
    event_source_arn: str | None
    time: datetime
    sequence_number: SequenceNumber | None
    stream_view_type: str | None
    size_bytes: int | None
    is_ttl_delete: bool
    raw: Mapping[str, Any]
    index: int | None
    _from_kinesis: bool
    _keys: dict[str, Any]
    _new_image: dict[str, Any] | None
    _old_image: dict[str, Any] | None

    def __init__(self, raw: Mapping[str, Any], index: int | None = None) -> None:
        fill(self, "index", index)
        fill(self, "sequence_number", None)
        raw, number = self._unwrapped(raw)
        change = raw.get("dynamodb")
        if not isinstance(change, dict):
            raise self._error("dynamodb", "is missing or no map: this is no DynamoDB stream record")
        fill(self, "raw", raw)
        fill(self, "_from_kinesis", number is not None)
        fill(self, "sequence_number", self._numbered(change.get("SequenceNumber") if number is None else number))
        arn = None if self._from_kinesis else self._optional(raw, "eventSourceARN", str)
        fill(self, "event_source_arn", arn)
        region, table = (None, None) if arn is None else _region_and_table(arn)
        told_table, told_region = (self._optional(raw, name, str) for name in ("tableName", "awsRegion"))
        fill(self, "table", table or told_table)
        fill(self, "region", region or told_region)
        fill(self, "event_id", self._required(raw, "eventID"))
        fill(self, "event_name", self._required(raw, "eventName"))
        fill(self, "stream_view_type", self._optional(change, "StreamViewType", str, "dynamodb."))
        fill(self, "size_bytes", self._optional(change, "SizeBytes", int, "dynamodb."))
        fill(self, "is_ttl_delete", self.event_name == "REMOVE" and _is_ttl(raw.get("userIdentity")))
        fill(self, "time", self._time(change))
        for name in ("_keys", "_new_image", "_old_image"):
            fill(self, name, _UNREAD)
        if not isinstance(change.get("Keys"), dict):
            raise self._error("dynamodb.Keys", "is missing or no map, and every change has it")

    def _unwrapped(self, record: object) -> tuple[Mapping[str, Any], object]:
        """The DynamoDB record in what was handed over, and its Kinesis envelope's sequence number, if it has one."""
        if not isinstance(record, dict):
            raise self._error("", f"a record is a map, not {type(record).__name__}")
        envelope = record.get("kinesis", record)  # a pipe hands the envelope's members over bare
        if "dynamodb" in record or not isinstance(envelope, dict) or "data" not in envelope:
            return record, None
        number = envelope.get("sequenceNumber")
        fill(self, "sequence_number", self._numbered(number, "kinesis.sequenceNumber"))
        from base64 import b64decode

        try:
            inner = json.loads(b64decode(envelope["data"], validate=True))
        except (TypeError, ValueError, RecursionError):
            raise self._error("kinesis.data", "is not the base64 of a JSON text") from None
        if not isinstance(inner, dict) or number is None:
            raise self._error("kinesis.data", "is no DynamoDB record in an envelope with a sequence number")
        return inner, number

    def _numbered(self, number: object, path: str = "dynamodb.SequenceNumber") -> SequenceNumber | None:
        if number is None:
            return None
        if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= _MAX_SEQUENCE_DIGITS:
            return SequenceNumber(number)
        raise self._error(path, f"needs digits, got {shown(number)}")

    def _error(self, path: str, problem: str) -> DecodeError:
        return DecodeError(path, problem, index=self.index, sequence_number=self.sequence_number)

    def _required(self, holder: Mapping[str, Any], name: str) -> str:
        value = holder.get(name)
        if not isinstance(value, str) or not value:
            raise self._error(name, f"needs text, got {shown(value)}")
        return value

    def _optional(self, holder: Mapping[str, Any], name: str, kind: type, prefix: str = "") -> Any:
        value = holder.get(name)
        if value is not None and not isinstance(value, kind):
            raise self._error(prefix + name, f"needs {kind.__name__}, got {shown(value)}")
        return value

    def _time(self, change: Mapping[str, Any]) -> datetime:
        from datetime import UTC, datetime, timedelta  # as much to import as all the rest of the decoder

        value = change.get("ApproximateCreationDateTime")
        try:
            if isinstance(value, datetime) and value.utcoffset() is not None:
                return value.astimezone(UTC)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                unit = "seconds"
                if self._from_kinesis:
                    precision = change.get("ApproximateCreationDateTimePrecision", "MILLISECOND")
                    unit = "microseconds" if precision == "MICROSECOND" else "milliseconds"
                return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(**{unit: value})
        except (OverflowError, ValueError):
            pass
        raise self._error(
            "dynamodb.ApproximateCreationDateTime", f"needs epoch seconds or an aware datetime, got {shown(value)}"
        )

    @property
    def is_known(self) -> bool:
        return self.event_name in _KNOWN_EVENT_NAMES

    @property
    def keys(self) -> dict[str, Any]:
        if self._keys is _UNREAD:
            fill(self, "_keys", self._image("Keys"))
        return self._keys

    @property
    def new_image(self) -> dict[str, Any] | None:
        if self._new_image is _UNREAD:
            fill(self, "_new_image", self._image("NewImage"))
        return self._new_image

    @property
    def old_image(self) -> dict[str, Any] | None:
        if self._old_image is _UNREAD:
            fill(self, "_old_image", self._image("OldImage"))
        return self._old_image

    def _image(self, name: str) -> dict[str, Any] | None:
        typed = self.raw["dynamodb"].get(name)
        if typed is None:
            return None
        try:
            image = decode_item(typed)
        except DecodeError as error:
            raise self._error(error.within(f"dynamodb.{name}").path, error.problem) from None
        if not self._from_kinesis:
            return image
        try:
            return {attribute: _decoded_again(value) for attribute, value in image.items()}
        except ValueError:
            raise self._error(f"dynamodb.{name}", "holds binary that isn't base64 twice, as Kinesis has it") from None

    def changes(self) -> dict[str, Change]:
        """The attributes that the change changed, added or removed, by name.

        Raises:
            DecodeError: The record lacks an image: the stream needs the view type ``NEW_AND_OLD_IMAGES``, and only a
                ``MODIFY`` has both.
        """
        old, new = self.old_image, self.new_image
        if old is None or new is None:
            missing = "OldImage" if old is None else "NewImage"
            raise self._error(f"dynamodb.{missing}", "is missing; a MODIFY of NEW_AND_OLD_IMAGES has both images")
        pairs = ((name, Change(old.get(name, ABSENT), new.get(name, ABSENT))) for name in {**old, **new})
        return {name: change for name, change in pairs if change.old != change.new}

    def __hash__(self) -> int:
        return hash((self.event_source_arn, self.event_id))


def _decoded_again(value: Any) -> Any:
    """Kinesis carries binary as the base64 of its base64. https://github.com/awslabs/amazon-kinesis-client/issues/959"""
    if isinstance(value, bytes):
        from base64 import b64decode

        return b64decode(value, validate=True)
    if isinstance(value, dict):
        return {name: _decoded_again(member) for name, member in value.items()}
    if isinstance(value, (list, set)):
        return type(value)(map(_decoded_again, value))
    return value


def _is_ttl(identity: object) -> bool:
    if not isinstance(identity, dict):
        return False
    kind = identity.get("type", identity.get("Type"))  # lower case from Lambda, capitalised through boto3
    principal = identity.get("principalId", identity.get("PrincipalId"))
    return kind == "Service" and principal == _TTL_PRINCIPAL


def _region_and_table(arn: str) -> tuple[str | None, str | None]:
    """From ``arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026-11-23T00:00:00.000``."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[5].startswith("table/"):
        return None, None
    return parts[3] or None, parts[5].split("/")[1] or None


def decode_record(record: Mapping[str, Any]) -> StreamRecord:
    """One stream record, in any of the shapes that `decode_records` takes.

    Raises:
        DecodeError: Not one; the path says what is wrong. A malformed image raises when it is read.
    """
    return StreamRecord(record)


if TYPE_CHECKING:

    @overload
    def decode_records(payload: object, *, on_error: Literal["raise"] = "raise") -> list[StreamRecord]: ...

    @overload
    def decode_records(payload: object, *, on_error: Literal["collect"]) -> list[StreamRecord | DecodeError]: ...


def decode_records(payload: object, *, on_error: str = "raise") -> Sequence[StreamRecord | DecodeError]:
    """The stream records in what AWS hands over, in its order.

    Args:
        payload: Lambda's event for a DynamoDB stream or for a Kinesis data stream of one; the answer of GetRecords; the
            array that EventBridge Pipes passes; or one bare record.
        on_error: ``raise``, or ``collect`` to find each malformed record's `DecodeError` in its place.

    Raises:
        DecodeError: The payload is none of these, or, with ``raise``, a record in it is malformed. A malformed value
            inside an image raises when the image is read.
    """
    if on_error not in ("raise", "collect"):
        raise ValueError(f"on_error is 'raise' or 'collect', not {on_error!r}")
    records = payload
    if isinstance(payload, dict):
        records = [payload] if "dynamodb" in payload or "kinesis" in payload else payload.get("Records")
    if not isinstance(records, list):
        raise DecodeError(
            "Records", "is missing or no list: neither Lambda's event, GetRecords' answer, a pipe's array nor a record"
        )
    decoded: list[StreamRecord | DecodeError] = []
    for index, record in enumerate(records):
        try:
            decoded.append(StreamRecord(record, index))
        except DecodeError as error:
            if on_error == "raise":
                raise
            decoded.append(error)
    return decoded
