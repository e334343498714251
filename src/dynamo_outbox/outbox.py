"""The writer: the entity and its event in one TransactWriteItems, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from .clients import LazyClient
from .core.outbox_item import ItemLayout, item_of
from .core.transaction import (
    Action,
    Expression,
    cancellation,
    check_action,
    check_limits,
    delete_action,
    exists,
    not_exists,
    put_action,
    update_action,
)
from .domain_event import DomainEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from boto3.dynamodb.conditions import ConditionBase

    from .event import Event
    from .typing import Clock, DynamoDBClient

__all__ = ["Transaction", "TransactionResult", "TransactionalOutbox"]

SHORTEST_TTL = timedelta(hours=25)
"""An item must outlive the stream's 24 hours, with a margin, so that TTL never takes one that is still to be read."""


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What a transaction committed.

    Attributes:
        events: The events, in the order in which they were emitted, their source filled in.
    """

    events: tuple[Event, ...]


class TransactionalOutbox:
    """Writes entities together with the events that tell of them.

    Args:
        table: The events table's name.
        source: The source of events that name none: EventBridge's source.
        client: A low-level DynamoDB client; by default one is made on first use.
        ttl: How long an event's item is kept, at least 25 hours.
        keys: Each entity table's partition key, for ``must_not_exist``. A table that isn't named here costs one
            DescribeTable in the life of this object, and needs the permission for it.
        partition_key, sort_key, key_prefix, ttl_attribute: What the events table's attributes are called, and what its
            partition key's values begin with.
        clock: Tells the time.

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
        keys: Mapping[str, str] | None = None,
        partition_key: str = "pk",
        sort_key: str = "sk",
        key_prefix: str = "",
        ttl_attribute: str = "expiresAt",
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        if not table:
            raise ValueError("table needs the events table's name")
        if ttl < SHORTEST_TTL:
            raise ValueError(f"ttl={ttl} is too short: items must outlive the stream's 24 hours; give {SHORTEST_TTL}")
        self.table = table
        self.source = source
        self.ttl = ttl
        self.layout = ItemLayout(
            partition_key=partition_key, sort_key=sort_key, key_prefix=key_prefix, ttl_attribute=ttl_attribute
        )
        self._client: LazyClient[DynamoDBClient] = LazyClient("dynamodb", client)
        self._keys = dict(keys or {})
        self._clock = clock

    def transaction(self) -> Transaction:
        """A transaction, as a context manager: sent as one on a clean exit, not at all on an exception."""
        return Transaction(self)

    def transact_item(self, event: Event | DomainEvent) -> dict[str, Any]:
        """The action that writes an event, for a ``transact_write_items`` of the user's own.

        Raises:
            InvalidEventError: Neither the event nor the outbox names a source.
        """
        return self._event_action(self._sourced(event))

    def _sourced(self, event: Event | DomainEvent) -> Event:
        chosen = event.to_event() if isinstance(event, DomainEvent) else event
        return chosen if chosen.source is not None or self.source is None else chosen.replace(source=self.source)

    def _event_action(self, event: Event) -> dict[str, Any]:
        expires_at = int((self._clock() + self.ttl).timestamp())
        return {
            "Put": {
                "TableName": self.table,
                "Item": item_of(event, expires_at=expires_at, layout=self.layout),
                "ConditionExpression": "attribute_not_exists(#outbox_key)",
                "ExpressionAttributeNames": {"#outbox_key": self.layout.partition_key},
            }
        }

    def _partition_key_of(self, table: str) -> str:
        if table not in self._keys:
            described = self._client().describe_table(TableName=table)
            schema = described["Table"]["KeySchema"]
            self._keys[table] = next(key["AttributeName"] for key in schema if key["KeyType"] == "HASH")
        return self._keys[table]

    def _commit(self, actions: Sequence[Action]) -> None:
        check_limits(actions)
        if not actions:
            return
        client = self._client()
        try:
            client.transact_write_items(TransactItems=[action.request for action in actions])
        except ClientError as error:
            reasons = error.response.get("CancellationReasons")
            if error.response["Error"]["Code"] != "TransactionCanceledException" or reasons is None:
                raise
            raise cancellation(actions, reasons) from error


class Transaction:
    """Gathers actions and events; `TransactionalOutbox.transaction` makes it.

    Attributes:
        result: What was committed; set on a clean exit.
    """

    def __init__(self, outbox: TransactionalOutbox) -> None:
        self._outbox = outbox
        self._actions: list[Action] = []
        self._events: list[Event] = []
        self._ended = False
        self.result: TransactionResult | None = None

    def put(
        self,
        table: str,
        item: Mapping[str, Any],
        *,
        must_not_exist: bool = False,
        condition: ConditionBase | str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Write a whole item.

        Args:
            table: The table's name.
            item: The item, as Python values.
            must_not_exist: Only where there is no item with this key.
            condition: boto3's ``Attr(...)``, or a condition expression with `names` and `values` (Python values).
            label: What errors call this action.

        Raises:
            EncodeError: A value that DynamoDB has no type for.
        """
        expression = _expression(condition, names, values)
        if must_not_exist:
            expression = not_exists(self._outbox._partition_key_of(table)).and_(expression)
        self._add(put_action(table, item, expression), label)

    def update(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002  # DynamoDB's name for the clause
        add: Mapping[str, Any] | None = None,
        remove: Sequence[str] = (),
        must_exist: bool = False,
        condition: ConditionBase | str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Change attributes of an item; without a condition, an item that isn't there is created.

        Args:
            table, condition, names, values, label: As for `put`.
            key: The item's key, as Python values.
            set: Attributes to set.
            add: Numbers to add to attributes, or sets whose members to add.
            remove: Attributes to remove.
            must_exist: Only where the item is there.
        """
        expression = _expression(condition, names, values)
        if must_exist:
            expression = exists(next(iter(key))).and_(expression)
        request = update_action(table, key, set_=set or {}, add=add or {}, remove=remove, condition=expression)
        self._add(request, label)

    def delete(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        must_exist: bool = False,
        condition: ConditionBase | str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Remove an item; the arguments are those of `update`."""
        expression = _expression(condition, names, values)
        if must_exist:
            expression = exists(next(iter(key))).and_(expression)
        self._add(delete_action(table, key, expression), label)

    def check(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        condition: ConditionBase | str,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        label: str | None = None,
    ) -> None:
        """Commit only if a condition holds for an item that isn't written here; arguments as for `update`."""
        self._add(check_action(table, key, _expression(condition, names, values)), label)

    def add(self, action: Mapping[str, Mapping[str, Any]], *, label: str | None = None) -> None:
        """Take an action of the user's own verbatim: ``{"Put": …}``, ``{"Update": …}``, in DynamoDB's typed values."""
        self._add(action, label)

    def emit(
        self,
        event: Event | DomainEvent,
        *,
        sequence: int | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        label: str | None = None,
    ) -> Event:
        """Write an event with the rest.

        Args:
            event: What happened.
            sequence, correlation_id, causation_id: Set on the event, where given.
            label: What errors call this action; by default the event's type and id.

        Returns:
            The event as it will be written.

        Raises:
            InvalidEventError: It could never be sent.
        """
        given = {"sequence": sequence, "correlation_id": correlation_id, "causation_id": causation_id}
        changes = {name: value for name, value in given.items() if value is not None}
        chosen = self._outbox._sourced(event)
        if changes:
            chosen = chosen.replace(**changes)
        self._add(self._outbox._event_action(chosen), label or f"{chosen.type} {chosen.id}")
        self._events.append(chosen)
        return chosen

    def _add(self, request: Mapping[str, Mapping[str, Any]], label: str | None) -> None:
        if self._ended:
            raise RuntimeError("this transaction has ended; begin another one with outbox.transaction()")
        self._actions.append(Action(request, label))

    def __enter__(self) -> Self:
        if self._ended:
            raise RuntimeError("this transaction has ended; begin another one with outbox.transaction()")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        if kind is None:
            self._outbox._commit(self._actions)
            self.result = TransactionResult(tuple(self._events))


def _expression(
    condition: ConditionBase | str | None, names: Mapping[str, str] | None, values: Mapping[str, Any] | None
) -> Expression:
    if condition is None or isinstance(condition, str):
        return Expression(condition or "", names or {}, values or {})
    if names or values:
        raise ValueError("names= and values= go with a condition expression; boto3's Attr(...) brings its own")
    from boto3.dynamodb.conditions import ConditionExpressionBuilder

    built = ConditionExpressionBuilder().build_expression(condition)
    return Expression(built.condition_expression, built.attribute_name_placeholders, built.attribute_value_placeholders)
