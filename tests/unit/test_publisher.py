"""EventBridgePublisher: the entries that it sends, and the outcome of each event."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from dynamo_outbox import DomainEvent, Event, EventBridgePublisher, Retry
from dynamo_outbox.errors import InvalidEventError, PublishError
from dynamo_outbox.publishing.classic_bus import MAX_REQUEST_BYTES

from ..doubles import FakeClock, StubBus, client_error

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class BookAdded(DomainEvent):
    name: str


def numbered(count: int) -> list[Event]:
    """Return events with the types E0, E1, …"""
    return [Event(f"E{number}", {"number": number}, id=str(number)) for number in range(count)]


def publisher_to(bus: StubBus, **options: Any) -> EventBridgePublisher:
    """Return a publisher that makes one attempt by default."""
    defaults: dict[str, Any] = {"source": "OutboxDemo.Books", "retry": Retry(attempts=1), "clock": FakeClock()}
    return EventBridgePublisher("books", client=bus, **(defaults | options))


def outcomes(failed: Any) -> list[tuple[int, str, bool]]:
    return [(each.position, each.code, each.retryable) for each in failed]


def test_an_event_is_sent_as_an_envelope() -> None:
    """An entry has the bus, source, type and time, and its detail has metadata and data."""
    bus = StubBus()
    publisher_to(bus).publish([Event("BookAdded", {"year": 2019}, id="1", time=NOON)])
    ((entry,),) = bus.calls
    metadata = {"id": "1", "type": "BookAdded", "version": 1, "time": "2026-11-23T12:00:00.000000Z"}
    assert json.loads(entry.pop("Detail")) == {"metadata": metadata, "data": {"year": 2019}}
    assert entry == {"EventBusName": "books", "Source": "OutboxDemo.Books", "DetailType": "BookAdded", "Time": NOON}


@pytest.mark.parametrize(
    ("form", "expected"),
    [("data", {"year": 2019}), ("cloudevents", {"specversion": "1.0", "source": "OutboxDemo.Books"})],
)
def test_the_detail_has_the_form_that_was_chosen(form: Any, expected: dict[str, Any]) -> None:
    """`detail` selects the bare data or a CloudEvents object with the publisher's source."""
    detail = json.loads(publisher_to(StubBus(), detail=form)._entry(Event("BookAdded", {"year": 2019}), None)["Detail"])
    assert expected.items() <= detail.items()


def test_events_go_out_in_order_in_calls_of_ten() -> None:
    """Events are sent once, in order, at most ten per call; the result has each one's position and bus id."""
    bus = StubBus()
    events = numbered(21)
    result = publisher_to(bus).publish(iter(events))
    assert [len(call) for call in bus.calls] == [10, 10, 1]
    assert bus.sent == [event.type for event in events]
    assert [(each.position, each.event) for each in result.published] == list(enumerate(events))
    assert result.published[20].event_id == "bus id of E20"
    assert result.failed == ()


def test_nothing_to_publish_is_no_call() -> None:
    """Publishing no events sends no request."""
    bus = StubBus()
    assert publisher_to(bus).publish([]).published == ()
    assert bus.calls == []


def test_an_event_that_the_bus_refuses_does_not_fail_the_others() -> None:
    """A rejected entry fails only its own event, with position, code and whether it is retryable."""
    bus = StubBus({"E1": "MalformedDetail", "E11": "InternalFailure"})
    with pytest.raises(PublishError) as caught:
        publisher_to(bus).publish(numbered(13))
    result = caught.value.result
    assert outcomes(result.failed) == [(1, "MalformedDetail", False), (11, "InternalFailure", True)]
    assert result.failed[0].message == "E1 was refused"
    assert [each.position for each in result.published] == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    assert str(caught.value) == "2 of 13 events were not published; the first: E1 1: MalformedDetail: E1 was refused"


def test_a_failure_is_returned_where_that_was_asked_for() -> None:
    """With `on_failure="return"` the result is returned and no error is raised."""
    result = publisher_to(StubBus({"E0": "InternalFailure"})).publish(numbered(2), on_failure="return")
    assert outcomes(result.failed) == [(0, "InternalFailure", True)]
    assert [each.position for each in result.published] == [1]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (client_error("ThrottlingException"), "ThrottlingException"),
        (ConnectTimeoutError(endpoint_url="http://localhost"), "ConnectTimeoutError"),
    ],
)
def test_a_call_that_fails_fails_its_events(error: Exception, code: str) -> None:
    """A failed call fails each of its events and no others."""
    result = publisher_to(StubBus(failing_call=1, error=lambda: error)).publish(numbered(25), on_failure="return")
    assert outcomes(result.failed) == [(position, code, True) for position in range(10, 20)]
    assert [each.position for each in result.published] == [*range(10), *range(20, 25)]


def test_a_caller_that_is_refused_stops_calling() -> None:
    """If the caller itself is refused, the remaining events are not attempted; earlier ones stay published."""
    bus = StubBus(failing_call=1, error=lambda: client_error("AccessDeniedException"))
    result = publisher_to(bus).publish(numbered(25), on_failure="return")
    assert len(bus.calls) == 2
    assert [each.position for each in result.published] == list(range(10))
    refused = [(position, "AccessDeniedException", False) for position in range(10, 20)]
    assert outcomes(result.failed) == refused + [(position, "NotAttempted", True) for position in range(20, 25)]


def test_a_request_that_is_refused_for_one_entry_is_taken_apart() -> None:
    """If a call with several entries is invalid, each of its events is sent again in its own call."""
    bus = StubBus(failing_call=0, error=lambda: client_error("ValidationException"))
    result = publisher_to(bus).publish(numbered(3))
    assert bus.types == [["E0", "E1", "E2"], ["E0"], ["E1"], ["E2"]]
    assert len(result.published) == 3


def test_only_what_failed_is_sent_again() -> None:
    """Only a retryable failed entry is sent again, after a wait; the result has each event once."""
    clock = FakeClock()
    bus = StubBus({"E1": "InternalFailure"}, recovers_after=2)
    result = publisher_to(bus, retry=Retry(attempts=3), clock=clock).publish(numbered(3))
    assert bus.types == [["E0", "E1", "E2"], ["E1"], ["E1"]]
    assert [each.position for each in result.published] == [0, 1, 2]
    assert clock.slept == [0.05, 0.1]


@pytest.mark.parametrize(("code", "attempts"), [("InternalFailure", 3), ("MalformedDetail", 1)])
def test_retries_come_to_an_end(code: str, attempts: int) -> None:
    """A retryable entry is sent at most `attempts` times, a permanently failed one once."""
    bus = StubBus({"E0": code})
    publisher = publisher_to(bus, retry=Retry(attempts=3))
    assert len(publisher.publish(numbered(1), on_failure="return").failed) == 1
    assert len(bus.calls) == attempts


@pytest.mark.parametrize("torn", [{}, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}])
def test_an_answer_that_came_incomplete_is_no_success(torn: dict[str, Any]) -> None:
    """If results are missing from a response, all its entries are sent again or fail as retryable."""

    class TornBus(StubBus):
        def put_events(self, **kwargs: Any) -> Any:
            answer = super().put_events(**kwargs)
            return torn if len(self.calls) == 1 else answer

    assert outcomes(publisher_to(TornBus()).publish(numbered(2), on_failure="return").failed) == [
        (0, "IncompleteAnswer", True),
        (1, "IncompleteAnswer", True),
    ]
    bus = TornBus()
    result = publisher_to(bus, retry=Retry(attempts=2)).publish(numbered(2))
    assert [each.event.type for each in result.published] == ["E0", "E1"]
    assert bus.types == [["E0", "E1"], ["E0", "E1"]]


def test_nothing_is_sent_again_past_the_publishers_limit() -> None:
    """With a retry timeout of zero, a failed entry is not sent again."""
    bus = StubBus({"E0": "InternalFailure"})
    publisher = publisher_to(bus, retry=Retry(attempts=4, timeout=timedelta(0)))
    result = publisher.publish(numbered(1), on_failure="return")
    assert (len(bus.calls), len(result.failed)) == (1, 1)


def test_followers_wait_for_a_retry() -> None:
    """A retried event is sent before the later events with its order key."""
    bus = StubBus({"E0": "InternalFailure"}, recovers_after=1)
    publisher = publisher_to(bus, retry=Retry(attempts=2))
    assert publisher.publish_by_key(numbered(2), ["a", "a"]).failed == ()
    assert bus.sent == ["E0", "E0", "E1"]


@pytest.mark.parametrize(
    "code",
    ["AccessDeniedException", "ExpiredTokenException", "ResourceNotFoundException", "UnrecognizedClientException"],
)
def test_what_refuses_the_caller_is_told_by_its_code_and_once(code: str) -> None:
    """If the caller is refused, the attempted events get the call's code, the others NotAttempted, without a wait."""
    clock = FakeClock()
    bus = StubBus(failing_call=0, error=lambda: client_error(code))
    publisher = EventBridgePublisher("books", source="Books", client=bus, retry=Retry(attempts=4), clock=clock)
    result = publisher.publish(numbered(11), on_failure="return")
    assert [failure.code for failure in result.failed] == [code] * 10 + ["NotAttempted"]
    assert (len(bus.calls), clock.slept) == (1, [])


def test_a_failed_call_without_time_for_another_ends_it() -> None:
    """If a whole call fails and there is no time to resend, the remaining events are not attempted."""
    bus = StubBus(failing_call=0)
    result = publisher_to(bus, retry=Retry(attempts=4, timeout=timedelta(0))).publish(numbered(11), on_failure="return")
    assert [failure.code for failure in result.failed] == ["ThrottlingException"] * 10 + ["NotAttempted"]
    assert len(bus.calls) == 1


def test_the_wait_begins_anew_after_a_call_that_went_well() -> None:
    """Waits grow only with consecutive failures; a successful call resets them."""

    class Flaky(StubBus):
        def put_events(self, **kwargs: Any) -> Any:
            self._refused = {"E0": "InternalFailure"} if len(self.calls) < 2 else {}
            if len(self.calls) == 3:
                self._refused = {"E28": "InternalFailure"}
            return super().put_events(**kwargs)

    clock = FakeClock()
    publisher = EventBridgePublisher("books", source="Books", client=Flaky(), clock=clock)
    assert not publisher.publish(numbered(30)).failed
    assert clock.slept == [0.05, 0.1, 0.05]


def test_an_entry_that_is_refused_alone_is_not_sent_again() -> None:
    """A request that is invalid with a single entry is not retried."""
    bus = StubBus(failing_call=0, error=lambda: client_error("ValidationException"))
    publisher = EventBridgePublisher("books", source="Books", client=bus)
    (failure,) = publisher.publish(numbered(1), on_failure="return").failed
    assert (failure.code, failure.retryable, len(bus.calls)) == ("ValidationException", False, 1)


def test_time_is_left_to_answer() -> None:
    """In the last second of Lambda's time nothing is sent or retried."""

    class Context:
        def __init__(self, milliseconds: int) -> None:
            self.milliseconds = milliseconds

        def get_remaining_time_in_millis(self) -> int:
            return self.milliseconds

    for milliseconds, calls in ((900, 0), (1_020, 1), (1_500, 2)):
        bus = StubBus({"E0": "InternalFailure"}, recovers_after=1)
        publisher = EventBridgePublisher("books", source="Books", client=bus, clock=FakeClock())
        publisher.publish(numbered(1), on_failure="return", context=Context(milliseconds))
        assert len(bus.calls) == calls


def test_what_there_is_no_time_for_is_not_attempted() -> None:
    """Events are not attempted when Lambda's time is nearly up, so that the function can return."""
    clock = FakeClock()

    class SlowBus(StubBus):
        def put_events(self, **kwargs: Any) -> Any:
            clock.advance(timedelta(seconds=4))
            return super().put_events(**kwargs)

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 9_000

    bus = SlowBus()
    publisher = EventBridgePublisher("books", source="Books", client=bus, clock=clock)
    result = publisher.publish(numbered(30), on_failure="return", context=Context())
    assert (len(bus.calls), len(result.published)) == (2, 20)
    assert outcomes(result.failed) == [(position, "NotAttempted", True) for position in range(20, 30)]


def test_a_bug_in_the_client_is_not_swallowed() -> None:
    """An exception that is not botocore's is raised unchanged."""
    with pytest.raises(ZeroDivisionError):
        publisher_to(StubBus(failing_call=0, error=ZeroDivisionError)).publish(numbered(1))


def test_no_event_overtakes_a_failed_one_with_its_order_key() -> None:
    """Later events of a failed event's order key are held back; other events are published."""
    bus = StubBus({"E0": "InternalFailure"})
    result = publisher_to(bus).publish_by_key(numbered(6), ["a", "b", "a", "b", None, "a"])
    assert bus.types == [["E0", "E1", "E4"], ["E3"]]
    assert outcomes(result.failed) == [(0, "InternalFailure", True), (2, "HeldBack", True), (5, "HeldBack", True)]
    assert [each.position for each in result.published] == [1, 3, 4]


def test_a_call_holds_one_event_of_an_order_key() -> None:
    """A call has at most one event per order key, because the bus could reject the first and accept the second."""
    bus = StubBus()
    publisher_to(bus).publish_by_key(numbered(3), ["a", "a", "a"])
    assert bus.types == [["E0"], ["E1"], ["E2"]]


def test_an_event_that_no_call_takes_is_final() -> None:
    """An entry of 1 MB fails permanently; later events of its order key are held back."""
    bus = StubBus()
    large = Event("Large", {"text": "x" * MAX_REQUEST_BYTES})
    result = publisher_to(bus).publish_by_key([large, *numbered(2)], ["a", "a", "b"])
    assert bus.types == [["E1"]]
    assert outcomes(result.failed) == [(0, "EntryTooLarge", False), (1, "HeldBack", True)]


def test_a_call_stays_below_one_megabyte() -> None:
    """Events that together exceed the size limit of a call are sent in several calls."""
    bus = StubBus()
    half = "x" * (MAX_REQUEST_BYTES // 2)
    publisher_to(bus).publish([Event(name, {"text": half}) for name in ("A", "B", "C")])
    assert bus.types == [["A"], ["B"], ["C"]]


def test_an_events_own_source_goes_before_the_publishers() -> None:
    """An event's own source overrides the publisher's; a DomainEvent is published like an event."""
    bus = StubBus()
    publisher_to(bus).publish([Event("A", {}, source="Import"), BookAdded(name="Team Topologies")])
    assert [entry["Source"] for entry in bus.calls[0]] == ["Import", "OutboxDemo.Books"]
    assert bus.types == [["A", "BookAdded"]]


def test_an_event_without_a_source_sends_nothing() -> None:
    """If neither an event nor the publisher has a source, no event is sent."""
    bus = StubBus()
    with pytest.raises(InvalidEventError, match=r"^event source: "):
        publisher_to(bus, source=None).publish([Event("A", {}, source="Import"), Event("B", {})])
    assert bus.calls == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"bus": ""}, "bus needs the name or the ARN"),
        ({"bus": "books", "concurrency": 0}, "concurrency=0 must be at least 1"),
        ({"bus": "books", "detail": "xml"}, "detail='xml' must be one of envelope, data, cloudevents"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict[str, Any], problem: str) -> None:
    """An empty bus, a concurrency of zero and an unknown detail form are refused."""
    with pytest.raises(ValueError, match=problem):
        EventBridgePublisher(**arguments)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"attempts": 0}, "attempts=0 must be at least 1"),
        ({"timeout": timedelta(seconds=-1)}, "must not be negative"),
    ],
)
def test_a_retry_policy_that_cannot_work_is_refused(arguments: dict[str, Any], problem: str) -> None:
    """Zero attempts and a negative timeout are refused."""
    with pytest.raises(ValueError, match=problem):
        Retry(**arguments)
