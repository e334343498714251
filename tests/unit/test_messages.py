"""Events in SQS and SNS messages, and the handling of a batch message by message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, Message, batch_handler, parse_event, parse_events
from dynamo_outbox.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[str], dict[str, Any]]

SAMPLES = ["eventbridge_from_relay", "eventbridge_from_templated_pipe", "eventbridge_cloudevents"]


QUEUE = "arn:aws:sqs:eu-west-1:123456789012:books"


def sqs(
    body: object, message_id: str = "1", group: str | None = None, *, arn: object = QUEUE, **attributes: str
) -> dict[str, Any]:
    """Return a message as Lambda delivers it; without an ARN, as a poller may pass it on."""
    text = body if isinstance(body, str) else json.dumps(body)
    message: dict[str, Any] = {"messageId": message_id, "body": text, "eventSource": "aws:sqs"}
    attributes |= {} if group is None else {"MessageGroupId": group}
    return message | {"attributes": attributes} | ({} if arn is None else {"eventSourceARN": arn})


def sns(body: object, message_id: str = "1") -> dict[str, Any]:
    return {"EventSource": "aws:sns", "Sns": {"MessageId": message_id, "Message": json.dumps(body)}}


def named(name: str) -> dict[str, Any]:
    """Return an event of this type as EventBridge sends it to a queue."""
    metadata = {"id": name, "type": name, "version": 1, "time": "2026-11-23T09:30:00.000000Z"}
    return {"source": "Books", "detail-type": name, "detail": {"metadata": metadata, "data": {}}}


@pytest.mark.parametrize("sample", SAMPLES)
def test_an_event_is_read_from_each_kind_of_message(load_event: Load, sample: str) -> None:
    """An event is read from an SQS message, an SNS message, and an SNS message inside an SQS message."""
    event = load_event(sample)
    notification = {"Type": "Notification", "MessageId": "inner", "Message": json.dumps(event)}
    messages = [parse_events({"Records": [each]})[0] for each in (sqs(event), sns(event), sqs(notification))]
    assert messages == [Message(parse_event(event), "1")] * 3


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (sqs("no JSON"), "body"),
        (sqs([1]), "body"),
        (sqs({"Type": "Notification", "Message": "no JSON"}), "body.Message"),
        (sqs({"Type": "Notification", "Message": {}}), "body.Message"),
        (sqs({"hello": 1}), "body"),
        (sqs({"detail-type": "A", "source": "Books"}), "body.detail"),
        (sqs({**named("A"), "detail": {}}), "body.detail.metadata"),
        (sns({"hello": 1}), "Sns.Message"),
        ({"messageId": "1", "body": None}, "body"),
        ({"Sns": {"MessageId": "1"}}, "Sns.Message"),
        ({"Sns": {"Message": json.dumps(named("A"))}}, "Sns.MessageId"),
        ({"kinesis": {}}, ""),
        (None, ""),
    ],
)
def test_a_message_without_an_event_is_refused_where_it_stands(record: Any, path: str) -> None:
    """A message without an event is a DecodeError with index and path, raised or collected in its position."""
    good = sqs(named("A"))
    with pytest.raises(DecodeError) as caught:
        parse_events({"Records": [good, record]})
    assert (caught.value.path, caught.value.index) == (path, 1)
    first, second = parse_events({"Records": [good, record]}, on_error="collect")
    assert isinstance(first, Message)
    assert isinstance(second, DecodeError)


@pytest.mark.parametrize("payload", [None, {}, {"Records": {}}, [5], {"Records": [None]}])
def test_what_is_no_batch_is_refused(payload: Any) -> None:
    """A payload without a list of messages is refused."""
    with pytest.raises(DecodeError, match=r"^payload: is "):
        parse_events(payload)


def test_an_unknown_policy_is_refused() -> None:
    """An `on_error` other than raise or collect is refused."""
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'collect', not 'skip'"):
        parse_events({"Records": []}, on_error="skip")  # type: ignore[call-overload]  # the mistake that is tested


class Recorder:
    """A handler that records event types and raises for some of them."""

    def __init__(self, *failing: str) -> None:
        self.types: list[str] = []
        self._failing = failing

    def handler(self) -> Callable[[Any, Any], dict[str, Any]]:
        @batch_handler
        def handle(event: Event, context: Any) -> None:
            self.types.append(f"{event.type}{context or ''}")
            if event.type in self._failing:
                raise ValueError(event.type)

        return handle


def test_each_message_is_handled_and_only_the_failed_are_reported() -> None:
    """Failed and unreadable messages are reported by message id; the others are handled."""
    recorder = Recorder("B")
    batch = {"Records": [sqs(named("A"), "a"), sqs(named("B"), "b"), sqs("no JSON", "c"), sqs(named("D"), "d")]}
    assert recorder.handler()(batch, "!") == {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "c"}]}
    assert recorder.types == ["A!", "B!", "D!"]


@pytest.mark.parametrize(
    "more",
    [
        {"arn": f"{QUEUE}.fifo"},
        {"arn": "arn:aws-cn:sqs:cn-north-1:123456789012:books.fifo", "SequenceNumber": "18849496460467696128"},
        {"arn": None, "SequenceNumber": "18849496460467696128"},
    ],
    ids=["FIFO queue", "FIFO queue in China", "polled FIFO queue"],
)
def test_a_group_keeps_its_order(more: dict[str, Any]) -> None:
    """In a FIFO queue, later messages of a failed message's group are not handled; other groups are."""
    recorder = Recorder("A")
    records = [sqs(named(name), name, group, **more) for name, group in (("A", "x"), ("B", "x"), ("C", "y"))]
    reported = [{"itemIdentifier": "A"}, {"itemIdentifier": "B"}]
    assert recorder.handler()({"Records": records}, None) == {"batchItemFailures": reported}
    assert recorder.types == ["A", "C"]
    assert [message.group_id for message in parse_events({"Records": records})] == ["x", "x", "y"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"arn": None},
        {"arn": "arn:aws:sqs:eu-west-1:123456789012:fifo"},
        {"arn": "arn:aws:sqs:eu-west-1:123456789012:books.fifo-archive"},
        {"arn": ""},
    ],
    ids=["queue", "polled queue", "a queue named fifo", ".fifo inside a name", "an empty ARN"],
)
def test_a_fair_queue_has_no_order(more: dict[str, Any]) -> None:
    """The group of a standard queue's message, its tenant, holds nothing back: kombu#2440, shoryuken#857."""
    recorder = Recorder("A")
    records = [sqs(named(name), name, "tenant", **more) for name in "ABC"]
    assert recorder.handler()({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": "A"}]}
    assert recorder.types == ["A", "B", "C"]
    assert [message.group_id for message in parse_events({"Records": records})] == [None, None, None]


def test_a_failed_notification_raises() -> None:
    """SNS has no batch response, so the function's exception reaches Lambda, and SNS retries."""
    with pytest.raises(ValueError, match="A"):
        Recorder("A").handler()({"Records": [sns(named("A"))]}, None)


def test_a_function_whose_body_would_not_run_is_refused() -> None:
    """Coroutine functions and generators are refused; a function that returns a coroutine fails the message."""

    async def coroutine(event: Event, context: Any) -> None:
        pass

    def generator(event: Event, context: Any) -> Any:
        yield event, context

    for function in (coroutine, generator):
        with pytest.raises(TypeError, match="body runs after the call"):
            batch_handler(function)
    waiting: list[Any] = []

    def wrapper(event: Event, context: Any) -> Any:
        waiting.append(coroutine(event, context))
        return waiting[-1]

    assert batch_handler(wrapper)({"Records": [sqs(named("A"), "a")]}, None) == {
        "batchItemFailures": [{"itemIdentifier": "a"}]
    }
    waiting.pop().close()


def test_a_batch_that_is_done_reports_nothing() -> None:
    """A batch without failures and an empty batch report no failures."""
    handle = Recorder().handler()
    assert handle({"Records": [sns(named("A"))]}, None) == handle({"Records": []}, None) == {"batchItemFailures": []}
