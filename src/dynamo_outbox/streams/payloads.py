"""The contents of a Lambda payload: one event, messages, or stream records."""

from __future__ import annotations

from ..errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

__all__ = ["payload_kind", "records_of"]

_RECORD = ("dynamodb", "kinesis")
_MESSAGE = ("body", "Sns")


def payload_kind(payload: object) -> Literal["event", "messages", "records"]:
    """Return what a payload holds: a batch of SQS or SNS messages, stream records in any shape, or one event."""
    if isinstance(payload, list):
        return "records"  # of a pipe, which passes Kinesis records without their envelopes
    if not isinstance(payload, dict):
        return "event"
    records = payload.get("Records")
    if isinstance(records, list):
        return "messages" if any(_has(record, _MESSAGE) for record in records) else "records"
    return "records" if _has(payload, _RECORD) else "event"


def records_of(payload: object) -> list[Any]:
    """Return the stream records of a payload, not decoded.

    Raises:
        DecodeError: It has none of the shapes in which records are delivered.
    """
    records = payload
    if isinstance(payload, dict):
        records = [payload] if _has(payload, _RECORD) else payload.get("Records")
    if not isinstance(records, list):
        raise DecodeError(
            "Records",
            "is missing or not a list: neither Lambda's event, GetRecords' response, a pipe's array nor a record",
        )
    return records


def _has(value: object, names: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(names)
