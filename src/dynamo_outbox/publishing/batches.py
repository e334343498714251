"""Splitting events into PutEvents calls, and reading failure codes.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from ..aws.throttling import THROTTLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

__all__ = [
    "MAX_ENTRIES",
    "MAX_REQUEST_BYTES",
    "BatchPlan",
    "entry_size",
    "is_final",
    "is_refused_for_an_entry",
    "is_refused_for_the_caller",
    "thread_count",
]

MAX_ENTRIES = 10
"""Entries in one call."""
MAX_REQUEST_BYTES = 1_048_576
"""The sum of a call's entries stays below this. It was 256 KB until January 2026."""
LOOKAHEAD = 100
"""The number of entries that may be set aside while one call is filled."""
_TIME_BYTES = 14
"""Size of an entry's Time."""

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
        "400",  # of a call with this entry alone, as the next; botocore's names of responses without a body
        "413",
        "ParamValidationError",
        "RequestEntityTooLargeException",
        "SerializationException",
        "ValidationException",
    }
)
_REFUSED_CALLERS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NoCredentialsError",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
"""Codes of a whole call that every further call would get too."""
_CONTENT_STATUSES = frozenset({400, 406, 411, 413, 414, 415, 422, 431})
"""HTTP's statuses of a request whose content is at fault. https://www.rfc-editor.org/rfc/rfc9110#name-client-error-4xx"""


def is_refused_for_an_entry(code: str, status: int | None) -> bool:
    """Return whether a whole call may have been refused because of one of its entries, whatever AWS calls it."""
    if is_refused_for_the_caller(code) or code in THROTTLED:
        return False
    return code == "ParamValidationError" or status in _CONTENT_STATUSES or (status is None and code in _FINAL_CODES)


def is_refused_for_the_caller(code: str) -> bool:
    """Return whether a whole call was refused because of the caller: other entries would not help."""
    return code in _REFUSED_CALLERS


def is_final(code: str, status: int | None = None) -> bool:
    """Return whether an entry would fail again; an unknown code is worth a retry.

    Args:
        code: The entry's, or that of a call with this entry alone.
        status: The HTTP status of such a call. 400 alone says too little: AWS uses it for throttling, too.
    """
    return code in _FINAL_CODES or (status in _CONTENT_STATUSES and status != 400 and code not in THROTTLED)


def entry_size(entry: Mapping[str, Any]) -> int:
    """Return an entry's size by AWS's formula, in bytes."""
    text = f"{entry.get('Source', '')}{entry.get('DetailType', '')}{entry.get('Detail', '')}"
    size = len(text) if text.isascii() else len(text.encode())
    if "Resources" in entry:
        size += sum([len(resource.encode()) for resource in entry["Resources"]])
    return size + _TIME_BYTES if entry.get("Time") is not None else size


def thread_count(concurrency: int, sizes: Sequence[int]) -> int:
    """Return how many threads to use: with fewer than two calls each, a new connection costs more than it saves."""
    calls = max(len(sizes) // MAX_ENTRIES, sum(sizes) // MAX_REQUEST_BYTES)
    return max(1, min(concurrency, calls // 2))


class BatchPlan:
    """The plan of one publication: the entries of the next call, given the outcome of the earlier ones.

    Entries are sent in input order, except those with an ordering key that must not share a call with an earlier one,
    or that it has no room for: they are set aside for the next call while others fill this one. Retries go first.
    Once an entry has failed permanently, the later ones with its ordering key are held back.

    Args:
        sizes: Each entry's size in bytes, by position.
        order_keys: Each entry's ordering key, by position, or None. Two entries with one key are never in the same
            call, because EventBridge may fail the first and accept the second; nor in two calls at the same time.
        attempts: How often an entry may be sent.

    Attributes:
        held_back: Positions of entries that were held back.
        too_large: Positions of entries that no call has room for.
    """

    def __init__(self, sizes: Sequence[int], order_keys: Sequence[str | None], *, attempts: int = 1) -> None:
        self._sizes = sizes
        self._order_keys = order_keys
        self._blocked: set[str] = set()
        self._waiting = deque(range(len(sizes)))
        self._alone: set[int] = set()
        self._attempts_left = [attempts] * len(sizes)
        self.held_back: list[int] = []
        self.too_large: list[int] = []

    def next_batch(self, in_flight: Iterable[Sequence[int]] = ()) -> list[int]:
        """Return the positions of the next call's entries; empty if there is none for now.

        Args:
            in_flight: The batches of unfinished calls: entries with an ordering key of theirs have to wait.
        """
        batch: list[int] = []
        keys = {key for each in in_flight for position in each if (key := self._order_keys[position]) is not None}
        aside: list[int] = []
        total = 0
        while self._waiting and len(batch) < MAX_ENTRIES and len(aside) < LOOKAHEAD:
            position = self._waiting.popleft()
            key, size = self._order_keys[position], self._sizes[position]
            if key in self._blocked:
                self.held_back.append(position)
            elif key in keys:
                aside.append(position)
            elif size >= MAX_REQUEST_BYTES:
                self.too_large.append(position)
                self.block(position)
            elif batch and self._is_alone(position, batch[-1]):
                self._waiting.appendleft(position)
                break
            elif total + size >= MAX_REQUEST_BYTES:
                if key is None:  # entries without an ordering key stay in input order
                    self._waiting.appendleft(position)
                    break
                aside.append(position)
                keys.add(key)
            else:
                batch.append(position)
                total += size
                if key is not None:
                    keys.add(key)
        self._waiting.extendleft(reversed(aside))
        return batch

    def _is_alone(self, *positions: int) -> bool:
        return not self._alone.isdisjoint(positions)

    def block(self, position: int) -> None:
        """Record that an entry failed permanently: the later ones with its ordering key are held back."""
        key = self._order_keys[position]
        if key is not None:
            self._blocked.add(key)

    def retry(self, positions: Sequence[int]) -> list[int]:
        """Send failed entries again; return those that have no attempt left."""
        again: list[int] = []
        exhausted: list[int] = []
        for position in positions:
            self._attempts_left[position] -= 1
            (again if self._attempts_left[position] > 0 else exhausted).append(position)
        self._put_back(again)
        return exhausted

    def separate(self, positions: Sequence[int]) -> None:
        """Send entries again, each in its own call: their call was refused because of one of them."""
        self._alone.update(positions)
        self._put_back(positions)

    def _put_back(self, positions: Sequence[int]) -> None:
        """Put entries in front, but none before an earlier one that `next_batch` has set aside."""
        front = list(islice(self._waiting, LOOKAHEAD))
        for _ in front:
            self._waiting.popleft()
        self._waiting.extendleft(sorted([*front, *positions], reverse=True))

    def abandon(self) -> list[int]:
        """Give up: return the positions that have not been sent, or would have been sent again."""
        rest = list(self._waiting)
        self._waiting.clear()
        return rest
