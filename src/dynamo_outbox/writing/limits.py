"""DynamoDB's limits, checked before anything is sent.

Sizes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
Transactions: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..aws.limits import MAX_ACTIONS, MAX_ITEM_BYTES, MAX_TRANSACTION_BYTES
from ..errors import InvalidEventError, TransactionLimitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .actions import Action

__all__ = ["check_event_item", "check_limits", "item_size"]

MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES = 2048, 1024
_CONTAINER_BYTES = 3
"""Size of a list or a map without its members."""
_MEMBER_BYTES = 1
"""Added to the size of each member of a list or a map."""


def item_size(item: Mapping[str, Any]) -> int:
    """Return a typed item's size by DynamoDB's rules, in bytes; a lower bound, as that for numbers is approximate."""
    size = 0
    for name, typed in item.items():
        size += len(name.encode())
        if "S" in typed:  # as most are
            size += len(typed["S"].encode())
        else:
            size += _number_size(typed["N"]) if "N" in typed else _value_size(typed)
    return size


def check_event_item(item: Mapping[str, Mapping[str, str]], partition_key: str, sort_key: str) -> None:
    """Refuse an event if DynamoDB would refuse its outbox item.

    An item of at most 400 KB is less than EventBridge's 1 MB in every form in which it is published: at most twice as
    long where a pipe passes its JSON as text.

    Raises:
        InvalidEventError: The aggregate's id or the event's is too long for a key, or the item has more than 400 KB.
    """
    if 4 * max(len(item[partition_key]["S"]), len(item[sort_key]["S"])) > MAX_SORT_KEY_BYTES:
        limits = ((partition_key, "aggregate_id", MAX_PARTITION_KEY_BYTES), (sort_key, "id", MAX_SORT_KEY_BYTES))
        for attribute, field, most in limits:
            length = len(item[attribute]["S"].encode())
            if length > most:
                raise InvalidEventError(field, f"makes a key of {length:,} bytes, and DynamoDB takes {most:,}")
    size = item_size(item)
    if size > MAX_ITEM_BYTES:
        raise InvalidEventError("data", f"makes an item of {size:,} bytes, and DynamoDB takes {MAX_ITEM_BYTES:,}")


def _value_size(typed: Mapping[str, Any]) -> int:
    ((tag, value),) = typed.items()
    match tag:
        case "S":
            return len(value.encode())
        case "N":
            return _number_size(value)
        case "B":
            return len(value)
        case "SS":
            return sum(len(member.encode()) for member in value)
        case "NS":
            return sum(_number_size(member) for member in value)
        case "BS":
            return sum(len(member) for member in value)
        case "L":
            return _CONTAINER_BYTES + sum(_MEMBER_BYTES + _value_size(member) for member in value)
        case "M":
            return _CONTAINER_BYTES + _MEMBER_BYTES * len(value) + item_size(value)
        case _:
            return 1


def _number_size(text: str) -> int:
    """Return a number's size: two significant digits a byte, and one byte more; outer zeros don't count."""
    mantissa = text.lstrip("+-").upper().partition("E")[0].replace(".", "").strip("0")
    return (len(mantissa) + 1) // 2 + 1


def check_limits(actions: Sequence[Action], keys: Mapping[str, Sequence[str]]) -> None:
    """Refuse a transaction that DynamoDB would refuse, whatever its tables hold.

    Args:
        actions: The transaction.
        keys: The key attributes of tables, as far as they are known, to find an item that is named twice.

    Raises:
        TransactionLimitError: More than 100 actions, an item over 400 KB, 4 MB in all, or an item twice; the error
            names the action by its label or its position.
    """
    if len(actions) > MAX_ACTIONS:
        problem = f"the transaction has {len(actions)} actions, and DynamoDB takes {MAX_ACTIONS}, events included"
        raise TransactionLimitError("actions", _name(actions, MAX_ACTIONS), problem)
    total = 0
    seen: dict[tuple[Any, ...], int] = {}
    key_names = _key_names(actions, keys)
    for position, action in enumerate(actions):
        ((_, request),) = action.request.items()
        content = request.get("Item") or request.get("Key") or {}
        size = item_size(content) + _least_change(request)
        if size > MAX_ITEM_BYTES:
            problem = f"the item has {size:,} bytes, and DynamoDB takes {MAX_ITEM_BYTES:,}"
            raise TransactionLimitError("item size", _name(actions, position), problem)
        total += size
        if total > MAX_TRANSACTION_BYTES:
            problem = f"with it the transaction has {total:,} bytes, and DynamoDB takes {MAX_TRANSACTION_BYTES:,}"
            raise TransactionLimitError("transaction size", _name(actions, position), problem)
        identity = _identity(request, content, key_names)
        if identity is not None and seen.setdefault(identity, position) != position:
            problem = f"names the same item as {_name(actions, seen[identity])}; DynamoDB takes one action per item"
            raise TransactionLimitError("same item", _name(actions, position), problem)


def _least_change(request: Mapping[str, Any]) -> int:
    """Return a lower bound of what an update's SET values add; the item's other attributes are unknown."""
    update: str = request.get("UpdateExpression", "")
    values = request.get("ExpressionAttributeValues", {})
    return sum(_value_size(typed) for name, typed in values.items() if f" = {name}" in update)


def _key_names(actions: Sequence[Action], keys: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Return the tables' full keys: as given, or as in an action that has a key."""
    names = {table: frozenset(attributes) for table, attributes in keys.items()}
    for action in actions:
        ((_, request),) = action.request.items()
        if "Key" in request:
            names[request["TableName"]] = frozenset(request["Key"])
    return names


def _identity(
    request: Mapping[str, Any], content: Mapping[str, Any], keys: Mapping[str, frozenset[str]]
) -> tuple[Any, ...] | None:
    """Return table and key, comparable; None if the key is unknown."""
    table = request["TableName"]
    names = keys.get(table)
    if names is None or not names <= content.keys():
        return None
    return (table, *((name, *_comparable(content[name])) for name in sorted(names)))


def _comparable(typed: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a key's value, comparable: 1 and 1.0 are one key."""
    ((tag, value),) = typed.items()
    if tag in ("S", "N", "B"):
        return tag, Decimal(value) if tag == "N" else value
    return tag, repr(value)  # DynamoDB refuses it as a key


def _name(actions: Sequence[Action], position: int) -> str:
    return actions[position].label or f"action {position}"
