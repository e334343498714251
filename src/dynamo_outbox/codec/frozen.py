"""Frozen values without `dataclasses`, whose import costs more than all of the decoder's own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn

__all__ = ["Frozen", "fill"]

fill = object.__setattr__
"""Sets an attribute of a frozen value while it is being created."""


class Frozen:
    """A value that compares and shows the attributes in `FIELDS`, and can't be changed."""

    __slots__ = ()
    FIELDS: ClassVar[tuple[str, ...]] = ()

    if not TYPE_CHECKING:  # a type checker that saw it would let any name be set

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise AttributeError(f"{type(self).__name__} is frozen: {name!r} can't be set")

        def __delattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"{type(self).__name__} is frozen: {name!r} can't be deleted")

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        """Restore a copy or a pickle: a subclass's ``__dict__``, and the slots."""
        for name, value in {**(state[0] or {}), **state[1]}.items():
            fill(self, name, value)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.FIELDS)

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} can't be hashed: it holds dicts")

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.FIELDS)
        return f"{type(self).__name__}({fields})"
