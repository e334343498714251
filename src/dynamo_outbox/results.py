"""What an idempotent function returned, as text and back: by its return annotation where it has one."""

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

_PLAIN = (type(None), bool, int, float, str, list, dict, Any)
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
        """The result as text: by its annotation, or else as plain JSON, whichever gives it back as it was.

        Raises:
            ValueError: Neither does, or it is too long for an item.
        """
        stored = self._by_annotation(result) or as_json(result)
        if len(stored.text.encode()) > MAX_RESULT_BYTES:
            raise ValueError(f"{len(stored.text.encode()):,} bytes, and an item leaves room for {MAX_RESULT_BYTES:,}")
        return stored

    def _by_annotation(self, result: object) -> StoredResult | None:
        adapter = self._adapter()
        if adapter is None:
            return None
        try:
            text = adapter.dump_json(result, warnings="error").decode()
            fits = _is_same(adapter.validate_json(text), result)
        except Exception:  # whatever a model's own serializer or validator may raise
            return None
        return StoredResult(text, by_annotation=True) if fits else None

    def read(self, stored: StoredResult) -> Any:
        """The result, as it was returned."""
        adapter = self._adapter() if stored.by_annotation else None
        return json.loads(stored.text) if adapter is None else adapter.validate_json(stored.text)

    def _make_adapter(self) -> TypeAdapter[Any] | None:
        try:
            annotation = get_type_hints(self._function).get("return", Any)
            if annotation in _PLAIN:
                return None
            from pydantic import ConfigDict, PydanticUserError, TypeAdapter

            config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
            try:
                return TypeAdapter(annotation, config=config)
            except PydanticUserError:  # a model, or a dataclass, which brings its own configuration
                return TypeAdapter(annotation)
        except (
            Exception
        ):  # it can't be resolved, as where it is imported for type checkers only, or pydantic has no way
            return None


def as_json(result: object) -> StoredResult:
    """A value as plain JSON.

    Raises:
        ValueError: JSON has no way, or would give it back changed; a tuple may become a list.
    """
    try:
        text = json.dumps(result)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{error}; annotate what the function returns, and it is stored by that") from None
    if not _is_same(json.loads(text), result, tuples_as_lists=True):
        raise ValueError("JSON would give it back changed; annotate what the function returns")
    return StoredResult(text, by_annotation=False)


def _is_same(read: object, result: object, *, tuples_as_lists: bool = False) -> bool:
    """Whether what was read back is what was returned, types included; a tuple may come back as a list from JSON."""
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
