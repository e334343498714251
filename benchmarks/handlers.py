"""Whole Lambda handlers, against what a competent developer writes by hand.

Inside the timed region: one call of the handler with a payload that was just parsed from JSON, as Lambda passes it, its
AWS calls included. The server is a separate process, so CPU time is the handler's alone. Each side uses the client that
it creates by default; a row that says "same client" gives both sides ours. All of them send the same events.

Except in the rows "on all cores", the process has one core: a Lambda function of 1,769 MB has the time of one vCPU,
which may be spread over two (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html). On several cores,
Python's threads wait for each other more, which costs CPU time.

The floor of a CPU row makes the same AWS calls with ready parameters and the same client, and does nothing else.

- Relay: 100 outbox records, published 10 per call. By hand: boto3's TypeDeserializer, an entry for each record, and
  PutEvents by tens. It does not look at failed entries, so an entry that EventBridge refuses is lost.
- CDC: 100 records of rich items, each mapped to an event. By hand: the same loop; `uuid4` ids, so a redelivered record
  makes other events.
- Both on a Custom Event Bus too, against the Classic loop by hand and a loop that puts 100 entries in a call, with the
  aggregate as group and the event's id for deduplication.
- Both also against Powertools: its batch processor with its data class of a record, and the same PutEvents by tens.
- Inbox: one EventBridge event, handled by one update, first call and duplicate. By hand: Powertools' `idempotent`, and
  the update as a second write: a crash between the two repeats the effect.
- idempotent: the same handler with Powertools' `idempotent` and with ours.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.idempotency import idempotent as powertools_idempotent
from boto3.dynamodb.types import TypeDeserializer
from botocore import xform_name
from botocore.exceptions import ClientError

from dynamo_outbox import (
    ChangeProcessor,
    Clock,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    OutboxRelay,
    idempotent,
)
from dynamo_outbox.aws.clients import shared_client
from dynamo_outbox.codec.plain_values import plain
from dynamo_outbox.testing import FakeDynamoDB

from .calls import expect
from .canned_server import server_of_process
from .harness import Benchmark, timed_on
from .payloads import from_lambda, outbox_event, outbox_records, rich_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynamo_outbox import InboxTransaction, StreamRecord

    from .canned_server import CannedServer
    from .harness import Measure

    Handler = Callable[[Any, Any], Any]

__all__ = ["rows"]

BUS, TABLE = "books", "handled"
CUSTOM_BUS = f"arn:aws:events:eu-west-1:123456789012:event-busv2/books/{'a' * 25}"
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
LOOP_LACKS = "failed entries, order, parking"
DELAYS = (8, 25)
"""Milliseconds to each response."""
ALL = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ())
ONE = frozenset(sorted(ALL)[-1:])
"""Cores of this process, and one of them; none where the operating system tells no process its cores."""
FIELDS = ("name", "authors", "year", "price", "publisher", "editions")
_deserialize = TypeDeserializer().deserialize


def use(cores: frozenset[int]) -> None:
    """Keep this thread, and those that it starts, on some of the cores."""
    if cores:
        os.sched_setaffinity(0, cores)


def relay_by_hand(client: Any, *, custom: bool = False) -> Handler:
    """Return a loop over outbox records, without guarantees; on request to a Custom Event Bus."""

    def handler(event: Any, _context: Any) -> Any:
        entries = []
        for record in event["Records"]:
            if record["eventName"] != "INSERT":
                continue
            item = {name: _deserialize(value) for name, value in record["dynamodb"]["NewImage"].items()}
            entries.append(_outbox_entry(item))
        _put(client, entries, custom=custom)

    return handler


def cdc_by_hand(client: Any, *, custom: bool = False) -> Handler:
    """Return a loop over changes, without guarantees; on request to a Custom Event Bus."""

    def handler(event: Any, _context: Any) -> Any:
        entries = []
        for record in event["Records"]:
            change = record["dynamodb"]
            item = {name: _deserialize(value) for name, value in change["NewImage"].items()}
            entries.append(_change_entry(item, change["ApproximateCreationDateTime"]))
        _put(client, entries, custom=custom)

    return handler


def by_powertools(client: Any, entry_of: Callable[[Any], dict[str, Any]]) -> Handler:
    """Return Powertools' batch processor, which makes the entry of each record; then PutEvents by tens."""

    def handler(event: Any, context: Any) -> Any:
        entries: list[dict[str, Any]] = []
        processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
        response = process_partial_response(event, lambda record: entries.append(entry_of(record)), processor, context)
        _put(client, entries)
        return response

    return handler


def relay_by_powertools(client: Any) -> Handler:
    return by_powertools(client, lambda record: _outbox_entry(record.dynamodb.new_image))


def cdc_by_powertools(client: Any) -> Handler:
    def entry_of(record: Any) -> dict[str, Any]:
        change = record.dynamodb
        return _change_entry(change.new_image, change.approximate_creation_date_time)

    return by_powertools(client, entry_of)


def _outbox_entry(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {
        "id": item["eventId"],
        "type": item["eventType"],
        "version": int(item["eventVersion"]),
        "time": item["eventTime"],
        "aggregateType": item["aggregateType"],
        "aggregateId": item["aggregateId"],
        **json.loads(item["eventContext"]),
    }
    detail = {"metadata": metadata, "data": json.loads(item["eventData"])}
    return _entry(item["source"], item["eventType"], detail, item["eventTime"])


def _change_entry(item: dict[str, Any], created: float) -> dict[str, Any]:
    time = datetime.fromtimestamp(created, UTC).isoformat()
    metadata = {"id": str(uuid4()), "type": "BookChanged", "version": 1, "time": time}
    data = {name: plain(item[name]) for name in FIELDS}
    return _entry("Shop.Books", "BookChanged", {"metadata": metadata, "data": data}, time)


def _entry(source: str, kind: str, detail: Any, time: str) -> dict[str, Any]:
    return {
        "EventBusName": BUS,
        "Source": source,
        "DetailType": kind,
        "Detail": json.dumps(detail),
        "Time": datetime.fromisoformat(time),
    }


def _put(client: Any, entries: list[dict[str, Any]], *, custom: bool = False) -> None:
    if custom:
        for start in range(0, len(entries), 100):
            client.put_events(EventBusArn=CUSTOM_BUS, Entries=list(map(_grouped, entries[start : start + 100])))
        return
    for start in range(0, len(entries), 10):
        client.put_events(Entries=entries[start : start + 10])


def _grouped(entry: dict[str, Any]) -> dict[str, Any]:
    metadata = json.loads(entry["Detail"])["metadata"]
    ids = {"EventGroupId": metadata.get("aggregateId", metadata["id"]), "DeduplicationId": metadata["id"]}
    return {**{name: value for name, value in entry.items() if name != "EventBusName"}, "SystemMetadata": ids}


def changed(record: StreamRecord) -> Event:
    """Map a change to an event."""
    image = record.new_image or {}
    return Event("BookChanged", {name: plain(image[name]) for name in FIELDS})


def relay(client: Any = None, bus: str = BUS) -> Handler:
    return OutboxRelay(EventBridgePublisher(bus, client=client))


def cdc(client: Any = None, bus: str = BUS) -> Handler:
    return ChangeProcessor(EventBridgePublisher(bus, source="Shop.Books", client=client), changed)


def custom_bus_rows(server: CannedServer) -> list[Benchmark]:
    """Return the rows of relay and change processor on a Custom Event Bus."""
    out = []
    client = shared_client("eventbridgev2", CUSTOM_BUS.split(":")[3])
    clients: Any = boto3  # its stubs know only names that are literals
    for what, ours, by_hand, payload, target in (
        ("relay on a Custom Event Bus, 100 records", relay, relay_by_hand, outbox_records(), 2.0),
        ("CDC on a Custom Event Bus, 100 rich records", cdc, cdc_by_hand, rich_records(), 1.5),
    ):
        mine = ours(bus=CUSTOM_BUS)
        for against, least, service, calls in (
            ("boto3 by hand, Classic", target, "events", 10),
            ("boto3 by hand, Custom", 0.9, "eventbridgev2", 1),
        ):
            peer = by_hand(clients.client(service), custom=service != "events")
            trips = (1, calls)
            out.append(
                _row(
                    f"{what}, CPU",
                    against,
                    least,
                    mine,
                    peer,
                    payload,
                    server,
                    trips,
                    clients=[client],
                    lacks=LOOP_LACKS,
                )
            )
    return out


def stream_rows(server: CannedServer) -> list[Benchmark]:
    """Return the rows of relay and change processor."""
    out = []
    for what, ours, by_hand, by_tools, payload, cpu, waiting in (
        ("relay, 100 records", relay, relay_by_hand, relay_by_powertools, outbox_records(), 1.1, 3.0),
        ("CDC, 100 rich records", cdc, cdc_by_hand, cdc_by_powertools, rich_records(), 0.95, 2.7),
    ):
        client, other = shared_client("events"), boto3.client("events")
        mine, same = ours(), ours(other)
        hand = by_hand(boto3.client("events"))
        hand_with_ours = by_hand(client)
        tools = by_tools(boto3.client("events"))
        for against, target, first, second in (
            ("boto3 by hand", cpu, mine, hand),
            ("boto3 by hand, our client", cpu, mine, hand_with_ours),
            ("boto3 by hand, boto3's client", cpu, same, hand),
            ("Powertools' batch processor", cpu, mine, tools),
        ):
            lacks = "in order; failed records again" if second is tools else LOOP_LACKS
            clients = [other if first is same else client]
            row = _row(
                f"{what}, CPU", against, target, first, second, payload, server, (10, 10), clients=clients, lacks=lacks
            )
            out.append(row)
        name = f"{what}, CPU on all cores"
        row = _row(
            name, "boto3 by hand", cpu, mine, hand, payload, server, (10, 10),
            cores=ALL, clients=[client], lacks=LOOP_LACKS,
        )  # fmt: skip
        out.append(row)
        for delay in DELAYS:
            name = f"{what}, {delay} ms a response"
            row = _row(name, "boto3 by hand", waiting, mine, hand, payload, server, (10, 10), delay, lacks=LOOP_LACKS)
            out.append(row)
    return out


def _row(  # noqa: PLR0913  # the parts of a row
    what: str,
    against: str,
    target: float,
    ours: Handler,
    peer: Handler,
    payload: Any,
    server: CannedServer,
    trips: tuple[int, int],
    delay: int | None = None,
    scene: Callable[[], None] = lambda: None,
    cores: frozenset[int] = ONE,
    lacks: str = "",
    clients: Sequence[Any] = (),
) -> Benchmark:
    floor = CallsAlone(ours, clients)

    def check() -> None:
        scene()
        contenders = [(ours, trips[0]), (peer, trips[1])]
        if clients:
            floor.record(from_lambda(payload))
            contenders.append((floor, trips[0]))
        for handler, count in contenders:
            expect(server, count, lambda handler=handler: handler(from_lambda(payload), CONTEXT))
        server.reset()

    return Benchmark(
        what=what,
        against=against,
        target=target,
        sense="≥",
        measures={
            "ours": _measure(ours, payload, server, delay, scene, cores),
            "peer": _measure(peer, payload, server, delay, scene, cores),
            **({"floor": _measure(floor, payload, server, delay, scene, ONE)} if clients else {}),
        },
        check=check,
        rounds=51 if delay is None else 15,
        lacks=lacks,
    )


class CallsAlone:
    """Handler that makes another handler's AWS calls one after another with ready parameters, and does nothing else."""

    def __init__(self, handler: Handler, clients: Sequence[Any]) -> None:
        self._handler = handler
        self._clients = clients
        self._calls: list[tuple[Callable[..., Any], dict[str, Any]]] = []

    def record(self, event: Any) -> None:
        """Run the handler once, and keep what it asks its clients for."""
        self._calls.clear()
        for client in self._clients:

            def keep(params: dict[str, Any], model: Any, client: Any = client, **_: Any) -> None:
                self._calls.append((getattr(client, xform_name(model.name)), params))

            client.meta.events.register("before-parameter-build", keep, unique_id="recorded")
        try:
            self._handler(event, CONTEXT)
        finally:
            for client in self._clients:
                client.meta.events.unregister("before-parameter-build", unique_id="recorded")

    def __call__(self, _event: Any, _context: Any) -> None:
        for call, params in self._calls:
            with suppress(ClientError):
                call(**params)


def _measure(
    handler: Handler,
    payload: Any,
    server: CannedServer,
    delay: int | None,
    scene: Callable[[], None],
    cores: frozenset[int],
) -> Measure:
    clock = process_time if delay is None else perf_counter
    repeat = 1 if "Records" in payload else 20
    measure = timed_on(lambda: from_lambda(payload), lambda event: handler(event, CONTEXT), clock=clock, repeat=repeat)

    def once() -> float:
        scene()
        server.delay(delay or 0)
        use(cores)
        try:
            return measure()
        finally:
            use(ALL)
            server.reset()

    return once


BUS_EVENT = {
    "version": "0",
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "BookAdded",
    "source": "OutboxDemo.Books",
    "account": "123456789012",
    "time": "2026-11-24T09:00:00Z",
    "region": "eu-west-1",
    "resources": [],
}


def bus_event() -> dict[str, Any]:
    """Return an event as a rule delivers it."""
    event = outbox_event(1)
    metadata = {
        "id": event.id,
        "type": event.type,
        "version": 1,
        "time": "2026-11-24T09:00:01.123456Z",
        "aggregateType": "Book",
        "aggregateId": event.aggregate_id,
    }
    return {**BUS_EVENT, "detail": {"metadata": metadata, "data": event.data}}


UPDATE: dict[str, Any] = {
    "TableName": "presentation",
    "Key": {"name": {"S": "Team Topologies"}},
    "UpdateExpression": "SET #y = :y",
    "ExpressionAttributeNames": {"#y": "year"},
    "ExpressionAttributeValues": {":y": {"N": "2019"}},
}
"""The effect of the consumers."""


def inbox_of(client: Any) -> Handler:
    @Inbox(IdempotencyStore(TABLE, client=client)).handler(consumer="catalogue")
    def handler(event: Event, tx: InboxTransaction) -> None:
        tx.update("presentation", {"name": "Team Topologies"}, set={"year": event.data["year"]})

    return handler


def powertools_of(client: Any) -> Handler:
    store = DynamoDBPersistenceLayer(TABLE, key_attr="pk", boto3_client=client)
    config = IdempotencyConfig(event_key_jmespath="detail.metadata.id", use_local_cache=False)

    def handler(event: Any, context: Any) -> Any:  # noqa: ARG001  # a Lambda handler
        client.update_item(**UPDATE)
        return {"ok": True}

    decorate: Any = powertools_idempotent(persistence_store=store, config=config)
    decorated: Handler = decorate(handler)
    return decorated


def idempotent_of(client: Any, writer: Any) -> Handler:
    @idempotent(IdempotencyStore(TABLE, client=client), scope="catalogue")
    def handler(event: Any, context: Any) -> Any:  # noqa: ARG001  # a Lambda handler
        writer.update_item(**UPDATE)
        return {"ok": True}

    return handler


def stored(make: Callable[[Any], Handler]) -> dict[str, Any]:
    """Return the dedup record that a handler leaves."""
    fake = FakeDynamoDB(clock=Clock())
    for table, key in ((TABLE, "pk"), ("presentation", "name")):
        fake.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    make(fake)(bus_event(), CONTEXT)
    (item,) = fake.scan(TableName=TABLE)["Items"]
    return dict(item)


def consumer_rows(server: CannedServer) -> list[Benchmark]:
    """Return the rows of inbox and decorator: first call and duplicate."""
    theirs = boto3.client("dynamodb")
    peer, inbox = powertools_of(theirs), inbox_of(None)
    decorated, same = idempotent_of(None, theirs), idempotent_of(theirs, theirs)
    records = {
        "ours": stored(lambda fake: idempotent_of(fake, fake)),
        "peer": stored(powertools_of),
        "inbox": stored(inbox_of),
    }

    def first() -> None:
        server.answer("UpdateItem", {"Attributes": {"fence": {"N": "1"}}})
        server.answer("PutItem", {})
        server.answer("TransactWriteItems", {})

    def duplicate() -> None:
        refusal = {"__type": "ConditionalCheckFailedException"}
        server.answer("UpdateItem", {**refusal, "Item": records["ours"]}, 400)
        server.answer("PutItem", {**refusal, "Item": records["peer"]}, 400)
        reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": records["inbox"]}]
        canceled = {"__type": "TransactionCanceledException", "CancellationReasons": reasons}
        server.answer("TransactWriteItems", canceled, 400)

    payload, clients = bus_event(), [shared_client("dynamodb"), theirs]
    out = []
    for what, scene, calls in (("first call", first, (1, 3, 3)), ("duplicate", duplicate, (1, 1, 1))):
        of_inbox, of_peer, of_ours = calls
        for name, against, target, ours, trips, lacks in (
            ("inbox", "Powertools and a write", 2.0, inbox, (of_inbox, of_peer), "effect and record together"),
            ("idempotent", "Powertools", 1.1, decorated, (of_ours, of_peer), "fenced completion"),
            ("idempotent", "Powertools, same client", 1.0, same, (of_ours, of_peer), "fenced completion"),
        ):
            label = f"{name}, {what}, CPU"
            row = _row(
                label, against, target, ours, peer, payload, server, trips, scene=scene, clients=clients, lacks=lacks
            )
            out.append(row)
    return out


def rows() -> list[Benchmark]:
    """Return the rows; they share a server, which ends with the process."""
    server = server_of_process()
    return [*stream_rows(server), *custom_bus_rows(server), *consumer_rows(server)]
