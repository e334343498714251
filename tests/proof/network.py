"""A network between a client and DynamoDB in memory that loses, delays and delivers late what it is told to."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, ReadTimeoutError

from ..doubles import client_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from dynamo_outbox.testing import FakeDynamoDB

__all__ = ["CrashError", "Fate", "Network"]

WRITES = ("transact_write_items", "put_item", "update_item", "delete_item")


class CrashError(BaseException):
    """The process dies here: nothing in the library may catch it."""


class Fate(StrEnum):
    """What becomes of a request."""

    OK = "arrives, and its answer too"
    LOST = "never arrives"
    ANSWER_LOST = "arrives, and its answer is lost"
    LATE = "arrives when the client has given up"
    SERVER_ERROR = "is answered with a status of 500, before anything was done"
    SERVER_ERROR_AFTER = "is answered with a status of 500, after all was done"
    CONFLICT = "meets another transaction"
    THROTTLED = "is throttled"
    CRASH_BEFORE = "its sender dies before it is sent"
    CRASH_AFTER = "its sender dies before the answer is read"


class LateRequest(NamedTuple):
    """A request that its sender has given up."""

    operation: str
    request: dict[str, Any]
    sent_at: datetime


class Network:
    """A client whose writes meet the fates it is told, in turn, and then none.

    Attributes:
        fates: What becomes of the next writes.
        on_write: Called after each write that was done.
        on_their_way: The requests that their senders have given up and that have not arrived yet.
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
            case Fate.SERVER_ERROR_AFTER:
                raise client_error("InternalServerError", ResponseMetadata={"HTTPStatusCode": 500})
            case Fate.CRASH_AFTER:
                raise CrashError
        return answer

    def arrive(self, which: int) -> None:
        """One of the requests that were given up arrives now."""
        late = self.on_their_way.pop(which)
        try:
            getattr(self.fake, late.operation)(**late.request)
        except ClientError:
            return  # refused, and nobody hears of it
        self.on_write()
