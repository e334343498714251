"""DynamoDB's limits, checked before anything is sent.

Sizes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
Transactions: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..errors import InvalidEventError, TransactionLimitError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .actions import Action

__all__ = ["MAX_ACTIONS", "MAX_ITEM_BYTES", "MAX_TRANSACTION_BYTES", "check_event_item", "check_limits", "item_size"]

MAX_ACTIONS = 100
MAX_ITEM_BYTES = 400 * 1024
MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES = 2048, 1024
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
_CONTAINER_BYTES = 3
"""What a list or a map counts besides its members."""
_MEMBER_BYTES = 1
"""What each member of a list or a map counts besides itself."""


def item_size(item: Mapping[str, Any]) -> int:
    """The size of a typed item by DynamoDB's rules, in bytes; of a number, whose rule is approximate, the least."""
    return sum(len(name.encode()) + _value_size(typed) for name, typed in item.items())


def check_event_item(item: Mapping[str, Mapping[str, str]], partition_key: str, sort_key: str) -> None:
    """Refuse an event whose outbox item DynamoDB would refuse.

    Raises:
        InvalidEventError: Its aggregate's id or its own is too long for a key, or the item has more than 400 KB.
    """
    keys_at_most = 4 * max(len(item[partition_key]["S"]), len(item[sort_key]["S"]))
    if keys_at_most <= MAX_SORT_KEY_BYTES and _size_at_most(item) <= MAX_ITEM_BYTES:
        return
    limits = ((partition_key, "aggregate_id", MAX_PARTITION_KEY_BYTES), (sort_key, "id", MAX_SORT_KEY_BYTES))
    for attribute, field, most in limits:
        size = len(item[attribute]["S"].encode())
        if size > most:
            raise InvalidEventError(field, f"makes a key of {size:,} bytes, and DynamoDB takes {most:,}")
    if (size := item_size(item)) > MAX_ITEM_BYTES:
        raise InvalidEventError("data", f"makes an item of {size:,} bytes, and DynamoDB takes {MAX_ITEM_BYTES:,}")


def _size_at_most(item: Mapping[str, Any]) -> int:
    """No less than `item_size`, and sooner found: text by its characters, of which none has more than four bytes."""
    characters = 0
    others = 0
    for name, typed in item.items():
        text = typed.get("S")
        if text is None:
            text = typed.get("N")
        if text is None:
            text = ""
            others += _value_size(typed)
        characters += len(name) + len(text) + 1  # a number has at most a byte more than it has digits
    return 4 * characters + others


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
    """Two significant digits a byte, and one byte more; zeros at either end don't count."""
    mantissa = text.lstrip("+-").upper().partition("E")[0].replace(".", "").strip("0")
    return (len(mantissa) + 1) // 2 + 1


def check_limits(actions: Sequence[Action], keys: Mapping[str, Sequence[str]]) -> None:
    """Refuse a transaction that DynamoDB would refuse whatever its tables hold.

    Args:
        actions: The transaction.
        keys: The key attributes of the tables where they are known, for finding an item that is named twice.

    Raises:
        TransactionLimitError: More than 100 actions, an item over 400 KB, 4 MB in all, or an item twice; it names the
            offender by its label or its position.
    """
    if len(actions) > MAX_ACTIONS:
        problem = f"the transaction has {len(actions)} actions, and DynamoDB takes {MAX_ACTIONS}, events included"
        raise TransactionLimitError("actions", _name(actions, MAX_ACTIONS), problem)
    if _are_small(actions):
        return
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


def _are_small(actions: Sequence[Action]) -> bool:
    """Whether actions, each on a table of its own, are so small that none can break a limit."""
    tables = set()
    total = 0
    for action in actions:
        for request in action.request.values():
            tables.add(request["TableName"])
            for part in ("Item", "Key", "ExpressionAttributeValues"):
                if part in request:
                    total += _size_at_most(request[part])
    return total <= MAX_ITEM_BYTES and len(tables) == len(actions)


def _least_change(request: Mapping[str, Any]) -> int:
    """What an update's SET values add at the least; attributes that are there already aren't known here."""
    update: str = request.get("UpdateExpression", "")
    values = request.get("ExpressionAttributeValues", {})
    return sum(_value_size(typed) for name, typed in values.items() if f" = {name}" in update)


def _key_names(actions: Sequence[Action], keys: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """The tables' full keys, as they were told or as an action that carries a key shows them."""
    names = {table: frozenset(attributes) for table, attributes in keys.items()}
    for action in actions:
        ((_, request),) = action.request.items()
        if "Key" in request:
            names[request["TableName"]] = frozenset(request["Key"])
    return names


def _identity(
    request: Mapping[str, Any], content: Mapping[str, Any], keys: Mapping[str, frozenset[str]]
) -> tuple[Any, ...] | None:
    """Table and key, comparable; None where the key isn't known."""
    table = request["TableName"]
    names = keys.get(table)
    if names is None or not names <= content.keys():
        return None
    return (table, *((name, *_comparable(content[name])) for name in sorted(names)))


def _comparable(typed: Mapping[str, Any]) -> tuple[str, Any]:
    """A key's typed value, a number by its value: 1 and 1.0 name one item."""
    ((tag, value),) = typed.items()
    return tag, Decimal(value) if tag == "N" else value


def _name(actions: Sequence[Action], position: int) -> str:
    return actions[position].label or f"action {position}"
