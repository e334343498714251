"""Idempotency as tables: what a call does for each state of its key's record, and how a record changes.

A call follows `ON_MEETING`. The rows that take the key are the condition of the claim; for the others, the refused
claim returns the record, and `resolve_refused_claim` looks its row up. `LIFE` is how a record changes. Each change but
a claim starts from `in progress` and is conditional on the token, so a late holder changes nothing; each claim
increments the record's fence, and nothing decrements it. docs/reference/state-tables.md shows both.

Times are whole milliseconds since 1970, as are the records' leases; their time to live is in seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ..errors import AlreadyInProgressError, PayloadMismatchError, ResultError, UnknownOutcomeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..options import TableKeys

__all__ = [
    "AT_MOST_ONCE",
    "LIFE",
    "ON_MEETING",
    "Claim",
    "Claimed",
    "FailureReplay",
    "OnExpiredLease",
    "Outcome",
    "RecordRequests",
    "RecordState",
    "Replay",
    "fence_of",
    "has_ended_so",
    "peek",
    "record_state",
    "resolve_refused_claim",
    "whole_milliseconds",
]

OnExpiredLease: TypeAlias = Literal["rerun", "raise"]
"""The action of a call if its key's holder has outlived its lease: run, or raise because the outcome is unknown."""


class RecordState(StrEnum):
    """The state of the record that a call meets; the first that fits."""

    FORGOTTEN = "none, or expired"
    SPENT = "released, with this call's token: a late copy of its claim"
    RELEASED = "released, with another token"
    OWN = "with this call's token: the first response to its claim was lost"
    OVERDUE = "in progress, lease and clock margin over"
    OTHER_PAYLOAD = "with another payload fingerprint"
    HELD = "in progress"
    FAILED = "completed with a permanent failure"
    DONE = "completed with a result"
    DONE_WITHOUT_RESULT = "completed, but its result could not be stored"


class Outcome(StrEnum):
    """The consequence for the call."""

    RUN = "takes the key and runs"
    REPLAY = "returns the stored result"
    FAIL = "raises the stored failure again"
    IN_PROGRESS = "raises AlreadyInProgressError"
    MISMATCH = "raises PayloadMismatchError"
    UNKNOWN = "raises UnknownOutcomeError"
    UNSTORABLE = "raises ResultError"


ON_MEETING = {
    RecordState.FORGOTTEN: Outcome.RUN,
    RecordState.SPENT: Outcome.IN_PROGRESS,
    RecordState.RELEASED: Outcome.RUN,
    RecordState.OWN: Outcome.RUN,
    RecordState.OVERDUE: Outcome.RUN,
    RecordState.OTHER_PAYLOAD: Outcome.MISMATCH,
    RecordState.HELD: Outcome.IN_PROGRESS,
    RecordState.FAILED: Outcome.FAIL,
    RecordState.DONE: Outcome.REPLAY,
    RecordState.DONE_WITHOUT_RESULT: Outcome.UNSTORABLE,
}
AT_MOST_ONCE = {**ON_MEETING, RecordState.OVERDUE: Outcome.UNKNOWN}
"""The same if an expired lease raises."""
_BY_POLICY: dict[OnExpiredLease, dict[RecordState, Outcome]] = {"rerun": ON_MEETING, "raise": AT_MOST_ONCE}

LIFE = (
    ("none", "claim", "in progress"),
    ("released", "claim", "in progress"),
    ("in progress", "claim after lease and margin, with rerun", "in progress"),
    ("in progress", "complete or resolve", "completed"),
    ("in progress", "fail permanently", "failed"),
    ("in progress", "release or forget", "released"),
    ("in progress", "TTL expires", "none"),
    ("released", "TTL expires", "none"),
    ("completed", "TTL expires", "none"),
    ("failed", "TTL expires", "none"),
)
"""From, by, to. A failed record is a completed one that holds a failure."""

IN_PROGRESS = "IN_PROGRESS"
COMPLETED = "COMPLETED"
RELEASED = "RELEASED"
SORT_KEY_VALUE = "idempotency"
"""The value of the sort key, so that records can share a table with entities."""

_TAKEABLE = "#status = :released"
_TAKEABLE_OR_OVERDUE = f"({_TAKEABLE} OR (#status = :inProgress AND #leaseExpiresAt <= :overdue))"
_CLAIM_CONDITION = "attribute_not_exists(#key) OR #expiresAt <= :nowSeconds OR (#claimToken <> :token AND {})"
CLAIM_CONDITIONS: dict[OnExpiredLease, str] = {
    "rerun": _CLAIM_CONDITION.format(_TAKEABLE_OR_OVERDUE),
    "raise": _CLAIM_CONDITION.format(_TAKEABLE),
}
"""The rows of `ON_MEETING` and of `AT_MOST_ONCE` in which a call takes the key."""
CLAIM_UPDATE = (
    "SET #status = :inProgress, #claimToken = :token, #fingerprint = :fingerprint, #leaseExpiresAt = :leaseExpiresAt, "
    "#expiresAt = :expiresAt, #fence = if_not_exists(#fence, :nowMilliseconds) + :one "
    "REMOVE #result, #resultForm, #failure"
)
"""The first fence is the time, so that the numbers keep growing after TTL has deleted the record."""
_CLAIM_NAMES = (
    "status",
    "claimToken",
    "fingerprint",
    "leaseExpiresAt",
    "fence",
    "result",
    "resultForm",
    "failure",
)
ENDING_ATTRIBUTES = ("status", "result", "resultForm", "failure")
"""The attributes that say how a call ended."""
ENDING_CONDITION = "#claimToken = :token AND #status = :inProgress"


class Claim(NamedTuple):
    """One call's claim of a key."""

    key: str
    token: str
    fingerprint: str


class Claimed(NamedTuple):
    """The call holds the key. `fence` is larger than for every earlier holder; the first is a time in milliseconds."""

    fence: int


class Replay(NamedTuple):
    """An earlier call returned this result: its text, and the form in which it is written."""

    text: str
    form: str = "json"


class FailureReplay(Replay):
    """An earlier call failed permanently: the text is the stored failure."""


class RecordRequests:
    """The requests for the records of a store.

    Args:
        table: The store's table.
        keys: Its keys.
        ttl: How long a record is kept.
        margin: How far the clocks of two holders may differ.
    """

    def __init__(self, table: str, keys: TableKeys, *, ttl: timedelta, margin: timedelta) -> None:
        self.keys = keys
        self.ttl = whole_milliseconds(ttl)
        self.margin = whole_milliseconds(margin)
        self.table = table
        self._claim_names = {
            "#key": keys.partition_key,
            "#expiresAt": keys.ttl_attribute,
            **{f"#{name}": name for name in _CLAIM_NAMES},
        }

    def claim(self, claim: Claim, now: int, lease: timedelta, on_expired_lease: OnExpiredLease) -> dict[str, Any]:
        """Return UpdateItem's parameters that take a key, unless it is held or its work is done."""
        held = whole_milliseconds(lease)
        kept = max(self.ttl, held + self.margin)  # at least as long as the call may run
        values = {
            ":inProgress": {"S": IN_PROGRESS},
            ":released": {"S": RELEASED},
            ":token": {"S": claim.token},
            ":fingerprint": {"S": claim.fingerprint},
            ":leaseExpiresAt": {"N": str(now + held)},
            ":expiresAt": {"N": str((now + kept) // 1000)},
            ":nowSeconds": {"N": str(now // 1000)},
            ":nowMilliseconds": {"N": str(now)},
            ":one": {"N": "1"},
        }
        if on_expired_lease == "rerun":
            values[":overdue"] = {"N": str(now - self.margin)}
        return {
            "TableName": self.table,
            "Key": self.key_of(claim),
            "UpdateExpression": CLAIM_UPDATE,
            "ConditionExpression": CLAIM_CONDITIONS[on_expired_lease],
            "ExpressionAttributeNames": self._claim_names,
            "ExpressionAttributeValues": values,
            "ReturnValues": "UPDATED_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def complete(self, claim: Claim, now: int, result: tuple[str, str] | None) -> dict[str, Any]:
        """Return UpdateItem's parameters that store a call's result, if it still holds the key.

        Args:
            claim: The call's.
            now: The time.
            result: The result's text and form; None if it can't be stored.
        """
        return self._end(claim, {**_completed(result), self.keys.ttl_attribute: self.expiry(now)})

    def fail(self, claim: Claim, now: int, failure: str) -> dict[str, Any]:
        """Return UpdateItem's parameters that store a permanent failure's text, if the call still holds the key."""
        ending = {"status": {"S": COMPLETED}, "failure": {"S": failure}, self.keys.ttl_attribute: self.expiry(now)}
        return self._end(claim, ending)

    def release(self, claim: Claim) -> dict[str, Any]:
        """Return UpdateItem's parameters that release the key, if the call still holds it; the fence stays."""
        return self._end(claim, {"status": {"S": RELEASED}})

    def read(self, claim: Claim) -> dict[str, Any]:
        """Return GetItem's parameters for a consistent read of the key's record."""
        return {"TableName": self.table, "Key": self.key_of(claim), "ConsistentRead": True}

    def completed_item(self, claim: Claim, now: int, result: tuple[str, str]) -> dict[str, Any]:
        """Return the typed record of a completed call, for a transaction that contains its effect."""
        return {
            **self.key_of(claim),
            "claimToken": {"S": claim.token},
            "fingerprint": {"S": claim.fingerprint},
            self.keys.ttl_attribute: self.expiry(now),
            **_completed(result),
        }

    def key_of(self, claim: Claim) -> dict[str, dict[str, str]]:
        """Return the key of a claim's record, in typed values."""
        return self.keys.typed(claim.key, SORT_KEY_VALUE)

    def expiry(self, now: int) -> dict[str, str]:
        """Return the time to live of a record that is written now, in typed epoch seconds."""
        return {"N": str((now + self.ttl) // 1000)}

    def _end(self, claim: Claim, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Return UpdateItem's parameters that end a call by setting these attributes."""
        names = {name: "expiresAt" if name == self.keys.ttl_attribute else name for name in attributes}
        return {
            "TableName": self.table,
            "Key": self.key_of(claim),
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in names.values()),
            "ConditionExpression": ENDING_CONDITION,
            "ExpressionAttributeNames": {
                "#claimToken": "claimToken",
                "#status": "status",
                **{f"#{name}": attribute for attribute, name in names.items()},
            },
            "ExpressionAttributeValues": {
                ":token": {"S": claim.token},
                ":inProgress": {"S": IN_PROGRESS},
                **{f":{name}": attributes[attribute] for attribute, name in names.items()},
            },
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


def _completed(result: tuple[str, str] | None) -> dict[str, Any]:
    """Return the attributes of a completed record with this result."""
    attributes: dict[str, Any] = {"status": {"S": COMPLETED}}
    if result is not None:
        text, form = result
        attributes["result"] = {"S": text}
        if form != "json":
            attributes["resultForm"] = {"S": form}
    return attributes


def whole_milliseconds(duration: timedelta) -> int:
    """Return a duration in milliseconds, rounded down."""
    return duration // _MILLISECOND


_MILLISECOND = timedelta(milliseconds=1)


def fence_of(record: Mapping[str, Any]) -> int:
    """Return the number of a record's last claim, from typed values."""
    return int(record["fence"]["N"])


def record_state(claim: Claim, record: Mapping[str, Any], requests: RecordRequests, now: int) -> RecordState:
    """Return the row of `ON_MEETING` for a record.

    Args:
        claim: The call's.
        record: The record, in typed values; empty if there is none.
        requests: The store's.
        now: The time by this holder's clock.
    """
    if not record or int(record[requests.keys.ttl_attribute]["N"]) <= now // 1000:
        return RecordState.FORGOTTEN
    status, is_own = record["status"]["S"], record["claimToken"]["S"] == claim.token
    if status == RELEASED:
        return RecordState.SPENT if is_own else RecordState.RELEASED
    if is_own:
        return RecordState.OWN
    is_completed = status == COMPLETED
    if not is_completed and int(record["leaseExpiresAt"]["N"]) <= now - requests.margin:
        return RecordState.OVERDUE
    if record["fingerprint"]["S"] != claim.fingerprint:
        return RecordState.OTHER_PAYLOAD
    if not is_completed:
        return RecordState.HELD
    if "failure" in record:
        return RecordState.FAILED
    return RecordState.DONE if "result" in record else RecordState.DONE_WITHOUT_RESULT


def resolve_refused_claim(
    claim: Claim,
    record: Mapping[str, Any],
    requests: RecordRequests,
    now: int,
    on_expired_lease: OnExpiredLease = "rerun",
) -> Replay | None:
    """Return the consequence of a refused claim: a replay, or None if the record is the call's own.

    Args:
        claim, record, requests, now: As for `record_state`, `now` as in the claim.
        on_expired_lease: As in the claim.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, UnknownOutcomeError, ResultError: As in `ON_MEETING`.
    """
    state = record_state(claim, record, requests, now)
    match _BY_POLICY[on_expired_lease][state]:
        case Outcome.REPLAY:
            return Replay(record["result"]["S"], record.get("resultForm", {"S": "json"})["S"])
        case Outcome.FAIL:
            return FailureReplay(record["failure"]["S"])
        case Outcome.MISMATCH:
            raise PayloadMismatchError(claim.key, "was used before with another payload; a new call needs a new key")
        case Outcome.UNKNOWN:
            since = datetime.fromtimestamp(int(record["leaseExpiresAt"]["N"]) / 1000, UTC)
            raise UnknownOutcomeError(claim.key, token=record["claimToken"]["S"], since=since, fence=fence_of(record))
        case Outcome.UNSTORABLE:
            raise ResultError(claim.key, "was done before, but its result could not be stored; it is not done again")
        case Outcome.RUN if state is RecordState.OWN:
            return None
        case _:  # in progress; or the record was deleted between the claim and its refusal: the next try takes the key
            raise AlreadyInProgressError(claim.key, "another call is at work on it; try again later")


def peek(
    claim: Claim,
    record: Mapping[str, Any],
    requests: RecordRequests,
    now: int,
    on_expired_lease: OnExpiredLease = "rerun",
) -> Replay | None:
    """Return the consequence of reading the record: a replay, or None if the call may claim the key.

    Args:
        claim, record, requests, now, on_expired_lease: As for `resolve_refused_claim`.

    Raises:
        PayloadMismatchError, AlreadyInProgressError, UnknownOutcomeError, ResultError: As in `ON_MEETING`.
    """
    if _BY_POLICY[on_expired_lease][record_state(claim, record, requests, now)] is Outcome.RUN:
        return None
    return resolve_refused_claim(claim, record, requests, now, on_expired_lease)


def has_ended_so(record: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether a record that refused a call's ending has this very ending: the first response was lost.

    Args:
        record: The record, in typed values; empty if there is none.
        request: The ending's parameters.
    """
    values = request["ExpressionAttributeValues"]
    return record.get("claimToken") == values[":token"] and all(
        record.get(name) == values.get(f":{name}") for name in ENDING_ATTRIBUTES
    )
