"""A transaction as it is gathered: actions in the caller's order, and DynamoDB's answer read back in that order.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import (
    CancellationReason,
    ConditionFailedError,
    TransactionCanceledError,
    TransactionConflictError,
)
from ..codec.values import decode_item, encode_item, encode_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..typing import Item

__all__ = [
    "CONTENTION",
    "Action",
    "Expression",
    "cancellation",
    "check_action",
    "delete_action",
    "is_well_formed",
    "put_action",
    "update_action",
]

_OLD_ITEM = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
CONTENTION = frozenset({"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"})
"""Worth the same transaction again, where every reason is one of these."""


class Action(NamedTuple):
    """One action: its request, and the caller's name for it."""

    request: Mapping[str, Mapping[str, Any]]
    label: str | None
    lock: VersionLock | None = None
    """The version that it is conditional on, so that a refusal may mean only that somebody was faster."""
    is_whole: bool = False
    """Whether it was built here, whole, of values that fit DynamoDB's model."""


def is_well_formed(request: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether what the caller named in an action that was built here is text, so that it fits DynamoDB's model."""
    for kind in request.values():
        texts = [kind["TableName"], kind.get("ConditionExpression", "text")]
        for pair in kind.get("ExpressionAttributeNames", {}).items():
            texts += pair
        for text in texts:
            if not isinstance(text, str) or not text:
                return False
    return True


class VersionLock(NamedTuple):
    """An optimistic lock: the attribute that holds an item's version, and the version that the caller has read."""

    attribute: str
    expected: int
    key: str | None = None
    """An attribute of the item's key, where it is known whether the item was there."""
    was_there: bool = True

    @property
    def next(self) -> int:
        """The version that the item gets."""
        return self.expected + 1

    @property
    def condition(self) -> Expression:
        """The item still has the version that was read, or none where that was 0; and is there, or not, as it was."""
        if self.key is not None and not self.was_there:
            return not_exists(self.key)
        names = {"#outbox_version": self.attribute}
        same = Expression("#outbox_version = :outbox_version", names, {":outbox_version": self.expected})
        if self.expected != 0:
            return same
        same_or_none = same._replace(text=f"attribute_not_exists(#outbox_version) OR {same.text}")
        return same_or_none if self.key is None else exists(self.key).and_(same_or_none)


class Expression(NamedTuple):
    """An expression with what its placeholders stand for; the values are Python's."""

    text: str = ""
    names: Mapping[str, str] = {}
    values: Mapping[str, Any] = {}

    def and_(self, other: Expression) -> Expression:
        """Both conditions."""
        if not self.text or not other.text:
            return self if self.text else other
        text = f"{_grouped(self.text)} AND {_grouped(other.text)}"
        return Expression(text, {**self.names, **other.names}, {**self.values, **other.values})


def _grouped(text: str) -> str:
    """A condition in parentheses, once: DynamoDB refuses redundant ones, and boto3 brings some."""
    text = text.strip()
    depth = 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text if position == len(text) - 1 and text.startswith("(") else f"({text})"
    return f"({text})"


def exists(attribute: str) -> Expression:
    """The item is there; `attribute` is one of its key's."""
    return Expression("attribute_exists(#outbox_key)", {"#outbox_key": attribute})


def not_exists(attribute: str) -> Expression:
    """The item is not there; `attribute` is one of its key's."""
    return Expression("attribute_not_exists(#outbox_key)", {"#outbox_key": attribute})


def put_action(table: str, item: Item, condition: Expression, lock: VersionLock | None = None) -> dict[str, Any]:
    """Write a whole item, with the version that a lock gives it."""
    encoded = encode_item(item)
    if lock is not None:
        encoded[lock.attribute] = encode_value(lock.next)
    return {"Put": {"TableName": table, "Item": encoded, **_conditioned(condition)}}


def delete_action(table: str, key: Mapping[str, Any], condition: Expression) -> dict[str, Any]:
    """Remove an item."""
    return {"Delete": {"TableName": table, "Key": encode_item(key), **_conditioned(condition)}}


def check_action(table: str, key: Mapping[str, Any], condition: Expression) -> dict[str, Any]:
    """Let the transaction depend on an item that it doesn't write."""
    return {"ConditionCheck": {"TableName": table, "Key": encode_item(key), **_conditioned(condition)}}


def update_action(
    table: str,
    key: Mapping[str, Any],
    *,
    set_: Mapping[str, Any],
    add: Mapping[str, Any],
    remove: Sequence[str],
    condition: Expression,
) -> dict[str, Any]:
    """Change attributes of an item, or create it."""
    update = _update_expression(set_, add, remove)
    both = Expression(condition.text, {**condition.names, **update.names}, {**condition.values, **update.values})
    return {
        "Update": {
            "TableName": table,
            "Key": encode_item(key),
            "UpdateExpression": update.text,
            **_conditioned(both),
        }
    }


def _update_expression(set_: Mapping[str, Any], add: Mapping[str, Any], remove: Sequence[str]) -> Expression:
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
        raise ValueError("an update changes something: give set=, add= or remove=")
    return Expression(" ".join(clauses), names, values)


def _conditioned(expression: Expression) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if expression.names:
        request["ExpressionAttributeNames"] = dict(expression.names)
    if expression.values:
        request["ExpressionAttributeValues"] = {name: encode_value(value) for name, value in expression.values.items()}
    if expression.text:
        request |= {"ConditionExpression": expression.text, **_OLD_ITEM}
    return request


def cancellation(actions: Sequence[Action], reasons: Sequence[Mapping[str, Any]]) -> TransactionCanceledError:
    """The error for DynamoDB's cancellation reasons, one per action and in the caller's order."""
    told = [
        CancellationReason(
            position,
            action.label,
            reason.get("Code", "None"),
            reason.get("Message"),
            decode_item(reason["Item"]) if reason.get("Item") else None,
        )
        for position, (action, reason) in enumerate(zip(actions, reasons, strict=True))
    ]
    codes = {reason.code for reason in told} - {"None"}
    if "ConditionalCheckFailed" in codes:
        stale = [
            _is_stale(action.lock, reason.item)
            for action, reason in zip(actions, told, strict=True)
            if reason.code == "ConditionalCheckFailed"
        ]
        return ConditionFailedError(told, is_stale=all(stale) and codes <= {"ConditionalCheckFailed", *CONTENTION})
    if codes and codes <= CONTENTION:
        return TransactionConflictError(told)
    return TransactionCanceledError(told)


def _is_stale(lock: VersionLock | None, item: Mapping[str, Any] | None) -> bool:
    """Whether an action was refused because the item isn't as it was read: in its version, or in being there."""
    if lock is None:
        return False
    if lock.key is not None and lock.was_there != (item is not None):
        return True
    found: object = (item or {}).get(lock.attribute, 0)
    return found != lock.expected
