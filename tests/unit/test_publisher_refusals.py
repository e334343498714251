"""Refusals of a whole PutEvents call and responses that AWS doesn't document: the entry at fault fails alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, Retry
from dynamo_outbox.publishing.batches import is_final, is_refused_for_an_entry
from dynamo_outbox.publishing.classic_bus import ClassicBus

from ..doubles import FakeClock, client_error
from .test_parking import Lot, batch
from .test_processors import ALL_WELL, failed_from, outbox_record

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = [
    ("413", 413),
    ("400", 400),
    ("415", 415),
    ("422", 422),
    ("431", 431),
    ("RequestEntityTooLargeException", 413),
    ("PayloadTooLarge", 413),
    ("Request Entity Too Large", 413),
    ("SerializationException", 400),
    ("SerializationException", None),
    ("ValidationException", 400),
    ("ValidationException", None),
    ("SomethingNewException", 413),
]
"""Codes and HTTP statuses of a call with an entry that AWS can't take."""


def refused(code: str, status: int | None) -> ClientError:
    return client_error(code, **({} if status is None else {"ResponseMetadata": {"HTTPStatusCode": status}}))


class Bus:
    """A bus that refuses each call with an event of the type Bad, or all calls."""

    def __init__(self, error: Callable[[], Exception], *, every: bool = False) -> None:
        self._error = error
        self._every = every
        self.calls: list[list[str]] = []

    def put_events(self, **request: Any) -> Any:
        types = [entry["DetailType"] for entry in request["Entries"]]
        self.calls.append(types)
        if self._every or "Bad" in types:
            raise self._error()
        return {"FailedEntryCount": 0, "Entries": [{"EventId": name} for name in types]}


def publisher_to(bus: Any, clock: FakeClock | None = None, **retry: Any) -> EventBridgePublisher:
    return EventBridgePublisher("books", source="Books", client=bus, clock=clock or FakeClock(), retry=Retry(**retry))


def events(*types: str) -> list[Event]:
    return [Event(name, {}, id=str(position)) for position, name in enumerate(types)]


@pytest.mark.parametrize(("code", "status"), CONTENT)
def test_a_refused_call_is_narrowed_down_to_the_entry_at_fault(code: str, status: int | None) -> None:
    """boto3#3411, opensnowcat-enrich#282, aws-health-aware#70: the entry fails alone and finally, the others go out."""
    clock = FakeClock()
    bus = Bus(lambda: refused(code, status))
    result = publisher_to(bus, clock).publish(events("A", "Bad", "C"), on_failure="return")
    assert [each.event.type for each in result.published] == ["A", "C"]
    (failure,) = result.failed
    assert (failure.code, failure.retryable, failure.event_refused) == (code, False, True)
    assert bus.calls == [["A", "Bad", "C"], ["A"], ["Bad"], ["C"]]
    assert clock.slept == []


def test_a_request_that_botocore_refuses_is_narrowed_down() -> None:
    """The validation of a user's client refuses the entry at fault and no other."""
    bus = Bus(lambda: ParamValidationError(report="Detail"))
    result = publisher_to(bus).publish(events("A", "Bad"), on_failure="return")
    assert ([each.event.type for each in result.published], len(result.failed)) == (["A"], 1)
    assert result.failed[0].event_refused


def test_an_unknown_refusal_of_an_entry_is_retried_alone() -> None:
    """Status 400 under an unknown name may pass, or mean the caller: only this entry is retried, and it isn't final."""
    bus = Bus(lambda: refused("SomethingNewException", 400))
    result = publisher_to(bus, attempts=2).publish(events("A", "Bad", "C"), on_failure="return")
    assert [each.event.type for each in result.published] == ["A", "C"]
    (failure,) = result.failed
    assert (failure.code, failure.retryable, failure.event_refused) == ("SomethingNewException", True, False)
    assert bus.calls == [["A", "Bad", "C"], ["A"], ["Bad"], ["Bad"], ["C"]]


@pytest.mark.parametrize("code", ["ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"])
@pytest.mark.parametrize("status", [400, 413, 429])
def test_a_throttled_call_is_not_taken_apart(code: str, status: int) -> None:
    """Throttling has nothing to do with an entry, whatever its status: the call is repeated as it is."""
    bus = Bus(lambda: refused(code, status))
    result = publisher_to(bus, attempts=2).publish(events("A", "Bad"), on_failure="return")
    assert bus.calls == [["A", "Bad"]] * 2
    assert all(failure.retryable and not failure.event_refused for failure in result.failed)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException"])
def test_a_refused_caller_is_not_taken_for_a_refused_entry(code: str) -> None:
    """A refusal of the caller has status 400, too, and no event is refused by it."""
    bus = Bus(lambda: refused(code, 400))
    result = publisher_to(bus).publish(events("A", "Bad"), on_failure="return")
    assert bus.calls == [["A", "Bad"]]
    assert not any(failure.event_refused for failure in result.failed)


def test_a_bad_entry_leaves_the_others_their_turn_when_time_is_over() -> None:
    """A refusal for its content after the retry timeout fails this entry only; the rest is still sent once."""
    bus = Bus(lambda: refused("413", 413))
    retry = Retry(timeout=timedelta(0))
    publisher = EventBridgePublisher("books", source="Books", client=bus, clock=FakeClock(), retry=retry)
    result = publisher.publish(events("A", "Bad", *"BCDEFGHIJKL"), on_failure="return")
    assert [failure.event.type for failure in result.failed] == ["Bad"]
    assert len(result.published) == 12


def test_a_refusal_keeps_the_order_of_an_aggregate() -> None:
    """The events after a refused one of its aggregate are held back, and those of others are published."""
    bus = Bus(lambda: refused("413", 413))
    result = publisher_to(bus).publish_by_key(events("A", "Bad", "C", "D"), ["a", "b", "b", "a"])
    assert [each.event.type for each in result.published] == ["A", "D"]
    assert [(failure.event.type, failure.code) for failure in result.failed] == [("Bad", "413"), ("C", "HeldBack")]


def test_a_relay_parks_the_record_at_fault_and_goes_on() -> None:
    """The relay publishes the others of the batch and parks the event that AWS can't take, at its first attempt."""
    lot = Lot()
    bus = Bus(lambda: refused("413", 413))
    records = [outbox_record(name, number, name) for name, number in (("A", "1"), ("Bad", "2"), ("C", "3"))]
    assert OutboxRelay(publisher_to(bus), parking=lot.parking)(batch(*records)) == ALL_WELL
    assert lot.parked == [("Book#Bad", "2", "413")]
    assert OutboxRelay(publisher_to(bus))(batch(*records)) == failed_from("2")


ODD_RESULTS: list[tuple[Any, str]] = [
    (None, "IncompleteAnswer"),
    ("x", "IncompleteAnswer"),
    ([], "IncompleteAnswer"),
    ({}, "Unknown"),
    ({"EventId": None}, "Unknown"),
    ({"EventId": ""}, "Unknown"),
    ({"EventId": 7}, "Unknown"),
    ({"ErrorMessage": "no code"}, "Unknown"),
    ({"EventId": "x", "ErrorCode": "InternalFailure"}, "InternalFailure"),
    ({"ErrorCode": 500}, "500"),
    ({"ErrorCode": "InternalFailure", "ErrorMessage": None}, "InternalFailure"),
]


class OddBus:
    """A bus that responds so to everything."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def put_events(self, **_: Any) -> Any:
        return self._response


@pytest.mark.parametrize(("result", "code"), ODD_RESULTS)
def test_a_result_that_names_no_event_id_is_a_failure(result: Any, code: str) -> None:
    """A null or empty result, or one with an error code beside its id, is a failed entry and not a crash."""
    bus = OddBus({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, result]})
    outcome = publisher_to(bus, attempts=1).publish(events("A", "B"), on_failure="return")
    assert [each.event.type for each in outcome.published] == ["A"]
    assert [(failure.event.type, failure.code, failure.retryable) for failure in outcome.failed] == [("B", code, True)]


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        "",
        {},
        {"Entries": None},
        {"Entries": {}},
        {"Entries": []},
        {"Entries": [{"EventId": "1"}]},
        {"Entries": [{"EventId": "1"}] * 3},
    ],
    ids=repr,
)
def test_a_response_without_a_result_for_each_entry_is_a_failed_call(response: Any) -> None:
    """A response with no, fewer or more results than entries publishes nothing for certain, and is repeated."""
    outcome = publisher_to(OddBus(response), attempts=2).publish(events("A", "B"), on_failure="return")
    assert outcome.published == ()
    assert [(failure.code, failure.retryable) for failure in outcome.failed] == [("IncompleteAnswer", True)] * 2


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        *((code, status, True) for code, status in CONTENT),
        ("ParamValidationError", None, True),
        ("UnknownException", 400, True),
        ("UnknownException", 403, False),
        ("UnknownException", 500, False),
        ("UnknownException", None, False),
        ("ReadTimeoutError", None, False),
        ("IncompleteAnswer", None, False),
        ("ThrottlingException", 400, False),
        ("AccessDeniedException", 400, False),
        ("ResourceNotFoundException", 400, False),
    ],
)
def test_a_call_is_taken_apart_for_what_its_content_may_cause(code: str, status: int | None, *, expected: bool) -> None:
    """The HTTP status decides, whatever the code; without a status, only a known code does."""
    assert is_refused_for_an_entry(code, status, ClassicBus.final_call_codes) is expected


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("Unknown", 413, True),
        ("Unknown", 400, False),
        ("Unknown", 500, False),
        ("Unknown", None, False),
        ("ThrottlingException", 413, False),
        ("413", None, True),
        ("400", None, True),
    ],
)
def test_a_status_may_be_final_for_an_entry_alone(code: str, status: int | None, *, expected: bool) -> None:
    """A status that blames the content is final under any name; 400 says too little."""
    assert is_final(code, status, ClassicBus.final_call_codes) is expected
