"""Options that several constructors take: a table's attribute names, a retry policy, a clock."""

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
        partition_key: The partition key's attribute, of type S.
        sort_key: The sort key's attribute, of type S; None if the table has none.
        prefix: Every partition key's value starts with it, so that the items can share a table with others.
        ttl_attribute: The attribute of DynamoDB's time to live.

    Raises:
        ValueError: A name is empty, or one attribute has two roles.
    """

    partition_key: str = "pk"
    sort_key: str | None = "sk"
    prefix: str = ""
    ttl_attribute: str = "expiresAt"

    def __post_init__(self) -> None:
        names = [self.partition_key, self.ttl_attribute, *([] if self.sort_key is None else [self.sort_key])]
        if not all(names) or len(set(names)) < len(names):
            raise ValueError(f"{self!r} needs a different name for each attribute")

    def typed(self, partition: str, sort: str) -> dict[str, dict[str, str]]:
        """Return an item's key in typed values; `sort` is ignored if the table has no sort key."""
        key = {self.partition_key: {"S": self.prefix + partition}}
        if self.sort_key is not None:
            key[self.sort_key] = {"S": sort}
        return key


@dataclass(frozen=True, slots=True)
class Retry:
    """The number of attempts of an operation, and the time for them.

    Args:
        attempts: Number of attempts, the first included.
        timeout: No attempt starts later than this after the first.

    Raises:
        ValueError: `attempts` is less than 1, or the timeout is negative.
    """

    attempts: int = 4
    timeout: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts={self.attempts} must be at least 1")
        if self.timeout < timedelta(0):
            raise ValueError(f"timeout={self.timeout} must not be negative")


class Clock:
    """The time, waiting and randomness of this process; `dynamo_outbox.testing.FakeClock` replaces it in tests."""

    def now(self) -> datetime:
        """Return the time; aware."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Suspend the task."""
        await asyncio.sleep(seconds)

    def random(self) -> float:
        """Return a random number from 0 to 1, for jitter."""
        return random.random()  # noqa: S311  # jitter is no secret

    def __repr__(self) -> str:
        return "Clock()"
