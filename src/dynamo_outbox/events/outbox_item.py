"""The outbox item, format 1: an event as it lies in DynamoDB.

Every attribute is always there, because a pipe's template can't cope with a missing one. The data are final JSON text,
so that publishing encodes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..errors import DecodeError, InvalidEventError
from .event import NONE_DRAWN, Event, UnfrozenEvent
from .context import context_text
from ..codec.frozen import Frozen, fill
from ..codec.short_repr import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["FORMAT", "ItemLayout", "event_of", "is_outbox_image", "item_of", "time_text"]

FORMAT = 1

ATTRIBUTES = frozenset(
    {
        "eventId",
        "eventType",
        "eventTime",
        "source",
        "eventVersion",
        "aggregateType",
        "aggregateId",
        "eventData",
        "eventContext",
        "outboxFormat",
    }
)
"""The attributes whose names are fixed."""


class ItemLayout(Frozen):
    """What the attributes are called where an events table shares its shape with others.

    Args:
        partition_key, sort_key: The table's key attributes.
        key_prefix: Put before the partition key's value, to part events from entities in one table.
        ttl_attribute: The attribute that holds the time to live.
    """

    __slots__ = FIELDS = ("partition_key", "sort_key", "key_prefix", "ttl_attribute")
    partition_key: str
    sort_key: str
    key_prefix: str
    ttl_attribute: str

    def __init__(
        self,
        *,
        partition_key: str = "pk",
        sort_key: str = "sk",
        key_prefix: str = "",
        ttl_attribute: str = "expiresAt",
    ) -> None:
        names = [partition_key, sort_key, ttl_attribute]
        if len(set(names)) < len(names) or not ATTRIBUTES.isdisjoint(names):
            raise ValueError(f"{names} have to be three names, none of them among {', '.join(sorted(ATTRIBUTES))}")
        fill(self, "partition_key", partition_key)
        fill(self, "sort_key", sort_key)
        fill(self, "key_prefix", key_prefix)
        fill(self, "ttl_attribute", ttl_attribute)


def time_text(moment: datetime) -> str:
    """ISO 8601, UTC, microseconds: one width, so that text sorts as time does."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:-6]}Z"  # without its +00:00


def time_of(text: object, path: str) -> datetime:
    """The aware time of an ISO 8601 text.

    Raises:
        DecodeError: Not such a text, or one without its offset from UTC.
    """
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # a TypeError is caught just below
    except (TypeError, ValueError):
        raise DecodeError(path, f"{shown(text)} is no ISO 8601 time") from None
    if moment.utcoffset() is None:
        raise DecodeError(path, f"{shown(text)} doesn't say its offset from UTC")
    return moment


def item_of(event: Event, *, expires_at: int, layout: ItemLayout) -> dict[str, dict[str, str]]:
    """The item, typed, that holds an event.

    Args:
        event: The event, its source filled in.
        expires_at: When DynamoDB may delete the item, in epoch seconds.
        layout: What the attributes are called.

    Raises:
        InvalidEventError: The event names no source.
    """
    if event.source is None:
        raise InvalidEventError("source", "is missing; give the outbox or the event one")
    return {
        layout.partition_key: {"S": layout.key_prefix + (event.aggregate or event.id)},
        layout.sort_key: {"S": event.id if event.sequence is None else f"{event.sequence:020d}#{event.id}"},
        "eventId": {"S": event.id},
        "eventType": {"S": event.type},
        "eventTime": {"S": time_text(event.time)},
        "source": {"S": event.source},
        "eventVersion": {"N": str(event.version)},
        "aggregateType": {"S": event.aggregate_type or ""},
        "aggregateId": {"S": event.aggregate_id or ""},
        "eventData": {"S": event.data_json},
        "eventContext": {"S": f"{{{context_text(event._told())}}}"},
        layout.ttl_attribute: {"N": str(expires_at)},
        "outboxFormat": {"N": str(FORMAT)},
    }


def is_outbox_image(image: object) -> bool:
    """Whether a typed image is an outbox item, of whichever format."""
    return isinstance(image, dict) and "outboxFormat" in image


def event_of(image: Mapping[str, Any]) -> Event:
    """The event in an outbox item's typed image; its data and context stay text until they are read.

    Raises:
        DecodeError: An unknown format, or an attribute missing or of the wrong type; the path names it.
    """
    try:
        head = (
            image["eventType"]["S"],
            image["source"]["S"],
            image["aggregateType"]["S"],
            image["eventVersion"]["N"],
            image["outboxFormat"]["N"],
        )
        event = UnfrozenEvent()
        event.type, event.source, event.aggregate_type, event.version = _heads.get(head) or _checked_head(image, head)
        event.id = event_id = image["eventId"]["S"]
        event.time = time = datetime.fromisoformat(image["eventTime"]["S"])
        event._text = data = image["eventData"]["S"]
        event._context = context = image["eventContext"]["S"]
        aggregate_id = image["aggregateId"]["S"]
        event.aggregate_id = aggregate_id or None
        event._drawn = NONE_DRAWN
        event._data = None
        if (
            event_id
            and type(event_id) is str
            and (event_id + aggregate_id + context).isascii()
            and type(data) is str
            and (data.isascii() or data.encode())
            and time.tzinfo is UTC
            and (not aggregate_id) is (event.aggregate_type is None)
        ):
            event.__class__ = Event
            made: Event = event
            return made
    except Exception:  # noqa: S110  # whatever it is, the plain path says what is wrong, or takes what is rare
        pass
    return event_plainly(image)


def _checked_head(image: Mapping[str, Any], head: tuple[str, ...]) -> tuple[str, str, str | None, int]:
    """What many events share, checked by the plain path and remembered."""
    event = event_plainly(image)
    checked = (event.type, event.source or "", event.aggregate_type, event.version)
    if len(_heads) >= _MOST_HEADS:
        _heads.clear()
    if sum(map(len, head)) <= _LONGEST_HEAD:
        _heads[head] = checked
    return checked


_heads: dict[tuple[str, ...], tuple[str, str, str | None, int]] = {}
"""Type, source, aggregate type, version and format as they were read: as they are in the event."""
_MOST_HEADS = 256
_LONGEST_HEAD = 512


def event_plainly(image: Mapping[str, Any]) -> Event:
    """`event_of` as its rules are written: the judge of what the fast path gives up on."""
    check_format(_typed(image, "outboxFormat", "N"), "outboxFormat.N")
    event_type, data = _typed(image, "eventType", "S"), _typed(image, "eventData", "S")
    fields: dict[str, Any] = {
        "id": _typed(image, "eventId", "S"),
        "time": time_of(_typed(image, "eventTime", "S"), "eventTime.S"),
        "source": _typed(image, "source", "S"),
        "version": version_of(_typed(image, "eventVersion", "N"), "eventVersion.N"),
        "aggregate_type": _typed(image, "aggregateType", "S") or None,
        "aggregate_id": _typed(image, "aggregateId", "S") or None,
    }
    try:
        return Event._from_texts(event_type, data, _typed(image, "eventContext", "S"), **fields)
    except InvalidEventError as invalid:
        raise DecodeError(invalid.field, invalid.problem) from None


def check_format(value: object, path: str) -> None:
    """Refuses what another version of this library wrote, rather than misread it."""
    if isinstance(value, bool) or value not in (FORMAT, str(FORMAT)):
        raise DecodeError(path, f"outbox format {shown(value)} is not known here, only {FORMAT}; update dynamo-outbox")


def version_of(value: object, path: str) -> int:
    """An event's version, from the number or (through a pipe) its text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise DecodeError(path, f"{shown(value)} is no version number")


def build_event(event_type: Any, data: Any, **fields: Any) -> Event:
    """An event from what arrived: a field that is wrong is the sender's fault, and so a `DecodeError`."""
    try:
        return Event(event_type, data, **fields)
    except InvalidEventError as invalid:
        raise DecodeError(invalid.field, invalid.problem) from None


def _typed(image: Mapping[str, Any], name: str, tag: str) -> str:
    typed = image.get(name)
    value = typed.get(tag) if isinstance(typed, dict) else None
    if not isinstance(value, str):
        problem = "is missing" if typed is None else f"is not of DynamoDB's type {tag}"
        raise DecodeError(name, f"{problem}, and every outbox item has it")
    return value
