"""Checks of the functions that decorators are given."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["argument_binder", "is_method", "refuse_awaitable", "refuse_unfit"]


def refuse_unfit(function: object, purpose: str, *, allow_async: bool = False) -> None:
    """Refuse an object that is not a function, or whose body would run only after the call.

    Args:
        function: The decorated object.
        purpose: What it can't be: ``idempotent``.
        allow_async: Accept an ``async def``.

    Raises:
        TypeError: The message says why.
    """
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, (staticmethod, classmethod)):
        raise TypeError(f"{name} is a {type(function).__name__} already; put that decorator above this one")
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"{name} can't be {purpose}: it is not a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} can't be {purpose}: a generator's body runs after the call")
    if inspect.iscoroutinefunction(function) and not allow_async:
        raise TypeError(f"{name} can't be {purpose}: a coroutine's body runs after the call; call one with asyncio.run")


def refuse_awaitable(returned: object, name: str) -> None:
    """Refuse an awaitable that a function returned.

    Raises:
        TypeError: Its body has not run.
    """
    if inspect.isawaitable(returned):
        raise TypeError(f"{name} returned an awaitable, which has not run: declare it with async def")


def is_method(function: Any) -> bool:
    """Return whether a function's first parameter is its object or class."""
    return next(iter(inspect.signature(function).parameters), None) in ("self", "cls")


def argument_binder(function: Any, skipped: int) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """Return a function that maps a call's arguments to their names, in the order of the parameters.

    Args:
        function: The called function.
        skipped: How many of its first parameters to leave out.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    names = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    own_names = names[skipped:] if len(names) == len(parameters) else None

    def bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if own_names is not None and not kwargs and len(args) - skipped == len(own_names):  # without a slow `bind`
            return dict(zip(own_names, args[skipped:], strict=True))
        return dict(list(signature.bind(*args, **kwargs).arguments.items())[skipped:])

    return bound
