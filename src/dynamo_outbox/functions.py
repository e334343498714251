"""What the decorators ask of the functions that they are given, and of the calls that those get."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

__all__ = ["is_method", "name_of", "refuse_awaitable", "refuse_unfit", "remaining_time"]


def refuse_unfit(function: object, purpose: str, *, allow_async: bool = False) -> None:
    """Refuse what can't be called like a function, or whose body would run only after the call.

    Args:
        function: What is decorated.
        purpose: What it can't be: ``idempotent``.
        allow_async: Whether an ``async def`` will do.

    Raises:
        TypeError: It can't; the message says why.
    """
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, (staticmethod, classmethod)):
        raise TypeError(f"{name} is a {type(function).__name__} already; put @{purpose} under that decorator")
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"{name} can't be {purpose}: it is no function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} can't be {purpose}: a generator's body runs after the call")
    if inspect.iscoroutinefunction(function) and not allow_async:
        raise TypeError(f"{name} can't be {purpose}: a coroutine's body runs after the call; call one with asyncio.run")


def refuse_awaitable(returned: object, name: str) -> None:
    """Refuse what a function returned instead of running.

    Raises:
        TypeError: It is an awaitable.
    """
    if inspect.isawaitable(returned):
        raise TypeError(f"{name} returned an awaitable, which has not run: declare it with async def")


def is_method(function: Any) -> bool:
    """Whether a function's first argument is its object or class."""
    return next(iter(inspect.signature(function).parameters), None) in ("self", "cls")


def name_of(function: Any) -> str | None:
    """A function's module and qualified name; None where it has none of its own, as a lambda or a partial."""
    name = getattr(function, "__qualname__", None)
    return None if name is None or "<lambda>" in name else f"{function.__module__}.{name}"


def remaining_time(candidate: object) -> timedelta | None:
    """How long Lambda lets this invocation go on, where `candidate` is its context; else None."""
    remaining = getattr(candidate, "get_remaining_time_in_millis", None)
    milliseconds = remaining() if callable(remaining) else None
    is_number = isinstance(milliseconds, (int, float)) and not isinstance(milliseconds, bool)
    return timedelta(milliseconds=milliseconds) if is_number else None  # type: ignore[arg-type]  # a number, as checked
