"""What else is told of an event: its sequence, what it belongs to, what caused it, its trace."""

from __future__ import annotations

from ..codec.json_text import loads_object, quoted, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Context: TypeAlias = tuple[int | None, str | None, str | None, str | None]
    """Sequence, correlation, causation, traceparent."""

__all__ = [
    "CONTEXT_FIELDS",
    "MAX_SEQUENCE",
    "NO_CONTEXT",
    "context_at_once",
    "context_fields",
    "context_members",
    "context_plainly",
    "context_text",
]

CONTEXT_FIELDS = (
    ("sequence", "sequence"),
    ("correlationId", "correlation_id"),
    ("causationId", "causation_id"),
    ("traceparent", "traceparent"),
)
"""Their names on the wire and in `Event`."""
NO_CONTEXT: Context = (None, None, None, None)
MAX_SEQUENCE = 2**63 - 1
"""What a signed 64-bit integer holds: more, and most consumers' JSON readers would round it."""

_WIRE_NAMES = frozenset(wire for wire, _ in CONTEXT_FIELDS)


def context_members(context: Context) -> dict[str, Any]:
    """What there is of the context, by its names on the wire."""
    return {wire: value for (wire, _), value in zip(CONTEXT_FIELDS, context, strict=True) if value is not None}


def context_text(context: Context) -> str:
    """The same as members of a JSON object, for the text of one."""
    if context == NO_CONTEXT:
        return ""
    members = [
        f'"{wire}":{value if isinstance(value, int) else quoted(value)}'
        for (wire, _), value in zip(CONTEXT_FIELDS, context, strict=True)
        if value is not None
    ]
    return ",".join(members)


def context_fields(members: Mapping[str, Any]) -> dict[str, Any]:
    """`Event`'s arguments from the wire names of the context."""
    return {name: members[wire] for wire, name in CONTEXT_FIELDS if members.get(wire) is not None}


def context_plainly(text: str, path: str) -> Context:
    """What the JSON text of a context holds; whether these are values for an event is not checked.

    Raises:
        BadJsonError: Not the text of an object.
    """
    members = loads_object(text, path)
    sequence, correlation_id, causation_id, traceparent = (members.get(wire) for wire, _ in CONTEXT_FIELDS)
    return sequence, correlation_id, causation_id, traceparent


def context_at_once(text: str) -> Context:
    """The checked context in a text as this library writes it; anything else raises."""
    members, end = scan(text, 0)
    told = members.get
    sequence, texts = told("sequence"), (told("correlationId"), told("causationId"), told("traceparent"))
    if (
        end != len(text)
        or not members.keys() <= _WIRE_NAMES
        or not (sequence is None or (type(sequence) is int and 0 <= sequence <= MAX_SEQUENCE))
        or not all(each is None or (type(each) is str and each and each.isascii()) for each in texts)
    ):
        raise ValueError
    return sequence, *texts
