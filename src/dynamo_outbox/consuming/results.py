"""What an idempotent function returned, as text and back: by its return annotation where it has one."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from ..codec.json_text import MAX_DEPTH, ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import TypeAdapter

__all__ = ["MAX_RESULT_BYTES", "ResultCodec", "StoredResult", "as_json"]

MAX_RESULT_BYTES = 400 * 1024 - 4 * 1024
"""An item's 400 KB, less what the longest key and the other attributes need."""

MIN_PLAIN_NUMBER, MAX_PLAIN_NUMBER = 1e-4, 1e16
"""Beyond these, Python and pydantic may write a number in different ways."""
_OPEN = ((dict[str, Any], dict), (list[Any], list))
"""Annotations that let a result of this type hold anything, and so say no more of one that is plain than its type."""
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
        self._open_type: type | None = None
        self._validate: Callable[[str], Any] = _loaded
        self._dump: Callable[[Any], bytes]
        """These three come with the adapter."""

    def write(self, result: object) -> tuple[str, bool]:
        """The result as text: by its annotation, or else as plain JSON, whichever gives it back as it was.

        Returns:
            Its text, and whether reading it takes the annotation.

        Raises:
            ValueError: Neither does, or it is too long for an item.
        """
        if type(result) is self._open_type and _is_plain(result, MAX_DEPTH):
            try:
                written = self._dump(result)
            except ValueError:  # half of a surrogate pair in it, which the plain way refuses in its own words
                written = b""
            if written.isascii() and 0 < len(written) <= MAX_RESULT_BYTES:  # else that half may be replaced, in a key
                return written.decode(), True
        adapter = self._adapter()
        text, by_annotation = (adapter and _by_annotation(adapter, result)) or as_json(result)
        if len(text) * 4 > MAX_RESULT_BYTES:
            size = len(text.encode())
            if size > MAX_RESULT_BYTES:
                raise ValueError(f"{size:,} bytes, and an item leaves room for {MAX_RESULT_BYTES:,}")
        return text, by_annotation

    def read(self, text: str, by_annotation: bool) -> Any:
        """A stored result, as it was returned."""
        if not by_annotation or self._adapter() is None:
            return _loaded(text)
        return self._validate(text)

    def _make_adapter(self) -> TypeAdapter[Any] | None:
        try:
            annotation = get_type_hints(self._function).get("return", Any)
            if annotation in _PLAIN:
                return None
            from pydantic import ConfigDict, PydanticUserError, TypeAdapter

            config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
            try:
                adapter = TypeAdapter(annotation, config=config)
            except PydanticUserError:  # a model, or a dataclass, which brings its own configuration
                adapter = TypeAdapter(annotation)
            self._validate = adapter.validate_json
            if (kind := next((kind for each, kind in _OPEN if annotation == each), None)) is not None:
                self._validate, self._dump = adapter.validator.validate_json, adapter.serializer.to_json
                self._open_type = kind
            return adapter
        except (
            Exception
        ):  # it can't be resolved, as where it is imported for type checkers only, or pydantic has no way
            return None


def _by_annotation(adapter: TypeAdapter[Any], result: object) -> StoredResult | None:
    try:
        text = adapter.dump_json(result, warnings="error").decode()
        fits = _is_same(adapter.validate_json(text), result)
    except Exception:  # whatever a model's own serializer or validator may raise
        return None
    return StoredResult(text, by_annotation=True) if fits else None


def as_json(result: object) -> StoredResult:
    """A value as plain JSON.

    Raises:
        ValueError: JSON has no way, or would give it back changed; a tuple may become a list.
    """
    text = _plain(result)
    if text is not None:
        return StoredResult(text, by_annotation=False)
    try:
        text = json.dumps(result)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{error}; annotate what the function returns, and it is stored by that") from None
    if not _is_same(json.loads(text), result, tuples_as_lists=True):
        raise ValueError("JSON would give it back changed; annotate what the function returns")
    return StoredResult(text, by_annotation=False)


_as_python = ready(json.JSONEncoder(ensure_ascii=False))
_TEXT = frozenset({str})
_WRITTEN_ONE_WAY = frozenset({str, bool, type(None)})
_read = json.JSONDecoder().raw_decode


def _plain(result: object) -> str | None:
    """A value's text, where its types alone say that JSON gives it back as it was; else None, and others decide."""
    if not _is_plain(result, MAX_DEPTH):  # first: what holds itself ends here, and would be written until memory ends
        return None
    try:
        text = _as_python(result)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if text.isascii() and "\x7f" not in text else None


def _is_plain(value: Any, depth: int) -> bool:
    """Whether every writer of JSON writes a value in one way; what is nested too deep isn't judged so."""
    kind = type(value)
    members: Iterable[object]
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        members = value.values()
    elif kind is list:
        members = value
    elif kind is int or kind is float:
        size = abs(value)
        return bool(size == 0 or MIN_PLAIN_NUMBER <= size < MAX_PLAIN_NUMBER)
    else:
        return kind in _WRITTEN_ONE_WAY
    if _WRITTEN_ONE_WAY.issuperset(map(type, members)):
        return True
    return depth > 0 and all(_is_plain(each, depth - 1) for each in members)


def _loaded(text: str) -> Any:
    """What `json.loads` reads, which first looks for white space round it; there is none in what is written here."""
    try:
        value, end = _read(text)
    except ValueError:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


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
