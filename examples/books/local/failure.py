"""How a run fails: at a hop, which it names."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from dynamo_outbox.testing import EngineError

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class HopFailedError(Exception):
    """A hop of the book's way did not do what it should.

    Attributes:
        hop: The hop's name.
    """

    def __init__(self, hop: str, problem: str) -> None:
        super().__init__(f"{hop}: {problem}")
        self.hop = hop
        self.problem = problem


def hop(name: str | Callable[..., str]) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Mark a function as a hop: whatever it raises becomes a `HopFailedError` that names it.

    Args:
        name: The hop's name, or a function of the call's arguments that gives it.
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
