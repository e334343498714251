"""Frozen values without `dataclasses`, whose import would cost the decoder more than all of its own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn

__all__ = ["Frozen", "fill", "unfrozen"]

fill = object.__setattr__
"""How `__init__` sets a field of a frozen value."""


class Frozen:
    """Compares, shows itself and refuses to change by the names in `FIELDS`."""

    __slots__ = ()
    FIELDS: ClassVar[tuple[str, ...]] = ()

    if not TYPE_CHECKING:  # a type checker that saw it would let any name be set

        def __setattr__(self, name: str, value: object) -> NoReturn:
            raise AttributeError(f"{type(self).__name__} is frozen: {name!r} can't be set")

        def __delattr__(self, name: str) -> NoReturn:
            raise AttributeError(f"{type(self).__name__} is frozen: {name!r} can't be deleted")

    def __setstate__(self, state: tuple[dict[str, object] | None, dict[str, object]]) -> None:
        """For `copy` and `pickle`: what a subclass may have in its ``__dict__``, and the slots."""
        for name, value in {**(state[0] or {}), **state[1]}.items():
            fill(self, name, value)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.FIELDS)

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} can't be hashed: it holds dicts")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.FIELDS)
        return f"{type(self).__name__}({shown})"


def unfrozen(kind: type[Frozen]) -> Any:
    """A class with the slots of a frozen one, for its instances while they are made of what was checked already.

    Who makes one sets every slot, by plain assignments, which cost a tenth of `fill`; and last its ``__class__``.
    """
    setting = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}  # C's own only where both are
    return type(f"Unfrozen{kind.__name__}", (Frozen,), {"__slots__": kind.__slots__, **setting})
