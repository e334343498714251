"""Stream in memory, read as Lambda's event source mapping reads it.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from random import Random

__all__ = ["Shard", "Stream"]

KEPT = timedelta(hours=24)
"""The time for which a stream keeps a record."""


def number_of(record: dict[str, Any]) -> str:
    number: str = record["dynamodb"]["SequenceNumber"]
    return number


class Shard:
    """Records in order, with a checkpoint.

    Attributes:
        pending: The records after the checkpoint.
        passed: The records before it, including those dropped by age.
    """

    def __init__(self, records: Sequence[dict[str, Any]], parent: Shard | None = None) -> None:
        self.pending = list(records)
        self.passed: list[dict[str, Any]] = []
        self.parent = parent
        self._most: int | None = None

    @property
    def is_open(self) -> bool:
        """Return whether there are records to read; a child shard opens when its parent is drained."""
        return bool(self.pending) and (self.parent is None or not self.parent.pending)

    def drop_old(self, now: datetime) -> None:
        """Drop the records that are older than the retention time."""
        while self.pending and now.timestamp() - written_at(self.pending[0]) >= KEPT.total_seconds():
            self.passed.append(self.pending.pop(0))

    def deliver(self, handler: Callable[[Any], Any], size: int) -> tuple[int, int]:
        """Invoke a handler with the next batch, and move the checkpoint according to its response.

        After an exception the batch is halved until one succeeds, and likewise after a reported failure.

        Args:
            handler: The handler; any exception from it fails the whole batch.
            size: The maximum batch size.

        Returns:
            The number of records delivered, and the number by which the checkpoint moved.
        """
        batch = self.pending[: size if self._most is None else min(size, self._most)]
        try:
            answer = handler({"Records": batch})
        except BaseException as failed:
            if isinstance(failed, (AssertionError, KeyboardInterrupt)):
                raise
            self._most = max(1, len(batch) // 2)
            return len(batch), 0
        done = len(batch) if not answer["batchItemFailures"] else _lowest_failed(batch, answer["batchItemFailures"])
        self._most = None if done == len(batch) else max(1, (len(batch) - done + 1) // 2)
        self.passed += self.pending[:done]
        del self.pending[:done]
        return len(batch), done


def _lowest_failed(batch: Sequence[dict[str, Any]], failures: Sequence[dict[str, str]]) -> int:
    """Return the position of the lowest reported number; an unknown number fails the batch."""
    numbers = [number_of(record) for record in batch]
    reported = [failure["itemIdentifier"] for failure in failures]
    return min(numbers.index(each) for each in reported) if set(reported) <= set(numbers) else 0


def written_at(record: dict[str, Any]) -> float:
    seconds: float = record["dynamodb"]["ApproximateCreationDateTime"]
    return seconds


class Stream:
    """A shard that may split into two children while it is read.

    Args:
        records: All records, in the order in which a single shard would show them.
        split_at: The index of the first record of the children; None for no split.
        side: Returns the child of a record: 0 or 1.
    """

    def __init__(
        self, records: Sequence[dict[str, Any]], split_at: int | None, side: Callable[[dict[str, Any]], int]
    ) -> None:
        parent = Shard(records[:split_at])
        later = [] if split_at is None else records[split_at:]
        children = [Shard([each for each in later if side(each) == child], parent) for child in (0, 1)]
        self.shards = [parent, *children]

    @property
    def is_drained(self) -> bool:
        return not any(shard.pending for shard in self.shards)

    @property
    def passed(self) -> list[dict[str, Any]]:
        return [record for shard in self.shards for record in shard.passed]

    def open_shard(self, chance: Random) -> Shard | None:
        """Return a random readable shard, or None."""
        shards = [shard for shard in self.shards if shard.is_open]
        return chance.choice(shards) if shards else None
