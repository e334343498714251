"""Idempotency as tables: what a call does about the record that it meets, and what becomes of a record.

`ON_MEETING` is what a call follows. The rows that take the key are the condition of the claim; for the others the
refused claim brings the record back, and `meet` looks its row up. `LIFE` is how a record changes. Each change but a
claim is out of `in progress` and conditional on the token, so a late holder changes nothing; each claim counts the
record's fence up, and no change takes it back. docs/idempotency.md draws its pictures from the tables.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
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
    "Lease",
    "Met",
    "OnExpiredLease",
    "Outcome",
    "Place",
    "Replay",
    "Terms",
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

    __hash__ = str.__hash__  # for looking it up: Enum's own is a function in Python
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
_DONE, _REPLAY = Met.DONE, Outcome.REPLAY
"""What each duplicate comes to: Python 3.11 takes its time to find a member in its class."""

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
_IN_PROGRESS, _COMPLETED, _RELEASED = {"S": IN_PROGRESS}, {"S": COMPLETED}, {"S": RELEASED}
_TRUE, _ONE = {"BOOL": True}, {"N": "1"}
"""Typed values that requests share, as they share their names: nobody writes into them."""
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
_COMPLETIONS = (("status",), ("status", "result"), ("status", "result", "resultByAnnotation"), ("status", "failure"))
"""Those of them that a completed call has: without a result that could be stored, with one, and failed."""
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


class Lease(NamedTuple):
    """How long a key is held, in milliseconds, and from then on its record kept: always while the call may run."""

    milliseconds: int
    kept: timedelta


class Terms:
    """What a store's calls have in common, and what in their requests it fixes, made once.

    A request is a shallow copy with its key and its values: nobody writes into the names, botocore neither.

    Args:
        where: The store's table and keys.
        ttl: How long a record is kept.
        margin: How far the clocks of two holders may be apart.
    """

    __slots__ = (
        "claims",
        "completions",
        "key_prefix",
        "margin",
        "margin_milliseconds",
        "partition_key",
        "release",
        "sort_key",
        "ttl",
    )

    def __init__(self, where: Place, *, ttl: timedelta, margin: timedelta) -> None:
        self.partition_key, self.key_prefix = where.partition_key, where.key_prefix
        self.sort_key = {} if where.sort_key is None else {where.sort_key: {"S": SORT_KEY_VALUE}}
        self.ttl = ttl
        self.margin = margin
        self.margin_milliseconds = _whole_milliseconds(margin)
        self.claims = {policy: _claim_of(where, condition) for policy, condition in CLAIM_CONDITIONS.items()}
        self.completions = {
            tuple(f":{name}" for name in names): _ending_of(where, (*names, where.ttl_attribute))
            for names in _COMPLETIONS
        }
        self.release = _ending_of(where, ("status",))

    def lease(self, duration: timedelta) -> Lease:
        """A lease of that duration."""
        return Lease(_whole_milliseconds(duration), max(self.ttl, duration + self.margin))


def _claim_of(where: Place, condition: str) -> dict[str, Any]:
    return {
        "TableName": where.table,
        "Key": {},
        "UpdateExpression": CLAIM_UPDATE,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {"#key": where.partition_key, "#expiresAt": where.ttl_attribute, **_CLAIM_NAMES},
        "ExpressionAttributeValues": {},
        "ReturnValues": "UPDATED_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _ending_of(where: Place, attributes: tuple[str, ...]) -> dict[str, Any]:
    names = {f"#{'expiresAt' if name == where.ttl_attribute else name}": name for name in attributes}
    return {
        "TableName": where.table,
        "Key": {},
        "UpdateExpression": "SET " + ", ".join(f"{each} = :{each[1:]}" for each in names),
        "ConditionExpression": ENDING_CONDITION,
        "ExpressionAttributeNames": {"#claimToken": "claimToken", **names},
        "ExpressionAttributeValues": {},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def claim_request(
    claim: Claim, terms: Terms, *, now: datetime, lease: Lease, on_expired_lease: OnExpiredLease = "rerun"
) -> dict[str, Any]:
    """UpdateItem that takes the key, unless somebody holds it or has done its work, and counts its fence up.

    Args:
        claim: Who takes what.
        terms: The store's.
        now: The time at this holder's clock.
        lease: How long the key is held.
        on_expired_lease: Whether it may be taken from a holder whose lease and margin are over.
    """
    milliseconds = int(now.timestamp() * 1000)
    values = {
        ":inProgress": _IN_PROGRESS,
        ":released": _RELEASED,
        ":token": {"S": claim.token},
        ":fingerprint": {"S": claim.fingerprint},
        ":leaseExpiresAt": {"N": str(milliseconds + lease.milliseconds)},
        ":expiresAt": {"N": str(int((now + lease.kept).timestamp()))},
        ":nowSeconds": {"N": str(milliseconds // 1000)},
        ":nowMilliseconds": {"N": str(milliseconds)},
        ":one": _ONE,
    }
    if on_expired_lease == "rerun":
        values[":overdue"] = {"N": str(milliseconds - terms.margin_milliseconds)}
    request = terms.claims[on_expired_lease].copy()
    request["Key"] = {terms.partition_key: {"S": terms.key_prefix + claim.key}, **terms.sort_key}
    request["ExpressionAttributeValues"] = values
    return request


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
        now: As for `claim_request`.
        margin: As for `Terms`.
    """
    if not record:
        return Met.FORGOTTEN
    (expires_at,) = record[ttl_attribute].values()
    if int(expires_at) <= int(now.timestamp()):
        return Met.FORGOTTEN
    (token,) = record["claimToken"].values()
    (status,) = record["status"].values()
    is_own = token == claim.token
    if status == RELEASED:
        return Met.SPENT if is_own else Met.RELEASED
    if is_own:
        return Met.OWN
    is_completed = status == COMPLETED
    if not is_completed:
        (lease_expires_at,) = record["leaseExpiresAt"].values()
        if int(lease_expires_at) <= int(now.timestamp() * 1000) - _whole_milliseconds(margin):
            return Met.OVERDUE
    (fingerprint,) = record["fingerprint"].values()
    if fingerprint != claim.fingerprint:
        return Met.OTHER_PAYLOAD
    if not is_completed:
        return Met.HELD
    if "failure" in record:
        return Met.FAILED
    return _DONE if "result" in record else Met.DONE_WITHOUT_RESULT


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
    outcome = _outcome(met, on_expired_lease)
    if outcome is _REPLAY:
        return Replay(record["result"]["S"], "resultByAnnotation" in record)
    match outcome:
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


def _whole_milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)


def succeeded(result: tuple[str, bool] | None) -> dict[str, Any]:
    """How a call ended that returned, in typed attributes, each named by its value in a request.

    Args:
        result: The result's text and whether the annotation reads it; None where it can't be stored.
    """
    if result is None:
        return {":status": _COMPLETED}
    text, by_annotation = result
    if by_annotation:
        return {":status": _COMPLETED, ":result": {"S": text}, ":resultByAnnotation": _TRUE}
    return {":status": _COMPLETED, ":result": {"S": text}}


def failed(failure: str) -> dict[str, Any]:
    """How a call ended that failed for good, as `succeeded` says it."""
    return {":status": _COMPLETED, ":failure": {"S": failure}}


def released() -> dict[str, Any]:
    """How a call ended that may be made again, as `succeeded` says it."""
    return {":status": _RELEASED}


def completion_request(claim: Claim, terms: Terms, *, ending: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """UpdateItem that stores how the call ended, if this holder still holds the key.

    Args:
        claim, terms, now: As for `claim_request`.
        ending: What `succeeded` or `failed` gives.
    """
    request = _ending_request(claim, terms, terms.completions[tuple(ending)], ending)
    request["ExpressionAttributeValues"][":expiresAt"] = {"N": str(int((now + terms.ttl).timestamp()))}
    return request


def release_request(claim: Claim, terms: Terms) -> dict[str, Any]:
    """UpdateItem that gives the key back after a failure, if this holder still holds it; the fence stays."""
    return _ending_request(claim, terms, terms.release, released())


def _ending_request(claim: Claim, terms: Terms, form: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    request = form.copy()
    request["Key"] = {terms.partition_key: {"S": terms.key_prefix + claim.key}, **terms.sort_key}
    request["ExpressionAttributeValues"] = {":token": {"S": claim.token}, ":inProgress": _IN_PROGRESS, **changes}
    return request


def has_ended_so(claim: Claim, record: Mapping[str, Any], ending: Mapping[str, Any]) -> bool:
    """Whether a record that refused a call's ending has that very ending: its first answer was lost."""
    return record.get("claimToken") == {"S": claim.token} and all(
        record.get(name) == ending.get(f":{name}") for name in ENDING_ATTRIBUTES
    )


def completed_item(
    claim: Claim, where: Place, *, result: tuple[str, bool] | None, now: datetime, ttl: timedelta
) -> dict[str, Any]:
    """The record of a call that is done, in typed values: to be put where the call and its record are one transaction.

    Args:
        claim, now: As for `claim_request`.
        where, ttl: As for `Terms`.
        result: As for `succeeded`.
    """
    return {
        **where.key_of(claim),
        "claimToken": {"S": claim.token},
        "fingerprint": {"S": claim.fingerprint},
        where.ttl_attribute: {"N": str(int((now + ttl).timestamp()))},
        **{name[1:]: typed for name, typed in succeeded(result).items()},
    }


def read_request(claim: Claim, where: Place) -> dict[str, Any]:
    """GetItem of a key's record, as it is now."""
    return {"TableName": where.table, "Key": where.key_of(claim), "ConsistentRead": True}
