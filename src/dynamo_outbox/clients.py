"""boto3's clients, made on first use and shared by what this library makes."""

from __future__ import annotations

from http.client import HTTPException
from threading import Lock
from typing import Any, Generic, TypeVar

from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ChecksumError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

__all__ = ["LOST_ANSWER", "LazyClient", "forget_shared_clients", "shared_client"]

LOST_ANSWER = (
    HTTPClientError,
    BotocoreConnectionError,
    ChecksumError,
    ResponseParserError,
    HTTPError,
    HTTPException,
    OSError,
    UnicodeDecodeError,
)
"""What botocore raises, or lets through, where no answer arrived or none that can be read: whether the request was
carried out is open."""

ClientT = TypeVar("ClientT")

CONNECT_TIMEOUT, READ_TIMEOUT = 3, 10
"""Seconds to wait for a connection and for an answer: boto3's 60 would use up a Lambda function's time before what got
no answer could be settled."""


class LazyClient(Generic[ClientT]):
    """The client that the user gave, or else the shared one of its service."""

    def __init__(self, service: str, given: ClientT | None) -> None:
        if given is not None and _encodes_by_itself(given):
            raise TypeError(
                "this client belongs to a boto3 resource (it is its meta.client) and would encode typed values again; "
                f"give a low-level one: boto3.client({service!r})"
            )
        self._service = service
        self._given = given

    def __call__(self) -> ClientT:
        given: ClientT = shared_client(self._service) if self._given is None else self._given
        return given


_clients: dict[str, Any] = {}
_making = Lock()


def shared_client(service: str) -> Any:
    """One low-level client per service and process, from boto3's default configuration but for its timeouts.

    Made under a lock, because boto3's default session is not safe to use from several threads at once.
    """
    with _making:
        if service not in _clients:
            import boto3

            patience = Config(connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
            _clients[service] = boto3.client(service, config=patience)  # type: ignore[call-overload]  # literal names only
        return _clients[service]


def forget_shared_clients() -> None:
    """Make new clients on next use: for tests that change the environment or begin to mock it."""
    with _making:
        _clients.clear()


def _encodes_by_itself(client: Any) -> bool:
    """Whether a client turns Python values into typed ones, as a DynamoDB resource's does: asked by letting it try."""
    if not isinstance(client, BaseClient) or client.meta.service_model.service_name != "dynamodb":
        return False
    probe = {"TableName": "probe", "Key": {"probe": "probe"}}
    operation = client.meta.service_model.operation_model("GetItem")
    client.meta.events.emit("before-parameter-build.dynamodb.GetItem", params=probe, model=operation, context={})
    return probe["Key"] != {"probe": "probe"}
