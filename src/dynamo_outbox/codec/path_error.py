"""The error that codecs raise internally: a problem, and where in a value it is."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["PathError", "convert_members", "convert_values"]


class PathError(Exception):
    """A problem inside a value. Callers turn it into a public error.

    Attributes:
        path: Where the problem is: ``.authors[2]``.
        problem: What is wrong.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def under(self, step: str) -> PathError:
        """Return the same problem as seen from the enclosing value; each container adds its own step."""
        return PathError(f"{step}{self.path}", self.problem)


def convert_members(convert: Callable[[Any, int], Any], members: Iterable[Any], depth: int) -> list[Any]:
    """Convert a list's members at this depth; an error gets the member's index as a step."""
    out = []
    for index, member in enumerate(members):
        try:
            out.append(convert(member, depth))
        except PathError as bad:
            raise bad.under(f"[{index}]") from None
    return out


def convert_values(
    convert: Callable[[Any, int], Any], checked_name: Callable[[Any], str], members: Any, depth: int
) -> dict[str, Any]:
    """Check a map's names and convert its values at this depth; an error gets the value's name as a step."""
    out = {}
    for key, member in members.items():
        name = checked_name(key)
        try:
            out[name] = convert(member, depth)
        except PathError as bad:
            raise bad.under(f".{name}") from None
    return out
