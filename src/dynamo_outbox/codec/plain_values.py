"""Item values in JSON's own types, for readers that want neither `Decimal` nor sets."""

from __future__ import annotations

from base64 import b64encode
from decimal import Decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return a decoded value in JSON's types.

    Numbers become ``int``, or ``float`` if they have a fraction; sets become sorted lists; binary becomes base64 text.
    Limit: a fraction with more than about 15 digits is rounded, as JSON's readers round it.
    """
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    if isinstance(value, (set, frozenset)):
        return [plain(member) for member in sorted(value)]
    return b64encode(value).decode() if isinstance(value, bytes) else value
