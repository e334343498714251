"""Determine whether a transaction whose response was lost was committed: the step after each response.

While its token lives, the same request with it writes nothing twice. But a request that timed out may still arrive,
even after a later one was refused: so a doubtful transaction is never taken for refused. A *void marker*, put under
the key of the transaction's event if nothing has that key, ends the doubt: either it meets the event, which was written
with everything else, or the event's own condition keeps the late request from committing.

A marker has no ``outboxFormat``, so relay and pipe ignore it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..options import TableKeys

__all__ = ["ON_ANSWER", "SENT_AGAIN", "Answer", "Proof", "Step", "is_marker", "next_step"]


class Answer(StrEnum):
    """The response to a request."""

    COMMITTED = "success"
    OWN_EVENT = "cancelled, because its own event is there"
    CONTENTION = "cancelled, and every reason is contention"
    REFUSED = "refused for any other reason"
    IN_PROGRESS = "in progress"
    NONE = "none that can be read: a timeout, a broken connection, a status of 500 or above, no code"


class Step(StrEnum):
    """The writer's next step."""

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
"""The step after each response: if all requests so far had a response, and if one of them had none."""
SENT_AGAIN = frozenset({Answer.CONTENTION, Answer.IN_PROGRESS, Answer.NONE})
"""After these the transaction is sent again instead, while there is time."""


def next_step(answer: Answer, *, in_doubt: bool, in_time: bool) -> Step:
    """Return the step after a response.

    Args:
        answer: The latest response.
        in_doubt: Whether an earlier request had no response, so that it may still commit.
        in_time: Whether the request may be sent again.
    """
    if in_time and answer in SENT_AGAIN:
        return Step.RESEND
    return ON_ANSWER[answer][in_doubt]


class Proof(NamedTuple):
    """The outbox item that proves that its transaction was committed.

    Attributes:
        table: The events table.
        item: The item, in typed values.
        keys: The table's keys.
    """

    table: str
    item: Mapping[str, Mapping[str, str]]
    keys: TableKeys

    @property
    def expires_at(self) -> int:
        """The time from which DynamoDB may delete the item, in epoch seconds."""
        return int(self.item[self.keys.ttl_attribute]["N"])

    def put(self) -> dict[str, Any]:
        """Return the action that writes the item, unless one has its key."""
        return {"Put": {"TableName": self.table, "Item": self.item, **self._unless_present()}}

    def marker_request(self, token: str, *, expires_at: int) -> dict[str, Any]:
        """Return PutItem's parameters that make the transaction void, unless its event is present.

        Args:
            token: The transaction's token, to identify the marker.
            expires_at: When DynamoDB may delete the marker, in epoch seconds: later than any request can still arrive.
        """
        names = (self.keys.partition_key, self.keys.sort_key)
        key = {name: self.item[name] for name in names if name is not None}
        marker = {**key, "voidToken": {"S": token}, self.keys.ttl_attribute: {"N": str(expires_at)}}
        return {"TableName": self.table, "Item": marker, **self._unless_present()}

    def is_item(self, found: Mapping[str, Any]) -> bool:
        """Return whether a typed item is this event, and not another with the same id; its time to live may differ."""
        ttl = self.keys.ttl_attribute
        return {**found, ttl: None} == {**self.item, ttl: None}

    def _unless_present(self) -> dict[str, Any]:
        return {
            "ConditionExpression": "attribute_not_exists(#outbox_key)",
            "ExpressionAttributeNames": {"#outbox_key": self.keys.partition_key},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


def is_marker(item: Mapping[str, Any]) -> bool:
    """Return whether a typed item is a void marker."""
    return "voidToken" in item
