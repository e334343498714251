"""The writer: the entity and its event in one TransactWriteItems, or neither."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..aws.clients import LazyClient
from .commit import TOKEN_LIFE, Committer
from ..aws.backoff import full_jitter
from .commit_rules import Proof
from ..publishing.batches import check_sendable
from .limits import check_event_item, check_limits
from ..events.outbox_item import ItemLayout, item_of
from ..errors import (
    CommitUnknownError,
    ConditionFailedError,
    TransactionCanceledError,
    TransactionConflictError,
    TransactionVoidedError,
)
from ..events.event import Event
from ..aws.functions import is_method, refuse_awaitable, refuse_unfit
from .transaction import Transaction, TransactionResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from .actions import Action
    from ..events.domain_event import DomainEvent
    from .transaction import DeleteOptions, PutOptions, UpdateOptions
    from ..typing import Clock, DynamoDBClient, Item

__all__ = ["Transaction", "TransactionResult", "TransactionalOutbox"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

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
        retry_for: How long all that may take; and how long a transaction without an answer is sent again, before it is
            settled by a void marker.
        clock: Tells the time.
        sleep, draw: Wait for seconds, and draw a number from 0 to 1: for the jitter between attempts.

    Guarantee: an event is in the events table if and only if the changes of its transaction are in theirs. Limit: one
    account, one Region; 100 actions, events included. Where no answer comes, a transaction is sent again with the same
    token and then settled: it is committed, or void for ever, or a `CommitUnknownError` says how to ask again.
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
        if retry_for > TOKEN_LIFE:
            raise ValueError(f"retry_for={retry_for} is longer than DynamoDB knows a request again: give {TOKEN_LIFE}")
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
        self._clock = clock
        self._sleep = sleep
        self._draw = draw
        self._committer = Committer(self._client, ttl, retry_for, clock, sleep, draw)

    def transaction(self) -> Transaction:
        """A transaction, as a context manager: sent as one on a clean exit, not at all on an exception."""
        return Transaction(self, retries=self._retries)

    def transactional(
        self, *, retries: int = 3
    ) -> Callable[[Callable[Concatenate[Transaction, Parameters], Returned]], Callable[Parameters, Returned]]:
        """Let a function run in a transaction of its own, which is its first argument; a method's, behind ``self``.

        Args:
            retries: How often the whole function runs again where the transaction met contention or got no answer and
                was made void, or where only version locks refused it: it reads again, and so decides on what is there
                now. Events are to be made inside it, with new ids: what was made void refuses its event's id.

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
                    except TransactionCanceledError as error:
                        if attempt >= retries or not is_contention(error):
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

    def settle(self, uncertain: CommitUnknownError | Event) -> bool:
        """Find out whether a transaction was committed whose answer got lost; if not, see that it never will be.

        Args:
            uncertain: The error, here or in another process, or the event of a ``transact_write_items`` of the user's
                own, as it was given to `transact_item`. A `DomainEvent` has an id only as the `Event` that its
                ``to_event`` makes, each time with another.

        Returns:
            True: its event is there, and so is all the rest. False: it was not, and now a void marker stands under the
            event's key, so that a request that is still on its way will be refused; the same as a new transaction, with
            a new event, may follow.

        Raises:
            TypeError: It is neither, so that an answer would be about another event.
            CommitUnknownError: It can't be told: the transaction has no event, DynamoDB gives no answer, or the
                event's item may have been deleted by its time to live.

        Cost: one conditional put. Limit: an event id of one's own must not be used for two transactions.
        """
        given: object = uncertain
        if isinstance(given, Event):
            event = self._sourced(given)
            expires_at = int((event.time + self.ttl).timestamp())
            proof = Proof(self.table, item_of(event, expires_at=expires_at, layout=self._layout), self._layout)
            given = CommitUnknownError(event.id, proof)
        if not isinstance(given, CommitUnknownError):
            kind = type(given).__name__
            raise TypeError(f"settle() takes a CommitUnknownError or the Event that was written, not a {kind}")
        return self._committer.settle(given)

    def _proof_of(self, event_action: Mapping[str, Any]) -> Proof:
        """What proves a transaction: the event that one of its actions writes."""
        return Proof(self.table, event_action["Put"]["Item"], self._layout)

    def _sourced(self, event: Event | DomainEvent) -> Event:
        """The event, with this outbox's source where it names none."""
        chosen = event if isinstance(event, Event) else event.to_event()
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
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _partition_key_of(self, table: str) -> str:
        """The name of a table's partition key: as it was told, or as the table itself says, asked once."""
        if table not in self._keys:
            schema = self._client().describe_table(TableName=table)["Table"]["KeySchema"]
            self._keys[table] = tuple(key["AttributeName"] for key in sorted(schema, key=lambda key: key["KeyType"]))
        return self._keys[table][0]

    def _commit(self, actions: Sequence[Action], *, retries: int, proof: Proof | None) -> None:
        """Send a transaction, as `Committer.commit` does.

        Raises:
            TransactionLimitError: It could never go through; nothing was sent.
            TransactionCanceledError, CommitUnknownError: As there.
        """
        if not actions:
            return
        check_limits(actions, self._keys)
        self._committer.commit(actions, retries=retries, proof=proof)


def is_contention(error: TransactionCanceledError) -> bool:
    """Whether a transaction failed only because of others, or of a lost answer, so that all of it may run again."""
    if isinstance(error, ConditionFailedError):
        return error.is_stale
    return isinstance(error, (TransactionConflictError, TransactionVoidedError))
