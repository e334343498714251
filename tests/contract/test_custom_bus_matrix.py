"""The kit's Custom Event Bus in both its forms: a client in memory, and a server that real boto3 clients call.

Each scenario names the source of its rule. No engine and no account has confirmed the rules.

- API: https://docs.aws.amazon.com/eventbridgev2/latest/APIReference/API_PutEvents.html, and botocore's model
- UG and a name: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-NAME.html
- AT: AWS's agent toolkit, skill amazon-eventbridge-event-bus
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event, EventBridgePublisher, parse_event
from dynamo_outbox.errors import InvalidPatternError
from dynamo_outbox.testing import CustomBusServer, FakeClock, FakeCustomBus
from dynamo_outbox.testing.fakes.client import service_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_REQUEST_BYTES = 1_048_576
SAMPLE = Path(__file__).resolve().parents[1] / "events" / "failures" / "custom_bus_subscriber_dlq.json"
OTHER = f"arn:aws:events:eu-west-1:123456789012:event-busv2/films/{'a' * 25}"


class Form(NamedTuple):
    bus: FakeCustomBus
    client: Any
    clock: FakeClock

    def put(self, *entries: dict[str, Any]) -> list[str]:
        """Publish entries; return their codes in the order of the results."""
        answer = self.client.put_events(EventBusArn=self.bus.arn, Entries=entries)
        assert answer["FailedEntryCount"] == sum("ErrorCode" in each for each in answer["Entries"])
        return [each.get("ErrorCode") or each["SuccessCode"] for each in answer["Entries"]]

    def outcome(self, *entries: dict[str, Any], arn: str | None = None) -> str:
        """Return ``ok`` or the code with which the whole call was refused, after a check that it stored nothing."""
        try:
            self.client.put_events(EventBusArn=arn or self.bus.arn, Entries=entries)
        except (ClientError, ParamValidationError) as error:
            assert not self.bus.events
            return error.response["Error"]["Code"] if isinstance(error, ClientError) else "ParamValidationError"
        return "ok"


@pytest.fixture(scope="module", params=["in memory", "on the wire"])
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[..., Form]]:
    """Return a function that makes a new bus in one of the forms; on the wire all of them have one server."""
    with ExitStack() as running:
        first = FakeCustomBus(clock=FakeClock())
        server = running.enter_context(CustomBusServer(first)) if request.param == "on the wire" else None
        client = server and server.client(retries={"total_max_attempts": 1})

        def opened(**options: Any) -> Form:
            clock = FakeClock()
            bus = FakeCustomBus(clock=clock, **options)
            if server is not None:
                server.bus = bus
            return Form(bus, client or bus, clock)

        yield opened


@pytest.fixture
def form(opened: Callable[..., Form]) -> Form:
    return opened()


def entry(**changes: Any) -> dict[str, Any]:
    return {"Source": "Books", "DetailType": "Told", "Detail": "{}", **changes}


def ids(group: str | None = None, deduplication: str | None = None) -> dict[str, Any]:
    given = {"EventGroupId": group, "DeduplicationId": deduplication}
    return {"SystemMetadata": {name: value for name, value in given.items() if value is not None}}


def told(number: int, group: str | None = None) -> dict[str, Any]:
    return entry(Detail=json.dumps({"n": number}), **ids(group))


def number(payload: Any) -> int:
    found: int = payload["detail"]["n"]
    return found


def sized(total: int) -> dict[str, Any]:
    """Return an entry of a size by Classic's formula, which the kit uses: this bus's is not documented."""
    return entry(Detail='{"x": "' + "x" * (total - len('BooksTold{"x": ""}')) + '"}')


@pytest.mark.parametrize(
    ("entries", "truth"),
    [
        pytest.param([entry()], "ok", id="1 entry"),
        pytest.param([entry()] * 100, "ok", id="100 entries"),
        pytest.param([entry()] * 101, "InvalidInputException", id="101 entries"),
        pytest.param([], "ParamValidationError", id="no entry"),
        pytest.param([entry(Source="s" * 256)], "ok", id="source of 256"),
        pytest.param([entry(Source="s" * 257)], "InvalidInputException", id="source of 257"),
        pytest.param([entry(Source="")], "ParamValidationError", id="empty source"),
        pytest.param([entry(DetailType="t" * 128)], "ok", id="detail type of 128"),
        pytest.param([entry(DetailType="t" * 129)], "InvalidInputException", id="detail type of 129"),
        pytest.param([{"Source": "Books"}], "ParamValidationError", id="no detail type"),
        pytest.param([entry(**ids("g" * 128, "d" * 128))], "ok", id="ids of 128"),
        pytest.param([entry(**ids("g" * 129))], "InvalidInputException", id="group of 129"),
        pytest.param([entry(**ids("g", "d" * 129))], "InvalidInputException", id="deduplication id of 129"),
        pytest.param([entry(**ids("g", " \t"))], "InvalidInputException", id="blank deduplication id"),
        pytest.param([entry(**ids(""))], "ParamValidationError", id="empty group"),
        pytest.param([entry(Resources=["r" * 2048] * 100)], "ok", id="100 resources of 2048"),
        pytest.param([entry(Resources=["r"] * 101)], "InvalidInputException", id="101 resources"),
        pytest.param([entry(Resources=["r" * 2049])], "InvalidInputException", id="resource of 2049"),
        pytest.param([entry(), entry(Source="s" * 257)], "InvalidInputException", id="one of two"),
        pytest.param([sized(MAX_REQUEST_BYTES)], "ok", id="1 MB"),
        pytest.param([sized(MAX_REQUEST_BYTES + 1)], "InvalidInputException", id="over 1 MB"),
        pytest.param([sized(MAX_REQUEST_BYTES // 2)] * 2, "ok", id="1 MB in two"),
        pytest.param([sized(MAX_REQUEST_BYTES // 2 + 1)] * 2, "InvalidInputException", id="over 1 MB in two"),
    ],
)
def test_the_limits_of_a_call(form: Form, entries: Sequence[dict[str, Any]], truth: str) -> None:
    """A call beyond a limit is refused whole and publishes nothing (API; lengths and patterns: the model)."""
    assert form.outcome(*entries) == truth
    assert len(form.bus.events) == (len(entries) if truth == "ok" else 0)


@pytest.mark.parametrize(
    ("changes", "truth"),
    [
        pytest.param({"Source": "aws.ec2"}, "VALIDATION_ERROR", id="aws."),
        pytest.param({"Source": "awsome"}, "PUBLISHED", id="awsome"),
        pytest.param({"Detail": "not JSON"}, "VALIDATION_ERROR", id="text"),
        pytest.param({"Detail": "[]"}, "VALIDATION_ERROR", id="list"),
        pytest.param({"Detail": "7"}, "VALIDATION_ERROR", id="number"),
        pytest.param({"Detail": "null"}, "VALIDATION_ERROR", id="null"),
        pytest.param({"Detail": '{"x": NaN}'}, "VALIDATION_ERROR", id="NaN"),
        pytest.param({"DetailType": "Scripted"}, "InternalFailure", id="scripted"),
    ],
)
def test_one_bad_entry_fails_alone(form: Form, changes: dict[str, Any], truth: str) -> None:
    """Results are in the order of the entries; entries are accepted or rejected singly (UG publish, API)."""
    form.bus.fail_next_entry("InternalFailure", detail_type="Scripted")
    entries = [told(0), entry(**changes), told(2)]
    assert form.put(*entries) == ["PUBLISHED", truth, "PUBLISHED"]
    stored = [each.entry["Detail"] for each in form.bus.events]
    assert stored == [each["Detail"] for each in entries if truth == "PUBLISHED" or each is not entries[1]]


def test_each_event_has_an_id_and_a_rising_sequence_number(form: Form) -> None:
    """Equal entries without ids are different events; sequence numbers are text beyond 64 bits (API)."""
    answer = form.client.put_events(EventBusArn=form.bus.arn, Entries=[entry()] * 3)
    numbers = [each["SequenceNumber"] for each in answer["Entries"]]
    assert [int(each) for each in numbers] == sorted({int(each) for each in numbers})
    assert len({each["EventId"] for each in answer["Entries"]}) == 3
    assert int(numbers[0]) > 2**63


@pytest.mark.parametrize(
    ("arn", "truth"),
    [
        pytest.param(OTHER, "ResourceNotFoundException", id="unknown"),
        pytest.param("arn:aws:events:eu-west-1:123456789012:event-bus/books", "InvalidInputException", id="Classic"),
        pytest.param("books", "InvalidInputException", id="name"),
    ],
)
def test_another_bus(form: Form, arn: str, truth: str) -> None:
    """An unknown bus is an error, and so is what is not the ARN of a Custom Event Bus (API; pattern: the model)."""
    assert form.outcome(entry(), arn=arn) == truth
    with pytest.raises(ClientError, match=truth):
        form.client.describe_event_bus(EventBusArn=arn)


DESCRIBED: Any = service_model("eventbridgev2").operation_model("DescribeEventBus").output_shape


@pytest.mark.parametrize("state", DESCRIBED.members["State"].enum)
def test_a_bus_takes_events_in_some_states_only(form: Form, state: str) -> None:
    """A bus takes events if it is active or updated; DescribeEventBus returns the state (API; updates: AT)."""
    form.bus.state = state
    takes = state in ("ACTIVE", "UPDATING", "UPDATE_FAILED")
    assert form.outcome(entry()) == ("ok" if takes else "InvalidStateException")
    answer = form.client.describe_event_bus(EventBusArn=form.bus.arn)
    assert {name: answer[name] for name in ("EventBusArn", "Name", "State")} == {
        "EventBusArn": form.bus.arn,
        "Name": "books",
        "State": state,
    }


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (operation, shape.name)
        for operation in ("PutEvents", "DescribeEventBus")
        for shape in service_model("eventbridgev2").operation_model(operation).error_shapes
    ],
)
def test_every_modelled_error_has_its_code_class_and_status(form: Form, operation: str, code: str) -> None:
    """A scripted error arrives as botocore raises it (API: errors)."""
    method = {"PutEvents": "put_events", "DescribeEventBus": "describe_event_bus"}[operation]
    request = {"EventBusArn": form.bus.arn} | ({"Entries": [entry()]} if operation == "PutEvents" else {})
    form.bus.fail_next(method, code)
    with pytest.raises(getattr(form.client.exceptions, code)) as raised:
        getattr(form.client, method)(**request)
    response = raised.value.response
    model = service_model("eventbridgev2").shape_for(code)
    assert response["Error"]["Code"] == code
    assert response["ResponseMetadata"]["HTTPStatusCode"] == model.metadata["error"]["httpStatusCode"]
    assert not form.bus.events


@pytest.mark.parametrize(
    ("script", "truth"),
    [
        pytest.param([(0, "g", "d"), (0, "g", "d")], "PD", id="in one call"),
        pytest.param([(0, "g", "d"), (299, "g", "d")], "PD", id="within 300 s"),
        pytest.param([(0, "g", "d"), (300, "g", "d")], "PP", id="at 300 s"),
        pytest.param([(0, "g", "d"), (200, "g", "d"), (100, "g", "d")], "PDP", id="counted from the first"),
        pytest.param([(0, "g", "d"), (0, "h", "d")], "PP", id="in another group"),
        pytest.param([(0, None, "d"), (0, None, "d"), (0, "g", "d")], "PDP", id="without a group"),
        pytest.param([(0, "g", None), (0, "g", None)], "PP", id="without an id"),
    ],
)
def test_deduplication(form: Form, script: list[tuple[int, str | None, str | None]], truth: str) -> None:
    """A duplicate within 300 s of the entry that it repeats is dropped, in its group (UG ordering).

    A duplicate at 300 s sharp is a new event here, the harder case for a consumer.
    """
    seen: list[Any] = []
    form.bus.subscribe(seen.append)
    found = ""
    for seconds, group, deduplication in script:
        form.clock.advance(timedelta(seconds=seconds))
        found += form.put(entry(**ids(group, deduplication)))[0][0]
    form.bus.deliver()
    assert found == truth
    assert len(seen) == len(form.bus.events) == truth.count("P")


def test_a_group_over_its_quota_fails_only_its_own_entries(opened: Callable[..., Form]) -> None:
    """A group takes so many events and KB a second; the others fail with ``Rate exceeded.`` (the guide's eb-quota; AT).

    A failed entry is not remembered as the first of its duplicates.
    """
    form = opened(group_quota=2.1)
    burst = [entry(**ids(group, f"{at}")) for at, group in enumerate("ggghg")]
    answer = form.client.put_events(EventBusArn=form.bus.arn, Entries=burst)
    messages = [each.get("ErrorMessage") for each in answer["Entries"]]
    assert messages == [None, None, "Rate exceeded.", None, "Rate exceeded."]
    form.clock.advance(timedelta(seconds=1))
    assert form.put(burst[2], burst[0]) == ["PUBLISHED", "DEDUPLICATED"]


@pytest.mark.parametrize("replay", [False, True], ids=["LIVE", "REPLAY"])
def test_the_forms_of_an_event(form: Form, *, replay: bool) -> None:
    """RAW is Classic's envelope; WITH_METADATA has the system's fields as text (UG transform, addressing)."""
    raw: list[Any] = []
    whole: list[Any] = []
    subscribers = [form.bus.subscribe(raw.append), form.bus.subscribe(whole.append, transformer="WITH_METADATA")]
    given = entry(
        Detail='{"x": 1.5}',
        Resources=["arn:x"],
        Time=datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC),
        **ids("Book#1", "Books#1"),
    )
    form.put(given, entry())
    form.bus.deliver()
    if replay:
        raw.clear()
        whole.clear()
        for subscriber in subscribers:
            form.bus.replay(subscriber)
        form.bus.deliver()
    first, second = form.bus.events
    assert raw[0] == {
        "version": "0",
        "id": first.event_id,
        "detail-type": "Told",
        "source": "Books",
        "account": "123456789012",
        "time": "2026-01-02T03:04:05Z",
        "region": "eu-west-1",
        "resources": ["arn:x"],
        "detail": {"x": 1.5},
    }
    system = {
        "ContentType": "application/eventbridge+json",
        "aws:EventId": first.event_id,
        "aws:Source": "Books",
        "aws:DetailType": "Told",
        "EventGroupId": "Book#1",
        "DeduplicationId": "Books#1",
        "aws:IngestionTime": "2026-11-23T09:30:00Z",
        "aws:SequenceNumber": first.sequence_number,
        "aws:DeliveryType": "REPLAY" if replay else "LIVE",
    }
    assert whole[0] == {"Data": raw[0], "Metadata": {}, "SystemMetadata": system}
    assert (raw[1]["time"], raw[1]["id"]) == ("2026-11-23T09:30:00Z", second.event_id)
    assert whole[1]["SystemMetadata"].keys() == system.keys() - {"EventGroupId", "DeduplicationId"}


@pytest.mark.parametrize(("size", "truth"), [(1, [0, 1, 2]), (2, [[0, 1], [2]]), (10, [[0, 1, 2]])])
def test_a_batch_is_an_array(form: Form, size: int, truth: list[Any]) -> None:
    """With a batch size of 1 a target gets an object, with any other an array, even of one (UG target-lambda)."""
    seen: list[Any] = []
    form.bus.subscribe(seen.append, max_batch=size)
    form.put(*(told(n, "g") for n in range(3)))
    form.bus.deliver()
    assert [[number(each) for each in got] if isinstance(got, list) else number(got) for got in seen] == truth


def test_a_batch_closes_at_the_size_of_a_call(form: Form) -> None:
    """A batch is closed before it has more than the 6 MB of a call of Lambda (UG batching)."""
    for _ in range(8):
        form.put(sized(900_000))
    seen: list[Any] = []
    form.bus.replay(form.bus.subscribe(seen.append, max_batch=100))
    form.bus.deliver()
    assert [len(batch) for batch in seen] == [6, 2]


@given(failures=st.dictionaries(st.integers(0, 7), st.integers(1, 9), max_size=5))
def test_a_fifo_subscriber_gets_each_group_in_order(opened: Callable[..., Form], failures: dict[int, int]) -> None:
    """Failed deliveries are repeated in place; after its retries an event leaves a gap and a record (UG ordering)."""
    left = dict(failures)
    handled: list[int] = []

    def consume(payload: Any) -> None:
        event = parse_event(payload)
        if left.get(event.data["n"], 0) > 0:
            left[event.data["n"]] -= 1
            raise RuntimeError("not yet")
        handled.append(event.data["n"])

    sent = [
        Event("Told", {"n": n}, id=f"e{n}", source="Books", aggregate_type="Book", aggregate_id=str(n % 3))
        for n in range(8)
    ]
    form = opened()
    subscriber = form.bus.subscribe(consume, retries=5, transformer="WITH_METADATA")
    EventBridgePublisher(form.bus.arn, client=form.client, clock=form.clock).publish(sent, in_order=True)
    form.bus.deliver()
    lost = {n for n, times in failures.items() if times > 5}
    assert sorted(handled) == sorted(set(range(8)) - lost)
    for aggregate in range(3):
        of_group = [n for n in handled if n % 3 == aggregate]
        assert of_group == sorted(of_group)
    named = {letter["failedMessages"][0]["deduplicationId"] for letter in subscriber.dead_letters}
    assert named == {f"Books#e{n}" for n in lost}


@pytest.mark.parametrize(
    ("options", "truth"),
    [
        pytest.param({}, [[0], [1], [3], [0], [2]], id="FIFO"),
        pytest.param({"fifo": False}, [[0], [1], [2], [3], [0]], id="unordered"),
        pytest.param({"max_batch": 2}, [[0, 1], [0, 1], [2, 3]], id="FIFO, arrays"),
        pytest.param({"max_batch": 2, "fifo": False}, [[0, 1], [2, 3], [0, 1]], id="unordered, arrays"),
    ],
)
def test_a_retry_holds_the_groups_of_its_events(form: Form, options: dict[str, Any], truth: list[list[int]]) -> None:
    """A FIFO subscriber's other groups go on; an unordered one holds nothing; a batch is repeated whole (UG ordering).

    Another version of UG retry says instead that a failed call of a FIFO subscriber holds every group.
    """
    attempts: list[list[int]] = []

    def fail_once(payload: Any) -> None:
        attempts.append([number(each) for each in (payload if isinstance(payload, list) else [payload])])
        if len(attempts) == 1:
            raise RuntimeError("not yet")

    form.bus.subscribe(fail_once, **options)
    form.put(*(told(n, "ab"[n % 2]) for n in range(4)))
    form.bus.deliver()
    assert attempts == truth


def test_a_failing_subscriber_does_not_hold_another(form: Form) -> None:
    """Each subscriber is delivered to by itself (UG what-is)."""
    log: list[str] = []

    def fail(_payload: Any) -> None:
        log.append("fails")
        raise RuntimeError

    form.bus.subscribe(fail)
    form.bus.subscribe(lambda _: log.append("succeeds"))
    form.put(entry())
    form.bus.deliver()
    assert log.count("fails") == 6
    assert log.index("succeeds") <= 2


def test_a_subscriber_makes_one_delivery_after_another(form: Form) -> None:
    """Two threads that deliver do not break a group's order (UG ordering)."""
    log: list[str] = []
    overtaken = Signal()
    helpers: list[Thread] = []

    def record(payload: Any) -> None:
        log.append(f"begins {number(payload)}")
        if number(payload) == 0:
            helpers.append(Thread(target=form.bus.deliver))
            helpers[0].start()
            overtaken.wait(0.05)
        else:
            overtaken.set()
        log.append(f"ends {number(payload)}")

    form.bus.subscribe(record)
    form.put(told(0, "g"), told(1, "g"))
    form.bus.deliver()
    helpers[0].join()
    assert log == ["begins 0", "ends 0", "begins 1", "ends 1"]


def test_a_dead_letter_names_its_events(form: Form) -> None:
    """After its retries a batch is one record with ids and no events, whose message is cut off (UG retry, AT).

    The record has the members of the sample, which is AWS's.
    """

    def fail(_payload: Any) -> None:
        raise RuntimeError("x" * 2000)

    subscriber = form.bus.subscribe(fail, max_batch=2, retries=1, name="catalogue")
    form.put(told(0, "g"), entry(**ids(deduplication="d")))
    form.bus.deliver()
    (letter,) = subscriber.dead_letters
    owner = "arn:aws:events:eu-west-1:123456789012"
    both = {"timestamp": "2026-11-23T09:30:00.000Z", "targetRequestId": ""}
    assert letter == {
        "version": "1.0",
        "busArn": form.bus.arn,
        "subscriberArn": f"{owner}:subscriber/catalogue/{'b' * 25}",
        "targetArn": "arn:aws:lambda:eu-west-1:123456789012:function:catalogue",
        "errorCode": "COMPUTE_EXECUTION_ERROR",
        "errorMessage": "x" * 1024,
        "exhaustedRetryCondition": "MaximumRetryAttempts",
        "retryAttempts": 1,
        "failedMessages": [
            {"eventId": form.bus.events[0].event_id, "eventGroupId": "g", "deduplicationId": None, **both},
            {"eventId": form.bus.events[1].event_id, "eventGroupId": None, "deduplicationId": "d", **both},
        ],
    }
    sample = json.loads(json.loads(SAMPLE.read_text())["Body"])
    assert letter.keys() == sample.keys()
    assert letter["failedMessages"][0].keys() == sample["failedMessages"][0].keys()


def test_a_filter_selects_events(form: Form) -> None:
    """A subscriber gets the events that match its pattern, also in a replay; wildcards are refused (UG filtering)."""
    seen: list[int] = []
    subscriber = form.bus.subscribe(
        lambda event: seen.append(number(event)),
        pattern={"source": ["Books"], "detail": {"n": [{"numeric": [">", 1]}]}},
    )
    form.put(*(told(n) for n in range(4)), {**told(4), "Source": "Films"})
    form.bus.replay(subscriber)
    form.bus.deliver()
    assert seen == [2, 3] * 2
    for operator in ({"wildcard": "B*"}, {"anything-but": {"wildcard": "B*"}}):
        with pytest.raises(InvalidPatternError, match="a subscriber does not support wildcard"):
            form.bus.subscribe(seen.append, pattern={"source": [operator]})
    assert form.bus.subscribers == [subscriber]
