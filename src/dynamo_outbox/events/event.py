"""The event: what happened, once, with an identity. The one place where a fresh id and the time are drawn."""

from __future__ import annotations

import os
import time as _time
from datetime import UTC, datetime

from .context import MAX_SEQUENCE, NO_CONTEXT, context_at_once, context_plainly
from ..codec.frozen import Frozen, fill, unfrozen
from .ids import uuid7
from ..codec.json_text import BadJsonError, dumps, loads_data, normalise
from ..codec.short_repr import shown
from ..errors import DecodeError, InvalidEventError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from .context import Context

__all__ = ["Event"]

MAX_DETAIL_TYPE_LENGTH = 128
"""https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html"""


class Event(Frozen):
    """Something that happened, to be told to others.

    Two events are equal where all their fields are. The data are copied and normalised to JSON values when the event is
    made, so what the caller changes later does not change the event.

    An event that was read from an outbox item holds its data, and what stands from `sequence` on, as texts until one
    is asked for; that raises `DecodeError` where it can't be read. The relay and `parse_event` read them at once.

    Args:
        type: What happened: ``BookAdded``. EventBridge's detail type; at most 128 characters.
        data: The facts, as a JSON object. Tuples become lists; a Decimal is written with all its digits.
        id: The event's identity, over every delivery of it. By default a new UUIDv7.
        time: When it happened; aware, kept in UTC. By default now.
        source: Who tells: EventBridge's source. By default the writer's or the publisher's.
        version: The version of the data's shape, from 1.
        aggregate_type: The kind of entity it happened to, without ``#``; given with `aggregate_id` or not at all.
        aggregate_id: The entity it happened to.
        sequence: The event's number among its aggregate's, 0 to 2**63 - 1: the entity's version, usually.
        correlation_id: What a whole conversation of events shares.
        causation_id: The id of the event or command that led to this one.
        traceparent: The W3C trace context. https://www.w3.org/TR/trace-context/

    Raises:
        InvalidEventError: A field that could never be written, sent or read back; it names the field.
    """

    __slots__ = (
        "_context",
        "_data",
        "_drawn",
        "_text",
        "aggregate_id",
        "aggregate_type",
        "id",
        "source",
        "time",
        "type",
        "version",
    )
    FIELDS = (
        "type",
        "data",
        "id",
        "time",
        "source",
        "version",
        "aggregate_type",
        "aggregate_id",
        "sequence",
        "correlation_id",
        "causation_id",
        "traceparent",
    )

    type: str
    id: str
    time: datetime
    source: str | None
    version: int
    aggregate_type: str | None
    aggregate_id: str | None
    _context: Context | str
    """Sequence, correlation, causation and traceparent; their JSON text where they were read from an outbox item."""
    _drawn: frozenset[str]
    """Which of ``id`` and ``time`` were drawn here rather than given."""
    _data: dict[str, Any] | None
    _text: str | None

    def __init__(
        self,
        type: str,  # noqa: A002  # the field's name on the wire
        data: Mapping[str, Any],
        *,
        id: str | None = None,  # noqa: A002
        time: datetime | None = None,
        source: str | None = None,
        version: int = 1,
        aggregate_type: str | None = None,
        aggregate_id: str | None = None,
        sequence: int | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        drawn = {name for name, value in (("id", id), ("time", time)) if value is None}
        self._fill(
            type=_checked_type(type),
            id=uuid7(_time.time_ns(), os.urandom(8)) if id is None else _required_text("id", id),
            time=datetime.now(UTC) if time is None else _utc(time),
            source=_checked_source(source),
            version=_checked_int("version", version, 1),
            aggregate_type=_optional_text("aggregate_type", aggregate_type),
            aggregate_id=_optional_text("aggregate_id", aggregate_id),
            _context=_checked_context(sequence, correlation_id, causation_id, traceparent),
            _drawn=frozenset(drawn),
            _data=_checked_data(data),
            _text=None,
        )
        if (self.aggregate_type is None) != (self.aggregate_id is None):
            raise InvalidEventError("aggregate_type", "an aggregate has both a type and an id, or neither is given")
        if self.aggregate_type is not None and "#" in self.aggregate_type:
            raise InvalidEventError("aggregate_type", f"{self.aggregate_type!r} holds '#', which parts type from id")

    def _fill(self, **fields: Any) -> None:
        for name, value in fields.items():
            fill(self, name, value)

    @classmethod
    def _from_texts(cls, type: str, data: str, context: str = "{}", **fields: Any) -> Event:  # noqa: A002
        """An event whose data and context are JSON texts, as an outbox item holds them; read when asked for."""
        event = cls(type, {}, **fields)
        event._fill(_data=None, _text=_unicode("data", data), _context=_unicode("context", context))
        return event

    def _read_texts(self) -> None:
        """Read data and context now.

        Raises:
            DecodeError: One of them can't be read.
        """
        self._told()
        self.data  # noqa: B018  # reading raises

    def _told(self) -> Context:
        """Sequence, correlation, causation and traceparent.

        Raises:
            DecodeError: The event was read from an outbox item whose ``eventContext`` doesn't hold them.
        """
        text = self._context
        if not isinstance(text, str):
            return text
        try:
            context = NO_CONTEXT if text == "{}" else context_at_once(text)
        except Exception:  # whatever it is, the plain path says what is wrong, or takes what is rare
            context = _context_plainly(text)
        fill(self, "_context", context)
        return context

    @property
    def sequence(self) -> int | None:
        return self._told()[0]

    @property
    def correlation_id(self) -> str | None:
        return self._told()[1]

    @property
    def causation_id(self) -> str | None:
        return self._told()[2]

    @property
    def traceparent(self) -> str | None:
        return self._told()[3]

    @property
    def data(self) -> dict[str, Any]:
        """The facts, as JSON values.

        Raises:
            DecodeError: The event was read from an outbox item whose ``eventData`` is not the text of a JSON object.
        """
        if self._data is None:
            try:
                fill(self, "_data", loads_data(self._text or "", "eventData"))
            except BadJsonError as bad:
                raise DecodeError(bad.path, bad.problem) from None
        return self._data  # type: ignore[return-value]  # filled just above

    @property
    def data_json(self) -> str:
        """The facts, as final JSON text."""
        if self._text is None:
            fill(self, "_text", dumps(self._data))
        return self._text  # type: ignore[return-value]  # filled just above

    @property
    def aggregate(self) -> str | None:
        """Type and id of the aggregate in one text, as an outbox item's key has it; None where there is none."""
        return None if self.aggregate_type is None else f"{self.aggregate_type}#{self.aggregate_id}"

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; what was drawn stays marked as drawn unless it is among them."""
        if changes.keys() <= _REPLACED_ALONE:
            return self._replaced(**changes)
        fields: dict[str, Any] = {name: getattr(self, name) for name in self.FIELDS if name != "data"}
        given: dict[str, Any] = {"data": {}} | fields | changes
        copy = type(self)(**given)
        copy._fill(_drawn=frozenset(self._drawn - changes.keys()))
        if "data" not in changes:
            copy._fill(_data=self._data, _text=self._text)
        return copy

    def _replaced(self, **changes: Any) -> Self:
        """`replace` of fields that no other depends on: what was checked is not checked again."""
        copy = self._copied()
        if "source" in changes:
            fill(copy, "source", _checked_source(changes.pop("source")))
        if changes:
            sequence, correlation_id, causation_id, traceparent = self._told()
            told = {"sequence": sequence, "correlation_id": correlation_id, "causation_id": causation_id, **changes}
            fill(copy, "_context", _checked_context(**told, traceparent=traceparent))
        return copy

    def _copied(self) -> Self:
        if type(self) is not Event:  # with whatever a subclass adds
            from copy import copy

            return copy(self)
        event = UnfrozenEvent()
        event.type = self.type
        event.id = self.id
        event.time = self.time
        event.source = self.source
        event.version = self.version
        event.aggregate_type = self.aggregate_type
        event.aggregate_id = self.aggregate_id
        event._context = self._context
        event._drawn = self._drawn
        event._data = self._data
        event._text = self._text
        event.__class__ = Event
        copied: Self = event
        return copied

    def __hash__(self) -> int:
        return hash((self.type, self.id))


NONE_DRAWN: frozenset[str] = frozenset()


UnfrozenEvent = unfrozen(Event)


def _checked_type(value: object) -> str:
    text = _required_text("type", value)
    if len(text) > MAX_DETAIL_TYPE_LENGTH:
        raise InvalidEventError("type", f"{len(text)} characters, and EventBridge takes {MAX_DETAIL_TYPE_LENGTH}")
    return text


def _checked_source(value: object) -> str | None:
    text = _optional_text("source", value)
    if text is not None and text.startswith("aws."):
        raise InvalidEventError("source", f"{shown(text)}: EventBridge keeps sources that begin with 'aws.' for AWS")
    return text


def _required_text(field: str, value: object) -> str:
    if type(value) is str and value and value.isascii():  # most are
        return value
    if not isinstance(value, str) or not value:
        raise InvalidEventError(field, f"needs text that isn't empty, got {shown(value)}")
    return _unicode(field, str.__str__(value))  # the text itself, also of an enum's member


def _unicode(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEventError(field, "holds half of a surrogate pair, which is no Unicode text") from None
    return text


def _optional_text(field: str, value: object) -> str | None:
    return None if value is None else _required_text(field, value)


def _checked_int(field: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SEQUENCE:
        raise InvalidEventError(field, f"needs an integer from {least} to {MAX_SEQUENCE}, got {shown(value)}")
    return int(value)


def _utc(value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidEventError("time", f"needs an aware datetime, got {shown(value)}; add its tzinfo")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidEventError("time", f"{value} has no UTC form between the years 1 and 9999") from None


def _checked_data(value: object) -> dict[str, Any]:
    if not hasattr(value, "items"):
        raise InvalidEventError("data", f"needs a map of facts, got {type(value).__name__}")
    try:
        data: dict[str, Any] = normalise(value, "data")
    except BadJsonError as bad:
        raise InvalidEventError(bad.path, bad.problem) from None
    return data


def _checked_context(sequence: object, correlation_id: object, causation_id: object, traceparent: object) -> Context:
    if sequence is correlation_id is causation_id is traceparent is None:
        return NO_CONTEXT
    return (
        None if sequence is None else _checked_int("sequence", sequence, 0),
        _optional_text("correlation_id", correlation_id),
        _optional_text("causation_id", causation_id),
        _optional_text("traceparent", traceparent),
    )


def _context_plainly(text: str) -> Context:
    try:
        return _checked_context(*context_plainly(text, "eventContext.S"))
    except BadJsonError as bad:
        raise DecodeError(bad.path, bad.problem) from None
    except InvalidEventError as invalid:
        raise DecodeError(invalid.field, invalid.problem) from None


_REPLACED_ALONE = frozenset({"source", "sequence", "correlation_id", "causation_id"})
"""Fields whose value says nothing of any other."""
