"""EventBridge's event patterns, evaluated.

A pattern is compiled into alternatives, one for each way through its ``$or``; each is a tree of the fields that it asks
about, with tests at its leaves. Fields are joined into paths and alternatives multiplied out as in AWS's own engine,
so that members of one array are asked together: https://github.com/aws/event-ruler

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

import json
import operator
import re
import reprlib
from decimal import Decimal
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from ..errors import InvalidPatternError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Values = list[Any]  # the leaves that an event has at one path: one, none, or an array's members
    _Test = Callable[[_Values], bool]
    _ValueTest = Callable[[Any], bool]
    _TextTest = Callable[[str], bool]
    _Path = tuple[str, ...]
    _Alternative = dict[_Path, list[_Test]]

__all__ = ["compile_pattern", "matches"]

MAX_PATTERN_LENGTH = 4096
"""As JSON text. A rule's quota is 2,048 until AWS raises it.
https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_Filter.html"""

MAX_COMBINATIONS = 1000
"""Of a pattern: the product of the lengths of all its ``$or`` lists."""

MAX_DEPTH = 100
"""Of objects in a pattern: a guard of this library. A record nests to 66: 32 levels of an item, each in its type."""

_NUMERIC_LIMIT = 5_000_000_000
_DECIMALS = 6
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39}")
_MASK = re.compile(r"[0-9]{1,3}")
_ESCAPES = re.compile(r"\\[*\\]|[^\\*]+|\*|.", re.DOTALL)
_ABSENT: Any = object()


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any], *, service: Literal["rule", "pipe"] = "rule") -> bool:
    """Whether an event pattern matches an event.

    Numbers are equal by value from -5e9 to 5e9 with up to six digits after the point, and by their text beyond. How
    complex AWS finds a wildcard is not judged.

    Args:
        pattern: The pattern, as an object.
        event: What is matched: an EventBridge event, or a pipe's record.
        service: Whose pattern it is: a rule's or a pipe's, which knows fewer operators.

    Raises:
        InvalidPatternError: A pattern that AWS would refuse or doesn't document, whatever the event holds.
    """
    return compile_pattern(pattern, service=service)(event)


def compile_pattern(
    pattern: Mapping[str, Any], *, service: Literal["rule", "pipe"] = "rule"
) -> Callable[[Mapping[str, Any]], bool]:
    """A pattern, checked whole, as a function of the event.

    Args:
        pattern: The pattern, as an object.
        service: Whose pattern it is: a rule's or a pipe's.

    Raises:
        InvalidPatternError: As in `matches`.
    """
    if service not in ("rule", "pipe"):
        raise ValueError(f"service is 'rule' or 'pipe', not {service!r}")
    if not isinstance(pattern, dict) or not pattern:
        raise InvalidPatternError("a pattern is an object with at least one field")
    try:
        length = len(json.dumps(pattern, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except RecursionError:
        raise InvalidPatternError(f"a pattern nests at most {MAX_DEPTH} levels deep here") from None
    except (TypeError, ValueError) as error:
        raise InvalidPatternError(f"a pattern is JSON: {error}") from None
    if length > MAX_PATTERN_LENGTH:
        raise InvalidPatternError(f"a pattern has at most {MAX_PATTERN_LENGTH:,} characters, and this has {length:,}")
    trees = [_tree(alternative) for alternative in _Compiler(service).fields(pattern, (), "", [{}])]
    return lambda event: any(_fits(tree, event) for tree in trees)


class _Node(NamedTuple):
    """What is asked about one path of the event: its leaves, what lies below it, or both."""

    tests: list[_Test]
    members: dict[str, _Node]


def _tree(alternative: _Alternative) -> _Node:
    root = _Node([], {})
    for path, tests in alternative.items():
        node = root
        for name in path:
            node = node.members.setdefault(name, _Node([], {}))
        node.tests.extend(tests)
    return root


def _fits(node: _Node, value: Any) -> bool:
    for name, member in node.members.items():
        leaves, objects = _spread(value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT)
        if member.tests and not any(test(leaves) for test in member.tests):
            return False
        if member.members and not any(_fits(member, each) for each in objects or [{}]):
            return False
    return True


def _spread(value: Any) -> tuple[_Values, list[dict[str, Any]]]:
    """The leaves and the objects that a value is, or holds if it's an array, or an array of arrays."""
    leaves: _Values = []
    objects: list[dict[str, Any]] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            objects.append(each)
        elif each is not _ABSENT:
            leaves.append(each)
    return leaves, objects


class _Compiler:
    """Turns a pattern's fields into alternatives, and refuses what is wrong in them."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._combinations = 1

    def fields(
        self, wanted: Any, path: _Path, where: str, alternatives: list[_Alternative], *, in_or: bool = False
    ) -> list[_Alternative]:
        """The alternatives so far, each with the tests of these fields added."""
        if len(path) > MAX_DEPTH:
            _refuse(where, f"a pattern nests at most {MAX_DEPTH} levels deep here")
        for name, value in wanted.items():
            if not isinstance(name, str):
                _refuse(where, "a field's name is text", name)
            here = f"{where}.{name}" if where else name
            if name == "$or":
                alternatives = self._or(value, path, here, alternatives)
            elif in_or and name in _RESERVED:
                _refuse(here, "inside $or no field can have the name of an operator")
            elif isinstance(value, dict) and value:
                alternatives = self.fields(value, (*path, name), here, alternatives, in_or=in_or)
            elif isinstance(value, list) and value:
                tests = [self._test(rule, here) for rule in value]
                alternatives = [{**each, (*path, name): tests} for each in alternatives]
            else:
                _refuse(here, "needs an object or a list of what matches, neither of them empty", value)
        return alternatives

    def _or(self, choices: Any, path: _Path, where: str, alternatives: list[_Alternative]) -> list[_Alternative]:
        if not isinstance(choices, list) or len(choices) < 2:
            _refuse(where, "takes a list of at least two objects")
        self._combinations *= len(choices)
        if self._combinations > MAX_COMBINATIONS:
            _refuse(where, f"the lengths of all $or multiply to at most {MAX_COMBINATIONS:,}")
        forked: list[_Alternative] = []
        for index, choice in enumerate(choices):
            here = f"{where}[{index}]"
            if not isinstance(choice, dict) or not choice:
                _refuse(here, "an alternative is an object with at least one field", choice)
            forked += self.fields(choice, path, here, alternatives, in_or=True)
        return forked

    def _test(self, rule: Any, where: str) -> _Test:
        if isinstance(rule, list):
            _refuse(where, "what matches is text, a number, true, false, null or an operator's object, not a list")
        if not isinstance(rule, dict):
            return lambda values: any(_equal(rule, value) for value in values)
        name, operand = _only_member(rule, where)
        if name == "exists":
            if not isinstance(operand, bool):
                _refuse(where, "exists takes true or false", operand)
            return lambda values: bool(values) is operand
        beyond_pipes = name == "wildcard" or (name == "anything-but" and isinstance(operand, dict))
        if self._service == "pipe" and beyond_pipes:
            _refuse(where, "a pipe has no wildcard, and anything-but only with text, a number or a list of either")
        if name not in _OPERATORS:
            _refuse(where, f"an operator is one of exists, {', '.join(_OPERATORS)}", name)
        test = _OPERATORS[name](operand, where)
        return lambda values: any(test(value) for value in values)


def _refuse(where: str, problem: str, *found: Any) -> NoReturn:
    raise InvalidPatternError(f"{where}: {problem}" + "".join(f", not {reprlib.repr(each)}" for each in found))


def _only_member(rule: dict[str, Any], where: str) -> tuple[str, Any]:
    if len(rule) != 1:
        _refuse(where, "an operator stands alone in its object", rule)
    return next(iter(rule.items()))


def _ignoring_case(operand: str, _where: str, *, whole: bool = True, step: int = 1) -> _TextTest:
    """Each character in its lower or its upper case, which may be longer: ß is also SS.

    Step -1 compares backwards from the end, which tries a suffix at one place only.
    """
    cases = [{re.escape(each.lower()[::step]), re.escape(each.upper()[::step])} for each in operand[::step]]
    either = re.compile("".join(f"(?:{'|'.join(case)})" for case in cases))
    match = either.fullmatch if whole else either.match
    return lambda text: match(text[::step]) is not None


def _wildcard(operand: str, where: str) -> _TextTest:
    parts = [""]
    previous = ""
    for piece in _ESCAPES.findall(operand):
        if piece == "\\":
            _refuse(where, r"in a wildcard a backslash stands before * or another backslash only: \* or \\")
        if piece == previous == "*":
            _refuse(where, "a wildcard can't have ** in it")
        if piece == "*":
            parts.append("")
        else:
            parts[-1] += piece[1:] if piece[0] == "\\" else piece
        previous = piece
    if len(parts) == 1:
        return lambda text: text == parts[0]
    first, *middle, last = parts

    def test(text: str) -> bool:
        end = len(text) - len(last)
        if len(first) > end or not text.startswith(first) or not text.endswith(last):
            return False
        position = len(first)
        for part in middle:  # the earliest place leaves the most for those that follow: nothing is tried twice
            found = text.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True

    return test


_TEXT_OPERATORS: dict[str, Callable[[str, str], _TextTest]] = {
    "prefix": lambda operand, _: lambda text: text.startswith(operand),
    "suffix": lambda operand, _: lambda text: text.endswith(operand),
    "equals-ignore-case": _ignoring_case,
    "wildcard": _wildcard,
}
_IGNORING_CASE: dict[str, Callable[[str, str], _TextTest]] = {
    "prefix": partial(_ignoring_case, whole=False),
    "suffix": partial(_ignoring_case, whole=False, step=-1),
}


def _text(name: str, operand: Any, where: str) -> _ValueTest:
    make = _TEXT_OPERATORS[name]
    if name in _IGNORING_CASE and isinstance(operand, dict):
        inner, operand = _only_member(operand, where)
        if inner != "equals-ignore-case":
            _refuse(where, f"{name} takes text or equals-ignore-case", inner)
        make = _IGNORING_CASE[name]
    if not isinstance(operand, str):
        _refuse(where, f"{name} takes text", operand)
    test = make(operand, where)
    return lambda value: isinstance(value, str) and test(value)


def _anything_but(operand: Any, where: str) -> _ValueTest:
    if isinstance(operand, dict):
        name, operand = _only_member(operand, where)
        if name not in _TEXT_OPERATORS:
            _refuse(where, f"anything-but takes one of {', '.join(_TEXT_OPERATORS)}", name)
        texts = operand if isinstance(operand, list) else [operand]
        if not texts or not all(isinstance(each, str) for each in texts):
            _refuse(where, f"anything-but {name} takes text or a list of texts", operand)
        if "" in texts and name in _IGNORING_CASE:
            _refuse(where, f"anything-but {name} takes no empty text")
        tests = [_TEXT_OPERATORS[name](each, where) for each in texts]
        return lambda value: not (isinstance(value, str) and any(test(value) for test in tests))
    refused = operand if isinstance(operand, list) else [operand]
    of_one_kind = all(isinstance(each, str) for each in refused) or None not in map(_number, refused)
    if not refused or not of_one_kind:
        _refuse(where, "anything-but takes text, a number, a list of texts or one of numbers", operand)
    return lambda value: not any(_equal(each, value) for each in refused)


def _numeric(operand: Any, where: str) -> _ValueTest:
    match operand:
        case ["=" | "<" | "<=" | ">" | ">=" as symbol, limit]:
            bounds = [(symbol, _limit(limit, where))]
        case [">" | ">=" as low, bottom, "<" | "<=" as high, top]:
            bounds = [(low, _limit(bottom, where)), (high, _limit(top, where))]
            if bounds[0][1] >= bounds[1][1]:
                _refuse(where, "a numeric range begins below where it ends", operand)
        case _:
            grammar = "=, <, <=, > or >= and a number, or of > or >=, a number, < or <=, a number"
            _refuse(where, f"numeric takes a list of {grammar}", operand)

    def test(number: Decimal | None) -> bool:
        return number is not None and _in_range(number) and all(_COMPARISONS[is_](number, end) for is_, end in bounds)

    return lambda value: test(_number(value))


def _limit(value: Any, where: str) -> Decimal:
    number = _number(value)
    if number is None or not _comparable(number):
        _refuse(where, "numeric takes numbers from -5e9 to 5e9 with up to six digits after the point", value)
    return number


def _cidr(operand: Any, where: str) -> _ValueTest:
    text, _, mask = operand.partition("/") if isinstance(operand, str) else ("", "", "")
    address = _address(text)
    if address is None or not _MASK.fullmatch(mask) or int(mask) >= address.max_prefixlen:
        _refuse(where, "cidr takes an address and a mask of up to 31 bits, or 127 for IPv6", operand)
    network = ip_network(f"{address}/{int(mask)}", strict=False)
    return lambda value: (asked := _address(value)) is not None and asked in network


def _address(text: Any) -> IPv4Address | IPv6Address | None:
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


_OPERATORS: dict[str, Callable[[Any, str], _ValueTest]] = {
    **{name: partial(_text, name) for name in _TEXT_OPERATORS},
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
_COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RESERVED = frozenset(
    {*_OPERATORS, *_COMPARISONS, "exists", "exactly", "regex", "not-wildcard", "not-equals-ignore-case", "date-after"}
    | {"date-on-or-after", "date-before", "date-on-or-before", "in-date-range", "ip-address-in-range"}
    | {"ip-address-not-in-range"}
)


def _equal(rule: Any, value: Any) -> bool:
    """Equality of JSON values: 1 is neither true nor "1"."""
    wanted, found = _number(rule), _number(value)
    if wanted is None or found is None:
        return isinstance(rule, bool) is isinstance(value, bool) and bool(rule == value)
    if _comparable(wanted) and _comparable(found):
        return wanted == found
    return str(wanted) == str(found)


def _number(value: Any) -> Decimal | None:
    """A JSON number with all its digits; True and False are none, nor is what JSON has no number for."""
    if isinstance(value, float):
        value = Decimal(float.__repr__(value))
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    return value if isinstance(value, Decimal) and value.is_finite() else None


def _in_range(number: Decimal) -> bool:
    return -_NUMERIC_LIMIT <= number <= _NUMERIC_LIMIT


def _comparable(number: Decimal) -> bool:
    """Whether EventBridge compares the number by value: in range, with at most six digits after the point."""
    _, digits, exponent = number.as_tuple()
    if not _in_range(number) or not isinstance(exponent, int):
        return False
    surplus = -exponent - _DECIMALS
    return surplus <= 0 or not any(digits[-surplus:])
