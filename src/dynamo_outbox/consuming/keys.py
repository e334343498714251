"""What makes two calls one: the key that they have in common, and the content that they must have in common."""

from __future__ import annotations

import dataclasses
import os
from contextlib import suppress
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..events.bus_event import parse_event
from ..codec.json_text import canonical
from ..errors import DecodeError, MissingIdempotencyKeyError
from ..events.event import Event
from ..aws.functions import JSON_TYPES, argument_binder, is_method, plain_parameters, time_left

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Literal

    from .claims import Hold

__all__ = ["MAX_KEY_BYTES", "claim_maker", "content_finder", "key_finder"]

Found = TypeVar("Found")
Finder: TypeAlias = "Callable[[object, tuple[Any, ...], dict[str, Any]], Found]"
"""It takes the first of a call's arguments, and all of them as they were given, without ``self``."""

MAX_KEY_BYTES = 2048 - 64
"""A partition key's limit, less room for a store's prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""
_OF_REQUESTS_AND_EVENTS = frozenset({"requestContext", "detail", "specversion"})


def claim_maker(
    function: Callable[..., Any],
    *,
    key: str | Callable[..., str] | None,
    fingerprint: str | Callable[..., object] | None,
    scope: str,
    on_missing_key: Literal["raise", "run"],
) -> Callable[[tuple[Any, ...], dict[str, Any]], tuple[Hold, timedelta | None] | None]:
    """What makes a call's claim, with how long Lambda lets the call run, where it says so; None where it has no key.

    It raises what `key_finder` and `content_finder` raise, but for a missing key that may be.

    Args:
        function, key, fingerprint, scope, on_missing_key: As for `idempotent`.
    """
    skipped = 1 if is_method(function) else 0
    arguments_of = argument_binder(function, skipped)
    key_of = key_finder(key, scope)
    content_of = content_finder(fingerprint)

    def claim_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Hold, timedelta | None] | None:
        arguments = arguments_of(args, kwargs)
        payload = next(iter(arguments.values())) if arguments else None
        own_args = args[skipped:] if skipped else args
        try:
            whole_key = key_of(payload, own_args, kwargs)
        except MissingIdempotencyKeyError:
            if on_missing_key == "run":
                return None
            raise
        content = canonical(content_of(payload, arguments, own_args, kwargs))
        # The token is drawn at each call: one that was drawn at import would come out of each restored snapshot.
        return (whole_key, os.urandom(16).hex(), sha256(content.encode()).hexdigest()), time_left(args, kwargs)

    names = plain_parameters(function)
    if skipped or not names or not isinstance(key, str) or not _is_member(key) or fingerprint is not None:
        return claim_of
    first, begin = names[0], _begin_of(scope)

    def claim_at_once(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Hold, timedelta | None] | None:
        """The same, in one look at a call of nothing but JSON's values, the first of them an object with a good key."""
        arguments = kwargs if not args and [*kwargs] == names else arguments_of(args, kwargs)
        payload = arguments.get(first)
        if (
            type(payload) is dict
            and _OF_REQUESTS_AND_EVENTS.isdisjoint(payload)
            and (len(arguments) == 1 or JSON_TYPES.issuperset(map(type, arguments.values())))
        ):
            found = payload.get(key)
            if type(found) is str and found:
                whole_key = begin + found
                if whole_key.isascii() and len(whole_key) <= MAX_KEY_BYTES:
                    content = canonical(arguments)
                    return (whole_key, os.urandom(16).hex(), sha256(content.encode()).hexdigest()), None
        return claim_of(args, kwargs)

    return claim_at_once


def key_finder(key: str | Callable[..., str] | None, scope: str) -> Finder[str]:
    """What gives a call's key: its scope, and what it is known by there.

    It raises MissingIdempotencyKeyError or DecodeError where the call has none.

    Args:
        key: As for `idempotent`.
        scope: What parts functions that share a store.
    """
    begin = _begin_of(scope)
    if key is None:
        return lambda payload, _, __: begin + (payload if isinstance(payload, Event) else parse_event(payload)).id
    find = _finder(key)
    where = repr(key) if isinstance(key, str) else "the key function"

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


def _begin_of(scope: str) -> str:
    """What a scope's keys begin with."""
    return f"{scope}#"


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
    is_bare_name = _is_member(wanted)

    def search(payload: object, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> object:
        if is_bare_name and isinstance(payload, dict):
            return payload.get(wanted)
        import jmespath

        found: object = jmespath.search(wanted, payload)
        return found

    return search


def _is_member(expression: str) -> bool:
    """Whether a JMESPath expression is the name of an object's member, and no more."""
    return expression.isidentifier() and expression.isascii()


def _plain(value: Any) -> object:
    """A value as JSON, for its fingerprint: a pydantic model or a dataclass by its fields."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
