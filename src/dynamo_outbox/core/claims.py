"""Idempotency as tables: what a call does about the record that it meets, and what becomes of a record.

`ON_MEETING` is what a call follows. The rows that take the key are the condition of the claim; for the others the
refused claim brings the record back, and `meet` looks its row up. `LIFE` is how a record changes. Each change but a
claim is out of `in progress` and conditional on the token, so a late holder changes nothing; each claim counts the
record's fence up, and no change takes it back. docs/idempotency.md draws its pictures from the tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ..errors import AlreadyInProgressError, PayloadMismatchError, ResultError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AT_MOST_ONCE",
    "LIFE",
    "ON_MEETING",
    "Claim",
    "Claimed",
    "FailureReplay",
    "Met",
    "OnExpiredLease",
    "Outcome",
    "Place",
    "Replay",
    "claim_request",
    "completed_item",
    "completion_request",
    "failed",
    "fence_of",
    "has_ended_so",
    "look",
    "meet",
    "read_request",
    "release_request",
    "released",
    "succeeded",
    "what_is_met",
]

OnExpiredLease: TypeAlias = Literal["rerun", "raise"]
"""What becomes of a call whose key's holder ran out of its lease: it runs, or an error says that nobody knows."""


class Met(StrEnum):
    """Which record a call meets, the first that fits."""

    FORGOTTEN = "none, or one past its time to live"
    SPENT = "released, with its own token: the claim was late"
    RELEASED = "released"
    OWN = "its own token: the first answer to its write was lost"
    OVERDUE = "in progress, its lease and the margin over"
    OTHER_PAYLOAD = "another fingerprint"
    HELD = "in progress"
    FAILED = "completed, with a permanent failure"
    DONE = "completed, with a result"
    DONE_WITHOUT_RESULT = "completed, without a result that could be stored"


class Outcome(StrEnum):
    """What a call does about it."""

    RUN = "takes the key and runs"
    REPLAY = "gives the stored result"
    FAIL = "raises the stored failure again"
    IN_PROGRESS = "AlreadyInProgressError"
    MISMATCH = "PayloadMismatchError"
    UNKNOWN = "UnknownOutcomeError"
    UNSTORABLE = "ResultError"


ON_MEETING = {
    Met.FORGOTTEN: Outcome.RUN,
    Met.SPENT: Outcome.IN_PROGRESS,
    Met.RELEASED: Outcome.RUN,
    Met.OWN: Outcome.RUN,
    Met.OVERDUE: Outcome.RUN,
    Met.OTHER_PAYLOAD: Outcome.MISMATCH,
    Met.HELD: Outcome.IN_PROGRESS,
    Met.FAILED: Outcome.FAIL,
    Met.DONE: Outcome.REPLAY,
    Met.DONE_WITHOUT_RESULT: Outcome.UNSTORABLE,
}
AT_MOST_ONCE = {**ON_MEETING, Met.OVERDUE: Outcome.UNKNOWN}
"""The same where an expired lease raises."""

LIFE = (
    ("none", "claim", "in progress"),
    ("released", "claim", "in progress"),
    ("in progress", "claim, when lease and margin are over and that lets it rerun", "in progress"),
    ("in progress", "complete or resolve, with the token", "completed"),
    ("in progress", "fail for good, with the token", "failed"),
    ("in progress", "release or forget, with the token", "released"),
    ("in progress", "time to live", "none"),
    ("released", "time to live", "none"),
    ("completed", "time to live", "none"),
    ("failed", "time to live", "none"),
)
"""From, by, to. A failed record is a completed one that holds a failure."""

IN_PROGRESS = "IN_PROGRESS"
COMPLETED = "COMPLETED"
RELEASED = "RELEASED"
SORT_KEY_VALUE = "idempotency"

_TAKEABLE = "#status = :released"
_TAKEABLE_OR_OVERDUE = f"({_TAKEABLE} OR (#status = :inProgress AND #leaseExpiresAt <= :overdue))"
_CLAIM_CONDITION = "attribute_not_exists(#key) OR #expiresAt <= :nowSeconds OR (#claimToken <> :token AND {})"
CLAIM_CONDITIONS: dict[OnExpiredLease, str] = {
    "rerun": _CLAIM_CONDITION.format(_TAKEABLE_OR_OVERDUE),
    "raise": _CLAIM_CONDITION.format(_TAKEABLE),
}
"""The rows of `ON_MEETING` and of `AT_MOST_ONCE` in which a call takes the key."""
_CLAIM_NAMES = {
    f"#{name}": name
    for name in (
        "status",
        "claimToken",
        "fingerprint",
        "leaseExpiresAt",
        "fence",
        "result",
        "resultByAnnotation",
        "failure",
    )
}
CLAIM_UPDATE = (
    "SET #status = :inProgress, #claimToken = :token, #fingerprint = :fingerprint, #leaseExpiresAt = :leaseExpiresAt, "
    "#expiresAt = :expiresAt, #fence = if_not_exists(#fence, :nowMilliseconds) + :one "
    "REMOVE #result, #resultByAnnotation, #failure"
)
"""The first fence is the time, so that the numbers go on growing where TTL has deleted the record."""
ENDING_ATTRIBUTES = ("status", "result", "resultByAnnotation", "failure")
"""What says how a call ended."""
ENDING_CONDITION = "#claimToken = :token AND #status = :inProgress"


class Claim(NamedTuple):
    """One call's hold on a key."""

    key: str
    token: str
    fingerprint: str


class Claimed(NamedTuple):
    """The call holds the key, as the `fence`-th to do so, counted from a time in milliseconds."""

    fence: int


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


class FailureReplay(Replay):
    """The call was made before and failed for good: its text is the stored failure."""


def claim_request(
    claim: Claim,
    where: Place,
    *,
    now: datetime,
    lease: timedelta,
    margin: timedelta,
    ttl: timedelta,
    on_expired_lease: OnExpiredLease = "rerun",
) -> dict[str, Any]:
    """UpdateItem that takes the key, unless somebody holds it or has done its work, and counts its fence up.

    Args:
        claim: Who takes what.
        where: The store's table and keys.
        now: The time at this holder's clock.
        lease: How long the key is held.
        margin: How far the clocks of two holders may be apart.
        ttl: How long the record is kept.
        on_expired_lease: Whether it may be taken from a holder whose lease and margin are over.
    """
    milliseconds = _milliseconds(now)
    forgotten = now + max(ttl, lease + margin)  # never while the call may still run
    values = {
        ":inProgress": {"S": IN_PROGRESS},
        ":released": {"S": RELEASED},
        ":token": {"S": claim.token},
        ":fingerprint": {"S": claim.fingerprint},
        ":leaseExpiresAt": {"N": str(milliseconds + int(lease.total_seconds() * 1000))},
        ":expiresAt": {"N": str(int(forgotten.timestamp()))},
        ":nowSeconds": {"N": str(int(now.timestamp()))},
        ":nowMilliseconds": {"N": str(milliseconds)},
        ":one": {"N": "1"},
    }
    if on_expired_lease == "rerun":
        values[":overdue"] = {"N": str(milliseconds - int(margin.total_seconds() * 1000))}
    return {
        "TableName": where.table,
        "Key": where.key_of(claim),
        "UpdateExpression": CLAIM_UPDATE,
        "ConditionExpression": CLAIM_CONDITIONS[on_expired_lease],
        "ExpressionAttributeNames": {
            "#key": where.partition_key,
            "#expiresAt": where.ttl_attribute,
            **_CLAIM_NAMES,
        },
        "ExpressionAttributeValues": values,
        "ReturnValues": "UPDATED_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def fence_of(record: Mapping[str, Any]) -> int:
    """The number of the last claim of a record, in typed values."""
    return int(record["fence"]["N"])


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
    if not held or int(held[ttl_attribute]) <= int(now.timestamp()):
        return Met.FORGOTTEN
    is_own = held["claimToken"] == claim.token
    if held["status"] == RELEASED:
        return Met.SPENT if is_own else Met.RELEASED
    if is_own:
        return Met.OWN
    is_completed = held["status"] == COMPLETED
    if not is_completed and int(held["leaseExpiresAt"]) <= _milliseconds(now) - int(margin.total_seconds() * 1000):
        return Met.OVERDUE
    if held["fingerprint"] != claim.fingerprint:
        return Met.OTHER_PAYLOAD
    if not is_completed:
        return Met.HELD
    if "failure" in held:
        return Met.FAILED
    return Met.DONE if "result" in held else Met.DONE_WITHOUT_RESULT


def meet(
    claim: Claim,
    record: Mapping[str, Any],
    *,
    ttl_attribute: str,
    now: datetime,
    margin: timedelta,
    on_expired_lease: OnExpiredLease = "rerun",
) -> Replay | None:
    """What follows for a call whose claim was refused: a replay, or None where the record is its own.

    Args:
        claim, record, ttl_attribute, now, margin: As for `what_is_met`, `now` as it was in the claim.
        on_expired_lease: As it was in the claim.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, UnknownOutcomeError, ResultError: As in `ON_MEETING`.
    """
    met = what_is_met(claim, record, ttl_attribute=ttl_attribute, now=now, margin=margin)
    match _outcome(met, on_expired_lease):
        case Outcome.REPLAY:
            return Replay(record["result"]["S"], by_annotation="resultByAnnotation" in record)
        case Outcome.FAIL:
            return FailureReplay(record["failure"]["S"], by_annotation=False)
        case Outcome.MISMATCH:
            raise PayloadMismatchError(claim.key, "was used before with another payload; a new call needs a new key")
        case Outcome.UNKNOWN:
            since = datetime.fromtimestamp(int(record["leaseExpiresAt"]["N"]) / 1000, UTC)
            raise UnknownOutcomeError(claim.key, token=record["claimToken"]["S"], since=since, fence=fence_of(record))
        case Outcome.UNSTORABLE:
            raise ResultError(claim.key, "was done before, but its result could not be stored; it is not done again")
        case Outcome.RUN if met is Met.OWN:
            return None
        case _:  # in progress; or the record went between the claim and its refusal, and the next try takes the key
            raise AlreadyInProgressError(claim.key, "another call is at work on it; try again later")


def look(
    claim: Claim,
    record: Mapping[str, Any],
    *,
    ttl_attribute: str,
    now: datetime,
    margin: timedelta,
    on_expired_lease: OnExpiredLease = "rerun",
) -> Replay | None:
    """What follows for a call that reads the record: a replay, or None where it may claim the key.

    Args:
        claim, record, ttl_attribute, now, margin, on_expired_lease: As for `meet`.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, UnknownOutcomeError, ResultError: As in `ON_MEETING`.
    """
    met = what_is_met(claim, record, ttl_attribute=ttl_attribute, now=now, margin=margin)
    if _outcome(met, on_expired_lease) is Outcome.RUN:
        return None
    return meet(claim, record, ttl_attribute=ttl_attribute, now=now, margin=margin, on_expired_lease=on_expired_lease)


def _outcome(met: Met, on_expired_lease: OnExpiredLease) -> Outcome:
    return (AT_MOST_ONCE if on_expired_lease == "raise" else ON_MEETING)[met]


def _milliseconds(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def succeeded(result: tuple[str, bool] | None) -> dict[str, Any]:
    """How a call ended that returned, in typed attributes.

    Args:
        result: The result's text and whether the annotation reads it; None where it can't be stored.
    """
    text, by_annotation = result or (None, False)
    return {
        "status": {"S": COMPLETED},
        **({} if text is None else {"result": {"S": text}}),
        **({"resultByAnnotation": {"BOOL": True}} if by_annotation else {}),
    }


def failed(failure: str) -> dict[str, Any]:
    """How a call ended that failed for good, in typed attributes."""
    return {"status": {"S": COMPLETED}, "failure": {"S": failure}}


def released() -> dict[str, Any]:
    """How a call ended that may be made again, in typed attributes."""
    return {"status": {"S": RELEASED}}


def completion_request(
    claim: Claim, where: Place, *, ending: Mapping[str, Any], now: datetime, ttl: timedelta
) -> dict[str, Any]:
    """UpdateItem that stores how the call ended, if this holder still holds the key.

    Args:
        claim, where, now, ttl: As for `claim_request`.
        ending: What `succeeded` or `failed` gives.
    """
    return _ending_request(claim, where, {**ending, where.ttl_attribute: {"N": str(int((now + ttl).timestamp()))}})


def release_request(claim: Claim, where: Place) -> dict[str, Any]:
    """UpdateItem that gives the key back after a failure, if this holder still holds it; the fence stays."""
    return _ending_request(claim, where, released())


def _ending_request(claim: Claim, where: Place, changes: Mapping[str, Any]) -> dict[str, Any]:
    update, names, values = _ending(tuple(changes), where.ttl_attribute)
    return {
        "TableName": where.table,
        "Key": where.key_of(claim),
        "UpdateExpression": update,
        "ConditionExpression": ENDING_CONDITION,
        "ExpressionAttributeNames": {"#claimToken": "claimToken", **names},
        "ExpressionAttributeValues": {
            ":token": {"S": claim.token},
            ":inProgress": {"S": IN_PROGRESS},
            **dict(zip(values, changes.values(), strict=True)),
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


@cache
def _ending(attributes: tuple[str, ...], ttl_attribute: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """The update of attributes, with what it calls them and their values."""
    ids = ["expiresAt" if name == ttl_attribute else name for name in attributes]
    update = "SET " + ", ".join(f"#{each} = :{each}" for each in ids)
    names = {f"#{each}": name for each, name in zip(ids, attributes, strict=True)}
    return update, names, tuple(f":{each}" for each in ids)


def has_ended_so(claim: Claim, record: Mapping[str, Any], ending: Mapping[str, Any]) -> bool:
    """Whether a record that refused a call's ending has that very ending: its first answer was lost."""
    return record.get("claimToken") == {"S": claim.token} and all(
        record.get(name) == ending.get(name) for name in ENDING_ATTRIBUTES
    )


def completed_item(
    claim: Claim, where: Place, *, result: tuple[str, bool] | None, now: datetime, ttl: timedelta
) -> dict[str, Any]:
    """The record of a call that is done, in typed values: to be put where the call and its record are one transaction.

    Args:
        claim, where, now, ttl: As for `claim_request`.
        result: As for `succeeded`.
    """
    return {
        **where.key_of(claim),
        "claimToken": {"S": claim.token},
        "fingerprint": {"S": claim.fingerprint},
        where.ttl_attribute: {"N": str(int((now + ttl).timestamp()))},
        **succeeded(result),
    }


def read_request(claim: Claim, where: Place) -> dict[str, Any]:
    """GetItem of a key's record, as it is now."""
    return {"TableName": where.table, "Key": where.key_of(claim), "ConsistentRead": True}
