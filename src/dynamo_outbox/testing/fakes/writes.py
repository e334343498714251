"""Planning of the fake's writes before they are applied: first validation of the request, then the condition.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .client import RefusedError, invalid
from .expression_reader import Placeholders
from .expressions import holds, parse_condition
from .update_expressions import apply_update, parse_update
from .values import check_item_size, item_size, normalised_item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from .expressions import Condition
    from .table import KeyOf, Table
    from .update_expressions import Update
    from .values import Item

__all__ = ["Held", "Prepared", "Write", "plan", "plan_transaction", "prepare", "returned"]

MAX_ACTIONS = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
_ONGOING = "Transaction is ongoing for the item"
_FAILED = "The conditional request failed"

Held = tuple[str, "KeyOf"]
"""An item of a transaction in progress: its table's name and its key."""


class Prepared(NamedTuple):
    """A valid write, not yet checked against the table's items.

    `kind` is ``Put``, ``Update``, ``Delete`` or ``ConditionCheck``; `item` is a Put's item, or else the key.
    """

    kind: str
    table: Table
    request: Mapping[str, Any]
    item: Item
    condition: Condition | None
    update: Update


class Write(NamedTuple):
    """A planned write, which replaces `old` by `new`."""

    table: Table
    key: KeyOf
    old: Item | None
    new: Item | None

    @property
    def held(self) -> Held:
        return self.table.name, self.key


def prepare(kind: str, request: Mapping[str, Any], table: Table) -> Prepared:
    """Parse and validate a write's values and expressions, and refuse an empty key, which fails a whole transaction."""
    item = normalised_item(request["Item" if kind == "Put" else "Key"])
    table.refuse_empty_keys(item)
    placeholders = Placeholders(request)
    text, update_text = request.get("ConditionExpression"), request.get("UpdateExpression")
    update = () if update_text is None else parse_update(update_text, placeholders, table.key)
    condition = None if text is None else parse_condition("ConditionExpression", text, placeholders)
    placeholders.check_all_used()
    if kind == "Put":
        check_item_size(item)
    return Prepared(kind, table, request, item, condition, update)


def plan(prepared: Prepared, held: AbstractSet[Held]) -> Write:
    """Check a write against the existing item; `held` are the items of transactions in progress, which conflict."""
    kind, table, request = prepared.kind, prepared.table, prepared.request
    key = table.key_of_item(prepared.item) if kind == "Put" else table.key_of(prepared.item)
    if (table.name, key) in held:
        raise RefusedError("TransactionConflictException", _ONGOING)
    old = table.items.get(key)
    if prepared.condition is not None and not holds(prepared.condition, old or {}):
        wants_old = old is not None and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        raise RefusedError("ConditionalCheckFailedException", _FAILED, {"Item": old} if wants_old else None)
    if kind == "Put":
        return Write(table, key, old, prepared.item)
    if kind == "Update":
        new = normalised_item(apply_update(prepared.update, old or prepared.item))
        check_item_size(new, "Item size to update has exceeded the maximum allowed size")
        return Write(table, key, old, new)
    return Write(table, key, old, old if kind == "ConditionCheck" else None)


def plan_transaction(
    actions: Sequence[Mapping[str, Any]], table_of: Callable[[Mapping[str, Any]], Table], held: AbstractSet[Held]
) -> list[Write]:
    """Return the writes of a transaction's actions, in order, or refuse it, if cancelled with a reason per action."""
    if len(actions) > MAX_ACTIONS:
        raise invalid(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_ACTIONS}"
        )
    prepared = []
    for action in actions:
        if len(action) != 1:
            raise invalid("TransactItems can only contain one of Check, Put, Update or Delete")
        ((kind, request),) = action.items()
        prepared.append(prepare(kind, request, table_of(request)))
    planned: list[Write | RefusedError] = []
    for each in prepared:
        try:
            planned.append(plan(each, held))
        except RefusedError as refused:
            planned.append(refused)
    _check_distinct(prepared)
    if any(isinstance(each, RefusedError) for each in planned):
        raise _cancelled([_reason(each) for each in planned])
    writes = [each for each in planned if isinstance(each, Write)]
    if sum(item_size(write.new or write.old or {}) for write in writes) > MAX_TRANSACTION_BYTES:
        raise invalid("Transaction request exceeds the 4 MB transaction size limit")
    return writes


def _check_distinct(prepared: Sequence[Prepared]) -> None:
    seen = set()
    for each in prepared:
        try:
            key = each.table.key_of_item(each.item) if each.kind == "Put" else each.table.key_of(each.item)
        except RefusedError:
            continue  # reported as this action's cancellation reason
        if (each.table.name, key) in seen:
            raise invalid("Transaction request cannot include multiple operations on one item")
        seen.add((each.table.name, key))


_REASONS = {
    "ConditionalCheckFailedException": "ConditionalCheckFailed",
    "TransactionConflictException": "TransactionConflict",
    "ValidationException": "ValidationError",
}


def _reason(planned: Write | RefusedError) -> dict[str, Any]:
    if isinstance(planned, Write):
        return {"Code": "None"}
    return {"Code": _REASONS[planned.code], "Message": planned.message, **planned.more}


def _cancelled(reasons: Sequence[Mapping[str, Any]]) -> RefusedError:
    codes = ", ".join(reason["Code"] for reason in reasons)
    return RefusedError(
        "TransactionCanceledException",
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        {"CancellationReasons": list(reasons)},
    )


def returned(prepared: Prepared, write: Write) -> dict[str, Any]:
    """Return the response to a single write: its ``Attributes``, according to ReturnValues."""
    wanted = prepared.request.get("ReturnValues", "NONE")
    allowed = ("NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW")
    if wanted not in (allowed if prepared.kind == "Update" else allowed[:2]):
        raise invalid("Return values set to invalid value")
    if wanted == "NONE":
        return {}
    image = (write.old if wanted.endswith("OLD") else write.new) or {}
    if wanted.startswith("UPDATED"):
        if any(len(change.path.steps) > 1 for change in prepared.update):
            raise NotImplementedError(f"the fake does not support ReturnValues={wanted} for a nested path")
        changed = {change.path.steps[0] for change in prepared.update}
        image = {name: value for name, value in image.items() if name in changed}
    return {"Attributes": image} if image else {}
