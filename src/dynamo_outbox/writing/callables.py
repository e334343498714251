"""Checks of the functions that decorators are given."""

from __future__ import annotations

import inspect
from collections import OrderedDict, defaultdict, deque
from copy import copy
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ..events.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["argument_binder", "fresh", "is_method", "refuse_awaitable", "refuse_unfit"]


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


def fresh(value: Any) -> Any:
    """Return an equal value that shares no data with it: no event, model, dataclass, dict, list, set or bytearray.

    Other objects are shared, such as clients; so is what can't be copied, because it holds itself or is nested too
    deeply.
    """
    try:
        return _fresh(value)
    except RecursionError:
        return value


def _fresh(value: Any) -> Any:
    kind: Any = type(value)
    if isinstance(value, Event):
        return value.copied()
    if kind in (dict, OrderedDict, defaultdict):
        copied = copy(value)
        for name in copied:
            copied[name] = _fresh(copied[name])
        return copied
    if kind in (list, tuple, set, bytearray):
        return kind(map(_fresh, value))
    if kind is deque:
        return deque(map(_fresh, value), value.maxlen)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return kind(*map(_fresh, value))
    if hasattr(kind, "model_copy"):
        try:
            return kind.model_copy(value, deep=True)
        except Exception:  # it holds an object that can't be copied
            return value
    if is_dataclass(kind):
        copied = copy(value)
        for each in fields(kind):
            if hasattr(value, each.name):
                object.__setattr__(copied, each.name, _fresh(getattr(value, each.name)))
        return copied
    return value


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
