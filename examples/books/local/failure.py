"""The error of a failed hop."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from dynamo_outbox.testing import EngineError

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class HopFailedError(Exception):
    """A hop failed.

    Attributes:
        hop: The hop's name.
        problem: The reason.
    """

    def __init__(self, hop: str, problem: str) -> None:
        super().__init__(f"{hop}: {problem}")
        self.hop = hop
        self.problem = problem


def hop(name: str | Callable[..., str]) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Mark a function as a hop: an exception in it becomes a `HopFailedError` with the hop's name.

    Args:
        name: The hop's name, or a function that returns it for the call's arguments.
    """

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        @wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            try:
                return function(*args, **kwargs)
            except (HopFailedError, EngineError):
                raise
            except Exception as error:
                called = name if isinstance(name, str) else name(*args, **kwargs)
                raise HopFailedError(called, f"{type(error).__name__}: {error}") from error

        return run

    return decorate
