"""What makes two calls one: the key that they have in common, and the content that they must have in common."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .core.envelope import parse_event
from .errors import DecodeError, MissingIdempotencyKeyError
from .event import Event
from .functions import JSON_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_KEY_BYTES", "content_finder", "key_finder"]

Found = TypeVar("Found")
Finder: TypeAlias = "Callable[[object, tuple[Any, ...], dict[str, Any]], Found]"
"""It takes the first of a call's arguments, and all of them as they were given, without ``self``."""

MAX_KEY_BYTES = 2048 - 64
"""A partition key's limit, less room for a store's prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""
_OF_REQUESTS_AND_EVENTS = frozenset({"requestContext", "detail", "specversion"})


def key_finder(key: str | Callable[..., str] | None, scope: str) -> Finder[str]:
    """What gives a call's key: its scope, and what it is known by there.

    It raises MissingIdempotencyKeyError or DecodeError where the call has none.

    Args:
        key: As for `idempotent`.
        scope: What parts functions that share a store.
    """
    if key is None:
        return lambda payload, _, __: f"{scope}#{(payload if isinstance(payload, Event) else parse_event(payload)).id}"
    find = _finder(key)
    where = repr(key) if isinstance(key, str) else "the key function"
    begin = f"{scope}#"

    def key_of(payload: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        found = find(payload, args, kwargs)
        if type(found) is str and found:
            whole = begin + found
            if whole.isascii() and len(whole) <= MAX_KEY_BYTES:
                return whole
        return checked(found)

    def checked(found: object) -> str:
        if found is None or found == "":
            raise MissingIdempotencyKeyError(scope, f"{where} finds no idempotency key in the payload")
        if not isinstance(found, (str, int, Decimal)) or isinstance(found, bool):
            raise MissingIdempotencyKeyError(scope, f"{where} finds {found!r}, and a key is text or a whole number")
        whole = f"{begin}{found!s}"
        if len(whole.encode()) > MAX_KEY_BYTES:
            length = f"{len(whole) - len(begin):,}"
            raise MissingIdempotencyKeyError(scope, f"{where} finds a key of {length} characters; give a digest")
        return whole

    return key_of


def content_finder(
    fingerprint: str | Callable[..., object] | None,
) -> Callable[[object, dict[str, Any], tuple[Any, ...], dict[str, Any]], object]:
    """What gives what two calls with one key must have in common, from `Finder`'s arguments and those by name.

    Never the envelope, which differs from delivery to delivery.
    """
    if fingerprint is None:
        return _content_of
    find = _finder(fingerprint)
    return lambda payload, _, args, kwargs: find(payload, args, kwargs)


def _content_of(payload: object, arguments: dict[str, Any], _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> object:
    if isinstance(payload, Event):
        return [payload.type, payload.data]
    if isinstance(payload, dict) and not _OF_REQUESTS_AND_EVENTS.isdisjoint(payload):
        if isinstance(context := payload.get("requestContext"), dict):
            http = context.get("http", payload)  # the payload's version 2.0 has it there, 1.0 in the request itself
            method = http.get("method", payload.get("httpMethod"))
            return [method, payload.get("rawPath", payload.get("path")), payload.get("body")]
        if "detail" in payload or "specversion" in payload:  # else it is no event
            with suppress(DecodeError):
                event = parse_event(payload)
                return [event.type, event.data]
    if JSON_TYPES.issuperset(map(type, arguments.values())):
        return arguments
    contexts = [name for name, value in arguments.items() if hasattr(value, "get_remaining_time_in_millis")]
    return {name: _plain(value) for name, value in arguments.items() if name not in contexts}


def _finder(wanted: str | Callable[..., object]) -> Finder[object]:
    """What finds a part of a call: by a function of its arguments, or by an expression into the first of them."""
    if callable(wanted):
        return lambda _, args, kwargs: wanted(*args, **kwargs)
    is_bare_name = wanted.isidentifier() and wanted.isascii()

    def search(payload: object, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> object:
        if is_bare_name and isinstance(payload, dict):
            return payload.get(wanted)
        import jmespath

        found: object = jmespath.search(wanted, payload)
        return found

    return search


def _plain(value: Any) -> object:
    """A value as JSON, for its fingerprint: a pydantic model or a dataclass by its fields."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
