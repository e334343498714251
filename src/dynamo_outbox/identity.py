"""What makes two calls one: the key that they have in common, and the content that they must have in common."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .core.envelope import parse_event
from .errors import DecodeError, MissingIdempotencyKeyError
from .event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_KEY_BYTES", "content_of", "key_of"]

MAX_KEY_BYTES = 2048 - 64
"""A partition key's limit, less room for a store's prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


def key_of(
    key: str | Callable[..., str] | None,
    arguments: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    scope: str,
) -> str:
    """The call's key, within its scope.

    Args:
        key: As for `idempotent`.
        arguments: The call's arguments by name, without ``self``.
        args, kwargs: The same as they were given.
        scope: What parts functions that share a store.

    Raises:
        MissingIdempotencyKeyError, DecodeError: The payload has none.
    """
    payload = next(iter(arguments.values()), None)
    if key is None:
        return payload.id if isinstance(payload, Event) else parse_event(payload).id
    found: object = key(*args, **kwargs) if callable(key) else _search(key, payload)
    where = repr(key) if isinstance(key, str) else "the key function"
    if found is None or found == "":
        raise MissingIdempotencyKeyError(scope, f"{where} finds no idempotency key in the payload")
    if not isinstance(found, (str, int, Decimal)) or isinstance(found, bool):
        raise MissingIdempotencyKeyError(scope, f"{where} finds {found!r}, and a key is text or a whole number")
    identity = str(found)
    if len(f"{scope}#{identity}".encode()) > MAX_KEY_BYTES:
        raise MissingIdempotencyKeyError(scope, f"{where} finds a key of {len(identity):,} characters; give a digest")
    return identity


def content_of(
    fingerprint: str | Callable[..., object] | None,
    arguments: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> object:
    """What two calls with one key must have in common; never the envelope, which differs from delivery to delivery."""
    payload = next(iter(arguments.values()), None)
    if fingerprint is not None:
        return fingerprint(*args, **kwargs) if callable(fingerprint) else _search(fingerprint, payload)
    if isinstance(payload, Event):
        return [payload.type, payload.data]
    if isinstance(payload, dict) and isinstance(context := payload.get("requestContext"), dict):
        http = context.get("http", payload)  # the payload's version 2.0 has it there, 1.0 in the request itself
        method = http.get("method", payload.get("httpMethod"))
        return [method, payload.get("rawPath", payload.get("path")), payload.get("body")]
    if isinstance(payload, dict) and ("detail" in payload or "specversion" in payload):  # else it is no event
        with suppress(DecodeError):
            event = parse_event(payload)
            return [event.type, event.data]
    contexts = [name for name, value in arguments.items() if hasattr(value, "get_remaining_time_in_millis")]
    return {name: _plain(value) for name, value in arguments.items() if name not in contexts}


def _search(expression: str, payload: object) -> object:
    if isinstance(payload, dict) and expression.isidentifier() and expression.isascii():
        return payload.get(expression)
    import jmespath

    found: object = jmespath.search(expression, payload)
    return found


def _plain(value: Any) -> object:
    """A value as JSON, for its fingerprint: a pydantic model or a dataclass by its fields."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
