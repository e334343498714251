"""Condition, filter and key expressions, parsed as strictly as in DynamoDB and evaluated on a typed item.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html

Precedence, lowest first: OR, AND, NOT, then comparison, BETWEEN, IN, function, parentheses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .expression_reader import ExpressionReader, Path, Placeholders, Value
from .values import same, sort_value

if TYPE_CHECKING:
    from .values import Item

__all__ = ["Between", "Comparison", "Condition", "Function", "get_at", "holds", "parse_condition"]

MAX_IN = 100
"""The maximum number of operands of IN."""

_COMPARATORS = ("=", "<>", "<", "<=", ">", ">=")
_TYPES = ("S", "SS", "N", "NS", "B", "BS", "BOOL", "NULL", "L", "M")
_ORDERED = ("S", "N", "B")


class Size(NamedTuple):
    """``size(path)``."""

    path: Path


Operand = Path | Value | Size


class Comparison(NamedTuple):
    """A comparison such as ``left = right``."""

    operator: str
    left: Operand
    right: Operand


class Between(NamedTuple):
    """``operand BETWEEN low AND high``."""

    operand: Operand
    low: Operand
    high: Operand


class In(NamedTuple):
    """``operand IN (…)``."""

    operand: Operand
    members: tuple[Operand, ...]


class Function(NamedTuple):
    """A function call such as ``attribute_exists(path)``; `operand` is the second argument."""

    name: str
    path: Path
    operand: Operand | None


class Not(NamedTuple):
    """``NOT condition``."""

    condition: Condition


class And(NamedTuple):
    """``a AND b AND …``."""

    conditions: tuple[Condition, ...]


class Or(NamedTuple):
    """``a OR b OR …``."""

    conditions: tuple[Condition, ...]


Condition = Comparison | Between | In | Function | Not | And | Or

_FUNCTIONS = {"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2}


def parse_condition(kind: str, text: str, placeholders: Placeholders) -> Condition:
    """Return a condition's syntax tree; `kind` is the request's parameter, for messages: ``ConditionExpression``."""
    parser = _ConditionParser(kind, text, placeholders)
    condition = parser.either()
    if not parser.at_end:
        parser.unexpected()
    return condition


class _ConditionParser(ExpressionReader):
    def either(self) -> Condition:
        found = [self._all()]
        while self.accept("OR"):
            found.append(self._all())
        return found[0] if len(found) == 1 else Or(tuple(found))

    def _all(self) -> Condition:
        found = [self._not()]
        while self.accept("AND"):
            found.append(self._not())
        return found[0] if len(found) == 1 else And(tuple(found))

    def _not(self) -> Condition:
        if self.accept("NOT"):
            return Not(self._not())
        if self.peek() == "(":
            return self._group()
        if self.calls_function() and self.peek() != "size":
            return self._function()
        return self._comparison()

    def _group(self) -> Condition:
        self.expect("(")
        began, doubled = self._at, self.peek() == "("
        inner = self.either()
        if doubled and self._closing_of(began) == self._at - 1:
            self.refuse("The expression has redundant parentheses;")
        self.expect(")")
        return inner

    def _closing_of(self, opening: int) -> int:
        depth = 0
        for position in range(opening, len(self._tokens)):
            depth += {"(": 1, ")": -1}.get(self._tokens[position], 0)
            if depth == 0:
                return position
        return -1

    def _function(self) -> Condition:
        name = self.take()
        wanted = _FUNCTIONS.get(name)
        if wanted is None:
            self.refuse(f"Invalid function name; function: {name}")
        self.expect("(")
        operands = [self._operand()]
        while self.accept(","):
            operands.append(self._operand())
        self.expect(")")
        if len(operands) != wanted:
            self.refuse(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {name}, number of operands: {len(operands)}"
            )
        path = operands[0]
        if not isinstance(path, Path):
            self.refuse(f"Operator or function requires a document path; operator or function: {name}")
        second = operands[1] if wanted == 2 else None
        if second == path:
            self.refuse(f"The first operand must be distinct from the remaining operands; operator: {name}")
        if name == "begins_with" and isinstance(second, Value):
            self._check_type(name, second, ("S", "B"))
        if name == "attribute_type":
            if not isinstance(second, Value):
                self.refuse("Incorrect operand type for operator or function; operator or function: attribute_type")
            self._check_type(name, second, ("S",))
            if second.typed["S"] not in _TYPES:
                self.refuse(f"Invalid attribute type name found; type: {second.typed['S']}, valid types: {_TYPES}")
        return Function(name, path, second)

    def _comparison(self) -> Condition:
        left = self._operand()
        operator = self.take()
        if operator == "BETWEEN":
            low = self._operand()
            self.expect("AND")
            high = self._operand()
            for operand in (low, high):
                self._check_type(operator, operand, _ORDERED)
            if isinstance(low, Value) and isinstance(high, Value) and not _compare("<=", low.typed, high.typed):
                self.refuse("The BETWEEN operator requires upper bound to be greater than or equal to lower bound")
            return Between(left, low, high)
        if operator == "IN":
            self.expect("(")
            members = [self._operand()]
            while self.accept(","):
                members.append(self._operand())
            self.expect(")")
            if len(members) > MAX_IN:
                self.refuse(f"The IN operator is provided with too many operands; number of operands: {len(members)}")
            return In(left, tuple(members))
        if operator not in _COMPARATORS:
            self._syntax_error(operator)
        right = self._operand()
        if operator not in ("=", "<>"):
            for operand in (left, right):
                self._check_type(operator, operand, _ORDERED)
        if left == right and isinstance(left, Path):
            self.refuse(f"The first operand must be distinct from the remaining operands; operator: {operator}")
        return Comparison(operator, left, right)

    def _operand(self) -> Operand:
        if not self.calls_function():
            return self.value_or_path()
        name = self.take()
        if name != "size":
            known = name in _FUNCTIONS
            problem = "The function is not allowed to be used this way in an expression" if known else "Invalid name"
            self.refuse(f"{problem}; function: {name}")
        self.expect("(")
        path = self.path()
        self.expect(")")
        return Size(path)

    def _check_type(self, operator: str, operand: Operand, allowed: tuple[str, ...]) -> None:
        if isinstance(operand, Value) and not operand.typed.keys() & set(allowed):
            self.refuse(
                "Incorrect operand type for operator or function; "
                f"operator or function: {operator}, operand type: {next(iter(operand.typed))}"
            )


def holds(condition: Condition, item: Item) -> bool:
    """Return whether a condition holds for an item; pass an empty item if there is none."""
    match condition:
        case Or(conditions):
            return any(holds(each, item) for each in conditions)
        case And(conditions):
            return all(holds(each, item) for each in conditions)
        case Not(inner):
            return not holds(inner, item)
        case Comparison(operator, left, right):
            return _compare(operator, _resolve(left, item), _resolve(right, item))
        case Between(operand, low, high):
            middle = _resolve(operand, item)
            return _compare(">=", middle, _resolve(low, item)) and _compare("<=", middle, _resolve(high, item))
        case In(operand, members):
            wanted = _resolve(operand, item)
            return any(_compare("=", wanted, _resolve(member, item)) for member in members)
        case Function(name, path, operand):
            second = None if operand is None else _resolve(operand, item)
            return _apply(name, get_at(item, path), second)


def _resolve(operand: Operand, item: Item) -> dict[str, Any] | None:
    if isinstance(operand, Value):
        return operand.typed
    if isinstance(operand, Path):
        return get_at(item, operand)
    found = get_at(item, operand.path)
    if found is None:
        return None
    ((tag, content),) = found.items()
    if tag in ("N", "BOOL", "NULL"):
        return None
    return {"N": str(len(content.encode()) if tag == "S" else len(content))}


def get_at(item: Item, path: Path) -> dict[str, Any] | None:
    """Return the typed value at a path, or None."""
    found: dict[str, Any] | None = {"M": item}
    for step in path.steps:
        inside = (found or {}).get("M" if isinstance(step, str) else "L")
        if isinstance(step, str):
            found = None if inside is None else inside.get(step)
        else:
            found = None if inside is None or step >= len(inside) else inside[step]
    return found


def _compare(operator: str, left: dict[str, Any] | None, right: dict[str, Any] | None) -> bool:
    """Compare two values; a missing value is not equal to, less than or greater than any value."""
    if operator in ("=", "<>"):
        equal = left is not None and right is not None and same(left, right)
        return equal if operator == "=" else not equal
    if left is None or right is None or left.keys() != right.keys() or not left.keys() & set(_ORDERED):
        return False
    one, other = sort_value(left), sort_value(right)
    return bool(
        {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[operator],
    )


def _apply(name: str, found: dict[str, Any] | None, operand: dict[str, Any] | None) -> bool:
    if name == "attribute_exists":
        return found is not None
    if name == "attribute_not_exists":
        return found is None
    if found is None or operand is None:
        return False
    ((tag, content),) = found.items()
    ((operand_tag, wanted),) = operand.items()
    if name == "attribute_type":
        return bool(tag == wanted)
    if name == "begins_with":
        return tag == operand_tag and tag in ("S", "B") and bool(content.startswith(wanted))
    if tag == "L":
        return any(same(member, operand) for member in content)
    if tag == operand_tag and tag in ("S", "B"):
        return wanted in content
    return tag == operand_tag + "S" and wanted in content
