"""Network between a client and an in-memory DynamoDB that loses, delays and refuses requests as scripted."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, CredentialRetrievalError, ReadTimeoutError

from ..doubles import client_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dynamo_outbox.testing import FakeDynamoDB

__all__ = ["CrashError", "RequestOutcome", "Network"]

WRITES = ("transact_write_items", "put_item", "update_item", "delete_item")


class CrashError(BaseException):
    """The process is killed: the library must not catch this."""


class RequestOutcome(StrEnum):
    """The outcome of a request."""

    OK = "request and response arrive"
    LOST = "the request is lost"
    ANSWER_LOST = "the response is lost"
    ANOTHER_ERROR = "the response is lost, and the client's own retry fails with another error"
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
    """Client whose next writes have the scripted outcomes; later writes succeed.

    Attributes:
        outcomes: The outcomes of the next writes.
        on_write: Called after each write that was done.
        on_their_way: The late requests that have not arrived yet.
    """

    def __init__(self, fake: FakeDynamoDB) -> None:
        self.fake = fake
        self.outcomes: list[RequestOutcome] = []
        self.on_write: Callable[[], None] = lambda: None
        self.on_their_way: list[LateRequest] = []

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            return lambda **request: self._send(name, request)
        return getattr(self.fake, name)

    def _send(self, operation: str, request: dict[str, Any]) -> Any:
        outcome = self.outcomes.pop(0) if self.outcomes else RequestOutcome.OK
        call = getattr(self.fake, operation)
        match outcome:
            case RequestOutcome.CRASH_BEFORE:
                raise CrashError
            case RequestOutcome.LOST | RequestOutcome.LATE:
                if outcome is RequestOutcome.LATE:
                    self.on_their_way.append(LateRequest(operation, request, self.fake.clock.now()))
                raise ReadTimeoutError(endpoint_url="http://dynamodb")
            case RequestOutcome.SERVER_ERROR:
                raise client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": 500})
            case RequestOutcome.CONFLICT if operation == "transact_write_items":
                reasons = [{"Code": "TransactionConflict"} for _ in request["TransactItems"]]
                raise client_error("TransactionCanceledException", CancellationReasons=reasons)
            case RequestOutcome.CONFLICT:
                raise client_error("TransactionConflictException")
            case RequestOutcome.THROTTLED:
                raise client_error("ThrottlingException")
        answer = call(**request)
        self.on_write()
        match outcome:
            case RequestOutcome.ANSWER_LOST:
                raise ReadTimeoutError(endpoint_url="http://dynamodb")
            case RequestOutcome.ANOTHER_ERROR:
                raise CredentialRetrievalError(provider="role", error_msg="expired")
            case RequestOutcome.SERVER_ERROR_AFTER:
                raise client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": 500})
            case RequestOutcome.CRASH_AFTER:
                raise CrashError
        return answer

    def arrive(self, which: int) -> None:
        """Deliver one of the late requests."""
        late = self.on_their_way.pop(which)
        try:
            getattr(self.fake, late.operation)(**late.request)
        except ClientError:
            return  # refused; the sender no longer waits for the response
        self.on_write()
