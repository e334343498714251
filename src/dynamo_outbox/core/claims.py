"""Idempotency as two tables: what a call does about the record that it meets, and what becomes of a record.

`ON_MEETING` is what a call follows. Its first two rows are the condition of the put, `CLAIM_CONDITION`; for the others
the refused put brings the record back, and `meet` looks its row up. `LIFE` is how a record changes. Completion and
release are conditional on the token, so a late holder changes nothing. docs/idempotency.md draws its picture from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import AlreadyInProgressError, PayloadMismatchError, ResultError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

__all__ = [
    "LIFE",
    "ON_MEETING",
    "Claim",
    "Met",
    "Outcome",
    "Place",
    "Replay",
    "claim_request",
    "completed_item",
    "completion_request",
    "meet",
    "read_request",
    "release_request",
    "what_is_met",
]


class Met(StrEnum):
    """Which record a call meets, the first that fits."""

    FORGOTTEN = "none, or one past its time to live"
    OVERDUE = "in progress, its lease and the margin over"
    OWN = "its own token: the first answer to its put was lost"
    OTHER_PAYLOAD = "another fingerprint"
    HELD = "in progress"
    DONE = "completed, with a result"
    DONE_WITHOUT_RESULT = "completed, without a result that could be stored"


class Outcome(StrEnum):
    """What a call does about it."""

    RUN = "takes the key and runs"
    REPLAY = "gives the stored result"
    IN_PROGRESS = "AlreadyInProgressError"
    MISMATCH = "PayloadMismatchError"
    UNSTORABLE = "ResultError"


ON_MEETING = {
    Met.FORGOTTEN: Outcome.RUN,
    Met.OVERDUE: Outcome.RUN,
    Met.OWN: Outcome.RUN,
    Met.OTHER_PAYLOAD: Outcome.MISMATCH,
    Met.HELD: Outcome.IN_PROGRESS,
    Met.DONE: Outcome.REPLAY,
    Met.DONE_WITHOUT_RESULT: Outcome.UNSTORABLE,
}

LIFE = (
    ("none", "claim", "in progress"),
    ("in progress", "claim, when lease and margin are over", "in progress"),
    ("in progress", "complete, with the token", "completed"),
    ("in progress", "release, with the token", "none"),
    ("completed", "time to live", "none"),
)
"""From, by, to."""

IN_PROGRESS = "IN_PROGRESS"
COMPLETED = "COMPLETED"
SORT_KEY_VALUE = "idempotency"

CLAIM_CONDITION = (
    "attribute_not_exists(#key) OR #expiresAt <= :nowSeconds OR (#status = :inProgress AND #leaseExpiresAt <= :overdue)"
)
TOKEN_CONDITION = "#claimToken = :token"  # noqa: S105  # an expression


class Claim(NamedTuple):
    """One call's hold on a key."""

    key: str
    token: str
    fingerprint: str


class Place(NamedTuple):
    """Where a store's records lie.

    `sort_key`, where the table has one, always holds the same text, so that records can share a table with entities.
    """

    table: str
    partition_key: str
    sort_key: str | None
    key_prefix: str
    ttl_attribute: str

    def key_of(self, claim: Claim) -> dict[str, dict[str, str]]:
        """A record's key, in typed values."""
        key = {self.partition_key: {"S": f"{self.key_prefix}{claim.key}"}}
        return key if self.sort_key is None else {**key, self.sort_key: {"S": SORT_KEY_VALUE}}


class Replay(NamedTuple):
    """The call was made before, and this is what it returned: its text, and whether the annotation reads it."""

    text: str
    by_annotation: bool


def claim_request(
    claim: Claim, where: Place, *, now: datetime, lease: timedelta, margin: timedelta, ttl: timedelta
) -> dict[str, Any]:
    """PutItem that takes the key, unless somebody holds it or has done its work.

    Args:
        claim: Who takes what.
        where: The store's table and keys.
        now: The time at this holder's clock.
        lease: How long the key is held.
        margin: How far the clocks of two holders may be apart.
        ttl: How long the record is kept.
    """
    milliseconds = int(now.timestamp() * 1000)
    forgotten = now + max(ttl, lease + margin)  # never while the call may still run
    return {
        "TableName": where.table,
        "Item": {
            **where.key_of(claim),
            "status": {"S": IN_PROGRESS},
            "claimToken": {"S": claim.token},
            "fingerprint": {"S": claim.fingerprint},
            "leaseExpiresAt": {"N": str(milliseconds + int(lease.total_seconds() * 1000))},
            where.ttl_attribute: {"N": str(int(forgotten.timestamp()))},
        },
        "ConditionExpression": CLAIM_CONDITION,
        "ExpressionAttributeNames": {
            "#key": where.partition_key,
            "#expiresAt": where.ttl_attribute,
            "#status": "status",
            "#leaseExpiresAt": "leaseExpiresAt",
        },
        "ExpressionAttributeValues": {
            ":nowSeconds": {"N": str(int(now.timestamp()))},
            ":inProgress": {"S": IN_PROGRESS},
            ":overdue": {"N": str(milliseconds - int(margin.total_seconds() * 1000))},
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def what_is_met(
    claim: Claim, record: Mapping[str, Any], *, ttl_attribute: str, now: datetime, margin: timedelta
) -> Met:
    """The row of `ON_MEETING` for a record.

    Args:
        claim: Who asks.
        record: The record, in typed values; empty where there is none.
        ttl_attribute: What holds its time to live.
        now, margin: As for `claim_request`.
    """
    held = {name: next(iter(typed.values())) for name, typed in record.items()}
    is_completed = held.get("status") == COMPLETED
    overdue = int(now.timestamp() * 1000) - int(margin.total_seconds() * 1000)
    if not held or int(held[ttl_attribute]) <= int(now.timestamp()):
        return Met.FORGOTTEN
    if not is_completed and int(held["leaseExpiresAt"]) <= overdue:
        return Met.OVERDUE
    if held["claimToken"] == claim.token:
        return Met.OWN
    if held["fingerprint"] != claim.fingerprint:
        return Met.OTHER_PAYLOAD
    if not is_completed:
        return Met.HELD
    return Met.DONE if "result" in held else Met.DONE_WITHOUT_RESULT


def meet(
    claim: Claim, record: Mapping[str, Any], *, ttl_attribute: str, now: datetime, margin: timedelta
) -> Replay | None:
    """What follows for a call whose put was refused: a replay, or None where the record is its own.

    Args:
        claim, record, ttl_attribute, now, margin: As for `what_is_met`, `now` as it was in the put.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, ResultError: As in `ON_MEETING`.
    """
    met = what_is_met(claim, record, ttl_attribute=ttl_attribute, now=now, margin=margin)
    match ON_MEETING[met]:
        case Outcome.REPLAY:
            return Replay(record["result"]["S"], by_annotation="resultByAnnotation" in record)
        case Outcome.MISMATCH:
            raise PayloadMismatchError(claim.key, "was used before with another payload; a new call needs a new key")
        case Outcome.UNSTORABLE:
            raise ResultError(claim.key, "was done before, but its result could not be stored; it is not done again")
        case Outcome.RUN if met is Met.OWN:
            return None
        case _:  # in progress; or the record went between the put and its refusal, and the next try will take the key
            raise AlreadyInProgressError(claim.key, "another call is at work on it; try again later")


def completion_request(
    claim: Claim, where: Place, *, result: tuple[str, bool] | None, now: datetime, ttl: timedelta
) -> dict[str, Any]:
    """UpdateItem that stores the result, if this holder still holds the key.

    Args:
        claim, where, now, ttl: As for `claim_request`.
        result: The result's text and whether the annotation reads it; None where it can't be stored.
    """
    update = "SET #status = :completed, #expiresAt = :expiresAt"
    names = {"#status": "status", "#expiresAt": where.ttl_attribute, "#claimToken": "claimToken"}
    values: dict[str, Any] = {
        ":completed": {"S": COMPLETED},
        ":expiresAt": {"N": str(int((now + ttl).timestamp()))},
        ":token": {"S": claim.token},
    }
    if result is not None:
        text, by_annotation = result
        update += ", #result = :result"
        names["#result"] = "result"
        values[":result"] = {"S": text}
        if by_annotation:
            update += ", #resultByAnnotation = :true"
            names["#resultByAnnotation"] = "resultByAnnotation"
            values[":true"] = {"BOOL": True}
    return {
        "TableName": where.table,
        "Key": where.key_of(claim),
        "UpdateExpression": update,
        "ConditionExpression": TOKEN_CONDITION,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def completed_item(
    claim: Claim, where: Place, *, result: tuple[str, bool] | None, now: datetime, ttl: timedelta
) -> dict[str, Any]:
    """The record of a call that is done, in typed values: to be put where the call and its record are one transaction.

    Args:
        claim, where, now, ttl: As for `claim_request`.
        result: As for `completion_request`.
    """
    text, by_annotation = result or (None, False)
    return {
        **where.key_of(claim),
        "status": {"S": COMPLETED},
        "claimToken": {"S": claim.token},
        "fingerprint": {"S": claim.fingerprint},
        where.ttl_attribute: {"N": str(int((now + ttl).timestamp()))},
        **({} if text is None else {"result": {"S": text}}),
        **({"resultByAnnotation": {"BOOL": True}} if by_annotation else {}),
    }


def read_request(claim: Claim, where: Place) -> dict[str, Any]:
    """GetItem of a key's record, as it is now."""
    return {"TableName": where.table, "Key": where.key_of(claim), "ConsistentRead": True}


def release_request(claim: Claim, where: Place) -> dict[str, Any]:
    """DeleteItem that gives the key back after a failure, if this holder still holds it."""
    return {
        "TableName": where.table,
        "Key": where.key_of(claim),
        "ConditionExpression": TOKEN_CONDITION,
        "ExpressionAttributeNames": {"#claimToken": "claimToken"},
        "ExpressionAttributeValues": {":token": {"S": claim.token}},
    }
