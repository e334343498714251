"""The outcome of an idempotent call as text: a result by its return annotation or as plain JSON, a failure as JSON."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

__all__ = ["MAX_RESULT_BYTES", "ResultCodec", "StoredResult", "as_json"]

MAX_RESULT_BYTES = 400 * 1024 - 4 * 1024
"""An item's 400 KB, less what the longest key and the other attributes need."""
_JSON_ANNOTATIONS = (type(None), bool, int, float, str, list, dict, Any)
"""Annotations for which JSON alone gives back what was stored."""


class StoredResult(NamedTuple):
    """A result's JSON text, and whether reading it takes the annotation."""

    text: str
    by_annotation: bool


class ResultCodec:
    """Writes and reads the results of one function.

    Args:
        function: The function. A return annotation other than JSON's own types lets pydantic write and read the result:
            ``Decimal``, ``bytes``, ``datetime``, models, dataclasses, and containers of these. Without one, a tuple
            comes back as a list, as from any JSON.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._adapter = cache(self._make_adapter)

    def write(self, result: object) -> StoredResult:
        """Return the result as text: by its annotation, or else as plain JSON, whichever gives it back as it was.

        Raises:
            ValueError: Neither does, or it is too long for an item.
        """
        adapter = self._adapter()
        stored = (adapter and _by_annotation(adapter, result)) or as_json(result)
        if len(stored.text) * 4 > MAX_RESULT_BYTES and (size := len(stored.text.encode())) > MAX_RESULT_BYTES:
            raise ValueError(f"{size:,} bytes, and an item leaves room for {MAX_RESULT_BYTES:,}")
        return stored

    def read(self, text: str, by_annotation: bool) -> Any:
        """Return a stored result, as the function returned it."""
        adapter = self._adapter() if by_annotation else None
        return json.loads(text) if adapter is None else adapter.validate_json(text)

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
    return StoredResult(text, by_annotation=True) if fits else None


def as_json(result: object) -> StoredResult:
    """Return a value as plain JSON.

    Raises:
        ValueError: JSON has no form for it, or would give it back changed; a tuple may become a list.
    """
    try:
        text = json.dumps(result)
        is_kept = _is_same(json.loads(text), result, tuples_as_lists=True)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{error}; annotate what the function returns, and it is stored by that") from None
    if not is_kept:
        raise ValueError("JSON would give it back changed; annotate what the function returns")
    return StoredResult(text, by_annotation=False)


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
    if isinstance(result, (list, tuple)) and isinstance(read, (list, tuple)):
        return len(read) == len(result) and all(
            _is_same(mine, other, tuples_as_lists=tuples_as_lists) for mine, other in zip(read, result, strict=True)
        )
    return read == result or (read != read and result != result)  # NaN is itself here
