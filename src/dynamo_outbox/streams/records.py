"""Stream records, in every shape in which AWS delivers them, as one type.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds_using-shards-and-metrics.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from ..codec.frozen import Frozen, fill
from ..codec.mappings import as_dicts
from ..codec.short_repr import short_repr
from ..codec.values import decode_item
from ..errors import DecodeError
from .payloads import records_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any, Literal, overload

    from .changed_attributes import Change

__all__ = ["SequenceNumber", "StreamRecord", "decode_record", "decode_records"]

_KNOWN_EVENT_NAMES = frozenset({"INSERT", "MODIFY", "REMOVE"})
_MAX_SEQUENCE_DIGITS = 129
"""Kinesis's own limit; DynamoDB's numbers have 21 to 40 digits."""
_MAX_SECONDS = 2.0**37
"""Beyond the year 6000: any number of seconds from 0 to this is a time."""
_KINESIS_FORM = frozenset({"recordFormat", "tableName"})
"""Members of a DynamoDB record that only a Kinesis data stream of a table has."""
_TTL_PRINCIPAL = "dynamodb.amazonaws.com"


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


class _Fields:
    """The attributes of a `StreamRecord`, not frozen: setting them as `Frozen` allows it takes five times as long."""

    __slots__ = (
        "_change",
        "_from_kinesis",
        "_number",
        "_read",
        "delivered",
        "event_id",
        "event_name",
        "index",
        "raw",
    )

    event_id: str | None
    event_name: str
    raw: Mapping[str, Any]
    delivered: Any
    index: int | None
    _change: Mapping[str, Any]
    _from_kinesis: bool
    _number: str | None
    """The sequence number, as text of its digits."""
    _read: dict[str, Any]
    """The images, and the time, once they were asked for."""

    def __init__(
        self, raw: Any, change: Mapping[str, Any], index: int | None, event_id: str, event_name: str, number: str
    ) -> None:
        self.raw = self.delivered = raw
        self.index = index
        self.event_id = event_id
        self.event_name = event_name
        self._change = change
        self._number = number
        self._from_kinesis = False
        self._read = {}


class StreamRecord(Frozen, _Fields):
    """One change of one item.

    Attributes:
        event_id: Unique per change of a stream; None if the record has none.
        event_name: ``INSERT``, ``MODIFY``, ``REMOVE``, or whatever AWS may send one day: kept, never taken for another.
        is_known: Whether `event_name` is one of the three.
        table: The table's name, or None where the record doesn't say (GetRecords).
        region: The table's Region, or None.
        event_source_arn: The ARN of the DynamoDB stream, or None (GetRecords, Kinesis).
        time: When the change was made, to the precision that AWS gives; aware. None if the record doesn't say: AWS
            requires no member of a record.
        sequence_number: Its place in its shard, or None. A Kinesis record has that of its envelope.
        stream_view_type: What images the stream carries, or None.
        size_bytes: AWS's figure, or None.
        is_ttl_delete: Whether DynamoDB removed the item because its time to live had passed. Such a removal
            that was replicated from another Region looks like any other.
        keys, new_image, old_image: The item's key and images as Python values; an image that the record doesn't carry
            is None, and an empty one is empty. Decoded on first access, which raises `DecodeError` if malformed, or if
            there are no keys.
        raw: The DynamoDB record, without the envelope of Kinesis. Don't change it: the images are decoded from it
            later.
        delivered: The same as AWS delivered it: in its envelope, if it has one.
    """

    __slots__ = ()
    FIELDS = ("event_id", "event_name", "table", "time", "sequence_number", "is_ttl_delete", "raw")

    def __init__(self, raw: Mapping[str, Any], index: int | None = None) -> None:
        fill(self, "index", index)
        try:
            self._read_all(raw)
        except DecodeError:
            plain = as_dicts(raw)
            if plain is raw:
                raise
            self._read_all(plain)

    def _read_all(self, raw: Mapping[str, Any]) -> None:
        fill(self, "_number", None)
        fill(self, "delivered", raw)
        raw, number, is_from_kinesis = self._unwrapped(raw)
        change = raw.get("dynamodb")
        if not isinstance(change, dict):
            problem = "is missing or not a map: this is not a DynamoDB stream record"
            if "dynamodb" not in raw:
                from ..events.payload_shapes import shape_of

                problem += f", but {shape_of(raw).what}"
            raise self._error("dynamodb", problem)
        fill(self, "raw", raw)
        fill(self, "_change", change)
        fill(self, "_from_kinesis", is_from_kinesis)
        fill(self, "_number", self._digits(change.get("SequenceNumber")) if number is None else number)
        names = ("tableName", "awsRegion") if is_from_kinesis else ("eventSourceARN", "tableName", "awsRegion")
        for name in names:
            self._check_optional(raw, name, str)
        self._check_optional(raw, "eventID", str)
        fill(self, "event_id", raw.get("eventID") or None)
        fill(self, "event_name", self._required(raw, "eventName"))
        self._check_optional(change, "StreamViewType", str, "dynamodb.")
        self._check_optional(change, "SizeBytes", int, "dynamodb.")
        fill(self, "_read", {"time": self._time()})
        self._check_optional(change, "Keys", dict, "dynamodb.")

    def _unwrapped(self, record: object) -> tuple[Mapping[str, Any], str | None, bool]:
        """The DynamoDB record in a record, its envelope's sequence number, and whether it is of Kinesis or Firehose."""
        if not isinstance(record, dict):
            raise self._error("", f"a record is a map, not {type(record).__name__}")
        if "dynamodb" in record:
            return record, None, not _KINESIS_FORM.isdisjoint(record) and record.get("eventSourceARN") is None
        envelope = record.get("kinesis", record)  # a pipe hands the envelope's members over bare
        data, number = ("data", "sequenceNumber")
        if isinstance(envelope, dict) and "Data" in envelope:  # GetRecords' response of Kinesis
            data, number = ("Data", "SequenceNumber")
        if not isinstance(envelope, dict) or data not in envelope:
            return record, None, False
        path = "kinesis." if "kinesis" in record else ""
        is_of_firehose = "recordId" in envelope
        # Firehose has metadata of Kinesis if its delivery stream reads a Kinesis stream.
        holder: Any = envelope.get("kinesisRecordMetadata") if is_of_firehose else envelope
        found = self._digits(holder.get(number) if isinstance(holder, dict) else None, path + number)
        fill(self, "_number", found)
        inner = self._inner(envelope[data], path + data)
        if found is None and not is_of_firehose:
            raise self._error(path + data, "is not in an envelope with a sequence number")
        return inner, found, True

    def _inner(self, data: object, path: str) -> Mapping[str, Any]:
        """Return the DynamoDB record in an envelope: base64 text, or bytes that boto3 has decoded."""
        from base64 import b64decode

        try:
            inner = json.loads(data if isinstance(data, bytes) else b64decode(data, validate=True))  # type: ignore[arg-type]  # a TypeError is caught
        except (TypeError, ValueError, RecursionError):
            raise self._error(path, "is not the base64 of a JSON text") from None
        if not isinstance(inner, dict):
            raise self._error(path, f"holds a JSON {type(inner).__name__}, not a DynamoDB record")
        return inner

    def _digits(self, number: object, path: str = "dynamodb.SequenceNumber") -> str | None:
        if number is None:
            return None
        if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) <= _MAX_SEQUENCE_DIGITS:
            return number
        raise self._error(path, f"needs digits, got {short_repr(number)}")

    def _error(self, path: str, problem: str) -> DecodeError:
        return DecodeError(path, problem, index=self.index, sequence_number=self.sequence_number, raw=self.delivered)

    def _required(self, holder: Mapping[str, Any], name: str) -> str:
        value = holder.get(name)
        if not isinstance(value, str) or not value:
            raise self._error(name, f"needs text, got {short_repr(value)}")
        return value

    def _check_optional(self, holder: Mapping[str, Any], name: str, kind: type, prefix: str = "") -> None:
        value = holder.get(name)
        if value is not None and not isinstance(value, kind):
            raise self._error(prefix + name, f"needs {kind.__name__}, got {short_repr(value)}")

    def _time(self) -> datetime | None:
        from datetime import UTC, datetime, timedelta  # as much to import as all the rest of the decoder

        value = self._change.get("ApproximateCreationDateTime")
        if value is None:
            return None
        try:
            if isinstance(value, str):  # of the AWS CLI, or of a datetime in a dump
                value = datetime.fromisoformat(value)
            if isinstance(value, datetime) and value.utcoffset() is not None:
                return value.astimezone(UTC)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                unit = "seconds"
                if self._from_kinesis:
                    precision = self._change.get("ApproximateCreationDateTimePrecision", "MILLISECOND")
                    unit = "microseconds" if precision == "MICROSECOND" else "milliseconds"
                return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(**{unit: value})
        except (OverflowError, ValueError):
            pass
        problem = f"needs epoch seconds, or an aware datetime or its ISO 8601 text, got {short_repr(value)}"
        raise self._error("dynamodb.ApproximateCreationDateTime", problem)

    @property
    def is_known(self) -> bool:
        return self.event_name in _KNOWN_EVENT_NAMES

    @property
    def event_source_arn(self) -> str | None:
        return None if self._from_kinesis else self.raw.get("eventSourceARN")

    @property
    def table(self) -> str | None:
        return _region_and_table(self.event_source_arn or "")[1] or self.raw.get("tableName")

    @property
    def region(self) -> str | None:
        return _region_and_table(self.event_source_arn or "")[0] or self.raw.get("awsRegion")

    @property
    def time(self) -> datetime | None:
        read = self._read
        if "time" not in read:
            read["time"] = self._time()
        when: datetime | None = read["time"]
        return when

    @property
    def sequence_number(self) -> SequenceNumber | None:
        return None if self._number is None else SequenceNumber(self._number)

    @property
    def stream_view_type(self) -> str | None:
        return self._change.get("StreamViewType")

    @property
    def size_bytes(self) -> int | None:
        return self._change.get("SizeBytes")

    @property
    def is_ttl_delete(self) -> bool:
        return self.event_name == "REMOVE" and _is_ttl(self.raw.get("userIdentity"))

    @property
    def keys(self) -> dict[str, Any]:
        read = self._read
        keys: dict[str, Any] | None = read["Keys"] if "Keys" in read else self._image("Keys")
        if keys is None:
            raise self._error("dynamodb.Keys", "is missing")
        return keys

    @property
    def new_image(self) -> dict[str, Any] | None:
        read = self._read
        image: dict[str, Any] | None = read["NewImage"] if "NewImage" in read else self._image("NewImage")
        return image

    @property
    def old_image(self) -> dict[str, Any] | None:
        read = self._read
        image: dict[str, Any] | None = read["OldImage"] if "OldImage" in read else self._image("OldImage")
        return image

    def _image(self, name: str) -> Any:
        image: Any = self._change.get(name)
        if image is not None:
            try:
                image = decode_item(image)
            except DecodeError as error:
                raise self._error(error.within(f"dynamodb.{name}").path, error.problem) from None
            if self._from_kinesis:
                image = self._without_second_base64(image, name)
        self._read[name] = image
        return image

    def _without_second_base64(self, image: dict[str, Any], name: str) -> dict[str, Any]:
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
        from .changed_attributes import ABSENT, Change

        pairs = ((name, Change(old.get(name, ABSENT), new.get(name, ABSENT))) for name in {**old, **new})
        return {name: change for name, change in pairs if change.old != change.new}

    def as_json(self) -> dict[str, Any]:
        """Return the key and the images in JSON's types, as ``{"keys", "new_image", "old_image"}``; None if absent.

        Numbers are ``int`` or ``float``, sets are sorted lists, binary is base64 text: see `decode_item`.

        Raises:
            DecodeError: An image is malformed.
        """
        from ..codec.plain_values import plain

        keys = None if self._change.get("Keys") is None else self.keys
        images = {"keys": keys, "new_image": self.new_image, "old_image": self.old_image}
        return {name: plain(image) for name, image in images.items()}

    def __hash__(self) -> int:
        return hash((self.event_source_arn, self.event_id))


def _decoded_again(value: Any) -> Any:
    """Decode binary again: Kinesis has the base64 of its base64.

    https://github.com/awslabs/amazon-kinesis-client/issues/959
    """
    if isinstance(value, bytes):
        from base64 import b64decode

        return b64decode(value, validate=True)
    if isinstance(value, dict):
        return {name: _decoded_again(member) for name, member in value.items()}
    if isinstance(value, (list, set)):
        return type(value)(map(_decoded_again, value))
    return value


def _is_ttl(identity: object) -> bool:
    if not isinstance(identity, Mapping):
        return False
    kind = identity.get("type", identity.get("Type"))  # lower case from Lambda, capitalised through boto3
    principal = identity.get("principalId", identity.get("PrincipalId"))
    return (kind, principal) == ("Service", _TTL_PRINCIPAL)


@lru_cache(maxsize=64)
def _region_and_table(arn: str) -> tuple[str | None, str | None]:
    """From ``arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026-11-23T00:00:00.000``."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[5].startswith("table/"):
        return None, None
    return parts[3] or None, parts[5].split("/")[1] or None


def _decode_fast(raw: Any, index: int | None) -> StreamRecord:
    """Decode a record with all that Lambda always sends; raise anything for any other."""
    change = raw["dynamodb"]
    event_id, event_name, number = raw["eventID"], raw["eventName"], change["SequenceNumber"]
    seconds = change["ApproximateCreationDateTime"]
    if not (
        type(raw) is dict
        and type(change) is dict
        and type(change["Keys"]) is dict
        and type(event_id) is str
        and event_id
        and type(event_name) is str
        and event_name
        and type(raw["eventSourceARN"]) is str
        and type(raw["awsRegion"]) is str
        and type(change["StreamViewType"]) is str
        and type(change["SizeBytes"]) is int
        and (type(seconds) is float or type(seconds) is int)
        and seconds >= 0.0
        and seconds <= _MAX_SECONDS
        and type(number) is str
        and number.isdigit()
        and number.isascii()
        and len(number) <= _MAX_SEQUENCE_DIGITS
        and "tableName" not in raw
    ):
        raise ValueError
    record = _Fields(raw, change, index, event_id, event_name, number)
    record.__class__ = StreamRecord
    return record  # type: ignore[return-value]  # it is one now


def decode_record(record: Mapping[str, Any]) -> StreamRecord:
    """Return one stream record, in any of the shapes that `decode_records` takes.

    Raises:
        DecodeError: It is malformed; the path says where. A malformed image raises when it is read.
    """
    try:
        return _decode_fast(record, None)
    except Exception:  # the reference implementation names the fault, or reads what is rare
        return StreamRecord(record)


if TYPE_CHECKING:

    @overload
    def decode_records(payload: object, *, on_error: Literal["raise"] = "raise") -> list[StreamRecord]: ...

    @overload
    def decode_records(payload: object, *, on_error: Literal["collect"]) -> list[StreamRecord | DecodeError]: ...


def decode_records(payload: object, *, on_error: str = "raise") -> Sequence[StreamRecord | DecodeError]:
    """Return the stream records in a payload, in its order.

    Args:
        payload: Lambda's event for a DynamoDB stream or for a Kinesis data stream of a table; the response of
            GetRecords, through boto3 or the AWS CLI; the array that EventBridge Pipes passes; Firehose's event for a
            transformation; the object of a failure destination in S3; or one record. Any `Mapping` is read, such as the
            event objects of Powertools for AWS Lambda.
        on_error: ``raise``, or ``collect`` to get the `DecodeError` of a malformed record in its place.

    Raises:
        DecodeError: The payload is none of these, or, with ``raise``, a record in it is malformed. A malformed value
            inside an image raises when the image is read. The text says what was received and what reads it; of a
            failure record that only points to the records, it says where they are.
    """
    if on_error not in ("raise", "collect"):
        raise ValueError(f"on_error is 'raise' or 'collect', not {on_error!r}")
    decoded: list[StreamRecord | DecodeError] = []
    for index, raw in enumerate(records_of(payload)):
        try:
            decoded.append(_decode_fast(raw, index))
        except Exception:  # as above
            try:
                decoded.append(StreamRecord(raw, index))
            except DecodeError as error:
                if on_error == "raise":
                    raise
                decoded.append(error)
    return decoded
