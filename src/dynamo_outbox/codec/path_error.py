"""The error that codecs raise internally: a problem, and where in a value it is."""

from __future__ import annotations

__all__ = ["PathError"]


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
