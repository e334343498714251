"""`ParkingTable`: parked records in DynamoDB, in order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..aws.backoff import full_jitter
from ..aws.errors import error_code
from ..aws.lambda_context import PARKING_MARGIN, REDRIVE_MARGIN, invocation, is_nearly_over
from ..aws.limits import CONTENTION
from ..aws.service import Service
from ..errors import ParkingError
from ..log_lines import EventNames, fields, logger, named
from ..options import Clock, TableKeys
from ..streams.outbox_records import event_names
from .parked_record import (
    HEAD_PARTITIONS,
    ParkedRecord,
    ParkingLayout,
    head_key,
    parking_transactions,
    record_partition,
    records_in_items,
    removal_transactions,
)
from .parking import PARKING_FAULTS, RedriveFailure, RedriveResult, check_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..typing import ParkingClient
    from .parking import Redriver
    from .rules import Reason

__all__ = ["ParkedHead", "ParkingTable"]

log = logger(__name__)

MAX_BATCH_KEYS = 100
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"""
ATTEMPTS = 5
"""The number of attempts of a request that contention or throttling refuses."""
STILL_IN_USE = frozenset({"ConditionalCheckFailedException", "TransactionConflictException"})
"""Why a head is not removed: it counts records, or is about to."""
WAVE = 100
"""The number of parked records that are published together."""


@dataclass(frozen=True, slots=True)
class ParkedHead:
    """The parked records of one ordering key.

    Attributes:
        order_key: The ordering key.
        parked: How many records are parked.
        first: The first of them; why it can't be read; or None if it was removed meanwhile.
    """

    order_key: str
    parked: int
    first: ParkedRecord | ParkingError | None


class ParkingTable:
    """Dead-letter storage in a DynamoDB table, which keeps the order of each ordering key.

    Args:
        table: The table's name. Its partition and sort key have type S.
        client: A low-level DynamoDB client; by default one is created on first use.
        in_order: Whether the records after a parked one of an aggregate (in CDC mode: of an item) are parked with it.
        table_keys: The table's attribute names, and the prefix of its partition keys: one for each processor that
            shares the table.
        clock: The time, waiting and jitter.

    Guarantee: a record and the count of its ordering key's records change in one transaction, so relay and redrive may
    run at the same time without one overtaking the other. Limit: parallelization factor 1. Nothing here expires.
    """

    def __init__(
        self,
        table: str,
        *,
        client: ParkingClient | None = None,
        in_order: bool = True,
        table_keys: TableKeys = TableKeys(),
        clock: Clock = Clock(),
    ) -> None:
        if not table:
            raise ValueError("table needs a name")
        if table_keys.sort_key is None:
            raise ValueError(f"a parking table needs a sort key: {table_keys}")
        self.table = table
        self.in_order = in_order
        self.clock = clock
        self._layout = ParkingLayout(table, table_keys)
        self._dynamodb = Service("dynamodb", client, clock)

    def waiting(self, order_keys: Iterable[str]) -> set[str]:
        """Return those of the ordering keys that have parked records: one consistent read for each 100 of them.

        Raises:
            ClientError, BotoCoreError: It is unknown.
        """
        if not self.in_order:
            return set()
        keys = [head_key(order_key, self._layout) for order_key in dict.fromkeys(order_keys)]
        heads = [
            head for start in range(0, len(keys), MAX_BATCH_KEYS) for head in self._read(keys[start:][:MAX_BATCH_KEYS])
        ]
        return {head["orderKey"]["S"] for head in heads if int(head["parked"]["N"]) > 0}

    def _read(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        wanted: dict[str, Any] = {self.table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(1, ATTEMPTS + 1):
            response = self._dynamodb.call("batch_get_item", RequestItems=wanted)
            found += response["Responses"].get(self.table, [])
            wanted = response.get("UnprocessedKeys") or {}
            if not wanted:
                return found
            if attempt < ATTEMPTS:
                left = len(wanted[self.table]["Keys"])
                log.debug(
                    "keys of %s are looked up again, because DynamoDB left them unprocessed: %d",
                    self.table,
                    left,
                    extra=fields(None, table=self.table, count=left),
                )
                self._wait(attempt)
        raise ParkingError(None, f"can't be looked up: DynamoDB left keys unprocessed {ATTEMPTS} times")

    def park(self, records: Sequence[ParkedRecord], context: object = None) -> int:
        """Store records, in order; a record that is stored already is stored once.

        Args:
            records: The records.
            context: Lambda's context: if its time is nearly over, the rest is not stored.

        Returns:
            How many, from the first on, are stored; the log says why the next one is not.
        """
        stored = 0
        if not self.in_order:
            records = [record.alone() for record in records]
        transactions = parking_transactions(records, self._layout)
        while not is_nearly_over(context, PARKING_MARGIN) or not stored:
            try:
                chunk = next(transactions, None)
                if chunk is None:
                    break
                self._commit(*chunk)
            except PARKING_FAULTS:
                first = records[stored]
                names = event_names(first.raw) or EventNames(id=next(iter(first.event_ids), None))
                log.exception(
                    "records can't be parked in %s: %d, the first %s of %s (%s)",
                    self.table,
                    len(records) - stored,
                    first.sequence_number,
                    first.order_key,
                    named(names, first.order_key),
                    extra=fields(
                        names,
                        order_key=first.order_key,
                        sequence_number=first.sequence_number,
                        table=self.table,
                        count=len(records) - stored,
                    ),
                )
                break
            stored += len(chunk[0])
        return stored

    def redrive(self, processor: Redriver, *, context: object = None, limit: int | None = None) -> RedriveResult:
        """Publish the parked records with the same event ids, each ordering key's in order, and remove them.

        Args:
            processor: An `OutboxRelay` or `ChangeProcessor` of the kind that parked the records; its current code reads
                and maps each record again.
            context: Lambda's context: the run ends in time for the function to respond.
            limit: The maximum number of records to publish; those that fail don't count.

        An ordering key stops at its first failure; the others go on. A redrive may run while the relay does, twice at
        the same time, and be killed at any point: a record that was published and not yet removed is published again,
        with the same event ids.

        Raises:
            ValueError: `limit` is negative.
            ClientError, BotoCoreError, ParkingError: The table can't be read or written.
        """
        check_limit(limit)
        with invocation(context):
            return self._redrive(processor, context, limit)

    def _redrive(self, processor: Redriver, context: object, limit: int | None) -> RedriveResult:
        order_keys = deque(order_key for order_key, _ in self._counts())
        left = limit
        sent = 0
        failures: list[RedriveFailure] = []
        while order_keys and left != 0 and not is_nearly_over(context, REDRIVE_MARGIN):
            wave, unfinished, unreadable = self._wave(order_keys, WAVE if left is None else min(WAVE, left))
            failures += unreadable
            reasons = processor.republish(wave, context)
            done = [record for record, reason in zip(wave, reasons, strict=True) if reason is None]
            self.drop(done)
            sent += len(done)
            left = None if left is None else left - len(done)
            stopped = _first_failures(wave, reasons)
            failures += stopped.values()
            order_keys.extendleft(key for key in unfinished if key not in stopped)
        finished = not order_keys and all(failure.code != "NotAttempted" for failure in failures)
        return RedriveResult(sent, tuple(failures), finished)

    def drop(self, records: Sequence[ParkedRecord]) -> None:
        """Remove parked records without publishing them; one that was removed meanwhile is not counted twice.

        Arguments:
            records: As `records` returned them.

        Raises:
            ClientError, BotoCoreError: The table can't be written; some of the records may be removed.
        """
        for chunk in removal_transactions(records, self._layout):
            self._commit(*chunk)
        self._remove_heads(record.order_key for record in records)

    def _wave(self, order_keys: deque[str], size: int) -> tuple[list[ParkedRecord], list[str], list[RedriveFailure]]:
        """Return the next records, in order for each key, the keys that may have more, and the unreadable records."""
        wave: list[ParkedRecord] = []
        unfinished: list[str] = []
        unreadable: list[RedriveFailure] = []
        while order_keys and len(wave) < size:
            order_key = order_keys.popleft()
            room = size - len(wave)
            try:
                found = list(islice(self.records(order_key), room))
            except ParkingError as error:
                unreadable.append(RedriveFailure.of_unreadable(order_key, error))
                continue
            if not found:
                self._remove_heads([order_key])
            elif len(found) == room:
                unfinished.append(order_key)
            wave += found
        return wave, unfinished, unreadable

    def heads(self) -> Iterator[ParkedHead]:
        """Return the parked records by ordering key: how many, and the first. Each is as it was when it was read.

        Raises:
            ClientError, BotoCoreError: The table can't be read.
        """
        for order_key, parked in self._counts():
            if parked:
                yield ParkedHead(order_key, parked, self._first(order_key))

    def _first(self, order_key: str) -> ParkedRecord | ParkingError | None:
        try:
            return next(self.records(order_key), None)
        except ParkingError as error:
            return error

    def records(self, order_key: str) -> Iterator[ParkedRecord]:
        """Return an ordering key's parked records, in order.

        Raises:
            ParkingError: A record has an unknown format; raised at its turn.
            ClientError, BotoCoreError: The table can't be read.
        """
        return records_in_items(self._query(record_partition(order_key)), self._layout)

    def _counts(self) -> Iterator[tuple[str, int]]:
        for partition in HEAD_PARTITIONS:
            for head in self._query(f"heads#{partition}"):
                yield head["orderKey"]["S"], int(head["parked"]["N"])

    def _query(self, partition: str) -> Iterator[dict[str, Any]]:
        """Return the items of a partition, in order, a page at a time."""
        keys = self._layout.keys
        request: dict[str, Any] = {
            "TableName": self.table,
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": keys.partition_key},
            "ExpressionAttributeValues": {":pk": {"S": keys.prefix + partition}},
            "ConsistentRead": True,
        }
        while True:
            page = self._dynamodb.call("query", **request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _remove_heads(self, order_keys: Iterable[str]) -> None:
        """Remove the heads that count nothing; a head that counts records again stays."""
        for order_key in dict.fromkeys(order_keys):
            try:
                self._dynamodb.call(
                    "delete_item",
                    TableName=self.table,
                    Key=head_key(order_key, self._layout),
                    ConditionExpression="#parked = :none",
                    ExpressionAttributeNames={"#parked": "parked"},
                    ExpressionAttributeValues={":none": {"N": "0"}},
                )
            except ClientError as error:
                if error_code(error) not in STILL_IN_USE:
                    raise

    def _commit(self, records: list[ParkedRecord], actions: list[dict[str, Any]]) -> None:
        """Commit one transaction of `parking_transactions` or `removal_transactions`, without what is done already."""
        pack = parking_transactions if "Put" in actions[0] else removal_transactions
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._dynamodb.call("transact_write_items", TransactItems=actions)
                return
            except ClientError as error:
                codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", ())]
                if attempt == ATTEMPTS or not _may_be_repeated(codes):
                    raise
            left = _not_done(records, actions, codes)
            if not left:
                return
            if len(left) == len(records):
                log.debug(
                    "a transaction of parked records is sent again to %s because of contention: %d",
                    self.table,
                    len(records),
                    extra=fields(None, table=self.table, count=len(records)),
                )
                self._wait(attempt)
            records, actions = left, next(pack(left, self._layout))[1]

    def _wait(self, attempt: int) -> None:
        self.clock.sleep(full_jitter(attempt, draw=self.clock.random()))


def _may_be_repeated(codes: Sequence[str]) -> bool:
    """Return whether a cancelled transaction met contention, or records that were parked or removed before."""
    return "ConditionalCheckFailed" in codes or (bool(codes) and CONTENTION.issuperset({*codes} - {"None"}))


def _not_done(
    records: Sequence[ParkedRecord], actions: Sequence[dict[str, Any]], codes: Sequence[str]
) -> list[ParkedRecord]:
    """Return the records that were not parked, or removed, before: those whose one conditional action did not fail."""
    conditional = [
        code
        for action, code in zip(actions, codes, strict=True)
        if any("ConditionExpression" in request for request in action.values())
    ]
    return [record for record, code in zip(records, conditional, strict=True) if code != "ConditionalCheckFailed"]


def _first_failures(records: Sequence[ParkedRecord], reasons: Sequence[Reason | None]) -> dict[str, RedriveFailure]:
    failures: dict[str, RedriveFailure] = {}
    for record, reason in zip(records, reasons, strict=True):
        if reason is not None:
            failures.setdefault(record.order_key, RedriveFailure.of(record, reason))
    return failures
