"""The parked record, format 1: a stream record as it lies in a parking table or queue, whole, with the reason.

The table holds two kinds of items. A *record* lies under its order key, sorted by its sequence number, compressed and
in as many parts as an item's size asks for. A *head* per order key counts the records that are parked under it; heads
lie together in a few partitions, so that they can be listed without reading what is parked. A record and its head
change in one transaction, or not at all.
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
from ..errors import ParkingError
from ..events.outbox_item import time_text
from .rules import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ..options import TableKeys

__all__ = [
    "HEAD_PARTITIONS",
    "ParkedRecord",
    "ParkingLayout",
    "head_key",
    "message_of",
    "parking_transactions",
    "record_in_message",
    "records_in_items",
    "removal_transactions",
]

FORMAT = 1
PART_BYTES = 380 * 1024
"""What of a record goes into one item: less than 400 KB by more than the other attributes need."""
ITEM_OVERHEAD = 8 * 1024
"""More than the other attributes of an item take: keys, event ids, the reason."""
TRANSACTION_BYTES = MAX_TRANSACTION_BYTES - 128 * 1024
"""What of records goes into one transaction: less than 4 MB by more than the heads need."""
MAX_KEY_BYTES = 512
"""A longer order key is stored as its digest, for a sort key has room for 1,024 bytes."""
MAX_REASON_CHARACTERS = 2000
MAX_EVENT_IDS = 100
"""How many ids are kept with a record, for whoever looks for one; its events don't depend on them."""
HEAD_PARTITIONS = tuple("0123456789abcdef")
"""The partitions of the heads: several, so that relays don't read all heads from one."""


class ParkingLayout(NamedTuple):
    """The table of parked records, and its keys."""

    table: str
    keys: TableKeys

    def key(self, partition: str, sort: str) -> dict[str, Any]:
        """Return an item's key, in typed values."""
        return self.keys.typed(partition, sort)

    def condition(self, function: str) -> dict[str, Any]:
        """Return a condition on an item's existence: `function` is ``attribute_exists`` or ``attribute_not_exists``."""
        return {
            "ConditionExpression": f"{function}(#pk)",
            "ExpressionAttributeNames": {"#pk": self.keys.partition_key},
        }


class ParkedRecord(NamedTuple):
    """A stream record that waits to be sent again.

    Attributes:
        raw: The record as it was handed over, in JSON's types.
        order_key: What it keeps its order by.
        sequence_number: Its place in its shard, or None.
        event_ids: The ids of its events, as far as it could be read.
        reason: Why it is parked.
        parked_at: Since when; aware.
        parked_by: The kind of processor that parked it.
        place: Its sort key in the table, without the part; made of the sequence number, so that it sorts as that does.
        parts: How many items it takes in the table, where it was read from there.
        size: How many bytes it takes there, compressed.
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
        """A record to park; where it can't be told whose it is, it has an order key of its own.

        Raises:
            ParkingError: It holds what no JSON text can.
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
        """The record under an order key of its own, so that it waits for no other."""
        return self._replace(order_key=f"{self.order_key}@{self.place}")


def _identity(raw: object, text: str) -> str:
    """What the same record has whenever it is delivered, and no other of its sequence number."""
    event_id = raw.get("eventID") if isinstance(raw, dict) else None
    named = isinstance(event_id, str) and isinstance(raw, dict)
    origin = f"{raw.get('eventSourceARN')}\0{event_id}" if named and isinstance(raw, dict) else text
    return sha256(origin.encode()).hexdigest()[:24]


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
        raise ParkingError(None, f"is no record that a stream delivers: {error}") from None


def head_key(order_key: str, layout: ParkingLayout) -> dict[str, Any]:
    """The key of an order key's head."""
    partition = sha256(order_key.encode()).hexdigest()[0]
    return layout.key(f"heads#{partition}", _short(order_key))


def _short(order_key: str) -> str:
    encoded = order_key.encode()
    return order_key if len(encoded) <= MAX_KEY_BYTES else f"sha256#{sha256(encoded).hexdigest()}"


def record_partition(order_key: str) -> str:
    """The partition in which an order key's records lie, without the prefix."""
    return f"parked#{_short(order_key)}"


def _part_key(record: ParkedRecord, part: int, layout: ParkingLayout) -> dict[str, Any]:
    return layout.key(record_partition(record.order_key), f"{record.place}#{part:02d}")


def _items(record: ParkedRecord, layout: ParkingLayout) -> list[dict[str, Any]]:
    """A record's items; all that is known of it stands in the first."""
    packed = _packed(record)
    parts = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
    about = {
        "parkedFormat": {"N": str(FORMAT)},
        "parts": {"N": str(len(parts))},
        "orderKey": {"S": record.order_key},
        "sequenceNumber": {"S": record.sequence_number or ""},
        "eventIds": {"L": [{"S": event_id} for event_id in record.event_ids[:MAX_EVENT_IDS]]},
        "reasonCode": {"S": record.reason.code},
        "reasonMessage": {"S": record.reason.message[:MAX_REASON_CHARACTERS]},
        "reasonPath": {"S": record.reason.path},
        "parkedAt": {"S": time_text(record.parked_at)},
        "parkedBy": {"S": record.parked_by},
    }
    return [
        {**_part_key(record, number, layout), "record": {"B": part}, **({} if number else about)}
        for number, part in enumerate(parts)
    ]


def _packed(record: ParkedRecord) -> bytes:
    return zlib.compress(_json_text(record.raw).encode())


class _Chunk:
    """Actions that go together, and what they add to the heads' counts."""

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


def parking_transactions(
    records: Sequence[ParkedRecord], layout: ParkingLayout
) -> Iterator[tuple[list[ParkedRecord], list[dict[str, Any]]]]:
    """The transactions that park records, in order: which records each holds, and its actions.

    Raises:
        ParkingError: A record is too big for a transaction; it comes up when its turn does.
    """
    entries = ((record, _items(record, layout)) for record in records)
    puts = ((record, [_put(item, layout) for item in items], _size(items)) for record, items in entries)
    return _transactions(puts, layout, +1)


def removal_transactions(
    records: Sequence[ParkedRecord], layout: ParkingLayout
) -> Iterator[tuple[list[ParkedRecord], list[dict[str, Any]]]]:
    """The transactions that remove parked records, as `parking_transactions`."""
    deletes = (
        (record, [_delete(record, number, layout) for number in range(record.parts)], record.size) for record in records
    )
    return _transactions(deletes, layout, -1)


def _transactions(
    entries: Iterable[tuple[ParkedRecord, list[dict[str, Any]], int]], layout: ParkingLayout, count: int
) -> Iterator[tuple[list[ParkedRecord], list[dict[str, Any]]]]:
    chunk = _Chunk()
    for record, actions, size in entries:
        if chunk.records and not chunk.has_room_for(record, actions, size):
            yield chunk.records, _with_heads(chunk, layout)
            chunk = _Chunk()
        if not chunk.has_room_for(record, actions, size):
            problem = f"takes {size:,} bytes once compressed, and a transaction {MAX_TRANSACTION_BYTES:,}"
            raise ParkingError(record.sequence_number, problem)
        chunk.add(record, actions, size, count)
    if chunk.records:
        yield chunk.records, _with_heads(chunk, layout)


def _with_heads(chunk: _Chunk, layout: ParkingLayout) -> list[dict[str, Any]]:
    return chunk.actions + [_count(order_key, count, layout) for order_key, count in chunk.counts.items()]


def _size(items: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(item["record"]["B"]) for item in items) + ITEM_OVERHEAD * len(items)


def _put(item: dict[str, Any], layout: ParkingLayout) -> dict[str, Any]:
    put: dict[str, Any] = {"TableName": layout.table, "Item": item}
    if "parts" in item:
        put |= layout.condition("attribute_not_exists")
    return {"Put": put}


def _delete(record: ParkedRecord, part: int, layout: ParkingLayout) -> dict[str, Any]:
    delete: dict[str, Any] = {"TableName": layout.table, "Key": _part_key(record, part, layout)}
    if part == 0:
        delete |= layout.condition("attribute_exists")
    return {"Delete": delete}


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
    """The parked records in an order key's items, which come in the order of their sort keys."""
    parts: list[Mapping[str, Any]] = []
    for item in items:
        parts = [item] if "parts" in item else [*parts, item]
        if parts and len(parts) == int(parts[0].get("parts", {"N": "0"})["N"]):
            yield _record_of(parts, layout)
            parts = []


def _record_of(parts: Sequence[Mapping[str, Any]], layout: ParkingLayout) -> ParkedRecord:
    about = parts[0]
    if about["parkedFormat"]["N"] != str(FORMAT):
        problem = f"is parked in format {about['parkedFormat']['N']}, which is not known here; update dynamo-outbox"
        raise ParkingError(about["sequenceNumber"]["S"] or None, problem)
    packed = b"".join(part["record"]["B"] for part in parts)
    return ParkedRecord(
        raw=json.loads(zlib.decompress(packed)),
        order_key=about["orderKey"]["S"],
        sequence_number=about["sequenceNumber"]["S"] or None,
        event_ids=tuple(event_id["S"] for event_id in about["eventIds"]["L"]),
        reason=Reason(about["reasonCode"]["S"], about["reasonMessage"]["S"], about["reasonPath"]["S"]),
        parked_at=datetime.fromisoformat(about["parkedAt"]["S"]),
        parked_by=about["parkedBy"]["S"],
        place=about[layout.keys.sort_key or ""]["S"].rpartition("#")[0],
        parts=len(parts),
        size=len(packed) + ITEM_OVERHEAD * len(parts),
    )


def message_of(record: ParkedRecord, most_bytes: int) -> str:
    """A parked record as a message: the record in JSON to be read by anyone, or compressed where that is too long.

    Raises:
        ParkingError: It is too long even so.
    """
    reason = record.reason
    about = {
        "parkedFormat": FORMAT,
        "orderKey": record.order_key,
        "sequenceNumber": record.sequence_number,
        "eventIds": record.event_ids,
        "reason": {"code": reason.code, "message": reason.message[:MAX_REASON_CHARACTERS], "path": reason.path},
        "parkedAt": time_text(record.parked_at),
        "parkedBy": record.parked_by,
        "place": record.place,
    }
    message = json.dumps({**about, "record": record.raw})
    if len(message) > most_bytes:
        message = json.dumps({**about, "packedRecord": b64encode(_packed(record)).decode()})
    if len(message) > most_bytes:
        problem = f"takes {len(message):,} bytes even compressed, and a queue's message {most_bytes:,}; park in a table"
        raise ParkingError(record.sequence_number, problem)
    return message


def record_in_message(body: str) -> ParkedRecord:
    """The parked record in a message.

    Raises:
        ParkingError: There is none in it, or one of an unknown format.
    """
    try:
        about = json.loads(body)
        if about["parkedFormat"] != FORMAT:
            raise ParkingError(None, f"is parked in format {about['parkedFormat']!r}, which is not known here")
        packed = about.get("packedRecord")
        return ParkedRecord(
            raw=about["record"] if packed is None else json.loads(zlib.decompress(b64decode(packed))),
            order_key=about["orderKey"],
            sequence_number=about["sequenceNumber"],
            event_ids=tuple(about["eventIds"]),
            reason=Reason(**about["reason"]),
            parked_at=datetime.fromisoformat(about["parkedAt"]),
            parked_by=about["parkedBy"],
            place=about["place"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error) as error:
        raise ParkingError(None, f"is no message of a parked record: {error!r}") from None
