"""The actions of a transaction, and the reading of DynamoDB's cancellation reasons.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..aws.limits import CONTENTION
from ..codec.short_repr import short_repr
from ..codec.values import decode_item, encode_item, encode_value
from ..errors import (
    CancellationReason,
    ConditionFailedError,
    EncodeError,
    TransactionCanceledError,
    TransactionConflictError,
)
from .update_expression import NEXT_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..typing import Item
    from .update_expression import UpdateExpression

__all__ = [
    "OLD_ITEM",
    "Action",
    "Condition",
    "Version",
    "VersionLock",
    "cancellation",
    "check_action",
    "delete_action",
    "encode_key",
    "exists",
    "is_well_formed",
    "not_exists",
    "put_action",
    "refuse_reserved",
    "update_action",
]

OLD_ITEM = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


class Condition(NamedTuple):
    """A condition expression.

    Args:
        text: The expression: ``#year > :year``.
        names: What its ``#`` placeholders stand for; ``#outbox_`` is reserved.
        values: What its ``:`` placeholders stand for, as Python values; ``:outbox_`` is reserved.
    """

    text: str = ""
    names: Mapping[str, str] = {}
    values: Mapping[str, Any] = {}

    def and_(self, other: Condition) -> Condition:
        """Return the condition that both hold."""
        if not self.text or not other.text:
            return self if self.text else other
        text = f"{_grouped(self.text)} AND {_grouped(other.text)}"
        return Condition(text, {**self.names, **other.names}, {**self.values, **other.values})


class Version(NamedTuple):
    """An optimistic lock: an item's version attribute, and the version that was read (0 if the item had none)."""

    attribute: str
    expected: int


class VersionLock(NamedTuple):
    """A `Version`, and what is known of the item's existence.

    Attributes:
        attribute, expected: As in `Version`.
        first: The version that an item without one gets.
        key: An attribute of the item's key, if it is known whether the item existed.
        existed: Whether it did.
    """

    attribute: str
    expected: int
    first: int
    key: str | None = None
    existed: bool = True

    @property
    def next(self) -> int:
        """The version that the item gets."""
        return self.expected + 1 if self.expected else self.first

    @property
    def condition(self) -> Condition:
        """The item still has the version that was read, and still exists, or not, as it did."""
        if self.key is not None and not self.existed:
            return not_exists(self.key)
        names = {"#outbox_version": self.attribute}
        text = "#outbox_version = :outbox_version"
        if self.expected == 0:
            text = f"attribute_not_exists(#outbox_version) OR {text}"
        same = Condition(text, names, {":outbox_version": self.expected})
        return same if self.key is None or self.expected != 0 else exists(self.key).and_(same)


class Action(NamedTuple):
    """One action of a transaction.

    Attributes:
        request: ``{"Put": …}``, ``{"Update": …}``, ``{"Delete": …}`` or ``{"ConditionCheck": …}``.
        label: The caller's name for it.
        lock: The version that it is conditional on: then a refusal may mean only that another writer was faster.
        is_prevalidated: Whether it was built here, of values that fit botocore's model of the request.
    """

    request: Mapping[str, Mapping[str, Any]]
    label: str | None
    lock: VersionLock | None = None
    is_prevalidated: bool = False

    def with_version(self, version: int) -> Action:
        """Return the action with a later version than its lock's next."""
        ((kind, request),) = self.request.items()
        if self.lock is None or kind not in ("Put", "Update"):
            return self
        part, name = ("Item", self.lock.attribute) if kind == "Put" else ("ExpressionAttributeValues", NEXT_VERSION)
        changed = {**request, part: {**request[part], name: encode_value(version)}}
        return self._replace(request={kind: changed})


def is_well_formed(request: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether the caller's names in a request are text, so that it fits botocore's model."""
    for kind in request.values():
        texts = [kind["TableName"], kind.get("ConditionExpression", "text")]
        for pair in kind.get("ExpressionAttributeNames", {}).items():
            texts += pair
        for text in texts:
            if not isinstance(text, str) or not text:
                return False
    return True


def _grouped(text: str) -> str:
    """Return a condition in one pair of parentheses: DynamoDB refuses redundant ones, and boto3 adds some."""
    text = text.strip()
    depth = 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text if position == len(text) - 1 and text.startswith("(") else f"({text})"
    return f"({text})"


def exists(attribute: str) -> Condition:
    """Return the condition that the item exists; `attribute` is part of its key."""
    return Condition("attribute_exists(#outbox_key)", {"#outbox_key": attribute})


def not_exists(attribute: str) -> Condition:
    """Return the condition that the item doesn't exist; `attribute` is part of its key."""
    return Condition("attribute_not_exists(#outbox_key)", {"#outbox_key": attribute})


def put_action(table: str, item: Item, condition: Condition, lock: VersionLock | None = None) -> dict[str, Any]:
    """Return the action that writes a whole item, with the version that a lock gives it."""
    encoded = encode_item(item)
    if lock is not None:
        encoded[lock.attribute] = encode_value(lock.next)
    return {"Put": {"TableName": table, "Item": encoded, **_conditioned(condition)}}


def delete_action(table: str, key: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    """Return the action that removes an item."""
    return {"Delete": {"TableName": table, "Key": encode_key(key), **_conditioned(condition)}}


def check_action(table: str, key: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    """Return the action that makes the transaction depend on an item that it doesn't write."""
    return {"ConditionCheck": {"TableName": table, "Key": encode_key(key), **_conditioned(condition)}}


def update_action(table: str, key: Mapping[str, Any], update: UpdateExpression, condition: Condition) -> dict[str, Any]:
    """Return the action that changes attributes of an item, or creates it."""
    request = {
        "TableName": table,
        "Key": encode_key(key),
        "UpdateExpression": update.text,
        **_conditioned(condition),
        "ExpressionAttributeNames": {**condition.names, **update.names},
    }
    values = {**request.get("ExpressionAttributeValues", {}), **update.values}
    return {"Update": {**request, "ExpressionAttributeValues": values} if values else request}


def encode_key(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item's key in typed values.

    Raises:
        EncodeError: A key attribute is not text, a number or binary.
    """
    typed = encode_item(key)
    for name, value in typed.items():
        if not value.keys() <= {"S", "N", "B"}:
            raise EncodeError(name, f"a key is text, a number or binary, not {short_repr(key[name])}")
    return typed


def _conditioned(expression: Condition) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if expression.names:
        request["ExpressionAttributeNames"] = dict(expression.names)
    if expression.values:
        request["ExpressionAttributeValues"] = {name: encode_value(value) for name, value in expression.values.items()}
    if expression.text:
        request |= {"ConditionExpression": expression.text, **OLD_ITEM}
    return request


def refuse_reserved(condition: Condition) -> Condition:
    """Return the user's condition, unless it has placeholders that the library uses.

    Raises:
        ValueError: It has one.
    """
    for placeholder in (*condition.names, *condition.values):
        if str(placeholder)[1:].startswith("outbox_"):
            raise ValueError(f"the placeholder {placeholder!r} is reserved: use one that doesn't begin with outbox_")
    return condition


def cancellation(
    actions: Sequence[Action], reasons: Sequence[Mapping[str, Any]], key_names: Mapping[str, Sequence[str]] = {}
) -> TransactionCanceledError:
    """Return the error for DynamoDB's cancellation reasons, one per action in the caller's order.

    Args:
        actions, reasons: By position.
        key_names: The key attributes of tables, as far as they are known.
    """
    parsed = [
        _parsed(position, action, reason, key_names)
        for position, (action, reason) in enumerate(zip(actions, reasons, strict=True))
    ]
    codes = {reason.code for reason in parsed} - {"None"}
    if "ConditionalCheckFailed" in codes:
        stale = [
            _is_stale(action.lock, reason.item)
            for action, reason in zip(actions, parsed, strict=True)
            if reason.code == "ConditionalCheckFailed"
        ]
        return ConditionFailedError(parsed, is_stale=all(stale) and codes <= {"ConditionalCheckFailed", *CONTENTION})
    if codes and codes <= CONTENTION:
        return TransactionConflictError(parsed)
    return TransactionCanceledError(parsed)


def _parsed(
    position: int, action: Action, reason: Mapping[str, Any], key_names: Mapping[str, Sequence[str]]
) -> CancellationReason:
    code, message = reason.get("Code", "None"), reason.get("Message")
    item = decode_item(reason["Item"]) if reason.get("Item") else None
    if code == "ConditionalCheckFailed" and _is_stale(action.lock, item) and action.lock is not None:
        found = "no item" if item is None else f"{action.lock.attribute}={item.get(action.lock.attribute)}"
        expected = f"{action.lock.attribute}={action.lock.expected}" if action.lock.existed else "no item"
        message = f"stale: {expected} was read, and there is {found} now"
    table, key = _address(action.request, key_names)
    return CancellationReason(position, action.label, code, message, item, table, key)


def _address(
    request: Mapping[str, Mapping[str, Any]], key_names: Mapping[str, Sequence[str]]
) -> tuple[str, dict[str, Any]]:
    """Return an action's table, and the item's key as far as it is known."""
    ((_, parts),) = request.items()
    table = parts["TableName"]
    typed = parts.get("Key")
    if typed is None:
        names = key_names.get(table, ())
        typed = {name: value for name, value in parts.get("Item", {}).items() if name in names}
    return table, decode_item(typed)


def _is_stale(lock: VersionLock | None, item: Mapping[str, Any] | None) -> bool:
    """Return whether an action was refused because the item's version or existence has changed since it was read."""
    if lock is None:
        return False
    if lock.key is not None and lock.existed != (item is not None):
        return True
    found: object = (item or {}).get(lock.attribute, 0)
    return found != lock.expected
