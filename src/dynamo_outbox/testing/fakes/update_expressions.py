"""Update expressions, parsed as strictly as in DynamoDB and applied to a typed item.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html

Every operand is read from the item before the update.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from .client import invalid
from .expression_reader import ExpressionReader, Path, Placeholders, Value
from .expressions import get_at
from .values import add_numbers

if TYPE_CHECKING:
    from .values import Item

__all__ = ["Update", "apply_update", "parse_update"]


class IfNotExists(NamedTuple):
    """``if_not_exists(path, default)``."""

    path: Path
    default: Operand


class ListAppend(NamedTuple):
    """``list_append(first, second)``."""

    first: Operand
    second: Operand


class Sum(NamedTuple):
    """``left + right``, or ``left - right`` if `sign` is -1."""

    left: Operand
    right: Operand
    sign: int


Operand = Path | Value | IfNotExists | ListAppend | Sum


class Change(NamedTuple):
    """One change of a clause; `operand` is None for REMOVE."""

    clause: str
    path: Path
    operand: Operand | None


Update = tuple[Change, ...]

_CLAUSES = ("SET", "REMOVE", "ADD", "DELETE")
_SETS = ("SS", "NS", "BS")


def parse_update(text: str, placeholders: Placeholders, key: tuple[str, ...]) -> Update:
    """Return the changes in an update expression, none of which may touch the table's `key` attributes."""
    changes = _UpdateParser("UpdateExpression", text, placeholders).changes()
    for position, change in enumerate(changes):
        name = change.path.steps[0]
        if name in key:
            raise invalid(
                f"One or more parameter values were invalid: Cannot update attribute {name}. "
                "This attribute is part of the key"
            )
        for other in changes[:position]:
            _check_apart(other.path.steps, change.path.steps)
    return changes


def _check_apart(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> None:
    shared = min(len(one), len(other))
    if one[:shared] == other[:shared]:
        problem = "overlap with each other"
    elif any(
        one[:depth] == other[:depth] and type(one[depth]) is not type(other[depth])
        for depth in range(min(len(one), len(other)))
    ):
        problem = "conflict with each other"
    else:
        return
    raise invalid(
        f"Invalid UpdateExpression: Two document paths {problem}; must remove or rewrite one of these paths; "
        f"path one: {list(one)}, path two: {list(other)}"
    )


class _UpdateParser(ExpressionReader):
    def changes(self) -> Update:
        found: list[Change] = []
        seen: set[str] = set()
        while not self.at_end:
            clause = self.peek()
            if clause not in _CLAUSES:
                self.unexpected()
            if clause in seen:
                self.refuse(f'The "{clause}" section can only be used once in an update expression;')
            seen.add(self.take())
            found.append(self._change(clause))
            while self.accept(","):
                found.append(self._change(clause))
        return tuple(found)

    def _change(self, clause: str) -> Change:
        path = self.path()
        if clause == "REMOVE":
            return Change(clause, path, None)
        if clause == "SET":
            self.expect("=")
            return Change(clause, path, self._sum())
        operand = self.value_or_path()
        if not isinstance(operand, Value):
            self.unexpected()
        allowed = _SETS if clause == "DELETE" else ("N", *_SETS)
        if not operand.typed.keys() & set(allowed):
            self._wrong_type(clause, operand)
        return Change(clause, path, operand)

    def _wrong_type(self, operator: str, value: Value) -> None:
        self.refuse(
            "Incorrect operand type for operator or function; "
            f"operator: {operator}, operand type: {next(iter(value.typed))}"
        )

    def _sum(self) -> Operand:
        left = self._operand()
        operator = self.peek()
        if operator not in ("+", "-"):
            return left
        self.take()
        right = self._operand()
        for operand in (left, right):
            if isinstance(operand, Value) and "N" not in operand.typed:
                self._wrong_type(operator, operand)
        return Sum(left, right, 1 if operator == "+" else -1)

    def _operand(self) -> Operand:
        if not self.calls_function():
            return self.value_or_path()
        name = self.take()
        if name not in ("if_not_exists", "list_append"):
            self.refuse(f"Invalid function name; function: {name}")
        self.expect("(")
        first = self._operand()
        self.expect(",")
        second = self._operand()
        self.expect(")")
        if name == "if_not_exists":
            if not isinstance(first, Path):
                self.refuse(f"Operator or function requires a document path; operator or function: {name}")
            return IfNotExists(first, second)
        for operand in (first, second):
            if isinstance(operand, Value) and "L" not in operand.typed:
                self._wrong_type(name, operand)
        return ListAppend(first, second)


def apply_update(update: Update, item: Item) -> Item:
    """Return an updated copy of the item."""
    after = deepcopy(item)
    removed: list[Path] = []
    for change in update:
        if change.operand is None:
            _parent(after, change.path)
            removed.append(change.path)
        elif change.clause == "SET":
            _put(after, change.path, _resolve(change.operand, item))
        elif isinstance(change.operand, Value):
            present = get_at(item, change.path)
            result = (_added if change.clause == "ADD" else _without)(present, change.operand.typed)
            if result is not None:
                _put(after, change.path, result)
            elif present is not None:
                removed.append(change.path)
    for path in sorted(removed, key=_list_index, reverse=True):  # from a list's end, so that indices stay valid
        _remove(after, path)
    return after


def _list_index(path: Path) -> int:
    last = path.steps[-1]
    return last if isinstance(last, int) else -1


def _wrong_operand() -> Exception:
    return invalid("An operand in the update expression has an incorrect data type")


def _resolve(operand: Operand, item: Item) -> dict[str, Any]:
    match operand:
        case Value(typed):
            return deepcopy(typed)
        case Path():
            found = get_at(item, operand)
            if found is None:
                raise invalid("The provided expression refers to an attribute that does not exist in the item")
            return deepcopy(found)
        case IfNotExists(path, default):
            return deepcopy(get_at(item, path)) or _resolve(default, item)
        case ListAppend(first, second):
            head, tail = _resolve(first, item), _resolve(second, item)
            if "L" not in head or "L" not in tail:
                raise _wrong_operand()
            return {"L": head["L"] + tail["L"]}
        case Sum(left, right, sign):
            one, other = _resolve(left, item), _resolve(right, item)
            if "N" not in one or "N" not in other:
                raise _wrong_operand()
            return {"N": add_numbers(one["N"], other["N"], sign)}


def _added(present: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    if present is None:
        return deepcopy(more)
    if present.keys() != more.keys():
        raise _wrong_operand()
    ((tag, value),) = more.items()
    if tag == "N":
        return {"N": add_numbers(present["N"], value)}
    return {tag: present[tag] + [member for member in value if member not in present[tag]]}


def _without(present: dict[str, Any] | None, less: dict[str, Any]) -> dict[str, Any] | None:
    """Return the set without the members; None if it would be empty."""
    if present is None:
        return None
    if present.keys() != less.keys():
        raise _wrong_operand()
    ((tag, value),) = less.items()
    left = [member for member in present[tag] if member not in value]
    return {tag: left} if left else None


def _parent(item: Item, path: Path) -> Any:
    """Return the map or list that contains the path's last step."""
    *way, last = path.steps
    holder = get_at(item, Path(tuple(way))) if way else {"M": item}
    inside = (holder or {}).get("M" if isinstance(last, str) else "L")
    if inside is None:
        raise invalid("The document path provided in the update expression is invalid for update")
    return inside


def _put(item: Item, path: Path, value: dict[str, Any]) -> None:
    inside, last = _parent(item, path), path.steps[-1]
    if isinstance(last, int) and last >= len(inside):
        inside.append(value)
    else:
        inside[last] = value


def _remove(item: Item, path: Path) -> None:
    inside, last = _parent(item, path), path.steps[-1]
    if isinstance(last, int):
        del inside[last : last + 1]
    else:
        inside.pop(last, None)
