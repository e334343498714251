"""Writing and publishing: what this library adds to botocore's call.

Inside the timed region, for the writer: the CPU time of this process, all threads, for one transaction of an entity and
its event, from the Python values and the data of the event to the answer read; bare is `transact_write_items` of two
items that are typed and rendered already. For the publisher: 1,000 events, as a relay reads them (their data are text);
bare is `put_events` of entries that are ready, 10 a call. The CPU is compared with one call at a time on both sides,
the time (wall clock, 8 ms to each answer, warm connections) with eight at a time against our own serial publisher. The
server is a process of its own, and counts the round trips. Both clients are as their library makes them.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import boto3

from dynamo_outbox import Event, EventBridgePublisher, TransactionalOutbox

from .canned_server import CannedServer, canned_server
from .harness import Benchmark, timed

__all__ = ["VARIABLES", "rows"]

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BOOK = {
    "name": "Dune",
    "authors": ["Frank Herbert"],
    "year": 1965,
    "pages": 412,
    "isbn": "978-0441013593",
    "publisher": "Chilton Books",
}
EVENTS, DELAY = 1000, 8


class Recorder:
    """A client that keeps what it was asked, and answers like the server."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return {}

    def put_events(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "0"}] * len(request["Entries"])}


def written(outbox: TransactionalOutbox) -> None:
    """The transaction."""
    with outbox.transaction() as tx:
        tx.put("books", BOOK, must_not_exist=True)
        tx.emit(Event("BookAdded", BOOK, aggregate_type="Book", aggregate_id="Dune"))


def outbox_of(client: Any = None) -> TransactionalOutbox:
    return TransactionalOutbox("books-events", source="Shop.Books", keys={"books": "name"}, client=client)


def the_events() -> list[Event]:
    """Events as a relay has them."""
    made = [
        Event(
            "BookAdded",
            {**BOOK, "number": number},
            source="Shop.Books",
            aggregate_type="Book",
            aggregate_id=str(number),
        )
        for number in range(EVENTS)
    ]
    return [
        Event._from_text(
            each.type,
            each.data_json,
            id=each.id,
            time=each.time,
            source=each.source,
            aggregate_type="Book",
            aggregate_id=each.aggregate_id,
        )
        for each in made
    ]


def expect(server: CannedServer, trips: int, work: Any) -> None:
    """Raises unless the work takes so many round trips."""
    server.round_trips()
    work()
    if (counted := server.round_trips()) != trips:
        raise AssertionError(f"{counted} round trips, and {trips} were expected")


def writer(server: CannedServer) -> Benchmark:
    outbox, bare = outbox_of(), boto3.client("dynamodb")
    recorder = Recorder()
    written(outbox_of(recorder))
    items = recorder.asked[0]["TransactItems"]

    def check() -> None:
        stored = items[1]["Put"]["Item"]["eventData"]["S"]
        if len(items) != 2 or '"isbn":"978-0441013593"' not in stored:
            raise AssertionError("the ready items are not those of the transaction")
        expect(server, 1, lambda: written(outbox))
        expect(server, 1, lambda: bare.transact_write_items(TransactItems=items))

    return Benchmark(
        what="writer: CPU of a transaction of two actions",
        against="transact_write_items of ready items",
        target=1.04,
        sense="≤",
        measures={
            "ours": timed(lambda: written(outbox), repeat=60),
            "peer": timed(lambda: bare.transact_write_items(TransactItems=items), repeat=60),
        },
        check=check,
    )


def publisher_cpu(server: CannedServer) -> Benchmark:
    publisher, bare = EventBridgePublisher("books"), boto3.client("events")
    events, recorder = the_events(), Recorder()
    EventBridgePublisher("books", client=recorder).publish(events)
    calls = [list(request["Entries"]) for request in recorder.asked]

    def bare_calls() -> None:
        for entries in calls:
            bare.put_events(Entries=entries)

    def check() -> None:
        if sum(map(len, calls)) != EVENTS or max(map(len, calls)) != 10:
            raise AssertionError("the ready entries are not the events, 10 a call")
        expect(server, 100, lambda: publisher.publish(events))
        expect(server, 100, bare_calls)

    return Benchmark(
        what="publisher: CPU for 1,000 events",
        against="put_events of ready entries",
        target=1.05,
        sense="≤",
        measures={"ours": timed(lambda: publisher.publish(events)), "peer": timed(bare_calls)},
        check=check,
    )


def publisher_time(server: CannedServer) -> Benchmark:
    serial, parallel = EventBridgePublisher("books"), EventBridgePublisher("books", concurrency=8)
    events = the_events()

    def delayed(publisher: EventBridgePublisher) -> Any:
        measure = timed(lambda: publisher.publish(events), clock=perf_counter)

        def once() -> float:
            server.delay(DELAY)
            try:
                return measure()
            finally:
                server.delay(0)

        return once

    def check() -> None:
        results = [[each.position for each in each_.publish(events).published] for each_ in (serial, parallel)]
        if results[0] != results[1] or len(results[0]) != EVENTS:
            raise AssertionError("serial and parallel publish different events")
        expect(server, 100, lambda: parallel.publish(events))

    return Benchmark(
        what="publisher: time for 1,000 events, 8 ms to each answer, 8 threads",
        against="one call after the other",
        target=5,
        sense="≥",
        measures={"ours": delayed(parallel), "peer": delayed(serial)},
        check=check,
        rounds=15,
    )


def rows() -> list[Benchmark]:
    """Against one server, which ends with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(canned_server())
    os.environ.update(VARIABLES, AWS_ENDPOINT_URL=server.url)
    return [writer(server), publisher_cpu(server), publisher_time(server)]
