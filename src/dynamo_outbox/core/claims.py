"""Idempotency as a table: which record a call meets, and what follows.

    record met                                          | outcome
    ----------------------------------------------------|-----------------------------------------------
    none, or one past its time to live                  | claimed (the put went through)
    in progress, its lease and the margin run out       | claimed (the put went through)
    any, with this call's own token                     | claimed (the put's first answer was lost)
    any, with another fingerprint                       | `PayloadMismatchError`
    in progress                                         | `AlreadyInProgressError`
    completed, with a result                            | replay
    completed, without one (it could not be stored)     | `ResultError`

The first two rows are the condition of the put, `CLAIM_CONDITION`; the others are `meet`, on the record that the
refused put brings back. Completion and release are conditional on the token, so a late holder changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import AlreadyInProgressError, PayloadMismatchError, ResultError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

__all__ = ["Claim", "Place", "Replay", "claim_request", "completion_request", "meet", "release_request"]

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


def meet(claim: Claim, record: Mapping[str, Any]) -> Replay | None:
    """What the record that stood in the way means: a replay, or None where it is this call's own.

    Args:
        claim: Who asks.
        record: The record, in typed values.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, ResultError: As in the table above.
    """
    held = {name: next(iter(typed.values())) for name, typed in record.items()}
    if held.get("claimToken") == claim.token:
        return None
    if held.get("fingerprint") != claim.fingerprint:
        raise PayloadMismatchError(claim.key, "was used before with another payload; a new call needs a new key")
    if held.get("status") != COMPLETED:
        raise AlreadyInProgressError(claim.key, "another call is at work on it; try again later")
    if "result" not in held:
        raise ResultError(claim.key, "was done before, but its result could not be stored; it is not done again")
    return Replay(held["result"], by_annotation="resultByAnnotation" in held)


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


def release_request(claim: Claim, where: Place) -> dict[str, Any]:
    """DeleteItem that gives the key back after a failure, if this holder still holds it."""
    return {
        "TableName": where.table,
        "Key": where.key_of(claim),
        "ConditionExpression": TOKEN_CONDITION,
        "ExpressionAttributeNames": {"#claimToken": "claimToken"},
        "ExpressionAttributeValues": {":token": {"S": claim.token}},
    }
