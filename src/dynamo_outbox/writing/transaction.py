"""A transaction: gathers actions and events, and sends them as one when its block ends without an exception."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypedDict

from ..codec.short_repr import short_repr
from ..codec.values import decode_item, encode_item
from ..errors import DecodeError, EncodeError, InvalidEventError
from ..events.event import Event
from ..events.limits import check_numbers
from ..events.outbox_item import encode_event
from .actions import (
    Action,
    Condition,
    Version,
    VersionLock,
    check_action,
    delete_action,
    encode_key,
    exists,
    is_well_formed,
    not_exists,
    put_action,
    refuse_reserved,
    update_action,
)
from .commit import commit
from .commit_rules import Proof
from .limits import check_event_item, check_limits
from .update_expression import update_expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from boto3.dynamodb.conditions import ConditionBase

    from ..events.domain_event import DomainEvent
    from ..typing import Item
    from .settings import WriterSettings

    ConditionOption: TypeAlias = ConditionBase | Condition | Literal["must_exist"] | None

DAY = 86_400
"""Seconds."""

__all__ = ["DeleteOptions", "PutOptions", "Transaction", "TransactionResult", "UpdateOptions", "event_proof"]


class DeleteOptions(TypedDict, total=False):
    """The options of `Transaction.delete`."""

    condition: ConditionOption
    version: str | Version | None
    label: str | None


class PutOptions(DeleteOptions, total=False):
    """The options of `Transaction.put`."""

    must_not_exist: bool


class UpdateOptions(DeleteOptions, total=False):
    """The options of `Transaction.update`."""

    set: Mapping[str, Any] | None
    add: Mapping[str, Any] | None
    remove: str | Sequence[str]


@dataclass(slots=True)
class _Read:
    """An item that was read, and the version on which the transaction depends."""

    table: str
    key: Mapping[str, Any]
    typed_key: Mapping[str, Any]
    lock: VersionLock
    is_checked: bool = False
    """True if an action of the transaction has the condition."""

    @property
    def check(self) -> Action:
        """The action that makes the commit depend on it."""
        return Action(check_action(self.table, self.key, self.lock.condition), f"read of {self.table}", self.lock)


@dataclass(slots=True, eq=False)
class _Numbering:
    """A version lock that numbers events.

    Attributes:
        next: The next event's sequence.
        position: The action that gives the item its version.
    """

    next: int
    position: int


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """The result of a commit.

    Attributes:
        events: The events as they were written, in the order of `Transaction.emit`.
    """

    events: tuple[Event, ...]


class Transaction:
    """Gathers actions and events; `TransactionalOutbox.transaction` creates it.

    Args:
        settings: The outbox's.
        attempts: How often it is sent if others contend for its items.
        token: Its ``ClientRequestToken``; by default a new one.
    """

    def __init__(self, settings: WriterSettings, *, attempts: int, token: str | None = None) -> None:
        self._settings = settings
        self._attempts = attempts
        self._token = token
        self._actions: list[Action] = []
        self._events: list[Event] = []
        self._sequences: set[tuple[str | None, int | None]] = set()
        """Aggregate and sequence of the events that have both."""
        self._versions: list[_Numbering] = []
        """The version locks whose new version no event has taken as its sequence."""
        self._numbered: dict[str, _Numbering] = {}
        """The version lock that numbers an aggregate's events."""
        self._reads: list[_Read] = []
        self._proof: Proof | None = None
        self._begun = False
        self._ended = False
        self._result: TransactionResult | None = None

    @property
    def result(self) -> TransactionResult:
        """The result, after the block has ended without an exception.

        Raises:
            RuntimeError: The transaction has not been committed.
        """
        if self._result is None:
            raise RuntimeError("this transaction has not been committed")
        return self._result

    def get(self, table: str, key: Mapping[str, Any], *, version: str) -> dict[str, Any] | None:
        """Read an item with strong consistency; the commit succeeds only if it has not changed since.

        Args:
            table: The table's name.
            key: The item's key, as Python values.
            version: The attribute that holds the item's version, which every writer increments. A later action of this
                transaction on the item uses it as its version lock; without one, the commit checks it. `add` takes its
                action verbatim, so don't use it for an item that was read here.

        Returns:
            The item, as Python values; None if there is none, and then the commit requires that there still is none.

        Raises:
            ValueError: The attribute holds no whole number.
            RuntimeError: The transaction has ended.

        Cost: one round trip, and one more action in the transaction if the item is not written.
        """
        self._refuse_unless_open()
        typed_key = encode_key(key)
        response = self._settings.dynamodb.call("get_item", TableName=table, Key=typed_key, ConsistentRead=True)
        item = decode_item(response["Item"]) if response.get("Item") else None
        found = (item or {}).get(version, 0)
        if type(found) not in (int, Decimal) or found != int(found):
            raise ValueError(f"{table} {dict(key)}: {version} holds {found!r}, and a version is a whole number")
        if self._read_of(table, typed_key) is None:
            lock = VersionLock(version, int(found), self._first_version(), next(iter(key)), existed=item is not None)
            self._reads.append(_Read(table, key, typed_key, lock))
        return item

    def put(
        self,
        table: str,
        item: Item,
        *,
        must_not_exist: bool = False,
        condition: ConditionOption = None,
        version: str | Version | None = None,
        label: str | None = None,
    ) -> None:
        """Write a whole item.

        Args:
            table: The table's name.
            item: The item, as Python values, a pydantic model or a dataclass.
            must_not_exist: Refuse the transaction if an item with this key exists.
            condition: boto3's ``Attr(...)``, a `Condition`, or ``"must_exist"``.
            version: An optimistic lock: ``Version("version", expected=3)`` names the item's version attribute and the
                version that was read, 0 if the item had none. The action is conditional on it. The version becomes
                ``expected`` + 1, or the time in epoch milliseconds if the item had none, and this is the sequence of
                the next event. Not needed for an item that `get` has read.
            label: The name of this action in errors.

        Raises:
            EncodeError: DynamoDB has no type for a value.
        """
        own = not_exists(self._settings.partition_key_of(table)) if must_not_exist else Condition()
        lock = self._lock_of(table, item, version)
        expression = _combined(lock, own.and_(self._condition(condition, table)))
        self._act(put_action(table, item, expression, lock), label, lock)

    def update(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002  # DynamoDB's name for the clause
        add: Mapping[str, Any] | None = None,
        remove: str | Sequence[str] = (),
        condition: ConditionOption = None,
        version: str | Version | None = None,
        label: str | None = None,
    ) -> None:
        """Change attributes of an item; without a condition, a missing item is created.

        Args:
            table, condition, version, label: As for `put`.
            key: The item's key, as Python values.
            set: Attributes to set; a value may be `IfNotExists` or `ListAppend`.
            add: Numbers to add to attributes, or sets whose members to add.
            remove: An attribute to remove, or several.

        A name with dots or brackets is a path into a nested value, as in boto3's ``Attr``: ``address.city``,
        ``lines[0].price``. For an attribute whose own name has a dot, use `add`.

        Raises:
            ValueError: Nothing is changed, or a path twice.
            EncodeError: DynamoDB has no type for a value; the error names the attribute.
        """
        lock = self._lock_of(table, key, version)
        removed = (remove,) if isinstance(remove, str) else tuple(remove)
        expression = _combined(lock, self._condition(condition, table, key))
        update = update_expression(set or {}, add or {}, removed, None if lock is None else (lock.attribute, lock.next))
        self._act(update_action(table, key, update, expression), label, lock)

    def delete(
        self,
        table: str,
        key: Mapping[str, Any],
        *,
        condition: ConditionOption = None,
        version: str | Version | None = None,
        label: str | None = None,
    ) -> None:
        """Remove an item; the arguments are those of `update`."""
        lock = self._lock_of(table, key, version)
        self._act(delete_action(table, key, _combined(lock, self._condition(condition, table, key))), label, lock)

    def check(
        self, table: str, key: Mapping[str, Any], *, condition: ConditionOption, label: str | None = None
    ) -> None:
        """Commit only if a condition holds for an item that isn't written here; arguments as for `update`."""
        lock = self._lock_of(table, key, None)
        request = check_action(table, key, _combined(lock, self._condition(condition, table, key)))
        self._act(request, label, lock, increments=False)

    def add(self, action: Mapping[str, Mapping[str, Any]], *, label: str | None = None) -> None:
        """Add an action verbatim, in DynamoDB's typed values.

        Args:
            action: ``{"Put": …}``, ``{"Update": …}``, ``{"Delete": …}`` or ``{"ConditionCheck": …}``.
            label: The name of this action in errors.

        Raises:
            ValueError: Not one of the four, or without a table's name.
            EncodeError: A value is not typed; the path says where.
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
        self._refuse_unless_open()
        self._actions.append(Action(action, label))

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
            event: The event.
            sequence: The event's number within its aggregate. After an action with a version lock, the next event takes
                the new version, and further events of its aggregate the following ones: the item gets the last of them.
                Any other event needs a number of its own, or has none.
            correlation_id, causation_id: Set on the event, if given.
            label: The name of this action in errors; by default the event's type and id.

        Returns:
            The event as it will be written.

        Raises:
            InvalidEventError: It could never be sent, shares its sequence with another event of the transaction, or
                follows several version locks without a sequence of its own.
        """
        self._refuse_unless_open()
        chosen = _as_event(event)
        changes: dict[str, Any] = {"correlation_id": correlation_id, "causation_id": causation_id}
        if chosen.source is None:
            changes["source"] = self._settings.source
        return self._write(chosen, changes, sequence, label)

    def _write(self, event: Event, changes: Mapping[str, Any], sequence: int | None, label: str | None) -> Event:
        """Add the event's action; `changes` that are None leave the event as it is."""
        taken = event.sequence if sequence is None else sequence
        numbering = self._numbering_of(event.aggregate, taken)
        if taken is None and numbering is not None:
            taken = numbering.next
        given = {name: value for name, value in {**changes, "sequence": taken}.items() if value is not None}
        event = event.replace(**given) if given else event
        place = event.aggregate, taken
        if place in self._sequences:
            raise InvalidEventError(
                "sequence", f"{taken} is another event's of this aggregate and transaction; give each its own"
            )
        proof = event_proof(event, self._settings, expires_at=self._expires_at())
        self._actions.append(Action(proof.put(), label or f"{event.type} {event.id}", is_prevalidated=True))
        if numbering is not None:  # not before: a refused event takes no version
            self._number(event.aggregate, numbering)
        self._events.append(event)
        if None not in place:
            self._sequences.add(place)
        if self._proof is None:
            self._proof = proof
        return event

    def _expires_at(self) -> int | None:
        """Return the time to live of the events: with the caller's token, the same for the whole day."""
        if self._token is None:
            return None
        return -(-self._settings.expires_at() // DAY) * DAY

    def _numbering_of(self, aggregate: str | None, sequence: int | None) -> _Numbering | None:
        """Return the version lock that numbers an event: its aggregate's, or the one that no event has taken yet."""
        if sequence is not None:
            return next((each for each in self._versions if each.next == sequence), None)
        if aggregate is not None and aggregate in self._numbered:
            return self._numbered[aggregate]
        if len(self._versions) > 1:
            versions = [each.next for each in self._versions]
            raise InvalidEventError("sequence", f"follows version locks to {versions}; say which with sequence=")
        return self._versions[0] if self._versions else None

    def _number(self, aggregate: str | None, numbering: _Numbering) -> None:
        """Let an event take a lock's next version; from the second event on, the item's version follows."""
        if numbering in self._versions:
            self._versions.remove(numbering)
        else:
            action = self._actions[numbering.position]
            self._actions[numbering.position] = action.with_version(numbering.next)
        if aggregate is not None:
            self._numbered[aggregate] = numbering
        numbering.next += 1

    def _act(
        self,
        request: Mapping[str, Mapping[str, Any]],
        label: str | None,
        lock: VersionLock | None,
        *,
        increments: bool = True,
    ) -> None:
        """Add an action with its version lock, which may increment the version."""
        self._refuse_unless_open()
        self._actions.append(Action(request, label, lock, is_well_formed(request)))
        if self._reads:
            ((_, action),) = request.items()
            read = self._read_of(action["TableName"], action.get("Item") or action["Key"])
            if read is not None:
                read.is_checked = True
        if lock is not None and increments:
            self._versions.append(_Numbering(lock.next, len(self._actions) - 1))

    def _refuse_unless_open(self) -> None:
        if self._ended:
            raise RuntimeError("this transaction has ended; begin another one with outbox.transaction()")
        if not self._begun:
            raise RuntimeError("this transaction has not begun: use it in a block, `with outbox.transaction() as tx:`")

    def __enter__(self) -> Self:
        if self._ended:
            self._refuse_unless_open()
        if self._begun:  # a second block would commit its actions, and the first one all of them again
            raise RuntimeError("this transaction has begun already; begin another one with outbox.transaction()")
        self._begun = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        if kind is None:
            self._commit()

    def _commit(self) -> None:
        """Send the actions, followed by the checks of items that were only read."""
        actions = [*self._actions, *(read.check for read in self._reads if not read.is_checked)]
        if actions:
            check_limits(actions, self._settings.key_names)
            commit(self._settings, actions, attempts=self._attempts, proof=self._proof, token=self._token)
        self._result = TransactionResult(tuple(self._events))

    def _read_of(self, table: str, content: Mapping[str, Any]) -> _Read | None:
        """Return what `get` has read of the item whose key is among these typed attributes."""
        return next(
            (read for read in self._reads if read.table == table and read.typed_key.items() <= content.items()), None
        )

    def _lock_of(self, table: str, content: Item, version: str | Version | None) -> VersionLock | None:
        """Return an action's version lock: the caller's, or that of `get`."""
        if isinstance(version, Version):
            return VersionLock(*version, self._first_version())
        read = self._read_of(table, encode_item(content)) if self._reads else None
        if read is not None:
            if version not in (None, read.lock.attribute):
                raise ValueError(f"version={version!r}, but get() has read the item by {read.lock.attribute!r}")
            return read.lock
        if version is None:
            return None
        raise ValueError(
            f"version={version!r} needs the version that was read: read the item with get(), or give "
            f"Version({version!r}, expected=...)"
        )

    def _first_version(self) -> int:
        """Return the version of a new item: the time in epoch milliseconds, so that a later item with its key follows.

        An item takes at most about 1,000 writes a second, so the versions of an earlier item with the key are lower.
        """
        return int(self._settings.clock.now().timestamp() * 1000)

    def _condition(self, condition: ConditionOption, table: str, key: Mapping[str, Any] | None = None) -> Condition:
        """Return a condition as an expression; without the item's key, the table's is used."""
        if condition is None:
            return Condition()
        if isinstance(condition, Condition):
            return refuse_reserved(condition)
        if isinstance(condition, str):
            if condition != "must_exist":
                raise TypeError(
                    f"condition={condition!r} must be Attr(...), Condition({condition!r}, ...) or 'must_exist'"
                )
            return exists(self._settings.partition_key_of(table) if key is None else next(iter(key)))
        from boto3.dynamodb.conditions import ConditionExpressionBuilder

        built = ConditionExpressionBuilder().build_expression(condition)
        names, values = built.attribute_name_placeholders, built.attribute_value_placeholders
        return Condition(built.condition_expression, names, values)


def _as_event(event: Event | DomainEvent) -> Event:
    if isinstance(event, Event):
        return event
    if not hasattr(event, "to_event"):
        raise TypeError(f"emit() takes an Event or a DomainEvent, not {short_repr(event)}")
    return event.to_event()


def event_proof(
    event: Event, settings: WriterSettings, *, expires_at: int | None = None, is_dated: bool = True
) -> Proof:
    """Return an event's outbox item, checked.

    Args:
        event: The event.
        settings: The outbox's.
        expires_at: When the item may be deleted, in epoch seconds; by default the outbox's ttl from now.
        is_dated: Whether that is known.

    Raises:
        InvalidEventError: The event has no source, or could never be written or published.
    """
    check_numbers(event)
    keys = settings.table_keys
    item = encode_event(event, expires_at=settings.expires_at() if expires_at is None else expires_at, keys=keys)
    check_event_item(item, keys.partition_key, keys.sort_key or "")
    return Proof(settings.table, item, keys, is_dated)


def _combined(lock: VersionLock | None, condition: Condition) -> Condition:
    return condition if lock is None else lock.condition.and_(condition)
