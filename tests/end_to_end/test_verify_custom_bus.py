"""The probes of `make verify-aws` for the Custom Event Bus, against the kit's bus and queues in memory."""

from __future__ import annotations

import json
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from verify_aws import handlers
from verify_aws.custom_bus import BUS_FACTS, start_bus, why_no_bus
from verify_aws.custom_bus_stack import bus_template
from verify_aws.probes import Row, Site
from verify_aws.stack import stack_template

from dynamo_outbox.testing import CustomBusServer, FakeClock, FakeCustomBus, MessageTarget, Subscriber, queue_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def subscriber(name: str, properties: Mapping[str, Any], target: Callable[[Any], object] | MessageTarget) -> Subscriber:
    """Return a template's subscriber."""
    (only,) = properties["FilterConfiguration"]["Filters"]
    return Subscriber(
        target,
        fifo=properties.get("Type") == "FIFO",
        transformer=properties.get("Transformer", {"Type": "RAW"})["Type"],
        max_batch=properties.get("BatchConfiguration", {"MaxBatchSize": 10})["MaxBatchSize"],
        retries=properties.get("RetryPolicy", {"MaxRetryAttempts": 5})["MaxRetryAttempts"],
        pattern=json.loads(only["Pattern"]),
        name=name,
    )


class Queues:
    """SQS in memory: a receiver gets what the bus has delivered by then."""

    def __init__(self, bus: FakeCustomBus) -> None:
        self.bus = bus
        self.sent: dict[str, list[dict[str, Any]]] = {}
        self.number = 0

    def send_message(self, **message: Any) -> None:
        attributes = {name: str(value) for name, value in message.items() if name.endswith("Id")}
        body, queue = message["MessageBody"], self.sent.setdefault(message["QueueUrl"], [])
        self.number += 1
        attributes["SentTimestamp"] = str(self.number)
        queue.append({"Body": body, "ReceiptHandle": self.number, "Attributes": attributes})

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self.bus.deliver()
        for each in self.bus.subscribers:
            while each.dead_letters:
                self.undelivered(each.dead_letters.pop(0))
        return {"Messages": self.sent.get(request["QueueUrl"], [])[:10]}

    def undelivered(self, letter: Mapping[str, Any]) -> None:
        body = json.dumps(letter)
        ids = {"MessageGroupId": letter["failedMessages"][0]["eventGroupId"]}
        ids["MessageDeduplicationId"] = sha256(body.encode()).hexdigest()
        self.send_message(QueueUrl="Undelivered.fifo", MessageBody=body, **ids)

    def delete_message(self, **request: Any) -> None:
        queue = self.sent[request["QueueUrl"]]
        queue[:] = [each for each in queue if each["ReceiptHandle"] != request["ReceiptHandle"]]


class Bus(FakeCustomBus):
    """The kit's bus, which also describes its subscribers, and goes by the id if a call is CONTENT_BASED."""

    def put_events(self, **request: Any) -> dict[str, Any]:
        request.pop("DeduplicationConfiguration", None)
        return super().put_events(**request)

    def describe_subscriber(self, **_: str) -> dict[str, Any]:
        return {"Type": "UNORDERED", "State": "RUNNING", "BatchConfiguration": {"MaxBatchSize": 10}}


class Metrics:
    """CloudWatch with metrics of two buses."""

    def __init__(self, *buses: str) -> None:
        self.buses = buses

    def get_paginator(self, _: str) -> Metrics:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        subscriber = {"Name": "Subscriber", "Value": "arn:aws:events:eu-west-1:1:subscriber/a/b"}
        sets = [[{"Name": "EventBus", "Value": each}] for each in self.buses]
        return [{"Metrics": [{"Dimensions": each} for each in [*sets, [subscriber, *sets[0]]]]}]


def whole(answer: dict[str, Any], payload: list[Any]) -> list[Any]:
    """Deliver the whole array again."""
    return payload if answer["batchItemFailures"] else []


def reported_only(answer: dict[str, Any], payload: list[Any]) -> list[Any]:
    """Deliver the reported events again, and all if an identifier is unknown."""
    failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
    return [each for each in payload if each["SystemMetadata"]["aws:EventId"] in failed] or (payload if failed else [])


def ignored(_answer: dict[str, Any], _payload: list[Any]) -> list[Any]:
    """Take every answer as success."""
    return []


class Deployed:
    """The second stack.

    Args:
        bus: The bus.
        again: What of an array is delivered again after a response.

    Attributes:
        site: What the probes get.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        bus: FakeCustomBus | None = None,
        again: Callable[[dict[str, Any], list[Any]], list[Any]] = whole,
    ) -> None:
        self.bus = bus = bus or Bus(clock=FakeClock(), name="verify-bus")
        self.queues = queues = Queues(bus)
        monkeypatch.setenv("CALLS_QUEUE", "Calls.fifo")
        monkeypatch.setattr("boto3.client", lambda _: queues)
        requests = iter(range(1000))

        def call(payload: Any) -> None:
            answer = handlers.records(payload, SimpleNamespace(aws_request_id=f"request-{next(requests)}"))
            if isinstance(payload, list) and (left := again(answer, payload)):
                handlers.records(left, SimpleNamespace(aws_request_id=f"request-{next(requests)}"))

        resources = bus_template()["Resources"]
        ids = {name: name + ".fifo" * ("FifoQueue" in each.get("Properties", {})) for name, each in resources.items()}
        for name, each in resources.items():
            if each["Type"] == "AWS::EventsV2::Subscriber":
                target = each["Properties"]["InvokeConfiguration"]["TargetArn"]["Fn::GetAtt"][0]
                to = call if target == "Records" else queue_target(queues, ids[target])
                bus.subscribers.append(subscriber(name, each["Properties"], to))
        self.clients: dict[str, Any] = {"eventbridgev2": bus, "sqs": queues, "cloudwatch": Metrics(bus.arn, "another")}
        ids["CustomBus"] = bus.arn
        self.site = Site(self.clients.__getitem__, "verify", ids, 0, alarms=False, is_local=False)

    def rows(self) -> dict[str, Row]:
        """Run the probes; return the rows by their questions."""
        start_bus(self.site)
        return {row.question: row for row in (fact.row(self.site) for fact in BUS_FACTS)}


def row(rows: Mapping[str, Row], part: str) -> Row:
    """Return the row whose question has a text."""
    (found,) = [each for question, each in rows.items() if part in question]
    return found


REFUSED = "the whole call is refused, InvalidInputException: 1 validation error detected: Value at 'entries"
OF_THE_WIRE = {
    "a deduplicated entry": "DEDUPLICATED: EventId of the first, SequenceNumber of the first",
    "CONTENT_BASED": "first: PUBLISHED; another id, the same content: PUBLISHED; the same id, other content: D",
    "begins with aws.": "the entry: VALIDATION_ERROR: Source must not begin with aws.; the one before it: PUBLISHED",
    "a detail that is a list": "the entry: VALIDATION_ERROR: Detail is not a JSON object.; the one before it: P",
    "a source of 257": f"{REFUSED}.2.member.source'",
    "a group of 129": f"{REFUSED}.2.member.systemMetadata.eventGroupId'",
    "101 entries": f"{REFUSED}' failed to satisfy constraint: Member must have length less than or equal to 100",
    "FailedEntryCount": "0",
    "128 characters": "as code points",
    "the megabyte": "1048026 bytes of details: of 1 MB, each of 10 entries has 55 bytes beside its detail; by",
}
OF_DELIVERY = {
    "an aggregate's events": "21 of 21 arrived, equal and in order; published twice: PUBLISHED, DEDUPLICATED; 0 a",
    "entries of one group": "5 of 5 calls were delivered in their order; sequence numbers rise in 5",
    "Which id has the envelope": "is aws:EventId; is the response's EventId",
    "Which precision": "0 digits of a second; 6 were sent",
    "WITH_METADATA": "Metadata {}; SystemMetadata ContentType, DeduplicationId, EventGroupId, aws:DeliveryType, ",
    "the defaults": '{"Type": "UNORDERED", "State": "RUNNING", "StartingPosition": "absent", "BatchConfiguration": {"M',
    "without a batch size": "an array of 1",
    "runtime's botocore": "botocore 1.",
    "the aws:EventId of event 1": "delivered again: event 1, event 2",
    "an unknown identifier": "delivered again: event 1, event 2",
    "has become a dead letter": "deliveries of events 1, 1, 1, 2, 3: it goes on, in order",
    "other groups": "not held back: another group's event was delivered after 1 of 3 attempts",
    "between retries": "0.0 s, 0.0 s between 3 attempts",
    "a dead letter of a subscriber": "members busArn, errorCode, errorMessage, exhaustedRetryCondition, failedMess",
    "a dead letter in a FIFO queue": "made by SQS from the content; the message group is the event's",
    "an event without a group": "a dead letter with CUSTOMER_VALIDATION",
    "Which dimensions": "EventBus = ARN; EventBus = ARN + Subscriber = ARN",
}


def test_each_fact_is_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe runs against the stack's subscribers and sees what the kit's bus does, which is as assumed."""
    rows = Deployed(monkeypatch).rows()
    expected = OF_THE_WIRE | OF_DELIVERY
    assert len(rows) == len(expected) == len(BUS_FACTS)
    found = {part: row(rows, part) for part in expected}
    assert [each for part, each in found.items() if not each.observed.startswith(expected[part])] == []
    assert [each for each in rows.values() if not each.holds] == []


def test_requests_are_observed_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real client's responses and errors give the same rows."""
    site = Deployed(monkeypatch)
    site.bus.subscribers.clear()
    with CustomBusServer(site.bus) as server:
        site.clients["eventbridgev2"] = server.client()
        rows = site.rows()
    found = {part: row(rows, part) for part in OF_THE_WIRE}
    assert [each for part, each in found.items() if not each.observed.startswith(OF_THE_WIRE[part])] == []


@pytest.mark.parametrize(
    ("again", "known", "unknown"),
    [(reported_only, "event 1", "event 1, event 2"), (ignored, "none in time", "none in time")],
)
def test_what_is_delivered_again(
    monkeypatch: pytest.MonkeyPatch, again: Callable[..., list[Any]], known: str, unknown: str
) -> None:
    """The rows say which events of an array came again."""
    rows = Deployed(monkeypatch, again=again).rows()
    assert row(rows, "the aws:EventId of event 1").observed == f"delivered again: {known}"
    assert row(rows, "an unknown identifier").observed == f"delivered again: {unknown}"


class Forgetful(Bus):
    """A bus that does not deduplicate."""

    def put_events(self, **request: Any) -> dict[str, Any]:
        self._seen.clear()
        return super().put_events(**request)


class Small(Bus):
    """A bus that takes less in a call."""

    def put_events(self, **request: Any) -> dict[str, Any]:
        if sum(len(each["Detail"]) for each in request["Entries"]) > 1_000_000:
            raise self.error("put_events", "InvalidInputException", "too large")
        return super().put_events(**request)


class Vague(Bus):
    """A bus that refuses calls with an undocumented code."""

    def put_events(self, **request: Any) -> dict[str, Any]:
        if len(request["Entries"]) > 100:
            raise self.error("put_events", "SomethingException", "no")
        return super().put_events(**request)


class Strict(Bus):
    """A bus that refuses the library's events."""

    def put_events(self, **request: Any) -> dict[str, Any]:
        for each in request["Entries"]:
            if "Time" in each:
                self.fail_next_entry("VALIDATION_ERROR", "no time")
        return super().put_events(**request)


class Idle(Bus):
    """A bus whose subscribers are stopped at first."""

    def describe_subscriber(self, **_: str) -> dict[str, Any]:
        return {"State": "STOPPED"}


class Terse(Bus):
    """A bus whose responses have only what is documented as always present."""

    def put_events(self, **request: Any) -> dict[str, Any]:
        answer = super().put_events(**request)
        del answer["FailedEntryCount"]
        return answer


@pytest.mark.parametrize(
    ("bus", "part", "observed", "holds"),
    [
        (
            Forgetful,
            "an aggregate's events",
            "41 of 21 arrived, equal and in order; published twice: PUBLISHED; 20",
            False,
        ),
        (Forgetful, "a deduplicated entry", "PUBLISHED: EventId of its own, SequenceNumber of its own", False),
        (Small, "the megabyte", "1045722 bytes of details are refused, which the library sends", False),
        (Vague, "101 entries", "the whole call is refused, SomethingException: no", False),
        (Strict, "an aggregate's events", "Copied-1 was not published, VALIDATION_ERROR: no time", False),
        (Strict, "Which id has the envelope", "not observed: nothing arrived in time", True),
        (Strict, "a dead letter of a subscriber", "not observed: it was not published", True),
        (Terse, "FailedEntryCount", "absent", True),
        (Idle, "the defaults", '{"Type": "absent", "State": "STOPPED", ', False),
    ],
)
def test_a_contradiction_is_a_row(
    monkeypatch: pytest.MonkeyPatch, bus: type[Bus], part: str, observed: str, *, holds: bool
) -> None:
    """A contradiction is marked; a fact that the run can't settle is not."""
    found = row(Deployed(monkeypatch, bus(clock=FakeClock())).rows(), part)
    assert (found.observed.startswith(observed), found.holds) == (True, holds), found


def fourth_last(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the one of another group at the end."""
    return sorted(messages, key=lambda each: '"Failing-4"' in each["Body"])


@pytest.mark.parametrize(
    ("queue", "change", "part", "observed", "holds"),
    [
        (
            "Copies.fifo",
            lambda found: found[::-1],
            "an aggregate's events",
            "21 of 21 arrived, changed or in an",
            False,
        ),
        (
            "Copies.fifo",
            lambda found: found[:5],
            "an aggregate's events",
            "5 of 21 arrived, changed or in another",
            False,
        ),
        (
            "Calls.fifo",
            lambda found: found[::-1],
            "has become a dead letter",
            "deliveries of events 3, 2, 1, 1, 1: n",
            False,
        ),
        ("Calls.fifo", fourth_last, "other groups", "held back: another group's event was delivered after 3", True),
        ("Calls.fifo", lambda found: found[:0], "an unknown identifier", "not observed: nothing arrived in time", True),
        (
            "Undelivered.fifo",
            lambda found: [{**each, "Body": each["Body"].replace("#Failing-1", "")} for each in found],
            "a dead letter of a subscriber",
            "members busArn",
            False,
        ),
    ],
)
def test_a_delivery_that_contradicts(
    monkeypatch: pytest.MonkeyPatch,
    queue: str,
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    part: str,
    observed: str,
    *,
    holds: bool,
) -> None:
    """Events out of order or missing, and dead letters that don't name the event, contradict the library."""
    deployed = Deployed(monkeypatch)
    start_bus(deployed.site)
    deployed.queues.receive_message(QueueUrl=queue)
    deployed.queues.sent[queue] = change(deployed.queues.sent[queue])
    (fact,) = [each for each in BUS_FACTS if part in each.question]
    found = fact.row(deployed.site)
    assert (found.observed.startswith(observed), found.holds) == (True, holds), found


def test_an_event_without_a_group_may_be_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the FIFO queue gets an event without a group, the row has its message group."""
    deployed = Deployed(monkeypatch)
    start_bus(deployed.site)
    body = json.dumps({"SystemMetadata": {}, "id": deployed.site.sent["ungrouped"]})
    deployed.queues.send_message(QueueUrl="Copies.fifo", MessageBody=body, MessageGroupId="some")
    (fact,) = [each for each in BUS_FACTS if "without a group" in each.question]
    assert fact.row(deployed.site).observed == "delivered, in message group some"


class Closed(Bus):
    """A bus that denies every call."""

    def put_events(self, **_: Any) -> dict[str, Any]:
        raise self.error("put_events", "AccessDeniedException", "no")


@pytest.mark.parametrize("reason", ["the engine has no Custom Event Bus", "An error occurred (AccessDeniedException)"])
def test_a_run_without_the_bus(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    """Without a bus, or if it denies the calls, each row has the reason."""
    deployed = Deployed(monkeypatch, Closed(clock=FakeClock()))
    deployed.site.no_bus = reason if "engine" in reason else ""
    rows = deployed.rows().values()
    assert {each.holds for each in rows} == {True}
    assert [each for each in rows if not each.observed.startswith(f"not observed: {reason}")] == []


@pytest.mark.parametrize(
    ("region", "is_local", "reason"),
    [
        ("eu-west-1", True, "the engine has no Custom Event Bus"),
        ("eu-west-2", False, "the Region eu-west-2 has no Custom Event Bus"),
        ("eu-west-1", False, ""),
    ],
)
def test_regions_without_the_bus(region: str, reason: str, *, is_local: bool) -> None:
    """The bus is left out where botocore does not know it, and on a local engine."""
    client = SimpleNamespace(meta=SimpleNamespace(region_name=region))
    assert why_no_bus(lambda _: client, is_local=is_local) == reason


def test_cloudformation_accepts_the_template() -> None:
    """cfn-lint reports nothing; the logical ids are not the first stack's; subscribers are created one by one."""
    from cfnlint.api import lint  # not among the packages of the wheel's tests

    template = bus_template()
    assert [str(each) for each in lint(json.dumps(template))] == []
    assert not template["Resources"].keys() & stack_template()["Resources"].keys()
    subscribers = [(name, each) for name, each in template["Resources"].items() if "Subscriber" in name]
    assert [each.get("DependsOn") for _, each in subscribers] == [None, *(name for name, _ in subscribers[:-1])]
