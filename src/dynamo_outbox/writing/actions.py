"""The actions of a transaction, and the reading of DynamoDB's cancellation reasons.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..aws.limits import CONTENTION
from ..codec.values import decode_item, encode_item, encode_value
from ..errors import (
    CancellationReason,
    ConditionFailedError,
    TransactionCanceledError,
    TransactionConflictError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..typing import Item

__all__ = [
    "OLD_ITEM",
    "Action",
    "Condition",
    "Version",
    "VersionLock",
    "cancellation",
    "check_action",
    "delete_action",
    "exists",
    "is_well_formed",
    "not_exists",
    "put_action",
    "update_action",
]

OLD_ITEM = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


class Condition(NamedTuple):
    """A condition expression.

    Args:
        text: The expression: ``#year > :year``.
        names: What its ``#`` placeholders stand for.
        values: What its ``:`` placeholders stand for, as Python values.
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
        key: An attribute of the item's key, if it is known whether the item existed.
        existed: Whether it did.
    """

    attribute: str
    expected: int
    key: str | None = None
    existed: bool = True

    @property
    def next(self) -> int:
        """The version that the item gets."""
        return self.expected + 1

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
    return {"Delete": {"TableName": table, "Key": encode_item(key), **_conditioned(condition)}}


def check_action(table: str, key: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    """Return the action that makes the transaction depend on an item that it doesn't write."""
    return {"ConditionCheck": {"TableName": table, "Key": encode_item(key), **_conditioned(condition)}}


def update_action(
    table: str,
    key: Mapping[str, Any],
    *,
    set_: Mapping[str, Any],
    add: Mapping[str, Any],
    remove: Sequence[str],
    condition: Condition,
) -> dict[str, Any]:
    """Return the action that changes attributes of an item, or creates it."""
    update = _update_expression(set_, add, remove)
    both = Condition(condition.text, {**condition.names, **update.names}, {**condition.values, **update.values})
    return {
        "Update": {
            "TableName": table,
            "Key": encode_item(key),
            "UpdateExpression": update.text,
            **_conditioned(both),
        }
    }


def _update_expression(set_: Mapping[str, Any], add: Mapping[str, Any], remove: Sequence[str]) -> Condition:
    names: dict[str, str] = {}
    values: dict[str, Any] = {}

    def placeholders(attribute: str, value: Any) -> tuple[str, str]:
        number = len(names)
        names[f"#outbox_{number}"] = attribute
        values[f":outbox_{number}"] = value
        return f"#outbox_{number}", f":outbox_{number}"

    clauses = []
    if set_:
        clauses.append("SET " + ", ".join(" = ".join(placeholders(*change)) for change in set_.items()))
    if add:
        clauses.append("ADD " + ", ".join(" ".join(placeholders(*change)) for change in add.items()))
    if remove:
        for attribute in remove:
            names[f"#outbox_{len(names)}"] = attribute
        clauses.append("REMOVE " + ", ".join(list(names)[-len(remove) :]))
    if not clauses:
        raise ValueError("an update must change something: give set=, add= or remove=")
    return Condition(" ".join(clauses), names, values)


def _conditioned(expression: Condition) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if expression.names:
        request["ExpressionAttributeNames"] = dict(expression.names)
    if expression.values:
        request["ExpressionAttributeValues"] = {name: encode_value(value) for name, value in expression.values.items()}
    if expression.text:
        request |= {"ConditionExpression": expression.text, **OLD_ITEM}
    return request


def cancellation(actions: Sequence[Action], reasons: Sequence[Mapping[str, Any]]) -> TransactionCanceledError:
    """Return the error for DynamoDB's cancellation reasons, one per action in the caller's order."""
    parsed = [
        CancellationReason(
            position,
            action.label,
            reason.get("Code", "None"),
            reason.get("Message"),
            decode_item(reason["Item"]) if reason.get("Item") else None,
        )
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


def _is_stale(lock: VersionLock | None, item: Mapping[str, Any] | None) -> bool:
    """Return whether an action was refused because the item's version or existence has changed since it was read."""
    if lock is None:
        return False
    if lock.key is not None and lock.existed != (item is not None):
        return True
    found: object = (item or {}).get(lock.attribute, 0)
    return found != lock.expected
