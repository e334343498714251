"""EventBridge's event patterns, evaluated.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..errors import InvalidPatternError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["matches"]

_ABSENT: Any = object()


def matches(pattern: Mapping[str, Any], event: Mapping[str, Any], *, service: Literal["rule", "pipe"] = "rule") -> bool:
    """Whether an event pattern matches an event.

    Args:
        pattern: The pattern, as an object. Known here: values, null, ``prefix``, ``suffix``, ``equals-ignore-case``,
            ``exists``, ``anything-but`` with values.
        event: What is matched: an EventBridge event, or a pipe's record.
        service: Whose pattern it is: a rule's or a pipe's.

    Raises:
        InvalidPatternError: A pattern that AWS would refuse, or an operator that isn't known here.
    """
    if service not in ("rule", "pipe"):
        raise ValueError(f"service is 'rule' or 'pipe', not {service!r}")
    if not isinstance(pattern, dict) or not pattern:
        raise InvalidPatternError("a pattern is an object with at least one field")
    return _matches_object(pattern, event, "")


def _matches_object(pattern: Mapping[str, Any], value: Any, path: str) -> bool:
    fits = True
    for name, wanted in pattern.items():  # all of them, so that a mistake is found whatever the event holds
        here = f"{path}.{name}" if path else name
        member = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
        if isinstance(wanted, dict) and wanted:
            fits &= _matches_object(wanted, member, here)
        elif isinstance(wanted, list) and wanted:
            fitting = [_matches_value(rule, member, here) for rule in wanted]
            fits &= any(fitting)
        else:
            raise InvalidPatternError(f"{here}: needs an object or a list of what matches, neither of them empty")
    return fits


def _matches_value(rule: Any, member: Any, path: str) -> bool:
    values = member if isinstance(member, list) else [member]
    if not isinstance(rule, dict):
        return any(_equal(rule, value) for value in values)
    if len(rule) != 1:
        raise InvalidPatternError(f"{path}: an operator stands alone in its object, unlike {rule!r}")
    operator, operand = next(iter(rule.items()))
    if operator == "exists":
        if not isinstance(operand, bool):
            raise InvalidPatternError(f"{path}: exists takes true or false, not {operand!r}")
        return (member is not _ABSENT and not isinstance(member, dict)) is operand
    if operator == "anything-but":
        refused = operand if isinstance(operand, list) else [operand]
        if not refused or any(not isinstance(each, (str, int, float)) or isinstance(each, bool) for each in refused):
            raise InvalidPatternError(f"{path}: anything-but is known here with text or numbers, not {operand!r}")
        return any(value is not _ABSENT and not any(_equal(each, value) for each in refused) for value in values)
    test = _TEXT_OPERATORS.get(operator)
    if test is None:
        raise InvalidPatternError(f"{path}: the operator {operator!r} isn't known here")
    if not isinstance(operand, str):
        raise InvalidPatternError(f"{path}: {operator} takes text, not {operand!r}")
    return any(isinstance(value, str) and test(value, operand) for value in values)


_TEXT_OPERATORS = {
    "prefix": str.startswith,
    "suffix": str.endswith,
    "equals-ignore-case": lambda value, operand: value.lower() == operand.lower(),
}


def _equal(rule: Any, value: Any) -> bool:
    """JSON equality: 1 is not true."""
    return value is not _ABSENT and isinstance(rule, bool) == isinstance(value, bool) and bool(rule == value)
