"""What an idempotent function returned, as text and back: by its return annotation where it has one."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

__all__ = ["ResultCodec", "StoredResult"]

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
            ``Decimal``, ``bytes``, ``datetime``, models, dataclasses, and containers of these.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._adapter = cache(self._make_adapter)

    def write(self, result: object) -> StoredResult:
        """The result as text.

        Raises:
            ValueError: It has no JSON form, not by its annotation either, or is too long for an item.
        """
        adapter = self._adapter()
        if adapter is None:
            stored = StoredResult(_plain_text(result), by_annotation=False)
        else:
            stored = StoredResult(adapter.dump_json(result, warnings="error").decode(), by_annotation=True)
            adapter.validate_json(stored.text)  # what can't be read again counts as not storable, now
        if len(stored.text.encode()) > MAX_RESULT_BYTES:
            raise ValueError(f"{len(stored.text.encode()):,} bytes, and an item leaves room for {MAX_RESULT_BYTES:,}")
        return stored

    def read(self, stored: StoredResult) -> Any:
        """The result, as it was returned."""
        adapter = self._adapter() if stored.by_annotation else None
        return json.loads(stored.text) if adapter is None else adapter.validate_json(stored.text)

    def _make_adapter(self) -> TypeAdapter[Any] | None:
        try:
            annotation = get_type_hints(self._function).get("return", Any)
        except NameError:  # it names what is imported for type checkers only
            return None
        if annotation in _PLAIN:
            return None
        from pydantic import ConfigDict, PydanticUserError, TypeAdapter

        config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
        try:
            return TypeAdapter(annotation, config=config)
        except PydanticUserError:  # a model, or a dataclass, which brings its own configuration
            return TypeAdapter(annotation)


def _plain_text(result: object) -> str:
    try:
        return json.dumps(result)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{error}; annotate what the function returns, and it is stored by that") from None
