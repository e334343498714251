"""Idempotency key and payload fingerprint of a call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast
from uuid import UUID

from ..codec.json_text import MAX_DEPTH, canonical
from ..codec.path_error import PathError
from ..codec.short_repr import short_repr
from ..errors import InvalidIdempotencyKeyError, MissingIdempotencyKeyError
from ..events.bus_event import parse_event
from ..events.event import Event
from ..events.ids import joined
from ..writing.callables import argument_binder, is_method
from .claims import Claim
from .payload_content import as_json, event_content, payload_content

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    Finder: TypeAlias = Callable[[object, tuple[Any, ...], dict[str, Any]], object]
    """Finds a part of a call in its payload, or in its arguments."""

__all__ = ["MAX_KEY_BYTES", "Key", "claim_maker", "event_fingerprint", "fingerprint_of", "refuse_long_key"]

MAX_KEY_BYTES = 2048 - 64
"""A partition key's limit, less room for a store's prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key, and the part of the payload that two calls with one key must have in common.

    Args:
        find: As `key` of `idempotent`.
        fingerprint: A JMESPath expression into the payload, or a function of the call's arguments: if it differs in two
            calls with one key, the second is an error. By default an event's type, source and data; the payload of a
            message or record; an API request's method, path, query and body; of any other call all arguments but
            Lambda's context, as JSON. Never what changes with each delivery.
    """

    find: str | Callable[..., object] | None = None
    fingerprint: str | Callable[..., object] | None = None


def claim_maker(
    function: Callable[..., Any],
    *,
    key: str | Callable[..., object] | Key | None,
    scope: str,
    on_missing_key: Literal["raise", "run"],
) -> Callable[[tuple[Any, ...], dict[str, Any]], Claim | None]:
    """Return a function that creates the claim of a call from its arguments; None if it has no key and may run.

    It raises `MissingIdempotencyKeyError`, unless calls without a key run, `InvalidIdempotencyKeyError`, and
    `DecodeError` as `idempotent` does.

    Args:
        function, key, scope, on_missing_key: As for `idempotent`.
    """
    chosen = key if isinstance(key, Key) else Key(key)
    skipped = 1 if is_method(function) else 0
    arguments_of = argument_binder(function, skipped)
    find = None if chosen.find is None else _finder(chosen.find, scope)
    where = repr(chosen.find) if isinstance(chosen.find, str) else "the key function"
    find_content = None if chosen.fingerprint is None else _finder(chosen.fingerprint, scope)

    def claim_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Claim | None:
        arguments = arguments_of(args, kwargs)
        payload = args[skipped] if len(args) > skipped else next(iter(arguments.values()), None)
        event: Event | None = None
        if find is None:
            event = payload if isinstance(payload, Event) else parse_event(payload)
            parts = [event.source or "", event.id]
        else:
            found = find(payload, args, kwargs)
            if found is None or found == "":
                if on_missing_key == "run":
                    return None
                raise MissingIdempotencyKeyError(scope, f"{where} finds no idempotency key in the payload")
            parts = _parts(found, where, scope)
        whole = joined("call", scope, *parts)
        refuse_long_key(whole, f"{where if find else 'the event'} gives a key")
        if find_content is not None:
            fingerprint = fingerprint_of(find_content(payload, args, kwargs))
        elif event is not None:
            fingerprint = event_fingerprint(event)
        else:
            content = payload_content(payload)
            if content is None:
                content = {name: value for name, value in arguments.items() if not _is_context(value)}
            fingerprint = fingerprint_of(content)
        # The token is drawn at each call: one drawn at import would be the same in each restored snapshot.
        return Claim(whole, os.urandom(16).hex(), fingerprint)

    return claim_of


def refuse_long_key(key: str, what: str) -> None:
    """Refuse a key that DynamoDB would not take.

    Raises:
        InvalidIdempotencyKeyError: It is too long, or not Unicode text.
    """
    if len(key) * 4 <= MAX_KEY_BYTES and key.isascii():
        return
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidIdempotencyKeyError(ascii(key)[:80], f"{what} with half of a surrogate pair") from None
    if size > MAX_KEY_BYTES:
        problem = f"{what} of {size:,} bytes, and {MAX_KEY_BYTES:,} fit; use a digest of it"
        raise InvalidIdempotencyKeyError(f"{key[:80]}…", problem)


def event_fingerprint(event: Event) -> str:
    """Return the digest of what two deliveries of an event have in common; its data are JSON values already."""
    return sha256(canonical(event_content(event)).encode()).hexdigest()


def fingerprint_of(content: object) -> str:
    """Return the digest of a payload's canonical JSON text.

    Raises:
        TypeError: The payload holds a value without a JSON form; the error names its place.
    """
    try:
        text = canonical(as_json(content))
    except PathError as bad:
        problem = f"the payload's fingerprint can't be made: {bad.path.removeprefix('.') or 'it'}: {bad.problem}"
        raise TypeError(f"{problem}; convert it, or choose the fingerprint with Key(fingerprint=...)") from None
    return sha256(text.encode()).hexdigest()


def _parts(found: object, where: str, scope: str) -> list[str]:
    """Return the parts of a key, each as text that differs if the values differ.

    Raises:
        InvalidIdempotencyKeyError: It can't be a key.
    """
    members = cast("list[object]", found) if isinstance(found, (list, tuple)) else [found]
    parts = [_part(member) for member in members]
    if not parts or None in parts:
        bad = members[parts.index(None)] if None in parts else found
        kind = "null" if bad is None else type(bad).__name__
        shown = f" {short_repr(bad)}" if isinstance(bad, (bool, float, Decimal)) else ""
        problem = (
            f"{where} finds a {kind}{shown}; a key is text, a number, a date, a UUID, an enum, or a flat list of them"
        )
        raise InvalidIdempotencyKeyError(scope, problem)
    return cast("list[str]", parts)


def _part(value: object) -> str | None:
    """Return one part of a key as text; None if it can't be one. Numbers are equal by value."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float, Decimal)):
        is_number = value.is_finite() if isinstance(value, Decimal) else isinstance(value, int) or isfinite(value)
        return f"={canonical(value)}" if is_number else None
    if isinstance(value, str):
        return str.__str__(value).replace("%", "%25").replace("=", "%3D") if value.startswith(("=", "%")) else value
    if isinstance(value, (date, UUID)):
        return cast("str", as_json(value))
    return None


def _is_context(value: object) -> bool:
    return hasattr(value, "get_remaining_time_in_millis")


def _finder(wanted: str | Callable[..., object], scope: str) -> Finder:
    """Return a function that finds a part of a call: by a function of its arguments, or by an expression."""
    if callable(wanted):
        return lambda _, args, kwargs: wanted(*args, **kwargs)
    is_bare_name = wanted.isidentifier() and wanted.isascii()

    def search(payload: object, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> object:
        if is_bare_name and isinstance(payload, dict):
            found: object = payload.get(wanted)
            return found
        import jmespath
        from jmespath.exceptions import JMESPathError

        try:
            if isinstance(payload, (dict, list)):
                found = jmespath.search(wanted, _with_headers(payload))
                if found is not None:
                    return found
            # Once more, with the fields of the objects that it holds.
            found = jmespath.search(wanted, _with_headers(_searchable(payload)))
        except JMESPathError as bad:
            problem = f"{wanted!r} can't be evaluated: {bad}; a function of the call's arguments finds more, such as "
            example = "lambda event, context: json.loads(event['body'])['order']"
            raise InvalidIdempotencyKeyError(scope, problem + example) from None
        except _UnsearchableError as bad:
            problem = f"{wanted!r} can't look into a {bad}; find it by a function of the call's arguments"
            raise InvalidIdempotencyKeyError(scope, problem) from None
        return [_unwrapped(member) for member in found] if isinstance(found, list) else _unwrapped(found)

    return search


def _with_headers(payload: object) -> object:
    """Return a payload with the headers of an HTTP request, or of AppSync's, by names without case."""
    if not isinstance(payload, dict):
        return payload
    found: dict[str, Any] = {
        name: _Headers(payload[name]) for name in _HEADERS if isinstance(payload.get(name), Mapping)
    }
    request = payload.get("request")
    if isinstance(request, dict) and isinstance(request.get("headers"), Mapping):
        found["request"] = {**request, "headers": _Headers(request["headers"])}
    return {**payload, **found} if found else payload


_HEADERS = ("headers", "multiValueHeaders")


class _Headers(dict[str, Any]):
    """HTTP headers, whose names are equal without case. https://www.rfc-editor.org/rfc/rfc9110#name-field-names"""

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value."""
        if name in self:
            return self[name]
        return next((value for each, value in self.items() if each.lower() == name.lower()), default)


_Headers.__name__ = "dict"  # JMESPath's functions know an object by its type's name


class _UnsearchableError(Exception):
    """An expression looks into an object without known fields; the text is its type's name."""


class _Opaque:
    """An object without known fields, in a payload that an expression searches."""

    def __init__(self, value: object) -> None:
        self.value = value

    def get(self, _: str) -> NoReturn:
        """Refuse to be searched; JMESPath would find nothing, as if the key was missing."""
        raise _UnsearchableError(type(self.value).__name__)


def _unwrapped(found: object) -> object:
    return found.value if isinstance(found, _Opaque) else found


def _searchable(value: Any, depth: int = 0) -> Any:
    """Return a payload for an expression: events, models and named tuples by their fields, also by a field's alias."""
    if value is None or isinstance(value, (str, bool, int, float, Decimal, date, UUID, Enum)):
        return value
    if depth > MAX_DEPTH:
        return _Opaque(value)
    kind = type(value)
    if isinstance(value, Event):
        value = {name: getattr(value, name) for name in Event.FIELDS}
    elif hasattr(kind, "model_fields"):
        if "root" in kind.model_fields:
            return _searchable(value.root, depth + 1)
        value = _fields_of_model(value)
    elif is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        value = dict(zip(names, value, strict=True))
    if isinstance(value, Mapping):
        return {name: _searchable(member, depth + 1) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_searchable(member, depth + 1) for member in value]
    return value if isinstance(value, str) else _Opaque(value)


def _fields_of_model(model: Any) -> dict[str, Any]:
    kind = type(model)
    found = {name: getattr(model, name) for name in (*kind.model_fields, *kind.model_computed_fields)}
    aliases = {field.serialization_alias: found[name] for name, field in kind.model_fields.items()}
    return {**(model.model_extra or {}), **{name: value for name, value in aliases.items() if name}, **found}
