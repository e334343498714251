"""What the decorators ask of the functions that they are given, and of the calls that those get."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "JSON_TYPES",
    "argument_binder",
    "is_method",
    "name_of",
    "plain_parameters",
    "refuse_awaitable",
    "refuse_unfit",
    "remaining_time",
    "time_left",
]

JSON_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})
"""What arguments and results mostly are. None of these types can be awaited, tells a Lambda function's time or is a
model, so an idempotent call doesn't ask their values."""


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


def plain_parameters(function: Any) -> list[str]:
    """The names of a function's parameters, if each takes its argument by position or by name; else none."""
    parameters = inspect.signature(function).parameters
    plain = all(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters.values())
    return [*parameters] if plain else []


def argument_binder(function: Any, skipped: int) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """What gives a call's arguments by name, in the function's order.

    Args:
        function: The function.
        skipped: How many of its first arguments to leave out.
    """
    signature = inspect.signature(function)
    names = [*signature.parameters]
    own_names = names[skipped:]

    def bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(list(signature.bind(*args, **kwargs).arguments.items())[skipped:])

    def matched(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The same, without the signature, where each parameter has an argument."""
        if [*kwargs] == own_names and len(args) == skipped:
            return kwargs
        if skipped <= len(args) == len(names) - len(kwargs):
            arguments = dict(zip(own_names, args[skipped:], strict=False))
            try:
                for name in names[len(args) :]:
                    arguments[name] = kwargs[name]
            except KeyError:
                return bound(args, kwargs)
            return arguments
        return bound(args, kwargs)

    return matched if plain_parameters(function) == names else bound


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


def time_left(args: tuple[Any, ...], kwargs: dict[str, Any]) -> timedelta | None:
    """How long a call may still run, where a Lambda context among its arguments says so."""
    for each in (*args, *kwargs.values()):
        if type(each) not in JSON_TYPES and (time := remaining_time(each)) is not None:
            return time
    return None
