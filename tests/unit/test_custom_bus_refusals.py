"""Refused calls and entries of a Custom Event Bus: what is tried again, and which event or caller is at fault."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from dynamo_outbox import Event, EventBridgePublisher
from dynamo_outbox.aws import clients
from dynamo_outbox.testing import FakeClock, FakeCustomBus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamo_outbox import PublishResult


def event(number: int, *, secret: bool = False, aggregate: str = "Emma") -> Event:
    kind = "Secret" if secret else "BookAdded"
    return Event(kind, {"n": number}, id=f"e{number}", source="Books", aggregate_type="Book", aggregate_id=aggregate)


class Denying(FakeCustomBus):
    """A bus that denies each call with a secret entry, as AWS evaluates its policy."""

    def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
        if any(entry["DetailType"] == "Secret" for entry in request["Entries"]):
            raise self.error("put_events", "AccessDeniedException")
        return super()._put_events(request)


def published(sent: Sequence[Event], *, in_order: bool = False) -> tuple[PublishResult, Denying]:
    clock = FakeClock(random=0.0)
    bus = Denying(clock=clock)
    publisher = EventBridgePublisher(bus.arn, client=bus, clock=clock)
    return publisher.publish(sent, in_order=in_order, on_failure="return"), bus


@pytest.mark.parametrize("in_order", [False, True])
def test_an_entry_that_is_denied_in_a_call_of_its_own_stops_no_other_aggregate(*, in_order: bool) -> None:
    """An event that leaves no room in its call for another one is the first that is denied."""
    large = event(0, secret=True).replace(data={"n": 0, "text": "x" * 1_040_000})
    result, bus = published(
        [large, event(1), event(2, aggregate="Dune").replace(data={"n": 2, "text": "x" * 9_000})], in_order=in_order
    )
    assert len(bus.calls[0][1]["Entries"]) == 1
    refused = [(each.event.id, each.code) for each in result.failed if each.event_refused]
    assert refused == [("e0", "AccessDeniedException")]
    assert [each.event.id for each in result.published] == (["e2"] if in_order else ["e1", "e2"])
    assert [each.code for each in result.failed[1:]] == (["HeldBack"] if in_order else [])


def test_a_caller_without_permission_makes_a_limited_number_of_calls() -> None:
    """Events of one aggregate have calls of their own, and after a hundred denied ones the caller is at fault."""
    result, bus = published([event(number, secret=True) for number in range(300)])
    assert len(bus.calls) == 100
    assert Counter(each.code for each in result.failed) == {"AccessDeniedException": 100, "NotAttempted": 200}
    assert not any(each.event_refused for each in result.failed)


def test_a_throttled_group_gets_the_second_that_its_quota_needs() -> None:
    """With default options, an entry over its group's quota is sent until the next second, when there is room."""
    clock = FakeClock(random=0.5)
    bus = FakeCustomBus(clock=clock, group_quota=4)
    result = EventBridgePublisher(bus.arn, client=bus, clock=clock).publish([event(number) for number in range(4)])
    assert len(result.published) == 4


def test_a_success_code_that_the_library_does_not_know_is_reported() -> None:
    """A code that AWS may add confirms nothing; the failure names it."""

    class Renamed(FakeCustomBus):
        def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"Entries": [{"EventId": "x", "SuccessCode": "STORED"} for _ in request["Entries"]]}

    clock = FakeClock(random=0.0)
    bus = Renamed(clock=clock)
    result = EventBridgePublisher(bus.arn, client=bus, clock=clock).publish([event(0)], on_failure="return")
    assert [(each.code, each.message) for each in result.failed] == [
        ("Unknown", "its SuccessCode is 'STORED', which confirms nothing")
    ]


GOOD = f"arn:aws:events:eu-west-1:123456789012:event-busv2/books/{'a' * 25}"


@pytest.mark.parametrize(
    "bus",
    [
        "arn:aws:events:eu-west-1:123456789012:event-busv2/books",
        f"{GOOD}\n",
        f" {GOOD}",
        f"x{GOOD}",
        "books:event-busv2/books",
        GOOD.replace("123456789012", "1234"),
        GOOD.replace("event-busv2/", "event-bus-v2/"),
        GOOD.replace("event-busv2/", "event-busv2:"),
        "arn:aws:events:eu-west-1:123456789012:event-bus/books\n",
        "arn:aws:events:eu-west-1:123456789012:rule/books",
        "my books",
    ],
)
def test_what_is_neither_a_name_nor_an_arn_of_a_bus_is_refused(bus: str) -> None:
    """A mistyped bus is an error at the start: AWS would refuse each call, as if each event was at fault."""
    with pytest.raises(ValueError, match=r"is neither .* nor|is not the ARN of a Custom Event Bus"):
        EventBridgePublisher(bus, client=FakeCustomBus(clock=FakeClock()))


def test_a_client_in_another_region_is_refused() -> None:
    """A bus is in its ARN's Region only: what another Region's endpoint makes of the ARN is not documented."""
    client = boto3.client("eventbridgev2", region_name="us-east-1")
    with pytest.raises(ValueError, match="calls us-east-1; give one with region_name='eu-west-1'"):
        EventBridgePublisher(GOOD, client=client)
    EventBridgePublisher(GOOD, client=boto3.client("eventbridgev2", region_name="eu-west-1"))


def test_the_librarys_own_client_is_in_the_buss_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ARN chooses the endpoint, whatever the function's Region."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (("DEFAULT_REGION", "us-east-1"), ("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(f"AWS_{name}", value)
    urls: list[str] = []

    def send(request: Any, **_: Any) -> None:
        urls.append(request.url)
        raise EndpointConnectionError(endpoint_url=request.url)

    clients.forget_shared_clients()
    try:
        for bus, service in ((GOOD, ("eventbridgev2", "eu-west-1")), ("books", ("events",))):
            clients.shared_client(*service).meta.events.register("before-send.*.PutEvents", send)
            EventBridgePublisher(bus, clock=FakeClock()).publish([event(0)], on_failure="return")
    finally:
        clients.forget_shared_clients()
    assert {re.sub(r".*(events\w*\.[a-z0-9-]+)\.amazonaws.*", r"\1", url) for url in urls} == {
        "eventsv2.eu-west-1",
        "events.us-east-1",
    }


@pytest.mark.parametrize(
    "bus",
    [
        GOOD,
        GOOD.replace("arn:aws:", "arn:aws-cn:").replace("eu-west-1", "cn-north-1"),
        GOOD.replace("arn:aws:", "arn:aws-us-gov:").replace("eu-west-1", "us-gov-west-1"),
        GOOD.replace("books", "0.B-o_k"),
        "arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/my.books-1/x",
        "default",
        "aws.partner/example.com/books",
    ],
)
def test_names_and_arns_of_every_partition_are_taken(bus: str) -> None:
    """Other partitions, partner buses and all characters that AWS allows."""
    assert EventBridgePublisher(bus, client=FakeCustomBus(clock=FakeClock())).bus == bus
