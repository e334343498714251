"""Whether a transaction was committed whose answer got lost: what follows from each answer, and the void marker.

While its token lives, the same request with it commits nothing twice. But a request that was given up may still
arrive, even after a later one was refused: so what is in doubt is never taken for refused. A *void marker*, put under
the key of the transaction's event on the condition that nothing is there, ends the doubt: either it finds the event,
which was written with all the rest, or it stands, and the event's own condition keeps the late request from committing.

`ON_ANSWER` is what the writer follows. A marker has no ``outboxFormat``, so neither relay nor pipe takes notice of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..events.outbox_item import ItemLayout

__all__ = [
    "ON_ANSWER",
    "SENT_AGAIN",
    "Answer",
    "Proof",
    "Step",
    "is_event_of",
    "is_marker",
    "marker_request",
    "next_step",
]


class Answer(StrEnum):
    """What came back for a request."""

    COMMITTED = "success"
    OWN_EVENT = "cancelled, because its own event is there"
    CONTENTION = "cancelled, and every reason is contention"
    REFUSED = "refused for any other reason"
    IN_PROGRESS = "in progress"
    NONE = "none that can be read: a timeout, a broken connection, a status of 500 or above, no code"


class Step(StrEnum):
    """What the writer does next."""

    DONE = "it is committed"
    RESEND = "sends it again, with the same token"
    REFUSE = "raises the refusal: nothing was written"
    SETTLE = "puts the void marker"


ON_ANSWER = {
    Answer.COMMITTED: (Step.DONE, Step.DONE),
    Answer.OWN_EVENT: (Step.REFUSE, Step.DONE),
    Answer.CONTENTION: (Step.REFUSE, Step.SETTLE),
    Answer.REFUSED: (Step.REFUSE, Step.SETTLE),
    Answer.IN_PROGRESS: (Step.SETTLE, Step.SETTLE),
    Answer.NONE: (Step.SETTLE, Step.SETTLE),
}
"""The step after each answer: first where every request so far was answered, then where one of them was not."""
SENT_AGAIN = frozenset({Answer.CONTENTION, Answer.IN_PROGRESS, Answer.NONE})
"""While there is time, these are sent again instead."""


def next_step(answer: Answer, *, in_doubt: bool, in_time: bool) -> Step:
    """What the writer does about an answer.

    Args:
        answer: The latest.
        in_doubt: Whether an earlier request got no answer, so that it may still commit.
        in_time: Whether the request may be sent again.
    """
    if in_time and answer in SENT_AGAIN:
        return Step.RESEND
    return ON_ANSWER[answer][in_doubt]


class Proof(NamedTuple):
    """The event whose item proves its transaction, and where it lies.

    Attributes:
        table: The events table.
        item: The event's item, in typed values.
        layout: What its attributes are called.
    """

    table: str
    item: Mapping[str, Mapping[str, str]]
    layout: ItemLayout

    @property
    def key(self) -> dict[str, Mapping[str, str]]:
        """The item's key, in typed values."""
        return {name: self.item[name] for name in (self.layout.partition_key, self.layout.sort_key)}


def marker_request(proof: Proof, token: str, *, expires_at: int) -> dict[str, Any]:
    """PutItem that makes a transaction void, unless its event is there.

    Args:
        proof: The transaction's event.
        token: The transaction's token, for whoever finds the marker.
        expires_at: When DynamoDB may delete it, in epoch seconds: later than any request can still arrive.
    """
    return {
        "TableName": proof.table,
        "Item": {**proof.key, "voidToken": {"S": token}, proof.layout.ttl_attribute: {"N": str(expires_at)}},
        "ConditionExpression": "attribute_not_exists(#outbox_key)",
        "ExpressionAttributeNames": {"#outbox_key": proof.layout.partition_key},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def is_marker(item: Mapping[str, Any]) -> bool:
    """Whether a typed item is a void marker."""
    return "voidToken" in item


def is_event_of(proof: Proof, item: Mapping[str, Any]) -> bool:
    """Whether a typed item is the event itself, and not another's under the same id; its time to live may differ."""
    ttl = proof.layout.ttl_attribute
    return {**item, ttl: None} == {**proof.item, ttl: None}
