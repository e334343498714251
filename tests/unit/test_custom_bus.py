"""Publishing to a Custom Event Bus: calls, ids, scopes of retries, and odd responses."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import botocore.serialize
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event, EventBridgePublisher, Retry
from dynamo_outbox.events.limits import MAX_INTEGER
from dynamo_outbox.publishing.custom_bus import MAX_REQUEST_BYTES, CustomBus, deduplication_id, event_group
from dynamo_outbox.testing import FakeClock, FakeCustomBus

from ..strategies import events as any_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynamo_outbox import PublishResult


def book(number: int, name: str | None = "Emma") -> Event:
    kind = None if name is None else "Book"
    return Event("BookAdded", {"n": number}, id=f"e{number}", source="Books", aggregate_type=kind, aggregate_id=name)


def publisher(bus: FakeCustomBus, clock: FakeClock, **options: Any) -> EventBridgePublisher:
    return EventBridgePublisher(bus.arn, client=bus, clock=clock, **options)


def numbers(result: PublishResult) -> tuple[list[Any], list[Any]]:
    return [each.event.data["n"] for each in result.published], [each.event.data["n"] for each in result.failed]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bus(clock: FakeClock) -> FakeCustomBus:
    return FakeCustomBus(clock=clock)


def test_the_arn_alone_chooses_the_bus(bus: FakeCustomBus, clock: FakeClock) -> None:
    """An entry has the event's group and deduplication id, and the request has the bus's ARN."""
    result = publisher(bus, clock).publish([book(1)])
    ((operation, request),) = bus.calls
    (entry,) = request["Entries"]
    assert (operation, request["EventBusArn"]) == ("put_events", bus.arn)
    assert entry.pop("Time") == result.published[0].event.time
    assert entry.pop("Detail")
    assert entry == {
        "Source": "Books",
        "DetailType": "BookAdded",
        "SystemMetadata": {"EventGroupId": "Book#Emma", "DeduplicationId": "Books#e1"},
    }
    assert result.published[0].sequence_number == "10000000000000001000"
    assert result.published[0].event_id == bus.events[0].event_id
    assert not result.published[0].deduplicated


@pytest.mark.parametrize(
    ("aggregate", "group"),
    [
        ("Book#Emma", "Book#Emma"),
        ("Book#" + "x" * 123, "Book#" + "x" * 123),
        ("Book#!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "Book#!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ("Book#" + "x" * 124, "sha256-5bee7c9790885b352ec1cb4065710cbe1416afd8bc16dc53d1f4503969b386d0"),
        ("Book#A Room", "sha256-523c1a81edc0a454a2300c6f49956ab8f0810a34120fd56fbafbdd4fd8125256"),
        ("Book#Ø", "sha256-e98d5151f26a0ee0a0225ecd9843daaf57a6e1d10e8927800664bfb1abd5a9ba"),
        ("Book#a\n", "sha256-38999875dfd2935dbdc914f2f273dbc37ac9c9659f932b22a3bd3a067f6d76e4"),
        ("Book#\x7f", "sha256-8413e2f60b86b5455359a47e7e2384f7e4a12e67cfbdce43a19d342108d708f2"),
        (None, "any-a"),
    ],
)
def test_a_group_is_the_aggregate_or_its_digest(aggregate: str | None, group: str) -> None:
    """A group never changes: these are the rule's test vectors."""
    assert event_group(aggregate, "e1") == group


@pytest.mark.parametrize(
    ("source", "event_id", "expected"),
    [
        ("Books", "e1", "Books#e1"),
        ("Books#", "%", "Books%23#%25"),
        ("A shop", "e1", "sha256-24f64d4dd4864e3f4e2d4ea7889228e08af8b00859270751c2a51988cecb91f2"),
    ],
)
def test_a_deduplication_id_is_made_of_source_and_id(source: str, event_id: str, expected: str) -> None:
    """A deduplication id never changes: these are the rule's test vectors."""
    assert deduplication_id(source, event_id) == expected


@given(texts=st.tuples(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1)))
def test_no_two_events_share_a_deduplication_id(texts: tuple[str, str, str, str]) -> None:
    """Two combinations of source and id give two ids, which every FIFO queue takes."""
    one, other = deduplication_id(*texts[:2]), deduplication_id(*texts[2:])
    assert (one == other) == (texts[:2] == texts[2:])
    assert 1 <= len(one) <= 128
    assert one.isascii()
    assert one.isprintable()
    assert " " not in one


def test_events_without_an_aggregate_share_sixteen_groups() -> None:
    """Such events are spread over a fixed number of groups, which no aggregate can share."""
    groups = {event_group(None, f"e{number}") for number in range(500)}
    assert groups == {f"any-{number:x}" for number in range(16)}


aggregates = st.lists(st.none() | st.sampled_from(["Emma", "Ulysses", "A Room", "Ø"]), max_size=40)


@given(names=aggregates, in_order=st.booleans(), refused=st.sets(st.integers(0, 39)))
def test_a_call_holds_one_event_of_an_aggregate(names: list[str | None], in_order: bool, refused: set[int]) -> None:
    """With and without order, no call has two events of an aggregate, each group is stored in order, and all count."""
    clock = FakeClock(random=0.0)
    bus = FakeCustomBus(clock=clock)
    sent = [book(number, name).replace(type=f"T{number}") for number, name in enumerate(names)]
    for number in refused:
        bus.fail_next_entry("SomethingPassing", detail_type=f"T{number}")
    result = publisher(bus, clock, concurrency=4).publish(sent, in_order=in_order)
    assert numbers(result) == (list(range(len(names))), [])
    for _, request in bus.calls:
        groups = [entry["SystemMetadata"]["EventGroupId"] for entry in request["Entries"]]
        counts = Counter(group for group in groups if not group.startswith("any-"))
        assert len(groups) <= 100
        assert all(count == 1 for count in counts.values())
    stored = [(event.group, int(event.entry["DetailType"][1:])) for event in bus.events]
    for group in {group for group, _ in stored if not str(group).startswith("any-")}:
        of_group = [number for each, number in stored if each == group]
        assert of_group == sorted(of_group)


def test_events_without_an_aggregate_fill_calls(bus: FakeCustomBus, clock: FakeClock) -> None:
    """A hundred entries of bucket groups go in one call."""
    publisher(bus, clock).publish([book(number, None) for number in range(101)])
    assert [len(request["Entries"]) for _, request in bus.calls] == [100, 1]


def test_input_that_is_sorted_by_aggregate_fills_calls(bus: FakeCustomBus, clock: FakeClock) -> None:
    """Events of fifty aggregates, one aggregate after the other, take as many calls as an aggregate has events."""
    result = publisher(bus, clock).publish([book(n, str(n // 60)) for n in range(3000)])
    assert [len(request["Entries"]) for _, request in bus.calls] == [50] * 60
    assert not result.failed


def test_a_duplicate_within_five_minutes_is_a_success(bus: FakeCustomBus, clock: FakeClock) -> None:
    """A deduplicated event counts as published and says so; after the window it is stored again."""
    first = publisher(bus, clock).publish([book(1)])
    again = publisher(bus, clock).publish([book(1)])
    assert again.published[0].deduplicated
    assert again.published[0].sequence_number == first.published[0].sequence_number
    clock.sleep(300)
    assert not publisher(bus, clock).publish([book(1)]).published[0].deduplicated
    assert len(bus.events) == 2


def test_a_group_over_its_quota_waits_alone(clock: FakeClock) -> None:
    """Throttled entries are sent again after the others, once the group may have room."""
    bus = FakeCustomBus(clock=clock, group_quota=4)
    order = [book(n, "Emma") for n in range(4)] + [book(10 + n, str(n)) for n in range(150)]
    result = publisher(bus, clock, retry=Retry(attempts=9)).publish(order, in_order=True)
    assert not result.failed
    stored = [event.entry["SystemMetadata"]["DeduplicationId"] for event in bus.events]
    assert stored.index("Books#e3") > stored.index("Books#e159")
    assert clock.slept
    before_waiting = len([event for event in bus.events if event.time == FakeClock().now()])
    assert before_waiting >= 150


def test_a_groups_waits_grow(bus: FakeCustomBus, clock: FakeClock) -> None:
    """The waits of an entry that fails again double up to the limit of every wait, and are its own."""
    for _ in range(3):
        bus.fail_next_entry("Rate exceeded", detail_type="Throttled")
    throttled = book(1).replace(type="Throttled")
    assert not publisher(bus, clock).publish([throttled, book(2, "Ulysses")]).failed
    assert [event.entry["DetailType"] for event in bus.events] == ["BookAdded", "Throttled"]
    assert clock.slept == [1.0, 2.0, 2.0]


def test_events_of_one_group_do_not_share_a_call_whatever_their_ordering_keys(
    bus: FakeCustomBus, clock: FakeClock
) -> None:
    """Two items of a table can change one aggregate; the bus may reorder its events in a call."""
    publisher(bus, clock).publish_by_key([book(1), book(2), book(3, "Ulysses")], ["item 1", "item 2", "item 3"])
    assert [[entry["SystemMetadata"]["DeduplicationId"] for entry in call["Entries"]] for _, call in bus.calls] == [
        ["Books#e1", "Books#e3"],
        ["Books#e2"],
    ]


@pytest.mark.parametrize(("over", "calls"), [(0, [2]), (1, [1, 1])])
def test_a_call_is_filled_to_the_limit(bus: FakeCustomBus, clock: FakeClock, over: int, calls: list[int]) -> None:
    """Entries that add up to less than the limit share a call: Classic's formula, both ids, and 128 bytes each."""
    first = book(1).replace(data={"n": 1, "text": "x" * 500_000})
    publisher(bus, clock).publish([first])
    (entry,) = bus.calls.pop()[1]["Entries"]
    ids = entry["SystemMetadata"]
    texts = [entry["Source"], entry["DetailType"], entry["Detail"], ids["EventGroupId"], ids["DeduplicationId"]]
    size = sum(map(len, texts)) + 14 + 128
    second = first.replace(
        id="e2", aggregate_id="Anna", data={"n": 2, "text": "x" * (500_000 + 1_047_551 - 2 * size + over)}
    )
    publisher(bus, clock).publish([first, second])
    assert [len(request["Entries"]) for _, request in bus.calls] == calls


def test_a_waiting_entry_has_an_outcome_when_the_publication_is_given_up(clock: FakeClock) -> None:
    """Entries that wait for their group are not forgotten when the caller is refused."""

    class Deleted(FakeCustomBus):
        def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
            if self.events:
                raise self.error("put_events", "ResourceNotFoundException")
            return super()._put_events(request)

    bus = Deleted(clock=clock)
    bus.fail_next_entry("SomethingPassing")
    result = publisher(bus, clock).publish([book(n, None) for n in range(150)], on_failure="return")
    assert sorted(numbers(result)[0] + numbers(result)[1]) == list(range(150))
    assert {each.code for each in result.failed} == {"ResourceNotFoundException", "NotAttempted"}


def test_a_throttled_call_is_sent_again_whole(bus: FakeCustomBus, clock: FakeClock) -> None:
    """The account's budget refuses the call, which is retried after a wait."""
    bus.fail_next("put_events", "ThrottlingException")
    result = publisher(bus, clock).publish([book(1), book(2, "Ulysses")])
    assert not result.failed
    assert [len(request["Entries"]) for _, request in bus.calls] == [2, 2]
    assert len(clock.slept) == 1


def test_only_a_validation_error_of_an_entry_is_final(bus: FakeCustomBus, clock: FakeClock) -> None:
    """An unknown code of an entry is retried; VALIDATION_ERROR refuses the event."""
    bus.fail_next_entry("VALIDATION_ERROR")
    bus.fail_next_entry("AccessDeniedException")
    result = publisher(bus, clock).publish([book(1), book(2, "Ulysses")], on_failure="return")
    assert numbers(result) == ([2], [1])
    assert result.failed[0].event_refused
    assert not result.failed[0].retryable


class Denying(FakeCustomBus):
    """A bus that denies each call with an entry of certain types, as AWS evaluates its policy."""

    denied: frozenset[str] = frozenset({"Secret"})
    code = "AccessDeniedException"

    def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.denied.isdisjoint(entry["DetailType"] for entry in request["Entries"]):
            raise self.error("put_events", self.code)
        return super()._put_events(request)


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidInputException"])
def test_a_call_refused_for_one_entry_is_narrowed_down(clock: FakeClock, code: str) -> None:
    """The entry at fault is refused, and the others are published."""
    bus = Denying(clock=clock)
    bus.code = code
    sent = [book(1), book(2, "Ulysses").replace(type="Secret"), book(3, "Dune")]
    result = publisher(bus, clock).publish(sent, on_failure="return")
    assert numbers(result) == ([1, 3], [2])
    assert result.failed[0].event_refused


def test_a_caller_without_permission_refuses_no_event(clock: FakeClock) -> None:
    """If every entry is denied alone, the caller is at fault, and what is left is not attempted."""
    bus = Denying(clock=clock)
    sent = [book(n, str(n)).replace(type="Secret") for n in range(150)]
    result = publisher(bus, clock).publish(sent, on_failure="return")
    assert Counter(each.code for each in result.failed) == {"AccessDeniedException": 100, "NotAttempted": 50}
    assert not any(each.event_refused for each in result.failed)


def test_an_unknown_bus_stops_the_publication(bus: FakeCustomBus, clock: FakeClock) -> None:
    """A bus that does not exist refuses every event, and none is dropped."""
    other = EventBridgePublisher(bus.arn.replace("books", "other"), client=bus, clock=clock)
    result = other.publish([book(1), book(2, "Ulysses")], on_failure="return")
    assert {each.code for each in result.failed} == {"ResourceNotFoundException"}
    assert not any(each.event_refused for each in result.failed)


def test_a_bus_that_is_created_is_worth_a_retry(bus: FakeCustomBus, clock: FakeClock) -> None:
    """An inactive bus refuses the call for now."""
    bus.state = "CREATING"
    result = publisher(bus, clock).publish([book(1)], on_failure="return")
    assert [(each.code, each.retryable) for each in result.failed] == [("InvalidStateException", True)]
    assert len(bus.calls) == 4


confirmed = {"EventId": "x", "SequenceNumber": "1", "SuccessCode": "PUBLISHED"}
odd = st.sampled_from(
    [
        None,
        "text",
        {},
        {"EventId": "x"},
        {"EventId": "x", "SequenceNumber": "1"},
        {"SuccessCode": "SOMETHING"},
        {"SuccessCode": ["PUBLISHED"]},
        {**confirmed, "ErrorCode": "InternalException"},
        {"ErrorCode": "VALIDATION_ERROR"},
    ]
)


class Scripted:
    """A client with one response for all calls."""

    def __init__(self, respond: Callable[[Sequence[Any]], Any]) -> None:
        self._respond = respond

    def put_events(self, **request: Any) -> Any:
        return self._respond(request["Entries"])


ARN = f"arn:aws:events:eu-west-1:123456789012:event-busv2/books/{'a' * 25}"


def with_client(client: object) -> EventBridgePublisher:
    return EventBridgePublisher(ARN, client=client, clock=FakeClock(random=0.0))  # type: ignore[arg-type]


@given(results=st.lists(st.just(confirmed) | st.just({"SuccessCode": "DEDUPLICATED"}) | odd, min_size=1, max_size=8))
def test_only_a_confirmed_entry_counts_as_published(results: list[Any]) -> None:
    """Each result is evaluated by itself; without FailedEntryCount too."""
    sound = [result is confirmed or result == {"SuccessCode": "DEDUPLICATED"} for result in results]
    client = Scripted(lambda entries: {"Entries": [results[int(each["DetailType"])] for each in entries]})
    sent = [book(n, str(n)).replace(type=str(n)) for n in range(len(results))]
    result = with_client(client).publish(sent, on_failure="return")
    assert numbers(result)[0] == [n for n, each in enumerate(sound) if each]


@given(
    response=st.sampled_from([None, "text", {}, {"Entries": None}, {"Entries": [confirmed]}, {"FailedEntryCount": 0}])
)
def test_a_response_that_is_cut_off_confirms_nothing(response: Any) -> None:
    """A response without a result for each entry is a lost response."""
    result = with_client(Scripted(lambda _: response)).publish([book(1), book(2, "Ulysses")], on_failure="return")
    assert [each.code for each in result.failed] == ["IncompleteAnswer"] * 2
    assert all(each.retryable for each in result.failed)


@pytest.mark.parametrize("error", [MemoryError, KeyError, AttributeError, IndexError, OverflowError, RecursionError])
def test_what_botocores_parser_raises_is_a_lost_response(error: type[Exception]) -> None:
    """A response that is not CBOR is retried, and never raised."""

    def respond(_: object) -> object:
        raise error("no CBOR")

    result = with_client(Scripted(respond)).publish([book(1)], on_failure="return")
    assert [each.code for each in result.failed] == ["IncompleteAnswer"]


def test_a_source_that_the_bus_refuses_is_not_sent(bus: FakeCustomBus, clock: FakeClock) -> None:
    """A source of 257 characters fails its event before the call, and one of 256 does not."""
    sent = [book(1).replace(source="s" * 256), book(2, "Ulysses").replace(source="s" * 257)]
    result = publisher(bus, clock).publish(sent, on_failure="return")
    assert numbers(result) == ([1], [2])
    assert [(each.code, each.event_refused) for each in result.failed] == [("InvalidEvent", True)]


@given(event=any_events(), copies=st.integers(1, 3))
def test_a_request_is_smaller_on_the_wire_than_it_counts(event: Event, copies: int) -> None:
    """Whatever formula AWS uses, a call that fits by ours has less than 1 MB on the wire."""
    bus = CustomBus(ARN, None, has_client=True)
    entry = bus.entry(event, event.source or "s", event.data_json, None)
    shape = boto3.client(
        "eventbridgev2", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).meta.service_model.operation_model("PutEvents")
    request = botocore.serialize.create_serializer("smithy-rpc-v2-cbor").serialize_to_request(
        bus.request([entry] * copies), shape
    )
    assert len(request["body"]) <= copies * bus.size(entry) + (1_048_576 - MAX_REQUEST_BYTES)


def test_an_old_botocore_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own client needs botocore 1.43.102; a given client does not."""
    monkeypatch.setattr(botocore, "__version__", "1.43.101")
    with pytest.raises(ImportError, match=r"botocore 1\.43\.102 or later, and 1\.43\.101"):
        EventBridgePublisher(ARN)
    with_client(Scripted(lambda _: None))
    EventBridgePublisher("books")
    monkeypatch.setattr(botocore, "__version__", "1.43.102")
    EventBridgePublisher(ARN)


def test_a_client_of_the_other_bus_is_refused() -> None:
    """A Classic client for a Custom Event Bus is a TypeError that names the service to use."""
    options: Any = {"region_name": "eu-west-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    with pytest.raises(TypeError, match=r"a client of events; give boto3.client\('eventbridgev2'\)"):
        EventBridgePublisher(ARN, client=boto3.client("events", **options))
    with pytest.raises(TypeError, match=r"a client of eventbridgev2; give boto3.client\('events'\)"):
        EventBridgePublisher("books", client=boto3.client("eventbridgev2", **options))
    with pytest.raises(ValueError, match="global endpoints are for Classic buses"):
        EventBridgePublisher(ARN, endpoint_id="abcde.veo")


def test_integers_beyond_64_bits_are_refused_as_on_a_classic_bus(bus: FakeCustomBus, clock: FakeClock) -> None:
    """The law holds for the same events on both buses."""
    large = Event("BookAdded", {"n": MAX_INTEGER + 1}, source="Books")
    (failed,) = publisher(bus, clock).publish([large], on_failure="return").failed
    assert failed.code == "InvalidEvent"
