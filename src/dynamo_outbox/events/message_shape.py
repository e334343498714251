"""The look of a message among records, cheap to ask for each record of a batch."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BATCH_INFO", "is_bus_event", "is_message"]

BATCH_INFO = ("DDBStreamBatchInfo", "KinesisBatchInfo")
"""The members by which failure records of Lambda and of a pipe point to the records of a stream."""
_MESSAGE_NAMES = frozenset({"body", "Body", "Sns", "detail", "specversion", "SystemMetadata"})


def is_bus_event(value: object) -> bool:
    """Return whether a value is one event as a bus delivers it: EventBridge's, with its metadata, or CloudEvents."""
    if not isinstance(value, (dict, Mapping)):
        return False
    is_classic = "detail" in value and "detail-type" in value
    return is_classic or ("Data" in value and "SystemMetadata" in value) or "specversion" in value


def is_message(value: object) -> bool:
    """Return whether a value is a message of SQS, delivered or received, a record of SNS, or an event in a batch."""
    return isinstance(value, (dict, Mapping)) and not _MESSAGE_NAMES.isdisjoint(value)
