"""Idempotency as tables: what a call does about the record that it meets, and what becomes of a record.

`ON_MEETING` is what a call follows. The rows that take the key are the condition of the claim; for the others the
refused claim brings the record back, and `meet` looks its row up. `LIFE` is how a record changes. Each change but a
claim is out of `in progress` and conditional on the token, so a late holder changes nothing; each claim counts the
record's fence up, and no change takes it back. docs/idempotency.md draws its pictures from the tables.

Time is in whole milliseconds since 1970 here, as the records' leases are; their time to live is in seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from ..errors import AlreadyInProgressError, PayloadMismatchError, ResultError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Answer = TypeVar("Answer")

__all__ = [
    "AT_MOST_ONCE",
    "DONE",
    "LIFE",
    "ON_MEETING",
    "Claim",
    "Claimed",
    "FailureReplay",
    "Hold",
    "Lease",
    "Met",
    "OnExpiredLease",
    "Outcome",
    "Place",
    "Replay",
    "Terms",
    "completed_item",
    "fence_of",
    "has_ended_so",
    "look",
    "meet",
    "read_request",
    "what_is_met",
    "whole_milliseconds",
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
_MEETINGS: dict[OnExpiredLease, dict[Met, Outcome]] = {"rerun": ON_MEETING, "raise": AT_MOST_ONCE}
DONE, _REPLAY = Met.DONE, Outcome.REPLAY
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
_SORT_KEY = {"S": SORT_KEY_VALUE}

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


Hold: TypeAlias = tuple[str, str, str]
"""A `Claim`, or a tuple like it: what requests are made of, and one is made for each call."""


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

    def key_of(self, claim: Hold) -> dict[str, dict[str, str]]:
        """A record's key, in typed values."""
        key = {self.partition_key: {"S": f"{self.key_prefix}{claim[0]}"}}
        return key if self.sort_key is None else {**key, self.sort_key: {"S": SORT_KEY_VALUE}}


class Replay(NamedTuple):
    """The call was made before, and this is what it returned: its text, and whether the annotation reads it."""

    text: str
    by_annotation: bool


class FailureReplay(Replay):
    """The call was made before and failed for good: its text is the stored failure."""


new_replay: Callable[[tuple[str, bool]], Replay] = partial(tuple.__new__, Replay)
"""Half of what calling the class costs, of which there is one for each duplicate."""


class Lease(NamedTuple):
    """How long a key is held, and from then on its record kept, in milliseconds: always while the call may run."""

    held: int
    kept: int


class Terms:
    """What a store's calls have in common, and what makes their requests.

    A request is made as the keywords of the function that takes it, ``send``: a client's ``update_item``, or ``dict``
    to have a look at it. What all of them share is made once; nobody writes into it, botocore neither.

    Args:
        where: The store's table and keys.
        ttl: How long a record is kept.
        margin: How far the clocks of two holders may be apart.

    Attributes:
        claim: By policy, what takes a key, unless somebody holds it or has done its work, and counts its fence up: from
            ``send``, the claim, the time and the lease.
        complete: Stores what a call returned, if this holder still holds the key: from ``send``, the claim, the time,
            the result's text, None where it can't be stored, and whether the annotation reads it.
        fail: The same of a permanent failure's text.
        release: Gives the key back after a failure, if this holder still holds it; the fence stays. From ``send`` and
            the claim.
    """

    def __init__(self, where: Place, *, ttl: timedelta, margin: timedelta) -> None:
        self.ttl_attribute, self.ttl, self.margin = where.ttl_attribute, ttl, margin
        self.kept, self.margin_milliseconds = whole_milliseconds(ttl), whole_milliseconds(margin)
        self.claim = {policy: _claiming(where, self.margin_milliseconds, policy) for policy in CLAIM_CONDITIONS}
        self.complete = _completing(where, self.kept)
        self.fail = _failing(where, self.kept)
        self.release = _releasing(where)

    def lease(self, duration: timedelta) -> Lease:
        """A lease of that duration."""
        held = whole_milliseconds(duration)
        return Lease(held, max(self.kept, held + self.margin_milliseconds))


def whole_milliseconds(duration: timedelta) -> int:
    """A duration, cut to milliseconds."""
    return duration // _MILLISECOND


_MILLISECOND = timedelta(milliseconds=1)


def _claiming(
    where: Place, margin: int, on_expired_lease: OnExpiredLease
) -> Callable[[Callable[..., Answer], Hold, int, Lease], Answer]:
    table, partition_key, sort_key, key_prefix, ttl_attribute = where
    condition = CLAIM_CONDITIONS[on_expired_lease]
    names = {"#key": partition_key, "#expiresAt": ttl_attribute, **_CLAIM_NAMES}
    may_be_overdue = on_expired_lease == "rerun"

    def claim(send: Callable[..., Answer], claim: Hold, now: int, lease: Lease) -> Answer:
        key, token, fingerprint = claim
        held, kept = lease
        whole_key = {partition_key: {"S": key_prefix + key}}
        if sort_key is not None:
            whole_key[sort_key] = _SORT_KEY
        values = {
            ":inProgress": _IN_PROGRESS,
            ":released": _RELEASED,
            ":token": {"S": token},
            ":fingerprint": {"S": fingerprint},
            ":leaseExpiresAt": {"N": str(now + held)},
            ":expiresAt": {"N": str((now + kept) // 1000)},
            ":nowSeconds": {"N": str(now // 1000)},
            ":nowMilliseconds": {"N": str(now)},
            ":one": _ONE,
        }
        if may_be_overdue:
            values[":overdue"] = {"N": str(now - margin)}
        return send(
            TableName=table,
            Key=whole_key,
            UpdateExpression=CLAIM_UPDATE,
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValues="UPDATED_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    return claim


def _completing(where: Place, kept: int) -> Callable[[Callable[..., Answer], Hold, int, str | None, bool], Answer]:
    table, partition_key, sort_key, key_prefix, ttl_attribute = where
    without_result = _update_of(where, "status", ttl_attribute)
    by_json = _update_of(where, "status", "result", ttl_attribute)
    by_annotation = _update_of(where, "status", "result", "resultByAnnotation", ttl_attribute)

    def complete(
        send: Callable[..., Answer], claim: Hold, now: int, text: str | None, read_by_annotation: bool
    ) -> Answer:
        key, token, _ = claim
        whole_key = {partition_key: {"S": key_prefix + key}}
        if sort_key is not None:
            whole_key[sort_key] = _SORT_KEY
        values: dict[str, Any] = {
            ":token": {"S": token},
            ":inProgress": _IN_PROGRESS,
            ":status": _COMPLETED,
            ":expiresAt": {"N": str((now + kept) // 1000)},
        }
        if text is None:
            update, names = without_result
        else:
            values[":result"] = {"S": text}
            update, names = by_annotation if read_by_annotation else by_json
            if read_by_annotation:
                values[":resultByAnnotation"] = _TRUE
        return send(
            TableName=table,
            Key=whole_key,
            UpdateExpression=update,
            ConditionExpression=ENDING_CONDITION,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    return complete


def _failing(where: Place, kept: int) -> Callable[[Callable[..., Answer], Hold, int, str], Answer]:
    update = _update_of(where, "status", "failure", where.ttl_attribute)

    def fail(send: Callable[..., Answer], claim: Hold, now: int, failure: str) -> Answer:
        expires_at = {"N": str((now + kept) // 1000)}
        return _end(where, send, claim, update, _COMPLETED, {":failure": {"S": failure}, ":expiresAt": expires_at})

    return fail


def _releasing(where: Place) -> Callable[[Callable[..., Answer], Hold], Answer]:
    update = _update_of(where, "status")

    def release(send: Callable[..., Answer], claim: Hold) -> Answer:
        return _end(where, send, claim, update, _RELEASED, {})

    return release


def _end(
    where: Place,
    send: Callable[..., Answer],
    claim: Hold,
    update: tuple[str, dict[str, str]],
    status: dict[str, str],
    values: dict[str, Any],
) -> Answer:
    expression, names = update
    return send(
        TableName=where.table,
        Key=where.key_of(claim),
        UpdateExpression=expression,
        ConditionExpression=ENDING_CONDITION,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={
            ":token": {"S": claim[1]},
            ":inProgress": _IN_PROGRESS,
            ":status": status,
            **values,
        },
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )


def _update_of(where: Place, *attributes: str) -> tuple[str, dict[str, str]]:
    """What sets these attributes in a record's ending: the expression, and its names."""
    names = {f"#{'expiresAt' if name == where.ttl_attribute else name}": name for name in attributes}
    return "SET " + ", ".join(f"{each} = :{each[1:]}" for each in names), {"#claimToken": "claimToken", **names}


def fence_of(record: Mapping[str, Any]) -> int:
    """The number of the last claim of a record, in typed values."""
    return int(record["fence"]["N"])


def what_is_met(claim: Hold, record: Mapping[str, Any], terms: Terms, now: int) -> Met:
    """The row of `ON_MEETING` for a record.

    Args:
        claim: Who asks.
        record: The record, in typed values; empty where there is none.
        terms: The store's.
        now: The time at this holder's clock.
    """
    _, own_token, own_fingerprint = claim
    if not record or int(record[terms.ttl_attribute]["N"]) <= now // 1000:
        return Met.FORGOTTEN
    status, is_own = record["status"]["S"], record["claimToken"]["S"] == own_token
    if status == RELEASED:
        return Met.SPENT if is_own else Met.RELEASED
    if is_own:
        return Met.OWN
    is_completed = status == COMPLETED
    if not is_completed and int(record["leaseExpiresAt"]["N"]) <= now - terms.margin_milliseconds:
        return Met.OVERDUE
    if record["fingerprint"]["S"] != own_fingerprint:
        return Met.OTHER_PAYLOAD
    if not is_completed:
        return Met.HELD
    if "failure" in record:
        return Met.FAILED
    return DONE if "result" in record else Met.DONE_WITHOUT_RESULT


def meet(
    claim: Hold, record: Mapping[str, Any], terms: Terms, now: int, on_expired_lease: OnExpiredLease = "rerun"
) -> Replay | None:
    """What follows for a call whose claim was refused: a replay, or None where the record is its own.

    Args:
        claim, record, terms, now: As for `what_is_met`, `now` as it was in the claim.
        on_expired_lease: As it was in the claim.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, UnknownOutcomeError, ResultError: As in `ON_MEETING`.
    """
    met = what_is_met(claim, record, terms, now)
    outcome = _MEETINGS[on_expired_lease][met]
    if outcome is _REPLAY:
        return new_replay((record["result"]["S"], "resultByAnnotation" in record))
    key = claim[0]
    match outcome:
        case Outcome.FAIL:
            return FailureReplay(record["failure"]["S"], by_annotation=False)
        case Outcome.MISMATCH:
            raise PayloadMismatchError(key, "was used before with another payload; a new call needs a new key")
        case Outcome.UNKNOWN:
            since = datetime.fromtimestamp(int(record["leaseExpiresAt"]["N"]) / 1000, UTC)
            raise UnknownOutcomeError(key, token=record["claimToken"]["S"], since=since, fence=fence_of(record))
        case Outcome.UNSTORABLE:
            raise ResultError(key, "was done before, but its result could not be stored; it is not done again")
        case Outcome.RUN if met is Met.OWN:
            return None
        case _:  # in progress; or the record went between the claim and its refusal, and the next try takes the key
            raise AlreadyInProgressError(key, "another call is at work on it; try again later")


def look(
    claim: Hold, record: Mapping[str, Any], terms: Terms, now: int, on_expired_lease: OnExpiredLease = "rerun"
) -> Replay | None:
    """What follows for a call that reads the record: a replay, or None where it may claim the key.

    Args:
        claim, record, terms, now, on_expired_lease: As for `meet`.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, UnknownOutcomeError, ResultError: As in `ON_MEETING`.
    """
    met = what_is_met(claim, record, terms, now)
    if _MEETINGS[on_expired_lease][met] is Outcome.RUN:
        return None
    return meet(claim, record, terms, now, on_expired_lease)


def has_ended_so(record: Mapping[str, Any], request: dict[str, Any]) -> bool:
    """Whether a record that refused a call's ending has that very ending: its first answer was lost.

    Args:
        record: The record, in typed values; empty where there is none.
        request: The ending's.
    """
    values = request["ExpressionAttributeValues"]
    return record.get("claimToken") == values[":token"] and all(
        record.get(name) == values.get(f":{name}") for name in ENDING_ATTRIBUTES
    )


def completed_item(
    claim: Claim, where: Place, *, result: tuple[str, bool] | None, now: int, ttl: timedelta
) -> dict[str, Any]:
    """The record of a call that is done, in typed values: to be put where the call and its record are one transaction.

    Args:
        claim, now: Whose it is, and the time.
        where, ttl: As for `Terms`.
        result: What the call returned, as for `Terms.complete`.
    """
    item: dict[str, Any] = {
        **where.key_of(claim),
        "claimToken": {"S": claim.token},
        "fingerprint": {"S": claim.fingerprint},
        where.ttl_attribute: {"N": str((now + whole_milliseconds(ttl)) // 1000)},
        "status": _COMPLETED,
    }
    if result is not None:
        text, by_annotation = result
        item["result"] = {"S": text}
        if by_annotation:
            item["resultByAnnotation"] = _TRUE
    return item


def read_request(claim: Claim, where: Place) -> dict[str, Any]:
    """GetItem of a key's record, as it is now."""
    return {"TableName": where.table, "Key": where.key_of(claim), "ConsistentRead": True}
