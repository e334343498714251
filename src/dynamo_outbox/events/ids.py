"""Event ids, as functions of what they are made from. RFC 9562: https://www.rfc-editor.org/rfc/rfc9562"""

from __future__ import annotations

__all__ = ["uuid7", "uuid8"]


def uuid7(unix_ns: int, random: bytes) -> str:
    """A time-ordered UUID: 48 bits of milliseconds, 12 bits of a fraction of one (method 3), 62 random bits.

    Args:
        unix_ns: Nanoseconds since 1970.
        random: At least 8 random bytes.
    """
    milliseconds, rest = divmod(unix_ns, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    return _layout(milliseconds & 0xFFFF_FFFF_FFFF, 7, fraction, int.from_bytes(random[:8]))


def uuid8(digest: bytes) -> str:
    """A UUID that is a function of its source.

    Args:
        digest: At least 16 bytes of a cryptographic hash of the source.
    """
    return _layout(int.from_bytes(digest[:6]), 8, int.from_bytes(digest[6:8]) & 0xFFF, int.from_bytes(digest[8:16]))


def _layout(high: int, version: int, middle: int, low: int) -> str:
    variant = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
    text = f"{(high << 80) | (version << 76) | (middle << 64) | variant:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
