"""The writer: the entity and its event in one TransactWriteItems, or neither."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from botocore.exceptions import ClientError

from .clients import LazyClient
from .core.actions import cancellation
from .core.backoff import full_jitter
from .core.delivery import check_sendable
from .core.limits import check_event_item, check_limits
from .core.outbox_item import ItemLayout, item_of
from .domain_event import DomainEvent
from .errors import CommitUnknownError, ConditionFailedError, TransactionCanceledError, TransactionConflictError
from .event import Event
from .functions import is_method, refuse_awaitable, refuse_unfit
from .transaction import Transaction, TransactionResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from .core.actions import Action
    from .transaction import DeleteOptions, PutOptions, UpdateOptions
    from .typing import Clock, DynamoDBClient, Item

__all__ = ["Transaction", "TransactionResult", "TransactionalOutbox"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

IN_PROGRESS_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds to wait for a transaction that is in progress: our own, whose answer to botocore was lost. AWS advises waits
that begin at half a second and leave room for an attempt later than five seconds after the first.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""
SHORTEST_TTL = timedelta(hours=25)
"""An item must outlive the stream's 24 hours, with a margin, so that TTL never takes one that is still to be read."""


class TransactionalOutbox:
    """Writes entities together with the events that tell of them.

    Args:
        table: The events table's name.
        source: The source of events that name none: EventBridge's source.
        client: A low-level DynamoDB client; by default one is made on first use.
        ttl: How long an event's item is kept, at least 25 hours.
        keys: The entity tables' key attributes: ``{"books": "name", "lines": ("order", "line")}``. ``must_not_exist``
            needs the partition key; a table that isn't named here costs one DescribeTable in the life of this object,
            and needs the permission for it. With them, an item that is named twice is found before anything is sent.
        partition_key, sort_key, key_prefix, ttl_attribute: What the events table's attributes are called, and what its
            partition key's values begin with.
        retries: How often a transaction is sent again where every reason for its cancellation is contention.
        retry_for: How long all that may take.
        clock: Tells the time.
        sleep, draw: Wait for seconds, and draw a number from 0 to 1: for the jitter between attempts.

    Guarantee: an event is in the events table if and only if the changes of its transaction are in theirs. Limit: one
    account, one Region; 100 actions, events included.
    """

    def __init__(
        self,
        table: str,
        *,
        source: str | None = None,
        client: DynamoDBClient | None = None,
        ttl: timedelta = timedelta(days=7),
        keys: Mapping[str, str | Sequence[str]] | None = None,
        partition_key: str = "pk",
        sort_key: str = "sk",
        key_prefix: str = "",
        ttl_attribute: str = "expiresAt",
        retries: int = 3,
        retry_for: timedelta = timedelta(seconds=5),
        clock: Clock = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not table:
            raise ValueError("table needs the events table's name")
        if ttl < SHORTEST_TTL:
            raise ValueError(f"ttl={ttl} is too short: items must outlive the stream's 24 hours; give {SHORTEST_TTL}")
        if retries < 0:
            raise ValueError(f"retries={retries} can't be negative")
        if source is not None:
            Event(
                "probe", {}, source=source
            )  # refuses what EventBridge would refuse, now rather than at the first event
        self.table = table
        self.source = source
        self.ttl = ttl
        self._layout = ItemLayout(
            partition_key=partition_key, sort_key=sort_key, key_prefix=key_prefix, ttl_attribute=ttl_attribute
        )
        self._client: LazyClient[DynamoDBClient] = LazyClient("dynamodb", client)
        self._keys = {name: (key,) if isinstance(key, str) else tuple(key) for name, key in (keys or {}).items()}
        self._keys.setdefault(table, (partition_key, sort_key))
        self._retries = retries
        self._retry_for = retry_for
        self._clock = clock
        self._sleep = sleep
        self._draw = draw

    def transaction(self) -> Transaction:
        """A transaction, as a context manager: sent as one on a clean exit, not at all on an exception."""
        return Transaction(self, retries=self._retries)

    def transactional(
        self, *, retries: int = 3
    ) -> Callable[[Callable[Concatenate[Transaction, Parameters], Returned]], Callable[Parameters, Returned]]:
        """Let a function run in a transaction of its own, which is its first argument; a method's, behind ``self``.

        Args:
            retries: How often the whole function runs again where the transaction met contention, or where only
                version locks refused it: it reads again, and so decides on what is there now.

        Raises:
            TypeError: When decorating an ``async`` or generator function: boto3 has no calls that could be awaited.
        """

        def decorate(
            function: Callable[Concatenate[Transaction, Parameters], Returned],
        ) -> Callable[Parameters, Returned]:
            refuse_unfit(function, "transactional")
            behind = 1 if is_method(function) else 0  # where the transaction goes in: behind self

            @wraps(function)
            def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
                attempt = 0
                while True:
                    try:
                        with Transaction(self, retries=0) as tx:
                            given: Any = (*args[:behind], tx, *args[behind:])
                            returned = function(*given, **kwargs)
                            refuse_awaitable(returned, function.__qualname__)
                            return returned
                    except (TransactionConflictError, ConditionFailedError) as error:
                        is_contention = isinstance(error, TransactionConflictError) or error.is_stale
                        if not is_contention or attempt >= retries:
                            raise
                    self._sleep(full_jitter(attempt, draw=self._draw()))
                    attempt += 1

            return run

        return decorate

    def put(
        self, table: str, item: Item, *, event: Event | DomainEvent, **options: Unpack[PutOptions]
    ) -> TransactionResult:
        """`Transaction.put` of one item with its event, committed."""
        with self.transaction() as tx:
            tx.put(table, item, **options)
            tx.emit(event)
        return tx.result

    def update(
        self, table: str, key: Mapping[str, Any], *, event: Event | DomainEvent, **options: Unpack[UpdateOptions]
    ) -> TransactionResult:
        """`Transaction.update` of one item with its event, committed."""
        with self.transaction() as tx:
            tx.update(table, key, **options)
            tx.emit(event)
        return tx.result

    def delete(
        self, table: str, key: Mapping[str, Any], *, event: Event | DomainEvent, **options: Unpack[DeleteOptions]
    ) -> TransactionResult:
        """`Transaction.delete` of one item with its event, committed."""
        with self.transaction() as tx:
            tx.delete(table, key, **options)
            tx.emit(event)
        return tx.result

    def transact_item(self, event: Event | DomainEvent) -> dict[str, Any]:
        """The action that writes an event, for a ``transact_write_items`` of the user's own.

        Raises:
            InvalidEventError: Neither the event nor the outbox names a source, or it could never be sent.
        """
        return self._event_action(self._sourced(event))

    def _sourced(self, event: Event | DomainEvent) -> Event:
        """The event, with this outbox's source where it names none."""
        chosen = event.to_event() if isinstance(event, DomainEvent) else event
        return chosen if chosen.source is not None or self.source is None else chosen.replace(source=self.source)

    def _event_action(self, event: Event) -> dict[str, Any]:
        """The action that writes an event whose source is filled in."""
        check_sendable(event)
        expires_at = int((self._clock() + self.ttl).timestamp())
        item = item_of(event, expires_at=expires_at, layout=self._layout)
        check_event_item(item, self._layout.partition_key, self._layout.sort_key)
        return {
            "Put": {
                "TableName": self.table,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(#outbox_key)",
                "ExpressionAttributeNames": {"#outbox_key": self._layout.partition_key},
            }
        }

    def _partition_key_of(self, table: str) -> str:
        """The name of a table's partition key: as it was told, or as the table itself says, asked once."""
        if table not in self._keys:
            schema = self._client().describe_table(TableName=table)["Table"]["KeySchema"]
            self._keys[table] = tuple(key["AttributeName"] for key in sorted(schema, key=lambda key: key["KeyType"]))
        return self._keys[table][0]

    def _commit(self, actions: Sequence[Action], *, retries: int) -> None:
        """Send a transaction; again, with the same token and body, while every reason against it is contention.

        Raises:
            TransactionLimitError: It could never go through; nothing was sent.
            TransactionCanceledError: It was refused, and nothing was written.
            CommitUnknownError: It was still in progress after all waiting.
        """
        if not actions:
            return
        check_limits(actions, self._keys)
        token = uuid.uuid4().hex
        deadline = self._clock() + self._retry_for
        attempt = 0
        waits_in_progress = list(IN_PROGRESS_WAITS)
        while True:
            try:
                self._client().transact_write_items(
                    TransactItems=[action.request for action in actions], ClientRequestToken=token
                )
                return
            except ClientError as error:
                if error.response["Error"]["Code"] == "TransactionInProgressException":
                    if not waits_in_progress:
                        raise CommitUnknownError(token) from error
                    wait = waits_in_progress.pop(0)
                else:
                    refusal = _refusal(error, actions)
                    wait = full_jitter(attempt, draw=self._draw())
                    is_late = self._clock() + timedelta(seconds=wait) > deadline
                    if attempt >= retries or is_late or not isinstance(refusal, TransactionConflictError):
                        if refusal is None:
                            raise
                        raise refusal from error
                    attempt += 1
            self._sleep(wait)


def _refusal(error: ClientError, actions: Sequence[Action]) -> TransactionCanceledError | None:
    """The reasons for which DynamoDB cancelled the transaction, as an error of ours; None for any other error."""
    reasons = error.response.get("CancellationReasons")
    if error.response["Error"]["Code"] != "TransactionCanceledException" or reasons is None:
        return None
    return cancellation(actions, cast("Sequence[Mapping[str, Any]]", reasons))
