"""Targets of the kit's Custom Event Bus on MiniStack: SQS queues and a Lambda function.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-target-sqs.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-target-lambda.html
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from threading import Timer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    batch_handler,
    parse_event,
)
from dynamo_outbox.publishing.custom_bus import event_group
from dynamo_outbox.testing import CustomBusServer, FakeClock, FakeCustomBus, lambda_target, queue_target
from dynamo_outbox.testing.clients import loopback_client
from dynamo_outbox.testing.serve_custom_bus import main

from ..doubles import fake_dynamodb

if TYPE_CHECKING:
    from dynamo_outbox.testing import MiniStack

pytestmark = pytest.mark.engine

FUNCTION = """
def handler(event, context):
    events = event if isinstance(event, list) else [event]
    if any(each["detail"].get("fails") for each in events):
        raise RuntimeError("no such shelf")
    return event
"""


@pytest.fixture
def bus() -> FakeCustomBus:
    return FakeCustomBus(clock=FakeClock())


def publish(bus: FakeCustomBus, count: int) -> list[Event]:
    """Publish events of three aggregates and return them."""
    sent = [
        Event("Told", {"n": n}, source="Books", aggregate_type="Book", aggregate_id=f"{n % 3}", sequence=n // 3)
        for n in range(count)
    ]
    EventBridgePublisher(bus.arn, client=bus, clock=FakeClock()).publish(sent, in_order=True)
    return sent


def put(bus: FakeCustomBus, *details: dict[str, Any], group: str | None = "g") -> None:
    """Publish entries that no publisher of this library would send."""
    ids = {} if group is None else {"SystemMetadata": {"EventGroupId": group}}
    entries = [{"Source": "Books", "DetailType": "Told", "Detail": json.dumps(each), **ids} for each in details]
    bus.put_events(EventBusArn=bus.arn, Entries=entries)


class Queue:
    """A queue of its own for a test."""

    def __init__(self, engine: MiniStack, *, fifo: bool) -> None:
        self.client = engine.client("sqs")
        name, attributes = (f"{uuid4().hex}.fifo", {"FifoQueue": "true"}) if fifo else (uuid4().hex, {})
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def drain(self) -> list[dict[str, Any]]:
        """Return all messages as Lambda gets them."""
        found: list[dict[str, Any]] = []
        while messages := self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        ).get("Messages"):
            for each in messages:
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
                found.append({"messageId": each["MessageId"], "body": each["Body"], "attributes": each["Attributes"]})
        return found


class LosesFirstResponse:
    """A client of SQS whose first message arrives, but not the response."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.sent = 0

    def send_message(self, **request: Any) -> Any:
        response = self.client.send_message(**request)
        self.sent += 1
        if self.sent == 1:
            raise ConnectionError
        return response


@pytest.mark.parametrize("transformer", ["RAW", "WITH_METADATA"])
def test_a_fifo_queue_keeps_each_group_in_order(ministack: MiniStack, bus: FakeCustomBus, transformer: str) -> None:
    """A message has the event's group and ``aws:EventId``, so a repeated delivery is one message; an inbox applies it.

    The queue's parameters read the metadata with either transformer.
    """
    queue = Queue(ministack, fifo=True)
    client = LosesFirstResponse(queue.client)
    subscriber = bus.subscribe(queue_target(client, queue.url), transformer=transformer, max_batch=10)
    sent = publish(bus, 12)
    bus.deliver()
    records = queue.drain()
    assert (client.sent, len(records), subscriber.dead_letters) == (13, 12, [])
    by_id = {each.event_id: each for each in bus.events}
    for record in records:
        event = by_id[record["attributes"]["MessageDeduplicationId"]]
        assert json.loads(record["body"]) == event.delivered(transformer)  # type: ignore[arg-type]  # parametrized
        assert record["attributes"]["MessageGroupId"] == event.group

    handled: list[Event] = []
    dynamodb = fake_dynamodb({"handled": ["pk"], "effects": ["pk"]})

    @Inbox(IdempotencyStore("handled", client=dynamodb)).handler(consumer="shelf")
    def handle(event: Event, tx: InboxTransaction) -> None:
        handled.append(event)
        tx.put("effects", {"pk": event.id}, must_not_exist=True)

    assert handle({"Records": records}, None) == {"batchItemFailures": []}
    for aggregate in range(3):
        assert [event for event in handled if event.aggregate_id == str(aggregate)] == sent[aggregate::3]
    assert {event_group(event.aggregate, event.id) for event in handled} == {each.group for each in bus.events}


def test_a_standard_queue_gets_each_event_as_a_message(ministack: MiniStack, bus: FakeCustomBus) -> None:
    """Also of a batch, each event is a message of its own, and a batch handler reads it."""
    queue = Queue(ministack, fifo=False)
    bus.subscribe(queue_target(queue.client, queue.url), fifo=False, max_batch=10)
    sent = publish(bus, 12)
    bus.deliver()
    seen: list[Event] = []
    handle = batch_handler(lambda event, _: seen.append(event))
    assert handle({"Records": queue.drain()}, None) == {"batchItemFailures": []}
    assert {event.id for event in seen} == {event.id for event in sent}
    assert len(seen) == 12


@pytest.mark.parametrize(
    ("group", "detail", "transformer", "problem"),
    [
        pytest.param(None, {}, "RAW", "EventGroupId None can't be a MessageGroupId", id="no group"),
        pytest.param("A Room", {}, "RAW", "EventGroupId 'A Room' can't be a MessageGroupId", id="a space in the group"),
        pytest.param("g", {"x": "x" * 1_048_400}, "WITH_METADATA", "1048576 bytes", id="1 MB with metadata"),
    ],
)
def test_what_a_fifo_queue_refuses_is_a_failed_delivery(
    ministack: MiniStack, bus: FakeCustomBus, group: str | None, detail: dict[str, Any], transformer: str, problem: str
) -> None:
    """The queue checks a message at its delivery, not the bus before; the dead letter names the reason."""
    queue = Queue(ministack, fifo=True)
    subscriber = bus.subscribe(queue_target(queue.client, queue.url), transformer=transformer, retries=1)
    put(bus, detail, group=group)
    put(bus, {"n": 1})
    bus.deliver()
    (letter,) = subscriber.dead_letters
    assert (letter["errorCode"], letter["failedMessages"][0]["eventGroupId"]) == ("CUSTOMER_VALIDATION", group)
    assert problem in letter["errorMessage"]
    assert len(queue.drain()) == 1


class Function:
    """A deployed function; keeps what it returned."""

    def __init__(self, engine: MiniStack) -> None:
        self.client = engine.client("lambda")
        self.name = uuid4().hex
        self.returned: list[Any] = []
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as content:
            content.writestr("app.py", FUNCTION)
        role = engine.client("iam").create_role(RoleName=self.name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self.client.create_function(
            FunctionName=self.name,
            Runtime="python3.11",
            Handler="app.handler",
            Role=role,
            Code={"ZipFile": archive.getvalue()},
        )

    def invoke(self, **request: Any) -> Any:
        response = self.client.invoke(**request)
        body = response["Payload"].read()
        self.returned.append(json.loads(body))
        return {**response, "Payload": io.BytesIO(body)}


@pytest.fixture(scope="module")
def deployed(ministack: MiniStack) -> Function:
    return Function(ministack)


@pytest.fixture
def function(deployed: Function) -> Function:
    deployed.returned.clear()
    return deployed


@pytest.mark.parametrize("size", [1, 2])
def test_a_function_gets_an_object_or_an_array(function: Function, bus: FakeCustomBus, size: int) -> None:
    """The payload is one event, or with a larger batch an array, even of one; each is an event as it was published."""
    bus.subscribe(lambda_target(function, function.name), max_batch=size)
    sent = publish(bus, 3)
    bus.deliver()
    assert [len(got) if isinstance(got, list) else "object" for got in function.returned] == (
        ["object"] * 3 if size == 1 else [2, 1]
    )
    events = [each for got in function.returned for each in (got if isinstance(got, list) else [got])]
    assert [parse_event(each) for each in events] == sent


def test_a_functions_error_is_retried_and_becomes_a_dead_letter(function: Function, bus: FakeCustomBus) -> None:
    """A function error is a failed delivery; after its retries the group goes on."""
    subscriber = bus.subscribe(lambda_target(function, function.name), retries=2)
    put(bus, {"n": 0}, {"n": 1, "fails": True}, {"n": 2})
    bus.deliver()
    assert [got.get("detail", {}).get("n") for got in function.returned] == [0, None, None, None, 2]
    (letter,) = subscriber.dead_letters
    assert (letter["errorCode"], letter["retryAttempts"]) == ("COMPUTE_EXECUTION_ERROR", 2)
    assert "no such shelf" in letter["errorMessage"]
    assert [each["eventId"] for each in letter["failedMessages"]] == [bus.events[1].event_id]


def test_the_command_serves_a_bus_with_its_targets(ministack: MiniStack) -> None:
    """It prints where the bus is, delivers what a real client publishes, prints dead letters, and ends with Ctrl-C."""
    queue, nowhere = Queue(ministack, fifo=True), f"{ministack.endpoint_url}/000000000000/no-such-queue"
    options = ["--engine", ministack.endpoint_url, "--region", ministack.region, "--retries", "0"]
    targets = ["--fifo", queue.url, "--unordered", nowhere]
    command = [sys.executable, "-m", "dynamo_outbox.testing.serve_custom_bus", *options, *targets]
    path = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    with subprocess.Popen(  # noqa: S603  # this interpreter, and this library
        command, env=os.environ | path, stdout=subprocess.PIPE, text=True
    ) as process:
        guard = Timer(60, process.kill)  # if a line is missing, the test fails and does not hang
        guard.start()
        try:
            assert process.stdout is not None
            served = json.loads(process.stdout.readline())
            client = loopback_client("eventbridgev2", served["url"], region=ministack.region)
            event = Event("Told", {}, source="Books", aggregate_type="Book", aggregate_id="1")
            assert not EventBridgePublisher(served["EventBusArn"], client=client).publish([event]).failed
            letter = json.loads(process.stdout.readline())
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            guard.cancel()
            process.kill()
    assert [message["eventGroupId"] for message in letter["failedMessages"]] == ["Book#1"]
    assert [parse_event(json.loads(each["body"])) for each in queue.drain()] == [event]


@pytest.mark.parametrize("option", ["--fifo", "--unordered"])
def test_the_command_wants_the_engine_of_a_target(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """A target without its engine is an error of usage."""
    with pytest.raises(SystemExit, match="2"):
        main([option, "queue"])
    assert "a subscriber needs --engine" in capsys.readouterr().err


def test_the_command_says_that_a_port_is_taken(capsys: pytest.CaptureFixture[str], bus: FakeCustomBus) -> None:
    """A port in use is an error that names it."""
    with CustomBusServer(bus) as server:
        port = server.url.rpartition(":")[2]
        assert main(["--port", port]) == 1
    assert f"can't serve at port {port}: Address already in use" in capsys.readouterr().err
