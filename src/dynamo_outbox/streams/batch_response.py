"""The batch response of ``ReportBatchItemFailures``.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .records import StreamRecord

__all__ = ["batch_response", "refuse_firehose"]


def refuse_firehose(payload: object) -> None:
    """Refuse a batch to which a batch response is not an answer, before anything is done with it.

    Raises:
        DecodeError: It is Firehose's.
    """
    if isinstance(payload, Mapping) and isinstance(payload.get("records"), list):
        problem = "are Firehose's, which expects each one back with recordId, result and data"
        raise DecodeError("records", f"{problem}; write that handler with decode_records")


def batch_response(payload: object, failed: Sequence[StreamRecord | DecodeError]) -> dict[str, Any]:
    """Return the response to a batch of stream records: it names the first failed record, or none.

    Lambda checkpoints at the lowest sequence number in the response and delivers everything from there on again. Pipes
    name a DynamoDB record by its event id.

    Args:
        payload: What was delivered.
        failed: The records that failed.

    Raises:
        DecodeError: A failed record has no identifier, so that the batch can only fail as a whole; or the batch is
            Firehose's, which expects another response.
    """
    refuse_firehose(payload)
    if not failed:
        return {"batchItemFailures": []}
    if isinstance(payload, list):
        first = min(failed, key=lambda record: record.index or 0)
        raw = payload[first.index or 0]
        identifier = raw.get("eventID") or first.sequence_number if isinstance(raw, Mapping) else None
    else:
        unnamed = [record for record in failed if not record.sequence_number]
        first = unnamed[0] if unnamed else min(failed, key=lambda record: int(record.sequence_number or 0))
        identifier = first.sequence_number
    if isinstance(identifier, str):
        return {"batchItemFailures": [{"itemIdentifier": str(identifier)}]}
    if isinstance(first, DecodeError):
        raise first
    raise DecodeError("", "the record failed and has no identifier to report it by", index=first.index)
