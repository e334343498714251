"""What a `FaultProxy` may do to a request, as data, and plans of it.

| fault | the engine gets the request | the client gets |
|---|---|---|
| `LOST_ANSWER` | at once | a closed connection |
| `RESET` | never | a reset connection |
| `RESET_IN_ANSWER` | at once | half the answer, and a reset |
| `TRUNCATED` | at once | half the answer, and a closed connection |
| `SLOW_ANSWER` | at once | nothing, until it gives up |
| `LATE` | when the proxy is told, after the client gave up | nothing, until it gives up |
| `error_response`, `cancelled_transaction` | never, or at once with ``after_commit`` | an error response |
| `partial_failure` | at once, but for the entries that fail | the answer, those entries failed |
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Fault",
    "Script",
    "LOST_ANSWER",
    "RESET",
    "RESET_IN_ANSWER",
    "TRUNCATED",
    "SLOW_ANSWER",
    "LATE",
    "PUT_EVENTS_CODES",
    "cancelled_transaction",
    "error_response",
    "error_body",
    "merged_entries",
    "partial_failure",
    "random_faults",
    "remaining_entries",
    "scripted",
]

PUT_EVENTS_CODES = (
    "InternalFailure",
    "ThrottlingException",
    "AccessDeniedException",
    "InvalidAccountIdException",
    "InvalidArgument",
    "MalformedDetail",
    "RedactionFailure",
    "NotAuthorizedForSourceException",
    "NotAuthorizedForDetailTypeException",
)
"""With which an entry may fail; the first two pass.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html"""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error response.

    Attributes:
        status: HTTP's.
        code: AWS's.
        message: AWS's.
        reason: The code of the reason of each action of a cancelled transaction; empty for any other error.
        at: The positions of the actions that have that reason; None for all.
    """

    status: int
    code: str
    message: str
    reason: str = ""
    at: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of one request.

    Attributes:
        name: What reports call it.
        to_engine: When the engine gets the request.
        to_client: What the client gets.
        error: The error response that takes the place of the engine's answer.
        failed_entries: PutEvents' entries that fail: their positions and codes; those beyond the last don't count.
    """

    name: str
    to_engine: Literal["never", "now", "late"]
    to_client: Literal["answer", "half, closed", "half, reset", "closed", "reset", "silence"]
    error: ErrorAnswer | None = None
    failed_entries: tuple[tuple[int, str], ...] = ()


Script: TypeAlias = "Callable[[str, int], Fault | None]"
"""Tells the fault of a request by its operation (``TransactWriteItems``) and its number among those of that operation,
from 0. botocore's own retries are requests too."""

LOST_ANSWER = Fault("answer lost after the commit", "now", "closed")
RESET = Fault("reset before the engine", "never", "reset")
RESET_IN_ANSWER = Fault("reset in the middle of the answer", "now", "half, reset")
TRUNCATED = Fault("truncated answer", "now", "half, closed")
"""botocore does not compare an answer's length with its Content-Length: it raises nothing, and half of a 200 is a
success without the fields that the caller reads. Only DynamoDB's checksum lets it try again, as often as it may."""
SLOW_ANSWER = Fault("answer after the client's timeout", "now", "silence")
LATE = Fault("request arrives after the client gave up", "late", "silence")


def error_response(code: str, *, status: int = 400, message: str = "scripted", after_commit: bool = False) -> Fault:
    """An error response.

    Args:
        code: AWS's error code.
        status: HTTP's status.
        message: AWS's message.
        after_commit: The engine does the work all the same: what a 5xx leaves open.
            https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    """
    name = f"{code} after the commit" if after_commit else code
    return Fault(name, "now" if after_commit else "never", "answer", ErrorAnswer(status, code, message))


def cancelled_transaction(reason: str, *, at: Iterable[int] | None = None) -> Fault:
    """A transaction that is cancelled, and never reached the engine.

    Args:
        reason: Why: ``TransactionConflict``.
        at: The positions of the actions that have this reason; by default all.
    """
    message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
    positions = None if at is None else tuple(at)
    answer = ErrorAnswer(400, "TransactionCanceledException", message, reason, positions)
    return Fault(f"TransactionCanceledException: {reason}", "never", "answer", answer)


def partial_failure(codes: Mapping[int, str]) -> Fault:
    """A PutEvents call of which some entries fail; the engine gets the others.

    Args:
        codes: The failing entries' codes by position.
    """
    named = ", ".join(sorted(set(codes.values())))
    return Fault(f"entries failed: {named}", "now", "answer", failed_entries=tuple(sorted(codes.items())))


CONNECTION = (LOST_ANSWER, RESET, RESET_IN_ANSWER, TRUNCATED, SLOW_ANSWER, LATE)
SERVER_ERRORS = (
    error_response("InternalServerError", status=500),
    error_response("InternalServerError", status=500, after_commit=True),
    error_response("ServiceUnavailable", status=503),
    error_response("ServiceUnavailable", status=503, after_commit=True),
)
DYNAMODB = (
    *CONNECTION,
    *SERVER_ERRORS,
    error_response("ProvisionedThroughputExceededException"),
    error_response("ThrottlingException"),
)
SINGLE_WRITE = (
    *DYNAMODB,
    error_response("TransactionConflictException"),
)
FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "GetItem": DYNAMODB,
    "Query": DYNAMODB,
    "PutItem": SINGLE_WRITE,
    "UpdateItem": SINGLE_WRITE,
    "DeleteItem": SINGLE_WRITE,
    "TransactWriteItems": (
        *DYNAMODB,
        error_response("TransactionInProgressException"),
        error_response("TransactionInProgressException", after_commit=True),
        cancelled_transaction("TransactionConflict"),
        cancelled_transaction("TransactionConflict", at=[0]),
    ),
    "PutEvents": (
        *CONNECTION,
        error_response("InternalException", status=500),
        error_response("InternalException", status=500, after_commit=True),
        error_response("ServiceUnavailable", status=503),
        error_response("ThrottlingException"),
        *(
            partial_failure(dict.fromkeys(positions, code))
            for code in PUT_EVENTS_CODES
            for positions in ([0], [0, 2, 5, 9])
        ),
    ),
}
"""What may happen to a request, by its operation; to any other, what happens to connections and servers."""


def random_faults(seed: int, rate: float) -> Script:
    """A plan by chance: the same seed gives each request the same fault again, whatever else goes on.

    Args:
        seed: Where chance begins.
        rate: The share of requests that meet a fault, from 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate} is the share of requests that meet a fault, from 0 to 1")

    def fault_of(operation: str, count: int) -> Fault | None:
        chance = random.Random(f"{seed} {operation} {count}")  # noqa: S311  # a plan, and no secret
        return chance.choice(FAULTS.get(operation, CONNECTION + SERVER_ERRORS)) if chance.random() < rate else None

    return fault_of


def scripted(script: Script | Mapping[str, Sequence[Fault | None]] | None) -> Script:
    """A script as a function: given as one, as each operation's faults in the order of its requests, or not at all."""
    if callable(script):
        return script
    faults = {operation: tuple(several) for operation, several in (script or {}).items()}

    def fault_of(operation: str, count: int) -> Fault | None:
        several = faults.get(operation, ())
        return several[count] if count < len(several) else None

    return fault_of


def error_body(answer: ErrorAnswer, request: Mapping[str, Any]) -> dict[str, Any]:
    """An error response's body, in AWS's JSON protocol.

    Args:
        answer: The error.
        request: The request's body: a cancelled transaction's reasons are one per action.
    """
    body: dict[str, Any] = {"__type": answer.code, "message": answer.message}
    if answer.reason:
        actions = range(len(request["TransactItems"]))
        codes = [answer.reason if answer.at is None or action in answer.at else "None" for action in actions]
        body["CancellationReasons"] = [
            {"Code": "None"} if code == "None" else {"Code": code, "Message": "scripted"} for code in codes
        ]
        body["message"] = f"{answer.message} [{', '.join(codes)}]"
    return body


def remaining_entries(fault: Fault, body: bytes) -> bytes | None:
    """A PutEvents request without the entries that fail; None where none is left."""
    request = json.loads(body)
    failing = dict(fault.failed_entries)
    request["Entries"] = [entry for position, entry in enumerate(request["Entries"]) if position not in failing]
    return json.dumps(request).encode() if request["Entries"] else None


def merged_entries(fault: Fault, request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """PutEvents' answer, in the order of the entries: those that the engine got, and those that failed.

    Args:
        fault: Which failed.
        request: The client's request.
        answer: The engine's answer about the remaining entries.
    """
    failing = dict(fault.failed_entries)
    taken = iter(answer["Entries"])
    outcomes = [
        {"ErrorCode": failing[position], "ErrorMessage": "scripted"} if position in failing else next(taken)
        for position in range(len(request["Entries"]))
    ]
    return {"FailedEntryCount": sum("ErrorCode" in outcome for outcome in outcomes), "Entries": outcomes}
