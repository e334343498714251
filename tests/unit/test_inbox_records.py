"""Inbox records: durations at their edges, and what follows a failure."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dynamo_outbox import IdempotencyStore, TableKeys
from dynamo_outbox.consuming.claims import RecordRequests, RecordState
from dynamo_outbox.consuming.inbox_records import AfterFailure, after_failure, is_stale

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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ttl": timedelta(0)}, "ttl=.+ must be positive"),
        ({"lease": timedelta(0)}, "lease=.+ must be positive"),
        ({"lease": timedelta(days=-1)}, "lease=.+ must be positive"),
        ({"ttl": timedelta(minutes=15)}, "must be longer than lease"),
        ({"ttl": timedelta(hours=1), "lease": timedelta(hours=1)}, "must be longer than lease"),
    ],
)
def test_a_store_refuses_durations_that_cannot_work(options: dict[str, timedelta], problem: str) -> None:
    """A record must outlive its call, and both durations are positive."""
    with pytest.raises(ValueError, match=problem):
        IdempotencyStore("handled", **options)  # type: ignore[arg-type]  # durations only


def test_a_call_without_a_context_holds_its_key_for_lambdas_longest_time() -> None:
    """The default lease is Lambda's maximum of 15 minutes, and the default time to live is longer."""
    store = IdempotencyStore("handled", ttl=timedelta(minutes=15, seconds=1))
    assert (store.lease, IdempotencyStore("handled").ttl) == (timedelta(minutes=15), timedelta(days=8))


@pytest.mark.parametrize(
    ("state", "stale", "contention", "attempts_left", "follows"),
    [
        (RecordState.DONE, True, True, 1, AfterFailure.ANSWER),
        (RecordState.OTHER_PAYLOAD, False, False, 0, AfterFailure.ANSWER),
        (RecordState.FORGOTTEN, True, True, 1, AfterFailure.SKIP),
        (RecordState.FORGOTTEN, False, True, 1, AfterFailure.AGAIN),
        (RecordState.FORGOTTEN, False, True, 0, AfterFailure.RAISE),
        (RecordState.FORGOTTEN, False, False, 1, AfterFailure.RAISE),
    ],
)
def test_what_follows_a_failure(
    state: RecordState, stale: bool, contention: bool, attempts_left: int, follows: AfterFailure
) -> None:
    """After a failure the dedup record decides first, then staleness, then contention; otherwise it is raised."""
    assert after_failure(state, stale=stale, contention=contention, attempts_left=attempts_left) is follows
