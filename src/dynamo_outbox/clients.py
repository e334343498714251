"""boto3's clients, made on first use and shared by what this library makes."""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, TypeVar

__all__ = ["LazyClient", "shared_client"]

ClientT = TypeVar("ClientT")


class LazyClient(Generic[ClientT]):
    """The client that the user gave, or else the shared one of its service."""

    def __init__(self, service: str, given: ClientT | None) -> None:
        self._service = service
        self._given = given

    def __call__(self) -> ClientT:
        if self._given is None:
            self._given = shared_client(self._service)
        return self._given


@cache
def shared_client(service: str) -> Any:
    """One low-level client per service and process, from boto3's default configuration."""
    import boto3

    return boto3.client(service)  # type: ignore[call-overload]  # the stubs know services by literal names only
