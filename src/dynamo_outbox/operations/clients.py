"""The clients with which operations call AWS."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import boto3

__all__ = ["Clients", "clients_of"]

ATTEMPTS = 5
"""Attempts of each call: an operation is not bound to the time that a Lambda function has left."""
INVOCATION_SECONDS = 910
"""A Lambda function's longest time and a margin: an earlier timeout would call it again."""


class Clients(Protocol):
    """Returns the low-level client of a service, for example ``clients("dynamodb")``; the same one each time."""

    def __call__(self, service: str, /) -> Any: ...


def clients_of(session: boto3.Session | None = None) -> Clients:
    """Return clients that boto3 creates when they are first needed.

    Arguments:
        session: The session with Region and credentials. Default: boto3's default session.
    """
    made: dict[str, Any] = {}
    making = Lock()  # a session is not thread-safe

    def client(service: str, /) -> Any:
        import boto3
        from botocore.config import Config

        with making:
            if service not in made:
                retries: Any = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
                config = Config(retries=retries, read_timeout=INVOCATION_SECONDS if service == "lambda" else 60)
                made[service] = (session or boto3).client(service, config=config)  # type: ignore[call-overload]  # any service
            return made[service]

    return client
