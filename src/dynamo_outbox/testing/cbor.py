"""The part of CBOR that Smithy RPC v2 uses, independent of botocore's.

RFC 8949: https://www.rfc-editor.org/rfc/rfc8949 · https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

__all__ = ["CborError", "dumps", "loads"]

_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_BREAK = 0xFF
_OPEN = 31
"""Additional information of an item of indefinite length."""


class CborError(ValueError):
    """The bytes are not one complete item of the types that RPC v2 uses."""


def dumps(value: Any) -> bytes:
    """Return a value's item; a datetime is a tag 1 with epoch seconds.

    Raises:
        CborError: A value has another type.
    """
    if isinstance(value, bool) or value is None:
        return bytes([0xF6 if value is None else 0xF4 + value])
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, datetime):
        return b"\xc1" + dumps(value.timestamp())
    if isinstance(value, (bytes, str)):
        text = value.encode() if isinstance(value, str) else value
        return _head(3 if isinstance(value, str) else 2, len(text)) + text
    if isinstance(value, (list, tuple)):
        return _head(4, len(value)) + b"".join(map(dumps, value))
    if isinstance(value, dict):
        return _head(5, len(value)) + b"".join(dumps(part) for pair in value.items() for part in pair)
    raise CborError(f"a {type(value).__name__} has no form in RPC v2")


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | info]) + number.to_bytes(size, "big")
    raise CborError(f"{number} does not fit 64 bits")


def loads(data: bytes) -> Any:
    """Return the value of an item; epoch seconds become a datetime in UTC.

    Raises:
        CborError: It is not one complete item of RPC v2's types.
    """
    reader = _Reader(data)
    value = reader.item()
    if reader.at != len(data):
        raise CborError("bytes follow the item")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._data = data

    def item(self) -> Any:
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(info)
        if info == _OPEN and major in (2, 3, 4, 5):
            parts = self._open_items()
            if major in (2, 3):
                joint: Any = "" if major == 3 else b""
                return joint.join(parts)
            return parts if major == 4 else dict(zip(parts[::2], parts[1::2], strict=True))
        number = self._number(info)
        match major:
            case 0:
                return number
            case 1:
                return -1 - number
            case 2:
                return self._take(number)
            case 3:
                return self._text(number)
            case 4:
                return [self.item() for _ in range(number)]
            case 5:
                return {self.item(): self.item() for _ in range(number)}
            case _:
                return self._time(number)

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise CborError(str(error)) from None

    def _time(self, tag: int) -> datetime:
        seconds = self.item()
        if tag != 1 or not isinstance(seconds, (int, float)):
            raise CborError(f"tag {tag} of {seconds!r}: RPC v2 has only epoch seconds")
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError):
            raise CborError(f"{seconds!r} epoch seconds: not a time in the years 1 to 9999") from None

    def _simple(self, info: int) -> Any:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info not in _FLOATS:
            raise CborError(f"simple value {info}")
        layout = _FLOATS[info]
        return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]

    def _open_items(self) -> list[Any]:
        parts: list[Any] = []
        while self._data[self.at : self.at + 1] != bytes([_BREAK]):
            parts.append(self.item())
        self.at += 1
        return parts

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise CborError(f"additional information {info}")
        return int.from_bytes(self._take(1 << info - 24), "big")

    def _take(self, size: int) -> bytes:
        if self.at + size > len(self._data):
            raise CborError("the bytes end inside an item")
        self.at += size
        return self._data[self.at - size : self.at]
