"""What items have in common, and the code of a reader written for it: everything unrolled that the shape fixes.

A shape is a map's names, and for each the type tag of its value, the shape of the map, what a list's members have in
common. Values that differ in kind from item to item have none: they are left to `fast_values`, as what is rare is.
"""

from __future__ import annotations

from .fast_values import DEPTH, NUMERIC, NotPlainError, get, read_number, read_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Shape: TypeAlias = str | tuple[str, Any] | None
    """A leaf's tag; ``("L", the members' shape)``; ``("M", the pairs of name and shape)``; `ANY`; `NOTHING`."""

__all__ = ["ANY", "NOTHING", "bounded", "merged", "reader_of", "shape_of", "source_of"]

ANY = None
NOTHING = ""
"""The shape of the members of a list that was empty whenever it was seen."""
LEAVES = frozenset({"S", "N", "BOOL", "NULL", "SS", "NS"})
MOST_LOOPS = 8
"""Lists in lists: Python nests twenty blocks at most."""
VALUE_WEIGHT = 16
MOST_WEIGHT = 4096
"""A value counts so many characters of a name: this bounds a shape, and the code that is written for it."""


def shape_of(typed: dict[str, Any]) -> Shape:
    """The shape of a well-formed typed value; an item's is that of ``{"M": item}``."""
    ((tag, value),) = typed.items()
    if type(tag) is not str:  # equal to one, but not to be written into code
        return ANY
    if tag == "M":
        return tag, tuple((name, shape_of(member)) for name, member in value.items())
    if tag == "L":
        shape: Shape = NOTHING
        for member in value:
            shape = merged(shape, shape_of(member))
        return tag, shape
    return tag if tag in LEAVES else ANY


def merged(one: Shape, other: Shape) -> Shape:
    """The shape of what has either."""
    if one == other or other == NOTHING:
        return one
    if one == NOTHING:
        return other
    if isinstance(one, tuple) and isinstance(other, tuple) and one[0] == other[0]:
        tag, mine, theirs = *one, other[1]
        if tag == "L":
            return tag, merged(mine, theirs)
        found = dict(theirs)
        if found.keys() == dict(mine).keys():
            return tag, tuple((name, merged(shape, found[name])) for name, shape in mine)
    return ANY


def bounded(shape: Shape) -> Shape:
    """An item's shape, without what lies in its maps and lists if that were too much; `ANY` if it still is."""
    if weight(shape) > MOST_WEIGHT and isinstance(shape, tuple):
        shape = "M", tuple((name, member if isinstance(member, str) else ANY) for name, member in shape[1])
    return shape if weight(shape) <= MOST_WEIGHT else ANY


def weight(shape: Shape) -> int:
    """How much a shape holds: its values and the characters of its names."""
    if not isinstance(shape, tuple):
        return VALUE_WEIGHT
    tag, members = shape
    return VALUE_WEIGHT + (weight(members) if tag == "L" else sum(len(name) + weight(each) for name, each in members))


def reader_of(shape: Shape) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that reads an item of the shape as `fast_values.read_map` does, and raises on any other.

    It is given items of as many attributes as the shape has: by that number it is found, and doesn't count them again.
    Of a map it gives the members in the shape's order: DynamoDB keeps none.
    """
    namespace: dict[str, Any] = {
        "NUMERIC": NUMERIC,
        "NotPlainError": NotPlainError,
        "read_value": read_value,
        "get": get,
        "join": "".join,
        "number": read_number,
        **{kind.__name__: kind for kind in (dict, list, set, str, type)},  # found here, one look-up less each time
        "len": len,
        "map": map,
    }
    exec(source_of(shape), namespace)  # noqa: S102  # of names and tags, all of them str, as literals
    reader: Callable[[dict[str, Any]], dict[str, Any]] = namespace["read"]
    return reader


def source_of(shape: Shape) -> str:
    """The code of that function, `read`."""
    if not isinstance(shape, tuple):
        raise TypeError(f"{shape!r} is no item's shape")
    writer = _Writer()
    result = writer.map("item", shape[1], 0)
    return "\n".join(["def read(item):", *writer.finished(), f"    return {result}"])


class _Writer:
    """Writes a reader's statements. What has to hold is gathered, and checked together where a block ends."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._conditions: list[str] = []
        self._numbers: list[str] = []
        """Of all numbers, the texts: what they hold is checked in one go, at the end."""
        self._has_more = False
        """Whether there are numbers in lists: those are added to ``more``."""
        self._loops = 0
        self._variables = 0

    def finished(self) -> list[str]:
        """The statements."""
        numbers = [*self._numbers, *(["*more"] if self._has_more else [])]
        if numbers:
            is_one = len(numbers) == 1 and not numbers[0].startswith("*")
            text = numbers[0] if is_one else f"join(({', '.join(numbers)},))"
            self._conditions.append(f"not {text}.strip(NUMERIC)")
        self._check()
        return [*(["    more = []"] if self._has_more else []), *self._lines]

    def _check(self) -> None:
        if self._conditions:
            self._unless(" and ".join(self._conditions))
        self._conditions = []

    def _unless(self, condition: str) -> None:
        self._line(f"if not ({condition}):")
        self._line("    raise NotPlainError")

    def _line(self, text: str) -> None:
        self._lines.append("    " * (self._loops + 1) + text)

    def _new(self, letter: str) -> str:
        self._variables += 1
        return f"{letter}{self._variables}"

    def _number(self, text: str) -> None:
        if not self._loops:
            self._numbers.append(text)
            return
        self._has_more = True
        self._line(f"more += {text.removeprefix('*')}" if text.startswith("*") else f"more.append({text})")

    def map(self, variable: str, members: Any, depth: int) -> str:
        """Read a map whose members' depth is one more; returns the expression of what was read."""
        self._unless(f"type({variable}) is dict" + (f" and len({variable}) == {len(members)}" if depth else ""))
        typed = [(self._new("v"), name, shape) for name, shape in members]
        for each, name, _ in typed:
            self._line(f"{each} = {variable}[{name!r}]")
        read = [f"{name!r}: {self._value(each, shape, depth + 1)}" for each, name, shape in typed]
        return f"{{{', '.join(read)}}}"

    def _value(self, typed: str, shape: Shape, depth: int) -> str:
        """Read a typed value; returns the expression of what was read."""
        if shape is None or depth > DEPTH or (shape[0] == "L" and self._loops == MOST_LOOPS):
            return f"read_value({typed}, {depth})"
        tag, members = shape if isinstance(shape, tuple) else (shape, NOTHING)
        value = self._new("x")
        self._line(f"{value} = get({typed}, {tag!r})")
        self._conditions.append(f"len({typed}) == 1")
        match tag:
            case "M":
                return self.map(value, members, depth)
            case "L":
                return self._list(value, members, depth)
            case "S":
                self._conditions.append(f"type({value}) is str")
                return value
            case "N":
                self._number(value)
                return f"number({value})"
            case "BOOL":
                self._conditions.append(f"({value} is True or {value} is False)")
                return value
            case "NULL":
                self._conditions.append(f"{value} is True")
                return "None"
        self._conditions.append(f"type({value}) is list and {value}")
        if tag == "SS":
            self._conditions.append(f"join({value}) is not None")  # it raises unless all are text
            return f"set({value})"
        self._number(f"*{value}")
        return f"set(map(number, {value}))"

    def _list(self, value: str, shape: Shape, depth: int) -> str:
        self._unless(f"type({value}) is list" if shape != NOTHING else f"{value} == []")
        if shape == NOTHING:
            return "[]"
        outer, self._conditions = self._conditions, []
        out, member = self._new("o"), self._new("m")
        self._line(f"{out} = []")
        self._line(f"for {member} in {value}:")
        self._loops += 1
        result = self._value(member, shape, depth + 1)
        self._check()
        self._line(f"{out}.append({result})")
        self._loops -= 1
        self._conditions = outer
        return out
