"""What an inbox adds to a handler's transaction, and what follows when handler or transaction fails.

The dedup record is the record of a completed call, as `claims` keeps it, put on the condition that there is none: so it
is there if and only if the handler's effect is. Where order is asked for, one more record per consumer and aggregate
holds the sequence of the last event handled, and the transaction moves it on, or is refused.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from .claims import Claim, Met, completed_item, whole_milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from ..events.event import Event
    from .claims import Place

__all__ = [
    "AfterFailure",
    "after_failure",
    "dedup_claim",
    "dedup_put",
    "is_stale",
    "sequence_claim",
    "sequence_update",
]

_OLD_ITEM = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


class AfterFailure(StrEnum):
    """What follows when handler or transaction failed, the first that fits."""

    ANSWER = "there is a record of the event: it is answered with that, whatever failed"
    SKIP = "a later event of the aggregate was handled, and stale ones are refused"
    AGAIN = "contention, and tries left: the handler runs again from the start"
    RAISE = "the failure is raised"


def after_failure(met: Met, *, stale: bool, contention: bool, tries_left: int) -> AfterFailure:
    """What follows when handler or transaction failed.

    Args:
        met: The dedup record as it is now; read after the failure, for the effect that the handler stumbled over may
            be its own.
        stale: Whether the event is refused as stale.
        contention: Whether the transaction failed only because of others.
        tries_left: How often the handler may run again.
    """
    if met is not Met.FORGOTTEN:
        return AfterFailure.ANSWER
    if stale:
        return AfterFailure.SKIP
    return AfterFailure.AGAIN if contention and tries_left > 0 else AfterFailure.RAISE


def dedup_put(claim: Claim, where: Place, *, result: tuple[str, bool], now: int, ttl: timedelta) -> dict[str, Any]:
    """The action that records that an event was handled, unless it was before; an expired record counts as none.

    Args:
        claim, where, now, ttl: As for `completed_item`.
        result: What the handler returned: its text, and whether the annotation reads it.
    """
    return {
        "Put": {
            "TableName": where.table,
            "Item": completed_item(claim, where, result=result, now=now, ttl=ttl),
            "ConditionExpression": "attribute_not_exists(#key) OR #expiresAt <= :nowSeconds",
            "ExpressionAttributeNames": {"#key": where.partition_key, "#expiresAt": where.ttl_attribute},
            "ExpressionAttributeValues": {":nowSeconds": {"N": str(now // 1000)}},
            **_OLD_ITEM,
        }
    }


def dedup_claim(consumer: str, event: Event, token: str, fingerprint: str) -> Claim:
    """Names a consumer's record of an event; `idempotent` has records of other names."""
    return Claim(f"inbox#{consumer}#{event.id}", token, fingerprint)


def sequence_claim(consumer: str, event: Event) -> Claim:
    """Names the record of the last sequence that a consumer has handled of an event's aggregate."""
    return Claim(f"inbox-sequence#{consumer}#{event.aggregate}", "", "")


def sequence_update(claim: Claim, where: Place, *, sequence: int, now: int, ttl: timedelta) -> dict[str, Any]:
    """The action that moves the last sequence on, unless the event's is not above it.

    Args:
        claim: From `sequence_claim`.
        where, now, ttl: As for `completed_item`. The record is kept for as long after its last event.
        sequence: The event's.
    """
    return {
        "Update": {
            "TableName": where.table,
            "Key": where.key_of(claim),
            "UpdateExpression": "SET #lastSequence = :sequence, #expiresAt = :expiresAt",
            "ConditionExpression": (
                "attribute_not_exists(#lastSequence) OR #expiresAt <= :nowSeconds OR #lastSequence < :sequence"
            ),
            "ExpressionAttributeNames": {"#lastSequence": "lastSequence", "#expiresAt": where.ttl_attribute},
            "ExpressionAttributeValues": {
                ":sequence": {"N": str(sequence)},
                ":expiresAt": {"N": str((now + whole_milliseconds(ttl)) // 1000)},
                ":nowSeconds": {"N": str(now // 1000)},
            },
            **_OLD_ITEM,
        }
    }


def is_stale(record: Mapping[str, Any], where: Place, *, sequence: int, now: int) -> bool:
    """Whether the record of the last sequence, typed, refuses an event.

    Args:
        record: Empty where there is none.
        where, sequence, now: As for `sequence_update`.
    """
    if "lastSequence" not in record or int(record[where.ttl_attribute]["N"]) <= now // 1000:
        return False
    return int(record["lastSequence"]["N"]) >= sequence
