"""Options of several constructors: a table's attribute names, a retry policy, a clock."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

__all__ = ["Clock", "Retry", "TableKeys"]


@dataclass(frozen=True, slots=True)
class TableKeys:
    """Names of a table's attributes, and a prefix for its partition keys.

    Args:
        partition_key: Name of the partition key attribute, of type S.
        sort_key: Name of the sort key attribute, of type S; None if the table has no sort key.
        prefix: Prefix of every partition key value, so that the items can share a table with others.
        ttl_attribute: Name of DynamoDB's time-to-live attribute.

    Raises:
        ValueError: A name is empty or is given twice.
    """

    partition_key: str = "pk"
    sort_key: str | None = "sk"
    prefix: str = ""
    ttl_attribute: str = "expiresAt"

    def __post_init__(self) -> None:
        names = [self.partition_key, self.ttl_attribute, *([] if self.sort_key is None else [self.sort_key])]
        if not all(names) or len(set(names)) < len(names):
            raise ValueError(f"{self!r} needs a different name for each attribute, none of them empty")

    def typed(self, partition: str, sort: str) -> dict[str, dict[str, str]]:
        """Return an item's key as typed values; `sort` is ignored if the table has no sort key."""
        key = {self.partition_key: {"S": self.prefix + partition}}
        if self.sort_key is not None:
            key[self.sort_key] = {"S": sort}
        return key


@dataclass(frozen=True, slots=True)
class Retry:
    """The number of attempts of an operation, and the time limit for starting them.

    Args:
        attempts: Number of attempts, including the first; at least 1.
        timeout: No attempt starts later than this after the first; not negative.
    """

    attempts: int = 4
    timeout: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts} must be at least 1")
        if self.timeout < timedelta(0):
            raise ValueError(f"timeout={self.timeout} must not be negative")


class Clock:
    """Time, sleep and randomness of this process; replace it by `dynamo_outbox.testing.FakeClock` in tests."""

    def now(self) -> datetime:
        """Return the current time, timezone-aware."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Suspend the task."""
        await asyncio.sleep(seconds)

    def random(self) -> float:
        """Return a random number from 0 to 1, for jitter."""
        return random.random()  # noqa: S311  # for jitter, not for secrets

    def __repr__(self) -> str:
        return "Clock()"
