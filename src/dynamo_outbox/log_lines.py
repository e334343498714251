"""The library's loggers and the fields of their records: no text from outside begins a line of its own."""

from __future__ import annotations

import logging
import re
import traceback
from typing import NamedTuple, Protocol

__all__ = ["FIELDS", "EventNames", "NamedEvent", "fields", "logger", "named"]

FIELDS = (
    "event_id",
    "event_type",
    "aggregate",
    "consumer",
    "message_id",
    "order_key",
    "sequence_number",
    "change_id",
    "idempotency_key",
    "token",
    "table",
    "code",
    "count",
)
"""The attributes that `fields` adds to a record. docs/how-to/logs.md explains them."""
MAX_TEXT = 4000
"""Characters of a message, or of a field, that are logged: the path of a fault may be as long as the event's data."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that begin a line or steer a terminal, and halves of surrogate pairs, which no handler can write."""


class NamedEvent(Protocol):
    """Identity of an event in a log line, without its data."""

    @property
    def id(self) -> str | None: ...

    @property
    def type(self) -> str | None: ...

    @property
    def aggregate(self) -> str | None: ...


class EventNames(NamedTuple):
    """Identity of an event that can't be read, as far as it is known."""

    id: str | None = None
    type: str | None = None
    aggregate: str | None = None


class _OneLine(logging.Filter):
    """Escape control characters in a message and its fields, indent its traceback: no text can forge a line."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
            if record.exc_info and not record.exc_text:
                lines = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n").split("\n")
                record.exc_text = "\n".join(f"  {_escaped(_cut(line))}" for line in lines)
        except Exception:  # logging itself reports it
            return True
        if len(message) > MAX_TEXT or _CONTROL.search(message):
            record.msg = _escaped(_cut(message))
            record.args = None
        attributes = record.__dict__
        for name in FIELDS:
            value = attributes.get(name)
            if isinstance(value, str):
                attributes[name] = _escaped(_cut(value))
        return True


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def logger(name: str) -> logging.Logger:
    """Return the logger of a module."""
    log = logging.getLogger(name)
    if not any(isinstance(each, _OneLine) for each in log.filters):
        log.addFilter(_OneLine())
    return log


def fields(event: NamedEvent | None, **more: object) -> dict[str, object]:
    """Return the `extra` of a line about an event, or about an unknown one.

    Args:
        event: Whose id, type and aggregate the record gets; None in each that is unknown.
        more: Other attributes, named as in `FIELDS`.
    """
    if event is None:
        return {"event_id": None, "event_type": None, "aggregate": None, **more}
    return {"event_id": event.id, "event_type": event.type, "aggregate": event.aggregate, **more}


def named(event: NamedEvent | None, order_key: str | None = None) -> str:
    """Return an event's type, id and aggregate in one text.

    Args:
        event: The event; None if it is unknown.
        order_key: An ordering key that the line shows: an equal aggregate is left out.
    """
    if event is None or not (event.id or event.type or event.aggregate):
        return "unknown event"
    name = f"{event.type or 'event'} {event.id or 'without a known id'}"
    return name if event.aggregate in (None, order_key) else f"{name} of {event.aggregate}"
