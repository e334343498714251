"""Writing and publishing: the cost that this library adds to botocore's calls.

Inside the timed region:

- Writer: CPU time of this process, all threads, for one transaction of an entity and its event, from Python values to
  the response. The bare call is `transact_write_items` with two typed and rendered items. pynamodb's transaction has
  two models; the event's model is created like our event, with id, time, data as JSON text and time to live.
- Publisher, CPU: 1,000 events with text data, as a relay reads them, one call at a time. The bare call is `put_events`
  with ready entries, 10 per call.
- Publisher, wall time: eight threads against our own serial publisher, 8 ms per response, warm connections. The floor
  creates the entries by hand, and eight threads send them with the same client.

The server is a separate process and counts the round trips. Every client has its library's default configuration.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from pynamodb.connection import Connection
from pynamodb.transactions import TransactWrite

from dynamo_outbox import Event, EventBridgePublisher, TransactionalOutbox
from dynamo_outbox.aws.clients import shared_client
from dynamo_outbox.events.event import event_from_texts

from .canned_server import VARIABLES, CannedServer, server_of_process
from .floors import put_requests
from .harness import Benchmark, timed
from .models import BookRow, EventRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .harness import Measure

__all__ = ["EVENTS", "Recorder", "rows", "the_events"]

BOOK: dict[str, Any] = {
    "name": "Dune",
    "authors": ["Frank Herbert"],
    "year": 1965,
    "pages": 412,
    "isbn": "978-0441013593",
    "publisher": "Chilton Books",
}
EVENTS, DELAY = 1000, 8
SHORT_ROUNDS = 101
ROUNDS_OF_CALLS = 51
"""Many short rounds: they distinguish a ratio near 1 from 1, and other processes disturb a short round less."""
ROUNDS_OF_THREADS = 35
"""More than usual, because thread scheduling differs from round to round."""


class Recorder:
    """Client that records requests and responds like the server."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return {}

    def put_events(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "0"}] * len(request["Entries"])}


def written(outbox: TransactionalOutbox) -> None:
    """Write the transaction with this library."""
    with outbox.transaction() as tx:
        tx.put("books", BOOK, must_not_exist=True)
        tx.emit(Event("BookAdded", BOOK, aggregate_type="Book", aggregate_id="Dune"))


def written_by_pynamodb(connection: Connection) -> None:
    """Write the same transaction with pynamodb."""
    now, event_id = datetime.now(UTC), str(uuid4())
    event = EventRow(
        pk="Book#Dune",
        sk=event_id,
        event_id=event_id,
        event_type="BookAdded",
        event_time=now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        source="Shop.Books",
        version=1,
        aggregate_type="Book",
        aggregate_id="Dune",
        data=json.dumps(BOOK, separators=(",", ":")),
        context="{}",
        expires_at=int((now + timedelta(days=7)).timestamp()),
        format=1,
    )
    with TransactWrite(connection=connection, client_request_token=uuid4().hex) as tx:
        tx.save(BookRow(**BOOK), condition=BookRow.name.does_not_exist(), return_values="ALL_OLD")
        tx.save(event, condition=EventRow.pk.does_not_exist(), return_values="ALL_OLD")


def outbox_of(client: Any = None) -> TransactionalOutbox:
    return TransactionalOutbox("books-events", source="Shop.Books", keys={"books": "name"}, client=client)


def the_events(count: int = EVENTS) -> list[Event]:
    """Return events as a relay reads them."""
    made = [
        Event(
            "BookAdded",
            {**BOOK, "number": number},
            source="Shop.Books",
            aggregate_type="Book",
            aggregate_id=str(number),
        )
        for number in range(count)
    ]
    return [
        event_from_texts(
            (each.type, each.source, "Book", each.version),
            each.id,
            each.time,
            each.aggregate_id,
            data=each.data_json,
            context="{}",
        )
        for each in made
    ]


def expect(server: CannedServer, trips: int, work: Any) -> None:
    """Raise an error unless the work takes this number of round trips."""
    server.round_trips()
    work()
    if (counted := server.round_trips()) != trips:
        raise AssertionError(f"{counted} round trips instead of {trips}")


def writer(server: CannedServer) -> Benchmark:
    outbox, bare = outbox_of(), boto3.client("dynamodb")
    recorder = Recorder()
    written(outbox_of(recorder))
    items = recorder.asked[0]["TransactItems"]

    def check() -> None:
        stored = items[1]["Put"]["Item"]["eventData"]["S"]
        if len(items) != 2 or '"isbn":"978-0441013593"' not in stored:
            raise AssertionError("the ready items differ from the transaction's")
        expect(server, 1, lambda: written(outbox))
        expect(server, 1, lambda: bare.transact_write_items(TransactItems=items))

    return Benchmark(
        what="write two actions, CPU",
        against="transact_write_items",
        target=1.0,
        sense="≤",
        measures={
            "ours": timed(lambda: written(outbox), repeat=12),
            "peer": timed(lambda: bare.transact_write_items(TransactItems=items), repeat=12),
        },
        check=check,
        rounds=SHORT_ROUNDS,
    )


def compared(request: dict[str, Any]) -> list[Any]:
    """Return a transaction's puts without values that differ per transaction, and without placeholder names."""
    made_anew = {"sk", "eventId", "eventTime", "expiresAt"}
    return [
        (
            put["TableName"],
            {name: None if name in made_anew else value for name, value in put["Item"].items()},
            put["ConditionExpression"].partition("(")[0].strip(),
            list(put["ExpressionAttributeNames"].values()),
            put["ReturnValuesOnConditionCheckFailure"],
        )
        for put in (action["Put"] for action in request["TransactItems"])
    ]


def writer_and_pynamodb(server: CannedServer) -> Benchmark:
    outbox, connection = outbox_of(), Connection(region=VARIABLES["AWS_DEFAULT_REGION"], host=server.url)

    def check() -> None:
        recorder, asked = Recorder(), []
        written(outbox_of(recorder))
        event, events = "before-parameter-build.dynamodb.TransactWriteItems", connection.client.meta.events

        def keep(params: dict[str, Any], **_: Any) -> None:
            asked.append(params)

        events.register(event, keep)
        expect(server, 1, lambda: written_by_pynamodb(connection))
        events.unregister(event, keep)
        if compared(asked[0]) != compared(recorder.asked[0]):
            raise AssertionError("the transactions differ")
        expect(server, 1, lambda: written(outbox))

    return Benchmark(
        what="write two actions, CPU",
        against="pynamodb",
        target=1.0,
        sense="≤",
        measures={
            "ours": timed(lambda: written(outbox), repeat=12),
            "peer": timed(lambda: written_by_pynamodb(connection), repeat=12),
        },
        check=check,
        rounds=SHORT_ROUNDS,
    )


def ready_calls(events: Sequence[Event]) -> list[list[Any]]:
    """Return the entries of each call, as the publisher creates them."""
    recorder: Any = Recorder()
    EventBridgePublisher("books", client=recorder).publish(events)
    return [list(request["Entries"]) for request in recorder.asked]


def publisher_cpu(server: CannedServer) -> Benchmark:
    publisher, bare = EventBridgePublisher("books", concurrency=1), boto3.client("events")
    events = the_events()
    calls = ready_calls(events)

    def bare_calls() -> None:
        for entries in calls:
            bare.put_events(Entries=entries)

    def check() -> None:
        if sum(map(len, calls)) != EVENTS or max(map(len, calls)) != 10:
            raise AssertionError("the ready entries are not the events, 10 per call")
        expect(server, 100, lambda: publisher.publish(events))
        expect(server, 100, bare_calls)

    return Benchmark(
        what="publish 1,000 events, one call at a time, CPU",
        against="put_events",
        target=1.0,
        sense="≤",
        measures={"ours": timed(lambda: publisher.publish(events)), "peer": timed(bare_calls)},
        check=check,
        rounds=ROUNDS_OF_CALLS,
    )


def publisher_time(server: CannedServer) -> Benchmark:
    serial, parallel = EventBridgePublisher("books", concurrency=1), EventBridgePublisher("books", concurrency=8)
    events = the_events()
    client = shared_client("events")

    def delayed(work: Callable[[], object]) -> Measure:
        measure = timed(work, clock=perf_counter)

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
        if put_requests(events) != ready_calls(events) or len(floor()) != EVENTS:
            raise AssertionError("the floor publishes other events")
        expect(server, 100, floor)

    def floor() -> list[str]:
        ready = iter(put_requests(events))  # threads can share this iterator: its next() is atomic
        published = []

        def share() -> None:
            for entries in ready:
                published.extend([outcome["EventId"] for outcome in client.put_events(Entries=entries)["Entries"]])

        threads = [Thread(target=share) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return published

    return Benchmark(
        what="publish 1,000 events, 8 threads",
        against="one thread",
        target=5,
        sense="≥",
        measures={
            "ours": delayed(lambda: parallel.publish(events)),
            "peer": delayed(lambda: serial.publish(events)),
            "floor": delayed(floor),
        },
        check=check,
        rounds=ROUNDS_OF_THREADS,
    )


def rows() -> list[Benchmark]:
    """Return the rows; they share a server."""
    server = server_of_process()
    return [writer(server), writer_and_pynamodb(server), publisher_cpu(server), publisher_time(server)]
