"""Faults that a `FaultProxy` can apply to a request, and scripts of faults.

| fault | the engine gets the request | the client gets |
|---|---|---|
| `LOST_ANSWER` | immediately | a closed connection |
| `RESET` | never | a reset connection |
| `RESET_IN_ANSWER` | immediately | half the response, then a reset |
| `TRUNCATED` | immediately | half the response, then a closed connection |
| `SLOW_ANSWER` | immediately | nothing, until its timeout |
| `LATE` | on `FaultProxy.deliver_late`, after the client's timeout | nothing, until its timeout |
| `error_response`, `cancelled_transaction` | never; with ``after_commit`` immediately | an error response |
| `error_page` | never; with ``after_commit`` immediately | an HTML page, or another text |
| `partial_failure` | immediately, without the failing entries | the response, with those entries failed |
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
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
    "error_page",
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
"""Error codes of a PutEvents entry; the first two are transient.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html"""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error response; a cancelled transaction has `reason` for the actions `at` these positions (None: all).

    Without a code it is a page, `message`.
    """

    status: int
    code: str
    message: str
    reason: str = ""
    at: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one request.

    Attributes:
        name: The fault's name in reports.
        to_engine: When the engine gets the request.
        to_client: What the client gets.
        error: The error response that replaces the engine's response.
        failed_entries: Positions and codes of the PutEvents entries that fail; positions after the last are ignored.
    """

    name: str
    to_engine: Literal["never", "now", "late"]
    to_client: Literal["answer", "half, closed", "half, reset", "closed", "reset", "silence"]
    error: ErrorAnswer | None = None
    failed_entries: tuple[tuple[int, str], ...] = ()


Script: TypeAlias = "Callable[[str, int], Fault | None]"
"""A function that returns a request's fault, given its operation (``TransactWriteItems``) and its number among the
requests of that operation, from 0. botocore's retries count as requests."""

HTML = "<html><body>scripted</body></html>"
LOST_ANSWER = Fault("answer lost after the commit", "now", "closed")
RESET = Fault("reset before the engine", "never", "reset")
RESET_IN_ANSWER = Fault("reset in the middle of the answer", "now", "half, reset")
TRUNCATED = Fault("truncated answer", "now", "half, closed")
"""botocore does not compare a response's length with its Content-Length, so half of a 200 is a success that lacks the
fields that the caller reads. Only with DynamoDB's checksum does botocore detect it and retry."""
SLOW_ANSWER = Fault("answer after the client's timeout", "now", "silence")
LATE = Fault("request arrives after the client gave up", "late", "silence")


def error_response(code: str, *, status: int = 400, message: str = "scripted", after_commit: bool = False) -> Fault:
    """Return a fault that answers with an error response.

    Args:
        code: AWS's error code.
        status: HTTP status.
        message: AWS's message.
        after_commit: The engine executes the request nevertheless, which is possible with a 5xx.
            https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
    """
    name = f"{code} after the commit" if after_commit else code
    return Fault(name, "now" if after_commit else "never", "answer", ErrorAnswer(status, code, message))


def error_page(status: int, *, body: str = HTML, after_commit: bool = False) -> Fault:
    """Return a fault that answers with a page, as a proxy on the way to AWS does.

    Args:
        status: HTTP status.
        body: The page.
        after_commit: The engine executes the request nevertheless.
    """
    fault = error_response(f"page, status {status}", status=status, after_commit=after_commit)
    return replace(fault, error=ErrorAnswer(status, "", body))


def cancelled_transaction(reason: str, *, at: Iterable[int] | None = None) -> Fault:
    """Return a fault that cancels a transaction, which never reaches the engine.

    Args:
        reason: The cancellation reason's code: ``TransactionConflict``.
        at: The positions of the actions with this reason; by default all.
    """
    message = "Transaction cancelled, please refer cancellation reasons for specific reasons"
    positions = None if at is None else tuple(at)
    answer = ErrorAnswer(400, "TransactionCanceledException", message, reason, positions)
    return Fault(f"TransactionCanceledException: {reason}", "never", "answer", answer)


def partial_failure(codes: Mapping[int, str]) -> Fault:
    """Return a fault that fails a PutEvents call's entries at these positions; the engine gets the other entries."""
    named = ", ".join(sorted(set(codes.values())))
    return Fault(f"entries failed: {named}", "now", "answer", failed_entries=tuple(sorted(codes.items())))


CONNECTION = (LOST_ANSWER, RESET, RESET_IN_ANSWER, TRUNCATED, SLOW_ANSWER, LATE)
SERVER_ERRORS = (
    error_response("InternalServerError", status=500),
    error_response("InternalServerError", status=500, after_commit=True),
    error_response("ServiceUnavailable", status=503),
    error_response("ServiceUnavailable", status=503, after_commit=True),
    error_page(502),
    error_page(502, after_commit=True),
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
        error_page(200),
        error_page(502),
        error_page(502, after_commit=True),
        *(
            partial_failure(dict.fromkeys(positions, code))
            for code in PUT_EVENTS_CODES
            for positions in ([0], [0, 2, 5, 9])
        ),
    ),
}
"""Possible faults by operation; other operations have connection faults and server errors only."""


def random_faults(seed: int, rate: float) -> Script:
    """Return a random script; with the same seed, a request always gets the same fault, regardless of other requests.

    Args:
        seed: Seed of the random numbers.
        rate: The share of requests that get a fault, from 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate={rate} must be the share of requests that get a fault, from 0 to 1")

    def fault_of(operation: str, count: int) -> Fault | None:
        chance = random.Random(f"{seed} {operation} {count}")  # noqa: S311  # not for secrets
        return chance.choice(FAULTS.get(operation, CONNECTION + SERVER_ERRORS)) if chance.random() < rate else None

    return fault_of


def scripted(script: Script | Mapping[str, Sequence[Fault | None]] | None) -> Script:
    """Return a script as a function; see `FaultProxy` for its forms. Without a script, no request gets a fault."""
    if callable(script):
        return script
    faults = {operation: tuple(several) for operation, several in (script or {}).items()}

    def fault_of(operation: str, count: int) -> Fault | None:
        several = faults.get(operation, ())
        return several[count] if count < len(several) else None

    return fault_of


def error_body(answer: ErrorAnswer, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error response's body; a cancelled transaction has one reason per action of `request`."""
    body: dict[str, Any] = {"__type": answer.code, "message": answer.message}
    if answer.reason:
        actions = range(len(request["TransactItems"]))
        codes = [answer.reason if answer.at is None or action in answer.at else "None" for action in actions]
        body["CancellationReasons"] = [
            {"Code": "None"} if code == "None" else {"Code": code, "Message": "scripted"} for code in codes
        ]
        body["message"] = f"{answer.message} [{', '.join(codes)}]"
    return body


def remaining_entries(fault: Fault, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a PutEvents request without the failing entries."""
    failing = dict(fault.failed_entries)
    remaining = [entry for position, entry in enumerate(request["Entries"]) if position not in failing]
    return {**request, "Entries": remaining}


def merged_entries(fault: Fault, request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response to a client's PutEvents `request`; `answer` is the engine's, for the remaining entries."""
    failing = dict(fault.failed_entries)
    taken = iter(answer["Entries"])
    outcomes = [
        {"ErrorCode": failing[position], "ErrorMessage": "scripted"} if position in failing else next(taken)
        for position in range(len(request["Entries"]))
    ]
    return {"FailedEntryCount": sum("ErrorCode" in outcome for outcome in outcomes), "Entries": outcomes}
