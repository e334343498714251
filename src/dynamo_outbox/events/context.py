"""Event metadata: sequence, correlation, causation, trace."""

from __future__ import annotations

from ..codec.json_text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    Context: TypeAlias = tuple[int | None, str | None, str | None, str | None]
    """Sequence, correlation, causation, traceparent."""

__all__ = ["CONTEXT_FIELDS", "NO_CONTEXT", "context_fields", "context_members", "context_text"]

CONTEXT_FIELDS = (
    ("sequence", "sequence"),
    ("correlationId", "correlation_id"),
    ("causationId", "causation_id"),
    ("traceparent", "traceparent"),
)
"""Their names on the wire and in `Event`, in the order of a `Context`."""
NO_CONTEXT: Context = (None, None, None, None)


def context_members(context: Context) -> dict[str, Any]:
    """Return the members that are set, by their names on the wire."""
    return {wire: value for (wire, _), value in zip(CONTEXT_FIELDS, context, strict=True) if value is not None}


def context_text(context: Context) -> str:
    """Return the same as members of a JSON object's text, without the braces."""
    if context == NO_CONTEXT:
        return ""
    members = [
        f'"{wire}":{value if isinstance(value, int) else quoted(value)}'
        for (wire, _), value in zip(CONTEXT_FIELDS, context, strict=True)
        if value is not None
    ]
    return ",".join(members)


def context_fields(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return `Event`'s arguments from the names on the wire."""
    return {name: members[wire] for wire, name in CONTEXT_FIELDS if members.get(wire) is not None}
