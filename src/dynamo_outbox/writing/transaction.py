"""A transaction of the user's: gathers actions and events, and is sent as one when its block ends cleanly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self, TypedDict

from .actions import (
    Action,
    Expression,
    VersionLock,
    check_action,
    delete_action,
    exists,
    is_well_formed,
    not_exists,
    put_action,
    update_action,
)
from ..codec.values import decode_item, encode_item
from ..errors import DecodeError, EncodeError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from boto3.dynamodb.conditions import ConditionBase

    from .commit_rules import Proof
    from ..events.domain_event import DomainEvent
    from ..events.event import Event
    from .outbox import TransactionalOutbox
    from ..typing import Item

__all__ = ["DeleteOptions", "PutOptions", "Transaction", "TransactionResult", "UpdateOptions"]


class _Options(TypedDict, total=False):
    condition: ConditionBase | str | None
    names: Mapping[str, str] | None
    values: Mapping[str, Any] | None
    version: str | None
    expected: int | None
    label: str | None


class PutOptions(_Options, total=False):
    """What `Transaction.put` takes besides table and item."""

    must_not_exist: bool


class DeleteOptions(_Options, total=False):
    """What `Transaction.delete` takes besides table and key."""

    must_exist: bool


class UpdateOptions(DeleteOptions, total=False):
    """What `Transaction.update` takes besides table and key."""

    set: Mapping[str, Any] | None
    add: Mapping[str, Any] | None
    remove: str | Sequence[str]


@dataclass(slots=True)
class Read:
    """An item that was read, and the version on which the transaction depends; does an action of it see to that?"""

    table: str
    key: Mapping[str, Any]
    typed_key: Mapping[str, Any]
    lock: VersionLock
    is_locked: bool = False

    @property
    def check(self) -> Action:
        """The action that lets the commit depend on it."""
        return Action(check_action(self.table, self.key, self.lock.condition), f"read of {self.table}", self.lock)


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What a transaction committed.

    Attributes:
        events: The events, in the order in which they were emitted, as they were written.
    """

    events: tuple[Event, ...]


class Transaction:
    """Gathers actions and events; `TransactionalOutbox.transaction` makes it."""

    def __init__(self, outbox: TransactionalOutbox, *, retries: int) -> None:
        self._outbox = outbox
        self._retries = retries
        self._actions: list[Action] = []
        self._events: list[Event] = []
        self._places: set[tuple[str | None, int | None]] = set()
        """Aggregate and sequence of the events that have both."""
        self._versions: list[int] = []
        self._reads: list[Read] = []
        self._proof: Proof | None = None
        self._begun = False
        self._ended = False
        self._result: TransactionResult | None = None

    @property
    def result(self) -> TransactionResult:
        """What was committed, after a clean exit.

        Raises:
            RuntimeError: The transaction has not been committed.
        """
        if self._result is None:
            raise RuntimeError("this transaction has not been committed")
        return self._result

    def get(self, table: str, key: Mapping[str, Any], *, version: str) -> dict[str, Any] | None:
        """Read an item, consistently, and commit only if it is still as it was read.

        Args:
            table: The table's name.
            key: The item's key, as Python values.
            version: The attribute that holds the item's version, which every writer increments. A later action of this
                transaction on the same item gets it as its version lock; without one, the commit checks it. `add`
                takes its action verbatim, and so not for an item that was read here.

        Returns:
            The item, as Python values; None where there is none, and then the commit wants it to be so still.

        Raises:
            ValueError: What the attribute holds is no version: a whole number.
            RuntimeError: The transaction has ended.

        Cost: one round trip, and one more action in the transaction where the item isn't written.
        """
        self._refuse_if_ended()
        typed_key = encode_item(key)
        answer = self._outbox._client().get_item(TableName=table, Key=typed_key, ConsistentRead=True)
        item = decode_item(answer["Item"]) if answer.get("Item") else None
        found = (item or {}).get(version, 0)
        if type(found) not in (int, Decimal) or found != int(found):
            raise ValueError(f"{table} {dict(key)}: {version} holds {found!r}, and a version is a whole number")
        if self._read_of(table, typed_key) is None:
            lock = VersionLock(version, int(found), next(iter(key)), was_there=item is not None)
            self._reads.append(Read(table, key, typed_key, lock))
        return item

    def put(
        self,
        table: str,
        item: Item,
        *,
        must_not_exist: bool = False,
        condition: ConditionBase | str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        version: str | None = None,
        expected: int | None = None,
        label: str | None = None,
    ) -> None:
        """Write a whole item.

        Args:
            table: The table's name.
            item: The item, as Python values, a pydantic model or a dataclass.
            must_not_exist: Only where there is no item with this key.
            condition: boto3's ``Attr(...)``, or a condition expression with `names` and `values` (Python values).
            version: The attribute that holds the item's version: an optimistic lock. The action is conditional on
                `expected`, the version becomes `expected` + 1, and that is the sequence of the next event emitted.
            expected: The version that was read, 0 where the item has none yet; given with `version`. Where `get` has
                read the item, both are known.
            label: What errors call this action.

        Raises:
            EncodeError: A value that DynamoDB has no type for.
        """
        expression = _expression(condition, names, values)
        if must_not_exist:
            expression = not_exists(self._outbox._partition_key_of(table)).and_(expression)
        lock = self._lock_of(table, item, version, expected)
        if lock is not None:
            expression = lock.condition.and_(expression)
        self._act(put_action(table, item, expression, lock), label, lock)

    def update(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002  # DynamoDB's name for the clause
        add: Mapping[str, Any] | None = None,
        remove: str | Sequence[str] = (),
        must_exist: bool = False,
        condition: ConditionBase | str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        version: str | None = None,
        expected: int | None = None,
        label: str | None = None,
    ) -> None:
        """Change attributes of an item; without a condition, an item that isn't there is created.

        Args:
            table, condition, names, values, version, expected, label: As for `put`.
            key: The item's key, as Python values.
            set: Attributes to set.
            add: Numbers to add to attributes, or sets whose members to add.
            remove: An attribute to remove, or several.
            must_exist: Only where the item is there.
        """
        expression = _expression(condition, names, values)
        if must_exist:
            expression = exists(next(iter(key))).and_(expression)
        lock = self._lock_of(table, key, version, expected)
        changes = dict(set or {})
        if lock is not None:
            changes[lock.attribute] = lock.next
            expression = lock.condition.and_(expression)
        removed = (remove,) if isinstance(remove, str) else tuple(remove)
        request = update_action(table, key, set_=changes, add=add or {}, remove=removed, condition=expression)
        self._act(request, label, lock)

    def delete(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        must_exist: bool = False,
        condition: ConditionBase | str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
        version: str | None = None,
        expected: int | None = None,
        label: str | None = None,
    ) -> None:
        """Remove an item; the arguments are those of `update`."""
        expression = _expression(condition, names, values)
        if must_exist:
            expression = exists(next(iter(key))).and_(expression)
        lock = self._lock_of(table, key, version, expected)
        if lock is not None:
            expression = lock.condition.and_(expression)
        self._act(delete_action(table, key, expression), label, lock)

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
        expression = _expression(condition, names, values)
        lock = self._lock_of(table, key, None, None)
        if lock is not None:
            expression = lock.condition.and_(expression)
        self._act(check_action(table, key, expression), label, lock, moves=False)

    def add(self, action: Mapping[str, Mapping[str, Any]], *, label: str | None = None) -> None:
        """Take an action of the user's own verbatim, in DynamoDB's typed values.

        Args:
            action: ``{"Put": …}``, ``{"Update": …}``, ``{"Delete": …}`` or ``{"ConditionCheck": …}``.
            label: What errors call this action.

        Raises:
            ValueError: Not one of the four, or without a table's name.
            EncodeError: Values that aren't typed; the path says where.
        """
        kinds = ("Put", "Update", "Delete", "ConditionCheck")
        if len(action) != 1 or next(iter(action)) not in kinds or "TableName" not in next(iter(action.values())):
            raise ValueError(f"an action is a map with one of {', '.join(kinds)} and its request, not {action!r}")
        ((kind, request),) = action.items()
        for part in ("Item", "Key", "ExpressionAttributeValues"):
            try:
                decode_item(request.get(part, {}))
            except DecodeError as error:
                where = error.within(f"{label or 'action'}.{kind}.{part}").path
                raise EncodeError(where, f"add() takes DynamoDB's typed values: {error.problem}") from None
        self._add(action, label, is_built=False)

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
            sequence: The event's number among its aggregate's. After an action with a version lock, the next event
                takes the new version by itself; any other needs a number of its own, or has none.
            correlation_id, causation_id: Set on the event, where given.
            label: What errors call this action; by default the event's type and id.

        Returns:
            The event as it will be written.

        Raises:
            InvalidEventError: It could never be sent, or would share its sequence with another of the transaction, or
                follows several version locks without saying whose sequence it takes.
        """
        chosen = self._outbox._sourced(event)
        if sequence is None and chosen.sequence is None:
            sequence, versions = self._next_version(), []
        else:
            taken = chosen.sequence if sequence is None else sequence
            versions = [version for version in self._versions if version != taken]
        given = {"sequence": sequence, "correlation_id": correlation_id, "causation_id": causation_id}
        changes = {name: value for name, value in given.items() if value is not None}
        if changes:
            chosen = chosen.replace(**changes)
        place = chosen.aggregate, chosen.sequence
        if place in self._places:
            raise InvalidEventError(
                "sequence", f"{chosen.sequence} is another event's of this aggregate and transaction; give each its own"
            )
        action = self._outbox._event_action(chosen)
        self._add(action, label or f"{chosen.type} {chosen.id}")
        self._versions = versions  # not before, for an event that is refused takes none
        self._events.append(chosen)
        if None not in place:
            self._places.add(place)
        if self._proof is None:
            self._proof = self._outbox._proof_of(action)
        return chosen

    def _next_version(self) -> int | None:
        """The version that the version lock before gave; None without one."""
        if len(self._versions) > 1:
            raise InvalidEventError("sequence", f"follows version locks to {self._versions}; say which with sequence=")
        return self._versions[0] if self._versions else None

    def _act(
        self,
        request: Mapping[str, Mapping[str, Any]],
        label: str | None,
        lock: VersionLock | None,
        *,
        moves: bool = True,
    ) -> None:
        """Take an action with its version lock, which sees to what was read; does it move the version on?"""
        self._add(request, label, lock)
        ((_, action),) = request.items()
        read = self._read_of(action["TableName"], action.get("Item") or action["Key"])
        if read is not None:
            read.is_locked = True
        if lock is not None and moves:
            self._versions.append(lock.next)

    def _add(
        self,
        request: Mapping[str, Mapping[str, Any]],
        label: str | None,
        lock: VersionLock | None = None,
        *,
        is_built: bool = True,
    ) -> None:
        """Take an action; was it built here?"""
        self._refuse_if_ended()
        self._actions.append(Action(request, label, lock, is_built and is_well_formed(request)))

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise RuntimeError("this transaction has ended; begin another one with outbox.transaction()")

    def __enter__(self) -> Self:
        self._refuse_if_ended()
        if self._begun:  # a second block would commit its actions, and the first one all of them again
            raise RuntimeError("this transaction has begun already, and the end of its own block commits it")
        self._begun = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        if kind is None:
            self._commit()

    def _commit(self) -> None:
        """Send the actions, and behind them the checks of what was only read."""
        checks = [read.check for read in self._reads if not read.is_locked]
        self._outbox._commit([*self._actions, *checks], retries=self._retries, proof=self._proof)
        self._result = TransactionResult(tuple(self._events))

    def _read_of(self, table: str, content: Mapping[str, Any]) -> Read | None:
        """What `get` has read of an item, of whose typed attributes `content` holds the key."""
        return next(
            (read for read in self._reads if read.table == table and read.typed_key.items() <= content.items()), None
        )

    def _lock_of(self, table: str, content: Item, version: str | None, expected: int | None) -> VersionLock | None:
        """An action's version lock: what the caller says, or else what `get` has read."""
        read = self._read_of(table, encode_item(content)) if self._reads else None
        if read is None or expected is not None:
            lock = _lock(version, expected)
        elif version not in (None, read.lock.attribute):
            raise ValueError(f"version={version!r}, but get() has read the item by {read.lock.attribute!r}")
        else:
            lock = read.lock
        return lock


def _lock(attribute: str | None, expected: int | None) -> VersionLock | None:
    if (attribute is None) != (expected is None):
        raise ValueError("version= names the attribute and expected= the version that was read: give both or neither")
    return None if attribute is None or expected is None else VersionLock(attribute, expected)


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
