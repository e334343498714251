"""How events are cut into PutEvents calls, and how an entry's fate is read.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
"""

from __future__ import annotations

import re
import sys
from collections import deque
from decimal import Decimal
from itertools import islice

from ..errors import InvalidEventError
from ..events.bus_event import envelope_detail
from ..codec.json_text import BadJsonError, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ..events.event import Event

__all__ = ["MAX_ENTRIES", "MAX_REQUEST_BYTES", "Delivery", "check_numbers", "check_sendable", "entry_size", "is_final"]

MAX_ENTRIES = 10
"""Entries in one call."""
MAX_REQUEST_BYTES = 1_048_576
"""The sum of a call's entries stays below this. It was 256 KB until January 2026."""
LOOKAHEAD = 100
"""How many entries may be set aside while one call is filled."""
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
MAX_NUMBER = Decimal(sys.float_info.max)
_LONG_NUMBER = re.compile("[0-9](?:[eE]|[0-9]{18})")
"""What the JSON text of every number has that EventBridge may refuse."""
_FRAME_BYTES = 1024
"""More than all of an event's form but its texts, with every number of its own."""
_TIME_BYTES = 14
"""What an entry's Time counts."""

_FINAL_CODES = frozenset(
    {
        "AccessDeniedException",
        "InvalidAccountIdException",
        "InvalidArgument",
        "MalformedDetail",
        "RedactionFailure",
        "NotAuthorizedForSourceException",
        "NotAuthorizedForDetailTypeException",
        "EntryTooLarge",  # ours, as the next: found before it was sent
        "InvalidEvent",
        "ValidationException",  # of a call with this entry alone, as the next
        "ParamValidationError",
        "RequestEntityTooLargeException",
    }
)


_REFUSED_REQUESTS = frozenset({"ValidationException", "ParamValidationError", "RequestEntityTooLargeException"})
"""Codes of a whole call that one of its entries can be the cause of."""
_REFUSED_CALLERS = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "NoCredentialsError",
        "NotAuthorized",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
    }
)
"""Codes of a whole call that every further call would meet too."""


def is_refused_for_an_entry(code: str) -> bool:
    """Whether a whole call may have been refused because of one of its entries."""
    return code in _REFUSED_REQUESTS


def is_refused_for_the_caller(code: str) -> bool:
    """Whether a whole call was refused for a reason that no other entry could mend."""
    return code in _REFUSED_CALLERS


def is_final(code: str) -> bool:
    """Whether an entry that failed so would fail so again. What isn't known to be final is worth a retry."""
    return code in _FINAL_CODES


def entry_size(entry: Mapping[str, Any]) -> int:
    """An entry's size by AWS's formula, in bytes."""
    text = f"{entry.get('Source', '')}{entry.get('DetailType', '')}{entry.get('Detail', '')}"
    size = len(text) if text.isascii() else len(text.encode())
    if "Resources" in entry:
        size += sum([len(resource.encode()) for resource in entry["Resources"]])
    return size + _TIME_BYTES if entry.get("Time") is not None else size


def check_sendable(event: Event) -> None:
    """Refuse an event that EventBridge would never take, neither from the relay nor through a pipe.

    Raises:
        InvalidEventError: An integer beyond 64 bits, or 1 MB once rendered.
    """
    check_numbers(event)
    if _size_at_most(event) < MAX_REQUEST_BYTES:
        return
    detail = envelope_detail(event)
    rendered = {"Source": event.source or "", "DetailType": event.type, "Detail": detail, "Time": event.time}
    escaped = len(dumps(event.data_json).encode()) - len(event.data_json.encode())  # a pipe passes the data as text
    size = entry_size(rendered) + escaped
    if size >= MAX_REQUEST_BYTES:
        raise InvalidEventError(
            "data", f"{size:,} bytes once rendered, and EventBridge takes {MAX_REQUEST_BYTES - 1:,}"
        )


def _size_at_most(event: Event) -> int:
    """More than any form of an event can have, in bytes: no character has more than 12 once it is escaped and encoded,
    and none is rendered more than twice."""
    texts = (event.id, event.type, event.source, event.aggregate_type, event.aggregate_id)
    _, *more = event._told()
    length = len(event.data_json) + sum([len(text) for text in (*texts, *more) if text is not None])
    return _FRAME_BYTES + 24 * length


def check_numbers(event: Event) -> None:
    """Refuse an event with a number in its data that EventBridge refuses; the error names its place.

    Raises:
        InvalidEventError: There is one.
        DecodeError: The data are text that can't be read.
    """
    data = event.data
    if _LONG_NUMBER.search(event.data_json) is None:
        return
    try:
        _check_integers(data)
    except BadJsonError as bad:
        raise InvalidEventError(f"data{bad.path}", bad.problem) from None


def _check_integers(value: Any) -> None:
    if isinstance(value, dict):
        _check_members(value.items(), ".{}")
    elif isinstance(value, list):
        _check_members(enumerate(value), "[{}]")
    elif isinstance(value, Decimal) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise BadJsonError("", "a number beyond what JSON's readers hold; send it as text")
    elif _is_integer(value) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise BadJsonError("", "an integer beyond 64 bits, which EventBridge refuses; send it as text")


def _check_members(members: Iterable[tuple[str | int, Any]], step: str) -> None:
    for name, member in members:
        try:
            _check_integers(member)
        except BadJsonError as bad:
            raise bad.under(step.format(name)) from None


def _is_integer(value: Any) -> bool:
    """Whether a number's JSON text has neither a point nor an exponent."""
    return isinstance(value, int) or (isinstance(value, Decimal) and str(value).lstrip("-").isdigit())


def width(concurrency: int, sizes: Sequence[int]) -> int:
    """How many calls to have under way at once: at least two for each, or a new connection costs more than it saves."""
    calls = max(len(sizes) // MAX_ENTRIES, sum(sizes) // MAX_REQUEST_BYTES)
    return max(1, min(concurrency, calls // 2))


class Delivery:
    """The plan of one publication: which entries go into the next call, given how the earlier ones fared.

    Entries go out in their order, but for those that must not share a call with one before them: these wait for the
    next call while others fill this one. What is to be tried again goes first. Once an entry has failed for good, those
    behind it with its order key are held back.

    Args:
        sizes: Each entry's size in bytes, by position.
        order_keys: Each entry's order key, by position; None where it follows nothing. A call never holds two
            entries of one key, because EventBridge may fail the first and take the second; nor do two at once.
        retries: How often an entry may be tried again.
    """

    def __init__(self, sizes: Sequence[int], order_keys: Sequence[str | None], *, retries: int = 0) -> None:
        self._sizes = sizes
        self._order_keys = order_keys
        self._blocked: set[str] = set()
        self._waiting = deque(range(len(sizes)))
        self._alone: set[int] = set()
        self._tries_left = [retries] * len(sizes)
        self.held_back: list[int] = []
        self.too_large: list[int] = []

    def next_batch(self, under_way: Iterable[Sequence[int]] = ()) -> list[int]:
        """The positions of the next call's entries; empty when all have had their turn.

        Args:
            under_way: The batches of calls that aren't over: what has an order key of theirs waits, and may do so also
                where the next call is empty.
        """
        batch: list[int] = []
        keys = {key for each in under_way for position in each if (key := self._order_keys[position]) is not None}
        aside: list[int] = []
        total = 0
        while self._waiting and len(batch) < MAX_ENTRIES and len(aside) < LOOKAHEAD:
            position = self._waiting.popleft()
            key, size = self._order_keys[position], self._sizes[position]
            if key in self._blocked:
                self.held_back.append(position)
            elif key in keys:
                aside.append(position)  # it waits for the next call, and others may fill this one
            elif size >= MAX_REQUEST_BYTES:
                self.too_large.append(position)
                self.block(position)
            elif batch and (total + size >= MAX_REQUEST_BYTES or position in self._alone or batch[-1] in self._alone):
                self._waiting.appendleft(position)
                break
            else:
                batch.append(position)
                total += size
                if key is not None:
                    keys.add(key)
        self._waiting.extendleft(reversed(aside))
        return batch

    def block(self, position: int) -> None:
        """Say that an entry failed for good: what follows it under its order key is held back."""
        key = self._order_keys[position]
        if key is not None:
            self._blocked.add(key)

    def retry(self, positions: Sequence[int]) -> list[int]:
        """Say that entries failed but may be tried again; returns those that have been tried often enough."""
        again = [position for position in positions if self._tries_left[position] > 0]
        for position in again:
            self._tries_left[position] -= 1
        if again:
            self._put_back(again)
        return [position for position in positions if position not in again]

    def separate(self, positions: Sequence[int]) -> None:
        """Send entries again, each in a call of its own: the call that held them all was refused for one of them."""
        self._alone.update(positions)
        self._put_back(positions)

    def _put_back(self, positions: Sequence[int]) -> None:
        """In front of what waits, but no entry before an earlier one: `next_batch` may have set some aside."""
        front = list(islice(self._waiting, LOOKAHEAD))
        for _ in front:
            self._waiting.popleft()
        self._waiting.extendleft(sorted([*front, *positions], reverse=True))

    def abandon(self) -> list[int]:
        """Give up: the positions that would have had another turn."""
        rest = list(self._waiting)
        self._waiting.clear()
        return rest
