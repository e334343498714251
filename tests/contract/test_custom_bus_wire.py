"""The wire protocol of the kit's Custom Event Bus, called by a real boto3 client: its rules are in the matrix."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event as Signal
from typing import TYPE_CHECKING, Any
from urllib.request import Request, build_opener

import botocore.serialize
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event, EventBridgePublisher
from dynamo_outbox.testing import (
    LOST_ANSWER,
    RESET_IN_ANSWER,
    TRUNCATED,
    CustomBusServer,
    FakeClock,
    FakeCustomBus,
    FaultProxy,
    error_page,
    error_response,
    partial_failure,
)
from dynamo_outbox.testing.cbor import CborError, dumps, loads
from dynamo_outbox.testing.clients import loopback_client
from dynamo_outbox.testing.fakes.client import service_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynamo_outbox.testing import Fault

ENTRY: dict[str, Any] = {
    "Source": "Books",
    "DetailType": "BookAdded",
    "Detail": '{"n": 1}',
    "Resources": ["arn:aws:s3:::covers"],
    "Time": datetime(2026, 11, 28, 12, 0, 0, 250_000, UTC),
    "SystemMetadata": {"EventGroupId": "Book#1", "DeduplicationId": "Books#1"},
}


CONTENT_BASED = {"DeduplicationType": "CONTENT_BASED"}


@pytest.fixture
def server() -> Iterator[CustomBusServer]:
    with CustomBusServer(FakeCustomBus(clock=FakeClock())) as running:
        yield running


@pytest.fixture
def client(server: CustomBusServer) -> Any:
    return server.client(retries={"total_max_attempts": 1})


def test_a_request_arrives_with_every_field_of_the_model(server: CustomBusServer, client: Any) -> None:
    """All members of botocore's request arrive as they were given, but content-based deduplication is refused."""
    client.put_events(EventBusArn=server.bus.arn, Entries=[ENTRY])
    ((_, request),) = server.bus.calls
    assert request == {"EventBusArn": server.bus.arn, "Entries": [ENTRY]}
    shape: Any = service_model("eventbridgev2").operation_model("PutEvents").input_shape
    assert set(shape.members) - set(request) == {"DeduplicationConfiguration"}
    content_based = {"EventBusArn": server.bus.arn, "Entries": [ENTRY], "DeduplicationConfiguration": CONTENT_BASED}
    with pytest.raises(ClientError, match=r"NotImplementedException.*does not support DeduplicationConfiguration"):
        client.put_events(**content_based)
    with pytest.raises(NotImplementedError):
        server.bus.put_events(**content_based)
    entry = shape.members["Entries"].member
    assert set(entry.members) == set(ENTRY)
    assert set(entry.members["SystemMetadata"].members) == set(ENTRY["SystemMetadata"])


def test_a_response_has_every_field_of_the_model(server: CustomBusServer, client: Any) -> None:
    """boto3 reads from the wire what the fake returns, and each member of the model appears."""
    server.bus.fail_next_entry("VALIDATION_ERROR", "no", detail_type="Bad")
    entries = [ENTRY, {**ENTRY, "DetailType": "Bad"}, ENTRY]
    answer = client.put_events(EventBusArn=server.bus.arn, Entries=entries)
    direct = FakeCustomBus(clock=FakeClock())
    direct.fail_next_entry("VALIDATION_ERROR", "no", detail_type="Bad")
    expected = direct.put_events(EventBusArn=direct.arn, Entries=entries)
    for each in (answer, expected):
        del each["ResponseMetadata"]
    assert answer == expected
    shape: Any = service_model("eventbridgev2").operation_model("PutEvents").output_shape
    assert set(answer) == set(shape.members)
    assert {name for result in answer["Entries"] for name in result} == set(shape.members["Entries"].member.members)


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.text()
        | st.binary()
        | st.floats(allow_nan=False),
        lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
        max_leaves=10,
    )
)
def test_the_codec_reads_what_it_writes(value: Any) -> None:
    """A value survives, and no prefix of its bytes is read."""
    data = dumps(value)
    assert loads(data) == value
    for end in range(len(data)):
        with pytest.raises(CborError):
            loads(data[:end])


@pytest.mark.parametrize("seconds", [253_402_300_800.0, -62_135_596_801, 1e300, float("nan"), float("inf")])
def test_the_codec_refuses_a_time_out_of_range(seconds: float) -> None:
    """Epoch seconds before year 1 or after year 9999 are an error of the codec."""
    with pytest.raises(CborError, match="not a time in the years 1 to 9999"):
        loads(b"\xc1" + dumps(seconds))


@given(seconds=st.integers(0, 2**32), text=st.text(max_size=50))
def test_the_codec_reads_botocores_requests(seconds: int, text: str) -> None:
    """A request that botocore serialises is read with all its values."""
    entry = {**ENTRY, "Detail": text, "Time": datetime.fromtimestamp(seconds, UTC)}
    serializer = botocore.serialize.create_serializer("smithy-rpc-v2-cbor")
    model = service_model("eventbridgev2").operation_model("PutEvents")
    request = serializer.serialize_to_request({"EventBusArn": "a", "Entries": [entry]}, model)
    assert loads(request["body"]) == {"EventBusArn": "a", "Entries": [entry]}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"Smithy-protocol": "rpc-v1"}, b"SerializationException"),
        ({"Content-type": "application/json"}, b"SerializationException"),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=A/20261128/eu-west-1/eventsv2/aws4_request, "}, b"Signature"),
        ({}, b"SerializationException"),
    ],
)
def test_a_request_of_another_protocol_is_refused(server: CustomBusServer, change: dict[str, str], code: bytes) -> None:
    """Protocol, content type, the signature's scope and the body are checked."""
    headers = {
        "smithy-protocol": "rpc-v2-cbor",
        "content-type": "application/cbor",
        "accept": "application/cbor",
        "authorization": "AWS4-HMAC-SHA256 Credential=A/20261128/eu-west-1/events/aws4_request, SignedHeaders=host",
    }
    merged = {name.capitalize(): value for name, value in headers.items()} | change
    request = Request(f"{server.url}/service/AWSEventsV2/operation/PutEvents", b"no CBOR", merged)  # noqa: S310
    opener = build_opener()
    with pytest.raises(OSError, match="400") as refused:
        opener.open(request)
    assert code in refused.value.read()  # type: ignore[attr-defined]  # an HTTPError


def test_the_server_delivers_by_itself(server: CustomBusServer, client: Any) -> None:
    """A published event reaches its subscriber without a call of `deliver`, even if another subscriber fails on."""
    arrived = Signal()
    server.bus.subscribe({}.__getitem__, retries=185)  # raises KeyError
    server.bus.subscribe(lambda _: arrived.set())
    client.put_events(EventBusArn=server.bus.arn, Entries=[ENTRY])
    assert arrived.wait(10)


@pytest.mark.parametrize(
    "fault", [LOST_ANSWER, RESET_IN_ANSWER, TRUNCATED], ids=["lost", "reset in the answer", "truncated"]
)
def test_a_lost_response_publishes_nothing_twice(server: CustomBusServer, fault: Fault) -> None:
    """The publisher sends again, and the bus recognises the duplicates."""
    with FaultProxy(server.url, script={"PutEvents": [fault]}, region="eu-west-1") as proxy:
        client = loopback_client(
            "eventbridgev2", proxy.endpoint_url, region="eu-west-1", retries={"total_max_attempts": 1}
        )
        sent = [Event("Told", {"n": n}, source="Books", aggregate_type="A", aggregate_id=str(n)) for n in range(5)]
        result = EventBridgePublisher(server.bus.arn, client=client, clock=FakeClock()).publish(sent)
    assert len(result.published) == 5
    assert [each.deduplicated for each in result.published] == [True] * 5
    assert len(server.bus.events) == 5


def test_the_proxys_failures_are_in_the_protocol_of_the_bus(server: CustomBusServer) -> None:
    """Scripted errors have their class, and entries that fail never reach the bus, as with a Classic bus."""
    faults = [error_response("ThrottlingException", status=429), partial_failure({1: "InternalException"})]
    with FaultProxy(server.url, script={"PutEvents": faults}, region="eu-west-1") as proxy:
        client = proxy.client("eventbridgev2", attempts=1)
        with pytest.raises(client.exceptions.ThrottlingException, match="scripted"):
            client.put_events(EventBusArn=server.bus.arn, Entries=[ENTRY])
        answer = client.put_events(EventBusArn=server.bus.arn, Entries=[{**ENTRY, "Source": name} for name in "abc"])
    assert [entry.get("ErrorCode", entry.get("SuccessCode")) for entry in answer["Entries"]] == [
        "PUBLISHED",
        "InternalException",
        "DEDUPLICATED",
    ]
    assert [event.entry["Source"] for event in server.bus.events] == ["a"]
    assert proxy.exchanges[0].request == {"EventBusArn": server.bus.arn, "Entries": [ENTRY]}


@pytest.mark.parametrize("body", ["<html/>", '{"__type": "Forbidden"}', ""], ids=["HTML", "JSON", "empty"])
@pytest.mark.parametrize("status", [200, 403, 429, 500, 503])
def test_a_response_that_is_not_cbor_is_a_lost_response(server: CustomBusServer, status: int, body: str) -> None:
    """A page of a proxy on the way, whatever its status, is never raised and never counts as published."""
    fault = error_page(status, body=body)
    with FaultProxy(server.url, script={"PutEvents": [fault] * 4}, region="eu-west-1") as proxy:
        client = loopback_client(
            "eventbridgev2", proxy.endpoint_url, region="eu-west-1", retries={"total_max_attempts": 1}
        )
        publisher = EventBridgePublisher(server.bus.arn, client=client, clock=FakeClock())
        result = publisher.publish([Event("Told", {}, source="Books")], on_failure="return")
    assert [each.retryable for each in result.failed] == [True]
    assert not server.bus.events


def test_a_closed_server_refuses_connections() -> None:
    """The server ends with its context."""
    with CustomBusServer(FakeCustomBus(clock=FakeClock())) as server:
        client = server.client(retries={"total_max_attempts": 1})
        client.describe_event_bus(EventBusArn=server.bus.arn)
    with pytest.raises(BotoCoreError):
        client.describe_event_bus(EventBusArn=server.bus.arn)
