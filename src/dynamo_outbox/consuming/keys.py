"""Idempotency key and payload fingerprint of a call."""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from ..codec.json_text import canonical
from ..errors import DecodeError, MissingIdempotencyKeyError
from ..events.bus_event import parse_event
from ..events.event import Event
from ..writing.callables import argument_binder, is_method
from .claims import Claim

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Finder: TypeAlias = Callable[[object, tuple[Any, ...], dict[str, Any]], object]
    """Finds a part of a call in its first argument, or in all of them as they were given, without ``self``."""

__all__ = ["MAX_KEY_BYTES", "Key", "claim_maker", "fingerprint_of", "name_of"]

MAX_KEY_BYTES = 2048 - 64
"""A partition key's limit, less room for a store's prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key, and the part of the payload that two calls with one key must have in common.

    Args:
        find: As `key` of `idempotent`.
        fingerprint: A JMESPath expression into the first argument, or a function of the call's arguments: if it differs
            in two calls with one key, the second is an error. By default an event's type and data; an API request's
            method, path and body; of any other call all arguments but Lambda's context, as JSON.
    """

    find: str | Callable[..., str] | None = None
    fingerprint: str | Callable[..., object] | None = None


def name_of(function: Any) -> str | None:
    """Return a function's module and qualified name; None for a lambda or a partial."""
    name = getattr(function, "__qualname__", None)
    return None if name is None or "<lambda>" in name else f"{function.__module__}.{name}"


def claim_maker(
    function: Callable[..., Any],
    *,
    key: str | Callable[..., str] | Key | None,
    scope: str,
    on_missing_key: Literal["raise", "run"],
) -> Callable[[tuple[Any, ...], dict[str, Any]], Claim | None]:
    """Return a function that creates the claim of a call from its arguments; None for a call without a key.

    It raises `MissingIdempotencyKeyError`, unless calls without a key run, and `DecodeError` as `idempotent` does.

    Args:
        function, key, scope, on_missing_key: As for `idempotent`.
    """
    chosen = key if isinstance(key, Key) else Key(key)
    skipped = 1 if is_method(function) else 0
    arguments_of = argument_binder(function, skipped)
    key_of = _event_id if chosen.find is None else _finder(chosen.find)
    where = repr(chosen.find) if isinstance(chosen.find, str) else "the key function"
    content_of = None if chosen.fingerprint is None else _finder(chosen.fingerprint)

    def claim_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Claim | None:
        arguments = arguments_of(args, kwargs)
        payload = next(iter(arguments.values())) if arguments else None
        own_args = args[skipped:] if skipped else args
        try:
            found = key_of(payload, own_args, kwargs)
            whole_key = f"{scope}#{found}" if chosen.find is None else _checked_key(scope, found, where)
        except MissingIdempotencyKeyError:
            if on_missing_key == "run":
                return None
            raise
        content = _content_of(payload, arguments) if content_of is None else content_of(payload, own_args, kwargs)
        # The token is drawn at each call: one drawn at import would be the same in each restored snapshot.
        return Claim(whole_key, os.urandom(16).hex(), fingerprint_of(content))

    return claim_of


def fingerprint_of(content: object) -> str:
    """Return the digest of a payload's canonical JSON text."""
    return sha256(canonical(content).encode()).hexdigest()


def _event_id(payload: object, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> str:
    return (payload if isinstance(payload, Event) else parse_event(payload)).id


def _checked_key(scope: str, found: object, where: str) -> str:
    """Return the key with its scope.

    Raises:
        MissingIdempotencyKeyError: There is none, or it can't be one.
    """
    if found is None or found == "":
        raise MissingIdempotencyKeyError(scope, f"{where} finds no idempotency key in the payload")
    if not isinstance(found, (str, int, Decimal)) or isinstance(found, bool):
        raise MissingIdempotencyKeyError(scope, f"{where} finds {found!r}, and a key is text or a whole number")
    whole = f"{scope}#{found!s}"
    if (len(whole) if whole.isascii() else len(whole.encode())) > MAX_KEY_BYTES:
        length = f"{len(whole) - len(scope) - 1:,}"
        raise MissingIdempotencyKeyError(scope, f"{where} finds a key of {length} characters; give a digest")
    return whole


def _content_of(payload: object, arguments: dict[str, Any]) -> object:
    """Return what two calls with one key must have in common: never the envelope, which changes with each delivery."""
    if isinstance(payload, Event):
        return [payload.type, payload.data]
    if isinstance(payload, dict):
        if isinstance(context := payload.get("requestContext"), dict):
            http = context.get("http", payload)  # payload version 2.0 has it there, 1.0 in the request itself
            method = http.get("method", payload.get("httpMethod"))
            return [method, payload.get("rawPath", payload.get("path")), payload.get("body")]
        if "detail" in payload or "specversion" in payload:
            with suppress(DecodeError):
                event = parse_event(payload)
                return [event.type, event.data]
    contexts = {name for name, value in arguments.items() if hasattr(value, "get_remaining_time_in_millis")}
    return {name: _as_json(value) for name, value in arguments.items() if name not in contexts}


def _finder(wanted: str | Callable[..., object]) -> Finder:
    """Return a function that finds a part of a call: by a function, or by an expression into the first argument."""
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


def _as_json(value: Any) -> object:
    """Return a value as JSON, for its fingerprint: a pydantic model or a dataclass by its fields."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
