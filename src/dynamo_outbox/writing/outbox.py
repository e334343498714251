"""The writer: entities and their events in one TransactWriteItems."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from ..aws.backoff import full_jitter
from ..aws.service import Service
from ..errors import (
    CommitUnknownError,
    ConditionFailedError,
    TransactionCanceledError,
    TransactionConflictError,
    TransactionVoidedError,
)
from ..events.event import Event
from ..events.outbox_item import check_keys
from ..log_lines import fields, logger
from ..options import Clock, Retry, TableKeys
from .callables import fresh, is_method, refuse_awaitable, refuse_unfit
from .commit import TOKEN_LIFE, settle
from .commit_rules import unknown_from_json
from .settings import WriterSettings
from .transaction import Transaction, TransactionResult, event_proof

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Unpack

    from ..events.domain_event import DomainEvent
    from ..typing import DynamoDBClient, Item
    from .transaction import DeleteOptions, PutOptions, UpdateOptions

__all__ = ["TransactionalOutbox", "is_contention"]

log = logger(__name__)

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Owner = TypeVar("Owner")

MAX_TOKEN_CHARACTERS = 36
"""https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"""

SHORTEST_TTL = timedelta(hours=25)
"""The stream's 24 hours and a margin, so that TTL never deletes an item that must still be read."""


class Transactional(Protocol):
    """The decorator of `TransactionalOutbox.transactional`, for functions and for methods."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Transaction, Parameters], Returned], /
    ) -> Callable[Parameters, Returned]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Owner, Transaction, Parameters], Returned], /
    ) -> Callable[Concatenate[Owner, Parameters], Returned]: ...


class TransactionalOutbox:
    """Writer that stores entities and events in one transaction.

    Args:
        table: The events table's name.
        source: EventBridge source of the events that have none.
        client: A low-level DynamoDB client; by default one is created on first use.
        ttl: Lifetime of an event's item; at least 25 hours.
        keys: Key attributes of the entity tables: ``{"books": "name", "lines": ("order", "line")}``. ``must_not_exist``
            needs the partition key. For a table that is not in `keys`, this object calls DescribeTable once and needs
            the permission for it. With `keys`, an item that is named twice is refused before anything is sent.
        table_keys: The events table's attribute names, and the prefix of its partition keys.
        retry: Attempts of a transaction that is cancelled only because of contention, and the time limit for these and
            for the retries of a transaction without a response; after that, a void marker settles the transaction.
        clock: Time, sleep and jitter.

    Guarantee: an event is in the events table if and only if the changes of its transaction are in their tables.
    Limits: one account, one Region; 100 actions, events included. A transaction without a response is sent again with
    the same token and then settled: it is committed, permanently void, or raises `CommitUnknownError` (see `settle`).
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
            raise ValueError(f"table={table!r} must be the events table's name")
        if ttl < SHORTEST_TTL:
            raise ValueError(f"ttl={ttl} is too short for the stream's 24 hours; give at least {SHORTEST_TTL}")
        if retry.timeout > TOKEN_LIFE:
            raise ValueError(f"{retry} is longer than DynamoDB recognises a repeated request; at most {TOKEN_LIFE}")
        check_keys(table_keys)
        if keys is not None and not isinstance(keys, Mapping):
            raise TypeError(f"keys={keys!r} must be a map of tables to their key attributes: {{'books': 'name'}}")
        if source is not None:
            Event("probe", {}, source=source)  # refuses an invalid source here, not when an event is published
        key_names: dict[str, Sequence[str]] = {table: (table_keys.partition_key, table_keys.sort_key or "")}
        key_names |= {name: (key,) if isinstance(key, str) else tuple(key) for name, key in (keys or {}).items()}
        self.settings = WriterSettings(
            table, source, Service("dynamodb", client, clock), ttl, table_keys, retry, clock, key_names
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

    def transaction(self, *, token: str | None = None) -> Transaction:
        """Return a transaction: a context manager that sends it on a clean exit, and nothing if the block raises.

        Args:
            token: Your own ``ClientRequestToken``, 1 to 36 characters; by default a new one. DynamoDB recognises a
                repeated request by it for ten minutes, if nothing else of the request differs: emit events with ids and
                times of your own. The events' time to live is rounded up to a whole day (UTC); a repetition for which
                it is another day differs, and DynamoDB refuses it.

        Raises:
            TransactionCanceledError: At the end of the block: nothing was written. Its subclasses are
                `ConditionFailedError`, `TransactionConflictError` and `TransactionVoidedError`.
            TransactionLimitError: At the end of the block: nothing was sent.
            CommitUnknownError: At the end of the block: the outcome is unknown; call `settle`.
            ClientError: At the end of the block: DynamoDB refused the request as a whole, and nothing was written.
        """
        if token is not None and not 1 <= len(token) <= MAX_TOKEN_CHARACTERS:
            raise ValueError(f"token={token!r} must have 1 to {MAX_TOKEN_CHARACTERS} characters")
        return Transaction(self.settings, attempts=self.settings.retry.attempts, token=token)

    def transactional(self, *, attempts: int = 4) -> Transactional:
        """Run a function in its own transaction, which is its first argument (in a method, the second, after ``self``).

        Args:
            attempts: Number of runs of the whole function, the first included. It runs again, on current data, if its
                transaction meets contention, is refused by version locks only, or has no response and is voided.
                Create events inside the function, with new ids: the event id of a void transaction is refused.

        Raises:
            TypeError: The decorated function is ``async`` or a generator: boto3's calls can't be awaited.
        """
        Retry(attempts=attempts)  # refuses an invalid number here, not at the first call

        def decorate(
            function: Callable[Concatenate[Transaction, Parameters], Returned],
        ) -> Callable[Parameters, Returned]:
            refuse_unfit(function, "transactional")
            leading = 1 if is_method(function) else 0

            @wraps(function)
            def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
                as_given = fresh((args[leading:], kwargs))  # the function may change them
                attempt = 1
                while True:
                    try:
                        own, named = (args[leading:], kwargs) if attempt == 1 else fresh(as_given)
                        with Transaction(self.settings, attempts=1) as tx:
                            given: Any = (*args[:leading], tx, *own)
                            returned = function(*given, **named)
                            refuse_awaitable(returned, function.__qualname__)
                            return returned
                    except TransactionCanceledError as error:
                        if attempt >= attempts or not is_contention(error):
                            raise
                        code = type(error).__name__
                        log.debug(
                            "function %s runs again: %s", function.__qualname__, code, extra=fields(None, code=code)
                        )
                    clock = self.settings.clock
                    clock.sleep(full_jitter(attempt - 1, draw=clock.random()))
                    attempt += 1

            return run

        return cast("Transactional", decorate)

    def put(
        self, table: str, item: Item, *, event: Event | DomainEvent, **options: Unpack[PutOptions]
    ) -> TransactionResult:
        """Put one item and its event in one transaction; options as for `Transaction.put`."""
        with self.transaction() as tx:
            tx.put(table, item, **options)
            tx.emit(event)
        return tx.result

    def update(
        self, table: str, key: Mapping[str, Any], *, event: Event | DomainEvent, **options: Unpack[UpdateOptions]
    ) -> TransactionResult:
        """Update one item and write its event in one transaction; options as for `Transaction.update`."""
        with self.transaction() as tx:
            tx.update(table, key, **options)
            tx.emit(event)
        return tx.result

    def delete(
        self, table: str, key: Mapping[str, Any], *, event: Event | DomainEvent, **options: Unpack[DeleteOptions]
    ) -> TransactionResult:
        """Delete one item and write its event in one transaction; options as for `Transaction.delete`."""
        with self.transaction() as tx:
            tx.delete(table, key, **options)
            tx.emit(event)
        return tx.result

    def transact_item(self, event: Event | DomainEvent) -> dict[str, Any]:
        """Return the action that writes an event, for the caller's own ``transact_write_items``.

        Raises:
            InvalidEventError: Neither the event nor the outbox has a source, or the event can't be sent.
        """
        return event_proof(self._sourced(event), self.settings).put()

    def settle(self, uncertain: CommitUnknownError | Event | str) -> bool:
        """Determine whether a transaction whose response was lost was committed; if not, make sure it never can be.

        Args:
            uncertain: The error; or the text of its ``to_json()``, also in another process; or the `Event` that the
                caller's own ``transact_write_items`` wrote with `transact_item`. Not a `DomainEvent`: each call of its
                ``to_event`` creates another id.

        Returns:
            True if the transaction was committed. False if it was not: a void marker now has the event's key, so that
            DynamoDB refuses a late request. Do the same changes in a new transaction, with a new event.

        Raises:
            TypeError: `uncertain` is none of the three.
            DecodeError: The text is not that of ``to_json()``, or of another version; the error names the part.
            ValueError: The text is about another events table.
            CommitUnknownError: It can't be determined: the transaction has no event, DynamoDB does not respond, or the
                event's item may have been deleted by its time to live.

        Cost: one conditional put. Limit: don't use an event id of your own in two transactions.
        """
        given: object = uncertain
        if isinstance(given, str):
            given = unknown_from_json(given)
            if given.proof is not None and given.proof.table != self.table:
                raise ValueError(
                    f"the text is about the events table {given.proof.table!r}, and this outbox's is {self.table!r}: "
                    "settle it with that table's outbox"
                )
        if isinstance(given, Event):
            event, now = self._sourced(given), self.settings.clock.now()
            created = event.created_at
            if created is None or created > now + self.ttl:  # unknown, or by a clock that differs by too much
                proof = event_proof(event, self.settings, is_dated=False)
            else:
                proof = event_proof(event, self.settings, expires_at=int((created + self.ttl).timestamp()))
            given = CommitUnknownError(event.id, proof)
        if not isinstance(given, CommitUnknownError):
            kind = type(given).__name__
            raise TypeError(
                f"settle() takes a CommitUnknownError, its to_json() text or the Event that was written, not a {kind}"
            )
        return settle(self.settings, given)

    def _sourced(self, event: Event | DomainEvent) -> Event:
        """Return the event, with the outbox's source if the event has none."""
        chosen = event if isinstance(event, Event) else event.to_event()
        return chosen if chosen.source is not None or self.source is None else chosen.replace(source=self.source)


def is_contention(error: TransactionCanceledError) -> bool:
    """Return whether a transaction failed only because of other writers or a lost response, and may run again."""
    if isinstance(error, ConditionFailedError):
        return error.is_stale
    return isinstance(error, (TransactionConflictError, TransactionVoidedError))
