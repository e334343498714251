"""Query and Scan of the fake: key condition, order, pages.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.KeyConditionExpressions.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .client import invalid
from .expression_reader import Path, Placeholders, Value
from .expressions import And, Between, Comparison, Function, Not, Or, holds, parse_condition
from .values import normalised_item, sort_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .expressions import Condition, Operand
    from .table import Table
    from .values import Item

__all__ = ["query", "scan"]


def query(table: Table, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the items of one partition, in the order of the sort key."""
    placeholders = Placeholders(request)
    if "KeyConditionExpression" not in request:
        raise invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
    condition = parse_condition("KeyConditionExpression", request["KeyConditionExpression"], placeholders)
    _check_key_condition(condition, table)
    items = [item for item in _sorted(table) if holds(condition, item)]
    if not request.get("ScanIndexForward", True):
        items.reverse()
    return _page(table, items, request, placeholders)


def scan(table: Table, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return all items, grouped by partition, in the order of the sort key."""
    return _page(table, _sorted(table), request, Placeholders(request))


def _sorted(table: Table) -> list[Item]:
    return sorted(table.items.values(), key=lambda item: _place(table, item))


def _place(table: Table, item: Item) -> list[Any]:
    return [sort_value(item[name]) for name in table.key]


def _check_key_condition(condition: Condition, table: Table) -> None:
    parts = condition.conditions if isinstance(condition, And) else (condition,)
    named = []
    operands: tuple[Operand | None, ...]
    for part in parts:
        if isinstance(part, (Or, Not, And)):
            raise invalid("Invalid operator used in KeyConditionExpression: OR, NOT or a nested AND")
        if isinstance(part, Comparison) and part.operator != "<>":
            subject, operands = part.left, (part.right,)
        elif isinstance(part, Between):
            subject, operands = part.operand, (part.low, part.high)
        elif isinstance(part, Function) and part.name == "begins_with":
            subject, operands = part.path, (part.operand,)
        else:
            raise invalid("Invalid operator used in KeyConditionExpression")
        if not isinstance(subject, Path) or not all(isinstance(operand, Value) for operand in operands):
            raise invalid("Invalid KeyConditionExpression: a key attribute is compared with values")
        name = subject.steps[0]
        for operand in operands:
            if isinstance(operand, Value) and table.key_types.get(str(name)) not in operand.typed:
                raise invalid("One or more parameter values were invalid: Condition parameter type does not match")
        named.append((name, isinstance(part, Comparison) and part.operator == "="))
    if (table.key[0], True) not in named:
        raise invalid(f"Query condition missed key schema element: {table.key[0]}")
    if len(named) > 2 or len({name for name, _ in named}) != len(named):
        raise invalid("KeyConditionExpressions must only contain one condition per key")
    if any(name not in table.key for name, _ in named):
        raise invalid("Query condition names an attribute that is not a key attribute")


def _page(table: Table, items: list[Item], request: Mapping[str, Any], placeholders: Placeholders) -> dict[str, Any]:
    text = request.get("FilterExpression")
    condition = None if text is None else parse_condition("FilterExpression", text, placeholders)
    placeholders.check_all_used()
    if "ExclusiveStartKey" in request:
        key = normalised_item(request["ExclusiveStartKey"])
        table.key_of(key)
        start, forward = _place(table, key), request.get("ScanIndexForward", True)
        items = [item for item in items if (_place(table, item) > start if forward else _place(table, item) < start)]
    limit = request.get("Limit", len(items))
    page = items[:limit]
    found = [item for item in page if condition is None or holds(condition, item)]
    answer: dict[str, Any] = {"Count": len(found), "ScannedCount": len(page)}
    if request.get("Select") != "COUNT":
        answer["Items"] = found
    if page and len(page) == limit and "Limit" in request:
        answer["LastEvaluatedKey"] = table.keys_in(page[-1])
    return answer
