"""The writer: entities and their events in one TransactWriteItems."""

from __future__ import annotations

from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..aws.backoff import full_jitter
from ..aws.clients import LazyClient
from ..errors import (
    CommitUnknownError,
    ConditionFailedError,
    TransactionCanceledError,
    TransactionConflictError,
    TransactionVoidedError,
)
from ..events.event import Event
from ..events.outbox_item import check_keys
from ..options import Clock, Retry, TableKeys
from .callables import is_method, refuse_awaitable, refuse_unfit
from .commit import TOKEN_LIFE, settle
from .settings import WriterSettings
from .transaction import Transaction, TransactionResult, event_proof

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from ..events.domain_event import DomainEvent
    from ..typing import DynamoDBClient, Item
    from .transaction import DeleteOptions, PutOptions, UpdateOptions

__all__ = ["TransactionalOutbox", "is_contention"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

SHORTEST_TTL = timedelta(hours=25)
"""An item must outlive the stream's 24 hours, with a margin, so that TTL never deletes one that must still be read."""


class TransactionalOutbox:
    """Writer that stores entities and events in one transaction.

    Args:
        table: The events table's name.
        source: The source of events that have none: EventBridge's source.
        client: A low-level DynamoDB client; by default one is created on first use.
        ttl: How long an event's item is kept; at least 25 hours.
        keys: The entity tables' key attributes: ``{"books": "name", "lines": ("order", "line")}``. ``must_not_exist``
            needs the partition key; a table that is not in `keys` costs one DescribeTable in the life of this object,
            and the permission for it. With `keys`, an item that is named twice is found before anything is sent.
        table_keys: The events table's attribute names, and the prefix of its partition keys.
        retry: How often a transaction is sent again if every reason for its cancellation is contention, and how long
            that and the repetition of a transaction without a response may take; then it is settled by a void marker.
        clock: The time, waiting and jitter.

    Guarantee: an event is in the events table if and only if the changes of its transaction are in their tables. Limit:
    one account, one Region; 100 actions, events included. A transaction without a response is sent again with the same
    token and then settled: it is committed, or permanently void, or a `CommitUnknownError` says how to ask again.
    """

    def __init__(
        self,
        table: str,
        *,
        source: str | None = None,
        client: DynamoDBClient | None = None,
        ttl: timedelta = timedelta(days=7),
        keys: Mapping[str, str | Sequence[str]] | None = None,
        table_keys: TableKeys = TableKeys(),
        retry: Retry = Retry(),
        clock: Clock = Clock(),
    ) -> None:
        if not table:
            raise ValueError("table needs the events table's name")
        if ttl < SHORTEST_TTL:
            raise ValueError(f"ttl={ttl} is too short: items must outlive the stream's 24 hours; give {SHORTEST_TTL}")
        if retry.timeout > TOKEN_LIFE:
            raise ValueError(f"{retry} is longer than DynamoDB recognises a repeated request: give {TOKEN_LIFE}")
        check_keys(table_keys)
        if source is not None:
            Event("probe", {}, source=source)  # refuses now what EventBridge would refuse later
        key_names: dict[str, Sequence[str]] = {table: (table_keys.partition_key, table_keys.sort_key or "")}
        key_names |= {name: (key,) if isinstance(key, str) else tuple(key) for name, key in (keys or {}).items()}
        self.settings = WriterSettings(
            table, source, LazyClient("dynamodb", client), ttl, table_keys, retry, clock, key_names
        )

    @property
    def table(self) -> str:
        return self.settings.table

    @property
    def source(self) -> str | None:
        return self.settings.source

    @property
    def ttl(self) -> timedelta:
        return self.settings.ttl

    def transaction(self) -> Transaction:
        """Return a transaction, a context manager: sent on a clean exit, not sent if the block raises."""
        return Transaction(self.settings, attempts=self.settings.retry.attempts)

    def transactional(
        self, *, attempts: int = 4
    ) -> Callable[[Callable[Concatenate[Transaction, Parameters], Returned]], Callable[Parameters, Returned]]:
        """Run a function in its own transaction, which is its first argument; a method's second, after ``self``.

        Args:
            attempts: How often the whole function runs, if its transaction meets contention, has no response and is
                voided, or is refused by version locks only: it reads again, and decides on current data. Create events
                inside it, with new ids: a void transaction's event id is refused.

        Raises:
            TypeError: The decorated function is ``async`` or a generator: boto3's calls can't be awaited.
        """
        Retry(attempts=attempts)  # refuses now what could never run

        def decorate(
            function: Callable[Concatenate[Transaction, Parameters], Returned],
        ) -> Callable[Parameters, Returned]:
            refuse_unfit(function, "transactional")
            leading = 1 if is_method(function) else 0

            @wraps(function)
            def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
                attempt = 1
                while True:
                    try:
                        with Transaction(self.settings, attempts=1) as tx:
                            given: Any = (*args[:leading], tx, *args[leading:])
                            returned = function(*given, **kwargs)
                            refuse_awaitable(returned, function.__qualname__)
                            return returned
                    except TransactionCanceledError as error:
                        if attempt >= attempts or not is_contention(error):
                            raise
                    clock = self.settings.clock
                    clock.sleep(full_jitter(attempt - 1, draw=clock.random()))
                    attempt += 1

            return run

        return decorate

    def put(
        self, table: str, item: Item, *, event: Event | DomainEvent, **options: Unpack[PutOptions]
    ) -> TransactionResult:
        """Commit `Transaction.put` of one item with its event."""
        with self.transaction() as tx:
            tx.put(table, item, **options)
            tx.emit(event)
        return tx.result

    def update(
        self, table: str, key: Mapping[str, Any], *, event: Event | DomainEvent, **options: Unpack[UpdateOptions]
    ) -> TransactionResult:
        """Commit `Transaction.update` of one item with its event."""
        with self.transaction() as tx:
            tx.update(table, key, **options)
            tx.emit(event)
        return tx.result

    def delete(
        self, table: str, key: Mapping[str, Any], *, event: Event | DomainEvent, **options: Unpack[DeleteOptions]
    ) -> TransactionResult:
        """Commit `Transaction.delete` of one item with its event."""
        with self.transaction() as tx:
            tx.delete(table, key, **options)
            tx.emit(event)
        return tx.result

    def transact_item(self, event: Event | DomainEvent) -> dict[str, Any]:
        """Return the action that writes an event, for the caller's own ``transact_write_items``.

        Raises:
            InvalidEventError: Neither the event nor the outbox has a source, or the event could never be sent.
        """
        return event_proof(self._sourced(event), self.settings).put()

    def settle(self, uncertain: CommitUnknownError | Event) -> bool:
        """Determine whether a transaction whose response was lost was committed; if not, make sure it never can be.

        Args:
            uncertain: The error, in this process or another, or the event that the caller's own
                ``transact_write_items`` wrote, as given to `transact_item`. A `DomainEvent` gets its id in
                ``to_event``, each time another one.

        Returns:
            True: its event is in the table, and so is everything else. False: it was not, and now a void marker has the
            event's key, so that a request that arrives later is refused; the same may be done in a new transaction,
            with a new event.

        Raises:
            TypeError: Neither of the two: the answer would be about another event.
            CommitUnknownError: It can't be determined: the transaction has no event, DynamoDB does not respond, or the
                event's item may have been deleted by its time to live.

        Cost: one conditional put. Limit: an event id of your own must not be used in two transactions.
        """
        given: object = uncertain
        if isinstance(given, Event):
            event = self._sourced(given)
            proof = event_proof(event, self.settings, expires_at=int((event.time + self.ttl).timestamp()))
            given = CommitUnknownError(event.id, proof)
        if not isinstance(given, CommitUnknownError):
            kind = type(given).__name__
            raise TypeError(f"settle() takes a CommitUnknownError or the Event that was written, not a {kind}")
        return settle(self.settings, given)

    def _sourced(self, event: Event | DomainEvent) -> Event:
        """Return the event, with this outbox's source if it has none."""
        chosen = event if isinstance(event, Event) else event.to_event()
        return chosen if chosen.source is not None or self.source is None else chosen.replace(source=self.source)


def is_contention(error: TransactionCanceledError) -> bool:
    """Return whether a transaction failed only because of other writers or a lost response, and may run again."""
    if isinstance(error, ConditionFailedError):
        return error.is_stale
    return isinstance(error, (TransactionConflictError, TransactionVoidedError))
