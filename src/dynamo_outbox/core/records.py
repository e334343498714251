"""Stream records, in the shapes in which Lambda and GetRecords hand them over, as one type.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..errors import DecodeError
from .frozen import Frozen, fill
from .values import decode_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, overload


__all__ = ["SequenceNumber", "StreamRecord", "decode_record", "decode_records"]

_TTL_PRINCIPAL = "dynamodb.amazonaws.com"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREAD: Any = object()


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
        table: The table's name, or None where the record doesn't say (GetRecords).
        region: The Region that the record names.
        event_source_arn: The stream's ARN, or None (GetRecords).
        time: When the change was made, to the precision that AWS gives; aware.
        sequence_number: Its place in its shard, or None.
        stream_view_type: What images the stream carries, or None.
        size_bytes: AWS's figure, or None.
        is_ttl_delete: Whether DynamoDB removed the item because its time to live had passed. A removal that was
            replicated from another Region can't be told apart.
        keys, new_image, old_image: The item's key and images as Python values; an image that the record doesn't carry
            is None, and an empty one is empty. Decoded on first access, which raises `DecodeError` if malformed.
        raw: The record as it came.
    """

    __slots__ = (
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
    _keys: dict[str, Any]
    _new_image: dict[str, Any] | None
    _old_image: dict[str, Any] | None

    def __init__(self, raw: Mapping[str, Any], index: int | None = None) -> None:
        change = raw.get("dynamodb") if isinstance(raw, dict) else None
        if not isinstance(change, dict):
            raise DecodeError("dynamodb", "is missing or no map: this is no DynamoDB stream record", index=index)
        number = change.get("SequenceNumber")
        numbered = isinstance(number, str) and number.isascii() and number.isdigit()
        fill(self, "sequence_number", SequenceNumber(number) if numbered else None)
        fill(self, "index", index)
        fill(self, "raw", raw)
        if number is not None and not numbered:
            raise self._error("dynamodb.SequenceNumber", f"needs digits, got {number!r}")
        arn = self._optional(raw, "eventSourceARN", str)
        fill(self, "event_source_arn", arn)
        fill(self, "table", None if arn is None else _table_of(arn))
        fill(self, "region", self._optional(raw, "awsRegion", str))
        fill(self, "event_id", self._required(raw, "eventID"))
        fill(self, "event_name", self._required(raw, "eventName"))
        fill(self, "stream_view_type", self._optional(change, "StreamViewType", str, "dynamodb."))
        fill(self, "size_bytes", self._optional(change, "SizeBytes", int, "dynamodb."))
        fill(self, "is_ttl_delete", self.event_name == "REMOVE" and _is_ttl(raw.get("userIdentity")))
        fill(self, "time", self._time(change.get("ApproximateCreationDateTime")))
        for name in ("_keys", "_new_image", "_old_image"):
            fill(self, name, _UNREAD)
        if not isinstance(change.get("Keys"), dict):
            raise self._error("dynamodb.Keys", "is missing or no map, and every change has it")

    def _error(self, path: str, problem: str) -> DecodeError:
        return DecodeError(path, problem, index=self.index, sequence_number=self.sequence_number)

    def _required(self, holder: Mapping[str, Any], name: str) -> str:
        value = holder.get(name)
        if not isinstance(value, str) or not value:
            raise self._error(name, f"needs text, got {value!r}")
        return value

    def _optional(self, holder: Mapping[str, Any], name: str, kind: type, prefix: str = "") -> Any:
        value = holder.get(name)
        if value is not None and not isinstance(value, kind):
            raise self._error(prefix + name, f"needs {kind.__name__}, got {value!r}")
        return value

    def _time(self, value: object) -> datetime:
        if isinstance(value, datetime) and value.utcoffset() is not None:
            return value.astimezone(UTC)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return _EPOCH + timedelta(seconds=value)
            except (OverflowError, ValueError):
                pass
        raise self._error(
            "dynamodb.ApproximateCreationDateTime", f"needs epoch seconds or an aware datetime, got {value!r}"
        )

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
            return decode_item(typed)
        except DecodeError as error:
            raise self._error(error.within(f"dynamodb.{name}").path, error.problem) from None

    def __hash__(self) -> int:
        return hash((self.event_source_arn, self.event_id))


def _is_ttl(identity: object) -> bool:
    if not isinstance(identity, dict):
        return False
    kind = identity.get("type", identity.get("Type"))  # lower case from Lambda, capitalised through boto3
    principal = identity.get("principalId", identity.get("PrincipalId"))
    return kind == "Service" and principal == _TTL_PRINCIPAL


def _table_of(arn: str) -> str | None:
    _, found, rest = arn.partition(":table/")
    return rest.partition("/")[0] if found else None


def decode_record(record: Mapping[str, Any]) -> StreamRecord:
    """One stream record.

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
        payload: Lambda's event, or the answer of GetRecords: a map with ``Records``.
        on_error: ``raise``, or ``collect`` to find each malformed record's `DecodeError` in its place.

    Raises:
        DecodeError: The payload is neither, or, with ``raise``, a record in it is malformed. A malformed value inside
            an image raises when the image is read.
    """
    if on_error not in ("raise", "collect"):
        raise ValueError(f"on_error is 'raise' or 'collect', not {on_error!r}")
    records = payload.get("Records") if isinstance(payload, dict) else None
    if not isinstance(records, list):
        raise DecodeError("Records", "is missing or no list: neither Lambda's event nor an answer of GetRecords")
    decoded: list[StreamRecord | DecodeError] = []
    for index, record in enumerate(records):
        try:
            decoded.append(StreamRecord(record, index))
        except DecodeError as error:
            if on_error == "raise":
                raise
            decoded.append(error)
    return decoded
