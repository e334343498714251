"""Growth of the cost of a batch, a transaction and a publication with their size.

Inside the timed region: at least one run, and enough runs of a size for 1,000 records, events or actions, so that small
sizes take as long as large ones. Decoding uses 10,000 records, so that every size needs the same memory: data outside
the processor's caches cost more. Records are parsed from JSON just before, outside the timed region, all batches of a
measurement together: small items, whose Keys and NewImage are read, and for the relay our own outbox items; rich items
for CDC mode, and messages with an event each for the inbox. The clients accept everything at once, so only this library
is measured.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    OutboxRelay,
    Transaction,
    TransactionalOutbox,
    batch_handler,
    decode_records,
)

from .growth import Growth, by_size
from .handlers import bus_event, changed
from .harness import Measure, timed_on
from .payloads import outbox_event, outbox_records, rich_records, small_item, small_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["rows"]

MANY = (1, 10, 100, 1_000, 10_000)
MESSAGES = (1, 10, 100, 1_000)
ACTIONS = (1, 3, 10, 30, 100)
"""Up to DynamoDB's limit for a transaction."""
AT_LEAST = 1_000
Input = TypeVar("Input")
Change = TypeVar("Change")


class Taking:
    """Client that accepts everything and counts it."""

    def __init__(self) -> None:
        self.taken = 0

    def put_events(self, **request: Any) -> dict[str, Any]:
        count = len(request["Entries"])
        self.taken += count
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "0"}] * count}

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        self.taken += len(request["TransactItems"])
        return {}


def growth(
    what: str,
    per: str,
    sizes: Sequence[int],
    make: Callable[[int], Callable[[], Input]],
    work: Callable[[Input], object],
    count: Callable[[Input], int],
    at_least: int = AT_LEAST,
) -> Growth:
    """Return a line of the table.

    Args:
        what, per: As in `Growth`.
        sizes: The sizes.
        make: Takes a size and returns a function that creates an input of that size.
        work: The timed region.
        count: Does the work and returns the number of units done.
        at_least: The number of units in a measurement, in as many runs as necessary.
    """

    def check() -> None:
        for size in sizes:
            if (done := count(make(size)())) != size:
                raise AssertionError(f"{what}: {done} of {size}")

    def measure(size: int) -> Measure:
        once, runs = make(size), max(1, at_least // size)

        def all_at_once(inputs: list[Input]) -> None:
            for each in inputs:
                work(each)

        of_all = timed_on(lambda: [once() for _ in range(runs)], all_at_once)
        return lambda: of_all() / runs

    return Growth(what=what, per=per, check=check, series=lambda: by_size({size: measure(size) for size in sizes}))


def parsed(payload: Any) -> Callable[[], Any]:
    """Return a function that parses the payload from its JSON."""
    text = json.dumps(payload)
    return lambda: json.loads(text)


def read(payload: Any) -> int:
    """Read Keys and NewImage of each record, and return the number of records."""
    records = decode_records(payload)
    for record in records:
        _ = record.keys, record.new_image
    return len(records)


def decoding() -> Growth:
    return growth(
        "decode_records, both images read",
        "records a batch",
        MANY,
        lambda size: parsed(small_records(size)),
        read,
        read,
        at_least=max(MANY),
    )


def relaying(what: str, payload: Callable[[int], Any], *, is_cdc: bool = False) -> Growth:
    client = Taking()
    publisher = EventBridgePublisher("books", source="Shop.Books", client=client)
    relay = ChangeProcessor(publisher, changed) if is_cdc else OutboxRelay(publisher)

    def published(payload: Any) -> int:
        before = client.taken
        answer = relay(payload)
        return 0 if answer["batchItemFailures"] else client.taken - before

    return growth(what, "records a batch", MANY, lambda size: parsed(payload(size)), relay, published)


def consuming() -> Growth:
    client: Any = Taking()

    @Inbox(IdempotencyStore("handled", client=client)).handler(consumer="catalogue")
    def apply(event: Event, tx: InboxTransaction) -> None:
        tx.update("presentation", {"name": event.id}, set={"year": 2019})

    @batch_handler
    def handler(event: Event, _context: object) -> None:
        apply(event)

    def handled(payload: Any) -> int:
        before: int = client.taken
        failures = handler(payload, None)["batchItemFailures"]
        taken: int = client.taken
        return 0 if failures else (taken - before) // 2

    return growth("inbox", "messages a batch", MESSAGES, lambda size: parsed(messages(size)), handled, handled)


def messages(count: int) -> Any:
    """Return a batch of SQS messages, each with an event."""
    events = [bus_event() for _ in range(count)]
    for number, event in enumerate(events):
        event["detail"]["metadata"]["id"] = f"event-{number}"
    return {"Records": [{"messageId": f"{n}", "body": json.dumps(event)} for n, event in enumerate(events)]}


def publishing() -> Growth:
    client = Taking()
    publisher = EventBridgePublisher("books", client=client)

    def events(size: int) -> Callable[[], list[Event]]:
        made = [outbox_event(number) for number in range(size)]
        return lambda: made

    def published(events: list[Event]) -> int:
        return len(publisher.publish(events).published)

    return growth("publish", "events a call", MANY, events, publisher.publish, published)


def writing(what: str, change: Callable[[int], Change], apply: Callable[[Transaction, Change], object]) -> Growth:
    client: Any = Taking()
    outbox = TransactionalOutbox("books-events", keys={"books": ("pk", "sk")}, client=client)

    def changes(size: int) -> Callable[[], list[Change]]:
        made = [change(number) for number in range(size)]
        return lambda: made

    def write(made: list[Change]) -> None:
        with outbox.transaction() as tx:
            for each in made:
                apply(tx, each)

    def written(made: list[Change]) -> int:
        before: int = client.taken
        write(made)
        taken: int = client.taken
        return taken - before

    return growth(what, "actions a transaction", ACTIONS, changes, write, written)


def rows() -> list[Growth]:
    """Return the rows of reading, relaying, publishing and writing."""
    return [
        decoding(),
        relaying("relay, each record of its own aggregate", outbox_records),
        relaying("relay, all records of one aggregate", lambda size: outbox_records(size, 1)),
        relaying("CDC, rich records", rich_records, is_cdc=True),
        consuming(),
        publishing(),
        writing("transaction of puts", small_item, lambda tx, item: tx.put("books", item, must_not_exist=True)),
        writing("transaction of events with a sequence", outbox_event, Transaction.emit),
    ]
