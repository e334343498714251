"""The contents of a Lambda payload: one event, messages, or stream records."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..errors import DecodeError
from ..events.message_shape import BATCH_INFO, is_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

__all__ = ["holds_records", "payload_kind", "records_of"]

_RECORD = frozenset({"dynamodb", "kinesis"})
_BARE_RECORDS = ({"data", "sequenceNumber"}, {"Data", "SequenceNumber"}, {"data", "recordId"})
"""Members of records without an envelope: Kinesis in a pipe and in GetRecords' response, and Firehose."""
_SOURCES = ("aws:dynamodb", "aws:kinesis")
_READS = (
    "decode_records reads Lambda's event for a stream, GetRecords' response, a pipe's array, a Firehose event, or a "
    "failure destination's object in S3"
)


def payload_kind(payload: object) -> Literal["event", "messages", "records"]:
    """Return what a payload holds: a batch of SQS or SNS messages, stream records in any shape, or one event."""
    if isinstance(payload, Mapping):
        if isinstance(call := payload.get("requestPayload"), Mapping):
            payload = call
        records = payload.get("Records", payload.get("Messages"))
        if not isinstance(records, list):
            return "records" if not _RECORD.isdisjoint(payload) or _batch_info(payload) else "event"
        payload = records
    if isinstance(payload, list):  # a pipe's, which passes Kinesis records without their envelopes
        return "messages" if any(map(is_message, payload)) else "records"
    return "event"


def holds_records(payload: object) -> bool:
    """Return whether a payload holds stream records, also in a shape to which a batch response is no answer."""
    return payload_kind(payload) == "records" or isinstance(_records_in(payload), list)


def records_of(payload: object) -> list[Any]:
    """Return the stream records of a payload, not decoded.

    Raises:
        DecodeError: It has none of the shapes in which records are delivered.
    """
    records, path = _records_in(payload), ""
    if isinstance(payload, Mapping) and not isinstance(records, list):
        if isinstance(payload.get("requestPayload"), Mapping):
            path, payload = "requestPayload", payload["requestPayload"]
        elif "payload" in payload and _batch_info(payload):
            path, payload = "payload", _payload_of_failure(payload["payload"])
        records = _records_in(payload)
    if not isinstance(records, list) or (records and _is_foreign(records[0])):
        from ..events.payload_shapes import unreadable

        raise unreadable(payload, _READS, path)
    return records


def _records_in(payload: Any) -> Any:
    if isinstance(payload, list):
        return payload
    if not isinstance(payload, Mapping):
        return None
    if not _RECORD.isdisjoint(payload) or any(names <= payload.keys() for names in _BARE_RECORDS):
        return [payload]
    firehose = payload.get("records")
    return payload.get("Records", firehose)


def _batch_info(payload: Mapping[Any, Any]) -> bool:
    return any(isinstance(payload.get(name), Mapping) for name in BATCH_INFO)


def _payload_of_failure(payload: object) -> object:
    """Return the batch that a failure destination in S3 keeps: AWS documents its text, others saw an object."""
    if not isinstance(payload, str):
        return payload
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise DecodeError("payload", f"is not the JSON text of a batch: {error}") from None


def _is_foreign(record: object) -> bool:
    """Return whether a record is clearly of another service, so that its whole batch is."""
    if not isinstance(record, Mapping) or not _RECORD.isdisjoint(record):
        return False
    source = record.get("eventSource")
    return is_message(record) or (isinstance(source, str) and source not in _SOURCES)
