"""Where stream records wait that can't be published: `ParkingTable`, which keeps their order, and `ParkingQueue`."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.clients import LOST_ANSWER, LazyClient
from ..writing.actions import CONTENTION
from ..aws.backoff import full_jitter
from .parked_record import (
    HEAD_PARTITIONS,
    ParkedRecord,
    ParkingPlace,
    head_key,
    message_of,
    parking_transactions,
    record_in_message,
    record_partition,
    records_in_items,
    removal_transactions,
)
from ..errors import ParkingError
from ..aws.functions import remaining_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .rules import Reason
    from ..typing import Clock, ParkingClient, QueueClient

__all__ = ["ParkedHead", "Parking", "ParkingQueue", "ParkingTable", "RedriveFailure", "RedriveResult"]

log = logging.getLogger(__name__)

MAX_BATCH_KEYS = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""
MAX_MESSAGE_BYTES = 1024 * 1024
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""
MAX_MESSAGES = 10
ATTEMPTS = 5
"""How often a request is made that contention or a throttle refuses."""
STILL_IN_USE = frozenset({"ConditionalCheckFailedException", "TransactionConflictException"})
"""Why a head is not removed: it counts something, or is about to."""
WAVE = 100
"""How many parked records are sent together."""
MARGIN = timedelta(milliseconds=300)
"""What is kept of Lambda's remaining time while parking."""
REDRIVE_MARGIN = timedelta(seconds=3)
"""What is kept of it for removing what was published last, and for answering."""
PARKING_FAULTS = (BotoCoreError, ClientError, ParkingError, *LOST_ANSWER)
"""What keeps a record from being parked; it is reported as failed then."""


@dataclass(frozen=True, slots=True)
class RedriveFailure:
    """A parked record that could not be published again; what follows it under its order key was not tried.

    `code`, `message` and `path` are why, this time.
    """

    order_key: str
    sequence_number: str | None
    code: str
    message: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class RedriveResult:
    """What a redrive did.

    Attributes:
        sent: How many records are on the bus now, or make no event any more, and are parked no longer.
        failures: What could not be published; at most one per order key of a table.
        finished: Whether everything had its turn; else `limit` or Lambda's time ended it, and another run goes on.
    """

    sent: int
    failures: tuple[RedriveFailure, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class ParkedHead:
    """What is parked under one order key.

    Attributes:
        order_key: The order key.
        parked: How many records.
        first: The one that the others wait for; why it can't be read; or None where it was removed meanwhile.
    """

    order_key: str
    parked: int
    first: ParkedRecord | ParkingError | None


class Redriver(Protocol):
    """What sends parked records: an `OutboxRelay` or a `ChangeProcessor`."""

    def _publish_again(self, records: Sequence[ParkedRecord], context: object) -> list[Reason | None]: ...


class Parking(Protocol):
    """What an `OutboxRelay` or a `ChangeProcessor` asks of where it parks."""

    clock: Clock
    in_order: bool

    def waiting(self, order_keys: Iterable[str]) -> set[str]:
        """Which of these order keys have something parked."""
        ...

    def park(self, records: Sequence[ParkedRecord], context: object) -> int:
        """Keep records, in their order; returns how many, from the first on, are kept."""
        ...


class ParkingTable:
    """A DynamoDB table in which records wait, each order key's in order. Its key: a partition and a sort key, of text.

    Args:
        table: The table's name.
        client: A low-level DynamoDB client; by default one is made on first use.
        in_order: Whether what follows a parked record of an aggregate (in CDC mode: of an item) is parked with it.
        partition_key, sort_key, key_prefix: What the key attributes are called, and what partition keys begin with: one
            prefix for each processor that shares the table.
        clock: Tells the time.
        sleep, draw: Wait for seconds, and draw a number from 0 to 1: for the jitter between attempts.

    A record and the count of what is parked under its order key are written, and removed, in one transaction. So where
    relay and redrive run at once, none of them overtakes the other. Limit: order keys are compared as far as one shard
    shows its records to one invocation at a time: parallelization factor 1. Nothing here expires.
    """

    def __init__(
        self,
        table: str,
        *,
        client: ParkingClient | None = None,
        in_order: bool = True,
        partition_key: str = "pk",
        sort_key: str = "sk",
        key_prefix: str = "",
        clock: Clock = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not table:
            raise ValueError("table needs a name")
        if partition_key == sort_key:
            raise ValueError(f"partition_key and sort_key are two attributes, not {partition_key!r} twice")
        self.table = table
        self.in_order = in_order
        self.clock = clock
        self._place = ParkingPlace(table, partition_key, sort_key, key_prefix)
        self._client: LazyClient[ParkingClient] = LazyClient("dynamodb", client)
        self._sleep = sleep
        self._draw = draw

    def waiting(self, order_keys: Iterable[str]) -> set[str]:
        """Which of these order keys have something parked: one read per 100 of them, strongly consistent.

        Raises:
            ClientError, BotoCoreError: It can't be told.
        """
        if not self.in_order:
            return set()
        keys = [head_key(order_key, self._place) for order_key in dict.fromkeys(order_keys)]
        heads = [
            head for start in range(0, len(keys), MAX_BATCH_KEYS) for head in self._read(keys[start:][:MAX_BATCH_KEYS])
        ]
        return {head["orderKey"]["S"] for head in heads if int(head["parked"]["N"]) > 0}

    def _read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {self.table: {"Keys": keys, "ConsistentRead": True}}
        attempt = 0
        while asked:
            answer = self._client().batch_get_item(RequestItems=asked)
            found += answer["Responses"].get(self.table, [])
            asked = answer.get("UnprocessedKeys") or {}
            if asked:
                attempt += 1
                if attempt == ATTEMPTS:
                    raise ParkingError(None, "can't be read about: DynamoDB left keys unprocessed again and again")
                self._wait(attempt)
        return found

    def park(self, records: Sequence[ParkedRecord], context: object = None) -> int:
        """Keep records, in their order; one that is kept already is kept once.

        Args:
            records: What to keep.
            context: Lambda's context: when its time is nearly over, the rest is left.

        Returns:
            How many of them, from the first on, are kept; the log says what refused the next.
        """
        kept = 0
        if not self.in_order:
            records = [record.alone() for record in records]
        transactions = parking_transactions(records, self._place)
        while not _is_over(context, MARGIN) or not kept:
            try:
                chunk = next(transactions, None)
                if chunk is None:
                    break
                self._commit(*chunk)
            except PARKING_FAULTS:
                log.exception("%d records can't be parked in %s", len(records) - kept, self.table)
                break
            kept += len(chunk[0])
        return kept

    def redrive(self, processor: Redriver, *, context: object = None, limit: int | None = None) -> RedriveResult:
        """Publish what is parked, under the same event ids, each order key's in order, and remove it.

        Args:
            processor: The `OutboxRelay` or `ChangeProcessor` whose kind parked it; its code, mended perhaps, reads and
                maps each record again.
            context: Lambda's context: it ends in time for the function to answer.
            limit: How many records to try at most.

        An order key stops at its first failure, and the others go on. It may run while the relay does, twice at once,
        and be killed anywhere: what was published and not yet removed is published again, under the same ids.

        Raises:
            ClientError, BotoCoreError, ParkingError: The parking table can't be read or written.
        """
        order_keys = deque(self._order_keys())
        left = limit
        sent = 0
        failures: list[RedriveFailure] = []
        while order_keys and left != 0 and not _is_over(context, REDRIVE_MARGIN):
            most = WAVE if left is None else min(WAVE, left)
            wave, unfinished, unreadable = self._wave(order_keys, most)
            failures += unreadable
            left = None if left is None else left - len(wave)
            reasons = processor._publish_again(wave, context)
            done = [record for record, reason in zip(wave, reasons, strict=True) if reason is None]
            for chunk in removal_transactions(done, self._place):
                self._commit(*chunk)
            sent += len(done)
            stopped = _first_failures(wave, reasons)
            failures += stopped.values()
            order_keys.extendleft(key for key in unfinished if key not in stopped)
            self._forget(record.order_key for record in done)
        finished = not order_keys and all(failure.code != "NotAttempted" for failure in failures)
        return RedriveResult(sent, tuple(failures), finished)

    def _wave(self, order_keys: deque[str], most: int) -> tuple[list[ParkedRecord], list[str], list[RedriveFailure]]:
        """The next records, in order under each key; the keys that may have more; what can't be read."""
        wave: list[ParkedRecord] = []
        unfinished: list[str] = []
        unreadable: list[RedriveFailure] = []
        while order_keys and len(wave) < most:
            order_key = order_keys.popleft()
            room = most - len(wave)
            records = records_in_items(self._query(record_partition(order_key)), self._place)
            try:
                found = list(islice(records, room))
            except ParkingError as error:
                unreadable.append(_unreadable(order_key, error))
                continue
            if not found:
                self._forget([order_key])
            elif len(found) == room:
                unfinished.append(order_key)
            wave += found
        return wave, unfinished, unreadable

    def heads(self) -> Iterator[ParkedHead]:
        """What is parked, by order key: how many records, and the first. Each is as it was when it was read.

        Raises:
            ClientError, BotoCoreError: The parking table can't be read.
        """
        for order_key, parked in self._counts():
            if parked:
                yield ParkedHead(order_key, parked, self._first(order_key))

    def _first(self, order_key: str) -> ParkedRecord | ParkingError | None:
        try:
            return next(records_in_items(self._query(record_partition(order_key)), self._place), None)
        except ParkingError as error:
            return error

    def _order_keys(self) -> Iterator[str]:
        return (order_key for order_key, _ in self._counts())

    def _counts(self) -> Iterator[tuple[str, int]]:
        for partition in HEAD_PARTITIONS:
            for head in self._query(f"heads#{partition}"):
                yield head["orderKey"]["S"], int(head["parked"]["N"])

    def _query(self, partition: str) -> Iterator[dict[str, Any]]:
        """The items of a partition, in order, a page at a time."""
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": self._place.partition_key},
            "ExpressionAttributeValues": {":pk": {"S": self._place.key_prefix + partition}},
            "ConsistentRead": True,
        }
        while True:
            page = self._client().query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _forget(self, order_keys: Iterable[str]) -> None:
        """Remove the heads that count nothing; where one counts again by now, it stays."""
        for order_key in dict.fromkeys(order_keys):
            try:
                self._client().delete_item(
                    TableName=self.table,
                    Key=head_key(order_key, self._place),
                    ConditionExpression="#parked = :none",
                    ExpressionAttributeNames={"#parked": "parked"},
                    ExpressionAttributeValues={":none": {"N": "0"}},
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in STILL_IN_USE:
                    raise

    def _commit(self, records: list[ParkedRecord], actions: list[dict[str, Any]]) -> None:
        """Make one transaction of `parking_transactions` or `removal_transactions`, less what is done already."""
        pack = parking_transactions if "Put" in actions[0] else removal_transactions
        attempt = 0
        while actions:
            try:
                self._client().transact_write_items(TransactItems=actions)
            except ClientError as error:
                codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", ())]
                attempt += 1
                if not codes or attempt == ATTEMPTS:
                    raise
                done = _done_already(codes)
                if not done and not CONTENTION.issuperset(code for code in codes if code != "None"):
                    raise
                firsts = [position for position, action in enumerate(actions) if _is_first(action)]
                left = [record for record, first in zip(records, firsts, strict=True) if first not in done]
                if len(left) == len(records):
                    self._wait(attempt)
                records = left
                actions = next(pack(records, self._place))[1] if records else []
            else:
                return

    def _wait(self, attempt: int) -> None:
        self._sleep(full_jitter(attempt, draw=self._draw()))


def _is_first(action: dict[str, Any]) -> bool:
    """Whether an action is the conditional one of a record: it comes first, and there is one per record."""
    return any("ConditionExpression" in request for request in action.values())


def _done_already(codes: Sequence[str]) -> set[int]:
    """The positions of the records that were parked, or removed, before."""
    return {position for position, code in enumerate(codes) if code == "ConditionalCheckFailed"}


def _first_failures(records: Sequence[ParkedRecord], reasons: Sequence[Reason | None]) -> dict[str, RedriveFailure]:
    failures: dict[str, RedriveFailure] = {}
    for record, reason in zip(records, reasons, strict=True):
        if reason is not None:
            failures.setdefault(record.order_key, _failure(record, reason))
    return failures


def _failure(record: ParkedRecord, reason: Reason) -> RedriveFailure:
    return RedriveFailure(record.order_key, record.sequence_number, *reason)


def _unreadable(order_key: str, error: ParkingError) -> RedriveFailure:
    return RedriveFailure(order_key, error.sequence_number, type(error).__name__, str(error))


def _is_over(context: object, margin: timedelta) -> bool:
    remaining = remaining_time(context)
    return remaining is not None and remaining <= margin


class ParkingQueue:
    """An SQS queue in which records wait, in no order: a queue can't be asked whether an aggregate has something in it.

    Args:
        queue_url: The URL of a standard queue, with a retention of 14 days.
        client: A low-level SQS client; by default one is made on first use.
        clock: Tells the time.

    A record whose message would exceed SQS's 1 MiB even compressed can't be parked here, and stays reported as failed.
    A record that is delivered again may lie in the queue twice; its events have the same ids.
    """

    in_order = False

    def __init__(
        self,
        queue_url: str,
        *,
        client: QueueClient | None = None,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        if not queue_url or queue_url.endswith(".fifo"):
            raise ValueError(f"queue_url={queue_url!r} has to be the URL of a standard queue")
        self.queue_url = queue_url
        self.clock = clock
        self._client: LazyClient[QueueClient] = LazyClient("sqs", client)

    def waiting(self, order_keys: Iterable[str]) -> set[str]:  # noqa: ARG002  # a queue can't tell
        """Nothing: a queue keeps no order."""
        return set()

    def park(self, records: Sequence[ParkedRecord], context: object = None) -> int:
        """Send records to the queue; arguments and what is returned are those of `ParkingTable.park`."""
        kept = 0
        for record in records:
            if kept and _is_over(context, MARGIN):
                break
            try:
                self._client().send_message(QueueUrl=self.queue_url, MessageBody=message_of(record, MAX_MESSAGE_BYTES))
            except PARKING_FAULTS:
                log.exception("%d records can't be parked in %s", len(records) - kept, self.queue_url)
                break
            kept += 1
        return kept

    def redrive(self, processor: Redriver, *, context: object = None, limit: int | None = None) -> RedriveResult:
        """Publish what is parked, under the same event ids, and remove it; arguments as for `ParkingTable.redrive`.

        What fails stays in the queue and comes up again when its visibility timeout is over; the run ends where it
        meets a message for the second time, or an empty queue.

        Raises:
            ClientError, BotoCoreError: The queue can't be read or written.
        """
        seen: set[str] = set()
        failures: list[RedriveFailure] = []
        sent = 0
        while len(seen) != limit and not _is_over(context, REDRIVE_MARGIN):
            most = MAX_MESSAGES if limit is None else min(MAX_MESSAGES, limit - len(seen))
            answer = self._client().receive_message(
                QueueUrl=self.queue_url, MaxNumberOfMessages=most, WaitTimeSeconds=1
            )
            messages = [message for message in answer.get("Messages", ()) if message["MessageId"] not in seen]
            if not messages:
                return RedriveResult(sent, tuple(failures), finished=True)
            seen.update(message["MessageId"] for message in messages)
            for message in messages:
                failure = self._redrive_message(message["Body"], processor, context)
                if failure is None:
                    self._client().delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                    sent += 1
                else:
                    failures.append(failure)
        return RedriveResult(sent, tuple(failures), finished=False)

    def _redrive_message(self, body: str, processor: Redriver, context: object) -> RedriveFailure | None:
        try:
            record = record_in_message(body)
        except ParkingError as error:
            return _unreadable("", error)
        (reason,) = processor._publish_again([record], context)
        return None if reason is None else _failure(record, reason)
