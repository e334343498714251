"""Ids and keys as pure functions. RFC 9562: https://www.rfc-editor.org/rfc/rfc9562"""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["joined", "uuid7", "uuid7_time", "uuid8"]


def uuid7(unix_ns: int, random: bytes) -> str:
    """Return a time-ordered UUID: 48 bits of milliseconds, 12 bits of their fraction (method 3), 62 random bits.

    `unix_ns` is in nanoseconds since 1970; `random` has at least 8 bytes.
    """
    milliseconds, rest = divmod(unix_ns, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    return _layout(milliseconds & 0xFFFF_FFFF_FFFF, 7, fraction, int.from_bytes(random[:8]))


_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def uuid7_time(text: str) -> datetime | None:
    """Return the time in a UUIDv7, to the millisecond; None if the text is not one."""
    found = _UUID7.fullmatch(text)
    if found is None:
        return None
    try:
        return datetime.fromtimestamp(int(found[1] + found[2], 16) / 1000, UTC)
    except (OverflowError, ValueError):  # beyond the year 9999
        return None


def uuid8(digest: bytes) -> str:
    """Return the UUID of a source, given at least 16 bytes of the source's cryptographic hash."""
    return _layout(int.from_bytes(digest[:6]), 8, int.from_bytes(digest[6:8]) & 0xFFF, int.from_bytes(digest[8:16]))


def joined(*parts: str) -> str:
    """Return a key made of parts; no two sequences of parts give the same key."""
    return "#".join([part.replace("%", "%25").replace("#", "%23") for part in parts])


def _layout(high: int, version: int, middle: int, low: int) -> str:
    variant = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
    text = f"{(high << 80) | (version << 76) | (middle << 64) | variant:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
