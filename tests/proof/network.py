"""Network between a client and DynamoDB in memory that loses, delays and refuses requests as scripted."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, CredentialRetrievalError, ReadTimeoutError

from ..doubles import client_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dynamo_outbox.testing import FakeDynamoDB

__all__ = ["CrashError", "Fate", "Network"]

WRITES = ("transact_write_items", "put_item", "update_item", "delete_item")


class CrashError(BaseException):
    """The process is killed: the library must not catch this."""


class Fate(StrEnum):
    """The fate of a request."""

    OK = "request and response arrive"
    LOST = "the request is lost"
    ANSWER_LOST = "the response is lost"
    ANOTHER_ERROR = "the response is lost, and the client's own repetition ends in an error of another kind"
    LATE = "the request arrives after the client has given up"
    SERVER_ERROR = "status 500 before the write"
    SERVER_ERROR_AFTER = "status 500 after the write"
    CONFLICT = "conflict with another transaction"
    THROTTLED = "throttled"
    CRASH_BEFORE = "the sender is killed before it sends"
    CRASH_AFTER = "the sender is killed before it reads the response"


class LateRequest(NamedTuple):
    """Request whose sender has given up."""

    operation: str
    request: dict[str, Any]
    sent_at: datetime


class Network:
    """Client whose next writes meet the scripted fates; later writes succeed.

    Attributes:
        fates: The fates of the next writes.
        on_write: Called after each write that was done.
        on_their_way: The requests that have not arrived and whose senders have given up.
    """

    def __init__(self, fake: FakeDynamoDB) -> None:
        self.fake = fake
        self.fates: list[Fate] = []
        self.on_write: Callable[[], None] = lambda: None
        self.on_their_way: list[LateRequest] = []

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            return lambda **request: self._send(name, request)
        return getattr(self.fake, name)

    def _send(self, operation: str, request: dict[str, Any]) -> Any:
        fate = self.fates.pop(0) if self.fates else Fate.OK
        call = getattr(self.fake, operation)
        match fate:
            case Fate.CRASH_BEFORE:
                raise CrashError
            case Fate.LOST | Fate.LATE:
                if fate is Fate.LATE:
                    self.on_their_way.append(LateRequest(operation, request, self.fake.clock.now()))
                raise ReadTimeoutError(endpoint_url="http://dynamodb")
            case Fate.SERVER_ERROR:
                raise client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": 500})
            case Fate.CONFLICT if operation == "transact_write_items":
                reasons = [{"Code": "TransactionConflict"} for _ in request["TransactItems"]]
                raise client_error("TransactionCanceledException", CancellationReasons=reasons)
            case Fate.CONFLICT:
                raise client_error("TransactionConflictException")
            case Fate.THROTTLED:
                raise client_error("ThrottlingException")
        answer = call(**request)
        self.on_write()
        match fate:
            case Fate.ANSWER_LOST:
                raise ReadTimeoutError(endpoint_url="http://dynamodb")
            case Fate.ANOTHER_ERROR:
                raise CredentialRetrievalError(provider="role", error_msg="expired")
            case Fate.SERVER_ERROR_AFTER:
                raise client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": 500})
            case Fate.CRASH_AFTER:
                raise CrashError
        return answer

    def arrive(self, which: int) -> None:
        """Deliver one of the late requests."""
        late = self.on_their_way.pop(which)
        try:
            getattr(self.fake, late.operation)(**late.request)
        except ClientError:
            return  # refused, but the sender no longer waits for the response
        self.on_write()
