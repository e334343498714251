"""The records that an inbox adds to a handler's transaction, and the consequence if handler or transaction fails.

The dedup record is the record of a completed call, as in `claims`, put on the condition that there is none: it exists
if and only if the handler's effect does. If stale events are skipped, one more record per consumer and aggregate holds
the sequence of the last event handled; the transaction updates it, or is refused.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..events.ids import joined
from .claims import Claim, RecordState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..events.event import Event
    from .claims import RecordRequests

__all__ = [
    "AfterFailure",
    "after_failure",
    "dedup_claim",
    "dedup_put",
    "is_stale",
    "sequence_claim",
    "sequence_update",
]


class AfterFailure(StrEnum):
    """The consequence of a failure of handler or transaction; the first that fits."""

    ANSWER = "the event has a dedup record: it is handled as a duplicate, whatever failed"
    SKIP = "a later event of the aggregate was handled, and `on_stale` is not `run`: the event is skipped"
    AGAIN = "contention, with attempts left: the handler runs again from the start"
    RAISE = "otherwise: the failure is raised"


def after_failure(state: RecordState, *, stale: bool, contention: bool, attempts_left: int) -> AfterFailure:
    """Return the consequence of a failure of handler or transaction.

    Args:
        state: The dedup record's; read after the failure, because the effect that made the handler fail may be its own.
        stale: Whether the event is skipped as stale.
        contention: Whether the transaction failed only because of others.
        attempts_left: How often the handler may run again.
    """
    if state is not RecordState.FORGOTTEN:
        return AfterFailure.ANSWER
    if stale:
        return AfterFailure.SKIP
    return AfterFailure.AGAIN if contention and attempts_left > 0 else AfterFailure.RAISE


def dedup_claim(consumer: str, event: Event, token: str, fingerprint: str) -> Claim:
    """Return the claim of a consumer's record of an event; `idempotent` uses other keys."""
    return Claim(joined("inbox", consumer, event.source or "", event.id), token, fingerprint)


def sequence_claim(consumer: str, event: Event) -> Claim:
    """Return the claim of the record of the last sequence that a consumer has handled of an event's aggregate."""
    parts = (event.source or "", event.aggregate_type or "", event.aggregate_id or "")
    return Claim(joined("inbox-sequence", consumer, *parts), "", "")


def dedup_put(claim: Claim, requests: RecordRequests, *, result: tuple[str, str], now: int) -> dict[str, Any]:
    """Return the action that records that an event was handled, unless it was before; an expired record doesn't count.

    Args:
        claim, requests: The event's, and the store's.
        result: The handler's result, as for `RecordRequests.complete`.
        now: The time in milliseconds.
    """
    return _conditional(
        "Put",
        requests,
        {"Item": requests.completed_item(claim, now, result)},
        "attribute_not_exists(#key) OR #expiresAt <= :nowSeconds",
        {"#key": requests.keys.partition_key},
        {":nowSeconds": {"N": str(now // 1000)}},
    )


def sequence_update(claim: Claim, requests: RecordRequests, *, sequence: int, now: int) -> dict[str, Any]:
    """Return the action that updates the last sequence, unless the event's is not above it.

    Args:
        claim: From `sequence_claim`.
        requests, now: As for `dedup_put`. The record is kept for the store's ttl after its last event.
        sequence: The event's.
    """
    return _conditional(
        "Update",
        requests,
        {
            "Key": requests.key_of(claim),
            "UpdateExpression": "SET #lastSequence = :sequence, #expiresAt = :expiresAt",
        },
        "attribute_not_exists(#lastSequence) OR #expiresAt <= :nowSeconds OR #lastSequence < :sequence",
        {"#lastSequence": "lastSequence"},
        {
            ":sequence": {"N": str(sequence)},
            ":expiresAt": requests.expiry(now),
            ":nowSeconds": {"N": str(now // 1000)},
        },
    )


def _conditional(
    kind: str,
    requests: RecordRequests,
    request: Mapping[str, Any],
    condition: str,
    names: Mapping[str, str],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        kind: {
            "TableName": requests.table,
            **request,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {**names, "#expiresAt": requests.keys.ttl_attribute},
            "ExpressionAttributeValues": dict(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def is_stale(record: Mapping[str, Any], requests: RecordRequests, *, sequence: int, now: int) -> bool:
    """Return whether the record of the last sequence, typed and empty if there is none, refuses an event.

    Args:
        record: The record.
        requests, sequence, now: As for `sequence_update`.
    """
    if "lastSequence" not in record or int(record[requests.keys.ttl_attribute]["N"]) <= now // 1000:
        return False
    return int(record["lastSequence"]["N"]) >= sequence
