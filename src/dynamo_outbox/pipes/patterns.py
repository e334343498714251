"""Evaluation of EventBridge's event patterns.

A pattern is compiled into alternatives, one for each combination of its ``$or`` choices. Each alternative is a tree of
fields with tests at its leaves. Fields are joined into paths and alternatives multiplied out as in AWS's own engine, so
that all tests below an array apply to the same member: https://github.com/aws/event-ruler

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
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from ..errors import InvalidPatternError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Values = list[Any]  # an event's leaves at one path: one, none, or an array's members
    _Test = Callable[[_Values], bool]
    _ValueTest = Callable[[Any], bool]
    _TextTest = Callable[[str], bool]
    _Path = tuple[str, ...]
    _Alternative = dict[_Path, list[_Test]]

__all__ = ["compile_pattern", "matches"]

MAX_PATTERN_LENGTH = 4096
"""Characters of JSON text. A rule's default quota is 2,048, which AWS can raise.
https://docs.aws.amazon.com/eventbridge/latest/pipes-reference/API_Filter.html"""

MAX_COMBINATIONS = 1000
"""The maximum product of the lengths of a pattern's ``$or`` lists."""

MAX_DEPTH = 100
"""Levels of objects in a pattern; this library's limit. A record has at most 66: 32 item levels, each with a type."""

_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F:]{2,39}")
_MASK = re.compile(r"[0-9]{1,3}")
_ESCAPES = re.compile(r"\\[*\\]|[^\\*]+|\*|.", re.DOTALL)
_ABSENT: Any = object()


def _ABSENCE(_values: list[Any]) -> bool:  # noqa: N802  # a test that is recognised by its identity
    """The test of ``exists: false``, which asks about the whole event: see `_leads_anywhere`."""
    raise AssertionError("it is not called")


def matches(
    pattern: Mapping[str, Any], event: Mapping[str, Any], *, service: Literal["rule", "pipe", "subscriber"] = "rule"
) -> bool:
    """Return whether an event pattern matches an event.

    Numbers are compared as IEEE doubles, and texts that are IP addresses as addresses, as in AWS's engine. AWS's limit
    on a wildcard's complexity is not checked.

    Args:
        pattern: The pattern, as an object.
        event: An EventBridge event, or a pipe's record.
        service: ``rule``; or ``pipe`` or ``subscriber`` (of a Custom Event Bus), which support fewer operators.

    Raises:
        InvalidPatternError: AWS would refuse the pattern, or does not document it.
    """
    return compile_pattern(pattern, service=service)(event)


def compile_pattern(
    pattern: Mapping[str, Any], *, service: Literal["rule", "pipe", "subscriber"] = "rule"
) -> Callable[[Mapping[str, Any]], bool]:
    """Check a pattern and return it as a function of an event; arguments and errors are those of `matches`."""
    if service not in ("rule", "pipe", "subscriber"):
        raise ValueError(f"service must be 'rule', 'pipe' or 'subscriber', not {service!r}")
    if not isinstance(pattern, dict) or not pattern:
        raise InvalidPatternError("a pattern must be an object with at least one field")
    try:
        length = len(json.dumps(pattern, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
    except RecursionError:
        raise InvalidPatternError(f"a pattern may be nested at most {MAX_DEPTH} levels deep") from None
    except (TypeError, ValueError) as error:
        raise InvalidPatternError(f"a pattern must be JSON: {error}") from None
    if length > MAX_PATTERN_LENGTH:
        raise InvalidPatternError(f"a pattern has at most {MAX_PATTERN_LENGTH:,} characters, not {length:,}")
    trees = [_tree(alternative) for alternative in _Compiler(service).fields(pattern, (), "", [{}])]

    return lambda event: any(_fits(tree, event, event) for tree in trees)


def _member(value: Any, name: str) -> Any:
    """Return what a step leads to, `_ABSENT` for nothing: a dot in an event's names separates steps too.

    As in AWS's engine, two names with one path have both values.
    """
    if not isinstance(value, dict):
        return _ABSENT
    found = value.get(name, _ABSENT)
    prefix = f"{name}."
    for each, member in value.items():
        if isinstance(each, str) and each.startswith(prefix):
            found = _joined(found, {each[len(prefix) :]: member})
    return found


def _joined(first: Any, second: Any) -> Any:
    if first is _ABSENT:
        return second
    if not isinstance(first, dict) or not isinstance(second, dict):
        return [first, second]
    return first | {name: _joined(first.get(name, _ABSENT), member) for name, member in second.items()}


class _Node(NamedTuple):
    """The tests for one path of the event: for its leaves, for the members below it, or both.

    Attributes:
        path: The path.
        tests: For the leaves.
        members: By name.
    """

    path: _Path
    tests: list[_Test]
    members: dict[str, _Node]


def _tree(alternative: _Alternative) -> _Node:
    root = _Node((), [], {})
    for path, tests in alternative.items():
        node = root
        for end, name in enumerate(path, 1):
            node = node.members.setdefault(name, _Node(path[:end], [], {}))
        node.tests.extend(tests)
    return root


def _fits(node: _Node, value: Any, event: Any) -> bool:
    for name, member in node.members.items():
        leaves, objects = _spread(_member(value, name))
        if member.tests and not any(
            not _leads_anywhere(member.path, event) if test is _ABSENCE else test(leaves) for test in member.tests
        ):
            return False
        if member.members and not any(_fits(member, each, event) for each in objects or [{}]):
            return False
    return True


def _leads_anywhere(path: _Path, event: Any) -> bool:
    """Return whether a path leads to a leaf in the whole event, through every member of its arrays."""
    objects: list[Any] = [event]
    leaves: _Values = []
    for name in path:
        spread = [_spread(_member(each, name)) for each in objects]
        leaves = [leaf for found, _ in spread for leaf in found]
        objects = [each for _, found in spread for each in found]
    return bool(leaves)


def _spread(value: Any) -> tuple[_Values, list[dict[str, Any]]]:
    """Return the leaves and the objects of a value: itself, or the members of an array, nested arrays included."""
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
    """Compiles a pattern's fields into alternatives and refuses invalid ones."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._combinations = 1

    def fields(
        self, wanted: Any, path: _Path, where: str, alternatives: list[_Alternative], *, in_or: bool = False
    ) -> list[_Alternative]:
        """Return the alternatives, each with the tests of these fields added."""
        if len(path) > MAX_DEPTH:
            _refuse(where, f"a pattern may be nested at most {MAX_DEPTH} levels deep")
        for name, value in wanted.items():
            if not isinstance(name, str):
                _refuse(where, "a field's name must be text", name)
            here = f"{where}.{name}" if where else name
            if name == "$or":
                alternatives = self._or(value, path, here, alternatives)
            elif in_or and name in _RESERVED:
                _refuse(here, "a field inside $or must not have the name of an operator")
            elif isinstance(value, dict) and value:
                alternatives = self.fields(value, (*path, name), here, alternatives, in_or=in_or)
            elif isinstance(value, list) and value:
                tests = [self._test(rule, here) for rule in value]
                field = tuple(".".join((*path, name)).split("."))
                if len(field) > MAX_DEPTH:
                    _refuse(where, f"a pattern may be nested at most {MAX_DEPTH} levels deep")
                alternatives = [{**each, field: tests} for each in alternatives]
            else:
                _refuse(here, "needs a non-empty object or a non-empty list of values and operators", value)
        return alternatives

    def _or(self, choices: Any, path: _Path, where: str, alternatives: list[_Alternative]) -> list[_Alternative]:
        if not isinstance(choices, list) or len(choices) < 2:
            _refuse(where, "takes a list of at least two objects")
        self._combinations *= len(choices)
        if self._combinations > MAX_COMBINATIONS:
            _refuse(where, f"the product of the lengths of all $or must be at most {MAX_COMBINATIONS:,}")
        forked: list[_Alternative] = []
        for index, choice in enumerate(choices):
            here = f"{where}[{index}]"
            if not isinstance(choice, dict) or not choice:
                _refuse(here, "an alternative must be an object with at least one field", choice)
            forked += self.fields(choice, path, here, alternatives, in_or=True)
        return forked

    def _test(self, rule: Any, where: str) -> _Test:
        if isinstance(rule, list):
            _refuse(where, "a member must be text, a number, true, false, null or an operator's object, not a list")
        if not isinstance(rule, dict):
            return lambda values: any(_equal(rule, value) or _one_address(rule, value) for value in values)
        name, operand = _only_member(rule, where)
        if name == "exists":
            if not isinstance(operand, bool):
                _refuse(where, "exists takes true or false", operand)
            return bool if operand else _ABSENCE
        beyond_pipes = name == "wildcard" or (name == "anything-but" and isinstance(operand, dict))
        if self._service == "pipe" and beyond_pipes:
            _refuse(where, "a pipe does not support wildcard; anything-but takes text, a number or a list of either")
        if self._service == "subscriber" and "wildcard" in (name, *(operand if isinstance(operand, dict) else ())):
            _refuse(where, "a subscriber does not support wildcard")
        if name not in _OPERATORS:
            _refuse(where, f"an operator must be one of exists, {', '.join(_OPERATORS)}", name)
        test = _OPERATORS[name](operand, where)
        return lambda values: any(test(value) for value in values)


def _refuse(where: str, problem: str, *found: Any) -> NoReturn:
    raise InvalidPatternError(f"{where}: {problem}" + "".join(f", not {reprlib.repr(each)}" for each in found))


def _only_member(rule: dict[str, Any], where: str) -> tuple[str, Any]:
    if len(rule) != 1:
        _refuse(where, "an operator must be the only member of its object", rule)
    return next(iter(rule.items()))


def _ignoring_case(operand: str, _where: str, *, whole: bool = True, step: int = 1) -> _TextTest:
    """Return a test that takes each character in lower or upper case, which may be longer: ß is also SS.

    Step -1 compares backwards from the end, so that a suffix is tried at one position only.
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
            _refuse(where, r"in a wildcard a backslash must be followed by * or another backslash: \* or \\")
        if piece == previous == "*":
            _refuse(where, "a wildcard must not contain **")
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
        for part in middle:  # the earliest position leaves the most text for later parts: no backtracking needed
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
            _refuse(where, f"anything-but {name} does not take an empty text")
        tests = [_TEXT_OPERATORS[name](each, where) for each in texts]
        return lambda value: not (isinstance(value, str) and any(test(value) for test in tests))
    refused = operand if isinstance(operand, list) else [operand]
    of_one_kind = all(isinstance(each, str) for each in refused) or None not in map(_number, refused)
    if not refused or not of_one_kind:
        _refuse(where, "anything-but takes text, a number, a list of texts or a list of numbers", operand)
    return lambda value: not any(_equal(each, value) for each in refused)


def _numeric(operand: Any, where: str) -> _ValueTest:
    match operand:
        case ["=" | "<" | "<=" | ">" | ">=" as symbol, limit]:
            bounds = [(symbol, _limit(limit, where))]
        case [">" | ">=" as low, bottom, "<" | "<=" as high, top]:
            bounds = [(low, _limit(bottom, where)), (high, _limit(top, where))]
            if bounds[0][1] >= bounds[1][1]:
                _refuse(where, "a numeric range must begin below its end", operand)
        case _:
            grammar = "=, <, <=, > or >= and a number, or of > or >=, a number, < or <=, a number"
            _refuse(where, f"numeric takes a list of {grammar}", operand)

    def test(number: float | None) -> bool:
        return number is not None and all(_COMPARISONS[is_](number, end) for is_, end in bounds)

    return lambda value: test(_number(value))


def _limit(value: Any, where: str) -> float:
    number = _number(value)
    if number is None:
        _refuse(where, "numeric takes numbers that an IEEE double can hold", value)
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
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address  # as Java reads them


def _one_address(rule: Any, value: Any) -> bool:
    """Return whether two texts are one IP address; anything-but compares texts only."""
    address = _address(rule)
    return address is not None and address == _address(value)


_OPERATORS: dict[str, Callable[[Any, str], _ValueTest]] = {
    **{name: partial(_text, name) for name in _TEXT_OPERATORS},
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
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
    """Return whether two JSON values are equal: 1 equals neither true nor "1"."""
    wanted, found = _number(rule), _number(value)
    if wanted is not None and found is not None:
        return wanted == found
    return isinstance(rule, bool) is isinstance(value, bool) and bool(rule == value)


def _number(value: Any) -> float | None:
    """Return a JSON number as an IEEE double; None for any other value, also for True, NaN and what no double holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if isfinite(number) else None
