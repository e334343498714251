"""Determine whether a transaction whose response was lost was committed: the step after each response.

While its token lives, the same request with it writes nothing twice. But a request that timed out may still arrive,
even after a later one was refused: so a doubtful transaction is never taken for refused. A *void marker*, put under
the key of the transaction's event if nothing has that key, ends the doubt: either it meets the event, which was written
with everything else, or the event's own condition keeps the late request from committing.

A marker has no ``outboxFormat``, so relay and pipe ignore it.
"""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..codec.json_text import loads_data
from ..codec.path_error import PathError
from ..codec.short_repr import short_repr
from ..errors import CommitUnknownError, DecodeError, InvalidEventError
from ..events.outbox_item import check_keys, decode_event, encode_event, time_of
from ..options import TableKeys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["ON_ANSWER", "SENT_AGAIN", "Answer", "Proof", "Step", "is_marker", "next_step", "unknown_from_json"]


class Answer(StrEnum):
    """The response to a request."""

    COMMITTED = "success"
    OWN_EVENT = "cancelled because its own event exists"
    CONTENTION = "cancelled only because of contention"
    THROTTLED = "throttled"
    REFUSED = "any other refusal"
    IN_PROGRESS = "transaction in progress"
    NONE = "anything but a refusal: a timeout, a broken connection, a status of 500 or above, any other exception"


class Step(StrEnum):
    """The writer's next step."""

    DONE = "returns: committed"
    RESEND = "repeats the request with the same token"
    REFUSE = "raises the refusal: nothing was written"
    SETTLE = "writes the void marker"


ON_ANSWER = {
    Answer.COMMITTED: (Step.DONE, Step.DONE),
    Answer.OWN_EVENT: (Step.REFUSE, Step.DONE),
    Answer.CONTENTION: (Step.REFUSE, Step.SETTLE),
    Answer.THROTTLED: (Step.REFUSE, Step.SETTLE),
    Answer.REFUSED: (Step.REFUSE, Step.SETTLE),
    Answer.IN_PROGRESS: (Step.SETTLE, Step.SETTLE),
    Answer.NONE: (Step.SETTLE, Step.SETTLE),
}
"""The step after each response: if all requests so far had a response, and if one of them had none."""
SENT_AGAIN = frozenset({Answer.CONTENTION, Answer.THROTTLED, Answer.IN_PROGRESS, Answer.NONE})
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


IDENTITY = ("eventId", "eventType", "source", "eventData")
"""The attributes by which an event's item is recognised."""


class Proof(NamedTuple):
    """The outbox item that proves that its transaction was committed.

    Attributes:
        table: The events table.
        item: The item, in typed values.
        keys: The table's keys.
        is_dated: Whether it is known when the item was written, and so when DynamoDB may delete it.
    """

    table: str
    item: Mapping[str, Mapping[str, str]]
    keys: TableKeys
    is_dated: bool = True

    def is_lasting(self, now: datetime) -> bool:
        """Return whether DynamoDB can't have deleted the item by now because its time to live is over."""
        return self.is_dated and now.timestamp() < int(self.item[self.keys.ttl_attribute]["N"])

    def put(self) -> dict[str, Any]:
        """Return the action that writes the item, unless one has its key."""
        return {"Put": {"TableName": self.table, "Item": self.item, **self._unless_present()}}

    def marker_request(self, token: str, *, expires_at: int) -> dict[str, Any]:
        """Return PutItem's parameters that make the transaction void, unless its event is present.

        Args:
            token: The transaction's token, to identify the marker.
            expires_at: When DynamoDB may delete the marker, in epoch seconds: later than any request can still arrive.
        """
        marker = {**self._key(), "voidToken": {"S": token}, self.keys.ttl_attribute: {"N": str(expires_at)}}
        return {"TableName": self.table, "Item": marker, **self._unless_present()}

    def read_request(self) -> dict[str, Any]:
        """Return GetItem's parameters for the item."""
        return {"TableName": self.table, "Key": self._key(), "ConsistentRead": True}

    def _key(self) -> dict[str, Mapping[str, str]]:
        names = (self.keys.partition_key, self.keys.sort_key)
        return {name: self.item[name] for name in names if name is not None}

    def is_item(self, found: Mapping[str, Any]) -> bool:
        """Return whether a typed item is this event, and not another with the same id.

        Only what identifies an event counts: users may add attributes to the item, and its time to live may differ.
        """
        return all(found.get(name) == self.item[name] for name in IDENTITY)

    def _unless_present(self) -> dict[str, Any]:
        return {
            "ConditionExpression": "attribute_not_exists(#outbox_key)",
            "ExpressionAttributeNames": {"#outbox_key": self.keys.partition_key},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }

    def to_json(self) -> dict[str, Any]:
        """Return the proof as JSON values."""
        return {"table": self.table, "item": self.item, "keys": asdict(self.keys), "is_dated": self.is_dated}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Return the proof that `to_json` gave.

        Raises:
            DecodeError: Not such a value, or the item is not one that this library writes for an event.
        """
        members = _members(value, {"table": str, "item": dict, "keys": dict, "is_dated": bool}, "")
        if not members["table"]:
            raise DecodeError("table", "is empty")
        keys = _table_keys(members["keys"])
        _check_item(members["item"], keys)
        return cls(members["table"], members["item"], keys, members["is_dated"])


FORMAT = 1
"""The version of the text of `CommitUnknownError.to_json`."""


def unknown_from_json(text: str) -> CommitUnknownError:
    """Return the error whose `to_json` gave a text.

    Raises:
        DecodeError: Not such a text, or another version's; the path names the part.
    """
    try:
        read = loads_data(text, "text")
    except PathError as bad:
        problem = f"{bad.problem}; settle() takes the text of CommitUnknownError.to_json()"
        raise DecodeError(bad.path, problem) from None
    if type(read.get("format")) is not int or read["format"] != FORMAT:
        raise DecodeError("format", f"is {short_repr(read.get('format'))}, and only {FORMAT} is known")
    kinds: dict[str, Any] = {"format": int, "token": str, "sent_at": (str, type(None)), "proof": (dict, type(None))}
    members = _members(read, kinds, "")
    if not members["token"]:
        raise DecodeError("token", "is empty")
    proof = None
    if members["proof"] is not None:
        try:
            proof = Proof.from_json(members["proof"])
        except DecodeError as error:
            raise error.within("proof") from None
    sent_at = None if members["sent_at"] is None else time_of(members["sent_at"], "sent_at")
    return CommitUnknownError(members["token"], proof, sent_at)


def _members(value: object, kinds: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return an object that has exactly these members, each of its type."""
    if not isinstance(value, dict):
        raise DecodeError(path, f"is {short_repr(value)} instead of an object")
    for name in (*kinds, *value):
        where = f"{path}.{name}" if path else name
        if name not in value:
            raise DecodeError(where, "is missing")
        if name not in kinds:
            raise DecodeError(where, f"is unknown; the members are {', '.join(kinds)}")
        if not isinstance(value[name], kinds[name]):
            raise DecodeError(where, f"{short_repr(value[name])} is of the wrong type")
    return value


def _table_keys(value: object) -> TableKeys:
    names = _members(value, {"partition_key": str, "sort_key": str, "prefix": str, "ttl_attribute": str}, "keys")
    try:
        keys = TableKeys(**names)
        check_keys(keys)
    except ValueError as error:
        raise DecodeError("keys", str(error)) from None
    return keys


def _check_item(item: Mapping[str, Any], keys: TableKeys) -> None:
    """Refuse an item that differs from the one that the event in it is written as."""
    expires_at = item.get(keys.ttl_attribute)
    text = expires_at.get("N") if isinstance(expires_at, dict) else None
    if not isinstance(text, str) or not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DecodeError(f"item.{keys.ttl_attribute}", f"{short_repr(expires_at)} is not a time in epoch seconds")
    try:
        written = encode_event(decode_event(item), expires_at=int(text), keys=keys)
    except DecodeError as error:
        raise error.within("item") from None
    except InvalidEventError as error:
        raise DecodeError(f"item.{error.field}", error.problem) from None
    for name in (*written, *item):
        if name not in item:
            raise DecodeError(f"item.{name}", "is missing")
        if name not in written:
            raise DecodeError(f"item.{name}", "is unknown; an event's item has no such attribute")
        if item[name] != written[name]:
            raise DecodeError(f"item.{name}", f"is {short_repr(item[name])}, and the event has {written[name]}")


def is_marker(item: Mapping[str, Any]) -> bool:
    """Return whether a typed item is a void marker."""
    return "voidToken" in item
