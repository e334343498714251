"""The event: a fact with an identity. The only place where event ids and times are drawn."""

from __future__ import annotations

import os
import re
import time as _time
from datetime import UTC, datetime

from ..codec.frozen import Frozen, fill
from ..codec.json_text import dumps, loads_data, loads_object, normalise
from ..codec.path_error import PathError
from ..codec.short_repr import short_repr
from ..errors import DecodeError, InvalidEventError
from .context import CONTEXT_FIELDS, NO_CONTEXT
from .ids import uuid7, uuid7_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from .context import Context

__all__ = ["Event", "event_from_texts"]

MAX_DETAIL_TYPE_LENGTH = 128
"""https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html"""
needs_escape = re.compile(r'["\\\x00-\x1f\x7f]').search
MAX_SEQUENCE = 2**63 - 1
"""The largest signed 64-bit integer: most JSON readers would round a larger one."""


class _Fields:
    """The attributes of an `Event`, not frozen: setting them as `Frozen` allows it takes five times as long."""

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

    type: str
    id: str
    time: datetime
    source: str | None
    version: int
    aggregate_type: str | None
    aggregate_id: str | None
    _context: Context | str
    """The fields from `sequence` on; their JSON text in an event that was read from an outbox item."""
    _drawn: frozenset[str]
    """The names of those of ``id`` and ``time`` that were generated here and not given."""
    _data: dict[str, Any] | None
    _text: str | None

    def __init__(
        self,
        shared: tuple[str, str | None, str | None, int],
        id: str,  # noqa: A002
        time: datetime,
        aggregate_id: str | None,
        text: str,
        context: str,
    ) -> None:
        self.type, self.source, self.aggregate_type, self.version = shared
        self.id = id
        self.time = time
        self.aggregate_id = aggregate_id
        self._context = NO_CONTEXT if context == "{}" else context
        self._drawn = _DRAWN[False, False]
        self._data = None
        self._text = text


class Event(Frozen, _Fields):
    """A domain event.

    Two events are equal if all their fields are. The data are copied and normalised to JSON values when the event is
    created, so later changes by the caller do not change the event.

    An event that was read from an outbox item keeps its data, and the fields from `sequence` on, as text until one is
    asked for; this raises `DecodeError` if the text is malformed. The relay and `parse_event` read both immediately.

    Args:
        type: What happened: ``BookAdded``. EventBridge's detail type; at most 128 characters. Neither type nor id may
            hold a quote, a backslash or a control character.
        data: The facts, as a JSON object. Tuples become lists; a Decimal is written with all its digits.
        id: The event's identity, the same in every delivery. By default a new UUIDv7.
        time: When it happened; aware, kept in UTC. By default now.
        source: EventBridge's source. By default the writer's or the publisher's.
        version: The version of the data's shape, from 1.
        aggregate_type: The kind of entity it happened to, without ``#``; required with `aggregate_id`.
        aggregate_id: The entity it happened to.
        sequence: The event's number within its aggregate, 0 to 2**63 - 1; usually the entity's version.
        correlation_id: Shared by all events of one conversation.
        causation_id: The id of the event or command that caused this one.
        traceparent: The W3C trace context. https://www.w3.org/TR/trace-context/

    Raises:
        InvalidEventError: A field could never be written, sent or read back; the error names the field.
    """

    __slots__ = ()
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

    def __init__(  # noqa: PLR0913  # the fields of an event
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
        fill(self, "type", _checked_type(type))
        fill(self, "id", uuid7(_time.time_ns(), os.urandom(8)) if id is None else _plain_text("id", id))
        fill(self, "time", datetime.now(UTC) if time is None else _utc(time))
        fill(self, "source", _checked_source(source))
        fill(self, "version", _checked_int("version", version, 1))
        aggregate_type = None if aggregate_type is None else _required_text("aggregate_type", aggregate_type)
        aggregate_id = None if aggregate_id is None else _required_text("aggregate_id", aggregate_id)
        if (aggregate_type is None) != (aggregate_id is None):
            raise InvalidEventError("aggregate_type", "an aggregate has both a type and an id, or neither is given")
        if aggregate_type is not None and "#" in aggregate_type:
            raise InvalidEventError("aggregate_type", f"{aggregate_type!r} holds '#', which separates type and id")
        fill(self, "aggregate_type", aggregate_type)
        fill(self, "aggregate_id", aggregate_id)
        fill(self, "_context", _checked_context(sequence, correlation_id, causation_id, traceparent))
        fill(self, "_drawn", _DRAWN[id is None, time is None])
        fill(self, "_data", _checked_data(data))
        fill(self, "_text", None)

    @property
    def context(self) -> Context:
        """Sequence, correlation, causation and traceparent.

        Raises:
            DecodeError: The event was read from an outbox item whose ``eventContext`` is malformed.
        """
        context = self._context
        if isinstance(context, str):
            context = _read_context(context)
            fill(self, "_context", context)
        return context

    @property
    def sequence(self) -> int | None:
        return self.context[0]

    @property
    def correlation_id(self) -> str | None:
        return self.context[1]

    @property
    def causation_id(self) -> str | None:
        return self.context[2]

    @property
    def traceparent(self) -> str | None:
        return self.context[3]

    @property
    def data(self) -> dict[str, Any]:
        """The facts, as JSON values.

        Raises:
            DecodeError: The event was read from an outbox item whose ``eventData`` is not the text of a JSON object.
        """
        if self._data is None:
            try:
                fill(self, "_data", loads_data(self._text or "", "eventData"))
            except PathError as bad:
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
        """Type and id of the aggregate in one text, as in an outbox item's key; None without an aggregate."""
        return None if self.aggregate_type is None else f"{self.aggregate_type}#{self.aggregate_id}"

    @property
    def created_at(self) -> datetime | None:
        """The time of the event's creation, if its time was generated or its id is a UUIDv7; otherwise None."""
        return self.time if "time" in self._drawn else uuid7_time(self.id)

    def copied(self) -> Self:
        """Return an equal event with its own copy of the data."""
        copy = self._copied()
        if self._data is not None:
            fill(copy, "_data", normalise(self._data, "data"))
        return copy

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed.

        Raises:
            InvalidEventError: As in the constructor.
        """
        if not changes.keys() <= _INDEPENDENT_FIELDS:
            return self._rebuilt(changes)
        copy = self._copied()
        context = list(self.context)
        for name, value in changes.items():
            if name == "source":
                fill(copy, "source", _checked_source(value))
            else:
                position, check = _CONTEXT_CHECKS[name]
                context[position] = None if value is None else check(name, value)
        fill(copy, "_context", tuple(context))
        return copy

    def with_defaults(self, *, id: str, time: datetime | None) -> Self:  # noqa: A002
        """Return a copy that has this id and time, if known, unless the event was created with its own.

        Args:
            id, time: Made by the library, so that they are not checked again; the time in UTC.
        """
        copy = self._copied()
        if "id" in self._drawn:
            fill(copy, "id", id)
        if "time" in self._drawn and time is not None:
            fill(copy, "time", time)
        return copy

    def _copied(self) -> Self:
        if type(self) is not Event:  # a subclass may have attributes of its own
            from copy import copy as shallow_copy

            return shallow_copy(self)
        copy: Any = object.__new__(_Fields)
        for name in _Fields.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.__class__ = Event
        event: Self = copy
        return event

    def _rebuilt(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy whose fields are checked together; unchanged data are not copied again."""
        fields = {name: getattr(self, name) for name in self.FIELDS if name != "data"}
        copy = type(self)(**{"data": {}, **fields, **changes})
        fill(copy, "_drawn", self._drawn.difference(changes))
        if "data" not in changes:
            fill(copy, "_data", self._data)
            fill(copy, "_text", self._text)
        return copy

    def __hash__(self) -> int:
        return hash((self.type, self.id))


_DRAWN = {
    (True, True): frozenset({"id", "time"}),
    (True, False): frozenset({"id"}),
    (False, True): frozenset({"time"}),
    (False, False): frozenset[str](),
}
"""The fields that were generated, by whether ``id`` and ``time`` were missing."""


def event_from_texts(
    shared: tuple[str, str | None, str | None, int],
    id: str,  # noqa: A002
    time: datetime,
    aggregate_id: str | None,
    *,
    data: str,
    context: str,
) -> Event:
    """Create an event from fields that are valid, without checking them again.

    Args:
        shared: Type, source, aggregate type and version.
        id, time, aggregate_id: The event's.
        data, context: JSON text, parsed when the event's data or context are asked for.
    """
    event = _Fields(shared, id, time, aggregate_id, data, context)
    event.__class__ = Event
    return event  # type: ignore[return-value]  # it is one now


def _checked_type(value: object) -> str:
    text = _plain_text("type", value)
    if len(text) > MAX_DETAIL_TYPE_LENGTH:
        raise InvalidEventError("type", f"{len(text)} characters, and EventBridge takes {MAX_DETAIL_TYPE_LENGTH}")
    return text


def _checked_source(value: object) -> str | None:
    if value is None:
        return None
    text = _required_text("source", value)
    if text.startswith("aws."):
        raise InvalidEventError("source", f"{short_repr(text)}: sources that begin with 'aws.' are reserved for AWS")
    return text


def _plain_text(field: str, value: object) -> str:
    """Return a text that a pipe can insert into JSON whether it escapes it or not."""
    text = _required_text(field, value)
    if needs_escape(text):
        raise InvalidEventError(field, f"{short_repr(text)} holds a quote, a backslash or a control character")
    return text


def _required_text(field: str, value: object) -> str:
    if type(value) is str and value and value.isascii():
        return value
    if not isinstance(value, str) or not value:
        raise InvalidEventError(field, f"needs text that is not empty, got {short_repr(value)}")
    return checked_unicode(field, str.__str__(value))  # the text itself, also of an enum's member


def checked_unicode(field: str, text: str) -> str:
    """Return `text`, or raise `InvalidEventError` if it can't be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEventError(field, "holds half of a surrogate pair, which is not Unicode text") from None
    return text


def _checked_int(field: str, value: object, minimum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= MAX_SEQUENCE:
        raise InvalidEventError(field, f"needs an integer from {minimum} to {MAX_SEQUENCE}, got {short_repr(value)}")
    return int(value)


def _utc(value: object) -> datetime:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidEventError("time", f"needs an aware datetime, got {short_repr(value)}; add its tzinfo")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidEventError("time", f"{value} has no UTC form between the years 1 and 9999") from None


def _checked_data(value: object) -> dict[str, Any]:
    if not hasattr(value, "items"):
        raise InvalidEventError("data", f"needs a map of facts, got {type(value).__name__}")
    try:
        data: dict[str, Any] = normalise(value, "data")
    except PathError as bad:
        raise InvalidEventError(bad.path, bad.problem) from None
    return data


def _checked_context(sequence: object, correlation_id: object, causation_id: object, traceparent: object) -> Context:
    if sequence is correlation_id is causation_id is traceparent is None:
        return NO_CONTEXT
    return (
        None if sequence is None else _checked_sequence("sequence", sequence),
        None if correlation_id is None else _required_text("correlation_id", correlation_id),
        None if causation_id is None else _required_text("causation_id", causation_id),
        None if traceparent is None else _required_text("traceparent", traceparent),
    )


def _checked_sequence(field: str, value: object) -> int:
    return _checked_int(field, value, 0)


_CONTEXT_CHECKS: dict[str, tuple[int, Callable[[str, object], Any]]] = {
    name: (position, _checked_sequence if name == "sequence" else _required_text)
    for position, (_, name) in enumerate(CONTEXT_FIELDS)
}
"""Position in a `Context`, and the check, of each field."""
_INDEPENDENT_FIELDS = frozenset({"source", *_CONTEXT_CHECKS})
"""Fields that are checked without regard to any other."""


def _read_context(text: str) -> Context:
    try:
        members = loads_object(text, "eventContext.S")
        return _checked_context(*(members.get(wire) for wire, _ in CONTEXT_FIELDS))
    except PathError as bad:
        raise DecodeError(bad.path, bad.problem) from None
    except InvalidEventError as invalid:
        raise DecodeError(invalid.field, invalid.problem) from None
