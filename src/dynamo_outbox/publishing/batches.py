"""Splitting events into PutEvents calls, and reading failure codes."""

from __future__ import annotations

from bisect import insort
from collections import deque

from ..aws.throttling import THROTTLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from .bus import Bus

__all__ = [
    "BatchPlan",
    "is_final",
    "is_refused_for_an_entry",
    "is_refused_for_the_caller",
    "thread_count",
]

LOOKAHEAD = 100
"""The number of entries that may be set aside while one call is filled, beside those that wait for an earlier one."""
_FINAL_CODES = frozenset(
    {
        "EntryTooLarge",  # ours, as the next: found before it was sent
        "InvalidEvent",
        "400",  # of a call with this entry alone, as the next; botocore's names of responses without a body
        "413",
        "ParamValidationError",
        "RequestEntityTooLargeException",
    }
)
"""Codes that do not come from the bus."""
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


def is_refused_for_an_entry(code: str, status: int | None, final: Collection[str]) -> bool:
    """Return whether a whole call may have been refused because of one of its entries, whatever AWS calls it.

    Args:
        code, status: The call's error code and HTTP status.
        final: The bus's final codes.
    """
    if is_refused_for_the_caller(code) or code in THROTTLED:
        return False
    return (
        code == "ParamValidationError"
        or status in _CONTENT_STATUSES
        or (status is None and (code in final or code in _FINAL_CODES))
    )


def is_refused_for_the_caller(code: str) -> bool:
    """Return whether a whole call was refused because of the caller: other entries would not help."""
    return code in _REFUSED_CALLERS


def is_final(code: str, status: int | None, final: Collection[str]) -> bool:
    """Return whether an entry would fail again; an unknown code is worth a retry.

    Args:
        code: The entry's, or that of a call with this entry alone.
        status: The HTTP status of such a call. 400 alone says too little: AWS uses it for throttling, too.
        final: The bus's final codes.
    """
    return (
        code in final
        or code in _FINAL_CODES
        or (status in _CONTENT_STATUSES and status != 400 and code not in THROTTLED)
    )


def thread_count(concurrency: int, sizes: Sequence[int], bus: Bus) -> int:
    """Return how many threads to use: with fewer than two calls each, a new connection costs more than it saves."""
    calls = max(len(sizes) // bus.max_entries, sum(sizes) // bus.max_bytes)
    return max(1, min(concurrency, calls // 2))


class BatchPlan:
    """The plan of one publication: the entries of the next call, given the outcome of the earlier ones.

    Entries are sent in input order, except those with an ordering key that must not share a call with an earlier one,
    or that it has no room for: they wait for the next call while others fill this one. Once an entry has failed
    permanently, the later ones with its ordering key are held back.

    Args:
        sizes: Each entry's size in bytes, by position.
        order_keys: Each entry's ordering key, by position, or None. Two entries with one key are never in the same
            call, because EventBridge may fail the first and accept the second; nor in two calls at the same time.
        bus: Its limits of a call.
        attempts: How often an entry may be sent.
        groups: Each entry's event group, by position, or None. Two entries of one group are not sent together either,
            but a failed one does not hold back the others. By default as the ordering keys.

    Attributes:
        held_back: Positions of entries that were held back.
        too_large: Positions of entries that no call has room for.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        order_keys: Sequence[str | None],
        bus: Bus,
        *,
        attempts: int = 1,
        groups: Sequence[str | None] | None = None,
    ) -> None:
        self._sizes = sizes
        self._order_keys = order_keys
        self._groups = order_keys if groups is None else groups
        self._max_entries, self._max_bytes = bus.max_entries, bus.max_bytes
        self._attempts = attempts
        self._blocked: set[str] = set()
        self._lanes = order_keys
        if groups is not None:
            self._lanes = [group if key is None else key for key, group in zip(order_keys, groups, strict=True)]
        self._waiting = list(range(1 - len(sizes), 1))
        """Entries without a lane, and each lane's first that is not sent: negated and sorted, so the last is next."""
        self._behind: dict[str, deque[int]] = {}
        """The other entries of each lane, in order."""
        self._taken: set[int] = set()
        """Entries that were sent, of lanes with later ones."""
        self._alone: set[int] = set()
        names = set(self._lanes)
        if len(names) < len(sizes) and names != {None}:
            self._queue_up()
        self._attempts_left = [attempts] * len(sizes)
        self.held_back: list[int] = []
        self.too_large: list[int] = []

    def _queue_up(self) -> None:
        """Let the entries wait that have another one before them in their lane."""
        first: set[str] = set()
        self._waiting.clear()
        for position, lane in enumerate(self._lanes):
            if lane in first:
                self._behind.setdefault(lane, deque()).append(position)
            else:
                self._waiting.append(-position)
                if lane is not None:
                    first.add(lane)
        self._waiting.reverse()

    def next_batch(self, in_flight: Iterable[Sequence[int]] = ()) -> list[int]:
        """Return the positions of the next call's entries; empty if there is none for now.

        Args:
            in_flight: The batches of unfinished calls: entries with an ordering key of theirs have to wait.
        """
        batch: list[int] = []
        sent = {position for each in in_flight for position in each}
        for position in [each for each in self._taken if each not in sent]:
            self._advance(position)
        keys = {key for each in (self._order_keys, self._groups) for at in sent if (key := each[at]) is not None}
        aside: list[int] = []
        total = 0
        while self._waiting and len(batch) < self._max_entries and len(aside) < LOOKAHEAD:
            position = -self._waiting.pop()
            key, group, size = self._order_keys[position], self._groups[position], self._sizes[position]
            if key in self._blocked:
                self.held_back.append(position)
                self._advance(position)
            elif key in keys or group in keys:
                aside.append(position)
            elif size >= self._max_bytes:
                self.too_large.append(position)
                self.block(position)
                self._advance(position)
            elif batch and self._is_alone(position, batch[-1]):
                self._waiting.append(-position)
                break
            elif total + size >= self._max_bytes:
                if key is None and group is None:  # entries without an ordering key stay in input order
                    self._waiting.append(-position)
                    break
                aside.append(position)
                keys.update(each for each in (key, group) if each is not None)
            else:
                batch.append(position)
                total += size
                if self._behind and self._lanes[position] in self._behind:
                    self._taken.add(position)
                if key is not None:
                    keys.add(key)
                if group is not None:
                    keys.add(group)
        for position in aside:
            insort(self._waiting, -position)
        return batch

    def _advance(self, position: int) -> None:
        """Let the next entry of a lane wait: this one is done."""
        self._taken.discard(position)
        lane = self._lanes[position]
        if lane is not None and lane in self._behind:
            insort(self._waiting, -self._behind[lane].popleft())
            if not self._behind[lane]:
                del self._behind[lane]

    def _is_alone(self, *positions: int) -> bool:
        return not self._alone.isdisjoint(positions)

    def block(self, position: int) -> None:
        """Record that an entry failed permanently: the later ones with its ordering key are held back."""
        key = self._order_keys[position]
        if key is not None:
            self._blocked.add(key)

    def retry(self, positions: Sequence[int]) -> tuple[list[int], list[int]]:
        """Count an attempt of failed entries; return those to put back, and those that have no attempt left."""
        again: list[int] = []
        exhausted: list[int] = []
        for position in positions:
            self._attempts_left[position] -= 1
            (again if self._attempts_left[position] > 0 else exhausted).append(position)
        return again, exhausted

    def retries(self, positions: Iterable[int]) -> int:
        """Return how often an entry has been sent again, the one with the most retries."""
        return max(self._attempts - self._attempts_left[position] for position in positions)

    def separate(self, positions: Sequence[int]) -> None:
        """Send entries again, each in its own call: their call was refused because of one of them."""
        self._alone.update(positions)
        self.put_back(positions)

    def put_back(self, positions: Sequence[int]) -> None:
        """Let entries wait again, before the later ones of their lanes."""
        for position in positions:
            self._taken.discard(position)
            insort(self._waiting, -position)

    def abandon(self) -> list[int]:
        """Give up: return the positions that have not been sent, or would have been sent again."""
        behind = (position for lane in self._behind.values() for position in lane)
        rest = sorted([*(-each for each in self._waiting), *behind])
        self._waiting.clear()
        self._behind.clear()
        return rest
