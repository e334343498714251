"""Events inside SQS and SNS messages, and a batch of them handled one by one."""

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


def sqs(body: object, message_id: str = "1", group: str | None = None) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    attributes = {} if group is None else {"MessageGroupId": group}
    return {"messageId": message_id, "body": text, "attributes": attributes, "eventSource": "aws:sqs"}


def sns(body: object, message_id: str = "1") -> dict[str, Any]:
    return {"EventSource": "aws:sns", "Sns": {"MessageId": message_id, "Message": json.dumps(body)}}


def named(name: str) -> dict[str, Any]:
    """An event of this type, as EventBridge hands it to a queue."""
    metadata = {"id": name, "type": name, "version": 1, "time": "2026-11-23T09:30:00.000000Z"}
    return {"source": "Books", "detail-type": name, "detail": {"metadata": metadata, "data": {}}}


@pytest.mark.parametrize("sample", SAMPLES)
def test_an_event_is_read_from_each_kind_of_message(load_event: Load, sample: str) -> None:
    """In a queue's message, a topic's, or a topic's inside a queue's, it is the event that parse_event reads."""
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
        (sqs({"hello": 1}), "detail"),
        ({"messageId": "1", "body": None}, "body"),
        ({"Sns": {"MessageId": "1"}}, "Sns.Message"),
        ({"Sns": {"Message": json.dumps(named("A"))}}, "Sns.MessageId"),
        ({"kinesis": {}}, ""),
        (None, ""),
    ],
)
def test_a_message_without_an_event_is_refused_where_it_stands(record: Any, path: str) -> None:
    """What holds no event is a DecodeError that says which message and where in it; it is in its place if collected."""
    good = sqs(named("A"))
    with pytest.raises(DecodeError) as caught:
        parse_events({"Records": [good, record]})
    assert (caught.value.path, caught.value.index) == (path, 1)
    first, second = parse_events({"Records": [good, record]}, on_error="collect")
    assert isinstance(first, Message)
    assert isinstance(second, DecodeError)


@pytest.mark.parametrize("payload", [None, [], {}, {"Records": {}}])
def test_what_is_no_batch_is_refused(payload: Any) -> None:
    """A payload without a list of Records is refused as a whole."""
    with pytest.raises(DecodeError, match=r"^Records: "):
        parse_events(payload)


def test_an_unknown_policy_is_refused() -> None:
    """on_error takes two values."""
    with pytest.raises(ValueError, match="on_error is 'raise' or 'collect', not 'skip'"):
        parse_events({"Records": []}, on_error="skip")  # type: ignore[call-overload]  # the mistake that is tested


class Recorder:
    """Handles events by noting their types, and fails at some of them."""

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
    """What the function raises on, and what holds no event, is reported by message id; the rest is done."""
    recorder = Recorder("B")
    batch = {"Records": [sqs(named("A"), "a"), sqs(named("B"), "b"), sqs("no JSON", "c"), sqs(named("D"), "d")]}
    assert recorder.handler()(batch, "!") == {"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "c"}]}
    assert recorder.types == ["A!", "B!", "D!"]


def test_a_group_keeps_its_order() -> None:
    """In a FIFO queue nothing of a group is handled after one of it has failed; other groups go on."""
    recorder = Recorder("A")
    batch = {"Records": [sqs(named(name), name, group) for name, group in (("A", "x"), ("B", "x"), ("C", "y"))]}
    reported = [{"itemIdentifier": "A"}, {"itemIdentifier": "B"}]
    assert recorder.handler()(batch, None) == {"batchItemFailures": reported}
    assert recorder.types == ["A", "C"]


def test_a_failed_notification_raises() -> None:
    """SNS knows no batch response, so the function's exception reaches Lambda, and SNS sends the message again."""
    with pytest.raises(ValueError, match="A"):
        Recorder("A").handler()({"Records": [sns(named("A"))]}, None)


def test_a_function_whose_body_would_not_run_is_refused() -> None:
    """Messages must not count as done before they are: coroutines and generators are refused, or fail each message."""

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
    """Without a failure, and for an empty batch, the list of failures is empty."""
    handle = Recorder().handler()
    assert handle({"Records": [sns(named("A"))]}, None) == handle({"Records": []}, None) == {"batchItemFailures": []}
