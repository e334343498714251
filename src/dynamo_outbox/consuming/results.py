"""The outcome of an idempotent call as text: a result by its return annotation or as plain JSON, a failure as JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_type_hints

from ..codec.values import decode_item, encode_value
from ..errors import ResultError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

__all__ = ["MAX_RESULT_BYTES", "ResultCodec", "StoredResult", "as_json"]

MAX_RESULT_BYTES = 400 * 1024 - 4 * 1024
"""An item's 400 KB, less what the longest key and the other attributes need."""
_JSON_ANNOTATIONS = (type(None), bool, int, float, str, list, dict, Any)
"""Annotations for which JSON alone gives back what was stored."""


Form: TypeAlias = Literal["json", "dynamodb", "annotation"]
"""Form of a stored result: JSON, JSON with typed DynamoDB values, or by the function's return annotation."""
_TYPED = "$dynamodb"
"""The member name that marks a typed DynamoDB value in JSON."""


class StoredResult(NamedTuple):
    """A result's JSON text, and how it is read."""

    text: str
    form: Form


class ResultCodec:
    """Writes and reads the results of one function.

    Args:
        function: The function. A return annotation other than JSON's own types lets pydantic write and read the result:
            ``datetime``, models, dataclasses, and containers of these. Without one, JSON's types and those of
            `decode_item` (``Decimal``, ``bytes``, sets) come back as they were; a tuple becomes a list.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._adapter = cache(self._make_adapter)

    def write(self, result: object) -> StoredResult:
        """Return the result as text: by its annotation, or else as JSON, whichever gives it back as it was.

        Raises:
            ValueError: Neither does, or it is too long for an item.
        """
        adapter = self._adapter()
        stored = (adapter and _by_annotation(adapter, result)) or as_json(result)
        if len(stored.text) * 4 > MAX_RESULT_BYTES and (size := len(stored.text.encode())) > MAX_RESULT_BYTES:
            raise ValueError(f"{size:,} bytes, and an item leaves room for {MAX_RESULT_BYTES:,}")
        return stored

    def read(self, key: str, text: str, form: str) -> Any:
        """Return a stored result, as the function returned it.

        Raises:
            ResultError: The function's return annotation has changed, so that the result can't be read any more; the
                error doesn't show the result.
        """
        adapter = self._adapter() if form == "annotation" else None
        if adapter is None:
            return _read_json(text, form)
        try:
            return adapter.validate_json(text)
        except ValueError as error:
            problem = f"was done before, but the annotation of now can't read its result ({type(error).__name__})"
            raise ResultError(key, f"{problem}; restore the annotation, or let the record expire") from None

    def _make_adapter(self) -> TypeAdapter[Any] | None:
        try:
            annotation = get_type_hints(self._function).get("return", Any)
            if annotation in _JSON_ANNOTATIONS:
                return None
            from pydantic import ConfigDict, PydanticUserError, TypeAdapter

            config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
            try:
                return TypeAdapter(annotation, config=config)
            except PydanticUserError:  # a model or a dataclass, which has its own configuration
                return TypeAdapter(annotation)
        except (
            Exception
        ):  # it can't be resolved, for instance if imported for type checkers only, or pydantic refuses it
            return None


def _by_annotation(adapter: TypeAdapter[Any], result: object) -> StoredResult | None:
    try:
        text = adapter.dump_json(result, warnings="error").decode()
        fits = _is_same(adapter.validate_json(text), result)
    except Exception:  # a model's own serializer or validator may raise anything
        return None
    return StoredResult(text, "annotation") if fits else None


def as_json(result: object) -> StoredResult:
    """Return a value as JSON; values that only DynamoDB has are typed in it.

    Raises:
        ValueError: It has no such form, or would come back changed; a tuple may become a list.
    """
    problem = "JSON would give it back changed; annotate what the function returns"
    for write in (_with_typed_members, _typed_whole):
        try:
            stored = write(result)
            if _is_same(_read_json(*stored), result, tuples_as_lists=True):
                return stored
        except Exception as error:  # a value's own methods may raise anything
            if write is _with_typed_members:
                problem = f"{error}; annotate what the function returns, and it is stored by that"
    raise ValueError(problem)


def _with_typed_members(result: object) -> StoredResult:
    typed = False

    def as_typed(value: object) -> dict[str, Any]:
        nonlocal typed
        typed = True
        return _typed_object(value)

    text = json.dumps(result, default=as_typed)
    return StoredResult(text, "dynamodb" if typed else "json")


def _typed_whole(result: object) -> StoredResult:
    """Return a value in typed form as a whole: a map in it has the name that marks typed values."""
    return StoredResult(json.dumps(_typed_object(result)), "dynamodb")


def _typed_object(value: object) -> dict[str, Any]:
    return {_TYPED: _jsonable(encode_value(value))}


def _jsonable(typed: dict[str, Any]) -> dict[str, Any]:
    """Return a typed value with binary as base64, as in JSON."""
    ((tag, value),) = typed.items()
    match tag:
        case "B":
            return {"B": b64encode(value).decode()}
        case "BS":
            return {"BS": [b64encode(member).decode() for member in value]}
        case "L":
            return {"L": [_jsonable(member) for member in value]}
        case "M":
            return {"M": {name: _jsonable(member) for name, member in value.items()}}
        case _:
            return typed


def _untyped(value: Any) -> Any:
    """Return a JSON value with its typed values decoded, from the outermost inwards."""
    if isinstance(value, list):
        return [_untyped(member) for member in value]
    if not isinstance(value, dict):
        return value
    return decode_item(value)[_TYPED] if value.keys() == {_TYPED} else {k: _untyped(v) for k, v in value.items()}


def _read_json(text: str, form: str) -> Any:
    value = json.loads(text)
    return _untyped(value) if form == "dynamodb" else value


def _is_same(read: object, result: object, *, tuples_as_lists: bool = False) -> bool:
    """Return whether two values are equal, types included; a tuple may come back as a list from JSON."""
    if isinstance(result, tuple) and isinstance(read, list) and tuples_as_lists:
        read = tuple(read)
    if type(read) is not type(result):
        return False
    if isinstance(result, dict) and isinstance(read, dict):
        return len(read) == len(result) and all(
            _is_same(key, other, tuples_as_lists=tuples_as_lists)
            and _is_same(read[key], result[other], tuples_as_lists=tuples_as_lists)
            for key, other in zip(read, result, strict=True)
        )
    if isinstance(result, (set, frozenset)) and isinstance(read, (set, frozenset)):
        return read == result and {*map(type, read)} == {*map(type, result)}
    if isinstance(result, (list, tuple)) and isinstance(read, (list, tuple)):
        return len(read) == len(result) and all(
            _is_same(mine, other, tuples_as_lists=tuples_as_lists) for mine, other in zip(read, result, strict=True)
        )
    return read == result or (read != read and result != result)  # NaN is itself here
