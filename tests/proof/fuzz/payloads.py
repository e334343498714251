"""Payloads as small JSON texts: values that JSON cannot express, and long values, are written as instructions.

{"$bytes": "00ff"}              bytes
{"$datetime": "2026-11-23…"}    a datetime
{"$int": [9, 5000]}             an integer of 5,000 nines
{"$repeat": ["1", 10000]}       a long text
{"$deep": ["L", 2000]}          typed lists in typed lists; "M", "[" and "{" likewise
{"$text": {…}}                  the JSON text of its content
{"$base64": {…}}                the base64 of that text
"""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["payload_of", "revived"]

MAX_LENGTH = 20_000
"""The maximum length or depth of an instruction's value."""
READ_TO = 60
"""The depth to which instructions are carried out."""


def payload_of(data: bytes) -> Any:
    """Return the payload of an input: its JSON, revived, or its text if it is not JSON."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.hex()
    try:
        return revived(json.loads(text))
    except (ValueError, RecursionError):
        return text


def revived(value: Any, depth: int = 0) -> Any:
    """Return the value with its instructions carried out; a faulty instruction is left unchanged."""
    if depth > READ_TO:
        return value
    if isinstance(value, list):
        return [revived(member, depth + 1) for member in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name in _INSTRUCTIONS:
            with suppress(TypeError, ValueError, OverflowError, RecursionError):
                return _INSTRUCTIONS[name](revived(argument, depth + 1))
    return {name: revived(member, depth + 1) for name, member in value.items()}


def _repeat(argument: Any) -> str:
    text, times = argument
    return str(text) * min(int(times), MAX_LENGTH // max(1, len(str(text))))


def _deep(argument: Any) -> Any:
    kind, levels = argument
    value: Any = []
    for _ in range(min(int(levels), MAX_LENGTH)):
        if kind in ("L", "M"):
            value = {kind: [value] if kind == "L" else {"m": value}}
        else:
            value = [value] if kind == "[" else {"m": value}
    return value


def _int(argument: Any) -> int:
    digit, times = argument
    ones: int = (10 ** min(int(times), MAX_LENGTH) - 1) // 9
    return int(digit) * ones


_INSTRUCTIONS: dict[str, Callable[[Any], Any]] = {
    "$bytes": bytes.fromhex,
    "$datetime": datetime.fromisoformat,
    "$int": _int,
    "$repeat": _repeat,
    "$deep": _deep,
    "$text": json.dumps,
    "$base64": lambda value: b64encode(json.dumps(value).encode()).decode(),
}
