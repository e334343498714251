"""Limits of EventBridge on an event, checked before it is written or published.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal

from ..codec.path_error import PathError
from ..errors import InvalidEventError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .event import Event

__all__ = ["check_numbers"]

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
MAX_NUMBER = Decimal(sys.float_info.max)
_LONG_NUMBER = re.compile("[0-9](?:[eE]|[0-9]{18})")
"""Part of the JSON text of every number that EventBridge may refuse."""


def check_numbers(event: Event) -> None:
    """Refuse an event if EventBridge would refuse a number in its data.

    Raises:
        InvalidEventError: The error names the number's place.
        DecodeError: The data are text that can't be parsed.
    """
    data = event.data
    if _LONG_NUMBER.search(event.data_json) is None:
        return
    try:
        _check(data)
    except PathError as bad:
        raise InvalidEventError(f"data{bad.path}", bad.problem) from None


def _check(value: Any) -> None:
    if isinstance(value, dict):
        members = ((f".{name}", member) for name, member in value.items())
    elif isinstance(value, list):
        members = ((f"[{index}]", member) for index, member in enumerate(value))
    else:
        _check_number(value)
        return
    for step, member in members:
        try:
            _check(member)
        except PathError as bad:
            raise bad.under(step) from None


def _check_number(value: Any) -> None:
    if isinstance(value, Decimal) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise PathError("", "a number beyond the range of JSON readers; send it as text")
    is_integer = isinstance(value, int) or (isinstance(value, Decimal) and str(value).lstrip("-").isdigit())
    if is_integer and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise PathError("", "an integer beyond 64 bits, which EventBridge refuses; send it as text")
