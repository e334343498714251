"""The update expression of `Transaction.update`: nested paths, and functions of DynamoDB.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..codec.values import encode_value
from ..errors import EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NEXT_VERSION", "IfNotExists", "ListAppend", "UpdateExpression", "update_expression"]

NEXT_VERSION = ":outbox_next"
"""The placeholder of the version that an update gives the item."""
_PATH = re.compile(r"[^.\[\]]+(?:\[[0-9]+\])*(?:\.[^.\[\]]+(?:\[[0-9]+\])*)*")
_STEP = re.compile(r"([^.\[\]]+)|(\[[0-9]+\])")


class IfNotExists(NamedTuple):
    """A value for `set=` of `Transaction.update`: set only if the attribute does not exist."""

    value: Any


class ListAppend(NamedTuple):
    """A value for `set=` of `Transaction.update`: members added to a list, which is created if it does not exist.

    Args:
        members: A list.
        in_front: Add them before the others.
    """

    members: list[Any]
    in_front: bool = False


class UpdateExpression(NamedTuple):
    """An expression with its placeholders; the values are typed."""

    text: str
    names: dict[str, str]
    values: dict[str, Any]


def update_expression(
    set_: Mapping[str, Any], add: Mapping[str, Any], remove: Sequence[str], version: tuple[str, int] | None
) -> UpdateExpression:
    """Return the expression of an update, with the attribute and the number of the version that the item gets.

    Raises:
        ValueError: Nothing is changed, a path is malformed, or two changes overlap.
        EncodeError: DynamoDB has no type for a value; the path names the attribute.
    """
    writer = _Writer()
    sets = [writer.set(path, value) for path, value in set_.items()]
    if version is not None:
        sets.append(writer.set_version(*version))
    adds = [f"{writer.path('add', path)} {writer.value('add', path, value)}" for path, value in add.items()]
    removes = [writer.path("remove", path) for path in remove]
    clauses = [
        f"{name} {', '.join(each)}" for name, each in (("SET", sets), ("ADD", adds), ("REMOVE", removes)) if each
    ]
    if not clauses:
        raise ValueError("an update must change something: give set=, add= or remove=")
    return UpdateExpression(" ".join(clauses), writer.names, writer.values)


class _Writer:
    """Placeholders of one expression, and the paths that it has changed."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self._changed: dict[tuple[str, ...], str] = {}

    def path(self, clause: str, path: object) -> str:
        """Return a path with placeholders; refuse one that overlaps an earlier one, as DynamoDB would."""
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ValueError(
                f"{clause}={path!r} is not a path: an attribute's name, then .name or [0] for nested values"
            )
        steps = tuple(name or index for name, index in _STEP.findall(path))
        for other, where in self._changed.items():
            if steps[: len(other)] == other[: len(steps)]:
                raise ValueError(f"{clause}= of {path!r} overlaps {where}; DynamoDB changes a path once in an update")
        self._changed[steps] = f"{clause}= of {path!r}"
        out = ""
        for step in steps:
            if step.startswith("["):
                out += step
            else:
                out += f"{'.' if out else ''}{self._name(step)}"
        return out

    def _name(self, attribute: str) -> str:
        placeholder = f"#outbox_{len(self.names)}"
        self.names[placeholder] = attribute
        return placeholder

    def value(self, clause: str, path: str, value: Any) -> str:
        try:
            typed = encode_value(value)
        except EncodeError as error:
            joint = "" if not error.path or error.path.startswith("[") else "."
            raise EncodeError(f"{clause}.{path}{joint}{error.path}", error.problem) from None
        placeholder = f":outbox_{len(self.values)}"
        self.values[placeholder] = typed
        return placeholder

    def set(self, path: str, value: Any) -> str:
        placeholders = self.path("set", path)
        if isinstance(value, IfNotExists):
            return f"{placeholders} = if_not_exists({placeholders}, {self.value('set', path, value.value)})"
        if isinstance(value, ListAppend):
            new = self.value("set", path, list(value.members))
            old = f"if_not_exists({placeholders}, {self.value('set', path, [])})"
            both = f"{new}, {old}" if value.in_front else f"{old}, {new}"
            return f"{placeholders} = list_append({both})"
        return f"{placeholders} = {self.value('set', path, value)}"

    def set_version(self, attribute: str, version: int) -> str:
        for other, where in self._changed.items():
            if other[0] == attribute:
                raise ValueError(f"{where} is set by the version lock, too; leave it out")
        self._changed[(attribute,)] = f"the version lock of {attribute!r}"
        self.names["#outbox_version"] = attribute
        self.values[NEXT_VERSION] = encode_value(version)
        return f"#outbox_version = {NEXT_VERSION}"
