"""Floors: hand-written code for one kind of input with only the library's checks, as fast as we could make it.

Floors have no options and are not reusable. Unexpected input raises an error.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from dynamo_outbox.aws.clients import Prevalidated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_outbox import Event

__all__ = ["put_requests"]

LONG_NUMBER = re.compile("[0-9](?:[eE]|[0-9]{18})")


def put_requests(events: Sequence[Event]) -> list[Prevalidated]:
    """Return the entries of each PutEvents call, for ASCII events with an aggregate and without a context."""
    requests = []
    batch, total = Prevalidated(), 0
    quoted, isoformat = encode_basestring, datetime.isoformat
    for event in events:
        source, kind, data, time = event.source, event.type, event.data_json, event.time
        if LONG_NUMBER.search(data) or type(event.data) is not dict or event.context != (None,) * 4:
            raise ValueError
        detail = (
            f'{{"metadata":{{"id":{quoted(event.id)},"type":{quoted(kind)},"version":{event.version},'
            f'"time":"{isoformat(time, timespec="microseconds")[:-6]}Z",'
            f'"aggregateType":{quoted(event.aggregate_type or "")},"aggregateId":{quoted(event.aggregate_id or "")}}},'
            f'"data":{data}}}'
        )
        if source is None or time.tzinfo is not UTC or not detail.isascii():
            raise ValueError
        size = 14 + len(source) + len(kind) + len(detail)
        if len(batch) == 10 or total + size >= 1_048_576:
            requests.append(batch)
            batch, total = Prevalidated(), 0
        batch.append({"EventBusName": "books", "Source": source, "DetailType": kind, "Detail": detail, "Time": time})
        total += size
    requests.append(batch)
    return requests
