"""The record of the last sequence, at the edge of its time to live."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynamo_outbox import TableKeys
from dynamo_outbox.consuming.claims import RecordRequests
from dynamo_outbox.consuming.inbox_records import is_stale

REQUESTS = RecordRequests("handled", TableKeys(sort_key=None), ttl=timedelta(days=8), margin=timedelta(seconds=1))
NOW = 1_796_000_000_000
"""A time in milliseconds."""


@pytest.mark.parametrize(
    ("expires_at", "last", "stale"),
    [
        (NOW // 1000 + 1, 5, True),
        (NOW // 1000, 5, False),
        (NOW // 1000 - 1, 5, False),
        (NOW // 1000 + 1, 4, True),
        (NOW // 1000 + 1, 3, False),
    ],
)
def test_an_event_is_stale_until_the_record_expires(expires_at: int, last: int, stale: bool) -> None:
    """A record refuses sequences up to its own, and nothing any more from the second of its expiry on."""
    record = {"lastSequence": {"N": str(last)}, "expiresAt": {"N": str(expires_at)}}
    assert is_stale(record, REQUESTS, sequence=4, now=NOW) is stale


@pytest.mark.parametrize("record", [{}, {"expiresAt": {"N": str(NOW)}}])
def test_without_a_record_no_event_is_stale(record: dict[str, dict[str, str]]) -> None:
    """An aggregate of which nothing was handled has no last sequence."""
    assert is_stale(record, REQUESTS, sequence=0, now=NOW) is False
