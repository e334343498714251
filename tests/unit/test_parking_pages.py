"""Parking with several pages of results, and failures that are not retried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynamo_outbox import OutboxRelay, ParkingTable

from .test_parking import UNREADABLE, Lot, batch, big_book
from .test_processors import ALL_WELL, failed_from, outbox_record

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB


class SmallPages:
    """A DynamoDB whose pages hold one item."""

    def __init__(self, client: FakeDynamoDB) -> None:
        self._client = client

    def query(self, **request: Any) -> Any:
        return self._client.query(**request, Limit=1)

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)


def test_a_redrive_reads_page_after_page() -> None:
    """A redrive reads all pages and puts together a record whose parts are on several pages."""
    lot = Lot()
    parking = ParkingTable("parking", client=SmallPages(lot.dynamodb), clock=lot.clock)
    records = [big_book("a", "1", 399 * 1024), *(big_book(f"b{number}", f"{number}0", 10) for number in range(1, 40))]
    assert lot.processor(lambda _: 1 / 0)(batch(*records, big_book("a", "999", 10))) == ALL_WELL
    seen: list[Any] = []
    result = parking.redrive(lot.processor(seen.append))
    assert (result.sent, result.finished, lot.items) == (41, True, [])
    assert next(record.raw for record in seen if record.keys == {"name": "a"}) == records[0]


def test_what_no_second_attempt_mends_is_asked_once() -> None:
    """A transaction cancelled for a non-retryable reason is not retried, and its records are reported."""
    lot = Lot()
    reasons = [{"Code": "ItemCollectionSizeLimitExceeded"}, {"Code": "None"}]
    refusal = lot.dynamodb.error("transact_write_items", "TransactionCanceledException", CancellationReasons=reasons)
    lot.dynamodb.fail_next("transact_write_items", refusal)
    relay = OutboxRelay(lot.publisher, parking=lot.parking)
    assert relay(batch(outbox_record("A", "1", "a", **UNREADABLE))) == failed_from("1")
    assert [call.operation for call in lot.dynamodb.calls].count("transact_write_items") == 1
