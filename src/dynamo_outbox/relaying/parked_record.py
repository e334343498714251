"""The parked record, format 1: a stream record as it is stored in a parking table or queue, complete, with the reason.

The table holds two kinds of items. A *record* is stored under its ordering key, sorted by its sequence number,
compressed and split into as many parts as an item's size requires. A *head* per ordering key counts the records that
are parked under it; the heads are in a few partitions, so that they can be listed without reading the records. A record
and its head change in one transaction, or not at all.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ..aws.limits import MAX_ACTIONS, MAX_TRANSACTION_BYTES
from ..codec.values import decode_item, encode_item
from ..errors import ParkingError
from ..events.outbox_item import time_text
from .rules import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from ..options import TableKeys

    Chunk: TypeAlias = tuple[list["ParkedRecord"], list[dict[str, Any]]]
    """The records of one transaction, and its actions."""

__all__ = [
    "HEAD_PARTITIONS",
    "ParkedRecord",
    "ParkingLayout",
    "head_key",
    "message_of",
    "parking_transactions",
    "record_in_message",
    "record_partition",
    "records_in_items",
    "removal_transactions",
]

FORMAT = 1
PART_BYTES = 360 * 1024
"""Part of a record that is stored in one item: the rest of 400 KB is for the other attributes."""
ITEM_OVERHEAD = 30 * 1024
"""Upper bound of the size of an item's other attributes: keys, event ids, the reason."""
TRANSACTION_BYTES = MAX_TRANSACTION_BYTES - 128 * 1024
"""Part of a transaction that records may fill: the rest of 4 MB is for the heads."""
MAX_KEY_BYTES = 512
"""A longer ordering key is stored as its digest, because a sort key has room for 1,024 bytes."""
MAX_TEXT_CHARACTERS = {"code": 200, "message": 1500, "path": 500, "id": 100}
"""Part of a reason's texts and of an event's id that is stored: at most four bytes each, less than the overhead."""
MAX_EVENT_IDS = 20
"""The number of event ids that are stored for a search; the events don't depend on them."""
HEAD_PARTITIONS = tuple("0123456789abcdef")
"""The partitions of the heads: several, so that relays don't all read the same one."""


class ParkingLayout(NamedTuple):
    """The table of parked records, and its keys."""

    table: str
    keys: TableKeys


class ParkedRecord(NamedTuple):
    """A stream record that is stored until it is published again.

    Attributes:
        raw: The record as it was delivered, in JSON's types.
        order_key: Its ordering key.
        sequence_number: Its position in its shard, or None.
        event_ids: The ids of its events, as far as the record could be read.
        reason: Why it is parked.
        parked_at: When it was parked; aware.
        parked_by: The class of the processor that parked it.
        place: Its sort key in the table, without the part; made from the sequence number, and sorted as it is.
        parts: The number of its items, if it was read from a table.
        size: Their size in bytes, compressed.
    """

    raw: Any
    order_key: str
    sequence_number: str | None
    event_ids: tuple[str, ...]
    reason: Reason
    parked_at: datetime
    parked_by: str
    place: str
    parts: int = 0
    size: int = 0

    @classmethod
    def of(
        cls,
        raw: object,
        order_key: str | None,
        *,
        sequence_number: str | None,
        event_ids: Iterable[str],
        reason: Reason,
        now: datetime,
        parked_by: str,
    ) -> ParkedRecord:
        """Return a record to park; without an ordering key it gets one of its own.

        Raises:
            ParkingError: It holds a value that JSON has no form for.
        """
        text = _json_text(raw)
        identity = _identity(raw, text)
        digits = (sequence_number or "").lstrip("0")
        return cls(
            raw=json.loads(text),
            order_key=f"?{identity}" if order_key is None else order_key,
            sequence_number=sequence_number,
            event_ids=tuple(event_ids),
            reason=reason,
            parked_at=now,
            parked_by=parked_by,
            place=f"{len(digits):03d}.{digits}#{identity}",
        )

    def alone(self) -> ParkedRecord:
        """Return the record under an ordering key of its own, so that no other record holds it back."""
        return self._replace(order_key=f"{self.order_key}@{self.place}")

    def loaded(self, raw: Any, *, parts: int = 0, size: int = 0) -> ParkedRecord:
        """Return a stored record with the record itself."""
        return self._replace(raw=raw, parts=parts, size=size)

    def packed(self) -> bytes:
        """Return the record, compressed."""
        return zlib.compress(_json_text(self.raw).encode())

    def about(self) -> dict[str, Any]:
        """Return all but the record itself and its place, as JSON values."""
        code, message, path = self.reason
        return {
            "parkedFormat": FORMAT,
            "orderKey": self.order_key,
            "sequenceNumber": self.sequence_number or "",
            "eventIds": [_cut("id", event_id) for event_id in self.event_ids[:MAX_EVENT_IDS]],
            "reasonCode": _cut("code", code),
            "reasonMessage": _cut("message", message),
            "reasonPath": _cut("path", path),
            "parkedAt": time_text(self.parked_at),
            "parkedBy": self.parked_by,
        }

    @classmethod
    def from_about(cls, about: Mapping[str, Any], place: str) -> ParkedRecord:
        """Return a stored record, without the record itself.

        Raises:
            ParkingError: It has an unknown format.
        """
        sequence_number = about["sequenceNumber"] or None
        if about["parkedFormat"] != FORMAT:
            problem = f"is parked in format {about['parkedFormat']}, which is unknown; update dynamo-outbox"
            raise ParkingError(sequence_number, problem)
        reason = Reason(about["reasonCode"], about["reasonMessage"], about["reasonPath"])
        parked_at = datetime.fromisoformat(about["parkedAt"])
        ids = tuple(about["eventIds"])
        return cls(None, about["orderKey"], sequence_number, ids, reason, parked_at, about["parkedBy"], place)


def _cut(kind: str, text: str) -> str:
    """Return a text as it can be stored: cut, and as Unicode text."""
    most = MAX_TEXT_CHARACTERS[kind]
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return cut.encode("utf-8", "backslashreplace").decode()


def _identity(raw: object, text: str) -> str:
    """Return a text that a record has in each delivery, and no other record with its sequence number has."""
    event_id = raw.get("eventID") if isinstance(raw, dict) else None
    if isinstance(raw, dict) and isinstance(event_id, str):
        text = f"{raw.get('eventSourceARN')}\0{event_id}"
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:24]


def _json_text(raw: object) -> str:
    def converted(value: object) -> object:
        if isinstance(value, (bytes, bytearray)):
            return b64encode(value).decode()
        if isinstance(value, datetime):
            return value.timestamp()
        raise TypeError(f"{type(value).__name__} has no JSON form")

    try:
        return json.dumps(raw, default=converted, separators=(",", ":"), sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParkingError(None, f"is not a record that a stream delivers: {error}") from None


def head_key(order_key: str, layout: ParkingLayout) -> dict[str, Any]:
    """Return the key of an ordering key's head, in typed values."""
    partition = sha256(order_key.encode()).hexdigest()[0]
    return layout.keys.typed(f"heads#{partition}", _short(order_key))


def _short(order_key: str) -> str:
    encoded = order_key.encode()
    return order_key if len(encoded) <= MAX_KEY_BYTES else f"sha256#{sha256(encoded).hexdigest()}"


def record_partition(order_key: str) -> str:
    """Return the partition of an ordering key's records, without the prefix."""
    return f"parked#{_short(order_key)}"


def _part_key(record: ParkedRecord, part: int, layout: ParkingLayout) -> dict[str, Any]:
    return layout.keys.typed(record_partition(record.order_key), f"{record.place}#{part:02d}")


class _Transaction:
    """Actions of one transaction, and the changes of the heads' counts."""

    def __init__(self) -> None:
        self.records: list[ParkedRecord] = []
        self.actions: list[dict[str, Any]] = []
        self.counts: dict[str, int] = {}
        self.size = 0

    def has_room_for(self, record: ParkedRecord, actions: Sequence[object], size: int) -> bool:
        heads = len(self.counts.keys() | {record.order_key})
        return len(self.actions) + len(actions) + heads <= MAX_ACTIONS and self.size + size <= TRANSACTION_BYTES

    def add(self, record: ParkedRecord, actions: Sequence[dict[str, Any]], size: int, count: int) -> None:
        self.records.append(record)
        self.actions += actions
        self.size += size
        self.counts[record.order_key] = self.counts.get(record.order_key, 0) + count

    def chunk(self, layout: ParkingLayout) -> Chunk:
        heads = [_count(order_key, count, layout) for order_key, count in self.counts.items()]
        return self.records, self.actions + heads


def parking_transactions(records: Sequence[ParkedRecord], layout: ParkingLayout) -> Iterator[Chunk]:
    """Yield the transactions that park records, in order.

    Raises:
        ParkingError: A record is too big for a transaction; raised at its turn.
    """
    return _transactions(((record, *_puts(record, layout)) for record in records), layout, +1)


def removal_transactions(records: Sequence[ParkedRecord], layout: ParkingLayout) -> Iterator[Chunk]:
    """Yield the transactions that remove parked records, as `parking_transactions`."""
    return _transactions(((record, _deletes(record, layout), record.size) for record in records), layout, -1)


def _transactions(
    entries: Iterable[tuple[ParkedRecord, list[dict[str, Any]], int]], layout: ParkingLayout, count: int
) -> Iterator[Chunk]:
    transaction = _Transaction()
    for record, actions, size in entries:
        if transaction.records and not transaction.has_room_for(record, actions, size):
            yield transaction.chunk(layout)
            transaction = _Transaction()
        if not transaction.has_room_for(record, actions, size):
            problem = f"takes {size:,} bytes once compressed, and a transaction {MAX_TRANSACTION_BYTES:,}"
            raise ParkingError(record.sequence_number, problem)
        transaction.add(record, actions, size, count)
    if transaction.records:
        yield transaction.chunk(layout)


def _puts(record: ParkedRecord, layout: ParkingLayout) -> tuple[list[dict[str, Any]], int]:
    """Return the actions that store a record, and their size; the first item also holds all that is known of it."""
    packed = record.packed()
    parts = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
    actions: list[dict[str, Any]] = [
        {"TableName": layout.table, "Item": {**_part_key(record, number, layout), "record": {"B": part}}}
        for number, part in enumerate(parts)
    ]
    actions[0]["Item"] |= encode_item({**record.about(), "parts": len(parts)})
    actions[0] |= _condition("attribute_not_exists", layout)
    return [{"Put": action} for action in actions], len(packed) + ITEM_OVERHEAD * len(parts)


def _deletes(record: ParkedRecord, layout: ParkingLayout) -> list[dict[str, Any]]:
    actions: list[dict[str, Any]] = [
        {"TableName": layout.table, "Key": _part_key(record, number, layout)} for number in range(record.parts)
    ]
    actions[0] |= _condition("attribute_exists", layout)
    return [{"Delete": action} for action in actions]


def _condition(function: str, layout: ParkingLayout) -> dict[str, Any]:
    return {
        "ConditionExpression": f"{function}(#pk)",
        "ExpressionAttributeNames": {"#pk": layout.keys.partition_key},
    }


def _count(order_key: str, count: int, layout: ParkingLayout) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": layout.table,
            "Key": head_key(order_key, layout),
            "UpdateExpression": "ADD #parked :count SET #orderKey = :orderKey",
            "ExpressionAttributeNames": {"#parked": "parked", "#orderKey": "orderKey"},
            "ExpressionAttributeValues": {":count": {"N": str(count)}, ":orderKey": {"S": order_key}},
        }
    }


def records_in_items(items: Iterable[Mapping[str, Any]], layout: ParkingLayout) -> Iterator[ParkedRecord]:
    """Yield the parked records in an ordering key's items, which come in the order of their sort keys."""
    parts: list[Mapping[str, Any]] = []
    for item in items:
        parts = [item] if "parts" in item else [*parts, item]
        if len(parts) == int(parts[0].get("parts", {"N": "0"})["N"]):
            about = decode_item(parts[0])
            record = ParkedRecord.from_about(about, about[layout.keys.sort_key or ""].rpartition("#")[0])
            packed = b"".join(part["record"]["B"] for part in parts)
            size = len(packed) + ITEM_OVERHEAD * len(parts)
            yield record.loaded(_unpacked(packed), parts=len(parts), size=size)
            parts = []


def _unpacked(packed: bytes) -> Any:
    return json.loads(zlib.decompress(packed))


def message_of(record: ParkedRecord, max_bytes: int) -> str:
    """Return a parked record as a message: as plain JSON, or with the record compressed if that is too long.

    Raises:
        ParkingError: It is too long even so.
    """
    about = {**record.about(), "place": record.place}
    message = json.dumps({**about, "record": record.raw})
    if len(message) > max_bytes:
        message = json.dumps({**about, "packedRecord": b64encode(record.packed()).decode()})
    if len(message) > max_bytes:
        problem = f"takes {len(message):,} bytes even compressed, and a queue's message {max_bytes:,}; park in a table"
        raise ParkingError(record.sequence_number, problem)
    return message


def record_in_message(body: str) -> ParkedRecord:
    """Return the parked record in a message.

    Raises:
        ParkingError: There is none in it, or one of an unknown format.
    """
    try:
        about = json.loads(body)
        record = ParkedRecord.from_about(about, about["place"])
        packed = about.get("packedRecord")
        return record.loaded(about["record"] if packed is None else _unpacked(b64decode(packed)))
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise ParkingError(None, f"is not a message of a parked record: {error!r}") from None
